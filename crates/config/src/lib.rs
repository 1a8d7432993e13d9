//! Layered configuration, validated as a whole.
//!
//! Later layers win: built-in defaults, a TOML or YAML file, the flat environment names of the seeds (`PG_HOST`), nested
//! environment names (`SKER_STORE__HTTP__PORT` is `http.port` of the store), flags. [`load`] tells every fault at once,
//! each with the key and where its value came from; [`dump`] shows what is in force, without secrets.
//!
//! ```
//! use sker_config::{Faults, Layers, RawConfig, load};
//!
//! #[derive(serde::Deserialize)]
//! struct Raw { http: RawHttp }
//! #[derive(serde::Deserialize)]
//! struct RawHttp { port: u16, workers: usize }
//!
//! struct Config { port: u16, workers: usize }
//!
//! impl RawConfig for Raw {
//!     type Valid = Config;
//!     fn validate(self, faults: &mut Faults) -> Option<Config> {
//!         faults.check(self.http.workers > 0, "http.workers", "must be at least 1");
//!         Some(Config { port: self.http.port, workers: self.http.workers })
//!     }
//! }
//!
//! let mut layers = Layers::new("store", "[http]\nport = 3001\nworkers = 2", &[("STORE_PORT", "http.port")]);
//! layers.env.insert("STORE_PORT".into(), "3901".into());
//! let config = load::<Raw>(&layers).unwrap();
//! assert_eq!((config.port, config.workers), (3901, 2));
//!
//! layers.env.insert("SKER_STORE__HTTP__WORKERS".into(), "0".into());
//! layers.overrides.push(("http.prot".into(), "1".into()));
//! let faults = load::<Raw>(&layers).map(|_| ()).unwrap_err();
//! assert_eq!(faults.len(), 2);
//! ```

mod args;
mod deserialize;
mod dump;
mod environment;
mod faults;
mod layers;
mod load;
mod redact;
mod tree;

pub use args::{Action, CommonArgs, normalise_args};
pub use environment::Environment;
pub use faults::{Fault, Faults};
pub use layers::Layers;
pub use load::{RawConfig, dump, load};
pub use redact::{REDACTED, is_secret_key, redact_text};
pub use tree::file_sections;

/// The exit status of a program whose configuration is wrong (`EX_USAGE` of sysexits).
pub const EXIT_CONFIG: u8 = 64;
