use std::time::Duration;

use sker_config::Layers;

use super::{Config, layers};
use crate::app::{Kind, Target};

fn with(variables: &[(&str, &str)], overrides: &[(&str, &str)]) -> Layers {
    let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let mut layers = layers();
    layers.env = pairs(variables).into_iter().collect();
    layers.env.entry("JWT_SECRET".into()).or_insert_with(|| "qx7-ZtU2rnB9kW4mLp0VaEo8sYhJcDfG".into());
    layers.overrides = pairs(overrides);
    layers
}

fn faults(layers: &Layers) -> String {
    Config::load(layers).unwrap_err().to_string()
}

#[test]
fn the_defaults_need_a_secret_and_nothing_else() {
    let config = Config::load(&with(&[], &[])).unwrap();
    assert_eq!((config.http.port, config.grpc.port, config.targets.len()), (8089, 50053, 0));
    assert_eq!(config.checks.usual, Duration::from_secs(60));
    let text = faults(&layers());
    assert!(text.contains("jwt_secret: must have at least 32 bytes (default)"), "{text}");
}

#[test]
fn several_named_targets_of_a_kind() {
    let config = Config::load(&with(
        &[("SKER_DATABASE_SERVICE__TARGETS__STORE__URL", "sqlite:///data/store.db")],
        &[("targets.store.kind", "sqlite"), ("targets.broker.kind", "sqlite"), ("targets.broker.url", "sqlite:b.db")],
    ));
    let names: Vec<String> = config.unwrap().targets.into_iter().map(|target| target.name).collect();
    assert_eq!(names, ["broker", "store"]);
}

