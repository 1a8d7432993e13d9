use anyhow::Result;
use futures::future::join;
use reqwest::Method;
use serde_json::{Value, json};
use sker_api::proto::store::{ClaimTasksRequest, CreateTaskRequest, Usage};
use sker_testkit::{Api, eventually};

use crate::world::{World, analysis, broker, completion, failure};

async fn state(api: &Api, task: &str) -> Result<Value> {
    Ok(api.get(&format!("/api/v1/ai-tasks/{task}")).await?.expect(200)?.body)
}

async fn world() -> Result<(World, Api, String, String)> {
    let world = World::start().await?;
    let user = world.api.sign_up().await?;
    let project = user.create_project("p").await?;
    let node = user.create_node(&project, "title", "content").await?;
    Ok((world, user, project, node))
}

#[tokio::test]
async fn a_task_goes_from_pending_to_completed_and_changes_its_node() -> Result<()> {
    let (world, user, project, node) = world().await?;
    let task = user.analyse(&project, &node).await?;
    eventually("the task is queued", async || Ok((state(&user, &task).await?["status"] == "queued").then_some(())))
        .await?;
    let lease = world.lease("s", &task).await?;
    assert_eq!(lease.lease_epoch, 1);
    let running = state(&user, &task).await?;
    assert_eq!((&running["status"], &running["attempts"]), (&json!("processing"), &json!(1)));
    let mut done = completion(&lease, &analysis());
    done.usage = Some(Usage { prompt_tokens: 10, completion_tokens: 5, estimated: true, cost: 0.25 });
    assert!(!world.store.complete_task(&broker(), done).await?.repeated_call);

    let done = state(&user, &task).await?;
    assert_eq!(
        (&done["status"], &done["progress"], &done["output_data"]),
        (&json!("completed"), &json!(100), &analysis())
    );
    assert_eq!((&done["total_tokens"], &done["estimated_cost"]), (&json!(15), &json!(0.25)));
    assert!(done["completed_at"].is_string() && done["duration_ms"].is_number());
    let changed = user.get(&format!("/api/v1/nodes/{node}")).await?.expect(200)?.body;
    assert_eq!(changed["tags"], json!(["rust", "services"]));
    assert_eq!(changed["metadata"]["semantic_types"], json!(["article"]));
    assert_eq!((&changed["version"], &changed["status"]), (&json!(2), &json!("completed")));
    let versions = user.get(&format!("/api/v1/nodes/{node}/versions")).await?.expect(200)?.body;
    assert_eq!((&versions["data"][0]["reason"], &versions["data"][0]["task_id"]), (&json!("ai_task"), &json!(task)));
    Ok(())
}

#[tokio::test]
async fn completing_twice_has_one_effect() -> Result<()> {
    let (world, user, project, node) = world().await?;
    let body = json!({"type": "content_generation", "node_id": node, "input_data": {"inputs": ["x"]}});
    let task = user.post(&format!("/api/v1/projects/{project}/ai-tasks"), &body).await?.expect(201)?.string("id")?;
    let lease = world.lease("s", &task).await?;
    let text = json!({"text": "new text", "title": "New"});
    let (local, remote) = (broker(), broker());
    let twice = join(
        world.store.complete_task(&local, completion(&lease, &text)),
        sker_api::Store::complete_task(&world.grpc, &remote, completion(&lease, &text)),
    )
    .await;
    let mut repeated = [twice.0?.repeated_call, twice.1?.repeated_call];
    repeated.sort_unstable();
    assert_eq!(repeated, [false, true]);
    let node = user.get(&format!("/api/v1/nodes/{node}")).await?.expect(200)?.body;
    assert_eq!((&node["content"], &node["title"], &node["version"]), (&json!("new text"), &json!("New"), &json!(2)));
    assert_eq!(node["ai_generated"], true);
    let kinds = world.kinds(&format!("task:{task}"), "ai_task.completed").await?;
    assert_eq!(kinds.iter().filter(|kind| *kind == "ai_task.completed").count(), 1);
    Ok(())
}

#[tokio::test]
async fn of_cancelling_and_completing_at_once_exactly_one_wins() -> Result<()> {
    let (world, user, project, node) = world().await?;
    for _ in 0..8 {
        let task = user.analyse(&project, &node).await?;
        let lease = world.lease("s", &task).await?;
        let path = format!("/api/v1/ai-tasks/{task}/cancel");
        let (ctx, nothing) = (broker(), json!({}));
        let (cancelled, completed) =
            join(user.post(&path, &nothing), world.store.complete_task(&ctx, completion(&lease, &analysis()))).await;
        let (cancelled, completed) = (cancelled?.status == 200, completed.is_ok());
        assert!(cancelled != completed, "cancelled: {cancelled}, completed: {completed}");
        let ended = state(&user, &task).await?;
        assert_eq!(ended["status"], if cancelled { "cancelled" } else { "completed" });
    }
    Ok(())
}

