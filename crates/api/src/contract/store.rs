//! The contract of [`Store`].

use std::time::Duration;

use futures::StreamExt as _;
use sker_error::Code;
use sker_proto::store::{
    AuthorizeChannelRequest, CancelTaskRequest, ClaimTasksRequest, CompleteTaskRequest, CreateTaskRequest,
    FailTaskRequest, GetNodesRequest, Lease, ReleaseTasksRequest, RenewLeasesRequest, ReportProgressRequest, Task,
};
use sker_types::{Principal, Role, new_id};
use uuid::Uuid;

use super::refused;
use crate::{Ctx, Store};

const PATIENCE: Duration = Duration::from_secs(20);

/// What must be there before the suite runs.
#[derive(Clone, Debug)]
pub struct Fixture {
    /// A user.
    pub user_id: Uuid,
    /// A project of that user.
    pub project_id: Uuid,
    /// A node of that project whose content is not empty.
    pub node_id: Uuid,
}

/// Runs the whole suite. May run several times on one store.
pub async fn run(store: &dyn Store, fixture: &Fixture) {
    a_task_is_claimed_once_and_completed_once(store, fixture).await;
    a_claim_whose_answer_was_lost_is_answered_again(store, fixture).await;
    a_stale_epoch_changes_nothing(store, fixture).await;
    a_failed_attempt_is_tried_again(store, fixture).await;
    a_cancelled_task_is_lost_to_its_holder(store, fixture).await;
    a_session_that_is_over_gives_everything_back(store, fixture).await;
    an_idempotency_key_makes_one_task(store, fixture).await;
    a_call_that_was_given_up_is_repeated_without_a_second_effect(store, fixture).await;
    nothing_of_another_user_is_visible(store, fixture).await;
    bad_input_names_every_field(store, fixture).await;
    nodes_come_in_the_order_asked_for(store, fixture).await;
}

fn user(fixture: &Fixture) -> Ctx {
    Ctx::new(Principal::user(fixture.user_id, Role::User))
}

async fn create(store: &dyn Store, fixture: &Fixture, key: &str) -> Task {
    let request = CreateTaskRequest {
        project_id: fixture.project_id.to_string(),
        body_json: r#"{"type":"semantic_analysis","input_data":{"inputs":["One sentence."]}}"#.to_owned(),
        idempotency_key: key.to_owned(),
    };
    store.create_task(&user(fixture), request).await.expect("creates").task.expect("the task")
}

async fn claim(store: &dyn Store, session: &str, id: &str) -> Option<Lease> {
    let request =
        ClaimTasksRequest { ids: vec![id.to_owned()], limit: 1, session_id: session.to_owned(), lease_ms: 60_000 };
    let answer = store.claim_tasks(&Ctx::service("contract"), request).await.expect("claims");
    answer.tasks.first().map(|task| Lease { task_id: task.id.clone(), lease_epoch: task.lease_epoch })
}

fn completion(lease: &Lease) -> CompleteTaskRequest {
    CompleteTaskRequest {
        lease: Some(lease.clone()),
        output_json: r#"{"tags":["one"],"semantic_types":[],"language":"en","confidence":0.5,"engine":"contract","generative":false,"usage":{}}"#
            .to_owned(),
        usage: None,
    }
}

async fn a_task_is_claimed_once_and_completed_once(store: &dyn Store, fixture: &Fixture) {
    let ctx = Ctx::service("contract");
    let task = create(store, fixture, "").await;
    let lease = claim(store, "one", &task.id).await.expect("the first claim holds");
    assert!(claim(store, "two", &task.id).await.is_none(), "a held task is not claimed again");

    let renewed =
        store.renew_leases(&ctx, RenewLeasesRequest { session_id: "one".to_owned(), leases: vec![lease.clone()] });
    assert!(renewed.await.expect("renews").lost.is_empty());
    let progress = ReportProgressRequest { lease: Some(lease.clone()), progress: 40, message: String::new() };
    for _ in 0..2 {
        store.report_progress(&ctx, progress.clone()).await.expect("repeating is no error");
    }
    let first = store.complete_task(&ctx, completion(&lease)).await.expect("completes");
    let again = store.complete_task(&ctx, completion(&lease)).await.expect("repeating is no error");
    assert!(!first.repeated_call && again.repeated_call);
    assert!(claim(store, "two", &task.id).await.is_none(), "a finished task is not claimed");
    let cancel = store.cancel_task(&user(fixture), CancelTaskRequest { id: task.id }).await;
    refused(cancel, Code::Conflict, "cancelling a finished task");
}

