//! What somebody who configures a service sees.

use std::{collections::BTreeMap, io::Write};

use proptest::prelude::*;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use sker_config::{Environment, Faults, Layers, RawConfig, dump, load};

const DEFAULTS: &str = r#"
environment = "development"
jwt_secret = ""
words = ["a", "b"]
[http]
host = "127.0.0.1"
port = 3001
compress = false
[database]
url = ""
password = ""
share = 0.5
[targets]
"#;

const FLAT: &[(&str, &str)] = &[
    ("STORE_PORT", "http.port"),
    ("PORT", "http.port"),
    ("DATABASE_URL", "database.url"),
    ("PG_PASSWORD", "database.password"),
    ("JWT_SECRET", "jwt_secret"),
];

#[derive(Debug, Deserialize)]
struct Raw {
    environment: Environment,
    jwt_secret: SecretString,
    words: Vec<String>,
    http: RawHttp,
    database: RawDatabase,
    targets: BTreeMap<String, RawTarget>,
}

#[derive(Debug, Deserialize)]
struct RawHttp {
    host: String,
    port: u16,
    compress: bool,
}

#[derive(Debug, Deserialize)]
struct RawDatabase {
    url: Option<String>,
    password: SecretString,
    share: f64,
}

#[derive(Debug, Deserialize)]
struct RawTarget {
    url: String,
    kind: Kind,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Sqlite,
    Redis,
}

impl RawConfig for Raw {
    type Valid = Raw;

    fn validate(self, faults: &mut Faults) -> Option<Raw> {
        faults.check(self.http.port != 1, "http.port", "must not be 1");
        faults.check((0.0..=1.0).contains(&self.database.share), "database.share", "must be within 0 and 1");
        Some(self)
    }
}

fn layers() -> Layers {
    Layers::new("database-service", DEFAULTS, FLAT)
}

fn with_env(variables: &[(&str, &str)]) -> Layers {
    let mut layers = layers();
    layers.env = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    layers
}

fn file(name: &str, text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    std::fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
    (directory, path)
}

fn faults(layers: &Layers) -> Vec<(String, String)> {
    let faults = load::<Raw>(layers).unwrap_err();
    faults.iter().map(|fault| (fault.key.clone(), fault.source.clone())).collect()
}

#[test]
fn flags_beat_nested_names_beat_flat_names_beat_the_file_beats_defaults() {
    let port = |layers: &Layers| load::<Raw>(layers).unwrap().http.port;
    let mut layers = layers();
    assert_eq!(port(&layers), 3001);
    let (_directory, path) = file("c.toml", "[http]\nport = 3002");
    layers.file = Some(path);
    assert_eq!(port(&layers), 3002);
    layers.env.insert("PORT".into(), "3003".into());
    assert_eq!(port(&layers), 3003);
    layers.env.insert("STORE_PORT".into(), "3004".into());
    assert_eq!(port(&layers), 3004, "of two flat names the first wins");
    layers.env.insert("SKER_DATABASE_SERVICE__HTTP__PORT".into(), "3005".into());
    assert_eq!(port(&layers), 3005);
    layers.overrides.push(("http.port".into(), "3006".into()));
    assert_eq!(port(&layers), 3006);
    layers.overrides.push(("http.port".into(), "3007".into()));
    assert_eq!(port(&layers), 3007, "the last flag wins");
    assert_eq!(load::<Raw>(&layers).unwrap().http.host, "127.0.0.1", "what nobody sets keeps its default");
}

#[test]
fn one_file_may_configure_the_whole_platform() {
    let (_directory, path) = file("sker.toml", "[database-service.http]\nport = 3002\n[gateway]\nno_such = 1");
    assert_eq!(sker_config::file_sections(&path).unwrap(), ["database-service", "gateway"]);
    let mut layers = Layers { file: Some(path), sectioned: true, ..layers() };
    assert_eq!(load::<Raw>(&layers).unwrap().http.port, 3002);
    layers.service = "broker";
    assert_eq!(load::<Raw>(&layers).unwrap().http.port, 3001, "a service without a section has its defaults");
}

