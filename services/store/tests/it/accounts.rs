use anyhow::Result;
use serde_json::json;
use sker_auth::Claims;
use sker_testkit::Api;
use sker_types::{Role, new_id};

use crate::world::World;

const REGISTER: &str = "/api/v1/auth/register";
const LOGIN: &str = "/api/v1/auth/login";
const REFRESH: &str = "/api/v1/auth/refresh";
const ME: &str = "/api/v1/auth/me";

fn ann() -> serde_json::Value {
    json!({"email": "Ann@Example.org", "username": "Ann", "password": "correct horse"})
}

#[tokio::test]
async fn somebody_who_signs_up_is_signed_in_and_can_sign_in_again() -> Result<()> {
    let world = World::start().await?;
    let answer = world.api.post(REGISTER, &ann()).await?.expect(201)?;
    assert_eq!(answer.body["token_type"], "Bearer");
    assert_eq!(answer.body["expires_in"], 900);
    assert_eq!(answer.body["user"]["role"], "user");
    assert!(!answer.text.contains("password") && !answer.text.contains("argon2"), "{}", answer.text);

    let ann = world.api.log_in("ANN@example.ORG", "correct horse").await?;
    let me = ann.get(ME).await?.expect(200)?;
    assert_eq!((&me.body["email"], &me.body["username"]), (&json!("Ann@Example.org"), &json!("Ann")));
    assert!(me.body["last_login_at"].is_string());
    Ok(())
}

#[tokio::test]
async fn names_are_taken_whatever_their_case() -> Result<()> {
    let world = World::start().await?;
    world.api.post(REGISTER, &ann()).await?.expect(201)?;
    let again = json!({"email": "ANN@EXAMPLE.ORG", "username": "aNN", "password": "correct horse"});
    let answer = world.api.post(REGISTER, &again).await?.expect_problem(409, "conflict")?;
    let fields: Vec<_> = answer.body["errors"].as_array().unwrap().iter().map(|fault| &fault["field"]).collect();
    assert_eq!(fields, ["email", "username"]);
    Ok(())
}

