use std::fmt;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, errors::ErrorKind};
use secrecy::{ExposeSecret, SecretString};
use sker_error::{Error, FieldError, Result};

use crate::{AUDIENCE, Claims, ISSUER};

/// The shortest secret that is accepted for HS256 (RFC 7518, section 3.2: at least the size of the hash).
pub const MIN_SECRET_BYTES: usize = 32;

/// Longer tokens are refused unread; ours have about 400 bytes.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// Words that only stand in secrets that somebody has copied from documentation.
const EXAMPLE_WORDS: [&str; 9] = [
    "change-me",
    "changeme",
    "change_me",
    "your-secret",
    "your_secret",
    "example",
    "development",
    "dev-secret",
    "jwt-secret",
];

/// Signs and verifies tokens. The algorithm is fixed when the keys are made, so a token's header cannot choose another.
pub struct TokenKeys {
    algorithm: Algorithm,
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
}

impl TokenKeys {
    /// Keys for HS256 from a shared secret of at least [`MIN_SECRET_BYTES`] bytes.
    ///
    /// # Errors
    /// `validation_failed` when the secret is too short.
    pub fn hs256(secret: &SecretString) -> Result<Self> {
        let bytes = secret.expose_secret().as_bytes();
        if bytes.len() < MIN_SECRET_BYTES {
            let message = format!("must have at least {MIN_SECRET_BYTES} bytes");
            return Err(Error::validation(vec![FieldError::new("jwt_secret", "too_short", message)]));
        }
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = 0;
        // RFC 7519, section 4.1.4: a token is refused on its `exp`, not only after it.
        validation.reject_tokens_expiring_in_less_than = 1;
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        Ok(TokenKeys {
            algorithm: Algorithm::HS256,
            encoding: EncodingKey::from_secret(bytes),
            decoding: DecodingKey::from_secret(bytes),
            validation,
        })
    }

    /// Signs a token.
    pub fn issue(&self, claims: &Claims) -> Result<String> {
        jsonwebtoken::encode(&Header::new(self.algorithm), claims, &self.encoding).map_err(Error::internal)
    }

    /// Verifies a token: signature, algorithm, expiry, issuer and audience.
    ///
    /// # Errors
    /// `unauthenticated` whatever is wrong; the message tells an expired token from a bad one and no more.
    pub fn verify(&self, token: &str) -> Result<Claims> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(invalid());
        }
        let data =
            jsonwebtoken::decode::<Claims>(token, &self.decoding, &self.validation).map_err(|error| {
                match error.kind() {
                    ErrorKind::ExpiredSignature => Error::unauthenticated("the token has expired"),
                    _ => invalid(),
                }
            })?;
        if data.claims.is_coherent() { Ok(data.claims) } else { Err(invalid()) }
    }
}

impl fmt::Debug for TokenKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TokenKeys").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

fn invalid() -> Error {
    Error::unauthenticated("the token is not valid")
}

