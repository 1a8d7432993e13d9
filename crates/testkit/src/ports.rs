use std::{
    net::{Ipv4Addr, TcpListener},
    sync::atomic::{AtomicU16, Ordering},
};

use anyhow::{Result, bail};

/// Below the range from which systems take ports for outgoing connections (32768 on Linux), so that none of those comes
/// in between finding a port free and binding it.
const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port of the loopback interface that nobody listens on, and that this process gets only once.
///
/// Only for programs that cannot be told to bind port 0 and say which they got.
pub fn free_port() -> Result<u16> {
    // Test processes that run at the same time begin at different places.
    let start = (std::process::id() % 400) as u16 * 50;
    for _ in 0..COUNT {
        let offset = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + (start.wrapping_add(offset)) % COUNT;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port is free between {FIRST} and {}", FIRST + COUNT)
}
