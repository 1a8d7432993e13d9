use uuid::Uuid;

/// A new UUIDv7 (RFC 9562): ordered by creation time, which gives keyset order for free.
pub fn new_id() -> Uuid {
    Uuid::now_v7()
}

/// Parses an id in the hyphenated form that the API prints. Other spellings of a UUID are refused, so that one
/// resource has one URL.
pub fn parse_id(text: &str) -> Option<Uuid> {
    if text.len() != 36 {
        return None;
    }
    let id = Uuid::try_parse(text).ok()?;
    let mut canonical = [0; 36];
    (id.hyphenated().encode_lower(&mut canonical) == text).then_some(id)
}
