use std::{collections::BTreeMap, path::Path, sync::Arc};

use figment::{
    Figment, Metadata, Profile, Provider,
    providers::{Format, Toml, Yaml},
    util::nest,
    value::{Dict, Map, Num, Value},
};

use crate::{Faults, Layers};

/// A merged configuration in which every value knows where it came from.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub source: Arc<str>,
    pub content: Content,
}

/// What stands at a key. Values of the environment and of flags are always text; what they mean is decided by what
/// reads them, so that the password `12345` stays text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Content {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(BTreeMap<String, Node>),
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.content == other.content
    }
}

impl Node {
    /// The node at a path such as `http.port` or `targets[2].url`.
    pub fn at(&self, path: &str) -> Option<&Node> {
        segments(path).try_fold(self, |node, segment| match &node.content {
            Content::Map(map) => map.get(segment),
            Content::List(list) => list.get(segment.parse::<usize>().ok()?),
            _ => None,
        })
    }

    fn at_mut(&mut self, path: &str) -> Option<&mut Node> {
        segments(path).try_fold(self, |node, segment| match &mut node.content {
            Content::Map(map) => map.get_mut(segment),
            Content::List(list) => list.get_mut(segment.parse::<usize>().ok()?),
            _ => None,
        })
    }

    /// Puts another node at a path that exists; `None` removes what is there. Says whether that changed anything.
    pub fn replace(&mut self, path: &str, with: Option<Node>) -> bool {
        match with {
            Some(with) => match self.at_mut(path) {
                Some(node) if *node != with => {
                    *node = with;
                    true
                }
                _ => false,
            },
            None => {
                let (parent, last) = match path.rfind(['.', '[']) {
                    Some(end) => (&path[..end], path[end + 1..].trim_end_matches(']')),
                    None => ("", path),
                };
                match self.at_mut(parent).map(|node| &mut node.content) {
                    Some(Content::Map(map)) => map.remove(last).is_some(),
                    Some(Content::List(list)) => match last.parse::<usize>() {
                        Ok(index) if index < list.len() => {
                            list.remove(index);
                            true
                        }
                        _ => false,
                    },
                    _ => false,
                }
            }
        }
    }

    /// Where every key's value came from.
    pub fn sources(&self) -> BTreeMap<String, String> {
        let mut sources = BTreeMap::new();
        self.gather_sources("", &mut sources);
        sources
    }

    fn gather_sources(&self, path: &str, sources: &mut BTreeMap<String, String>) {
        if !path.is_empty() {
            sources.insert(path.to_owned(), self.source.to_string());
        }
        match &self.content {
            Content::Map(map) => {
                map.iter().for_each(|(key, node)| node.gather_sources(&join(path, key), sources));
            }
            Content::List(list) => {
                list.iter().enumerate().for_each(|(i, node)| node.gather_sources(&format!("{path}[{i}]"), sources));
            }
            _ => {}
        }
    }
}

/// A key inside another.
pub(crate) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split(['.', '[']).map(|segment| segment.trim_end_matches(']')).filter(|segment| !segment.is_empty())
}

/// The built-in defaults alone.
pub(crate) fn defaults(layers: &Layers) -> Result<Node, Faults> {
    let mut faults = Faults::new(layers.service);
    match Toml::from_str::<Dict>(layers.defaults) {
        Ok(data) => Ok(to_node(&Figment::from(Layer { name: DEFAULT.to_owned(), data }), DEFAULT)),
        Err(error) => {
            faults.add_from("", error.to_string(), DEFAULT);
            Err(faults)
        }
    }
}

