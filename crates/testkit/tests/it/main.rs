//! The test kit itself: on a program that every system has, and on the servers it is for.

mod distributed;
mod servers;
mod shared;

use std::{collections::HashSet, path::Path, time::Duration};

use anyhow::Result;
use sker_testkit::{Launch, PATIENCE, Signal, eventually, free_port};

fn shell(home: &Path, script: &str) -> Launch {
    Launch::new("/bin/sh", home).args(["-c", script])
}

#[test]
fn a_port_is_given_once() -> Result<()> {
    let ports = (0..50).map(|_| free_port()).collect::<Result<HashSet<u16>>>()?;
    assert_eq!(ports.len(), 50);
    Ok(())
}

#[tokio::test]
async fn a_program_shows_what_it_wrote_and_how_it_ended() -> Result<()> {
    let home = tempfile::tempdir()?;
    let finished = shell(home.path(), "echo out; echo err >&2; exit 3").run(PATIENCE).await?;
    assert_eq!((finished.code, finished.stdout.as_str(), finished.stderr.as_str()), (Some(3), "out\n", "err\n"));
    Ok(())
}

#[tokio::test]
async fn a_program_gets_only_the_environment_it_was_given() -> Result<()> {
    let home = tempfile::tempdir()?;
    let finished = shell(home.path(), "echo $HOME $GIVEN $CARGO").env("GIVEN", "given").run(PATIENCE).await?;
    assert_eq!(finished.stdout.trim(), format!("{} given", home.path().display()));
    Ok(())
}

#[tokio::test]
async fn a_program_hears_signals_and_can_be_killed() -> Result<()> {
    let home = tempfile::tempdir()?;
    let script = "trap 'echo caught; exit 0' TERM; echo ready; while :; do sleep 0.01; done";
    let mut program = shell(home.path(), script).start()?;
    eventually("the trap is set", async || Ok(program.stdout()?.contains("ready").then_some(()))).await?;
    program.signal(Signal::SIGTERM)?;
    assert_eq!(program.wait(PATIENCE).await?, Some(0));
    assert!(program.stdout()?.contains("caught"));

    let mut program = shell(home.path(), "exec sleep 1000").start()?;
    program.kill().await?;
    assert!(program.has_ended()?);
    Ok(())
}

#[tokio::test]
async fn a_program_that_takes_too_long_is_killed() -> Result<()> {
    let home = tempfile::tempdir()?;
    let error = shell(home.path(), "echo busy; exec sleep 1000").run(Duration::from_millis(200)).await;
    assert!(error.expect_err("it never ends").to_string().contains("busy"), "the message shows its output");
    Ok(())
}

#[tokio::test]
async fn a_missing_program_is_told_by_its_path() -> Result<()> {
    let home = tempfile::tempdir()?;
    let error = Launch::new("sker-no-such-program", home.path()).start().err().map(|error| error.to_string());
    assert!(error.is_some_and(|error| error.contains("sker-no-such-program")));
    Ok(())
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn peak_memory_is_seen() -> Result<()> {
    let home = tempfile::tempdir()?;
    let program = shell(home.path(), "exec sleep 1000").start()?;
    let peak = eventually("it runs", async || Ok(Some(program.peak_memory_bytes()).filter(|peak| *peak > 0))).await?;
    assert!(peak < 64 << 20, "{peak}");
    Ok(())
}
