//! The client commands of `sker`, against a running platform.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use anyhow::{Context, Result};
use serde_json::Value;
use sker_testkit::{Finished, Launch, PATIENCE};

use crate::{
    texts::ENGLISH,
    world::{World, text},
};

/// Somebody at a terminal of their own.
struct Person<'a> {
    home: &'a Path,
    url: String,
}

impl Person<'_> {
    async fn run(&self, arguments: &[&str]) -> Result<Finished> {
        let launch =
            Launch::new("sker", self.home).env("SKER_URL", &self.url).env("SKER_PASSWORD", "correct horse battery");
        launch.args(arguments).run(PATIENCE).await
    }

    /// Runs a command that must succeed and reads what it prints as JSON.
    async fn json(&self, arguments: &[&str]) -> Result<Value> {
        let finished = self.run(&[arguments, &["--output", "json"]].concat()).await?;
        anyhow::ensure!(finished.code == Some(0), "{arguments:?}: {finished:#?}");
        serde_json::from_str(&finished.stdout).with_context(|| format!("{arguments:?}: {}", finished.stdout))
    }
}

/// Every file below a directory.
fn files(directory: &Path) -> Result<Vec<std::path::PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
    }
    Ok(found)
}

#[tokio::test]
async fn a_person_works_with_a_project_from_the_command_line() -> Result<()> {
    let world = World::new().await?;
    let home = tempfile::tempdir()?;
    let person = Person { home: home.path(), url: world.platform.gateway()?.base().to_owned() };
    let before = person.run(&["projects", "list"]).await?;
    assert_eq!(before.code, Some(3), "not signed in: {}", before.stderr);

    let login = person.run(&["login", "--email", "ada@example.org", "--register"]).await?;
    assert_eq!(login.code, Some(0), "{}", login.stderr);
    let kept: Vec<_> = files(home.path())?
        .into_iter()
        .filter(|path| path.extension().is_none_or(|extension| extension != "stdout" && extension != "stderr"))
        .collect();
    assert!(!kept.is_empty(), "the sign-in is remembered");
    for path in kept {
        assert_eq!(fs::metadata(&path)?.permissions().mode() & 0o077, 0, "{} is its owner's alone", path.display());
    }

    let project = person.json(&["projects", "create", "Harbour", "--description", "logbook"]).await?;
    let project = text(&project, "id")?;
    fs::write(home.path().join("tides.md"), ENGLISH)?;
    let node = person.json(&["nodes", "create", project, "--title", "Tides", "--file", "tides.md"]).await?;
    let node = text(&node, "id")?;
    assert_eq!(person.json(&["nodes", "show", node]).await?["content"], ENGLISH);
    let task = person.json(&["tasks", "submit", project, "--type", "semantic_analysis", "--node", node]).await?;
    let task = text(&task, "id")?;
    let watched = person.run(&["tasks", "watch", task]).await?;
    assert_eq!(watched.code, Some(0), "{}\n{}", watched.stdout, watched.stderr);
    assert!(!watched.stdout.contains('\u{1b}') && !watched.stderr.contains('\u{1b}'), "no colours into a file");
    let cancelled = person.run(&["tasks", "cancel", task]).await?;
    assert_eq!(cancelled.code, Some(5), "it has ended already: {}", cancelled.stderr);

    let table = person.run(&["services", "list"]).await?;
    assert_eq!(table.code, Some(0), "{}", table.stderr);
    for service in ["gateway", "store", "broker", "registry", "database-service"] {
        assert!(table.stdout.contains(service), "{}", table.stdout);
    }
    let databases = person.run(&["db", "status"]).await?;
    assert_eq!(databases.code, Some(0), "{}", databases.stderr);

    let missing = person.run(&["projects", "show", "0190a5b0-0000-7000-8000-000000000000"]).await?;
    assert_eq!(missing.code, Some(4), "{}", missing.stderr);
    assert_eq!(person.run(&["logout"]).await?.code, Some(0));
    assert_eq!(person.run(&["projects", "list"]).await?.code, Some(3));
    Ok(())
}

#[tokio::test]
async fn a_script_reads_json_and_a_person_a_table() -> Result<()> {
    let world = World::new().await?;
    let home = tempfile::tempdir()?;
    let person = Person { home: home.path(), url: world.platform.gateway()?.base().to_owned() };
    let login = person.run(&["login", "--email", "li@example.org", "--register"]).await?;
    assert_eq!(login.code, Some(0), "{}", login.stderr);
    for name in ["first", "第二个"] {
        person.json(&["projects", "create", name]).await?;
    }
    let listed = person.json(&["projects", "list"]).await?.to_string();
    let table = person.run(&["projects", "list"]).await?;
    for name in ["first", "第二个"] {
        assert!(listed.contains(name), "{listed}");
        assert!(table.stdout.contains(name), "{}", table.stdout);
    }
    Ok(())
}
