//! One line per request while that is cheap: beyond a number of lines per second only failures are logged, and how many lines
//! were left out. A log line per request can halve what a gateway does.

use std::cell::Cell;

use tokio::time::Instant;

/// What a line says. The query string is not in it: it may hold a token.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// The method.
    pub method: &'a str,
    /// The path, without the query string.
    pub path: &'a str,
    /// The route's pattern.
    pub route: &'a str,
    /// The answer's status.
    pub status: u16,
    /// Until the answer began.
    pub duration_ms: f64,
}

/// The access log of one thread.
#[derive(Debug)]
pub struct AccessLog {
    most_per_second: u32,
    second: Cell<Instant>,
    written: Cell<u32>,
    left_out: Cell<u64>,
}

impl AccessLog {
    /// A log with at most that many lines per second, failures not counted.
    pub fn new(most_per_second: u32) -> Self {
        AccessLog { most_per_second, second: Cell::new(Instant::now()), written: Cell::new(0), left_out: Cell::new(0) }
    }

    /// Writes a line, or counts it.
    pub fn write(&self, now: Instant, line: Line<'_>) {
        let failed = line.status >= 500;
        if !failed && !self.has_room(now) {
            self.left_out.set(self.left_out.get() + 1);
            return;
        }
        let left_out = if failed { 0 } else { self.left_out.take() };
        let Line { method, path, route, status, duration_ms } = line;
        if matches!(path, "/health" | "/ready" | "/metrics") && status < 300 {
            tracing::debug!(http.status = status, duration_ms, "{method} {path} {status}");
        } else if left_out > 0 {
            tracing::info!(http.route = route, http.status = status, duration_ms, left_out, "{method} {path} {status}");
        } else {
            tracing::info!(http.route = route, http.status = status, duration_ms, "{method} {path} {status}");
        }
    }

    fn has_room(&self, now: Instant) -> bool {
        if now.duration_since(self.second.get()).as_secs() >= 1 {
            self.second.set(now);
            self.written.set(0);
        }
        let written = self.written.get();
        self.written.set(written.saturating_add(1));
        written < self.most_per_second
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_flood_of_lines_is_cut_and_flows_again_a_second_later() {
        let log = AccessLog::new(2);
        let now = Instant::now();
        assert_eq!([log.has_room(now), log.has_room(now), log.has_room(now)], [true, true, false]);
        assert!(log.has_room(now + Duration::from_secs(1)));
    }
}
