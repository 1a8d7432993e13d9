use serde::de::DeserializeOwned;

use crate::{
    Faults, Layers,
    deserialize::Reader,
    dump::to_toml,
    tree::{self, Node},
};

/// A configuration as it is written; [`RawConfig::validate`] turns it into one that can be relied on.
///
/// Keys that no field reads are named as unknown, whether or not the struct says `deny_unknown_fields` (but do not use
/// `flatten`, through which that cannot be seen).
pub trait RawConfig: DeserializeOwned {
    /// The configuration that the program works with.
    type Valid;

    /// Checks everything, across fields, too. Names every fault, and goes on after the first.
    fn validate(self, faults: &mut Faults) -> Option<Self::Valid>;
}

/// More faults than that are not gathered.
const MOST_FAULTS: usize = 100;

/// Merges the layers, reads them, and validates.
///
/// # Errors
/// Every fault at once: unknown keys, wrong types, and what [`RawConfig::validate`] finds.
pub fn load<R: RawConfig>(layers: &Layers) -> Result<R::Valid, Faults> {
    let mut tree = tree::merge(layers)?;
    let defaults = tree::defaults(layers)?;
    let mut faults = Faults::new(layers.service);
    faults.set_sources(tree.sources());
    let raw = read::<R>(&mut tree, &defaults, &mut faults);
    let valid = raw.and_then(|raw| raw.validate(&mut faults));
    match valid {
        Some(valid) if faults.is_empty() => Ok(valid),
        None if faults.is_empty() => {
            faults.add_from("", "is not valid", "the whole");
            Err(faults)
        }
        _ => Err(faults),
    }
}

/// The configuration in force as TOML, without secrets, each line with where its value came from.
///
/// # Errors
/// When a layer cannot be read at all.
pub fn dump(layers: &Layers) -> Result<String, Faults> {
    Ok(to_toml(&tree::merge(layers)?, &tree::defaults(layers)?))
}

/// A deserializer stops at the first fault: puts the default there (or nothing, where there is none) and reads again, so
/// that all are found.
fn read<R: DeserializeOwned>(tree: &mut Node, defaults: &Node, faults: &mut Faults) -> Option<R> {
    for _ in 0..MOST_FAULTS {
        let reader = Reader::new(tree);
        let outcome = R::deserialize(reader.root());
        let unknown = reader.into_unknown();
        match outcome {
            Ok(raw) => {
                for (key, known) in unknown {
                    faults.add(&key, unknown_key(&known));
                }
                return Some(raw);
            }
            Err(error) => {
                faults.add(&error.path, error.message);
                let default = defaults.at(&error.path).cloned();
                let repaired = !error.path.is_empty()
                    && (default.is_some() && tree.replace(&error.path, default) || tree.replace(&error.path, None));
                if !repaired {
                    for (key, known) in unknown {
                        faults.add(&key, unknown_key(&known));
                    }
                    return None;
                }
            }
        }
    }
    None
}

fn unknown_key(known: &[&str]) -> String {
    match known {
        [] => "is not a key of this configuration".to_owned(),
        known => format!("is not a key of this configuration; here are {}", known.join(", ")),
    }
}
