/// What stands in place of a secret.
pub const REDACTED: &str = "[redacted]";

const SECRET_ENDINGS: [&str; 6] = ["secret", "password", "token", "key", "dsn", "credentials"];

/// Whether values under a key of this name (or path) are secret.
pub fn is_secret_key(key: &str) -> bool {
    key.split(['.', '[']).any(|segment| {
        let segment = segment.trim_end_matches(']').to_ascii_lowercase();
        SECRET_ENDINGS.iter().any(|ending| segment.ends_with(ending))
    })
}

/// Takes the passwords out of every URL in a text: those before the host, and those in the query.
///
/// ```
/// assert_eq!(sker_config::redact_text("amqp://u:p@h/%2f"), "amqp://u:[redacted]@h/%2f");
/// assert_eq!(sker_config::redact_text("no URL at all"), "no URL at all");
/// ```
pub fn redact_text(text: &str) -> String {
    let mut answer = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("://") {
        let (before, after) = rest.split_at(start + 3);
        answer.push_str(before);
        let end =
            after.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>')).unwrap_or(after.len());
        let (url, remainder) = after.split_at(end);
        answer.push_str(&redact_authority_and_query(url));
        rest = remainder;
    }
    answer.push_str(rest);
    answer
}

/// `url` is what follows `://`.
fn redact_authority_and_query(url: &str) -> String {
    // The user information ends at the last `@` before the path; a raw password may itself have an `@` or a `/` in it,
    // so the last `@` before the query decides.
    let query_at = url.find('?').unwrap_or(url.len());
    let (front, query) = url.split_at(query_at);
    let front = match front.rfind('@') {
        Some(at) => {
            let (user, host) = (&front[..at], &front[at..]);
            match user.split_once(':') {
                Some((name, _)) => format!("{name}:{REDACTED}{host}"),
                None => format!("{user}{host}"),
            }
        }
        None => front.to_owned(),
    };
    let mut answer = front;
    for (index, pair) in query.trim_start_matches('?').split('&').enumerate() {
        if query.is_empty() {
            break;
        }
        answer.push(if index == 0 { '?' } else { '&' });
        match pair.split_once('=') {
            Some((name, _)) if is_secret_key(name) => answer.push_str(&format!("{name}={REDACTED}")),
            _ => answer.push_str(pair),
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn passwords_of_urls_are_hidden_and_the_rest_is_kept() {
        for (text, expected) in [
            ("postgres://sker:pw@db:5432/store", "postgres://sker:[redacted]@db:5432/store"),
            ("postgres://sker:p@w@db/store", "postgres://sker:[redacted]@db/store"),
            (
                "postgres://db/store?user=a&password=b&sslmode=off",
                "postgres://db/store?user=a&password=[redacted]&sslmode=off",
            ),
            ("redis://:pw@cache:6379", "redis://:[redacted]@cache:6379"),
            ("sqlite:///var/lib/store.db?mode=rwc", "sqlite:///var/lib/store.db?mode=rwc"),
            (
                "cannot reach amqp://a:b@c and http://d:e@f/",
                "cannot reach amqp://a:[redacted]@c and http://d:[redacted]@f/",
            ),
            ("me@example.com", "me@example.com"),
        ] {
            assert_eq!(redact_text(text), expected);
        }
    }

    #[test]
    fn secret_keys_are_known_by_their_ending_at_any_depth() {
        for key in ["jwt_secret", "PG_PASSWORD", "auth.token", "openai.api_key", "database.dsn", "keys[1].key"] {
            assert!(is_secret_key(key), "{key}");
        }
        for key in ["http.port", "token_ttl_ms", "keyboard", "url"] {
            assert!(!is_secret_key(key), "{key}");
        }
    }

    proptest! {
        #[test]
        fn no_password_of_a_url_survives(user in "[a-z]{1,8}", password in "[A-Z0-9!@:/#]{6,20}", host in "[a-z]{1,8}") {
            let redacted = redact_text(&format!("see postgres://{user}:{password}@{host}/db?sslmode=off for more"));
            prop_assert!(!redacted.contains(&password), "{redacted}");
            prop_assert!(redacted.ends_with("?sslmode=off for more"), "{redacted}");
        }

        #[test]
        fn text_without_a_url_is_left_alone(text in "[^:]{0,80}") {
            prop_assert_eq!(redact_text(&text), text);
        }
    }
}
