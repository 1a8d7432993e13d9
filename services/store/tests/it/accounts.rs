//! Signing up and signing in.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use sker_testkit::Answer;

use super::support::{ADMIN, PASSWORD, Setup, TestStore, World, ids};

fn account(email: &str, username: &str) -> Value {
    json!({"email": email, "username": username, "password": PASSWORD})
}

async fn sign_in(store: &TestStore, email: &str, password: &str) -> Result<Answer> {
    store.http.post("/api/v1/auth/login", &json!({"email": email, "password": password})).await
}

fn assert_session(answer: &Answer) {
    let body = &answer.body;
    for token in ["access_token", "refresh_token"] {
        assert!(body[token].as_str().is_some_and(|token| token.len() > 20), "{token} in {}", answer.text);
    }
    assert_eq!(body["token_type"], "Bearer");
    assert!(body["expires_in"].as_u64().is_some_and(|seconds| (1..=900).contains(&seconds)), "{}", answer.text);
    assert_eq!(body["user"]["email"], "Ann@Example.org");
    assert!(!answer.text.contains("password") && !answer.text.contains("$argon2"), "{}", answer.text);
}

#[tokio::test]
async fn signing_up_answers_like_signing_in() -> Result<()> {
    let store = TestStore::new().await?;
    let signed_up = store.http.post("/api/v1/auth/register", &account("Ann@Example.org", "ann")).await?.success()?;
    assert_session(&signed_up);
    let signed_in = sign_in(&store, "Ann@Example.org", PASSWORD).await?.expect(200)?;
    assert_session(&signed_in);
    assert_eq!(signed_up.body["user"]["id"], signed_in.body["user"]["id"]);
    let names = |answer: &Answer| answer.body.as_object().map(|body| body.keys().cloned().collect::<Vec<_>>());
    assert_eq!(names(&signed_up), names(&signed_in));

    for session in [signed_up, signed_in] {
        let me = store.http.with_token(session.string("access_token")?);
        let me = me.get("/api/v1/auth/me").await?.expect(200)?;
        assert_eq!(me.body["id"], session.body["user"]["id"]);
        assert_eq!((&me.body["username"], &me.body["role"]), (&json!("ann"), &json!("user")));
        assert!(me.body["last_login_at"].is_string(), "{}", me.text);
        assert!(!me.text.contains("$argon2"), "{}", me.text);
    }
    Ok(())
}

#[tokio::test]
async fn an_email_is_the_same_in_any_case() -> Result<()> {
    let store = TestStore::new().await?;
    store.http.post("/api/v1/auth/register", &account("Ann@Example.org", "ann")).await?.success()?;
    sign_in(&store, "aNN@eXAMPLE.org", PASSWORD).await?.expect(200)?;
    let taken = store.http.post("/api/v1/auth/register", &account("ANN@example.ORG", "other")).await?;
    let taken = taken.expect_problem(409, "conflict")?;
    assert_eq!(taken.field_errors(), ["email"]);
    let taken = store.http.post("/api/v1/auth/register", &account("ann@EXAMPLE.org", "aNN")).await?;
    assert_eq!(taken.expect_problem(409, "conflict")?.field_errors(), ["email", "username"]);
    Ok(())
}

#[tokio::test]
async fn two_who_want_the_same_account_at_once_do_not_both_get_it() -> Result<()> {
    let store = TestStore::new().await?;
    let attempts = (0..6).map(|number| {
        let body = account("ann@example.org", &format!("ann{number}"));
        let http = store.http.clone();
        async move { http.post("/api/v1/auth/register", &body).await }
    });
    let mut made = 0;
    for answer in futures::future::try_join_all(attempts).await? {
        match answer.status.is_success() {
            true => made += 1,
            false => assert_eq!(answer.expect_problem(409, "conflict")?.field_errors(), ["email"]),
        }
    }
    assert_eq!(made, 1);
    Ok(())
}

#[tokio::test]
async fn every_fault_of_a_sign_up_is_named_at_once() -> Result<()> {
    let store = TestStore::new().await?;
    let body = json!({"email": "nobody", "username": "", "password": "xyz-pw", "colour": "red"});
    let refused = store.http.post("/api/v1/auth/register", &body).await?.expect_problem(400, "validation_failed")?;
    let mut fields = refused.field_errors();
    fields.sort_unstable();
    assert_eq!(fields, ["colour", "email", "password", "username"]);
    assert!(!refused.text.contains("xyz-pw"), "a password is never echoed: {}", refused.text);

    let refused = store.http.post("/api/v1/auth/register", &json!({})).await?;
    let refused = refused.expect_problem(400, "validation_failed")?;
    assert_eq!(refused.field_errors().len(), 3, "{}", refused.text);
    let body = json!({"email": "a@b.c", "password": PASSWORD, "remember": true});
    let refused = store.http.post("/api/v1/auth/login", &body).await?.expect_problem(400, "unknown_field")?;
    assert_eq!(refused.field_errors(), ["remember"]);
    Ok(())
}

