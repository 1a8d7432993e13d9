use serde::{Deserialize, Serialize};

/// Rows on a page when the client does not say.
pub const DEFAULT_PAGE_LIMIT: u32 = 50;
/// The most rows a client may ask for on one page.
pub const MAX_PAGE_LIMIT: u32 = 200;

/// One page of a keyset-paged list.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Page<T> {
    /// The rows of this page, in order.
    pub data: Vec<T>,
    /// Opaque; passed back as `?cursor=` for the next page. `null` on the last page.
    pub next_cursor: Option<String>,
}
