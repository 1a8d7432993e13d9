//! Where routes come from: the registry's watch, and the documents of the services found there.

mod documents;
mod watch;

pub use documents::gather;
pub use watch::follow;
