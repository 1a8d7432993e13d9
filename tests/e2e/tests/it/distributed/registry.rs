//! Gateways and services go on with what they know when the registry is gone.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sker_testkit::{Outside, Plan, eventually};

use super::{canvas::Canvas, load::Load};

/// Longer than any lease.
const GONE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn everything_goes_on_while_the_registry_is_gone_for_a_minute() -> Result<()> {
    let mut canvas = Canvas::new(Outside::shared(), Plan::default().brokers(2)).await?;
    let admin = canvas.platform.admin().await?;
    let load = Load::start(&canvas, 1, Duration::from_millis(500));
    load.more(1).await?;
    canvas.platform.registry.kill().await?;
    let killed = Instant::now();
    load.more(1).await?;
    // One that starts now has nobody to register with, and works all the same.
    canvas.platform.brokers[1].stop().await?;
    canvas.platform.brokers[1].start()?;
    while killed.elapsed() < GONE {
        load.more(1).await?;
        // The gateway knows the way there from the registry alone.
        admin.get("/api/database/metrics").await?.expect(200)?;
    }
    canvas.platform.brokers[0].stop().await?;
    canvas.recovered("registry gone for a minute, only the broker left that was started since", Instant::now()).await?;
    canvas.platform.brokers[0].start()?;

    let back = Instant::now();
    canvas.platform.registry.restart().await?;
    let registry = canvas.platform.registry.api()?.with_token(admin.token().context("signed in")?);
    for (service, number) in [("gateway", 1), ("store", 1), ("broker", 2), ("database-service", 1)] {
        let path = format!("/api/v1/services/{service}/instances?groupName=sker-platform");
        eventually(&format!("{service} is registered again"), async || {
            let found = registry.get(&path).await?.expect(200)?.body;
            let registered = found["instances"].as_array().context("instances")?.len();
            Ok((registered == number).then_some(()))
        })
        .await?;
    }
    eprintln!(
        "recovery: registry started after a minute: everybody registered {} ms later",
        back.elapsed().as_millis()
    );
    canvas.platform.until_ready().await?;
    load.more(5).await?;
    let (accepted, refused) = load.stop().await?;
    assert_eq!(refused, Vec::<String>::new(), "nobody noticed");
    canvas.verify(&accepted).await
}