#[tokio::test]
async fn a_bad_registration_names_every_field() -> Result<()> {
    let world = World::start().await?;
    let body = json!({"email": "nobody", "password": "short", "role": "admin"});
    let answer = world.api.post(REGISTER, &body).await?.expect_problem(400, "validation_failed")?;
    let fields: Vec<_> = answer.body["errors"].as_array().unwrap().iter().map(|fault| &fault["field"]).collect();
    assert_eq!(fields, ["email", "username", "password", "role"]);
    Ok(())
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_account_are_answered_alike() -> Result<()> {
    let world = World::start().await?;
    world.api.post(REGISTER, &ann()).await?.expect(201)?;
    let wrong = json!({"email": "ann@example.org", "password": "battery staple"});
    let wrong = world.api.post(LOGIN, &wrong).await?.expect_problem(401, "unauthenticated")?;
    let unknown = json!({"email": "bob@example.org", "password": "battery staple"});
    let unknown = world.api.post(LOGIN, &unknown).await?.expect_problem(401, "unauthenticated")?;
    assert_eq!(wrong.body["detail"], unknown.body["detail"]);
    Ok(())
}

#[tokio::test]
async fn guessing_is_throttled_even_with_the_right_password() -> Result<()> {
    let world = World::start_with(&[("auth.failures_per_account", "3")]).await?;
    world.api.post(REGISTER, &ann()).await?.expect(201)?;
    for _ in 0..3 {
        let wrong = json!({"email": "ann@example.org", "password": "battery staple"});
        world.api.post(LOGIN, &wrong).await?.expect(401)?;
    }
    let right = json!({"email": "ann@example.org", "password": "correct horse"});
    let answer = world.api.post(LOGIN, &right).await?.expect_problem(429, "rate_limited")?;
    assert!(answer.header("retry-after").is_some());
    Ok(())
}

#[tokio::test]
async fn a_refresh_token_is_good_once_and_its_reuse_revokes_the_family() -> Result<()> {
    let world = World::start().await?;
    let first = world.api.post(REGISTER, &ann()).await?.expect(201)?;
    let other = json!({"email": "ann@example.org", "password": "correct horse"});
    let other = world.api.post(LOGIN, &other).await?.expect(200)?;
    let refresh = async |token: String| world.api.post(REFRESH, &json!({"refresh_token": token})).await;

    let second = refresh(first.string("refresh_token")?).await?.expect(200)?;
    assert_ne!(second.body["refresh_token"], first.body["refresh_token"]);
    let newest = world.api.with_token(second.string("access_token")?);
    newest.get(ME).await?.expect(200)?;

    refresh(first.string("refresh_token")?).await?.expect_problem(401, "unauthenticated")?;
    refresh(second.string("refresh_token")?).await?.expect_problem(401, "unauthenticated")?;
    newest.get(ME).await?.expect(401)?;
    // Another sign-in of the same user is another family.
    refresh(other.string("refresh_token")?).await?.expect(200)?;
    refresh("no such token".to_owned()).await?.expect(401)?;
    Ok(())
}

#[tokio::test]
async fn signing_out_ends_the_session() -> Result<()> {
    let world = World::start().await?;
    let session = world.api.post(REGISTER, &ann()).await?.expect(201)?;
    let user = world.api.with_token(session.string("access_token")?);
    user.send(user.request(reqwest::Method::POST, "/api/v1/auth/logout")).await?.expect(204)?;
    user.get(ME).await?.expect(401)?;
    let body = json!({"refresh_token": session.body["refresh_token"]});
    world.api.post(REFRESH, &body).await?.expect(401)?;
    Ok(())
}

#[tokio::test]
async fn an_expired_token_is_refused_and_says_so() -> Result<()> {
    let world = World::start().await?;
    let mut claims = Claims::user(new_id(), Role::User, new_id(), std::time::Duration::from_secs(60));
    claims.exp = claims.iat - 1;
    let expired = world.api.with_token(world.keys.issue(&claims)?);
    let answer = expired.get("/api/v1/projects").await?.expect_problem(401, "unauthenticated")?;
    assert_eq!(answer.body["detail"], "the token has expired");
    world.api.get("/api/v1/projects").await?.expect_problem(401, "unauthenticated")?;
    Ok(())
}

#[tokio::test]
async fn users_see_themselves_and_administrators_see_everybody() -> Result<()> {
    let world = World::start().await?;
    let (ann, bob) = (world.api.sign_up().await?, world.api.sign_up().await?);
    let id = ann.get(ME).await?.expect(200)?.string("id")?;
    let path = format!("/api/v1/users/{id}");
    ann.get(&path).await?.expect(200)?;
    bob.get(&path).await?.expect_problem(404, "not_found")?;
    ann.get("/api/v1/users").await?.expect_problem(403, "forbidden")?;
    for path in ["/api/system/stats", "/api/system/health"] {
        ann.get(path).await?.expect_problem(403, "forbidden")?;
    }

    let admin = world.admin().await?;
    let page = admin.get("/api/v1/users?role=user").await?.expect(200)?;
    assert_eq!(page.body["data"].as_array().unwrap().len(), 2);
    admin.patch(&path, &json!({"is_active": false}), None).await?.expect(200)?;
    ann.get(ME).await?.expect(401)?;
    let stats = admin.get("/api/system/stats").await?.expect(200)?;
    assert_eq!(stats.body["users"], 3);
    admin.get("/api/system/health").await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn users_change_what_is_theirs_and_not_their_role() -> Result<()> {
    let world = World::start().await?;
    let ann = world.api.sign_up().await?;
    let id = ann.get(ME).await?.expect(200)?.string("id")?;
    let path = format!("/api/v1/users/{id}");
    let patch = json!({"username": "Änne", "settings": {"theme": "dark"}});
    let changed = ann.patch(&path, &patch, Some("\"1\"")).await?.expect(200)?;
    assert_eq!(changed.body["settings"], json!({"theme": "dark"}));
    assert_eq!(changed.header("etag"), Some("\"2\""));
    ann.patch(&path, &json!({"role": "admin"}), None).await?.expect_problem(403, "forbidden")?;
    let taken = json!({"email": "ADMIN@sker.local"});
    ann.patch(&path, &taken, None).await?.expect_problem(409, "conflict")?;
    Ok(())
}

#[cfg(unix)]
#[tokio::test]
async fn the_first_administrators_password_is_made_up_and_written_for_its_owner_only() -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;

    let elsewhere = tempfile::tempdir()?;
    let file = elsewhere.path().join("admin-password");
    let settings = [("admin.password", ""), ("admin.password_file", file.to_str().unwrap())];
    let world = World::start_with(&settings).await?;
    let password = std::fs::read_to_string(&file)?;
    assert_eq!(std::fs::metadata(&file)?.permissions().mode() & 0o777, 0o600);
    let admin: Api = world.api.log_in("admin@sker.local", password.trim()).await?;
    assert_eq!(admin.get(ME).await?.expect(200)?.body["role"], "admin");
    // A second start makes no second one.
    let world = world.restart().await?;
    assert_eq!(std::fs::read_to_string(&file)?, password);
    world.api.log_in("admin@sker.local", password.trim()).await?;
    Ok(())
}
