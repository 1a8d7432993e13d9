use std::io::{self, Write};

const REDACTED: &str = "[redacted]";

/// The last line of defence: takes passwords out of URLs, and tokens, before a log line is written. It runs in the thread
/// that writes, not in those that log. Code still must not log secrets.
#[derive(Debug)]
pub struct RedactingWriter<W> {
    inner: W,
}

impl<W: Write> RedactingWriter<W> {
    /// Wraps a writer that is given whole lines.
    pub fn new(inner: W) -> Self {
        RedactingWriter { inner }
    }
}

impl<W: Write> Write for RedactingWriter<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match std::str::from_utf8(buffer) {
            Ok(text) if is_suspicious(text) => self.inner.write_all(redact(text).as_bytes())?,
            _ => self.inner.write_all(buffer)?,
        }
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn is_suspicious(text: &str) -> bool {
    ["://", "eyJ", "earer ", "token=", "Token=", "assword=", "ecret="].iter().any(|sign| text.contains(sign))
}

/// Passwords in URLs, values after `token=`, `password=`, `secret=` or `Bearer `, and whatever looks like a JSON web token.
pub(crate) fn redact(text: &str) -> String {
    let text = redact_urls(text);
    let text = redact_after(&text, "token=", ends_token);
    let text = redact_after(&text, "Token=", ends_token);
    let text = redact_after(&text, "earer ", ends_token);
    let text = redact_after(&text, "assword=", ends_value);
    let text = redact_after(&text, "ecret=", ends_value);
    redact_tokens(&text)
}

fn redact_urls(text: &str) -> String {
    let mut answer = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("://") {
        let (before, after) = rest.split_at(start + 3);
        answer.push_str(before);
        let end = after.find(|c: char| c.is_whitespace() || "\"'`<>".contains(c)).unwrap_or(after.len());
        let (url, remainder) = after.split_at(end);
        let user_end = url.find('?').map_or(url, |query| &url[..query]).rfind('@');
        match user_end.and_then(|at| Some((at, url[..at].find(':')?))) {
            Some((at, colon)) => {
                answer.push_str(&url[..=colon]);
                answer.push_str(REDACTED);
                answer.push_str(&url[at..]);
            }
            None => answer.push_str(url),
        }
        rest = remainder;
    }
    answer.push_str(rest);
    answer
}

fn redact_after(text: &str, marker: &str, ends: fn(char) -> bool) -> String {
    let mut answer = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(marker) {
        let (before, after) = rest.split_at(start + marker.len());
        let end = after.find(ends).unwrap_or(after.len());
        answer.push_str(before);
        answer.push_str(if end == 0 { "" } else { REDACTED });
        rest = &after[end..];
    }
    answer.push_str(rest);
    answer
}

fn redact_tokens(text: &str) -> String {
    let mut answer = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("eyJ") {
        let (before, after) = rest.split_at(start);
        let end = after.find(ends_token).unwrap_or(after.len());
        let (candidate, remainder) = after.split_at(end);
        answer.push_str(before);
        answer.push_str(if candidate.matches('.').count() >= 2 { REDACTED } else { candidate });
        rest = remainder;
    }
    answer.push_str(rest);
    answer
}

fn ends_token(character: char) -> bool {
    !character.is_ascii_alphanumeric() && !"-_~+/=.".contains(character)
}

/// A password may have any character but those that end a value in a query string or a log field.
fn ends_value(character: char) -> bool {
    character.is_whitespace() || "&\"'`<>".contains(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_that_slip_into_a_line_are_hidden() {
        for (line, expected) in [
            ("connect postgres://u:pw@db/x failed", "connect postgres://u:[redacted]@db/x failed"),
            ("GET /ws?token=abc.def-g HTTP", "GET /ws?token=[redacted] HTTP"),
            ("authorization: Bearer abc.def", "authorization: Bearer [redacted]"),
            ("postgres://db/x?password=p%4!w&sslmode=off", "postgres://db/x?password=[redacted]&sslmode=off"),
            ("connecting client_secret=s3!cret to=x", "connecting client_secret=[redacted] to=x"),
            ("got eyJhbGci.eyJzdWIi.c2ln, sorry", "got [redacted], sorry"),
            ("listening on http://127.0.0.1:3000/docs", "listening on http://127.0.0.1:3000/docs"),
            ("a word like eyJunk stays", "a word like eyJunk stays"),
        ] {
            let mut output = Vec::new();
            RedactingWriter::new(&mut output).write_all(line.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(output).unwrap(), expected);
        }
    }

    #[test]
    fn bytes_that_are_no_text_pass_unchanged() {
        let mut output = Vec::new();
        RedactingWriter::new(&mut output).write_all(b"\xff://a:b@c").unwrap();
        assert_eq!(output, b"\xff://a:b@c");
    }
}
