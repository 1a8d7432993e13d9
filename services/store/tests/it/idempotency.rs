//! `Idempotency-Key`.

use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};
use sker_testkit::{Answer, Api};

use super::support::{World, ids, lease_of, rows};

async fn create(user: &Api, path: &str, key: &str, body: &Value) -> Result<Answer> {
    user.send(user.request(Method::POST, path).header("Idempotency-Key", key).json(body)).await
}

fn body(text: &str) -> Value {
    json!({"type": "semantic_analysis", "input_data": {"inputs": [text]}})
}

#[tokio::test]
async fn the_same_key_and_body_have_the_same_answer() -> Result<()> {
    let world = World::new().await?;
    let path = world.path("/ai-tasks");
    let first = create(&world.user, &path, "key-1", &body("a")).await?.expect(201)?;
    // Whatever has become of the task meanwhile.
    world.until_status(&first.string("id")?, "queued").await?;
    let claimed = world.broker("b").claim(&first.string("id")?).await?;
    world.broker("b").progress(&lease_of(&claimed), 10, "").await?;
    let again = create(&world.user, &path, "key-1", &body("a")).await?.expect(201)?;
    assert_eq!(again.body, first.body);
    assert_eq!(again.header("location"), first.header("location"));
    let other = create(&world.user, &path, "key-2", &body("a")).await?.expect(201)?;
    assert_ne!(other.body["id"], first.body["id"]);
    let list = world.user.get(&path).await?.expect(200)?;
    assert_eq!(rows(&list)?.len(), 2);
    Ok(())
}

#[tokio::test]
async fn the_same_key_with_another_body_is_refused() -> Result<()> {
    let world = World::new().await?;
    let path = world.path("/ai-tasks");
    let first = create(&world.user, &path, "key", &body("a")).await?.expect(201)?;
    create(&world.user, &path, "key", &body("b")).await?.expect_problem(422, "idempotency_mismatch")?;
    let other = world.user.create_project("other").await?;
    let elsewhere = create(&world.user, &format!("/api/v1/projects/{other}/ai-tasks"), "key", &body("a")).await?;
    elsewhere.expect_problem(422, "idempotency_mismatch")?;
    let list = world.user.get("/api/v1/ai-tasks").await?.expect(200)?;
    assert_eq!(ids(&list)?, [first.string("id")?]);
    Ok(())
}

#[tokio::test]
async fn a_key_is_its_users_own() -> Result<()> {
    let world = World::new().await?;
    let (stranger, [project, ..]) = world.stranger().await?;
    let mine = create(&world.user, &world.path("/ai-tasks"), "key", &body("a")).await?.expect(201)?;
    let path = format!("/api/v1/projects/{project}/ai-tasks");
    let theirs = create(&stranger, &path, "key", &body("b")).await?.expect(201)?;
    assert_ne!(mine.body["id"], theirs.body["id"]);
    Ok(())
}

#[tokio::test]
async fn a_refused_request_uses_up_no_key() -> Result<()> {
    let world = World::new().await?;
    let path = world.path("/ai-tasks");
    create(&world.user, &path, "key", &json!({"type": "guessing"})).await?.expect(400)?;
    create(&world.user, &path, "key", &body("a")).await?.expect(201)?;
    for key in ["", "with space", &"k".repeat(256)] {
        create(&world.user, &path, key, &body("a")).await?.expect_problem(400, "invalid_request")?;
    }
    Ok(())
}

#[tokio::test]
async fn of_many_at_once_with_one_key_one_makes_a_task() -> Result<()> {
    let world = World::new().await?;
    let attempts = (0..8).map(|_| {
        let (user, path) = (world.user.clone(), world.path("/ai-tasks"));
        async move { create(&user, &path, "key", &body("a")).await }
    });
    let answers = futures::future::try_join_all(attempts).await?;
    for answer in &answers {
        assert_eq!(answer.status.as_u16(), 201, "{}", answer.text);
        assert_eq!(answer.body["id"], answers[0].body["id"]);
    }
    Ok(())
}

#[tokio::test]
async fn a_task_that_was_changed_is_answered_as_it_was_made() -> Result<()> {
    let world = World::new().await?;
    let path = world.path("/ai-tasks");
    let body = json!({
        "type": "semantic_analysis", "input_data": {"inputs": ["a"]}, "priority": "low", "max_attempts": 2,
        "scheduled_at": "2999-01-01T00:00:00Z",
    });
    let first = create(&world.user, &path, "key", &body).await?.expect(201)?;
    let task = format!("/api/v1/ai-tasks/{}", first.string("id")?);
    let change = json!({"priority": "urgent", "max_attempts": 9, "timeout_ms": 5_000, "scheduled_at": null});
    world.user.patch(&task, &change, None).await?.expect(200)?;
    // With the quotes of a structured field (RFC 9651) it is the same key.
    let again = create(&world.user, &path, "\"key\"", &body).await?.expect(201)?;
    assert_eq!(again.body, first.body);
    Ok(())
}

#[tokio::test]
async fn a_late_repetition_does_not_make_again_what_was_deleted() -> Result<()> {
    let world = World::new().await?;
    let path = world.path("/ai-tasks");
    let first = create(&world.user, &path, "key", &body("a")).await?.expect(201)?;
    let task = format!("/api/v1/ai-tasks/{}", first.string("id")?);
    world.user.post(&format!("{task}/cancel"), &json!({})).await?.expect(200)?;
    world.user.delete(&task).await?.expect(204)?;
    create(&world.user, &path, "key", &body("a")).await?.expect_problem(410, "gone")?;
    let list = world.user.get(&path).await?.expect(200)?;
    assert_eq!(list.body["data"], json!([]));
    Ok(())
}
