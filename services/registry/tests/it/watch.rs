use std::collections::BTreeSet;

use anyhow::{Context, Result};
use futures::StreamExt;
use serde_json::json;
use sker_api::{Ctx, Registry, WatchStream};
use sker_error::Code;
use sker_proto::registry::{Instance, RegisterRequest, WatchRequest, WatchResponse, watch_response::Event};
use sker_testkit::PATIENCE;
use sker_types::Principal;

use crate::support::{Server, instance, instance_with, start, start_with};

async fn watch(server: &Server, service: &str, token: &str) -> Result<WatchStream> {
    let request =
        WatchRequest { service_name: service.to_owned(), resume_token: token.to_owned(), ..WatchRequest::default() };
    Ok(server.grpc.watch(&Ctx::service("tester"), request).await?)
}

async fn next(stream: &mut WatchStream) -> Result<WatchResponse> {
    let item = tokio::time::timeout(PATIENCE, stream.next()).await.context("waited in vain for an event")?;
    Ok(item.context("the stream ended")??)
}

/// Reads up to `synced`: whether there was a reset, the ports that came and went, and where to resume.
async fn until_synced(stream: &mut WatchStream) -> Result<(bool, Vec<u32>, Vec<u32>, String)> {
    let (mut reset, mut came, mut went) = (false, Vec::new(), Vec::new());
    loop {
        let WatchResponse { event, resume_token } = next(stream).await?;
        match event.context("an event")? {
            Event::Reset(_) => reset = true,
            Event::Upserted(instance) => came.push(instance.port_number),
            Event::Removed(instance) => went.push(instance.port_number),
            Event::Synced(_) => return Ok((reset, came, went, resume_token)),
        }
    }
}

#[tokio::test]
async fn a_watch_begins_with_a_snapshot_and_resumes_without_a_gap() -> Result<()> {
    let (server, _directory) = start().await?;
    let first = server.register(&instance("a", 7001)).await?;
    let mut stream = watch(&server, "a", "").await?;
    let (reset, came, went, token) = until_synced(&mut stream).await?;
    assert_eq!((reset, came, went), (true, vec![7001], vec![]));
    server.register(&instance("a", 7002)).await?;
    let live = next(&mut stream).await?;
    assert!(matches!(&live.event, Some(Event::Upserted(instance)) if instance.port_number == 7002), "{live:?}");
    drop(stream);

    // While nobody watches: one comes, one goes, and others that are none of this watch's business.
    server.register(&instance("a", 7003)).await?;
    server.register(&instance("other", 7009)).await?;
    let path = format!("/api/v1/instances/{}", first["instanceId"].as_str().unwrap_or_default());
    server.api.delete(&path).await?.expect(204)?;
    let mut stream = watch(&server, "a", &live.resume_token).await?;
    let (reset, came, went, _) = until_synced(&mut stream).await?;
    assert_eq!((reset, came, went), (false, vec![7003], vec![7001]));
    let mut stream = watch(&server, "a", &token).await?;
    let (reset, came, went, _) = until_synced(&mut stream).await?;
    assert_eq!((reset, came, went), (false, vec![7002, 7003], vec![7001]), "an older token sees more");
    drop(stream);
    server.stop().await
}

#[tokio::test]
async fn a_token_that_is_too_old_or_of_another_run_begins_again() -> Result<()> {
    let overrides = [("event.buffer_size", "4")];
    let (server, place) = start_with(&overrides).await?;
    let mut stream = watch(&server, "a", "").await?;
    let (.., token) = until_synced(&mut stream).await?;
    drop(stream);
    for port in 7001..7011 {
        server.register(&instance("a", port)).await?;
    }
    let all: BTreeSet<u32> = (7001..7011).collect();
    let mut stream = watch(&server, "a", &token).await?;
    let (reset, came, _, fresh) = until_synced(&mut stream).await?;
    assert_eq!((reset, came.into_iter().collect::<BTreeSet<_>>()), (true, all.clone()));
    drop(stream);
    server.stop().await?;

    let server = Server::open(&place.url(), &overrides).await?;
    for token in [fresh.as_str(), "nonsense"] {
        let mut stream = watch(&server, "a", token).await?;
        let (reset, came, ..) = until_synced(&mut stream).await?;
        assert_eq!((reset, came.into_iter().collect::<BTreeSet<_>>()), (true, all.clone()));
    }
    server.stop().await
}

#[tokio::test]
async fn a_watch_sees_what_its_caller_may_see_and_no_other_tenant() -> Result<()> {
    let (server, _directory) = start().await?;
    let anonymous = Ctx::new(Principal::anonymous());
    let platform = WatchRequest { group_names: vec!["sker-platform".to_owned()], ..WatchRequest::default() };
    let refused = server.grpc.watch(&anonymous, platform).await.err().context("must be refused")?;
    assert_eq!(refused.code(), Code::Forbidden);
    let acme = Ctx { tenant: "acme".to_owned(), ..Ctx::service("tester") };
    let mut theirs = server.grpc.watch(&acme, WatchRequest::default()).await?;
    let mut ours = server.grpc.watch(&anonymous, WatchRequest::default()).await?;
    assert!(until_synced(&mut theirs).await?.1.is_empty());
    until_synced(&mut ours).await?;
    server.register(&instance_with("a", 7001, json!({"groupName": "g"}))).await?;
    let WatchResponse { event, .. } = next(&mut ours).await?;
    let Some(Event::Upserted(seen)) = event else { anyhow::bail!("{event:?}") };
    assert_eq!((seen.group_name.as_str(), seen.port_number), ("g", 7001));
    // The first that another tenant hears of is its own.
    let own = RegisterRequest {
        instance: Some(Instance {
            service_name: "b".to_owned(),
            host_address: "127.0.0.1".to_owned(),
            port_number: 7002,
            ..Instance::default()
        }),
    };
    server.grpc.register(&acme, own).await?;
    let WatchResponse { event, .. } = next(&mut theirs).await?;
    assert!(matches!(&event, Some(Event::Upserted(seen)) if seen.tenant_id == "acme"), "{event:?}");
    server.stop().await
}

#[tokio::test]
async fn a_watch_ends_when_the_registry_stops_so_that_its_caller_looks_elsewhere() -> Result<()> {
    let (server, _directory) = start().await?;
    let mut stream = watch(&server, "a", "").await?;
    until_synced(&mut stream).await?;
    server.stop().await?;
    let last = tokio::time::timeout(PATIENCE, stream.next()).await.context("the stream must end")?;
    assert_eq!(last.context("an error says why")?.err().map(|error| error.code()), Some(Code::Unavailable));
    Ok(())
}
