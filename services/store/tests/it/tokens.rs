//! Access and refresh tokens.

use std::time::Duration;

use anyhow::{Context as _, Result};
use secrecy::SecretString;
use serde_json::{Value, json};
use sker_auth::{Claims, TokenKeys};
use sker_testkit::Answer;
use sker_types::{Role, new_id};

use super::support::{PASSWORD, TestStore, World};

async fn session(store: &TestStore) -> Result<Answer> {
    let body = json!({"email": "ann@example.org", "username": "ann", "password": PASSWORD});
    store.http.post("/api/v1/auth/register", &body).await?.success()
}

async fn refresh(store: &TestStore, token: &Value) -> Result<Answer> {
    store.http.post("/api/v1/auth/refresh", &json!({"refresh_token": token})).await
}

#[tokio::test]
async fn a_refresh_rotates_both_tokens() -> Result<()> {
    let store = TestStore::new().await?;
    let first = session(&store).await?;
    let second = refresh(&store, &first.body["refresh_token"]).await?.expect(200)?;
    assert_ne!(first.body["refresh_token"], second.body["refresh_token"]);
    assert_eq!(first.body["user"]["id"], second.body["user"]["id"]);
    let me = store.http.with_token(second.string("access_token")?);
    me.get("/api/v1/auth/me").await?.expect(200)?;
    refresh(&store, &second.body["refresh_token"]).await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn a_reused_refresh_token_revokes_its_family() -> Result<()> {
    let store = TestStore::new().await?;
    let first = session(&store).await?;
    let body = json!({"email": "ann@example.org", "password": PASSWORD});
    let elsewhere = store.http.post("/api/v1/auth/login", &body).await?.expect(200)?;
    let second = refresh(&store, &first.body["refresh_token"]).await?.expect(200)?;

    let newest = store.http.with_token(second.string("access_token")?);
    newest.get("/api/v1/auth/me").await?.expect(200)?;

    refresh(&store, &first.body["refresh_token"]).await?.expect_problem(401, "unauthenticated")?;
    newest.get("/api/v1/auth/me").await?.expect_problem(401, "unauthenticated")?;
    let third = refresh(&store, &second.body["refresh_token"]).await?;
    third.expect_problem(401, "unauthenticated").context("whoever has the newest token may be the thief")?;
    // Another sign-in is another family.
    refresh(&store, &elsewhere.body["refresh_token"]).await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn of_two_refreshes_at_once_one_wins() -> Result<()> {
    let store = TestStore::new().await?;
    let token = session(&store).await?.body["refresh_token"].clone();
    let (one, two) = futures::future::try_join(refresh(&store, &token), refresh(&store, &token)).await?;
    let won = [&one, &two].into_iter().filter(|answer| answer.status.is_success()).count();
    assert!(won <= 1, "{} and {}", one.text, two.text);
    Ok(())
}

#[tokio::test]
async fn what_is_no_refresh_token_is_refused() -> Result<()> {
    let store = TestStore::new().await?;
    let session = session(&store).await?;
    for token in ["nonsense", session.body["access_token"].as_str().context("a token")?] {
        refresh(&store, &json!(token)).await?.expect_problem(401, "unauthenticated")?;
    }
    for body in [json!({}), json!({"refresh_token": 7})] {
        let refused = store.http.post("/api/v1/auth/refresh", &body).await?.expect_problem(400, "validation_failed")?;
        assert_eq!(refused.field_errors(), ["refresh_token"]);
    }
    Ok(())
}

#[tokio::test]
async fn signing_out_ends_the_session() -> Result<()> {
    let store = TestStore::new().await?;
    let session = session(&store).await?;
    let user = store.http.with_token(session.string("access_token")?);
    user.post("/api/v1/auth/logout", &json!({})).await?.success()?;
    refresh(&store, &session.body["refresh_token"]).await?.expect_problem(401, "unauthenticated")?;
    user.get("/api/v1/auth/me").await?.expect_problem(401, "unauthenticated")?;
    Ok(())
}

#[tokio::test]
async fn a_token_that_is_not_good_is_refused() -> Result<()> {
    let world = World::new().await?;
    let good = Claims::user(world.user_id, Role::User, new_id(), Duration::from_secs(600));
    let sign = |claims: &Claims| world.store.keys.issue(claims);
    // Signed by the test it is good, so that only what is changed below can make the difference.
    world.store.http.with_token(sign(&good)?).get("/api/v1/projects").await?.expect(200)?;

    let foreign = TokenKeys::hs256(&SecretString::from("another secret of more than 32 bytes"))?.issue(&good)?;
    let payload = foreign.split('.').nth(1).context("three parts")?.to_owned();
    let cases = [
        ("expired", sign(&Claims { iat: good.iat - 1_000, exp: good.iat - 1, ..good.clone() })?),
        ("of another audience", sign(&Claims { aud: "elsewhere".to_owned(), ..good.clone() })?),
        ("of another issuer", sign(&Claims { iss: "elsewhere".to_owned(), ..good.clone() })?),
        ("of another secret", foreign),
        // {"alg":"none","typ":"JWT"}
        ("unsigned", format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{payload}.")),
        ("no token", "nonsense".to_owned()),
    ];
    for (what, token) in cases {
        let user = world.store.http.with_token(token);
        for path in ["/api/v1/auth/me", "/api/v1/projects"] {
            user.get(path).await?.expect_problem(401, "unauthenticated").context(what)?;
        }
        let body = json!({"name": "x"});
        user.post("/api/v1/projects", &body).await?.expect_problem(401, "unauthenticated").context(what)?;
    }
    Ok(())
}
