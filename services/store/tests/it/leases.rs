use anyhow::Result;
use serde_json::{Value, json};
use sker_api::proto::store::{ReleaseTasksRequest, RenewLeasesRequest, ReportProgressRequest};
use sker_error::Code;
use sker_testkit::{Api, eventually};

use crate::world::{World, analysis, broker, completion, failure};

async fn task(world: &World, body: Value) -> Result<(Api, String)> {
    let user = world.api.sign_up().await?;
    let project = user.create_project("p").await?;
    let mut wanted = json!({"type": "semantic_analysis", "input_data": {"inputs": ["text"]}});
    wanted.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
    let path = format!("/api/v1/projects/{project}/ai-tasks");
    let id = user.post(&path, &wanted).await?.expect(201)?.string("id")?;
    Ok((user, id))
}

async fn until(user: &Api, task: &str, status: &str) -> Result<Value> {
    eventually(&format!("the task is {status}"), async || {
        let body = user.get(&format!("/api/v1/ai-tasks/{task}")).await?.expect(200)?.body;
        Ok((body["status"] == status).then_some(body))
    })
    .await
}

#[tokio::test]
async fn a_lease_that_is_not_renewed_runs_out_and_its_epoch_is_refused() -> Result<()> {
    let world = World::start().await?;
    let (user, task) = task(&world, json!({})).await?;
    let old = world.lease_for("lost", &task, 50).await?;
    let queued = until(&user, &task, "queued").await?;
    assert_eq!(queued["attempts"], 0, "a lost broker is nobody's attempt");
    let new = world.lease("next", &task).await?;
    assert_eq!(new.lease_epoch, old.lease_epoch + 1);
    let error = world.store.complete_task(&broker(), completion(&old, &analysis())).await.unwrap_err();
    assert_eq!(error.code(), Code::Conflict);
    let error = world.store.fail_task(&broker(), failure(&old, "x", false)).await.unwrap_err();
    assert_eq!(error.code(), Code::Conflict);
    let progress = ReportProgressRequest { lease: Some(old), progress: 50, message: String::new() };
    assert_eq!(world.store.report_progress(&broker(), progress).await.unwrap_err().code(), Code::Conflict);
    world.store.complete_task(&broker(), completion(&new, &analysis())).await?;
    assert_eq!(until(&user, &task, "completed").await?["output_data"], analysis());
    Ok(())
}

#[tokio::test]
async fn a_task_that_loses_every_broker_is_given_up() -> Result<()> {
    let world = World::start_with(&[("tasks.lost_leases", "3")]).await?;
    let (user, task) = task(&world, json!({})).await?;
    for round in 0..3 {
        let session = format!("session {round}");
        world.lease(&session, &task).await?;
        let over = ReleaseTasksRequest { session_id: session, leases: vec![] };
        assert_eq!(world.store.release_tasks(&broker(), over.clone()).await?.released, 1);
        assert_eq!(world.store.release_tasks(&broker(), over).await?.released, 0, "repeating changes nothing");
    }
    let failed = until(&user, &task, "failed").await?;
    assert_eq!(failed["error"]["code"], "broker_lost");
    Ok(())
}

#[tokio::test]
async fn what_is_given_back_costs_nothing_however_often() -> Result<()> {
    let world = World::start_with(&[("tasks.lost_leases", "2")]).await?;
    let (user, task) = task(&world, json!({"max_attempts": 1})).await?;
    for _ in 0..4 {
        let lease = world.lease("s", &task).await?;
        let back = ReleaseTasksRequest { session_id: "s".to_owned(), leases: vec![lease] };
        assert_eq!(world.store.release_tasks(&broker(), back).await?.released, 1);
    }
    assert_eq!(until(&user, &task, "queued").await?["attempts"], 0);
    Ok(())
}

#[tokio::test]
async fn a_task_that_takes_too_long_fails_with_timeout_and_its_holder_is_told() -> Result<()> {
    let world = World::start().await?;
    let (user, task) = task(&world, json!({"timeout_ms": 100})).await?;
    let lease = world.lease("s", &task).await?;
    let failed = until(&user, &task, "failed").await?;
    assert_eq!(failed["error"]["code"], "timeout");
    let renewal = RenewLeasesRequest { session_id: "s".to_owned(), leases: vec![lease] };
    let lost = world.store.renew_leases(&broker(), renewal).await?.lost;
    assert_eq!(lost[0].reason, "timeout");
    Ok(())
}

#[tokio::test]
async fn progress_never_goes_back_within_an_epoch() -> Result<()> {
    let world = World::start().await?;
    let (user, task) = task(&world, json!({})).await?;
    let lease = world.lease("s", &task).await?;
    for (progress, message) in [(10, "reading"), (60, "writing"), (30, "late"), (60, ""), (400, "")] {
        let report = ReportProgressRequest { lease: Some(lease.clone()), progress, message: message.to_owned() };
        world.store.report_progress(&broker(), report).await?;
    }
    let running = until(&user, &task, "processing").await?;
    assert_eq!(running["progress"], 100);
    world.store.complete_task(&broker(), completion(&lease, &analysis())).await?;
    let events = world.events(&format!("task:{task}"), "ai_task.completed").await?;
    let shown: Vec<_> =
        events.iter().filter(|event| event.kind == "ai_task.progress").map(|event| &event.data["progress"]).collect();
    assert_eq!(shown, [10, 60, 100]);
    Ok(())
}

#[tokio::test]
async fn unfinished_tasks_run_again_after_a_restart_that_lost_the_bus() -> Result<()> {
    let world = World::start().await?;
    let (user, waiting) = task(&world, json!({})).await?;
    until(&user, &waiting, "queued").await?;
    let token = user.token().unwrap().to_owned();
    let (_, held) = task(&world, json!({})).await?;
    world.lease("before", &held).await?;

    let world = world.restart().await?;
    let mut queue = sker_bus::Bus::consume(&world.bus, sker_bus::topology::PROCESS_QUEUE, 1).await?;
    let wake = tokio::time::timeout(sker_testkit::PATIENCE, queue.recv()).await?.unwrap();
    let body: Value = serde_json::from_slice(&wake.message.body)?;
    assert_eq!(body["task_id"], json!(waiting));
    wake.ack().await?;
    let over = ReleaseTasksRequest { session_id: "before".to_owned(), leases: vec![] };
    assert_eq!(world.store.release_tasks(&broker(), over).await?.released, 1);
    let wake = tokio::time::timeout(sker_testkit::PATIENCE, queue.recv()).await?.unwrap();
    let body: Value = serde_json::from_slice(&wake.message.body)?;
    assert_eq!(body["task_id"], json!(held));
    for task in [&waiting, &held] {
        let lease = world.lease("after", task).await?;
        world.store.complete_task(&broker(), completion(&lease, &analysis())).await?;
    }
    assert_eq!(until(&world.api.with_token(token), &waiting, "completed").await?["progress"], 100);
    Ok(())
}
