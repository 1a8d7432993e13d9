use secrecy::ExposeSecret;

use super::*;

fn with(overrides: &[(&str, &str)]) -> Result<Config, Faults> {
    let mut layers = Config::defaults();
    layers.env.insert("JWT_SECRET".to_owned(), "a secret of these tests, long enough".to_owned());
    layers.overrides = overrides.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Config::load(&layers)
}

#[test]
fn the_defaults_are_valid_and_on_the_platforms_port() {
    let config = with(&[]).unwrap();
    assert_eq!((config.http.port, config.cors), (3000, Cors::Open));
}

#[test]
fn production_lets_no_page_in_that_it_does_not_know() {
    let own = ("rabbitmq.url", "amqp://sker:a-password@rabbitmq:5672/%2f");
    assert_eq!(with(&[("environment", "production"), own]).unwrap().cors, Cors::Only(Vec::new()));
}

#[test]
fn every_fault_is_named_at_once() {
    let faults = with(&[
        ("realtime.queue", "0"),
        ("limits.max_headers", "0"),
        ("http.prot", "1"),
        ("telemetry.log.level", "[["),
        ("jwt_secret", "short"),
    ])
    .unwrap_err();
    assert_eq!(faults.len(), 5, "{faults}");
}

#[test]
fn a_fixed_route_is_checked_like_any_other() {
    let table = |text: &str| fixed_route(serde_json::from_str(text).unwrap());
    let good = table(r#"{"path": "/legacy/*", "auth": "none", "upstreams": ["10.0.0.7:8080", "[::1]:80"]}"#).unwrap();
    assert_eq!(good.upstreams[1].host, "::1");
    assert!(table(r#"{"path": "/legacy/*"}"#).is_err());
    assert!(table(r#"{"path": "legacy", "upstreams": ["a:1"]}"#).is_err());
    assert!(table(r#"{"path": "/ws", "upstreams": ["a:1"]}"#).is_err());
    assert!(table(r#"{"path": "/x", "upstreams": ["nonsense"]}"#).is_err());
}

#[test]
fn production_refuses_the_default_password_of_rabbitmq() {
    let production = |url| with(&[("environment", "production"), ("rabbitmq.url", url)]);
    for url in ["amqp://guest:guest@r:5672/%2f", "amqp://r", "amqp://r/a@b:c", "amqp://sker@r", "amqps://sker:guest@r"]
    {
        let faults = production(url).unwrap_err();
        assert!(faults.len() == 1 && faults.to_string().contains("rabbitmq.url"), "{url}: {faults}");
    }
    assert!(with(&[("environment", "production")]).is_err());
    assert!(production("amqp://guest:a-password@r").is_ok());
}

#[test]
fn addresses_come_from_the_flat_names_and_are_checked() {
    let env = |pairs: &[(&str, &str)]| {
        let mut layers = Config::defaults();
        layers.env = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        layers.env.insert("JWT_SECRET".to_owned(), "a secret of these tests, long enough".to_owned());
        layers
    };
    let redis = |pairs| Config::load(&env(pairs)).unwrap().outside.redis.url.expose_secret().to_owned();
    assert_eq!(redis(&[]), "redis://127.0.0.1:6379");
    assert_eq!(redis(&[("REDIS_HOST", "redis")]), "redis://redis:6379");
    assert_eq!(redis(&[("REDIS_HOST", "redis"), ("REDIS_URL", "redis://:p@other/1")]), "redis://:p@other/1");
    let outside =
        Config::load(&env(&[("STORE_GRPC_URL", "http://store:1"), ("REGISTRY_GRPC_URL", "http://registry:2")]));
    let outside = outside.unwrap().outside;
    assert_eq!((outside.store_url.as_str(), outside.registry_url.as_str()), ("http://store:1", "http://registry:2"));
    let wrong = [("STORE_GRPC_URL", "store:50051"), ("REGISTRY_GRPC_URL", "http://")];
    assert_eq!(Config::load(&env(&wrong)).unwrap_err().len(), 2);
    let shown = sker_config::dump(&env(&[("RABBITMQ_URL", "amqp://u:hunter2@r"), ("REDIS_URL", "redis://:hunter2@r")]));
    assert!(!shown.unwrap().contains("hunter2"));
}
