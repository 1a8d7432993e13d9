use chrono::{DateTime, Utc};

/// A point in time, UTC. Written as RFC 3339 on the wire.
pub type Time = DateTime<Utc>;

/// Now, cut to microseconds, which is what every database keeps.
#[expect(clippy::disallowed_methods, reason = "the one place where the wall clock is read for storage")]
pub fn now() -> Time {
    truncate(Utc::now())
}

/// Cuts a time to microseconds.
pub fn truncate(time: Time) -> Time {
    from_micros(to_micros(time))
}

/// Microseconds since the Unix epoch.
pub fn to_micros(time: Time) -> i64 {
    time.timestamp_micros()
}

/// The time that many microseconds after the Unix epoch; the epoch itself when out of range.
pub fn from_micros(micros: i64) -> Time {
    DateTime::from_timestamp_micros(micros).unwrap_or_default()
}