/// All layers, merged.
pub(crate) fn merge(layers: &Layers) -> Result<Node, Faults> {
    let mut faults = Faults::new(layers.service);
    let mut figment = Figment::new();
    match Toml::from_str::<Dict>(layers.defaults) {
        Ok(data) => figment = figment.merge(Layer { name: DEFAULT.to_owned(), data }),
        Err(error) => faults.add_from("", error.to_string(), DEFAULT),
    }
    if let Some(path) = &layers.file {
        match read_file(path) {
            Ok(data) => {
                let data = if layers.sectioned { section(&data, layers.service) } else { data };
                figment = figment.merge(Layer { name: format!("file {}", path.display()), data });
            }
            Err(message) => faults.add_from("", message, format!("file {}", path.display())),
        }
    }
    let has_environment = Toml::from_str::<Dict>(layers.defaults).is_ok_and(|dict| dict.contains_key("environment"));
    let general = [("SKER_ENV", "environment"), ("NODE_ENV", "environment")];
    let general = general.into_iter().filter(|_| has_environment);
    let flat: Vec<(&str, &str)> = general.chain(layers.flat.iter().copied()).collect();
    // Merged in reverse, so that of two names for one key the first wins; our own names beat the seeds'.
    for ours in [false, true] {
        for (name, key) in flat.iter().rev().filter(|(name, _)| name.starts_with("SKER_") == ours) {
            if let Some(value) = layers.env.get(*name).filter(|value| !value.is_empty()) {
                figment = figment.merge(Layer::one(format!("environment variable {name}"), key, value));
            }
        }
    }
    let prefix = layers.prefix();
    for (name, value) in &layers.env {
        if let Some(rest) = name.strip_prefix(&prefix)
            && !rest.is_empty()
        {
            let key = rest.to_ascii_lowercase().replace("__", ".");
            figment = figment.merge(Layer::one(format!("environment variable {name}"), &key, value));
        }
    }
    for (key, value) in &layers.overrides {
        figment = figment.merge(Layer::one("flag".to_owned(), key, value));
    }
    if faults.is_empty() { Ok(to_node(&figment, DEFAULT)) } else { Err(faults) }
}

const DEFAULT: &str = "default";

fn read_file(path: &Path) -> Result<Dict, String> {
    let name = path.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    let name = name.strip_suffix(".example").unwrap_or(&name);
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("toml") => Toml::from_str(&text).map_err(|error| without_line(&error.to_string())),
        // An empty document is `null` in YAML and an empty table in TOML.
        Some("yaml" | "yml") if text.lines().all(|line| line.trim().is_empty() || line.trim().starts_with('#')) => {
            Ok(Dict::new())
        }
        Some("yaml" | "yml") => Yaml::from_str(&text).map_err(|error| error.to_string()),
        _ => Err("the name must end in .toml, .yaml or .yml".to_owned()),
    }
}

/// The sections of the whole platform's file ([`Layers::sectioned`]), so that one that no service reads can be named.
///
/// # Errors
/// Why the file cannot be read.
pub fn file_sections(path: &Path) -> Result<Vec<String>, String> {
    Ok(read_file(path)?.into_keys().collect())
}

/// One service's part of the whole platform's file.
fn section(data: &Dict, service: &str) -> Dict {
    data.get(service).and_then(Value::as_dict).cloned().unwrap_or_default()
}

/// The TOML parser quotes the line it stumbled over, which may hold a secret: keeps the first and the last line of its
/// message, which say where and why.
fn without_line(message: &str) -> String {
    let mut lines = message.lines().filter(|line| !line.trim().is_empty());
    let first = lines.next().unwrap_or_default();
    match lines.next_back().filter(|line| !line.contains('|')) {
        Some(last) => format!("{first}: {last}"),
        None => first.to_owned(),
    }
}

struct Layer {
    name: String,
    data: Dict,
}

impl Layer {
    fn one(name: String, key: &str, value: &str) -> Self {
        let data = nest(key, Value::from(value)).into_dict().unwrap_or_default();
        Layer { name, data }
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.data.clone()))
    }
}

fn to_node(figment: &Figment, otherwise: &str) -> Node {
    let data = figment.data().unwrap_or_default();
    let dict = data.get(&Profile::Default).cloned().unwrap_or_default();
    convert(figment, &Value::from(dict), &Arc::from(otherwise))
}

fn convert(figment: &Figment, value: &Value, outer: &Arc<str>) -> Node {
    let source = figment.get_metadata(value.tag()).map_or_else(|| outer.clone(), |metadata| Arc::from(&*metadata.name));
    let content = match value {
        Value::Empty(..) => Content::Null,
        Value::Bool(_, value) => Content::Bool(*value),
        Value::Char(_, value) => Content::Text(value.to_string()),
        Value::String(_, value) => Content::Text(value.clone()),
        Value::Num(_, number) => convert_number(number),
        Value::Array(_, list) => Content::List(list.iter().map(|value| convert(figment, value, &source)).collect()),
        Value::Dict(_, dict) => {
            Content::Map(dict.iter().map(|(key, value)| (key.clone(), convert(figment, value, &source))).collect())
        }
    };
    Node { source, content }
}

fn convert_number(number: &Num) -> Content {
    let unsigned = number.to_u128().and_then(|value| i128::try_from(value).ok());
    match (unsigned.or_else(|| number.to_i128()), number.to_f64()) {
        (Some(integer), _) => Content::Integer(integer),
        (None, Some(float)) => Content::Float(float),
        (None, None) => Content::Null,
    }
}
