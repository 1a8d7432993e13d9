use std::{ops::RangeInclusive, str::FromStr};

use sker_error::{Error, FieldError, Result};
use sker_types::{DEFAULT_PAGE_LIMIT, MAX_PAGE_LIMIT, Uuid, parse_id};

/// Reads a query string parameter by parameter and gathers every fault, unknown parameters among them. Take every parameter
/// that the endpoint has, then call [`QueryFields::finish`].
///
/// ```
/// use sker_runtime::QueryFields;
/// let mut query = QueryFields::parse("limit=20&status=active&colour=red").unwrap();
/// assert_eq!(query.limit(), 20);
/// assert_eq!(query.one_of("status", &["active", "paused"]).as_deref(), Some("active"));
/// assert_eq!(query.finish().unwrap_err().fields()[0].field, "colour");
/// ```
#[derive(Debug)]
pub struct QueryFields {
    rest: Vec<(String, String)>,
    faults: Vec<FieldError>,
}

impl QueryFields {
    /// Begins to read a query string, without its question mark.
    pub fn parse(query: &str) -> Result<Self> {
        let rest = serde_urlencoded::from_str(query)
            .map_err(|_| Error::invalid_request("the query string is not form-encoded"))?;
        Ok(QueryFields { rest, faults: Vec::new() })
    }

    /// Names a fault.
    pub fn fault(&mut self, name: &str, code: &str, message: impl Into<String>) {
        self.faults.push(FieldError::new(name, code, message));
    }

    /// A parameter as it is. Given twice it is a fault, because one would be ignored.
    pub fn text(&mut self, name: &str) -> Option<String> {
        let (mut values, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.rest).into_iter().partition(|(key, _)| key == name);
        self.rest = rest;
        if values.len() > 1 {
            self.fault(name, "repeated", "this parameter may be given once");
            return None;
        }
        let value = values.pop().map(|(_, value)| value)?;
        if value.contains('\0') {
            self.fault(name, "invalid", "must not contain the NUL character");
            return None;
        }
        Some(value)
    }

    /// A parameter with at most `longest` characters; an empty one counts as not given.
    pub fn bounded(&mut self, name: &str, longest: usize) -> Option<String> {
        let value = self.text(name).filter(|value| !value.is_empty())?;
        if value.chars().count() > longest {
            self.fault(name, "too_long", format!("must have at most {longest} characters"));
            return None;
        }
        Some(value)
    }

    /// Every value of a parameter that may be given more than once, or once with commas: `?tags=a,b&tags=c`.
    pub fn list(&mut self, name: &str) -> Vec<String> {
        let (values, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.rest).into_iter().partition(|(key, _)| key == name);
        self.rest = rest;
        let words = values.iter().flat_map(|(_, value)| value.split(','));
        words.map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }

    /// One of a set of words.
    pub fn one_of(&mut self, name: &str, words: &[&str]) -> Option<String> {
        let value = self.text(name)?;
        if !words.contains(&value.as_str()) {
            self.fault(name, "invalid", format!("must be one of {}", words.join(", ")));
            return None;
        }
        Some(value)
    }

    /// An integer within a range.
    pub fn integer(&mut self, name: &str, range: RangeInclusive<i64>) -> Option<i64> {
        let value: i64 = self.parsed(name, "must be an integer")?;
        if !range.contains(&value) {
            self.fault(name, "out_of_range", format!("must be within {} and {}", range.start(), range.end()));
            return None;
        }
        Some(value)
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, name: &str) -> Option<bool> {
        self.parsed(name, "must be true or false")
    }

    /// An id.
    pub fn id(&mut self, name: &str) -> Option<Uuid> {
        let value = self.text(name)?;
        let id = parse_id(&value);
        if id.is_none() {
            self.fault(name, "invalid", "must be a UUID");
        }
        id
    }

    /// Anything that can be read from a string.
    pub fn parsed<T: FromStr>(&mut self, name: &str, otherwise: &str) -> Option<T> {
        let value = self.text(name)?;
        let parsed = value.parse().ok();
        if parsed.is_none() {
            self.fault(name, "invalid", otherwise);
        }
        parsed
    }

    /// `?limit=`: the rows of a page, [`DEFAULT_PAGE_LIMIT`] when it is not given.
    pub fn limit(&mut self) -> u32 {
        let limit = self.integer("limit", 1..=i64::from(MAX_PAGE_LIMIT));
        limit.and_then(|limit| u32::try_from(limit).ok()).unwrap_or(DEFAULT_PAGE_LIMIT)
    }

    /// `?cursor=`: where the page begins; opaque.
    pub fn cursor(&mut self) -> Option<String> {
        self.bounded("cursor", 1024)
    }

    /// Ends reading: an error names every fault and every parameter that nobody took.
    pub fn finish(self) -> Result<()> {
        if self.faults.is_empty() && self.rest.is_empty() {
            return Ok(());
        }
        let mut names: Vec<String> = self.rest.into_iter().map(|(name, _)| name).collect();
        names.sort();
        names.dedup();
        if self.faults.is_empty() {
            return Err(Error::unknown_fields(names));
        }
        let unknown =
            names.into_iter().map(|name| FieldError::new(name, "unknown_field", "this parameter does not exist"));
        Err(Error::validation(self.faults.into_iter().chain(unknown).collect()))
    }
}
