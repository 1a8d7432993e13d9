use anyhow::Result;
use sker_api::contract::store::{Fixture, run};
use sker_types::parse_id;

use crate::world::World;

#[tokio::test]
async fn the_api_keeps_its_contract_in_this_process_and_over_grpc() -> Result<()> {
    let world = World::start().await?;
    let user = world.api.sign_up().await?;
    let project = user.create_project("contract").await?;
    let node = user.create_node(&project, "a node", "some text").await?;
    let me = user.get("/api/v1/auth/me").await?.expect(200)?.string("id")?;
    let id = |text: &str| parse_id(text).expect("the API prints ids in their one form");
    let fixture = Fixture { user_id: id(&me), project_id: id(&project), node_id: id(&node) };
    run(world.store.as_ref(), &fixture).await;
    run(&world.grpc, &fixture).await;
    Ok(())
}
