use super::*;

fn load(env: &[(&str, &str)], flags: &[(&str, &str)], file: Option<PathBuf>) -> Result<Config, Faults> {
    let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let mut layers = layers();
    layers.env = pairs(env).into_iter().collect();
    layers.overrides = pairs(flags);
    layers.file = file;
    Config::load(&layers)
}

#[test]
fn the_defaults_start_in_development_and_serve_this_machine_without_a_token() {
    let config = load(&[], &[], None).unwrap();
    assert_eq!((config.http.port, config.grpc.port), (8080, 9091));
    assert_eq!((config.access.auth_enabled, config.access.anonymous), (false, Anonymous::Local));
    assert_eq!(config.durability, Durability::Committed);
    assert!(config.warnings.iter().any(|warning| warning.contains("JWT_SECRET")));
}

#[test]
fn production_needs_a_secret_and_closes_the_door() {
    let secret = ("JWT_SECRET", "qx7-ZtU2rnB9kW4mLp0VaEo8sYhJcDfG");
    let config = load(&[("SKER_ENV", "production"), secret], &[], None).unwrap();
    assert_eq!((config.access.auth_enabled, config.access.anonymous), (true, Anonymous::Nobody));
    let faults = load(&[("SKER_ENV", "production")], &[("auth.enabled", "false")], None).unwrap_err().to_string();
    assert!(faults.contains("jwt_secret") && faults.contains("auth.enabled"), "{faults}");
}

#[test]
fn the_example_file_is_right() {
    let file = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs/registry.yaml.example"));
    let config = load(&[], &[], Some(file)).unwrap();
    assert_eq!((config.http.port, config.ring_capacity), (8080, 1_000));
    assert!(config.database.url.starts_with("sqlite:"));
}

#[test]
fn the_seeds_own_file_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("registry.yaml");
    let seed = r#"
server: {http: {host: "0.0.0.0", port: 8123, enableCORS: true, enableGzip: true}}
database: {type: "mysql", dsn: "root:password@tcp(localhost:3306)/registry", maxOpenConns: 100, maxIdleConns: 10}
healthCheck: {enabled: true, interval: 30s, timeout: 5s, concurrentChecks: 10}
event: {enabled: true, bufferSize: 1000, workerCount: 5, enablePersistence: true}
external: {enabled: false, enableFailover: true, enableSync: false}
"#;
    std::fs::write(&file, seed).unwrap();
    let config = load(&[], &[], Some(file.clone())).unwrap();
    assert_eq!((config.http.host.as_str(), config.http.port), ("0.0.0.0", 8123));
    let database = &config.database;
    assert_eq!(database.url, "mysql://root:password@localhost:3306/registry");
    assert_eq!((&database.schema, database.max_connections), (&None, 100));

    let config = load(&[("REGISTRY_DB_DSN", "postgres://u:p@h/registry")], &[], Some(file.clone()));
    assert!(config.unwrap_err().to_string().contains("database.type is mysql"));
    let config = load(&[("DATABASE_URL", "sqlite:///tmp/r.db")], &[], Some(file.clone())).unwrap();
    assert_eq!((config.database.url.as_str(), config.database.max_connections), ("sqlite:///tmp/r.db", 16));

    let env = [("DATABASE_URL", "sqlite:///tmp/r.db"), ("REGISTRY_HTTP_PORT", "8200")];
    assert_eq!(load(&env, &[], Some(file.clone())).unwrap().http.port, 8200, "the environment beats the file");
    assert_eq!(load(&env, &[("http.port", "8300")], Some(file)).unwrap().http.port, 8300, "a flag beats both");
}

#[test]
fn postgresql_gets_a_schema_and_others_none() {
    let url = |url: &'static str| ("DATABASE_URL", url);
    let config = load(&[url("postgres://u:p@h/d")], &[], None).unwrap();
    assert_eq!(config.database.schema.as_deref(), Some("registry"));
    let named = load(&[url("postgres://u:p@h/d")], &[("database.schema", "mine")], None).unwrap();
    assert_eq!(named.database.schema.as_deref(), Some("mine"));
    assert_eq!(load(&[url("mysql://u:p@h/d")], &[], None).unwrap().database.schema, None);
    let faults = load(&[url("mysql://u:p@h/d")], &[("database.schema", "mine")], None).unwrap_err().to_string();
    assert!(faults.contains("database.schema"), "{faults}");
}

#[test]
fn every_fault_is_named_at_once() {
    let faults = load(
        &[],
        &[
            ("lease.heartbeat_timeout_seconds", "1"),
            ("registry.durability", "maybe"),
            ("external.enabled", "true"),
            ("event.retention_days", "0"),
            ("database.url", "nonsense"),
        ],
        None,
    );
    let text = faults.unwrap_err().to_string();
    for key in ["lease", "registry.durability", "external.enabled", "event.retention_days", "database.url"] {
        assert!(text.contains(&format!("\n  {key}: ")), "{key} is not in {text}");
    }
}
