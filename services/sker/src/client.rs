//! A gateway as the commands see it: signed in with what `sker login` remembers, renewed when it has run out.

use std::{env, fs::File};

use reqwest::Method;
use serde_json::Value;
use sker_client::http::{Events, Platform};
use sker_error::{Code, Error};

use crate::{
    cli::ClientArgs,
    exit::Failure,
    output::Output,
    session::{Session, SessionFile},
};

/// The most rows that are asked for at once.
const PAGE: u32 = 200;

/// A gateway, and where to print.
pub struct Client {
    platform: Platform,
    url: String,
    /// What is printed, and how.
    pub output: Output,
}

impl Client {
    /// Nothing is asked of the gateway yet.
    pub fn new(args: &ClientArgs) -> Result<Self, Failure> {
        let platform = Platform::new(&args.url)?;
        let url = platform.base().as_str().trim_end_matches('/').to_owned();
        Ok(Client { platform, url, output: Output::new(args.output) })
    }

    /// The gateway, without a sign-in.
    pub fn platform(&self) -> &Platform {
        &self.platform
    }

    /// The gateway's URL, as sign-ins are kept by it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Reads something.
    pub async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.call(Method::GET, path, None).await
    }

    /// Makes something, or does something.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.call(Method::POST, path, Some(body)).await
    }

    /// Deletes something.
    pub async fn delete(&self, path: &str) -> Result<(), Failure> {
        self.call(Method::DELETE, path, None).await.map(drop)
    }

    /// The first `limit` rows of a list, over as many pages as it takes. `path` has a query already or none.
    pub async fn list(&self, path: &str, limit: u32) -> Result<Vec<Value>, Failure> {
        let mut rows = Vec::new();
        let mut cursor = None;
        while rows.len() < limit as usize {
            let wanted = (limit - rows.len() as u32).min(PAGE);
            let mut page = self.get(&page_path(path, wanted, cursor.as_deref())).await?;
            let Value::Array(mut data) = page["data"].take() else { break };
            rows.append(&mut data);
            cursor = page["next_cursor"].as_str().map(str::to_owned);
            if cursor.is_none() {
                break;
            }
        }
        Ok(rows)
    }

    /// Opens the realtime socket.
    pub async fn events(&self) -> Result<Events, Failure> {
        // The socket cannot say that a token has run out before it is open: ask something that can.
        self.get("/api/v1/auth/me").await?;
        Ok(self.platform.events().await?)
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        if self.platform.token().is_none() {
            self.sign_in()?;
        }
        match self.platform.send(method.clone(), path, body, None).await {
            Err(error) if error.code() == Code::Unauthenticated && self.renew().await? => {
                Ok(self.platform.send(method, path, body, None).await?.body)
            }
            answer => Ok(answer?.body),
        }
    }

    fn sign_in(&self) -> Result<(), Failure> {
        let token = match env::var("SKER_TOKEN").ok().filter(|token| !token.is_empty()) {
            Some(token) => token,
            None => match SessionFile::find()?.read(&self.url)? {
                Some(session) => session.access_token,
                None => return Err(Error::unauthenticated(format!("not signed in at {}", self.url)).into()),
            },
        };
        self.platform.set_token(token);
        Ok(())
    }

    /// Gets the next pair of tokens. One process at a time: a refresh token that is used twice signs everybody out.
    async fn renew(&self) -> Result<bool, Failure> {
        if env::var_os("SKER_TOKEN").is_some_and(|token| !token.is_empty()) {
            return Ok(false);
        }
        let file = SessionFile::find()?;
        let _lock: File = file.lock()?;
        let Some(session) = file.read(&self.url)? else { return Ok(false) };
        if self.platform.token().is_none_or(|used| *used != session.access_token) {
            // Another process has just done it.
            self.platform.set_token(session.access_token);
            return Ok(true);
        }
        match self.platform.refresh(&session.refresh_token).await {
            Ok(renewed) => {
                file.write(&self.url, Some(Session::new(session.email, renewed)))?;
                Ok(true)
            }
            Err(error) if error.code() == Code::Unauthenticated => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// The path of one page of a list.
pub fn page_path(path: &str, limit: u32, cursor: Option<&str>) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("limit", &limit.to_string());
    if let Some(cursor) = cursor {
        query.append_pair("cursor", cursor);
    }
    let separator = if path.contains('?') { '&' } else { '?' };
    format!("{path}{separator}{}", query.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_keeps_the_query_and_escapes_the_cursor() {
        assert_eq!(page_path("/x", 5, None), "/x?limit=5");
        assert_eq!(page_path("/x?status=failed", 5, Some("a+b/=")), "/x?status=failed&limit=5&cursor=a%2Bb%2F%3D");
    }
}
