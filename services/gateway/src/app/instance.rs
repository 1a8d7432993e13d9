//! One instance that requests can be sent to.

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// What the moments below are counted from.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The longest time that an unreachable instance is passed over.
const LONGEST_REST: Duration = Duration::from_secs(30);

/// An address of a service, with what the gateway has seen of it. Requests share it; it holds no lock.
#[derive(Debug)]
pub struct Upstream {
    /// Names it in pools of connections. Never used twice in a process.
    pub key: u64,
    /// Its id in the registry, or its address when it stands in the gateway's own file.
    pub instance_id: String,
    /// A name or an address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// `host:port`, for the Host header.
    pub authority: http::HeaderValue,
    failures: AtomicU32,
    rest_until_ms: AtomicU64,
}

impl Upstream {
    /// An instance of which nothing bad is known. `None` when its host cannot stand in a URL.
    pub fn new(instance_id: &str, host: &str, port: u16) -> Option<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        // An IPv6 address stands in brackets in a URL and without them in a socket address.
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let authority = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let valid =
            !host.is_empty() && !host.contains('@') && port != 0 && authority.parse::<http::uri::Authority>().is_ok();
        let authority = http::HeaderValue::from_str(&authority).ok()?;
        valid.then(|| Upstream {
            key: NEXT.fetch_add(1, Ordering::Relaxed),
            instance_id: instance_id.to_owned(),
            host: host.to_owned(),
            port,
            authority,
            failures: AtomicU32::new(0),
            rest_until_ms: AtomicU64::new(0),
        })
    }

    /// Whether it may be tried: it could be reached last time, or has rested since.
    pub fn is_rested(&self) -> bool {
        let until = self.rest_until_ms.load(Ordering::Relaxed);
        until == 0 || millis_since_start() >= until
    }

    /// It could not be reached: it is passed over for a while, longer each time.
    pub fn mark_unreachable(&self, rest: Duration) {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).min(8);
        let rest = rest.saturating_mul(1 << failures).min(LONGEST_REST.max(rest));
        let until = millis_since_start().saturating_add(u64::try_from(rest.as_millis()).unwrap_or(u64::MAX)).max(1);
        self.rest_until_ms.store(until, Ordering::Relaxed);
    }

    /// It could be reached.
    pub fn mark_reachable(&self) {
        // Mostly there is nothing to write, and a write would take the cache line from the other threads.
        if self.rest_until_ms.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
            self.rest_until_ms.store(0, Ordering::Relaxed);
        }
    }
}

fn millis_since_start() -> u64 {
    u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreachable_instance_rests_until_it_is_reached_again() {
        let upstream = Upstream::new("a", "127.0.0.1", 80).unwrap();
        assert!(upstream.is_rested());
        upstream.mark_unreachable(Duration::from_secs(60));
        assert!(!upstream.is_rested());
        upstream.mark_reachable();
        assert!(upstream.is_rested());
        upstream.mark_unreachable(Duration::ZERO);
        assert!(!upstream.is_rested() || millis_since_start() > 0);
    }

    #[test]
    fn hosts_that_cannot_stand_in_a_url_are_refused() {
        for host in ["", "a b", "user@host", "host/path", "a\r\nb"] {
            assert!(Upstream::new("a", host, 80).is_none(), "{host:?}");
        }
        assert!(Upstream::new("a", "host", 0).is_none());
        assert_eq!(Upstream::new("a", "::1", 80).unwrap().authority, "[::1]:80");
        assert_eq!(Upstream::new("a", "[::1]", 80).unwrap().host, "::1");
    }
}
