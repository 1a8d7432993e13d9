//! Tokens and who may do what.
//!
//! [`TokenKeys`] signs and verifies the platform's JSON web tokens (RFC 7519) with one pinned algorithm, [`ServiceTokens`]
//! keeps a fresh token at hand for a service that calls another, and [`policy`] decides: roles in, decision out, no I/O.
//!
//! ```
//! use std::time::Duration;
//! use sker_auth::{Claims, TokenKeys};
//! use sker_types::{Role, new_id};
//!
//! # fn main() -> sker_error::Result<()> {
//! let keys = TokenKeys::hs256(&"0123456789abcdef0123456789abcdef".into())?;
//! let claims = Claims::user(new_id(), Role::User, new_id(), Duration::from_secs(900));
//! let token = keys.issue(&claims)?;
//! assert_eq!(keys.verify(&token)?.principal(), claims.principal());
//! # Ok(())
//! # }
//! ```

mod claims;
mod keys;
pub mod policy;
mod service_tokens;

pub use claims::{AUDIENCE, Claims, ISSUER};
pub use keys::{MIN_SECRET_BYTES, TokenKeys, bearer_token, is_documented_example};
pub use service_tokens::ServiceTokens;
