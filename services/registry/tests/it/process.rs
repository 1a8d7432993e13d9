//! The program itself.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::Result;
use sker_testkit::{Api, eventually, free_port};

use crate::{
    backend::Place,
    support::{instance, ports},
};

pub struct Program(Child);

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

/// Starts the program with its configuration in a file of the seed's form.
pub fn start(directory: &Path, (kind, dsn): (&str, String)) -> Result<(Program, Api)> {
    let (http, grpc) = (free_port()?, free_port()?);
    let server = format!("server: {{http: {{host: 127.0.0.1, port: {http}}}}}");
    let file = format!("{server}\ndatabase: {{type: {kind}, dsn: '{dsn}'}}\n");
    std::fs::write(directory.join("registry.yaml"), file)?;
    let arguments = ["-config", "registry.yaml", "--set"].map(str::to_owned);
    let arguments: Vec<String> = arguments.into_iter().chain([format!("grpc.port={grpc}")]).collect();
    let program = Program(command(directory, &arguments).spawn()?);
    Ok((program, Api::new(&format!("http://127.0.0.1:{http}"))?))
}

pub async fn until_ready(api: &Api) -> Result<()> {
    eventually("the registry is ready", async || {
        Ok(api.get("/ready").await.ok().filter(|answer| answer.status.is_success()).map(drop))
    })
    .await
}

#[tokio::test]
async fn no_acknowledged_registration_is_lost_when_the_program_is_killed() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let place = Place::new().await?;
    let (mut program, api) = start(directory.path(), place.dsn())?;
    until_ready(&api).await?;
    for port in 7001..7021 {
        api.post("/api/v1/instances", &instance("a", port)).await?.expect(201)?;
    }
    program.0.kill()?;
    program.0.wait()?;
    let (_program, api) = start(directory.path(), place.dsn())?;
    until_ready(&api).await?;
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
    assert_eq!(by_environment.status()?.code(), Some(0), "the seed's own form is right");
    by_environment.env("REGISTRY_DB_DSN", "root:password@nowhere");
    assert_eq!(by_environment.status()?.code(), Some(64));
    std::fs::write(directory.path().join("r.yaml"), "server: {http: {port: none}}")?;
    let mut by_file = command(directory.path(), &["--check-config".to_owned()]);
    assert_eq!(by_file.status()?.code(), Some(0));
    by_file.env("REGISTRY_CONFIG_FILE", "r.yaml");
    assert_eq!(by_file.status()?.code(), Some(64));
    Ok(())
}
