use secrecy::ExposeSecret;

use super::{raw::DEFAULT_URL, *};

fn loaded(env: &[(&str, &str)]) -> Result<Config, Faults> {
    let mut layers = layers();
    layers.env.insert("JWT_SECRET".into(), "one that is long enough and stands nowhere".into());
    layers.env.extend(env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    Config::load(&layers)
}

#[test]
fn the_flat_names_of_postgresql_make_a_url_and_database_url_beats_them() {
    assert_eq!(loaded(&[]).unwrap().database.url, DEFAULT_URL);
    let parts = [("PG_HOST", "db"), ("PG_USER", "u"), ("PG_PASSWORD", "p@ss/word"), ("PG_DATABASE", "d")];
    assert_eq!(loaded(&parts).unwrap().database.url, "postgres://u:p%40ss%2Fword@db:5432/d");
    let mut both = parts.to_vec();
    both.push(("DATABASE_URL", "sqlite:///x.db"));
    assert_eq!(loaded(&both).unwrap().database.url, "sqlite:///x.db");
}

#[test]
fn every_fault_is_named_at_once() {
    let faults = loaded(&[
        ("JWT_SECRET", "short"),
        ("AI_TASK_TIMEOUT", "1"),
        ("SKER_ADMIN_PASSWORD", "admin"),
        ("DATABASE_URL", "oracle://x"),
    ])
    .unwrap_err();
    let keys: Vec<&str> = faults.iter().map(|fault| fault.key.as_str()).collect();
    assert_eq!(keys, ["jwt_secret", "database.url", "admin.password", "tasks.timeout_ms"]);
}

#[test]
fn on_postgresql_the_schema_is_the_services_own_unless_somebody_says() {
    assert_eq!(loaded(&[]).unwrap().database.schema, None);
    let postgres = [("DATABASE_URL", "postgres://u@db/d")];
    assert_eq!(loaded(&postgres).unwrap().database.schema.as_deref(), Some("store"));
    let named = [postgres[0], ("SKER_STORE__DATABASE__SCHEMA", "mine")];
    assert_eq!(loaded(&named).unwrap().database.schema.as_deref(), Some("mine"));
}

#[test]
fn the_flat_names_tell_where_rabbitmq_redis_and_the_registry_are() {
    let config = loaded(&[
        ("RABBITMQ_URL", "amqp://u:p@mq:5672/v"),
        ("REDIS_HOST", "cache"),
        ("REGISTRY_GRPC_URL", "http://registry:9091"),
    ]);
    let config = config.unwrap();
    assert_eq!(config.rabbitmq.url.expose_secret(), "amqp://u:p@mq:5672/v");
    assert_eq!(config.redis.url.expose_secret(), "redis://cache:6379");
    assert_eq!(config.registry_url, "http://registry:9091");
    let both = loaded(&[("REDIS_HOST", "cache"), ("REDIS_URL", "redis://:p@other:1")]).unwrap();
    assert_eq!(both.redis.url.expose_secret(), "redis://:p@other:1");
}

#[test]
fn production_refuses_the_default_password_of_rabbitmq() {
    let faults = loaded(&[("SKER_ENV", "production")]).unwrap_err();
    assert_eq!(faults.iter().map(|fault| fault.key.as_str()).collect::<Vec<_>>(), ["rabbitmq.url"]);
    loaded(&[("SKER_ENV", "production"), ("RABBITMQ_URL", "amqp://sker:secret@mq/")]).unwrap();
}

#[test]
fn a_dump_shows_no_password_of_a_url() {
    let mut layers = layers();
    for (name, value) in [
        ("DATABASE_URL", "postgres://u:hunter2@db/d"),
        ("RABBITMQ_URL", "amqp://u:hunter2@mq/"),
        ("REDIS_URL", "redis://:hunter2@cache"),
    ] {
        layers.env.insert(name.to_owned(), value.to_owned());
    }
    let dump = sker_config::dump(&layers).unwrap();
    assert!(dump.contains("amqp://u:[redacted]@mq/") && !dump.contains("hunter2"), "{dump}");
}
