//! What other services call: the contract of the api trait, directly and over gRPC, and what the wire adds to it.

use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::TryStreamExt as _;
use serde_json::json;
use sker_api::proto::store::{
    AuthorizeChannelRequest, ClaimTasksRequest, CompleteTaskRequest, GetNodesRequest, Lease,
    task_service_client::TaskServiceClient,
};
use sker_api::{
    Ctx, Store,
    contract::store::{Fixture, run},
    grpc::channel,
};
use sker_auth::Claims;
use sker_error::Code;
use sker_types::{Principal, Role, new_id};

use super::support::World;

async fn fixture(world: &World) -> Result<Fixture> {
    let node_id = world.node("contract").await?.parse()?;
    Ok(Fixture { user_id: world.user_id, project_id: world.project.parse()?, node_id })
}

#[tokio::test]
async fn the_contract_holds_within_the_process() -> Result<()> {
    let world = World::new().await?;
    run(&*world.store.api, &fixture(&world).await?).await;
    Ok(())
}

#[tokio::test]
async fn the_contract_holds_over_grpc() -> Result<()> {
    let world = World::new().await?;
    run(&world.store.client()?, &fixture(&world).await?).await;
    Ok(())
}

#[tokio::test]
async fn only_services_are_let_in_over_grpc() -> Result<()> {
    let world = World::new().await?;
    let user = world.user.token().context("signed in")?.to_owned();
    let stale = {
        let mut claims = Claims::service("broker", Duration::from_secs(60));
        (claims.iat, claims.exp) = (claims.iat - 1_000, claims.iat - 1);
        world.store.keys.issue(&claims)?
    };
    let cases = [
        (None, tonic::Code::Unauthenticated),
        (Some("nonsense".to_owned()), tonic::Code::Unauthenticated),
        (Some(stale), tonic::Code::Unauthenticated),
        (Some(user), tonic::Code::PermissionDenied),
    ];
    for (token, code) in cases {
        let mut client = TaskServiceClient::new(channel(&world.store.grpc)?);
        let mut request = tonic::Request::new(ClaimTasksRequest { limit: 1, ..ClaimTasksRequest::default() });
        if let Some(token) = &token {
            request.metadata_mut().insert("authorization", format!("Bearer {token}").parse()?);
            // Claiming to act for a service makes nobody one.
            let principal = serde_json::to_string(&Principal::service("broker"))?;
            request.metadata_mut().insert("x-sker-principal", principal.parse()?);
        }
        let refused = client.claim_tasks(request).await.err().context("refused")?;
        assert_eq!(refused.code(), code, "{token:?}: {refused:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_user_cannot_act_as_a_broker() -> Result<()> {
    let world = World::new().await?;
    let ctx = Ctx::new(Principal::user(world.user_id, Role::User));
    for store in [&*world.store.api as &dyn Store, &world.store.client()? as &dyn Store] {
        let request = ClaimTasksRequest { limit: 1, session_id: "s".to_owned(), lease_ms: 1_000, ..Default::default() };
        let refused = store.claim_tasks(&ctx, request).await.err().context("refused")?;
        assert_eq!(refused.code(), Code::Forbidden);
        let lease = Some(Lease { task_id: new_id().to_string(), lease_epoch: 1 });
        let request = CompleteTaskRequest { lease, output_json: "{}".to_owned(), usage: None };
        let refused = store.complete_task(&ctx, request).await.err().context("refused")?;
        assert_eq!(refused.code(), Code::Forbidden);
    }
    Ok(())
}

#[tokio::test]
async fn ids_that_are_none_are_refused_and_unknown_ones_are_gone() -> Result<()> {
    let world = World::new().await?;
    let store = world.store.client()?;
    let ctx = Ctx::service("broker");
    let request =
        ClaimTasksRequest { ids: vec!["not-an-id".to_owned()], limit: 1, session_id: "s".to_owned(), lease_ms: 1_000 };
    match store.claim_tasks(&ctx, request.clone()).await {
        // Either is an answer that a broker can go on with.
        Ok(answer) => assert_eq!((answer.tasks.len(), answer.unclaimed[0].reason.as_str()), (0, "gone")),
        Err(error) => assert_eq!(error.code().http_status(), 400, "{error:?}"),
    }
    let unknown = new_id().to_string();
    let answer = store.claim_tasks(&ctx, ClaimTasksRequest { ids: vec![unknown.clone()], ..request }).await?;
    assert_eq!((answer.unclaimed[0].id.as_str(), answer.unclaimed[0].reason.as_str()), (unknown.as_str(), "gone"));
    let lease = Some(Lease { task_id: unknown, lease_epoch: 1 });
    let request = CompleteTaskRequest { lease, output_json: "{}".to_owned(), usage: None };
    let refused = store.complete_task(&ctx, request).await.err().context("refused")?;
    assert!(matches!(refused.code(), Code::NotFound | Code::Conflict), "{refused:?}");
    Ok(())
}

#[tokio::test]
async fn any_task_that_is_due_can_be_claimed_the_most_urgent_first() -> Result<()> {
    let world = World::new().await?;
    let mut tasks = Vec::new();
    for priority in ["low", "normal", "urgent", "normal", "high"] {
        tasks.push(world.queued_task(json!({"priority": priority})).await?);
    }
    world.task(json!({"priority": "urgent", "scheduled_at": "2999-01-01T00:00:00Z"})).await?;
    let claim = async |limit| -> Result<Vec<String>> {
        let request = ClaimTasksRequest { ids: Vec::new(), limit, session_id: "s".to_owned(), lease_ms: 60_000 };
        let answer = world.store.api.claim_tasks(&Ctx::service("broker"), request).await?;
        Ok(answer.tasks.into_iter().map(|task| task.id).collect())
    };
    assert_eq!(claim(2).await?, [&*tasks[2], &*tasks[4]]);
    assert_eq!(claim(10).await?, [&*tasks[1], &*tasks[3], &*tasks[0]], "the oldest first among equals");
    assert!(claim(10).await?.is_empty());
    Ok(())
}

/// tonic takes 4 MiB by default; together these are more.
#[tokio::test]
async fn large_nodes_cross_the_wire_whole() -> Result<()> {
    let world = World::new().await?;
    let mut nodes = Vec::new();
    for number in 0..3 {
        let content = format!("{number}").repeat(3_000_000);
        nodes.push((world.user.create_node(&world.project, "large", &content).await?, content));
    }
    nodes.reverse();
    let request =
        GetNodesRequest { project_id: world.project.clone(), ids: nodes.iter().map(|(id, _)| id.clone()).collect() };
    let read = world.store.client()?.get_nodes(&Ctx::service("broker"), request).await?;
    let read: Vec<_> = read.map_ok(|answer| answer.node.unwrap_or_default()).try_collect().await?;
    let read: Vec<(String, String)> = read.into_iter().map(|node| (node.id, node.content)).collect();
    assert!(read == nodes, "every node whole, in the order asked for");
    Ok(())
}

#[tokio::test]
async fn nodes_of_another_project_are_not_handed_out() -> Result<()> {
    let world = World::new().await?;
    let (_, [_, theirs, ..]) = world.stranger().await?;
    let request = GetNodesRequest { project_id: world.project.clone(), ids: vec![theirs] };
    let read = world.store.api.get_nodes(&Ctx::service("broker"), request).await?;
    assert_eq!(read.try_collect::<Vec<_>>().await?.len(), 0);
    Ok(())
}

#[tokio::test]
async fn a_channel_is_open_to_those_who_see_what_it_is_about() -> Result<()> {
    let world = World::new().await?;
    let task = world.task(json!({})).await?;
    let (_, [foreign, ..]) = world.stranger().await?;
    let ctx = Ctx::new(Principal::user(world.user_id, Role::User));
    let ask =
        async |channel: String| world.store.api.authorize_channel(&ctx, AuthorizeChannelRequest { channel }).await;
    for channel in [format!("project:{}", world.project), format!("task:{task}")] {
        assert_eq!(ask(channel.clone()).await?.channel, channel);
    }
    for channel in [format!("project:{foreign}"), format!("task:{}", new_id()), "project:".to_owned(), String::new()] {
        let refused = ask(channel.clone()).await.err().with_context(|| channel.clone())?;
        assert_eq!(refused.code(), Code::NotFound, "{channel}");
    }
    Ok(())
}

#[tokio::test]
async fn a_service_token_is_no_user() -> Result<()> {
    let world = World::new().await?;
    let token = world.store.keys.issue(&Claims::service("gateway", Duration::from_secs(60)))?;
    let service = world.store.http.with_token(token);
    service.post("/api/v1/projects", &json!({"name": "x"})).await?.expect_problem(403, "forbidden")?;
    service.get("/api/v1/auth/me").await?.expect_problem(403, "forbidden")?;
    Ok(())
}
