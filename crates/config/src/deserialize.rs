//! Reads a [`Node`] with serde. Differs from a plain deserializer in that text is taken for a number, a truth value or a
//! list where one is wanted (the environment has only text), in that an error says at which key, and in that keys which
//! nobody reads are remembered.

use std::{cell::RefCell, fmt};

use serde::{
    Deserializer,
    de::{self, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor},
    forward_to_deserialize_any,
};

use crate::{
    redact::{is_secret_key, redact_text},
    tree::{Content, Node, join},
};

/// Keys that nobody reads, each with the keys that would be read in its place.
type Unknown = Vec<(String, Vec<&'static str>)>;

pub(crate) struct Reader<'a> {
    root: &'a Node,
    unknown: RefCell<Unknown>,
}

impl<'a> Reader<'a> {
    pub fn new(root: &'a Node) -> Self {
        Reader { root, unknown: RefCell::default() }
    }

    pub fn root(&self) -> Value<'_> {
        Value { node: self.root, path: String::new(), unknown: &self.unknown, siblings: &[] }
    }

    pub fn into_unknown(self) -> Unknown {
        self.unknown.into_inner()
    }
}

/// What is wrong, and at which key.
#[derive(Debug)]
pub(crate) struct ReadError {
    pub path: String,
    pub message: String,
    placed: bool,
}

impl ReadError {
    fn at(mut self, path: &str) -> Self {
        // The innermost place is the most exact.
        if !self.placed {
            self.path = path.to_owned();
            self.placed = true;
            if is_secret_key(path) {
                "has the wrong form".clone_into(&mut self.message);
            }
        }
        self
    }
}

impl de::Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        ReadError { path: String::new(), message: redact_text(&message.to_string()), placed: false }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.path, self.message)
    }
}

impl std::error::Error for ReadError {}

pub(crate) struct Value<'a> {
    node: &'a Node,
    path: String,
    unknown: &'a RefCell<Unknown>,
    siblings: &'static [&'static str],
}

impl Value<'_> {
    fn unexpected(&self, expected: &dyn de::Expected) -> ReadError {
        let found = match &self.node.content {
            Content::Null => Unexpected::Unit,
            Content::Bool(value) => Unexpected::Bool(*value),
            Content::Integer(value) => match i64::try_from(*value) {
                Ok(value) => Unexpected::Signed(value),
                Err(_) => Unexpected::Other("a large number"),
            },
            Content::Float(value) => Unexpected::Float(*value),
            Content::Text(value) => Unexpected::Str(value),
            Content::List(_) => Unexpected::Seq,
            Content::Map(_) => Unexpected::Map,
        };
        <ReadError as de::Error>::invalid_type(found, expected).at(&self.path)
    }

    fn visit_integer<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let integer = match &self.node.content {
            Content::Integer(value) => *value,
            Content::Text(text) => match text.trim().parse::<i128>() {
                Ok(value) => value,
                Err(_) => return Err(self.unexpected(&visitor)),
            },
            _ => return Err(self.unexpected(&visitor)),
        };
        let outcome = match (u64::try_from(integer), i64::try_from(integer)) {
            (Ok(value), _) => visitor.visit_u64(value),
            (_, Ok(value)) => visitor.visit_i64(value),
            _ => return Err(self.unexpected(&visitor)),
        };
        outcome.map_err(|error: ReadError| error.at(&self.path))
    }

    fn visit_float<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let float = match &self.node.content {
            Content::Integer(value) => Some(*value as f64),
            Content::Float(value) => Some(*value),
            Content::Text(text) => text.trim().parse().ok(),
            _ => None,
        };
        match float {
            Some(value) => visitor.visit_f64(value).map_err(|error: ReadError| error.at(&self.path)),
            None => Err(self.unexpected(&visitor)),
        }
    }

    fn visit_text<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let text = match &self.node.content {
            Content::Text(text) => text.clone(),
            Content::Bool(value) => value.to_string(),
            Content::Integer(value) => value.to_string(),
            Content::Float(value) => value.to_string(),
            _ => return Err(self.unexpected(&visitor)),
        };
        visitor.visit_string(text).map_err(|error: ReadError| error.at(&self.path))
    }

    /// Lists and tables may be given as JSON text, lists of words also with commas.
    fn parsed(&self, list: bool) -> Option<Node> {
        let Content::Text(text) = &self.node.content else { return None };
        let source = &self.node.source;
        let text = text.trim();
        if text.starts_with(['[', '{']) {
            return Some(from_json(serde_json::from_str(text).ok()?, source));
        }
        let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
        let words = words.map(|word| Node { source: source.clone(), content: Content::Text(word.to_owned()) });
        list.then(|| Node { source: source.clone(), content: Content::List(words.collect()) })
    }
}

