//! Connection strings as people write them.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

/// Reads a URL, the path of a SQLite file, or the form of Go's MySQL driver: `user:password@tcp(host:3306)/database?..`.
/// Answers a URL that the database layer understands. `kind` is the seed's `database.type`.
pub(super) fn read(kind: Option<&str>, text: &str) -> Result<String, String> {
    let text = text.trim();
    let lower = text.to_ascii_lowercase();
    let kind = kind.map(str::to_ascii_lowercase);
    let (found, url) = if lower.starts_with("postgres://") || lower.starts_with("postgresql://") {
        ("postgres", text.to_owned())
    } else if lower.starts_with("sqlite:") {
        ("sqlite", text.to_owned())
    } else if lower.starts_with("mysql://") || lower.starts_with("mariadb://") {
        ("mysql", text.to_owned())
    } else if let Some(server) = GoForm::read(text) {
        ("mysql", server.url()?)
    } else if kind.as_deref().is_some_and(|kind| kind.starts_with("sqlite")) && !text.is_empty() {
        ("sqlite", format!("sqlite://{}", text.trim_start_matches("file:")))
    } else {
        let forms =
            "sqlite:///file.db, postgres://user:password@host/database or user:password@tcp(host:3306)/database";
        return Err(format!("must look like {forms}"));
    };
    let expected = match kind.as_deref() {
        None => return Ok(url),
        Some("mysql" | "mariadb") => "mysql",
        Some("postgres" | "postgresql") => "postgres",
        Some("sqlite" | "sqlite3") => "sqlite",
        Some(other) => return Err(format!("database.type {other} is none of sqlite, postgres and mysql")),
    };
    if expected == found { Ok(url) } else { Err(format!("is a {found} address, but database.type is {expected}")) }
}

/// <https://github.com/go-sql-driver/mysql#dsn-data-source-name>: `[user[:password]@][net[(addr)]]/dbname[?params]`
struct GoForm<'a> {
    user: &'a str,
    password: Option<&'a str>,
    net: &'a str,
    address: &'a str,
    database: &'a str,
    parameters: &'a str,
}

impl<'a> GoForm<'a> {
    fn read(text: &'a str) -> Option<Self> {
        // The password may have any character, so the parts are found from the right, as Go's driver does.
        let (server, rest) = text.rsplit_once(")/")?;
        let (database, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        let (account, address) = server.rsplit_once('(')?;
        let (account, net) = account.rsplit_once('@').unwrap_or(("", account));
        if !matches!(net, "tcp" | "tcp6" | "unix") {
            return None;
        }
        let (user, password) = match account.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (account, None),
        };
        Some(GoForm { user, password, net, address, database, parameters })
    }

    fn url(&self) -> Result<String, String> {
        let host = if self.net == "unix" { "localhost" } else { self.address };
        let mut url = Url::parse(&format!("mysql://{host}/")).map_err(|_| format!("has no usable address: {host}"))?;
        let encode = |text| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let password = self.password.map(encode);
        let account = url.set_username(&encode(self.user)).and_then(|()| url.set_password(password.as_deref()));
        account.map_err(|()| format!("has no usable address: {host}"))?;
        url.set_path(&encode(self.database));
        if self.net == "unix" {
            url.query_pairs_mut().append_pair("socket", self.address);
        }
        if let Some(mode) = self.encryption()? {
            url.query_pairs_mut().append_pair("ssl-mode", mode);
        }
        Ok(url.into())
    }

    /// Of the parameters only this one means something here: times and texts are always UTC and utf8mb4.
    fn encryption(&self) -> Result<Option<&'static str>, String> {
        let mut pairs = self.parameters.split('&').filter_map(|pair| pair.split_once('='));
        match pairs.find(|(name, _)| *name == "tls").map(|(_, value)| value) {
            None => Ok(None),
            Some("true") => Ok(Some("VERIFY_IDENTITY")),
            Some("skip-verify") => Ok(Some("REQUIRED")),
            Some("preferred") => Ok(Some("PREFERRED")),
            Some("false") => Ok(Some("DISABLED")),
            Some(other) => Err(format!("has tls={other}, which is none of true, skip-verify, preferred and false")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ok(url: &str) -> Result<String, String> {
        Ok(url.to_owned())
    }

    #[test]
    fn the_forms_of_the_seed_are_understood() {
        let seed = "root:password@tcp(mysql:3306)/registry?charset=utf8mb4&parseTime=True&loc=Local";
        assert_eq!(read(Some("mysql"), seed), ok("mysql://root:password@mysql:3306/registry"));
        assert_eq!(read(None, "mysql://root:pw@db/registry?x=1"), ok("mysql://root:pw@db/registry?x=1"));
        let url = "postgres://u:p@h/registry";
        assert_eq!(read(Some("postgresql"), url), ok(url));
        assert_eq!(read(Some("sqlite"), "/var/r.db"), ok("sqlite:///var/r.db"));
    }

    #[test]
    fn a_password_of_the_go_form_may_have_any_character() {
        let url = read(None, "root:p@s:s)/w(o?rd%#@tcp(localhost:3306)/registry").unwrap();
        let url = Url::parse(&url).unwrap();
        assert_eq!((url.host_str(), url.port(), url.path()), (Some("localhost"), Some(3306), "/registry"));
        assert_eq!(url.password(), Some("p%40s%3As%29%2Fw%28o%3Frd%25%23"), "as it must stand in a URL");
    }

    #[test]
    fn the_go_form_says_how_the_connection_is_encrypted_and_which_socket_it_takes() {
        for (tls, mode) in [("true", "VERIFY_IDENTITY"), ("skip-verify", "REQUIRED"), ("false", "DISABLED")] {
            let url = read(None, &format!("u@tcp(h:1)/d?parseTime=true&tls={tls}"));
            assert_eq!(url, ok(&format!("mysql://u@h:1/d?ssl-mode={mode}")));
        }
        assert!(read(None, "u@tcp(h:1)/d?tls=mine").unwrap_err().contains("tls=mine"));
        assert_eq!(read(None, "u@unix(/run/m.sock)/d"), ok("mysql://u@localhost/d?socket=%2Frun%2Fm.sock"));
    }

    #[test]
    fn what_contradicts_or_means_nothing_is_refused_without_showing_a_password() {
        for (kind, text) in [
            (Some("mysql"), "postgres://u:hunter2@h/d"),
            (None, "host=h password=hunter2"),
            (None, "u:hunter2@tcp(h:port)/d"),
            (Some("oracle"), "sqlite:a"),
        ] {
            let message = read(kind, text).unwrap_err();
            assert!(!message.contains("hunter2"), "{message}");
        }
    }
}
