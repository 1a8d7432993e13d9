//! Configuration that is wrong.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::Result;
use sker_testkit::{Embedded, Launch, PATIENCE, Ports};

#[tokio::test]
async fn wrong_configuration_lists_every_fault_before_a_port_is_bound() -> Result<()> {
    let home = tempfile::tempdir()?;
    let ports = Ports::free()?;
    // Taken: a start that binds before it checks fails for another reason.
    let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, ports.registry.0))?;
    let finished = Embedded::launch(home.path(), &ports)
        .args(["--set", "gateway.http.port=99999", "--set", "store.no_such_key=1", "--set", "broker.http.port=many"])
        .run(PATIENCE)
        .await?;
    assert_eq!(finished.code, Some(64), "{}\n{}", finished.stdout, finished.stderr);
    for fault in ["http.port", "no_such_key", "99999", "many"] {
        assert!(finished.stderr.contains(fault), "{fault} is named:\n{}", finished.stderr);
    }
    assert!(!finished.stderr.contains("in use") && !finished.stderr.contains("panicked"), "{}", finished.stderr);
    Ok(())
}

#[tokio::test]
async fn a_configuration_can_be_checked_and_shown_without_a_start() -> Result<()> {
    let home = tempfile::tempdir()?;
    let ports = Ports::free()?;
    let checked = Embedded::launch(home.path(), &ports).args(["--check-config"]).run(PATIENCE).await?;
    assert_eq!(checked.code, Some(0), "{}", checked.stderr);
    let shown = Embedded::launch(home.path(), &ports).args(["--dump-config"]).run(PATIENCE).await?;
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    assert!(shown.stdout.contains(&ports.gateway.to_string()), "{}", shown.stdout);
    Ok(())
}

#[tokio::test]
async fn a_taken_port_is_told_by_its_number() -> Result<()> {
    let home = tempfile::tempdir()?;
    let ports = Ports::free()?;
    let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, ports.gateway))?;
    let finished = Embedded::launch(home.path(), &ports).run(PATIENCE).await?;
    assert!(finished.code.is_some_and(|code| code != 0));
    assert!(finished.stderr.contains(&ports.gateway.to_string()), "{}", finished.stderr);
    assert!(!finished.stderr.contains("panicked"), "{}", finished.stderr);
    Ok(())
}

#[tokio::test]
async fn help_and_version_need_no_platform() -> Result<()> {
    let home = tempfile::tempdir()?;
    for argument in ["--help", "--version"] {
        let finished = Launch::new("sker", home.path()).args([argument]).run(PATIENCE).await?;
        assert_eq!((finished.code, finished.stdout.contains("sker")), (Some(0), true), "{argument}");
    }
    let finished = Launch::new("sker", home.path()).args(["no-such-command"]).run(PATIENCE).await?;
    assert_eq!(finished.code, Some(2));
    Ok(())
}

#[tokio::test]
async fn a_client_command_without_a_platform_says_so() -> Result<()> {
    let home = tempfile::tempdir()?;
    let ports = Ports::free()?;
    let url = format!("http://127.0.0.1:{}", ports.gateway);
    let finished = Launch::new("sker", home.path()).args(["--url", &url, "projects", "list"]).run(PATIENCE).await?;
    assert!(finished.code.is_some_and(|code| code != 0));
    assert!(!finished.stderr.is_empty() && !finished.stderr.contains("panicked"), "{}", finished.stderr);
    Ok(())
}
