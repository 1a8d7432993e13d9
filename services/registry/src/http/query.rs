use std::{collections::BTreeMap, time::Duration};

use actix_web::{HttpRequest, web::Query};
use sker_error::{Error, FieldError, Result};
use sker_types::Time;

use crate::app::{MAX_LIMIT, Paging};

/// A query string of a foreign client: what nobody takes is ignored, and named in the answer.
#[derive(Default)]
pub struct Parameters {
    rest: Vec<(String, String)>,
    faults: Vec<FieldError>,
}

impl Parameters {
    /// Begins to read.
    pub fn of(request: &HttpRequest) -> Result<Self> {
        let rest = Query::<Vec<(String, String)>>::from_query(request.query_string())
            .map_err(|error| Error::invalid_request("the query string is malformed").with_cause(error.to_string()))?;
        Ok(Parameters { rest: rest.into_inner(), faults: Vec::new() })
    }

    /// The last value of a parameter; empty when it is not there.
    pub fn text(&mut self, name: &str) -> String {
        self.all(name).pop().unwrap_or_default()
    }

    /// Every value of a parameter that may be repeated, or have commas.
    pub fn list(&mut self, name: &str) -> Vec<String> {
        let values = self.all(name);
        values.iter().flat_map(|value| value.split(',')).filter(|item| !item.is_empty()).map(str::to_owned).collect()
    }

    /// Parameters that begin with a prefix, by what follows it.
    pub fn prefixed(&mut self, prefix: &str) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        self.rest.retain(|(name, value)| match name.strip_prefix(prefix) {
            Some(key) => {
                found.insert(key.to_owned(), value.clone());
                false
            }
            None => true,
        });
        found
    }

    /// `limit` and `cursor`.
    pub fn paging(&mut self) -> Paging {
        let limit = self.limit(MAX_LIMIT);
        Paging { limit, cursor: self.text("cursor") }
    }

    /// `limit`.
    pub fn limit(&mut self, default: usize) -> usize {
        let text = self.text("limit");
        match text.parse() {
            _ if text.is_empty() => default,
            Ok(limit) if (1..=MAX_LIMIT).contains(&limit) => limit,
            _ => {
                self.fault("limit", "out_of_range", &format!("must be within 1 and {MAX_LIMIT}"));
                default
            }
        }
    }

    /// A duration as in `30s`, `500ms` or `2m`; seconds without a unit.
    pub fn duration(&mut self, name: &str, default: Duration) -> Duration {
        let text = self.text(name);
        if text.is_empty() {
            return default;
        }
        parse_duration(&text).unwrap_or_else(|| {
            self.fault(name, "invalid", "must be a duration such as 30s, 500ms or 2m");
            default
        })
    }

    /// A time as in RFC 3339.
    pub fn time(&mut self, name: &str) -> Option<Time> {
        let text = self.text(name);
        if text.is_empty() {
            return None;
        }
        let parsed = text.parse().ok();
        if parsed.is_none() {
            self.fault(name, "invalid", "must be a time as in RFC 3339");
        }
        parsed
    }

    /// Names a fault.
    pub fn fault(&mut self, name: &str, code: &str, message: &str) {
        self.faults.push(FieldError::new(name, code, message));
    }

    /// Ends reading: the names of what was ignored, or every fault.
    pub fn finish(self) -> Result<Vec<String>> {
        if !self.faults.is_empty() {
            return Err(Error::validation(self.faults));
        }
        Ok(self.rest.into_iter().map(|(name, _)| name).collect())
    }

    fn all(&mut self, name: &str) -> Vec<String> {
        let (taken, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.rest).into_iter().partition(|(key, _)| key == name);
        self.rest = rest;
        taken.into_iter().map(|(_, value)| value).collect()
    }
}

/// A duration as in Go: a number and a unit. Without a unit it is seconds.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..split].parse().ok()?;
    let ms = match &text[split..] {
        "ms" => number,
        "" | "s" => number.checked_mul(1_000)?,
        "m" => number.checked_mul(60_000)?,
        "h" => number.checked_mul(3_600_000)?,
        _ => return None,
    };
    Some(Duration::from_millis(ms))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn what_nobody_takes_is_named() {
        let request = TestRequest::with_uri("/?tags=a,b&tags=c&metadata.zone=x&zone=y&limit=7").to_http_request();
        let mut parameters = Parameters::of(&request).unwrap();
        assert_eq!(parameters.list("tags"), ["a", "b", "c"]);
        assert_eq!(parameters.prefixed("metadata.").get("zone").map(String::as_str), Some("x"));
        assert_eq!(parameters.paging().limit, 7);
        assert_eq!(parameters.finish().unwrap(), ["zone"]);
    }

    #[test]
    fn durations_are_read_as_go_writes_them() {
        let ms = |text| parse_duration(text).map(|duration| duration.as_millis());
        assert_eq!(
            [ms("30s"), ms("500ms"), ms("2m"), ms("30")],
            [Some(30_000), Some(500), Some(120_000), Some(30_000)]
        );
        assert_eq!([ms("x"), ms(""), ms("1d"), ms("-1s")], [None; 4]);
    }
}
