//! One canonical path, used for authorisation, for routing and towards the upstream alike.
//!
//! What different servers read differently is either refused (an encoded slash, a backslash, a control character) or
//! brought into one form (dot segments, doubled slashes, needless percent-encoding), RFC 3986 section 6.2.2.

use std::{borrow::Cow, fmt};

/// Why a path is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathFault {
    /// It does not begin with a slash.
    NotAbsolute,
    /// A percent sign without two hexadecimal digits.
    Encoding,
    /// A slash or backslash in percent-encoding: servers disagree on whether it separates segments.
    EncodedSeparator,
    /// A backslash, which some servers read as a slash.
    Backslash,
    /// A control character, encoded or not.
    Control,
    /// `..` above the root.
    AboveRoot,
    /// A dot segment with parameters (`..;x`), which some servers resolve and others do not.
    DotParameters,
}

impl fmt::Display for PathFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            PathFault::NotAbsolute => "the path must begin with a slash",
            PathFault::Encoding => "the path has a percent sign without two hexadecimal digits",
            PathFault::EncodedSeparator => "the path has an encoded slash or backslash",
            PathFault::Backslash => "the path has a backslash",
            PathFault::Control => "the path has a control character",
            PathFault::AboveRoot => "the path leads above the root",
            PathFault::DotParameters => "the path has a dot segment with parameters",
        })
    }
}

/// The canonical form of a path, or why it has none. A path that is canonical already is not copied.
///
/// ```
/// # use sker_gateway::app::path::canonical;
/// assert_eq!(canonical("/a/./b//c/%7Ed/../e").unwrap(), "/a/b/c/e");
/// assert!(canonical("/a%2Fb").is_err());
/// ```
pub fn canonical(raw: &str) -> Result<Cow<'_, str>, PathFault> {
    if !raw.starts_with('/') {
        return Err(PathFault::NotAbsolute);
    }
    if is_canonical(raw.as_bytes()) {
        return Ok(Cow::Borrowed(raw));
    }
    resolve(&decode(raw)?).map(Cow::Owned)
}

/// Whether `path` is `prefix` or lies under it, at the border of a segment.
pub fn is_under(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/'))
}

/// True for most paths, and cheap: nothing to decode, no empty segment, no segment that begins with a dot.
fn is_canonical(path: &[u8]) -> bool {
    let mut previous = 0;
    for &byte in path {
        let plain = is_plain(byte);
        if !plain || (previous == b'/' && (byte == b'/' || byte == b'.')) {
            return false;
        }
        previous = byte;
    }
    true
}

/// Unreserved characters of RFC 3986: the same with and without percent-encoding.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// What may stand in a path as it is: `pchar` without percent-encoding, and the slash.
fn is_plain(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(
            byte,
            b'/' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@'
        )
}

