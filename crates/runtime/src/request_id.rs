use sker_types::new_id;

/// The header that carries the id of a request.
pub const REQUEST_ID: &str = "x-request-id";

/// The caller's request id when it is 1 to 128 visible ASCII characters, else a new one. What is accepted is safe in a log
/// line, in a header and in JSON.
pub fn request_id(header: Option<&[u8]>) -> String {
    let accepted = header.filter(|id| (1..=128).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic));
    match accepted.map(str::from_utf8) {
        Some(Ok(id)) => id.to_owned(),
        _ => new_id().to_string(),
    }
}

/// Whether this is a `traceparent` of version 00 (W3C Trace Context, 3.2). Others are not passed on.
pub(crate) fn is_traceparent(text: &str) -> bool {
    let hex =
        |part: &str, length| part.len() == length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let id = |part: &str, length| hex(part, length) && part.bytes().any(|byte| byte != b'0');
    let parts: Vec<&str> = text.split('-').collect();
    matches!(parts[..], ["00", trace, span, flags] if id(trace, 32) && id(span, 16) && hex(flags, 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_could_break_a_log_line_are_replaced() {
        assert_eq!(request_id(Some(b"order-7/retry=2")), "order-7/retry=2");
        assert_eq!(request_id(Some(&[b'a'; 128])).len(), 128);
        let long = [b'a'; 129];
        for bad in
            [None, Some(&b""[..]), Some(b"two words"), Some(b"line\nbreak"), Some("caf\u{e9}".as_bytes()), Some(&long)]
        {
            assert_eq!(request_id(bad).len(), 36);
        }
    }

    #[test]
    fn only_a_well_formed_traceparent_is_passed_on() {
        assert!(is_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert!(!is_traceparent(bad), "{bad}");
        }
    }
}
