use std::fmt::Write;

use crate::{
    redact::{REDACTED, is_secret_key, redact_text},
    tree::{Content, Node, join},
};

/// A configuration as TOML, without secrets, each line with where its value came from. Text out of the environment is
/// written as what the default at its key is, so that the output can be read back as a file.
pub(crate) fn to_toml(merged: &Node, defaults: &Node) -> String {
    let mut output = String::new();
    write_table(&mut output, "", merged, defaults);
    output
}

fn write_table(output: &mut String, path: &str, node: &Node, defaults: &Node) {
    let Content::Map(map) = &node.content else { return };
    let (tables, values): (Vec<_>, Vec<_>) = map.iter().partition(|(_, node)| matches!(node.content, Content::Map(_)));
    if !path.is_empty() && (!values.is_empty() || tables.is_empty()) {
        let separator = if output.is_empty() { "" } else { "\n" };
        let _ = writeln!(output, "{separator}[{}]", quoted_path(path));
    }
    for (key, node) in values {
        let key_path = join(path, key);
        if let Some(value) = to_value(node, defaults.at(&key_path), is_secret_key(&key_path)) {
            let _ = writeln!(output, "{} = {value}  # {}", quoted_key(key), node.source);
        }
    }
    for (key, node) in tables {
        write_table(output, &join(path, key), node, defaults);
    }
}

fn to_value(node: &Node, default: Option<&Node>, secret: bool) -> Option<toml::Value> {
    Some(match &node.content {
        Content::Null => return None,
        Content::Text(text) if text.is_empty() => toml::Value::String(String::new()),
        Content::Map(map) => toml::Value::Table(
            map.iter()
                .filter_map(|(key, node)| Some((key.clone(), to_value(node, None, secret || is_secret_key(key))?)))
                .collect(),
        ),
        Content::List(list) => {
            toml::Value::Array(list.iter().filter_map(|node| to_value(node, None, secret)).collect())
        }
        _ if secret => toml::Value::String(REDACTED.to_owned()),
        Content::Bool(value) => toml::Value::Boolean(*value),
        Content::Integer(value) => match i64::try_from(*value) {
            Ok(value) => toml::Value::Integer(value),
            Err(_) => toml::Value::String(value.to_string()),
        },
        Content::Float(value) => toml::Value::Float(*value),
        Content::Text(text) => like_default(text, default).unwrap_or_else(|| toml::Value::String(redact_text(text))),
    })
}

fn like_default(text: &str, default: Option<&Node>) -> Option<toml::Value> {
    match default?.content {
        Content::Bool(_) => text.parse().ok().map(toml::Value::Boolean),
        Content::Integer(_) => text.parse().ok().map(toml::Value::Integer),
        Content::Float(_) => text.parse().ok().map(toml::Value::Float),
        _ => None,
    }
}

fn quoted_path(path: &str) -> String {
    path.split('.').map(quoted_key).collect::<Vec<_>>().join(".")
}

fn quoted_key(key: &str) -> String {
    let bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if bare { key.to_owned() } else { toml::Value::String(key.to_owned()).to_string() }
}
