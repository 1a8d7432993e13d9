//! Connection strings as people write them.

/// What a connection string names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Dsn {
    /// A URL that the database layer understands.
    Url(String),
    /// A MySQL or MariaDB server.
    MySql {
        /// With its port.
        host: String,
        /// The database's name.
        database: String,
    },
}

/// Reads a URL, the path of a SQLite file, or the form of Go's MySQL driver: `user:password@tcp(host:3306)/database?..`.
/// `kind` is the seed's `database.type`.
pub(super) fn read(kind: Option<&str>, text: &str) -> Result<Dsn, String> {
    let text = text.trim();
    let lower = text.to_ascii_lowercase();
    let kind = kind.map(str::to_ascii_lowercase);
    let found = if lower.starts_with("postgres://") || lower.starts_with("postgresql://") {
        ("postgres", Dsn::Url(text.to_owned()))
    } else if lower.starts_with("sqlite:") {
        ("sqlite", Dsn::Url(text.to_owned()))
    } else if let Some(rest) = lower.strip_prefix("mysql://").or_else(|| lower.strip_prefix("mariadb://")) {
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let host = authority.rsplit('@').next().unwrap_or_default();
        ("mysql", Dsn::MySql { host: host.to_owned(), database: before_question_mark(path) })
    } else if let Some(server) = go_form(text) {
        ("mysql", server)
    } else if kind.as_deref().is_some_and(|kind| kind.starts_with("sqlite")) && !text.is_empty() {
        ("sqlite", Dsn::Url(format!("sqlite://{}", text.trim_start_matches("file:"))))
    } else {
        let forms =
            "sqlite:///file.db, postgres://user:password@host/database or user:password@tcp(host:3306)/database";
        return Err(format!("must look like {forms}"));
    };
    let expected = match kind.as_deref() {
        None => return Ok(found.1),
        Some("mysql" | "mariadb") => "mysql",
        Some("postgres" | "postgresql") => "postgres",
        Some("sqlite" | "sqlite3") => "sqlite",
        Some(other) => return Err(format!("database.type {other} is none of sqlite, postgres and mysql")),
    };
    if expected == found.0 {
        Ok(found.1)
    } else {
        Err(format!("is a {} address, but database.type is {expected}", found.0))
    }
}

/// <https://github.com/go-sql-driver/mysql#dsn-data-source-name>: `[user[:password]@][net[(addr)]]/dbname[?params]`
fn go_form(text: &str) -> Option<Dsn> {
    // The password may have any character, so the parts are found from the right.
    let (server, path) = text.rsplit_once(")/")?;
    let (_, host) = server.rsplit_once("tcp(")?;
    Some(Dsn::MySql { host: host.to_owned(), database: before_question_mark(path) })
}

fn before_question_mark(path: &str) -> String {
    path.split('?').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mysql(host: &str) -> Result<Dsn, String> {
        Ok(Dsn::MySql { host: host.to_owned(), database: "registry".to_owned() })
    }

    #[test]
    fn the_forms_of_the_seed_are_understood() {
        let seed = "root:password@tcp(mysql:3306)/registry?charset=utf8mb4&parseTime=True&loc=Local";
        assert_eq!(read(Some("mysql"), seed), mysql("mysql:3306"));
        assert_eq!(read(None, "root:p@ss)/w(ord@tcp(localhost:3306)/registry"), mysql("localhost:3306"));
        assert_eq!(read(None, "mysql://root:pw@db/registry?x=1"), mysql("db"));
        let url = "postgres://u:p@h/registry";
        assert_eq!(read(Some("postgresql"), url), Ok(Dsn::Url(url.to_owned())));
        assert_eq!(read(Some("sqlite"), "/var/r.db"), Ok(Dsn::Url("sqlite:///var/r.db".to_owned())));
    }

    #[test]
    fn what_contradicts_or_means_nothing_is_refused_without_showing_a_password() {
        for (kind, text) in [
            (Some("mysql"), "postgres://u:hunter2@h/d"),
            (None, "host=h password=hunter2"),
            (Some("oracle"), "sqlite:a"),
        ] {
            let message = read(kind, text).unwrap_err();
            assert!(!message.contains("hunter2"), "{message}");
        }
    }
}
