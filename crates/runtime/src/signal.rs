//! Signals that stop a program.

use tokio_util::sync::CancellationToken;

/// The exit status when a second signal ended the program before it had stopped: 128 + SIGINT, as shells have it.
pub const EXIT_INTERRUPTED: i32 = 130;

/// A token that SIGTERM and SIGINT (Ctrl-C) cancel. A second signal ends the process at once.
///
/// Only a program's `main` calls this; services and tests are handed a token. Must be called within a Tokio runtime.
pub fn shutdown_token() -> std::io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let mut signals = Signals::listen()?;
    let cancel = token.clone();
    // It lives as long as the program, and has nothing to finish.
    tokio::spawn(async move {
        let name = signals.next().await;
        tracing::info!(signal = name, "stopping; a second signal stops at once");
        cancel.cancel();
        let name = signals.next().await;
        tracing::warn!(signal = name, "stopped at once by a second signal");
        exit_now();
    });
    Ok(token)
}

#[expect(clippy::disallowed_methods, reason = "a second signal means that draining must not be waited for")]
fn exit_now() -> ! {
    std::process::exit(EXIT_INTERRUPTED)
}

#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Signals)
    }

    async fn next(&mut self) -> &'static str {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        "Ctrl-C"
    }
}