fn from_json(value: serde_json::Value, source: &std::sync::Arc<str>) -> Node {
    use serde_json::Value as Json;
    let content = match value {
        Json::Null => Content::Null,
        Json::Bool(value) => Content::Bool(value),
        Json::Number(number) => match number.as_i64() {
            Some(value) => Content::Integer(value.into()),
            None => Content::Float(number.as_f64().unwrap_or_default()),
        },
        Json::String(text) => Content::Text(text),
        Json::Array(items) => Content::List(items.into_iter().map(|item| from_json(item, source)).collect()),
        Json::Object(map) => {
            Content::Map(map.into_iter().map(|(key, value)| (key, from_json(value, source))).collect())
        }
    };
    Node { source: source.clone(), content }
}

impl<'de> Deserializer<'de> for Value<'_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.content {
            Content::Null => visitor.visit_unit().map_err(|error: ReadError| error.at(&self.path)),
            Content::Bool(value) => visitor.visit_bool(*value).map_err(|error: ReadError| error.at(&self.path)),
            Content::Integer(_) => self.visit_integer(visitor),
            Content::Float(_) => self.visit_float(visitor),
            Content::Text(_) => self.visit_text(visitor),
            Content::List(_) => self.deserialize_seq(visitor),
            Content::Map(_) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let value = match &self.node.content {
            Content::Bool(value) => Some(*value),
            Content::Text(text) => match text.trim().to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" | "on" => Some(true),
                "false" | "0" | "no" | "off" => Some(false),
                _ => None,
            },
            _ => None,
        };
        match value {
            Some(value) => visitor.visit_bool(value).map_err(|error: ReadError| error.at(&self.path)),
            None => Err(self.unexpected(&visitor)),
        }
    }

    fn deserialize_i8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.visit_integer(visitor)
    }

    fn deserialize_i16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.visit_integer(visitor)
    }

    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.visit_integer(visitor)
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.visit_integer(visitor)
    }

    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.visit_integer(visitor)
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.visit_integer(visitor)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.visit_integer(visitor)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.visit_integer(visitor)
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.visit_float(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.visit_float(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.visit_text(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.visit_text(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.content {
            Content::Null => visitor.visit_none(),
            // Defaults list optional keys as empty text, since TOML has no null.
            Content::Text(text) if text.is_empty() => visitor.visit_none(),
            _ => {
                let path = self.path.clone();
                visitor.visit_some(self).map_err(|error: ReadError| error.at(&path))
            }
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let parsed = self.parsed(true);
        match parsed.as_ref().map_or(&self.node.content, |node| &node.content) {
            Content::List(list) => {
                let access = List { items: list.iter().enumerate(), path: &self.path, unknown: self.unknown };
                visitor.visit_seq(access).map_err(|error: ReadError| error.at(&self.path))
            }
            _ => Err(self.unexpected(&visitor)),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_struct("", &[], visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let parsed = self.parsed(false);
        match parsed.as_ref().map_or(&self.node.content, |node| &node.content) {
            Content::Map(map) => {
                let path = self.path.clone();
                let access = Table { entries: map.iter(), value: None, path: self.path, unknown: self.unknown, fields };
                visitor.visit_map(access).map_err(|error: ReadError| error.at(&path))
            }
            _ => Err(self.unexpected(&visitor)),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match &self.node.content {
            Content::Text(text) => {
                let access = IntoDeserializer::<ReadError>::into_deserializer(text.trim());
                visitor.visit_enum(access).map_err(|error: ReadError| error.at(&self.path))
            }
            _ => Err(self.unexpected(&visitor)),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.unknown.borrow_mut().push((self.path, self.siblings.to_vec()));
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct tuple tuple_struct identifier
    }
}

struct List<'a> {
    items: std::iter::Enumerate<std::slice::Iter<'a, Node>>,
    path: &'a str,
    unknown: &'a RefCell<Unknown>,
}

impl<'de> SeqAccess<'de> for List<'_> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, ReadError> {
        let Some((index, node)) = self.items.next() else { return Ok(None) };
        let path = format!("{}[{index}]", self.path);
        let value = Value { node, path: path.clone(), unknown: self.unknown, siblings: &[] };
        seed.deserialize(value).map(Some).map_err(|error| error.at(&path))
    }
}

struct Table<'a> {
    entries: std::collections::btree_map::Iter<'a, String, Node>,
    value: Option<(String, &'a Node)>,
    path: String,
    unknown: &'a RefCell<Unknown>,
    fields: &'static [&'static str],
}

impl<'de> MapAccess<'de> for Table<'_> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ReadError> {
        let Some((key, node)) = self.entries.next() else { return Ok(None) };
        let path = join(&self.path, key);
        self.value = Some((path.clone(), node));
        let key = IntoDeserializer::<ReadError>::into_deserializer(key.as_str());
        seed.deserialize(key).map(Some).map_err(|error: ReadError| error.at(&path))
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, ReadError> {
        let Some((path, node)) = self.value.take() else {
            return Err(de::Error::custom("a value was asked for before its key"));
        };
        let value = Value { node, path: path.clone(), unknown: self.unknown, siblings: self.fields };
        seed.deserialize(value).map_err(|error| error.at(&path))
    }
}
