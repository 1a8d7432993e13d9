use anyhow::Result;
use sker_api::contract;

use crate::support::start;

#[tokio::test]
async fn the_api_keeps_its_contract_in_this_process_and_over_grpc() -> Result<()> {
    let (server, _directory) = start().await?;
    contract::registry::run(server.direct.as_ref(), "direct").await;
    contract::registry::run(&server.grpc, "grpc").await;
    server.stop().await
}
