//! Logs and traces of the whole process: section `up` of the configuration. The services' own `telemetry` sections are for
//! when each runs alone.

use serde::Deserialize;
use sker_config::{Faults, Layers, RawConfig};
use sker_telemetry::{Guard, LogConfig, LogOutput, TelemetryConfig};

use crate::exit::Failure;

/// Standard output is for what the program itself says, so logs go to standard error.
const DEFAULTS: &str = r#"
# Where spans go (OTLP over gRPC); nowhere when empty.
otlp_endpoint = ""

[log]
format = "pretty"
level = "info,actix_server=warn,sea_orm_migration=warn,sqlx=warn,lapin=off"
output = "stderr"
file = ""
"#;

#[derive(Deserialize)]
pub struct RawTelemetry {
    log: LogConfig,
    otlp_endpoint: Option<String>,
}

impl RawConfig for RawTelemetry {
    type Valid = TelemetryConfig;

    fn validate(self, faults: &mut Faults) -> Option<TelemetryConfig> {
        let config = TelemetryConfig { log: self.log, otlp_endpoint: self.otlp_endpoint };
        for (key, message) in config.faults() {
            faults.add(key, message);
        }
        Some(config)
    }
}

/// The layers of the section, without file, environment and flags.
pub fn layers() -> Layers {
    Layers::new("up", DEFAULTS, &[("LOG_LEVEL", "log.level")])
}

/// Starts logs and traces.
pub fn init(config: &TelemetryConfig) -> Result<Guard, Failure> {
    Ok(sker_telemetry::init("sker", config)?)
}

/// The demo's standard error has progress on it; logs only go where somebody asked for them.
pub fn init_for_demo(config: &TelemetryConfig) -> Result<Guard, Failure> {
    let output = if std::env::var_os("SKER_UP__LOG__OUTPUT").is_some() { config.log.output } else { LogOutput::Off };
    let log = LogConfig { output, ..config.log.clone() };
    init(&TelemetryConfig { log, ..config.clone() })
}
