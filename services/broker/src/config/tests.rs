use secrecy::ExposeSecret;

use super::*;

fn load(overrides: &[(&str, &str)]) -> Result<Config, Faults> {
    let mut layers = layers();
    layers.overrides.push(("jwt_secret".to_owned(), "a secret of the broker's own tests".to_owned()));
    layers.overrides.extend(overrides.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    Config::load(&layers)
}

#[test]
fn the_defaults_are_right_but_for_the_secret() {
    let config = load(&[]).unwrap();
    assert_eq!((config.http.port, config.grpc.port), (3002, 50052));
    assert_eq!(config.worker.task_timeout, Duration::from_secs(600));
    assert!(config.engines.openai.is_none());
    assert_eq!(Config::load(&layers()).unwrap_err().len(), 1);
}

#[test]
fn openai_as_the_default_needs_a_server_and_a_model() {
    let faults = load(&[("engines.default", "openai")]).unwrap_err();
    assert!(faults.to_string().contains("engines.openai.base_url"), "{faults}");
    let faults = load(&[("engines.openai.base_url", "ftp://x"), ("worker.slots", "0")]).unwrap_err();
    let text = faults.to_string();
    for key in ["engines.openai.base_url", "engines.openai.model", "worker.slots"] {
        assert!(text.contains(key), "{text}");
    }
    let server = [("engines.openai.base_url", "https://me:hunter2@example.org/v1"), ("engines.openai.model", "small")];
    let text = load(&server).unwrap_err().to_string();
    assert!(text.contains("engines.openai.base_url") && !text.contains("hunter2"), "{text}");
    let server = [
        ("engines.default", "openai"),
        ("engines.openai.base_url", "http://127.0.0.1:11434/v1"),
        ("engines.openai.model", "small"),
    ];
    assert!(load(&server).unwrap().engines.openai_is_default);
}

#[test]
fn where_the_others_are_is_configured_and_checked() {
    let outside = load(&[]).unwrap().outside;
    assert_eq!(outside.store_url, "http://127.0.0.1:50051");
    assert_eq!(outside.registry_url, "http://127.0.0.1:9091");
    assert_eq!(outside.redis.url.expose_secret(), "redis://127.0.0.1:6379");
    let named = load(&[("redis.host", "cache")]).unwrap().outside;
    assert_eq!(named.redis.url.expose_secret(), "redis://cache:6379");
    let named = load(&[("redis.host", "cache"), ("redis.url", "redis://other:1")]).unwrap().outside;
    assert_eq!(named.redis.url.expose_secret(), "redis://other:1");
    let faults = load(&[("store.url", "store"), ("registration.registry_url", "amqp://x")]).unwrap_err();
    let text = faults.to_string();
    assert!(text.contains("store.url") && text.contains("registration.registry_url"), "{text}");
}

#[test]
fn production_refuses_the_password_of_rabbitmq_that_everybody_knows() {
    let text = load(&[("environment", "production")]).unwrap_err().to_string();
    assert!(text.contains("rabbitmq.url"), "{text}");
    let own = [("environment", "production"), ("rabbitmq.url", "amqp://sker:a-secret-of-ours@rabbitmq/%2f")];
    assert!(load(&own).is_ok());
}