/// Decodes what needs no encoding, encodes what does, and refuses what is ambiguous.
fn decode(raw: &str) -> Result<String, PathFault> {
    let bytes = raw.as_bytes();
    let mut decoded = String::with_capacity(raw.len());
    let mut index = 0;
    while let Some(&byte) = bytes.get(index) {
        index += 1;
        if byte == b'%' {
            let value = match (bytes.get(index).copied().and_then(hex), bytes.get(index + 1).copied().and_then(hex)) {
                (Some(high), Some(low)) => high << 4 | low,
                _ => return Err(PathFault::Encoding),
            };
            index += 2;
            match value {
                b'/' | b'\\' => return Err(PathFault::EncodedSeparator),
                _ if value.is_ascii_control() => return Err(PathFault::Control),
                _ if is_unreserved(value) => decoded.push(char::from(value)),
                _ => encode(value, &mut decoded),
            }
        } else if byte == b'\\' {
            return Err(PathFault::Backslash);
        } else if byte.is_ascii_control() {
            return Err(PathFault::Control);
        } else if is_plain(byte) {
            decoded.push(char::from(byte));
        } else {
            encode(byte, &mut decoded);
        }
    }
    Ok(decoded)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

fn encode(byte: u8, into: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    into.push('%');
    into.push(char::from(DIGITS[usize::from(byte >> 4)]));
    into.push(char::from(DIGITS[usize::from(byte & 15)]));
}

/// Removes dot segments (RFC 3986 section 5.2.4) and empty ones; a slash at the end stays.
fn resolve(path: &str) -> Result<String, PathFault> {
    let mut segments: Vec<&str> = Vec::new();
    let mut ends_with_slash = false;
    for segment in path.split('/') {
        ends_with_slash = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop().ok_or(PathFault::AboveRoot)?;
            }
            _ if matches!(segment.split(';').next(), Some("." | "..")) => return Err(PathFault::DotParameters),
            _ => segments.push(segment),
        }
    }
    let mut resolved = String::with_capacity(path.len());
    for segment in &segments {
        resolved.push('/');
        resolved.push_str(segment);
    }
    if ends_with_slash || segments.is_empty() {
        resolved.push('/');
    }
    Ok(resolved)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_ordinary_path_is_taken_as_it_is() {
        for path in ["/", "/api/v1/projects", "/api/v1/projects/", "/nodes:batch", "/a/file.txt", "/a;b=1/c"] {
            assert!(matches!(canonical(path), Ok(Cow::Borrowed(same)) if same == path), "{path}");
        }
    }

    #[test]
    fn different_spellings_of_a_path_become_one() {
        for (raw, expected) in [
            ("//api//v1", "/api/v1"),
            ("/api/./v1/", "/api/v1/"),
            ("/api/x/../v1", "/api/v1"),
            ("/api/x/%2e%2E/v1", "/api/v1"),
            ("/a/..", "/"),
            ("/a/.", "/a/"),
            ("/%61pi/v1", "/api/v1"),
            ("/caf\u{e9}", "/caf%C3%A9"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/a b", "/a%20b"),
            ("/.well-known/jwks.json", "/.well-known/jwks.json"),
            ("/%252e%252e/x", "/%252e%252e/x"),
        ] {
            assert_eq!(canonical(raw).as_deref(), Ok(expected), "{raw}");
        }
    }

    #[test]
    fn what_servers_read_differently_is_refused() {
        for (raw, fault) in [
            ("", PathFault::NotAbsolute),
            ("*", PathFault::NotAbsolute),
            ("/a%2fb", PathFault::EncodedSeparator),
            ("/a%5Cb", PathFault::EncodedSeparator),
            ("/a\\b", PathFault::Backslash),
            ("/a%00", PathFault::Control),
            ("/a%0d%0ab", PathFault::Control),
            ("/a%7f", PathFault::Control),
            ("/a%2", PathFault::Encoding),
            ("/a%zz", PathFault::Encoding),
            ("/..", PathFault::AboveRoot),
            ("/a/../../b", PathFault::AboveRoot),
            ("/a/..;/b", PathFault::DotParameters),
            ("/a/%2e%2e;x=1/b", PathFault::DotParameters),
        ] {
            assert_eq!(canonical(raw), Err(fault), "{raw}");
        }
    }

    #[test]
    fn a_prefix_ends_where_a_segment_ends() {
        assert!(is_under("/api/v1", "/api/v1"));
        assert!(is_under("/api/v1/x", "/api/v1"));
        assert!(!is_under("/api/v12", "/api/v1"));
        assert!(!is_under("/api", "/api/v1"));
        assert!(is_under("/anything", "/"));
    }

    proptest! {
        #[test]
        fn the_canonical_form_is_its_own_canonical_form(raw in "/([a-z./%;\\\\ 0-9A-F\u{e9}]|%[0-9a-fA-F]{2}|\\.\\.?/){0,24}") {
            if let Ok(first) = canonical(&raw) {
                let second = canonical(&first);
                prop_assert_eq!(second.as_deref(), Ok(first.as_ref()));
            }
        }

        #[test]
        fn a_canonical_path_hides_nothing(raw in "(/|\\PC|%[0-9a-fA-F]{2}|\\.){1,40}") {
            if let Ok(path) = canonical(&raw) {
                prop_assert!(path.starts_with('/'));
                prop_assert!(!path.contains("//") && !path.contains('\\'));
                prop_assert!(path.split('/').all(|segment| segment != "." && segment != ".."));
                let lower = path.to_ascii_lowercase();
                for hidden in ["%2f", "%5c", "%2e", "%00", "%0a", "%7f"] {
                    prop_assert!(!lower.contains(hidden), "{path} has {hidden}");
                }
                prop_assert!(path.bytes().all(|byte| byte.is_ascii_graphic()));
            }
        }
    }
}