#[tokio::test]
async fn a_cancelled_task_stays_so_and_a_finished_one_cannot_be_cancelled() -> Result<()> {
    let (world, user, project, node) = world().await?;
    let task = user.analyse(&project, &node).await?;
    let cancel = format!("/api/v1/ai-tasks/{task}/cancel");
    for _ in 0..2 {
        let answer = user.send(user.request(Method::POST, &cancel)).await?.expect(200)?;
        assert_eq!(answer.body["status"], "cancelled");
    }
    let done = user.analyse(&project, &node).await?;
    let lease = world.lease("s", &done).await?;
    world.store.complete_task(&broker(), completion(&lease, &analysis())).await?;
    let answer = user.post(&format!("/api/v1/ai-tasks/{done}/cancel"), &json!({})).await?;
    answer.expect_problem(409, "conflict")?;

    // A cancelled one can be run again, a completed one cannot.
    let again = user.post(&format!("/api/v1/ai-tasks/{task}/retry"), &json!({})).await?.expect(200)?;
    assert_eq!((&again.body["status"], &again.body["completed_at"]), (&json!("pending"), &json!(null)));
    world.lease("s", &task).await?;
    user.post(&format!("/api/v1/ai-tasks/{done}/retry"), &json!({})).await?.expect_problem(409, "conflict")?;
    Ok(())
}

#[tokio::test]
async fn a_failed_attempt_is_tried_again_later_until_attempts_run_out() -> Result<()> {
    let (world, user, project, node) = world().await?;
    let body = json!({"type": "semantic_analysis", "input_data": {"node_ids": [node]}, "max_attempts": 2});
    let task = user.post(&format!("/api/v1/projects/{project}/ai-tasks"), &body).await?.expect(201)?.string("id")?;
    let first = world.lease("s", &task).await?;
    assert!(world.store.fail_task(&broker(), failure(&first, "engine_error", true)).await?.will_retry);
    assert!(world.store.fail_task(&broker(), failure(&first, "engine_error", true)).await?.will_retry, "repeated");
    let waiting = state(&user, &task).await?;
    assert_eq!((&waiting["status"], &waiting["error"]["code"]), (&json!("queued"), &json!("engine_error")));

    let second = eventually("it is due again", async || {
        let claimed = world.claim("s", &task, 60_000).await?;
        assert!(claimed.unclaimed.iter().all(|unclaimed| unclaimed.reason == "later"));
        Ok(claimed.tasks.into_iter().next())
    })
    .await?;
    assert_eq!((second.attempts, second.lease_epoch), (2, 2));
    let second = sker_api::proto::store::Lease { task_id: task.clone(), lease_epoch: 2 };
    assert!(!world.store.fail_task(&broker(), failure(&second, "engine_error", true)).await?.will_retry);
    let failed = state(&user, &task).await?;
    assert_eq!((&failed["status"], &failed["error"]["code"]), (&json!("failed"), &json!("engine_error")));
    eventually("a dead letter", async || {
        let depth = sker_bus::Bus::depth(&world.bus, sker_bus::topology::DEAD_LETTER_QUEUE).await;
        Ok((depth == Some(1)).then_some(()))
    })
    .await?;
    let again = user.post(&format!("/api/v1/ai-tasks/{task}/retry"), &json!({})).await?.expect(200)?;
    assert_eq!((&again.body["attempts"], &again.body["error"]), (&json!(0), &json!(null)));
    Ok(())
}

#[tokio::test]
async fn the_same_idempotency_key_is_answered_the_same_and_makes_one_task() -> Result<()> {
    let (world, user, project, node) = world().await?;
    let path = format!("/api/v1/projects/{project}/ai-tasks");
    let body = json!({"type": "semantic_analysis", "node_id": node, "input_data": {"node_ids": [node]}});
    let post = async |body: &Value| {
        let request = user.request(Method::POST, &path).header("Idempotency-Key", "\"key-1\"").json(body);
        user.send(request).await
    };
    let first = post(&body).await?.expect(201)?;
    let lease = world.lease("s", &first.string("id")?).await?;
    world.store.complete_task(&broker(), completion(&lease, &analysis())).await?;
    let again = post(&body).await?.expect(201)?;
    assert_eq!(again.body, first.body, "whatever has become of the task");
    let other = json!({"type": "semantic_analysis", "input_data": {"inputs": ["x"]}});
    post(&other).await?.expect_problem(422, "idempotency_mismatch")?;
    // Another user's key is another key.
    let bob = world.api.sign_up().await?;
    let theirs = bob.create_project("q").await?;
    let request = bob.request(Method::POST, &format!("/api/v1/projects/{theirs}/ai-tasks"));
    bob.send(request.header("Idempotency-Key", "key-1").json(&other)).await?.expect(201)?;
    let page = user.get(&path).await?.expect(200)?;
    assert_eq!(page.body["data"].as_array().unwrap().len(), 1);
    Ok(())
}

