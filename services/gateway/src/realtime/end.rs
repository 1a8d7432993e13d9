//! How a socket ends, and what a frame may come to instead.

use sker_error::Error;

/// Why a socket ends.
#[derive(Debug)]
pub(super) enum End {
    /// The client has left, or the connection is broken.
    Gone,
    /// It is closed with this code, after this error.
    Close(u16, Error),
    /// The gateway is going away.
    Away,
}

impl End {
    /// 4401: whatever is wrong with the token.
    pub(super) fn unauthenticated(error: Error) -> End {
        End::Close(4401, error)
    }

    pub(super) fn slow() -> End {
        End::Close(1013, too_slow())
    }
}

/// What a listener is told that is out because its queue was full.
pub(super) fn too_slow() -> Error {
    Error::unavailable("too slow: events come faster than they are taken")
}

/// What stops a frame from being done: an answer says so, or the socket ends.
pub(super) enum Trouble {
    Frame(Error),
    End(End),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Trouble::Frame(error)
    }
}

impl From<End> for Trouble {
    fn from(end: End) -> Self {
        Trouble::End(end)
    }
}

/// A control frame holds 125 bytes, two of which are the code.
pub(super) fn shorten(reason: &str) -> &str {
    let mut end = reason.len().min(123);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    &reason[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_fits_into_a_control_frame() {
        assert_eq!(shorten(&"é".repeat(100)).len(), 122);
        assert_eq!(shorten("short"), "short");
    }
}
