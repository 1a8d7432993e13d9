use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

/// What a process writes about itself, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TelemetryConfig {
    /// Logs.
    pub log: LogConfig,
    /// Where spans go (OTLP over gRPC), for example `http://127.0.0.1:4317`. Without it they are not exported.
    pub otlp_endpoint: Option<String>,
}

/// How logs are written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogConfig {
    /// JSON for machines or text for people.
    pub format: LogFormat,
    /// Levels per module, as in `info,sker_store=debug`.
    pub level: String,
    /// Which standard stream they go to.
    pub output: LogOutput,
    /// A file they go to as well.
    pub file: Option<FileConfig>,
}

impl Default for LogConfig {
    fn default() -> Self {
        // What these libraries tell at `info` is told by our own lines, too.
        let level = "info,actix_server=warn,sea_orm_migration=warn,sqlx=warn,lapin=off".to_owned();
        LogConfig { format: LogFormat::Pretty, level, output: LogOutput::Stdout, file: None }
    }
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// Text, coloured on a terminal.
    #[default]
    Pretty,
}

/// A standard stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogOutput {
    /// Standard output.
    #[default]
    Stdout,
    /// Standard error, for programs whose standard output is their answer.
    Stderr,
    /// None.
    Off,
}

/// A log file that is rotated by size and by time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileConfig {
    /// The file that is written to. Rotated ones stand beside it, with the time of their end behind the name.
    pub path: PathBuf,
    /// A file that would grow beyond this is rotated.
    #[serde(default = "default_max_bytes")]
    pub max_bytes: u64,
    /// When a file is rotated whatever its size. Days and hours are those of UTC.
    #[serde(default)]
    pub rotation: Rotation,
    /// How many rotated files are kept.
    #[serde(default = "default_keep")]
    pub keep: usize,
}

fn default_max_bytes() -> u64 {
    100 * 1024 * 1024
}

fn default_keep() -> usize {
    7
}

/// How often a log file is rotated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rotation {
    /// Every day.
    #[default]
    Daily,
    /// Every hour.
    Hourly,
    /// By size only.
    Never,
}

impl TelemetryConfig {
    /// What is wrong with it: the key, from this configuration on, and a message.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        if let Err(error) = EnvFilter::try_new(&self.log.level) {
            faults.push(("log.level", format!("is not a list of levels: {error}")));
        }
        if let Some(file) = &self.log.file {
            if file.path.file_name().is_none() {
                faults.push(("log.file.path", "must name a file".to_owned()));
            }
            if file.max_bytes < 1024 {
                faults.push(("log.file.max_bytes", "must be at least 1024".to_owned()));
            }
        }
        if let Some(endpoint) = &self.otlp_endpoint
            && !endpoint.starts_with("http://")
        {
            faults.push(("otlp_endpoint", "must begin with http://; put a collector on this host for TLS".to_owned()));
        }
        faults
    }
}
