//! The program itself.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::Result;
use sker_testkit::{Api, eventually, free_port};

use crate::support::{instance, ports};

struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn command(directory: &Path, arguments: &[String]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sker-registry"));
    command
        .current_dir(directory)
        .env_clear()
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

async fn start(directory: &Path) -> Result<(Program, Api)> {
    let (http, grpc) = (free_port()?, free_port()?);
    std::fs::write(
        directory.join("registry.yaml"),
        format!(
            "server: {{http: {{host: 127.0.0.1, port: {http}}}}}\ndatabase: {{type: sqlite, dsn: 'sqlite://r.db'}}\n"
        ),
    )?;
    let arguments = ["-config", "registry.yaml", "--set"].map(str::to_owned);
    let arguments: Vec<String> = arguments.into_iter().chain([format!("grpc.port={grpc}")]).collect();
    let program = Program(command(directory, &arguments).spawn()?);
    let api = Api::new(&format!("http://127.0.0.1:{http}"))?;
    eventually("the registry is ready", async || {
        Ok(api.get("/ready").await.ok().filter(|answer| answer.status.is_success()).map(drop))
    })
    .await?;
    Ok((program, api))
}

#[tokio::test]
async fn no_acknowledged_registration_is_lost_when_the_program_is_killed() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (mut program, api) = start(directory.path()).await?;
    for port in 7001..7021 {
        api.post("/api/v1/instances", &instance("a", port)).await?.expect(201)?;
    }
    program.0.kill()?;
    program.0.wait()?;
    let (_program, api) = start(directory.path()).await?;
    let found = api.get("/api/v1/services/a/instances").await?.expect(200)?;
    assert_eq!(ports(&found), (7001..7021).collect::<Vec<u64>>());
    Ok(())
}

#[tokio::test]
async fn a_wrong_configuration_stops_the_start_with_status_64() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let arguments = ["--set", "registry.durability=maybe"].map(str::to_owned);
    assert_eq!(command(directory.path(), &arguments).status()?.code(), Some(64));
    let mut by_environment = command(directory.path(), &["--check-config".to_owned()]);
    by_environment.env("REGISTRY_DB_DSN", "root:password@tcp(mysql:3306)/registry?charset=utf8mb4");
    assert_eq!(by_environment.status()?.code(), Some(64));
    std::fs::write(directory.path().join("r.yaml"), "server: {http: {port: none}}")?;
    let mut by_file = command(directory.path(), &["--check-config".to_owned()]);
    assert_eq!(by_file.status()?.code(), Some(0));
    by_file.env("REGISTRY_CONFIG_FILE", "r.yaml");
    assert_eq!(by_file.status()?.code(), Some(64));
    Ok(())
}
