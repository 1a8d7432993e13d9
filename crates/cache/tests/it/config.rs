use sker_cache::{Redis, RedisConfig};
use sker_error::Code;

fn fault(config: RedisConfig) -> String {
    let faults = config.faults();
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert_eq!(Redis::new(&config).unwrap_err().code(), Code::InvalidRequest);
    faults[0].0.to_owned()
}

fn with_url(url: &str) -> RedisConfig {
    RedisConfig { url: url.into(), ..RedisConfig::default() }
}

#[test]
fn usable_addresses_are_taken() {
    for url in [
        "redis://localhost",
        "redis://10.0.0.7:6380/3",
        "redis://user:p%23ss@redis:6379",
        "redis://:password@[::1]:6379",
        "rediss://user:password@redis.example.com",
        "unix:///run/redis.sock",
    ] {
        assert_eq!(with_url(url).faults(), [], "{url}");
        assert!(Redis::new(&with_url(url)).is_ok(), "{url}");
    }
    assert_eq!(RedisConfig::default().faults(), []);
}

#[test]
fn others_are_named_without_their_password() {
    for url in [
        "",
        "localhost:6379",
        "http://:hunter2@localhost",
        "redis://",
        "redis://:hunter2@localhost/many",
        "redis://:hunter2@localhost/-1",
        "redis://:hunter2@localhost:99999",
        "redis://:hunter2#@localhost",
        "rediss://:hunter2@localhost/#insecure",
    ] {
        let config = with_url(url);
        assert!(!format!("{:?} {:?}", config, config.faults()).contains("hunter2"), "{url}");
        assert!(!format!("{:?}", Redis::new(&config).unwrap_err()).contains("hunter2"), "{url}");
        assert_eq!(fault(config), "url", "{url}");
    }
}

#[test]
fn ranges_are_checked() {
    for key_prefix in ["", ":", "with space", "glob*", "{tag}", &"x".repeat(65)] {
        assert_eq!(fault(RedisConfig { key_prefix: key_prefix.into(), ..RedisConfig::default() }), "key_prefix");
    }
    for max_connections in [0, 257] {
        assert_eq!(fault(RedisConfig { max_connections, ..RedisConfig::default() }), "max_connections");
    }
    for timeout_ms in [0, 49, 60_001] {
        assert_eq!(fault(RedisConfig { timeout_ms, ..RedisConfig::default() }), "timeout_ms");
    }
    let all = RedisConfig { url: "".into(), key_prefix: "".into(), max_connections: 0, timeout_ms: 0 };
    assert_eq!(all.faults().len(), 4, "all at once");
}
