//! Wrong passwords, users and databases, and users who may do little.

use reqwest::StatusCode;
use serde_json::json;
use sker_testkit::{MariaDbServer, PostgresServer, Shared};
use sqlx::{Connection, MySqlConnection, PgConnection};

use crate::{
    servers::url_of,
    support::{Setup, TestService},
};

const PASSWORD: &str = "hunter2-its-own";

/// The step and the error of a test with these settings.
async fn tried(service: &TestService, kind: &str, url: &str) -> (String, String) {
    let path = format!("/api/database/connections/test/{kind}");
    let (status, body) = service.post(&path, Some(json!({"url": url}))).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert!(!body.to_string().contains("hunter2"), "{body}");
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    (text("step"), text("error"))
}

fn refused(message: &str) -> (String, String) {
    ("authenticate".to_owned(), message.to_owned())
}

fn done() -> (String, String) {
    ("done".to_owned(), String::new())
}

/// `scheme://anybody@host/anything` as another user.
fn with_user(url: &str, user: &str, password: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap();
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    format!("{scheme}://{user}:{password}@{host}")
}

#[tokio::test]
async fn postgresql_refuses_a_wrong_password_and_lets_a_plain_user_in() {
    let server = PostgresServer::start_fast().await.unwrap();
    let mut connection = PgConnection::connect(&server.url()).await.unwrap();
    let hba: String = sqlx::query_scalar("SHOW hba_file").fetch_one(&mut connection).await.unwrap();
    for sql in [
        &format!("CREATE ROLE watcher LOGIN PASSWORD '{PASSWORD}'"),
        &format!(
            "COPY (VALUES ('host all postgres 127.0.0.1/32 trust'), ('host all all 127.0.0.1/32 scram-sha-256')) TO '{hba}'"
        ),
        "SELECT pg_reload_conf()",
    ] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
    }
    let service = Setup::new().start().await;
    let url = |password: &str| with_user(&server.url(), "watcher", password);
    // The server reads its file again a moment later.
    let wrong = refused("the server refuses the user or the password");
    sker_testkit::eventually("the password counts", async || {
        Ok((tried(&service, "postgresql", &url("hunter2-wrong")).await == wrong).then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(tried(&service, "postgresql", &url(PASSWORD)).await, done());
    let missing = format!("{}_no_such_database", url(PASSWORD));
    assert_eq!(tried(&service, "postgresql", &missing).await, refused("the database does not exist"));
}

#[tokio::test]
async fn mariadb_refuses_a_wrong_password_and_lets_a_plain_user_in() {
    let server = MariaDbServer::start_fast().await.unwrap();
    let mut connection = MySqlConnection::connect(&server.url()).await.unwrap();
    let create = format!("CREATE USER watcher@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'");
    sqlx::raw_sql(sqlx::AssertSqlSafe(create)).execute(&mut connection).await.unwrap();
    let service = Setup::new().start().await;
    let base = with_user(&server.url(), "watcher", PASSWORD);
    let base = base.rsplit_once('/').unwrap().0;
    assert_eq!(tried(&service, "mysql", base).await, done());
    let wrong = base.replace(PASSWORD, "hunter2-wrong");
    assert_eq!(tried(&service, "mysql", &wrong).await, refused("the server refuses the user or the password"));
    let other = format!("{base}/mysql");
    assert_eq!(tried(&service, "mysql", &other).await, refused("the user may not use this database"));
}

#[tokio::test]
async fn redis_refuses_a_wrong_password_and_lets_a_user_in_who_may_only_look() {
    let name = format!("watcher-{}", sker_types::new_id());
    let client = redis::Client::open(url_of(Shared::Redis)).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut acl = redis::cmd("ACL");
    // The least that the service's documentation asks for.
    acl.arg(&["SETUSER", &name, "on", &format!(">{PASSWORD}"), "-@all", "+ping", "+info"]);
    let () = acl.query_async(&mut connection).await.unwrap();

    let service = Setup::new().start().await;
    let url = |password: &str| with_user(&url_of(Shared::Redis), &name, password);
    let (right, wrong) =
        (tried(&service, "redis", &url(PASSWORD)).await, tried(&service, "redis", &url("hunter2-wrong")).await);
    let () = redis::cmd("ACL").arg("DELUSER").arg(&name).query_async(&mut connection).await.unwrap();
    assert_eq!(right, done());
    assert_eq!(wrong, refused("the server refuses the user or the password"));
}

#[tokio::test]
async fn rabbitmq_refuses_a_wrong_password_and_an_unknown_virtual_host() {
    let service = Setup::new().start().await;
    let url = url_of(Shared::RabbitMq);
    let wrong = with_user(&url, "guest", "hunter2-wrong");
    assert_eq!(tried(&service, "rabbitmq", &wrong).await, refused("the server refuses the user or the password"));
    let unknown = format!("{}/no-such-host", url.trim_end_matches('/').trim_end_matches("/%2f"));
    let message = "the virtual host does not exist, or the user may not use it";
    assert_eq!(tried(&service, "rabbitmq", &unknown).await, refused(message));
    let vhost = sker_testkit::rabbitmq_vhost().await.unwrap();
    assert_eq!(tried(&service, "rabbitmq", vhost.url()).await, done());

    let management = with_user(&url_of(Shared::RabbitMqManagement), "guest", "hunter2-wrong");
    let body = json!({"url": url, "management_url": management});
    let (_, body) = service.post("/api/database/connections/test/rabbitmq", Some(body)).await;
    assert_eq!((&body["step"], &body["success"]), (&json!("authenticate"), &json!(false)), "{body}");
    assert_eq!(body["error"], "the management API refuses the user or the password");
}
