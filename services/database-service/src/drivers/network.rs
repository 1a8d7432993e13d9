//! What the drivers of servers share: URLs, names, and errors in words that may be shown.

use std::{error::Error as StdError, io, net::IpAddr, sync::Arc};

use percent_encoding::percent_decode_str;
use url::Url;

use crate::app::{Failure, Progress, Step};

/// What this service is called in the servers' own lists of connections.
pub const CLIENT_NAME: &str = "sker-database-service";

/// A server's address and credentials.
pub struct Address {
    pub url: Url,
    /// Without the brackets of an IPv6 address.
    pub host: String,
    pub port: u16,
    pub user: String,
    pub password: Option<String>,
}

/// Reads a server's URL. Parameters that nobody knows are refused, because they would silently do nothing.
pub fn address(url: &str, schemes: &[&str], parameters: &[&str], default_port: u16) -> Result<Address, String> {
    let starts = schemes.iter().any(|scheme| url.starts_with(&format!("{scheme}://")));
    if !starts {
        let starts: Vec<String> = schemes.iter().map(|scheme| format!("{scheme}://")).collect();
        return Err(format!("must begin with {}", starts.join(" or ")));
    }
    let url = Url::parse(url).map_err(|error| format!("is not a URL: {error}"))?;
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or("must name a host")?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    // `#insecure` of a Redis URL would give up checking who is at the other end.
    if url.fragment().is_some() {
        return Err("must not have a #fragment; a # in a password is written %23".to_owned());
    }
    for (name, _) in url.query_pairs() {
        if !parameters.contains(&name.as_ref()) {
            // Behind a `?` in a password stands the rest of it.
            let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
            let shown = if is_name { &name } else { "a ? in a password is written %3F" };
            return Err(format!("has an unknown parameter: {shown}"));
        }
    }
    let port = url.port().unwrap_or(default_port);
    let (user, password) = (decode(url.username())?, url.password().map(decode).transpose()?);
    Ok(Address { host, port, user, password, url })
}

fn decode(text: &str) -> Result<String, String> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Into::into).map_err(|_| "has credentials that are not UTF-8".to_owned())
}

/// Finds the host, so that a name that nobody knows is told from a server that does not answer.
pub async fn resolve(address: &Address, progress: &Progress) -> Result<(), Failure> {
    progress.enter(Step::Resolve);
    if address.host.parse::<IpAddr>().is_err() {
        let mut found = tokio::net::lookup_host((address.host.as_str(), address.port))
            .await
            .map_err(|_| progress.failure("the host is not known"))?;
        found.next().ok_or_else(|| progress.failure("the host has no address"))?;
    }
    progress.enter(Step::Connect);
    Ok(())
}

/// Some libraries take whatever TLS the process has chosen; it is the same for all of this platform.
pub fn choose_tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// What the operating system says, in words; its own may name files.
pub fn explain_io(kind: io::ErrorKind) -> String {
    match kind {
        io::ErrorKind::ConnectionRefused => "the server refuses connections".to_owned(),
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => "the server closed the connection".to_owned(),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "the host cannot be reached".to_owned(),
        io::ErrorKind::TimedOut => "the host does not answer".to_owned(),
        // What TLS does not like arrives as this.
        io::ErrorKind::InvalidData => "the server's certificate or protocol is not accepted".to_owned(),
        kind => format!("the connection fails: {kind}"),
    }
}

/// The operating system's error at the bottom of another.
pub fn io_kind(error: &(dyn StdError + 'static)) -> Option<io::ErrorKind> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error.kind());
        }
        // Some libraries hand out their causes behind a pointer.
        next = match error.downcast_ref::<Arc<dyn StdError + Send + Sync>>() {
            Some(inner) => Some(&**inner),
            None => error.source(),
        };
    }
    None
}

/// An I/O error while a connection is being opened: of TLS, or of the connection itself.
pub fn connect_failure(kind: io::ErrorKind, progress: &Progress) -> Failure {
    if kind == io::ErrorKind::InvalidData {
        progress.enter(Step::Tls);
    }
    progress.failure(explain_io(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_and_its_credentials_are_decoded() {
        let found = address("postgres://a%40b:p%2Fw%3A@[::1]/db?sslmode=require", &["postgres"], &["sslmode"], 5432);
        let found = found.unwrap_or_else(|message| panic!("{message}"));
        assert_eq!((found.host.as_str(), found.port), ("::1", 5432));
        assert_eq!((found.user.as_str(), found.password.as_deref()), ("a@b", Some("p/w:")));
    }

    #[test]
    fn a_url_that_cannot_be_used_is_refused_without_a_word_of_its_password() {
        for (url, part) in [
            ("mysql://u:hunter2@h", "must begin with postgres://"),
            ("postgres://u:hunter2@h:99999/d", "is not a URL"),
            ("postgres:///d", "must name a host"),
            ("postgres://u:hunter2@h/d?pasword=hunter2", "unknown parameter: pasword"),
            ("postgres://u:hunter2%ff@h/d", "not UTF-8"),
            ("postgres://u:1?hunter2@h/d", "%3F"),
            ("postgres://u:1#hunter2@h/d", "%23"),
            ("postgres://h/d#insecure", "%23"),
        ] {
            let Err(message) = address(url, &["postgres"], &["sslmode"], 5432) else { panic!("{url} is taken") };
            assert!(message.contains(part) && !message.contains("hunter2"), "{message}");
        }
    }
}