#[tokio::test]
async fn what_is_not_a_json_object_is_refused() -> Result<()> {
    let store = TestStore::new().await?;
    let send = async |body: &'static str, kind: &'static str| {
        let request = store.http.request(reqwest::Method::POST, "/api/v1/auth/login");
        store.http.send(request.header("Content-Type", kind).body(body)).await
    };
    for body in ["{\"email\":", "[]", "7", ""] {
        send(body, "application/json").await?.expect_problem(400, "invalid_request").context(body)?;
    }
    send("email=a", "application/x-www-form-urlencoded").await?.expect_problem(415, "unsupported_media_type")?;
    Ok(())
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_account_look_the_same() -> Result<()> {
    let store = TestStore::new().await?;
    store.http.post("/api/v1/auth/register", &account("ann@example.org", "ann")).await?.success()?;
    let mut details = Vec::new();
    for email in ["ann@example.org", "nobody@example.org"] {
        let refused = sign_in(&store, email, "not the password").await?.expect_problem(401, "unauthenticated")?;
        details.push(refused.string("detail")?);
    }
    assert_eq!(details[0], details[1]);
    Ok(())
}

#[tokio::test]
async fn guessing_a_password_is_slowed_down() -> Result<()> {
    let setup = Setup::new().await?.with("auth.failures_per_account", "3").with("auth.failures_per_address", "1000");
    let store = setup.start().await?;
    for name in ["ann", "bob"] {
        store.http.post("/api/v1/auth/register", &account(&format!("{name}@example.org"), name)).await?.success()?;
    }
    for _ in 0..3 {
        sign_in(&store, "ann@example.org", "guess").await?.expect_problem(401, "unauthenticated")?;
    }
    // The right password is not let in either: a guesser must not learn that it was right.
    for (email, password) in [("ann@example.org", "guess"), ("ANN@example.org", PASSWORD)] {
        let refused = sign_in(&store, email, password).await?.expect_problem(429, "rate_limited")?;
        let seconds: u64 = refused.header("retry-after").context("Retry-After")?.parse()?;
        assert!(seconds >= 1, "{seconds}");
    }
    sign_in(&store, "bob@example.org", PASSWORD).await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn one_address_cannot_guess_through_many_accounts() -> Result<()> {
    let setup = Setup::new().await?.with("auth.failures_per_account", "3").with("auth.failures_per_address", "5");
    let store = setup.start().await?;
    for number in 0..5 {
        sign_in(&store, &format!("u{number}@example.org"), "guess").await?.expect_problem(401, "unauthenticated")?;
    }
    sign_in(&store, "u5@example.org", "guess").await?.expect_problem(429, "rate_limited")?;
    Ok(())
}

#[tokio::test]
async fn the_first_administrators_password_is_made_up_once_and_readable_by_its_owner_alone() -> Result<()> {
    let setup = Setup::empty().await?;
    let file = setup.path().join("admin-password");
    let setup = setup.with("admin.password", "").with("admin.password_file", &file.display().to_string());
    let store = setup.start().await?;
    let password = std::fs::read_to_string(&file)?;
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file)?.permissions());
        assert_eq!(mode & 0o777, 0o600);
    }
    assert!(password.trim().len() >= 16, "{} characters", password.trim().len());
    let admin = store.http.log_in(ADMIN, password.trim()).await?;
    assert_eq!(admin.get("/api/v1/auth/me").await?.expect(200)?.body["role"], "admin");

    let store = store.stop().await?.after_a_crash().start().await?;
    assert_eq!(std::fs::read_to_string(&file)?, password, "the second start makes no other");
    store.http.log_in(ADMIN, password.trim()).await?;
    Ok(())
}

#[tokio::test]
async fn users_change_what_is_theirs() -> Result<()> {
    let world = World::new().await?;
    let path = format!("/api/v1/users/{}", world.user_id);
    let patch = json!({"username": "Änne", "settings": {"theme": "dark"}});
    let changed = world.user.patch(&path, &patch, Some("\"1\"")).await?.expect(200)?;
    assert_eq!((&changed.body["username"], &changed.body["settings"]), (&json!("Änne"), &json!({"theme": "dark"})));
    assert_eq!(changed.header("etag"), Some("\"2\""));
    let taken = world.user.patch(&path, &json!({"email": ADMIN.to_uppercase()}), None).await?;
    assert_eq!(taken.expect_problem(409, "conflict")?.field_errors(), ["email"]);
    Ok(())
}

#[tokio::test]
async fn an_account_that_is_locked_lets_nobody_in() -> Result<()> {
    let world = World::new().await?;
    let admin = world.store.admin().await?;
    let users = admin.get("/api/v1/users?role=user").await?.expect(200)?;
    assert_eq!(ids(&users)?, [world.user_id.to_string()]);
    let path = format!("/api/v1/users/{}", world.user_id);
    admin.patch(&path, &json!({"is_active": false}), None).await?.expect(200)?;
    world.user.get("/api/v1/auth/me").await?.expect_problem(401, "unauthenticated")?;
    Ok(())
}
