//! A client of a gateway.

mod events;

use std::{fmt, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
pub use events::{Events, Frame};
use reqwest::{
    Method, StatusCode,
    header::{ETAG, IF_MATCH, RETRY_AFTER},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sker_error::{Code, Error, Problem, Result};
use url::Url;

/// What a sign-in answers.
#[derive(Clone, Serialize, Deserialize)]
pub struct Session {
    /// Proves who calls; short-lived.
    pub access_token: String,
    /// Buys the next pair of tokens, once.
    pub refresh_token: String,
    /// Seconds until the access token expires.
    pub expires_in: u64,
    /// The user, as `GET /auth/me` answers.
    pub user: Value,
}

impl fmt::Debug for Session {
    /// Shows no tokens.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("Session");
        shown.field("user", &self.user).field("expires_in", &self.expires_in).finish_non_exhaustive()
    }
}

/// An answer with what its headers say.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The resource's version, for `If-Match`.
    pub etag: Option<String>,
    /// The JSON body; `null` when there is none.
    pub body: Value,
}

/// A gateway and, once signed in, who calls it. Cheap to clone; clones share the token.
#[derive(Clone)]
pub struct Platform {
    base: Url,
    http: reqwest::Client,
    token: Arc<ArcSwapOption<String>>,
}

impl fmt::Debug for Platform {
    /// Shows no token.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Platform").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

impl Platform {
    /// A client of the gateway at `base`, for example `http://127.0.0.1:3000`.
    ///
    /// Fails with `invalid_request` when that is no HTTP URL.
    pub fn new(base: &str) -> Result<Self> {
        let base = Url::parse(base)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| Error::invalid_request(format!("`{base}` is not an http:// or https:// URL")))?;
        // Another part of the program may have installed one already; any will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .timeout(Duration::from_secs(60))
            .user_agent(concat!("sker/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(Error::internal)?;
        Ok(Platform { base, http, token: Arc::default() })
    }

    /// The gateway's address.
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// Calls with this access token from now on.
    pub fn set_token(&self, token: impl Into<String>) {
        self.token.store(Some(Arc::new(token.into())));
    }

    /// The access token in use.
    pub fn token(&self) -> Option<Arc<String>> {
        self.token.load_full()
    }

    /// Signs up and stays signed in.
    pub async fn sign_up(&self, email: &str, username: &str, password: &str) -> Result<Session> {
        let body = json!({"email": email, "username": username, "password": password});
        self.enter("/api/v1/auth/register", body).await
    }

    /// Signs in and stays so.
    pub async fn login(&self, email: &str, password: &str) -> Result<Session> {
        self.enter("/api/v1/auth/login", json!({"email": email, "password": password})).await
    }

    /// Exchanges a refresh token for the next pair.
    pub async fn refresh(&self, refresh_token: &str) -> Result<Session> {
        self.enter("/api/v1/auth/refresh", json!({"refresh_token": refresh_token})).await
    }

    async fn enter(&self, path: &str, body: Value) -> Result<Session> {
        let answer = self.send(Method::POST, path, Some(&body), None).await?;
        let session: Session = serde_json::from_value(answer.body).map_err(unexpected)?;
        self.set_token(session.access_token.clone());
        Ok(session)
    }

    /// Reads. `path` begins with a slash and may have a query.
    pub async fn get(&self, path: &str) -> Result<Value> {
        Ok(self.send(Method::GET, path, None, None).await?.body)
    }

    /// Makes something, or does something.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        Ok(self.send(Method::POST, path, Some(body), None).await?.body)
    }

    /// Changes something (merge patch); with `if_match` only if it is still that version.
    pub async fn patch(&self, path: &str, body: &Value, if_match: Option<&str>) -> Result<Value> {
        Ok(self.send(Method::PATCH, path, Some(body), if_match).await?.body)
    }

    /// Deletes something.
    pub async fn delete(&self, path: &str) -> Result<()> {
        self.send(Method::DELETE, path, None, None).await.map(drop)
    }

    /// Any call. An error status becomes the error that its problem document describes.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        if_match: Option<&str>,
    ) -> Result<Answer> {
        let url = self
            .base
            .join(path)
            .ok()
            // `//other/x` would take the token to another host.
            .filter(|url| url.origin() == self.base.origin())
            .ok_or_else(|| Error::invalid_request(format!("`{path}` is not a path")))?;
        let mut request = self.http.request(method, url);
        if let Some(token) = self.token() {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        if let Some(etag) = if_match {
            request = request.header(IF_MATCH, etag);
        }
        let response = request.send().await.map_err(|error| self.unreachable(error))?;
        let status = response.status();
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (etag, retry_after) = (header(ETAG), header(RETRY_AFTER));
        let bytes = response.bytes().await.map_err(|error| self.unreachable(error))?;
        if !status.is_success() {
            return Err(refusal(status, retry_after, &bytes));
        }
        let body = match bytes.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(&bytes).map_err(unexpected)?,
        };
        Ok(Answer { status: status.as_u16(), etag, body })
    }

    /// Opens the realtime socket as the signed-in user.
    pub async fn events(&self) -> Result<Events> {
        Events::connect(self.clone()).await
    }

    pub(crate) fn unreachable(&self, error: impl std::error::Error + Send + Sync + 'static) -> Error {
        Error::unavailable(format!("cannot reach {}", self.base)).with_cause(error)
    }
}

fn refusal(status: StatusCode, retry_after: Option<String>, bytes: &[u8]) -> Error {
    let error = match serde_json::from_slice::<Problem>(bytes) {
        Ok(problem) => problem.into_error(),
        Err(_) => Error::new(Code::from_http_status(status.as_u16()), format!("the server answered {status}")),
    };
    match retry_after.and_then(|text| text.parse::<u64>().ok()) {
        Some(seconds) => error.with_retry_after_ms(seconds.saturating_mul(1_000)),
        None => error,
    }
}

fn unexpected(error: serde_json::Error) -> Error {
    Error::new(Code::BadGateway, "the server gave an unexpected answer").with_cause(error)
}
