use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::Value;
use url::Url;

use crate::{Answer, Api};

/// A client of RabbitMQ's management API.
#[derive(Clone)]
pub(super) struct Management {
    api: Api,
    user: String,
    password: String,
}

impl Management {
    /// `url` names the user and the password.
    pub(super) fn new(url: &str) -> Result<Self> {
        let mut url = Url::parse(url).context("the URL of RabbitMQ's management API")?;
        let user = url.username().to_owned();
        let password = url.password().unwrap_or_default().to_owned();
        // `Err` means that this kind of URL has none, and then there is none to take away.
        let _ = url.set_username("").and_then(|()| url.set_password(None));
        Ok(Management { api: Api::new(url.as_str())?, user, password })
    }

    /// The same with connections of its own.
    pub(super) fn anew(&self) -> Result<Self> {
        Ok(Management { api: Api::new(self.api.base())?, ..self.clone() })
    }

    pub(super) fn user(&self) -> &str {
        &self.user
    }

    /// A request; `path` is what comes after `/api/`.
    pub(super) async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer> {
        let request = self.api.request(method, &format!("/api/{path}")).basic_auth(&self.user, Some(&self.password));
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        self.api.send(request).await
    }
}