#[tokio::test]
async fn bad_input_names_every_field() -> Result<()> {
    let (world, user, project, node) = world().await?;
    let path = format!("/api/v1/projects/{project}/ai-tasks");
    let fields = async |body: Value| -> Result<Vec<String>> {
        let answer = user.post(&path, &body).await?.expect(400)?;
        let errors = answer.body["errors"].as_array().cloned().unwrap_or_default();
        let mut names: Vec<String> = errors.iter().map(|e| e["field"].as_str().unwrap().to_owned()).collect();
        names.sort();
        Ok(names)
    };
    let bad = json!({"type": "guess", "priority": "now", "depends_on": [], "input_data": {"inputs": [1], "free": {}}});
    assert_eq!(fields(bad).await?, ["depends_on", "input_data.inputs[0]", "priority", "type"]);
    let kind = "semantic_analysis";
    assert_eq!(fields(json!({"type": kind})).await?, ["input_data"]);
    assert_eq!(fields(json!({"type": kind, "input_data": {"inputs": []}})).await?, ["input_data"]);
    let missing = sker_types::new_id().to_string();
    let unknown = json!({"type": kind, "node_id": missing, "input_data": {"node_ids": [node, missing]}});
    assert_eq!(fields(unknown).await?, ["input_data.node_ids[1]", "node_id"]);
    let request = CreateTaskRequest {
        project_id: project,
        body_json: json!({"type": kind, "input_data": {"inputs": ["x"]}}).to_string(),
        idempotency_key: String::new(),
    };
    assert!(world.store.create_task(&broker(), request).await.is_err(), "a service is no user");
    Ok(())
}

#[tokio::test]
async fn a_scheduled_task_waits_for_its_time() -> Result<()> {
    let (world, user, project, _) = world().await?;
    let at = sker_types::now() + std::time::Duration::from_secs(3_600);
    let body = json!({"type": "semantic_analysis", "input_data": {"inputs": ["x"]}, "scheduled_at": at});
    let task = user.post(&format!("/api/v1/projects/{project}/ai-tasks"), &body).await?.expect(201)?;
    let id = task.string("id")?;
    assert_eq!((&task.body["status"], &task.body["scheduled_at"]), (&json!("pending"), &json!(at)));
    assert_eq!(world.claim("s", &id, 60_000).await?.unclaimed[0].reason, "later");
    // Its time is brought forward: it is woken, queued and can be claimed.
    let now = json!({"scheduled_at": null, "priority": "urgent"});
    user.patch(&format!("/api/v1/ai-tasks/{id}"), &now, None).await?.expect(200)?;
    eventually("it is queued", async || Ok((state(&user, &id).await?["status"] == "queued").then_some(()))).await?;
    world.lease("s", &id).await?;
    let late = user.patch(&format!("/api/v1/ai-tasks/{id}"), &json!({"priority": "low"}), None).await?;
    late.expect_problem(409, "conflict")?;
    Ok(())
}

#[tokio::test]
async fn the_most_urgent_and_oldest_tasks_are_claimed_first() -> Result<()> {
    let (world, user, project, _) = world().await?;
    let mut ids = Vec::new();
    for priority in ["low", "normal", "urgent", "normal", "high"] {
        let body = json!({"type": "semantic_analysis", "input_data": {"inputs": ["x"]}, "priority": priority});
        let path = format!("/api/v1/projects/{project}/ai-tasks");
        ids.push(user.post(&path, &body).await?.expect(201)?.string("id")?);
    }
    // While the relay marks tasks as queued it holds them, and a claim leaves them to it.
    eventually("all are queued", async || {
        let page = user.get("/api/v1/ai-tasks?status=pending").await?.expect(200)?;
        Ok((page.body["data"] == json!([])).then_some(()))
    })
    .await?;
    let claim = async |limit| -> Result<Vec<String>> {
        let request = ClaimTasksRequest { ids: vec![], limit, session_id: "s".to_owned(), lease_ms: 60_000 };
        let tasks = world.store.claim_tasks(&broker(), request).await?.tasks;
        Ok(tasks.into_iter().map(|task| task.id).collect())
    };
    assert_eq!(claim(2).await?, [&*ids[2], &*ids[4]]);
    assert_eq!(claim(10).await?, [&*ids[1], &*ids[3], &*ids[0]]);
    assert!(claim(10).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn only_finished_tasks_are_deleted() -> Result<()> {
    let (_world, user, project, node) = world().await?;
    let task = user.analyse(&project, &node).await?;
    let path = format!("/api/v1/ai-tasks/{task}");
    user.delete(&path).await?.expect_problem(409, "conflict")?;
    user.post(&format!("{path}/cancel"), &json!({})).await?.expect(200)?;
    user.delete(&path).await?.expect(204)?;
    user.get(&path).await?.expect(404)?;
    Ok(())
}