#[test]
fn a_database_without_a_driver_stops_the_start_rather_than_being_ignored() {
    for (name, value) in [("ES_URL", "http://u:hunter2@h"), ("NACOS_URL", "http://h"), ("MONGODB_URL", "mongodb://h")] {
        let text = faults(&with(&[(name, value)], &[]));
        assert!(text.contains("driver follows in a later release") && text.contains(name), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
    let text = faults(&with(&[], &[("targets.a.kind", "milvus"), ("targets.a.url", "http://h")]));
    assert!(text.contains("targets.a.kind: Milvus cannot be checked yet"), "{text}");
    assert!(Config::load(&with(&[("PG_PORT", "5432"), ("PG_USER", "sker")], &[])).is_ok());
}

fn target_of(variables: &[(&str, &str)]) -> Target {
    let mut targets = Config::load(&with(variables, &[])).unwrap().targets;
    assert_eq!(targets.len(), 1);
    targets.remove(0)
}

#[test]
fn the_flat_names_are_the_default_targets() {
    let parts =
        [("PG_HOST", "db"), ("PG_PORT", "5433"), ("PG_USER", "s/k"), ("PG_PASSWORD", "p@:w"), ("PG_DATABASE", "d")];
    let target = target_of(&parts);
    assert_eq!((target.name.as_str(), target.url()), ("postgresql", "postgres://s%2Fk:p%40%3Aw@db:5433/d"));
    assert_eq!(target_of(&[("PG_HOST", "::1")]).url(), "postgres://[::1]:5432/");
    assert_eq!(target_of(&[("DATABASE_URL", "postgres://u@h/d"), ("PG_HOST", "db")]).url(), "postgres://u@h/d");
    assert_eq!(target_of(&[("REDIS_HOST", "cache")]).url(), "redis://cache/");
    assert_eq!(target_of(&[("REDIS_HOST", "cache"), ("REDIS_URL", "rediss://h")]).url(), "rediss://h");
    assert_eq!(target_of(&[("MYSQL_URL", "mysql://u@h")]).kind, Kind::Mysql);
    assert_eq!(target_of(&[("SKER_DATABASE_SERVICE__DEFAULT_TARGETS__MYSQL__HOST", "db")]).url(), "mysql://db/");
    let target = target_of(&[("RABBITMQ_URL", "amqp://h"), ("RABBITMQ_MANAGEMENT_URL", "http://h:15672")]);
    assert_eq!((target.url(), target.management_url()), ("amqp://h", Some("http://h:15672")));
}

#[test]
fn a_default_target_that_cannot_be_used_names_the_variable_and_no_password() {
    for (name, value) in [
        ("DATABASE_URL", "oracle://u:hunter2@h"),
        ("REDIS_URL", "http://u:hunter2@h"),
        ("RABBITMQ_URL", "amqp://u:hunter2@h:port"),
        ("RABBITMQ_MANAGEMENT_URL", "http://u:hunter2@h"),
        ("MYSQL_URL", "mysql://u:hunter2@h/?pasword=hunter2"),
    ] {
        let text = faults(&with(&[(name, value)], &[]));
        assert!(text.contains(name) && !text.contains("hunter2"), "{text}");
    }
    let text = faults(&with(
        &[("REDIS_URL", "redis://h"), ("SKER_DATABASE_SERVICE__DEFAULT_TARGETS__REDIS__MANAGEMENT_URL", "http://h")],
        &[],
    ));
    assert!(text.contains("have no management API"), "{text}");
}

#[test]
fn its_own_rows_on_postgresql_have_a_schema_of_their_own() {
    let schema = |overrides: &[(&str, &str)]| Config::load(&with(&[], overrides)).unwrap().database.schema;
    let url = ("database.url", "postgres://u@h/d");
    assert_eq!(schema(&[url]).as_deref(), Some("database_service"));
    assert_eq!(schema(&[url, ("database.schema", "mine")]).as_deref(), Some("mine"));
    assert_eq!(schema(&[]), None);
}

#[test]
fn every_wrong_target_is_named() {
    let text = faults(&with(
        &[("DATABASE_URL", "sqlite:///a.db")],
        &[
            ("targets.a.kind", "oracle"),
            ("targets.a.url", "x"),
            ("targets.b.kind", "sqlite"),
            ("targets.b.url", "/no/url"),
            ("targets.C d.kind", "sqlite"),
            ("targets.C d.url", "sqlite:c.db"),
            ("targets.default.kind", "sqlite"),
            ("targets.default.url", "sqlite:d.db"),
            ("checks.failures", "0"),
            ("checks.recheck_ms", "70000"),
        ],
    ));
    for key in
        ["targets.a.kind", "targets.b.url", "targets.C d", "targets.default", "checks.failures", "checks.recheck_ms"]
    {
        assert!(text.contains(&format!("\n  {key}: ")), "{key} is not in {text}");
    }
}

#[test]
fn a_database_of_its_own_that_cannot_be_opened_stops_the_start() {
    let text = faults(&with(&[], &[("database.url", "mysql://h/d"), ("database.max_connections", "0")]));
    for key in ["database.url", "database.max_connections"] {
        assert!(text.contains(&format!("{key}: must ")), "{key} is missing in {text}");
    }
}

#[test]
fn a_documented_secret_is_warned_of_and_production_refuses_it() {
    let secret = "your-secret-key-your-secret-key-your-secret-key";
    let config = Config::load(&with(&[("JWT_SECRET", secret)], &[])).unwrap();
    assert!(config.warnings.iter().any(|warning| warning.contains("JWT_SECRET")), "{:?}", config.warnings);
    assert!(Config::load(&with(&[], &[])).unwrap().warnings.is_empty());
    assert!(faults(&with(&[("JWT_SECRET", secret), ("SKER_ENV", "production")], &[])).contains("documented example"));
}

#[test]
fn the_shown_configuration_has_no_secret() {
    let mut config = Config::load(&with(&[], &[])).unwrap();
    config.targets.push(Target::new("a", Kind::Redis, "redis://u:hunter2@h"));
    let shown = config.view().to_string();
    assert!(shown.contains("redis://u:[redacted]@h"), "{shown}");
    assert!(!shown.contains("hunter2") && !shown.contains("qx7-ZtU2"), "{shown}");
    let debug = format!("{config:?}");
    assert!(!debug.contains("hunter2") && !debug.contains("qx7-ZtU2"), "{debug}");
}
