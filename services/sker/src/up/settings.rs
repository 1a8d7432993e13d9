//! One configuration for five services: `--set gateway.http.port=0` is `http.port` of the gateway, a file has a section
//! per service, and the environment is what each service reads when it runs alone, but for what names servers outside.

use std::{collections::BTreeMap, path::PathBuf};

use sker_config::{CommonArgs, Faults, Layers};
use sker_runtime::program::ServiceConfig;

/// Where a whole platform takes its configuration from.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    file: Option<PathBuf>,
    env: BTreeMap<String, String>,
    /// Service, key, value.
    set: Vec<(String, String, String)>,
    /// Keys that are as they are in one process, whatever anybody says.
    forced: Vec<(&'static str, String, String)>,
}

/// Sections of the file and of `--set`: the services, and what concerns the process as a whole.
pub const SECTIONS: [&str; 6] = ["registry", "store", "database-service", "broker", "gateway", "up"];

/// How flat names begin that tell where outside servers are, and what they contain. `sker up` brings its own of everything.
const OUTSIDE_PREFIXES: [&str; 9] =
    ["PG_", "REDIS_", "RABBITMQ_", "MYSQL_", "MONGODB_", "ES_", "MILVUS_", "NACOS_", "POSTGRES_"];
const OUTSIDE_NAMES: [&str; 11] = [
    "DATABASE_URL",
    "REGISTRY_DB_DSN",
    "REGISTRY_CONFIG_FILE",
    "STORE_SERVICE_URL",
    "REGISTRY_SERVICE_URL",
    "BROKER_SERVICE_URL",
    "DATABASE_SERVICE_URL",
    "STORE_GRPC_URL",
    "REGISTRY_GRPC_URL",
    "BROKER_GRPC_URL",
    "DATABASE_GRPC_URL",
];

impl Settings {
    /// The settings of a process.
    ///
    /// # Errors
    /// Keys of `--set` and sections of the file that are no service's.
    pub fn from_process(args: &CommonArgs) -> Result<Self, Vec<String>> {
        // A variable that is not UTF-8 cannot be one of ours.
        let env = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self::new(args.config.clone(), env, &args.set)
    }

    /// The settings of the demo: nothing but what the environment says of AI engines and logs, on free ports.
    pub fn for_demo() -> Result<Self, Vec<String>> {
        let mut settings = Self::from_process(&CommonArgs::default())?;
        settings.env.retain(|name, _| is_wanted_by_demo(name));
        for service in ["registry", "store", "database-service", "broker", "gateway"] {
            settings.force(service, "http.port", "0");
            if service != "gateway" {
                settings.force(service, "grpc.port", "0");
            }
        }
        Ok(settings)
    }

    /// Settings out of a file, an environment and flags.
    pub fn new(
        file: Option<PathBuf>,
        env: BTreeMap<String, String>,
        flags: &[(String, String)],
    ) -> Result<Self, Vec<String>> {
        let mut set = Vec::new();
        let mut faults = Vec::new();
        for (key, value) in flags {
            match key.split_once('.').filter(|(section, _)| SECTIONS.contains(section)) {
                Some((section, key)) => set.push((section.to_owned(), key.to_owned(), value.clone())),
                None => faults.push(format!("--set {key}: must begin with one of {}", SECTIONS.join(", "))),
            }
        }
        // A file that cannot be read is a fault of every service that would read it.
        let sections = file.as_deref().and_then(|file| sker_config::file_sections(file).ok()).unwrap_or_default();
        for section in sections.iter().filter(|section| !SECTIONS.contains(&section.as_str())) {
            faults.push(format!("{section}: the file's sections are {}", SECTIONS.join(", ")));
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let env = env.into_iter().filter(|(name, _)| !is_outside(name)).collect();
        Ok(Settings { file, env, set, forced: Vec::new() })
    }

    /// The same, with a key of a service that nothing else may change.
    pub fn force(&mut self, service: &'static str, key: &str, value: impl Into<String>) {
        self.forced.push((service, key.to_owned(), value.into()));
    }

    /// An environment variable, as it was set from outside.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.env.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Sets an environment variable for the services, though not in the environment itself.
    pub fn set_variable(&mut self, name: &str, value: impl Into<String>) {
        self.env.insert(name.to_owned(), value.into());
    }

    /// The layers of a service's configuration.
    pub fn layers<C: ServiceConfig>(&self) -> Layers {
        self.fill(C::SERVICE, C::layers(&CommonArgs::default()))
    }

    /// The layers of a configuration under a section.
    pub fn fill(&self, section: &str, mut layers: Layers) -> Layers {
        layers.file = self.file.clone();
        layers.sectioned = true;
        layers.env = self.env.clone();
        // Loopback unless somebody says otherwise by flag: a machine's address is not opened by a stray variable.
        let loopback = ["http.host", "grpc.host"].map(|key| (key.to_owned(), "127.0.0.1".to_owned()));
        let loopback = loopback.into_iter().filter(|(key, _)| has_key(&layers, key));
        let set = self.set.iter().filter(|(service, ..)| service == section);
        let forced = self.forced.iter().filter(|(service, ..)| *service == section);
        layers.overrides = loopback
            .chain(set.map(|(_, key, value)| (key.clone(), value.clone())))
            .chain(forced.map(|(_, key, value)| (key.clone(), value.clone())))
            .collect();
        layers
    }
}

/// Gathers the faults of several configurations.
#[derive(Debug, Default)]
pub struct AllFaults {
    messages: Vec<String>,
}

impl AllFaults {
    /// The configuration, or its faults are kept for later.
    pub fn take<T>(&mut self, loaded: Result<T, Faults>) -> Option<T> {
        loaded.map_err(|faults| self.messages.push(faults.to_string())).ok()
    }

