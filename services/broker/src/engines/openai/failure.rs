use std::time::Duration;

use reqwest::{StatusCode, header::HeaderMap};
use serde_json::Value;

use crate::engines::Failure;

/// What a refused request means.
pub(super) fn refused(status: StatusCode, headers: &HeaderMap, body: &str, secret: Option<&str>) -> Failure {
    let said = said(body, secret);
    match status.as_u16() {
        401 | 403 => Failure::permanent("engine_unauthorized", "the provider refused our credentials"),
        402 => Failure::permanent("engine_budget", "the provider's budget is spent"),
        429 => {
            // A spent quota is answered with 429 too, and no wait helps.
            if body.contains("insufficient_quota") {
                return Failure::permanent("engine_budget", "the provider's quota is spent");
            }
            let failure = Failure::transient("rate_limited", "the provider limits our rate");
            match retry_after(headers) {
                Some(wait) => failure.with_retry_after_ms(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
                None => failure,
            }
        }
        408 | 409 | 425 => Failure::transient("engine_error", format!("the provider answered {status}{said}")),
        500.. => {
            let failure = Failure::transient("engine_unavailable", format!("the provider answered {status}{said}"));
            match retry_after(headers) {
                Some(wait) => failure.with_retry_after_ms(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
                None => failure,
            }
        }
        _ => Failure::permanent("engine_rejected", format!("the provider answered {status}{said}")),
    }
}

/// An error that came in the middle of a stream.
pub(super) fn in_stream(error: &Value, secret: Option<&str>) -> Failure {
    let said = said(&Value::Object([("error".to_owned(), error.clone())].into_iter().collect()).to_string(), secret);
    let kind =
        [error.get("type"), error.get("code")].into_iter().flatten().filter_map(Value::as_str).collect::<String>();
    match kind {
        kind if kind.contains("rate_limit") => {
            Failure::transient("rate_limited", format!("the provider limits our rate{said}"))
        }
        kind if kind.contains("invalid") || kind.contains("content_filter") || kind.contains("context_length") => {
            Failure::permanent("engine_rejected", format!("the provider stopped{said}"))
        }
        _ => Failure::transient("engine_error", format!("the provider stopped in the middle{said}")),
    }
}

/// What a failed connection means.
pub(super) fn broken(error: &reqwest::Error) -> Failure {
    // The error itself names the address, which may hold credentials: it goes no further than its kind.
    match () {
        () if error.is_timeout() => Failure::transient("engine_timeout", "the provider did not answer in time"),
        () if error.is_connect() => Failure::transient("engine_unavailable", "the provider cannot be reached"),
        () if error.is_builder() => Failure::permanent("engine_rejected", "the request could not be made"),
        () => Failure::transient("engine_error", "the connection to the provider broke"),
    }
}

/// `Retry-After` (RFC 9110, section 10.2.3: seconds or a date), or the more exact `retry-after-ms`.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    if let Some(millis) = text("retry-after-ms").and_then(|text| text.parse::<f64>().ok()) {
        return Duration::try_from_secs_f64(millis / 1_000.0).ok();
    }
    let value = text("retry-after")?;
    if let Ok(seconds) = value.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = chrono::DateTime::parse_from_rfc2822(value).ok()?;
    Some((date.to_utc() - sker_types::now()).to_std().unwrap_or_default())
}

/// The provider's own words, if they can be shown: short, and without our key.
fn said(body: &str, secret: Option<&str>) -> String {
    const LONGEST: usize = 200;
    let parsed: Option<Value> = serde_json::from_str(body).ok();
    let message = parsed.as_ref().and_then(|body| {
        let error = body.get("error")?;
        error.get("message").or(Some(error))?.as_str()
    });
    let Some(message) = message else { return String::new() };
    let message = match secret {
        Some(secret) if !secret.is_empty() => message.replace(secret, "[redacted]"),
        _ => message.to_owned(),
    };
    let message: String = message.chars().filter(|character| !character.is_control()).take(LONGEST).collect();
    format!(": {message}")
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(retry_after(&headers("retry-after", "7")), Some(Duration::from_secs(7)));
        assert_eq!(retry_after(&headers("retry-after-ms", "250")), Some(Duration::from_millis(250)));
        assert_eq!(retry_after(&headers("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT")), Some(Duration::ZERO));
        let soon = (sker_types::now() + chrono::TimeDelta::seconds(90)).to_rfc2822();
        let wait = retry_after(&headers("retry-after", &soon)).unwrap();
        assert!(wait <= Duration::from_secs(90) && wait > Duration::from_secs(60), "{wait:?}");
        assert_eq!(retry_after(&headers("retry-after", "soon")), None);
        assert_eq!(retry_after(&headers("retry-after", "-3")), None);
    }

    #[test]
    fn a_message_never_shows_our_key() {
        let body = r#"{"error": {"message": "bad key sk-very-secret here"}}"#;
        let failure = refused(StatusCode::BAD_REQUEST, &HeaderMap::new(), body, Some("sk-very-secret"));
        assert!(!failure.message.contains("secret"), "{}", failure.message);
        assert!(!failure.retryable);
    }
}
