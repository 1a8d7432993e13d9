//! The five programs, as tests get them.

use anyhow::Result;
use sker_testkit::{Distributed, Outside, Plan};

#[tokio::test]
async fn five_programs_make_a_platform() -> Result<()> {
    let home = tempfile::tempdir()?;
    let mut platform = Distributed::start(home.path(), Outside::shared(), Plan::default().gateways(2)).await?;
    let user = platform.gateway(0)?.sign_up().await?;
    let project = user.create_project("canvas").await?;
    let other = platform.gateway(1)?.with_token(user.token().unwrap_or_default());
    other.get(&format!("/api/v1/projects/{project}")).await?.expect(200)?;
    platform.brokers[0].kill().await?;
    assert!(platform.brokers[0].program().is_err(), "it is gone");
    platform.brokers[0].restart().await?;
    assert_eq!(platform.gateways[1].stop().await?, Some(0));
    Ok(())
}
