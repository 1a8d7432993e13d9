//! `cargo xtask layers`: the rule of docs/adr/0001 that arrows only go down a level, checked on `cargo metadata`.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageName};

/// Crates that must not be in the tree: a second TLS provider panics at run time, and takes minutes to build.
const BANNED: [&str; 3] = ["aws-lc-sys", "aws-lc-rs", "openssl-sys"];

pub fn run() -> Result<()> {
    let metadata = MetadataCommand::new().exec().context("cannot read the workspace")?;
    let crates: Vec<Crate> = metadata.workspace_packages().into_iter().map(Crate::read).collect::<Result<_>>()?;
    let by_name: BTreeMap<&str, &Crate> = crates.iter().map(|krate| (krate.name.as_str(), krate)).collect();
    print(&crates);

    let mut faults = Vec::new();
    for krate in &crates {
        for (dependency, development) in &krate.dependencies {
            if let Some(dependency) = by_name.get(dependency.as_str())
                && let Some(fault) = wrong_edge(krate, dependency, *development)
            {
                faults.push(fault);
            }
        }
    }
    faults.extend(banned(&metadata));
    if !faults.is_empty() {
        bail!("{}", faults.join("\n"));
    }
    println!("\n{} crates, every edge goes down", crates.len());
    Ok(())
}

/// A crate of the workspace with its edges.
struct Crate {
    name: String,
    layer: u64,
    development: bool,
    /// The crate that is depended on, and whether only by tests.
    dependencies: Vec<(String, bool)>,
}

impl Crate {
    fn read(package: &Package) -> Result<Crate> {
        let facts = &package.metadata["sker"];
        let layer = facts["layer"]
            .as_u64()
            .with_context(|| format!("{} does not say its layer in [package.metadata.sker]", package.name))?;
        let mut dependencies: Vec<(String, bool)> = package
            .dependencies
            .iter()
            .filter(|dependency| dependency.path.is_some())
            .map(|dependency| (dependency.name.clone(), dependency.kind == DependencyKind::Development))
            .collect();
        dependencies.sort();
        dependencies.dedup();
        Ok(Crate {
            name: package.name.to_string(),
            layer,
            development: facts["development"].as_bool().unwrap_or(false),
            dependencies,
        })
    }
}

fn wrong_edge(from: &Crate, to: &Crate, only_in_tests: bool) -> Option<String> {
    if to.development && !only_in_tests && !from.development {
        return Some(format!("{} -> {}: {} is for development only", from.name, to.name, to.name));
    }
    if to.layer >= from.layer && !(to.development && only_in_tests) {
        let direction = if to.layer == from.layer { "stays on level" } else { "goes up to level" };
        return Some(format!("{} (L{}) -> {}: {direction} {}", from.name, from.layer, to.name, to.layer));
    }
    None
}

fn banned(metadata: &Metadata) -> Vec<String> {
    let used: Vec<&PackageName> = match &metadata.resolve {
        Some(resolve) => metadata
            .packages
            .iter()
            .filter(|package| resolve.nodes.iter().any(|node| node.id == package.id))
            .map(|package| &package.name)
            .collect(),
        None => Vec::new(),
    };
    BANNED
        .iter()
        .filter(|name| used.iter().any(|package| package.as_str() == **name))
        .map(|name| format!("{name} is in the tree; find it with `cargo tree -i {name}`"))
        .collect()
}

fn print(crates: &[Crate]) {
    let mut levels: BTreeMap<u64, Vec<&Crate>> = BTreeMap::new();
    for krate in crates {
        levels.entry(krate.layer).or_default().push(krate);
    }
    for (level, mut members) in levels.into_iter().rev() {
        println!("L{level}");
        members.sort_by(|left, right| left.name.cmp(&right.name));
        for krate in members {
            let edges: Vec<&str> = krate
                .dependencies
                .iter()
                .filter(|(_, only_in_tests)| !only_in_tests)
                .map(|(name, _)| name.trim_start_matches("sker-"))
                .collect();
            println!("   {:<24} {}", krate.name, edges.join(" "));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn krate(name: &str, layer: u64, development: bool) -> Crate {
        Crate { name: name.to_owned(), layer, development, dependencies: Vec::new() }
    }

    #[test]
    fn only_edges_that_go_down_are_right() {
        let (types, api, store) = (krate("types", 0, false), krate("api", 2, false), krate("store", 5, false));
        assert!(wrong_edge(&store, &api, false).is_none());
        assert!(wrong_edge(&types, &api, false).is_some());
        assert!(wrong_edge(&store, &krate("broker", 5, false), false).is_some());
        assert!(wrong_edge(&store, &krate("broker", 5, false), true).is_some());
    }

    #[test]
    fn development_crates_are_for_tests_only() {
        let (store, testkit) = (krate("store", 5, false), krate("testkit", 4, true));
        assert!(wrong_edge(&store, &testkit, true).is_none());
        assert!(wrong_edge(&store, &testkit, false).is_some());
    }
}
