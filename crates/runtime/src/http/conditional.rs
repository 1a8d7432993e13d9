use actix_web::{
    HttpRequest,
    http::header::{self, HeaderName},
};
use sker_error::{Code, Error, Result};

/// The strong ETag of a row version: `"7"` (RFC 9110, 8.8.3).
pub fn etag(version: i64) -> String {
    format!("\"{version}\"")
}

/// What an `If-Match` header asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IfMatch {
    /// `*`: any version, as long as the resource exists.
    Any,
    /// One of these, without their quotes. Weak tags are left out, since they never match here (RFC 9110, 13.1.1).
    Tags(Vec<String>),
}

impl IfMatch {
    /// Whether the resource in this version may be changed.
    pub fn allows(&self, version: i64) -> bool {
        match self {
            IfMatch::Any => true,
            IfMatch::Tags(tags) => tags.iter().any(|tag| *tag == version.to_string()),
        }
    }

    /// `precondition_failed` unless the resource in this version may be changed.
    pub fn check(&self, version: i64) -> Result<()> {
        if self.allows(version) {
            return Ok(());
        }
        Err(Error::new(Code::PreconditionFailed, "the resource has changed since it was read; read it again"))
    }

    /// The versions that are allowed; `None` allows any. A use case that knows no HTTP takes this.
    pub fn versions(&self) -> Option<Vec<i64>> {
        match self {
            IfMatch::Any => None,
            IfMatch::Tags(tags) => Some(tags.iter().filter_map(|tag| tag.parse().ok()).collect()),
        }
    }
}

/// The request's `If-Match`, if it has one; `invalid_request` when it is malformed.
pub fn if_match(request: &HttpRequest) -> Result<Option<IfMatch>> {
    Ok(match tags(request, &header::IF_MATCH)? {
        None => None,
        Some(Tags::Any) => Some(IfMatch::Any),
        Some(Tags::Listed(tags)) => {
            Some(IfMatch::Tags(tags.into_iter().filter(|tag| !tag.weak).map(|tag| tag.text).collect()))
        }
    })
}

/// Whether the client has this version already, by its `If-None-Match`. Compared weakly (RFC 9110, 13.1.2).
pub fn is_not_modified(request: &HttpRequest, version: i64) -> Result<bool> {
    Ok(match tags(request, &header::IF_NONE_MATCH)? {
        None => false,
        Some(Tags::Any) => true,
        Some(Tags::Listed(tags)) => tags.iter().any(|tag| tag.text == version.to_string()),
    })
}

enum Tags {
    Any,
    Listed(Vec<Tag>),
}

struct Tag {
    weak: bool,
    text: String,
}

fn tags(request: &HttpRequest, name: &HeaderName) -> Result<Option<Tags>> {
    let mut listed = Vec::new();
    let mut given = false;
    for value in request.headers().get_all(name) {
        given = true;
        let malformed = || Error::invalid_request(format!("the {name} header must be * or a list of quoted tags"));
        let text = value.to_str().map_err(|_| malformed())?.trim();
        if text == "*" {
            return Ok(Some(Tags::Any));
        }
        listed.extend(parse_list(text).ok_or_else(malformed)?);
    }
    Ok(given.then_some(Tags::Listed(listed)))
}

/// `"1", W/"2"`; a tag may have commas within its quotes.
fn parse_list(text: &str) -> Option<Vec<Tag>> {
    let mut tags = Vec::new();
    let mut rest = text.trim_start();
    loop {
        let (weak, quoted) = match rest.strip_prefix("W/") {
            Some(quoted) => (true, quoted),
            None => (false, rest),
        };
        let (tag, after) = quoted.strip_prefix('"')?.split_once('"')?;
        tags.push(Tag { weak, text: tag.to_owned() });
        rest = after.trim_start();
        if rest.is_empty() {
            return Some(tags);
        }
        rest = rest.strip_prefix(',')?.trim_start();
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn request(name: &str, value: &str) -> HttpRequest {
        TestRequest::default().insert_header((name, value)).to_http_request()
    }

    #[test]
    fn a_list_of_tags_allows_each_of_them() {
        let condition = if_match(&request("If-Match", "\"7\", \"9\"")).unwrap().unwrap();
        assert!(condition.allows(7) && condition.allows(9) && !condition.allows(8));
        assert_eq!(condition.check(8).unwrap_err().code(), Code::PreconditionFailed);
        assert_eq!(condition.versions(), Some(vec![7, 9]));
    }

    #[test]
    fn a_star_allows_any_version_and_no_header_asks_nothing() {
        assert_eq!(if_match(&request("If-Match", "*")).unwrap(), Some(IfMatch::Any));
        assert_eq!(if_match(&TestRequest::default().to_http_request()).unwrap(), None);
    }

    #[test]
    fn a_weak_tag_never_matches_a_write_but_does_match_a_read() {
        assert!(!if_match(&request("If-Match", "W/\"7\"")).unwrap().unwrap().allows(7));
        assert!(is_not_modified(&request("If-None-Match", "\"1\", W/\"7\""), 7).unwrap());
        assert!(!is_not_modified(&request("If-None-Match", "\"1\""), 7).unwrap());
    }

    #[test]
    fn what_is_not_a_tag_is_refused_rather_than_ignored() {
        for bad in ["7", "\"7", "\"7\" \"8\"", "\"7\",", ""] {
            assert!(if_match(&request("If-Match", bad)).is_err(), "{bad}");
        }
    }
}