async fn a_claim_whose_answer_was_lost_is_answered_again(store: &dyn Store, fixture: &Fixture) {
    let ctx = Ctx::service("contract");
    let session = new_id().to_string();
    let task = create(store, fixture, "").await;
    let first = claim(store, &session, &task.id).await.expect("claimed");
    let again = claim(store, &session, &task.id).await.expect("whoever holds it is told so again");
    assert_eq!(again.lease_epoch, first.lease_epoch, "it is the same claim");
    let over = ReleaseTasksRequest { session_id: session, leases: vec![first.clone()] };
    assert_eq!(store.release_tasks(&ctx, over.clone()).await.expect("releases").released, 1);
    assert_eq!(store.release_tasks(&ctx, over).await.expect("repeating is no error").released, 0);
    let next = claim(store, "next", &task.id).await.expect("claimed by the next session");
    store.complete_task(&ctx, completion(&next)).await.expect("completes");
}

async fn a_call_that_was_given_up_is_repeated_without_a_second_effect(store: &dyn Store, fixture: &Fixture) {
    let key = new_id().to_string();
    let request = CreateTaskRequest {
        project_id: fixture.project_id.to_string(),
        body_json: r#"{"type":"semantic_analysis","input_data":{"inputs":["One sentence."]}}"#.to_owned(),
        idempotency_key: key.clone(),
    };
    // Dropped at one point or another on its way: before it was sent, under way, or when it is done.
    for patience in [0, 1, 3, 10, 30] {
        let ctx = user(fixture);
        let call = store.create_task(&ctx, request.clone());
        let _ = tokio::time::timeout(Duration::from_millis(patience), call).await;
    }
    let first = eventually_created(store, fixture, &request).await;
    let again = create(store, fixture, &key).await;
    assert_eq!(first, again.id, "one key is one task");
    store.cancel_task(&user(fixture), CancelTaskRequest { id: first }).await.expect("cancels");
}

