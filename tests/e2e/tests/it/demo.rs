//! `sker demo FILE` (SPEC.md, section 1).

use std::{fs, time::Duration};

use anyhow::{Context, Result};
use sker_testkit::{Finished, Launch};
use tempfile::TempDir;

use crate::texts::{CHINESE, ENGLISH, long_markdown};

/// Only ever used up by a failure; generous, because builds for tests are not optimised.
const DEADLINE: Duration = Duration::from_secs(900);
const SERVICES: [&str; 5] = ["gateway", "store", "broker", "registry", "database-service"];

async fn demo(home: &TempDir, name: &str, content: Option<&[u8]>) -> Result<Finished> {
    let file = home.path().join(name);
    if let Some(content) = content {
        fs::write(&file, content)?;
    }
    Launch::new("sker", home.path()).args(["demo".into(), file.into_os_string()]).run(DEADLINE).await
}

/// Text without what the layout adds: line breaks and indentation.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn sentences(markdown: &str) -> Vec<String> {
    let prose = markdown.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join(" ");
    let ends = prose.replace(". ", ".\n").replace('。', "。\n");
    ends.lines().map(flat).filter(|sentence| !sentence.is_empty()).collect()
}

fn headings(markdown: &str) -> impl Iterator<Item = &str> {
    markdown.lines().filter_map(|line| line.strip_prefix("## "))
}

fn assert_a_good_demo(finished: &Finished, markdown: &str, space: &str) {
    let shown = flat(&finished.stdout);
    assert_eq!(finished.code, Some(0), "{}\n{}", finished.stdout, finished.stderr);
    for heading in headings(markdown) {
        assert!(shown.contains(heading), "the section {heading} is named:\n{}", finished.stdout);
    }
    // A line break inside a Chinese sentence is shown as nothing, not as a space.
    let squeezed = shown.replace(' ', space);
    let verbatim = sentences(markdown).iter().filter(|s| squeezed.contains(&s.replace(' ', space))).count();
    assert!(verbatim >= 3, "{verbatim} sentences of the file are in the fused text:\n{}", finished.stdout);
    for service in SERVICES {
        assert!(shown.contains(service), "{service} is in the table:\n{}", finished.stdout);
    }
    assert!(shown.contains("healthy"), "with its health:\n{}", finished.stdout);
    assert!(!finished.stdout.contains('\u{1b}') && !finished.stderr.contains('\u{1b}'), "no colours into a file");
}

#[tokio::test]
async fn a_readme_is_fused_and_every_service_is_shown() -> Result<()> {
    let home = tempfile::tempdir()?;
    let finished = demo(&home, "README.md", Some(ENGLISH.as_bytes())).await?;
    assert_a_good_demo(&finished, ENGLISH, " ");
    Ok(())
}

#[tokio::test]
async fn chinese_text_is_fused_in_whole_sentences() -> Result<()> {
    let home = tempfile::tempdir()?;
    let finished = demo(&home, "平台说明.md", Some(CHINESE.as_bytes())).await?;
    assert_a_good_demo(&finished, CHINESE, "");
    Ok(())
}

#[tokio::test]
async fn plain_text_without_headings_is_taken_too() -> Result<()> {
    let home = tempfile::tempdir()?;
    let text = flat(&ENGLISH.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join(" "));
    let finished = demo(&home, "notes.txt", Some(text.as_bytes())).await?;
    assert_a_good_demo(&finished, &text, " ");
    Ok(())
}

#[tokio::test]
async fn another_file_gives_another_result() -> Result<()> {
    let home = tempfile::tempdir()?;
    let (first, rest) = ENGLISH.split_once("## Fees").context("a last section")?;
    let changed =
        format!("{first}## Fees{}", rest.replace("Fees are paid per metre and night.", "Mooring is free of charge."));
    let one = demo(&home, "one.md", Some(first.as_bytes())).await?;
    let other = demo(&home, "other.md", Some(changed.as_bytes())).await?;
    assert_a_good_demo(&one, first, " ");
    assert_a_good_demo(&other, &changed, " ");
    assert!(!one.stdout.contains("Fees") && other.stdout.contains("Fees"));
    Ok(())
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_a_clear_error() -> Result<()> {
    let home = tempfile::tempdir()?;
    let binary: Vec<u8> = (0..=255).cycle().take(4_096).collect();
    let cases: [(&str, Option<&[u8]>); 5] = [
        ("missing.md", None),
        ("empty.md", Some(b"")),
        ("blank.md", Some(b" \n\t\n")),
        ("binary.md", Some(&binary)),
        ("latin1.md", Some(b"# Caf\xe9\n\nNot UTF-8.\n")),
    ];
    for (name, content) in cases {
        let finished = demo(&home, name, content).await?;
        assert_eq!(finished.code, Some(2), "{name}: {}", finished.stderr);
        assert!(finished.stderr.contains(name), "the message names the file: {}", finished.stderr);
        assert!(!finished.stderr.contains("panicked"), "{}", finished.stderr);
        assert_eq!(finished.stdout, "", "{name}: nothing was started");
    }
    Ok(())
}

#[tokio::test]
async fn the_demo_leaves_nothing_behind() -> Result<()> {
    let home = tempfile::tempdir()?;
    let finished = demo(&home, "README.md", Some(ENGLISH.as_bytes())).await?;
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    let left: Vec<String> = fs::read_dir(home.path())?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    let unexpected: Vec<&String> =
        left.iter().filter(|name| *name != "README.md" && !name.starts_with("sker-")).collect();
    assert!(unexpected.is_empty(), "{unexpected:?}");
    assert!(
        left.iter().all(|name| name == "README.md" || name.ends_with(".stdout") || name.ends_with(".stderr")),
        "{left:?}"
    );
    Ok(())
}

#[tokio::test]
async fn two_megabytes_of_markdown_fit_in_400_mebibytes() -> Result<()> {
    let home = tempfile::tempdir()?;
    let text = long_markdown(2_000_000);
    let finished = demo(&home, "long.md", Some(text.as_bytes())).await?;
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    let mebibytes = finished.peak_memory >> 20;
    assert!((1..=400).contains(&mebibytes), "{mebibytes} MiB");
    let shown = flat(&finished.stdout);
    assert!(sentences(&text).iter().filter(|sentence| shown.contains(*sentence)).count() >= 3);
    Ok(())
}
