//! Who may see what.

use anyhow::{Context, Result};
use secrecy::SecretString;
use serde_json::{Value, json};
use sker_auth::{Claims, TokenKeys};
use sker_testkit::{Embedded, Socket};
use uuid::Uuid;

use crate::world::{World, claims};

/// Signs claims with the platform's own secret.
fn sign(platform: &Embedded, claims: Value) -> Result<String> {
    let secret = std::fs::read_to_string(platform.data_dir().join("jwt-secret"))?;
    let keys = TokenKeys::hs256(&SecretString::from(secret.trim()))?;
    let claims: Claims = serde_json::from_value(claims)?;
    Ok(keys.issue(&claims)?)
}

#[tokio::test]
async fn another_users_project_does_not_exist() -> Result<()> {
    let world = World::new().await?;
    let project = world.user.create_project("mine").await?;
    let node = world.user.create_node(&project, "secret plan", "content").await?;
    let task = world.user.analyse(&project, &node).await?;
    let other = world.platform.gateway()?.sign_up().await?;

    for path in [
        format!("/api/v1/projects/{project}"),
        format!("/api/v1/projects/{project}/nodes"),
        format!("/api/v1/projects/{project}/connections"),
        format!("/api/v1/projects/{project}/ai-tasks"),
        format!("/api/v1/projects/{project}/canvas"),
        format!("/api/v1/nodes/{node}"),
        format!("/api/v1/ai-tasks/{task}"),
    ] {
        let refused = other.get(&path).await?.expect_problem(404, "not_found").context(path)?;
        assert!(!refused.text.contains("secret plan"), "{}", refused.text);
    }
    let project_path = format!("/api/v1/projects/{project}");
    other.patch(&project_path, &json!({"name": "yours"}), None).await?.expect_problem(404, "not_found")?;
    other.delete(&project_path).await?.expect_problem(404, "not_found")?;
    let body = json!({"title": "t", "content": "c"});
    other.post(&format!("{project_path}/nodes"), &body).await?.expect_problem(404, "not_found")?;
    other.post(&format!("/api/v1/ai-tasks/{task}/cancel"), &json!({})).await?.expect_problem(404, "not_found")?;
    let list = other.get("/api/v1/projects").await?.expect(200)?;
    assert_eq!(list.body["data"], json!([]));

    // What does not exist at all looks the same.
    other.get(&format!("/api/v1/projects/{}", Uuid::now_v7())).await?.expect_problem(404, "not_found")?;
    world.user.get(&project_path).await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn another_users_channel_cannot_be_heard() -> Result<()> {
    let world = World::new().await?;
    let project = world.user.create_project("mine").await?;
    let other = world.platform.gateway()?.sign_up().await?;
    let mut socket = Socket::connect(&other).await?;
    socket.send(&json!({"type": "subscribe", "channel": format!("project:{project}"), "ref": "r"})).await?;
    let frames = socket.until(|frame| frame["ref"] == "r").await?;
    let answer = frames.last().context("an answer")?;
    assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!("not_found")), "{answer}");
    Ok(())
}

#[tokio::test]
async fn an_expired_token_is_refused() -> Result<()> {
    let world = World::new().await?;
    let mine = claims(world.user.token().context("signed in")?)?;
    let gateway = world.platform.gateway()?;
    // Signed anew with the same claims it is good, so that only the time can make the difference.
    let same = gateway.with_token(sign(&world.platform, mine.clone())?);
    same.get("/api/v1/projects").await?.expect(200)?;

    let mut expired = mine;
    let now = expired["iat"].as_i64().context("iat")?;
    (expired["iat"], expired["exp"]) = ((now - 1_000).into(), (now - 1).into());
    let expired = gateway.with_token(sign(&world.platform, expired)?);
    expired.get("/api/v1/projects").await?.expect_problem(401, "unauthenticated")?;
    expired.post("/api/v1/projects", &json!({"name": "x"})).await?.expect_problem(401, "unauthenticated")?;
    Ok(())
}

#[tokio::test]
async fn a_token_of_another_secret_or_of_none_is_refused() -> Result<()> {
    let world = World::new().await?;
    let gateway = world.platform.gateway()?;
    let mine = claims(world.user.token().context("signed in")?)?;
    let keys = TokenKeys::hs256(&SecretString::from("another secret of more than 32 bytes"))?;
    let forged = keys.issue(&serde_json::from_value(mine)?)?;
    let payload = forged.split('.').nth(1).context("three parts")?;
    // {"alg":"none","typ":"JWT"}
    let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{payload}.");
    for token in [forged.as_str(), &unsigned, "", "a.b.c", "nonsense"] {
        let refused = gateway.with_token(token).get("/api/v1/projects").await?;
        refused.expect_problem(401, "unauthenticated").with_context(|| format!("token {token:?}"))?;
    }
    gateway.get("/api/v1/projects").await?.expect_problem(401, "unauthenticated")?;
    Ok(())
}

#[tokio::test]
async fn a_reused_refresh_token_revokes_its_family() -> Result<()> {
    let world = World::new().await?;
    let gateway = world.platform.gateway()?;
    let name = format!("u{}", Uuid::new_v4().simple());
    let body = json!({"email": format!("{name}@example.org"), "username": name, "password": "a long enough password"});
    let first = gateway.post("/api/v1/auth/register", &body).await?.success()?.string("refresh_token")?;
    let refresh = async |token: &str| gateway.post("/api/v1/auth/refresh", &json!({"refresh_token": token})).await;
    let second = refresh(&first).await?.expect(200)?.string("refresh_token")?;
    assert_ne!(first, second, "it rotates");
    refresh(&first).await?.expect_problem(401, "unauthenticated")?;
    refresh(&second).await?.expect_problem(401, "unauthenticated")?;
    Ok(())
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_account_look_the_same() -> Result<()> {
    let world = World::new().await?;
    let gateway = world.platform.gateway()?;
    let me = world.user.get("/api/v1/auth/me").await?.expect(200)?.string("email")?;
    let mut messages = Vec::new();
    for email in [me.as_str(), "nobody@example.org"] {
        let body = json!({"email": email, "password": "not the password"});
        let refused = gateway.post("/api/v1/auth/login", &body).await?.expect_problem(401, "unauthenticated")?;
        messages.push(refused.string("detail")?);
    }
    assert_eq!(messages[0], messages[1]);
    Ok(())
}

#[tokio::test]
async fn a_user_is_no_administrator() -> Result<()> {
    let world = World::new().await?;
    world.user.get("/api/v1/routes").await?.expect_problem(403, "forbidden")?;
    world.admin().await?.get("/api/v1/routes").await?.expect(200)?;
    Ok(())
}