/// A call that was given up may still be under way, which is a conflict for as long as it is.
async fn eventually_created(store: &dyn Store, fixture: &Fixture, request: &CreateTaskRequest) -> String {
    let create = async {
        loop {
            match store.create_task(&user(fixture), request.clone()).await {
                Ok(answer) => return answer.task.expect("the task").id,
                Err(error) if error.code() == Code::Conflict => tokio::time::sleep(Duration::from_millis(5)).await,
                Err(error) => panic!("the repeated call fails: {error:?}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, create).await.expect("what was given up ends")
}

async fn a_stale_epoch_changes_nothing(store: &dyn Store, fixture: &Fixture) {
    let ctx = Ctx::service("contract");
    let task = create(store, fixture, "").await;
    let old = claim(store, "one", &task.id).await.expect("claimed");
    let release = ReleaseTasksRequest { session_id: "one".to_owned(), leases: vec![old.clone()] };
    assert_eq!(store.release_tasks(&ctx, release).await.expect("releases").released, 1);
    let new = claim(store, "two", &task.id).await.expect("claimed again");
    assert!(new.lease_epoch > old.lease_epoch);
    refused(store.complete_task(&ctx, completion(&old)).await, Code::Conflict, "a stale completion");
    let lost = store
        .renew_leases(&ctx, RenewLeasesRequest { session_id: "one".to_owned(), leases: vec![old] })
        .await
        .expect("answers")
        .lost;
    assert_eq!(lost.first().map(|lost| lost.reason.as_str()), Some("taken"));
    store.complete_task(&ctx, completion(&new)).await.expect("the holder completes");
}

async fn a_failed_attempt_is_tried_again(store: &dyn Store, fixture: &Fixture) {
    let ctx = Ctx::service("contract");
    let task = create(store, fixture, "").await;
    let lease = claim(store, "one", &task.id).await.expect("claimed");
    let failure = FailTaskRequest {
        lease: Some(lease),
        code: "engine_error".to_owned(),
        message: "the engine is away".to_owned(),
        retryable: true,
        retry_after_ms: 0,
        usage: None,
    };
    assert!(store.fail_task(&ctx, failure.clone()).await.expect("stores the failure").will_retry);

    let task = create(store, fixture, "").await;
    let lease = claim(store, "one", &task.id).await.expect("claimed");
    let fatal = FailTaskRequest { lease: Some(lease), retryable: false, ..failure };
    assert!(!store.fail_task(&ctx, fatal.clone()).await.expect("stores the failure").will_retry);
    assert!(!store.fail_task(&ctx, fatal).await.expect("repeating is no error").will_retry);
    assert!(claim(store, "one", &task.id).await.is_none(), "a failed task is not claimed");
}

async fn a_cancelled_task_is_lost_to_its_holder(store: &dyn Store, fixture: &Fixture) {
    let ctx = Ctx::service("contract");
    let task = create(store, fixture, "").await;
    let lease = claim(store, "one", &task.id).await.expect("claimed");
    for _ in 0..2 {
        let cancelled = store.cancel_task(&user(fixture), CancelTaskRequest { id: task.id.clone() }).await;
        assert_eq!(cancelled.expect("repeating is no error").task.expect("the task").status, "cancelled");
    }
    let renewal = RenewLeasesRequest { session_id: "one".to_owned(), leases: vec![lease.clone()] };
    let lost = store.renew_leases(&ctx, renewal).await.expect("answers").lost;
    assert_eq!(lost.first().map(|lost| lost.reason.as_str()), Some("cancelled"));
    refused(store.complete_task(&ctx, completion(&lease)).await, Code::Conflict, "completing a cancelled task");
}

async fn a_session_that_is_over_gives_everything_back(store: &dyn Store, fixture: &Fixture) {
    let ctx = Ctx::service("contract");
    let session = new_id().to_string();
    let task = create(store, fixture, "").await;
    let old = claim(store, &session, &task.id).await.expect("claimed");
    let over = ReleaseTasksRequest { session_id: session, leases: Vec::new() };
    assert_eq!(store.release_tasks(&ctx, over).await.expect("releases").released, 1);
    let new = claim(store, "next", &task.id).await.expect("claimed by the next session");
    assert!(new.lease_epoch > old.lease_epoch);
    store.complete_task(&ctx, completion(&new)).await.expect("completes");
}

async fn an_idempotency_key_makes_one_task(store: &dyn Store, fixture: &Fixture) {
    let key = new_id().to_string();
    let first = create(store, fixture, &key).await;
    let again = create(store, fixture, &key).await;
    assert_eq!(first.id, again.id);
    let other_body = CreateTaskRequest {
        project_id: fixture.project_id.to_string(),
        body_json: r#"{"type":"semantic_analysis","input_data":{"inputs":["Another sentence."]}}"#.to_owned(),
        idempotency_key: key,
    };
    refused(store.create_task(&user(fixture), other_body).await, Code::IdempotencyMismatch, "a key with another body");
    store.cancel_task(&user(fixture), CancelTaskRequest { id: first.id }).await.expect("cancels");
}

async fn nothing_of_another_user_is_visible(store: &dyn Store, fixture: &Fixture) {
    let stranger = Ctx::new(Principal::user(new_id(), Role::User));
    for channel in [format!("project:{}", fixture.project_id), format!("user:{}", fixture.user_id), "x".to_owned()] {
        let request = AuthorizeChannelRequest { channel: channel.clone() };
        refused(store.authorize_channel(&stranger, request).await, Code::NotFound, &channel);
    }
    let own = AuthorizeChannelRequest { channel: "user:me".to_owned() };
    let answer = store.authorize_channel(&user(fixture), own).await.expect("one's own channel");
    assert_eq!(answer.channel, format!("user:{}", fixture.user_id));
    let request = CreateTaskRequest {
        project_id: fixture.project_id.to_string(),
        body_json: r#"{"type":"semantic_analysis","input_data":{"inputs":["x"]}}"#.to_owned(),
        idempotency_key: String::new(),
    };
    refused(store.create_task(&stranger, request).await, Code::NotFound, "a task in another user's project");
}

async fn bad_input_names_every_field(store: &dyn Store, fixture: &Fixture) {
    let request = CreateTaskRequest {
        project_id: fixture.project_id.to_string(),
        body_json: r#"{"type":"guessing","priority":"now","colour":"red","input_data":{}}"#.to_owned(),
        idempotency_key: String::new(),
    };
    let error = store.create_task(&user(fixture), request).await.expect_err("must be refused");
    assert_eq!(error.code(), Code::ValidationFailed);
    let fields: Vec<&str> = error.fields().iter().map(|field| field.field.as_str()).collect();
    for field in ["type", "priority", "colour", "input_data"] {
        assert!(fields.iter().any(|named| named.starts_with(field)), "{field} in {fields:?}");
    }
}

async fn nodes_come_in_the_order_asked_for(store: &dyn Store, fixture: &Fixture) {
    let request = GetNodesRequest {
        project_id: fixture.project_id.to_string(),
        ids: vec![new_id().to_string(), fixture.node_id.to_string()],
    };
    let nodes: Vec<_> =
        store.get_nodes(&Ctx::service("contract"), request).await.expect("reads").collect::<Vec<_>>().await;
    assert_eq!(nodes.len(), 1, "an unknown id is left out");
    let node = nodes.into_iter().next().and_then(Result::ok).and_then(|answer| answer.node).expect("the node");
    assert_eq!(node.id, fixture.node_id.to_string());
    assert!(!node.content.is_empty());
}
