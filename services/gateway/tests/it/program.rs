//! The program from outside.

use std::time::Duration;

use sker_testkit::{Launch, Signal, eventually, free_port};

use crate::support::SECRET;

const PATIENCE: Duration = Duration::from_secs(60);

fn launch(home: &std::path::Path, port: u16, arguments: &[&str]) -> Launch {
    let nowhere = "127.0.0.1:9";
    Launch::new("sker-gateway", home)
        .args(arguments)
        .env("JWT_SECRET", SECRET)
        .env("GATEWAY_PORT", &port.to_string())
        .env("RABBITMQ_URL", &format!("amqp://{nowhere}"))
        .env("REDIS_URL", &format!("redis://{nowhere}"))
        .env("REGISTRY_GRPC_URL", &format!("http://{nowhere}"))
        .env("STORE_GRPC_URL", &format!("http://{nowhere}"))
}

#[tokio::test]
async fn alone_it_runs_is_not_ready_says_why_and_stops_when_it_is_told_to() {
    let (home, port) = (tempfile::tempdir().unwrap(), free_port().unwrap());
    let mut gateway = launch(home.path(), port, &[]).start().unwrap();
    let address: std::net::SocketAddr = ([127, 0, 0, 1], port).into();
    eventually("the gateway listens", async || Ok(tokio::net::TcpStream::connect(address).await.ok())).await.unwrap();
    let healthy = launch(home.path(), port, &["--health"]).run(PATIENCE).await.unwrap();
    assert_eq!(healthy.code, Some(0), "{}", healthy.stderr);
    let ask = |path: &str| crate::support::request("GET", path).body(crate::support::empty()).unwrap();
    let ready = crate::support::send(address, ask("/ready")).await;
    assert!(ready.status == 503 && ready.text().contains("routes"), "{}", ready.text());
    let unknown = crate::support::send(address, ask("/api/v1/projects")).await;
    assert_eq!(unknown.status, 503, "it does not know yet that there is no such route");
    gateway.signal(Signal::SIGTERM).unwrap();
    assert_eq!(gateway.wait(PATIENCE).await.unwrap(), Some(0), "{}", gateway.output());
    let healthy = launch(home.path(), port, &["--health"]).run(PATIENCE).await.unwrap();
    assert_eq!(healthy.code, Some(1));
}

#[tokio::test]
async fn in_production_it_refuses_passwords_that_everybody_knows() {
    let (home, port) = (tempfile::tempdir().unwrap(), free_port().unwrap());
    let launch = launch(home.path(), port, &[]).env("SKER_ENV", "production");
    let refused = launch.env("RABBITMQ_URL", "amqp://guest:guest@rabbitmq:5672/%2f").run(PATIENCE).await.unwrap();
    assert_eq!(refused.code, Some(64));
    assert!(refused.stderr.contains("rabbitmq.url") && !refused.stderr.contains("guest"), "{}", refused.stderr);
}