#[test]
fn every_fault_is_named_at_once_with_its_key_and_source() {
    let (_directory, path) =
        file("c.yaml", "http:\n  hots: x\n  compress: maybe\ntargets:\n  a: {url: u, kind: oracle}\n");
    let mut layers = with_env(&[
        ("STORE_PORT", "70000"),
        ("SKER_DATABASE_SERVICE__DATABASE__SHARE", "2"),
        ("SKER_DATABASE_SERVICE__NO_SUCH__KEY", "1"),
        ("SKER_STORE__NO_SUCH", "concerns another service"),
    ]);
    let named = format!("file {}", path.display());
    layers.file = Some(path);
    layers.overrides.push(("worsd".into(), "x".into()));
    let expected = [
        ("database.share", "environment variable SKER_DATABASE_SERVICE__DATABASE__SHARE"),
        ("http.compress", &named),
        ("http.hots", &named),
        ("http.port", "environment variable STORE_PORT"),
        ("no_such", "environment variable SKER_DATABASE_SERVICE__NO_SUCH__KEY"),
        ("targets.a", &named),
        ("worsd", "flag"),
    ];
    let mut found = faults(&layers);
    found.sort();
    // The target goes as a whole, since its kind has no default.
    let found: Vec<_> = found.iter().map(|(key, source)| (key.trim_end_matches(".kind"), source.as_str())).collect();
    let mut unique = found.clone();
    unique.dedup();
    assert_eq!(unique, expected);
    let text = load::<Raw>(&layers).unwrap_err().to_string();
    assert!(text.contains("in the configuration of database-service"), "{text}");
    assert!(text.contains("here are host, port, compress"), "{text}");
    assert!(text.contains("70000"), "{text}");
}

#[test]
fn toml_and_yaml_say_the_same() {
    let toml = file(
        "c.toml",
        "words = ['x']\n[http]\nhost = '::1'\ncompress = true\n[targets.a]\nurl = 'u'\nkind = 'redis'\n",
    );
    let yaml = file(
        "c.yaml.example",
        "words: [x]\nhttp: {host: '::1', compress: true}\ntargets:\n  a: {url: u, kind: redis}\n",
    );
    for (_directory, path) in [toml, yaml] {
        let config = load::<Raw>(&Layers { file: Some(path), ..layers() }).unwrap();
        assert_eq!((config.http.host.as_str(), config.http.port, config.http.compress), ("::1", 3001, true));
        assert_eq!(config.words, ["x"]);
        assert_eq!((config.targets["a"].url.as_str(), &config.targets["a"].kind), ("u", &Kind::Redis));
    }
}

