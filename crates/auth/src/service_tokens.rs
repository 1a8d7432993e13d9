use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use sker_error::Result;

use crate::{Claims, TokenKeys};

/// How long a service's token is valid.
const TTL: Duration = Duration::from_secs(300);

/// The token with which a service calls another: made when it is first needed, made anew when half its life is over.
#[derive(Clone)]
pub struct ServiceTokens {
    inner: Arc<Inner>,
}

struct Inner {
    keys: Arc<TokenKeys>,
    service: String,
    ttl: Duration,
    current: ArcSwapOption<Current>,
}

struct Current {
    token: String,
    renew_at: Instant,
}

impl ServiceTokens {
    /// Tokens for the service of that name.
    pub fn new(keys: Arc<TokenKeys>, service: &str) -> Self {
        ServiceTokens::with_ttl(keys, service, TTL)
    }

    /// Tokens with another lifetime than the usual five minutes.
    pub fn with_ttl(keys: Arc<TokenKeys>, service: &str, ttl: Duration) -> Self {
        let inner = Inner { keys, service: service.to_owned(), ttl, current: ArcSwapOption::empty() };
        ServiceTokens { inner: Arc::new(inner) }
    }

    /// The name of the service.
    pub fn service(&self) -> &str {
        &self.inner.service
    }

    /// A token that is valid for at least half its lifetime.
    pub fn token(&self) -> Result<String> {
        let now = Instant::now();
        if let Some(current) = self.inner.current.load().as_deref()
            && now < current.renew_at
        {
            return Ok(current.token.clone());
        }
        // Two callers may both make one here: each is valid, and the later stays.
        let token = self.inner.keys.issue(&Claims::service(&self.inner.service, self.inner.ttl))?;
        let renew_at = now + self.inner.ttl / 2;
        self.inner.current.store(Some(Arc::new(Current { token: token.clone(), renew_at })));
        Ok(token)
    }
}

impl fmt::Debug for ServiceTokens {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ServiceTokens").field("service", &self.inner.service).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Arc<TokenKeys> {
        Arc::new(TokenKeys::hs256(&"a secret of tests, long enough for HS256".into()).unwrap())
    }

    #[test]
    fn a_fresh_token_is_kept_and_shared_by_clones() {
        let tokens = ServiceTokens::new(keys(), "broker");
        let first = tokens.token().unwrap();
        assert_eq!(tokens.clone().token().unwrap(), first);
        assert_eq!(keys().verify(&first).unwrap().sub, "broker");
    }

    #[test]
    fn a_token_past_half_its_life_is_made_anew() {
        let tokens = ServiceTokens::with_ttl(keys(), "broker", Duration::ZERO);
        assert_ne!(tokens.token().unwrap(), tokens.token().unwrap());
    }

    #[test]
    fn no_token_shows_in_debug_output() {
        let tokens = ServiceTokens::new(keys(), "broker");
        let token = tokens.token().unwrap();
        assert!(!format!("{tokens:?}").contains(&token));
    }
}
