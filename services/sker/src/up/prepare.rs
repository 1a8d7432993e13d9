//! From settings to the five configurations, with the secrets that they share.

use std::path::Path;

use secrecy::ExposeSecret;
use sker_config::Layers;
use sker_runtime::program::ServiceConfig;
use sker_telemetry::TelemetryConfig;

use super::{
    data_dir::{DataDir, random_secret},
    settings::{AllFaults, Settings},
    telemetry::{self, RawTelemetry},
    wrong_configuration,
};
use crate::exit::Failure;

/// Where the store writes the first administrator's password when it has made one up.
pub const ADMIN_PASSWORD_FILE: &str = "admin-password";

/// The configurations of all services, checked.
pub struct Configs {
    pub registry: sker_registry::Config,
    pub store: sker_store::Config,
    pub database_service: sker_database_service::Config,
    pub broker: sker_broker::Config,
    pub gateway: sker_gateway::Config,
    pub telemetry: TelemetryConfig,
}

/// Everything that a platform is started with.
pub struct Prepared {
    pub configs: Configs,
    pub data: DataDir,
    /// How many times it was started on these data.
    pub boot: u32,
}

/// Makes or reads the secrets, counts the start, and loads everything.
pub fn prepare(mut settings: Settings, data: DataDir) -> Result<Prepared, Failure> {
    force(&mut settings, data.path());
    if settings.variable("JWT_SECRET").is_none() {
        let (secret, _) = data.secret("jwt-secret", || random_secret(48))?;
        settings.set_variable("JWT_SECRET", secret.expose_secret());
    }
    let configs = load(settings)?;
    let boot = data.next_boot()?;
    Ok(Prepared { configs, data, boot })
}

/// The same settings that [`prepare`] would use, without touching the disk: a secret that is not there yet is stood in for.
pub fn rehearse(mut settings: Settings, data: &Path) -> Settings {
    force(&mut settings, data);
    if settings.variable("JWT_SECRET").is_none() {
        settings.set_variable("JWT_SECRET", random_secret(48));
    }
    settings
}

/// The layers of each section.
pub fn all_layers(settings: &Settings) -> [(&'static str, Layers); 6] {
    [
        ("registry", settings.layers::<sker_registry::Config>()),
        ("store", settings.layers::<sker_store::Config>()),
        ("database-service", settings.layers::<sker_database_service::Config>()),
        ("broker", settings.layers::<sker_broker::Config>()),
        ("gateway", settings.layers::<sker_gateway::Config>()),
        ("up", settings.fill("up", telemetry::layers())),
    ]
}

/// Loads everything, or says everything that is wrong with it.
pub fn load(settings: Settings) -> Result<Configs, Failure> {
    let [registry, store, database_service, broker, gateway, up] = all_layers(&settings).map(|(_, layers)| layers);
    let mut faults = AllFaults::default();
    let registry = faults.take(<sker_registry::Config as ServiceConfig>::load(&registry));
    let store = faults.take(<sker_store::Config as ServiceConfig>::load(&store));
    let database_service = faults.take(<sker_database_service::Config as ServiceConfig>::load(&database_service));
    let broker = faults.take(<sker_broker::Config as ServiceConfig>::load(&broker));
    let gateway = faults.take(<sker_gateway::Config as ServiceConfig>::load(&gateway));
    let telemetry = faults.take(sker_config::load::<RawTelemetry>(&up));
    match (registry, store, database_service, broker, gateway, telemetry) {
        (Some(registry), Some(store), Some(database_service), Some(broker), Some(gateway), Some(telemetry)) => {
            Ok(Configs { registry, store, database_service, broker, gateway, telemetry })
        }
        _ => Err(wrong_configuration(&faults.message())),
    }
}

/// What is so in one process: each service has its own SQLite file, and the database-service watches all of them.
fn force(settings: &mut Settings, data: &Path) {
    for service in ["registry", "store", "database-service"] {
        settings.force(service, "database.url", sqlite_url(data, service));
    }
    for service in ["registry", "store"] {
        let target = format!("targets.{service}");
        settings.force("database-service", &format!("{target}.kind"), "sqlite");
        settings.force("database-service", &format!("{target}.url"), sqlite_url(data, service));
    }
    let password_file = data.join(ADMIN_PASSWORD_FILE);
    settings.force("store", "admin.password_file", password_file.display().to_string());
    settings.force("broker", "data_dir", data.display().to_string());
    // Not used: the bus is in this process. Without it production would refuse the default's password.
    for service in ["gateway", "store", "broker"] {
        settings.force(service, "rabbitmq.url", "amqp://127.0.0.1");
    }
}

fn sqlite_url(data: &Path, service: &str) -> String {
    // A URL decodes what stands behind a percent sign and ends its path at a question mark; a directory's name may have both.
    let path = data.join(format!("{service}.db")).display().to_string();
    format!("sqlite://{}", path.replace('%', "%25").replace('?', "%3F").replace('#', "%23"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_in_the_data_directory_whatever_that_is_called() {
        for name in ["plain", "with space", "100%25", "what?", "a#b", "数据"] {
            let directory = Path::new("/data").join(name);
            let url = sqlite_url(&directory, "store");
            let encoded = url.strip_prefix("sqlite://").unwrap();
            assert!(!encoded.contains(['?', '#']), "{url}");
            let decoded = url::form_urlencoded::parse(format!("path={}", encoded.replace('+', "%2B")).as_bytes())
                .next()
                .unwrap()
                .1
                .into_owned();
            assert_eq!(Path::new(&decoded), directory.join("store.db"));
        }
    }
}