    /// Everything that is wrong.
    pub fn message(&self) -> String {
        self.messages.join("\n")
    }
}

/// Whether a key has a default.
fn has_key(layers: &Layers, key: &str) -> bool {
    let defaults: toml::Table = layers.defaults.parse().unwrap_or_default();
    key.split_once('.').is_some_and(|(table, key)| defaults.get(table).and_then(|table| table.get(key)).is_some())
}

/// The demo starts the same way wherever it is started.
fn is_wanted_by_demo(name: &str) -> bool {
    ["OPENAI_", "SKER_BROKER__ENGINES__", "SKER_UP__"].iter().any(|prefix| name.starts_with(prefix))
}

fn is_outside(name: &str) -> bool {
    OUTSIDE_NAMES.contains(&name)
        || (name.starts_with("SKER_") && name.contains("__DATABASE__"))
        || OUTSIDE_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(keys: &[&str]) -> Vec<(String, String)> {
        keys.iter().map(|key| ((*key).to_owned(), "1".to_owned())).collect()
    }

    #[test]
    fn each_service_gets_its_own_keys() {
        let mut settings =
            Settings::new(None, BTreeMap::new(), &flags(&["gateway.http.port", "store.http.port"])).unwrap();
        settings.force("store", "database.url", "sqlite:///x");
        let layers = settings.fill("store", Layers::new("store", "", &[]));
        let expected = [("http.port", "1"), ("database.url", "sqlite:///x")];
        assert_eq!(layers.overrides, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }

    #[test]
    fn keys_of_no_service_are_all_named() {
        let faults = Settings::new(None, BTreeMap::new(), &flags(&["gatewey.http.port", "port"])).unwrap_err();
        assert_eq!(faults.len(), 2);
        assert!(faults[0].contains("gatewey.http.port") && faults[1].contains("port"));
    }

    #[test]
    fn sections_of_no_service_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("sker.toml");
        std::fs::write(&file, "[gateway.http]\nport = 1\n[gatewey]\n").unwrap();
        let faults = Settings::new(Some(file), BTreeMap::new(), &[]).unwrap_err();
        assert!(faults.len() == 1 && faults[0].contains("gatewey"), "{faults:?}");
    }

    #[test]
    fn servers_outside_are_ignored_and_everything_else_is_not() {
        let names = ["DATABASE_URL", "PG_HOST", "REDIS_URL", "GATEWAY_PORT", "JWT_SECRET", "SKER_STORE__HTTP__PORT"];
        let env = names.iter().map(|name| ((*name).to_owned(), "x".to_owned())).collect();
        let settings = Settings::new(None, env, &[]).unwrap();
        let kept: Vec<&str> = settings.env.keys().map(String::as_str).collect();
        assert_eq!(kept, ["GATEWAY_PORT", "JWT_SECRET", "SKER_STORE__HTTP__PORT"]);
    }
}