/// The token of an `Authorization` header's value, when it has the scheme `Bearer` (RFC 6750).
pub fn bearer_token(header: &str) -> Option<&str> {
    let (scheme, token) = header.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// Whether a secret looks like one that stands in documentation, ours or a seed's. Production refuses such a secret.
pub fn is_documented_example(secret: &SecretString) -> bool {
    let secret = secret.expose_secret().to_ascii_lowercase();
    let first = secret.chars().next();
    EXAMPLE_WORDS.iter().any(|word| secret.contains(word))
        || secret.starts_with("0123456789")
        || secret.chars().all(|character| Some(character) == first)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    use proptest::prelude::*;
    use sker_error::Code;
    use sker_types::{Principal, PrincipalKind, Role, new_id, now};

    use super::*;

    const SECRET: &str = "a secret of tests, long enough for HS256";

    fn keys() -> TokenKeys {
        TokenKeys::hs256(&SECRET.into()).unwrap()
    }

    fn user() -> Claims {
        Claims::user(new_id(), Role::User, new_id(), Duration::from_secs(60))
    }

    fn refused(token: &str) -> String {
        let error = keys().verify(token).unwrap_err();
        assert_eq!(error.code(), Code::Unauthenticated);
        error.message().to_owned()
    }

    fn signed(header: &str, claims: &impl serde::Serialize) -> String {
        let body = URL_SAFE_NO_PAD.encode(serde_json::to_vec(claims).unwrap());
        let message = format!("{}.{body}", URL_SAFE_NO_PAD.encode(header));
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
        format!("{message}.{signature}")
    }

    #[test]
    fn a_token_says_who_its_bearer_is() {
        let claims = user();
        let verified = keys().verify(&keys().issue(&claims).unwrap()).unwrap();
        assert_eq!(verified, claims);
        assert_eq!(verified.principal().user_id().unwrap().to_string(), claims.sub);
        let service = Claims::service("broker", Duration::from_secs(60));
        let verified = keys().verify(&keys().issue(&service).unwrap()).unwrap();
        assert_eq!(verified.principal(), Principal::service("broker"));
    }

    #[test]
    fn an_expired_token_is_refused_and_says_so() {
        let mut claims = user();
        claims.exp = now().timestamp() - 1;
        assert_eq!(refused(&keys().issue(&claims).unwrap()), "the token has expired");
        claims.exp = now().timestamp();
        assert_eq!(refused(&keys().issue(&claims).unwrap()), "the token has expired");
    }

    #[test]
    fn a_header_cannot_choose_the_algorithm() {
        let claims = user();
        assert!(keys().verify(&signed(r#"{"alg":"HS256","typ":"JWT"}"#, &claims)).is_ok());
        for header in [
            r#"{"alg":"none","typ":"JWT"}"#,
            r#"{"alg":"RS256","typ":"JWT"}"#,
            r#"{"alg":"HS384"}"#,
            r#"{"alg":"EdDSA"}"#,
            r#"{"typ":"JWT"}"#,
            "{}",
        ] {
            refused(&signed(header, &claims));
        }
        let body = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&claims).unwrap());
        refused(&format!("{}.{body}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#)));
    }

    #[test]
    fn a_token_of_another_issuer_or_for_another_audience_is_refused() {
        for change in
            [|claims: &mut Claims| claims.iss = "other".into(), |claims: &mut Claims| claims.aud = "other".into()]
        {
            let mut claims = user();
            change(&mut claims);
            refused(&keys().issue(&claims).unwrap());
        }
    }

    #[test]
    fn a_token_without_a_claim_that_we_need_is_refused() {
        for claim in ["exp", "iss", "aud", "sub", "role", "kind", "jti", "iat"] {
            let mut body = serde_json::to_value(user()).unwrap();
            body.as_object_mut().unwrap().remove(claim);
            refused(&signed(r#"{"alg":"HS256"}"#, &body));
        }
    }

    #[test]
    fn a_user_cannot_be_a_service_and_a_user_has_an_id() {
        for change in [
            |claims: &mut Claims| claims.role = Role::Service,
            |claims: &mut Claims| claims.kind = PrincipalKind::Service,
            |claims: &mut Claims| claims.kind = PrincipalKind::Anonymous,
            |claims: &mut Claims| claims.sub = "root".into(),
        ] {
            let mut claims = user();
            change(&mut claims);
            refused(&keys().issue(&claims).unwrap());
        }
    }

    #[test]
    fn a_token_signed_with_another_secret_is_refused() {
        let other = TokenKeys::hs256(&"another secret that is long enough too".into()).unwrap();
        refused(&other.issue(&user()).unwrap());
    }

    #[test]
    fn a_short_secret_is_a_named_fault() {
        let error = TokenKeys::hs256(&"x".repeat(31).into()).unwrap_err();
        assert_eq!(error.code(), Code::ValidationFailed);
        assert_eq!(error.fields()[0].field, "jwt_secret");
        assert!(!format!("{error:?}").contains("xxx"));
    }

    #[test]
    fn no_secret_shows_in_debug_output() {
        assert!(!format!("{:?}", keys()).contains(SECRET));
    }

    #[test]
    fn a_bearer_header_is_read_whatever_its_case() {
        assert_eq!(bearer_token("Bearer abc"), Some("abc"));
        assert_eq!(bearer_token("bearer  abc "), Some("abc"));
        assert_eq!(bearer_token("Basic abc"), None);
        assert_eq!(bearer_token("Bearer "), None);
        assert_eq!(bearer_token("Bearer"), None);
    }

    #[test]
    fn secrets_out_of_documentation_are_known() {
        for secret in [
            "change-me-change-me-change-me-change",
            "your-secret-key-at-least-32-bytes-long",
            &"a".repeat(40),
            "0123456789abcdef0123456789abcdef",
        ] {
            assert!(is_documented_example(&secret.into()), "{secret}");
        }
        assert!(!is_documented_example(&"q8Zr1nYw7LkD2vXe5TbU9hJc4MfGpS0a".into()));
    }

    proptest! {
        #[test]
        fn no_tampered_token_is_accepted(position in 0usize..300, replacement in "[A-Za-z0-9_.-]") {
            let token = keys().issue(&user()).unwrap();
            let position = position % token.len();
            // The last character of a base64 group may carry bits that are not used; decoding refuses those, too.
            let mut tampered = token.clone();
            tampered.replace_range(position..=position, &replacement);
            prop_assume!(tampered != token);
            prop_assert!(keys().verify(&tampered).is_err());
        }

        #[test]
        fn no_text_crashes_the_verifier(text in ".{0,200}") {
            prop_assert!(keys().verify(&text).is_err());
        }
    }
}
