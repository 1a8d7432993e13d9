use std::panic::resume_unwind;

use sker_error::{Error, Result};
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

/// The runtime that a service was built on.
///
/// An actix worker is a thread with a small runtime of its own, and a connection that a pool opens there dies with the
/// worker (measured, ARCHITECTURE.md). So a handler runs whatever may open a connection of a database or of gRPC here:
///
/// ```
/// # async fn read() -> sker_error::Result<u32> { Ok(7) }
/// # #[tokio::main] async fn main() -> sker_error::Result<()> {
/// let main = sker_runtime::MainRuntime::current();
/// assert_eq!(main.run(read()).await?, 7);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct MainRuntime(Handle);

impl MainRuntime {
    /// The runtime that the caller is on.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn current() -> Self {
        MainRuntime(Handle::current())
    }

    /// Runs a use case there, in the caller's span. It is dropped when the caller is, for example because the client went
    /// away; a panic goes on in the caller.
    pub async fn run<T: Send + 'static>(&self, call: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        let running = AbortOnDropHandle::new(self.0.spawn(call.in_current_span()));
        match running.await {
            Ok(result) => result,
            Err(stopped) => match stopped.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                Err(_) => Err(Error::unavailable("the service is stopping")),
            },
        }
    }
}