#[test]
fn the_text_of_the_environment_becomes_what_its_key_holds() {
    let config = load::<Raw>(&with_env(&[
        ("PG_PASSWORD", "12345"),
        ("SKER_DATABASE_SERVICE__HTTP__COMPRESS", "yes"),
        ("SKER_DATABASE_SERVICE__WORDS", "x, y ,z"),
        ("SKER_DATABASE_SERVICE__DATABASE__SHARE", "1"),
        ("SKER_DATABASE_SERVICE__TARGETS", r#"{"Upper": {"url": "u", "kind": "sqlite"}}"#),
        ("SKER_DATABASE_SERVICE__TARGETS__LATER__URL", "v"),
        ("SKER_DATABASE_SERVICE__TARGETS__LATER__KIND", "redis"),
        ("NODE_ENV", "production"),
    ]));
    let config = config.unwrap();
    assert_eq!(config.database.password.expose_secret(), "12345");
    assert_eq!(config.jwt_secret.expose_secret(), "");
    assert!(config.http.compress);
    assert_eq!(config.words, ["x", "y", "z"]);
    assert_eq!(config.database.share, 1.0);
    assert_eq!(config.environment, Environment::Production);
    assert_eq!(config.targets["later"].url, "v");
}

#[test]
fn our_own_name_of_the_environment_beats_its_alias() {
    let config = load::<Raw>(&with_env(&[("NODE_ENV", "production"), ("SKER_ENV", "development")])).unwrap();
    assert_eq!(config.environment, Environment::Development);
    assert_eq!(faults(&with_env(&[("SKER_ENV", "staging")]))[0].0, "environment");
}

#[test]
fn an_empty_flat_variable_counts_as_not_set() {
    let config = load::<Raw>(&with_env(&[("STORE_PORT", ""), ("DATABASE_URL", "")])).unwrap();
    assert_eq!(config.http.port, 3001);
    assert_eq!(config.database.url, None);
}

#[test]
fn a_file_that_is_missing_broken_or_of_no_known_kind_is_a_fault() {
    let missing = Layers { file: Some("/no/such/file.toml".into()), ..layers() };
    assert!(load::<Raw>(&missing).unwrap_err().to_string().contains("/no/such/file.toml"));
    for (name, text) in [("c.toml", "a = ["), ("c.yaml", "a: ["), ("c.ini", "")] {
        let (_directory, path) = file(name, text);
        assert_eq!(load::<Raw>(&Layers { file: Some(path), ..layers() }).unwrap_err().len(), 1, "{name}");
    }
    let (_directory, path) = file("c.yaml", "# nothing but a remark\n");
    assert!(load::<Raw>(&Layers { file: Some(path), ..layers() }).is_ok());
}

#[test]
fn the_dump_hides_secrets_names_sources_and_can_be_read_back() {
    let mut layers = with_env(&[
        ("JWT_SECRET", "hunter2-hunter2"),
        ("PG_PASSWORD", "hunter2"),
        ("DATABASE_URL", "postgres://sker:hunter2@db/store?sslpassword=hunter2"),
        ("STORE_PORT", "3900"),
        ("SKER_DATABASE_SERVICE__TARGETS", r#"{"a": {"url": "redis://u:hunter2@h", "kind": "redis"}}"#),
    ]);
    layers.overrides.push(("targets.b.url".into(), "redis://u:hunter2@h".into()));
    layers.overrides.push(("targets.b.kind".into(), "redis".into()));
    let text = dump(&layers).unwrap();
    assert!(!text.contains("hunter2"), "{text}");
    assert!(text.contains("port = 3900  # environment variable STORE_PORT"), "{text}");
    assert!(text.contains("jwt_secret = \"[redacted]\""), "{text}");
    let (_directory, path) = file("dump.toml", &text);
    let config = load::<Raw>(&Layers { file: Some(path), ..self::layers() }).unwrap();
    assert_eq!(config.http.port, 3900);
}

#[test]
fn no_fault_shows_a_secret() {
    let (_directory, path) =
        file("c.toml", "[database]\npassword = ['hunter2']\nurl = { a = 1 }\n[http]\nport = 'http://u:hunter2@h'\n");
    let text = load::<Raw>(&Layers { file: Some(path), ..layers() }).unwrap_err().to_string();
    assert!(!text.contains("hunter2"), "{text}");
    let (_directory, path) = file("c.toml", "jwt_secret = 'hunter2\n");
    let text = load::<Raw>(&Layers { file: Some(path), ..layers() }).unwrap_err().to_string();
    assert!(!text.contains("hunter2"), "{text}");
}

proptest! {
    #[test]
    fn a_flag_wins_over_any_other_layers(file_port in proptest::option::of(2u16..), env in proptest::option::of(2u16..), flag in 2u16..) {
        let mut layers = layers();
        let kept = file_port.map(|port| file("c.toml", &format!("http.port = {port}")));
        layers.file = kept.as_ref().map(|(_, path)| path.clone());
        if let Some(port) = env {
            layers.env.insert("STORE_PORT".into(), port.to_string());
        }
        let expected = env.or(file_port).unwrap_or(3001);
        prop_assert_eq!(load::<Raw>(&layers).unwrap().http.port, expected);
        layers.overrides.push(("http.port".into(), flag.to_string()));
        prop_assert_eq!(load::<Raw>(&layers).unwrap().http.port, flag);
    }

    #[test]
    fn nothing_in_the_environment_crashes_the_loader(name in "[A-Z_]{0,12}", value in ".{0,40}") {
        let variable = format!("SKER_DATABASE_SERVICE__{name}");
        let _ = load::<Raw>(&with_env(&[(&variable, &value)]));
        let _ = dump(&with_env(&[(&variable, &value)]));
    }
}
