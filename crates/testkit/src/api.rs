use std::{sync::Once, time::Duration};

use anyhow::{Context, Result, bail};
use reqwest::{
    Client, Method, RequestBuilder, StatusCode,
    header::{HeaderMap, HeaderValue},
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::wait::eventually;

/// How long one request may take.
const REQUEST_DEADLINE: Duration = Duration::from_secs(60);

/// A client of an HTTP API, signed in or not. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    client: Client,
    base: String,
    token: Option<String>,
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body; `Null` when it is not JSON.
    pub body: Value,
    /// The body as text.
    pub text: String,
}

impl Api {
    /// A client of the server at `base`, not signed in.
    pub fn new(base: &str) -> Result<Self> {
        install_crypto();
        let client = Client::builder().timeout(REQUEST_DEADLINE).no_proxy().build()?;
        Ok(Api { client, base: base.trim_end_matches('/').to_owned(), token: None })
    }

    /// The same client with a token.
    pub fn with_token(&self, token: impl Into<String>) -> Self {
        Api { token: Some(token.into()), ..self.clone() }
    }

    /// The token, if signed in.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// The server's address.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// A request to be completed by the caller.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Sends a request and reads its answer.
    pub async fn send(&self, request: RequestBuilder) -> Result<Answer> {
        let response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await?;
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Answer { status, headers, body, text })
    }

    /// `GET`.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.send(self.request(Method::GET, path)).await
    }

    /// `POST` of a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// `PUT` of a JSON body.
    pub async fn put(&self, path: &str, body: &Value) -> Result<Answer> {
        self.send(self.request(Method::PUT, path).json(body)).await
    }

    /// `PATCH` of a JSON body, with `If-Match` when given.
    pub async fn patch(&self, path: &str, body: &Value, if_match: Option<&str>) -> Result<Answer> {
        let request = self.request(Method::PATCH, path).json(body);
        let request = match if_match {
            Some(etag) => request.header("If-Match", etag),
            None => request,
        };
        self.send(request).await
    }

    /// `DELETE`.
    pub async fn delete(&self, path: &str) -> Result<Answer> {
        self.send(self.request(Method::DELETE, path)).await
    }

    /// Signs up a user nobody else is and answers a client that is signed in as that user.
    pub async fn sign_up(&self) -> Result<Api> {
        let name = format!("u{}", Uuid::new_v4().simple());
        let body = json!({
            "email": format!("{name}@example.org"),
            "username": name,
            "password": "correct horse battery staple",
        });
        let answer = self.post("/api/v1/auth/register", &body).await?.success()?;
        Ok(self.with_token(answer.string("access_token")?))
    }

    /// Signs in.
    pub async fn log_in(&self, email: &str, password: &str) -> Result<Api> {
        let body = json!({"email": email, "password": password});
        let answer = self.post("/api/v1/auth/login", &body).await?.expect(200)?;
        Ok(self.with_token(answer.string("access_token")?))
    }

    /// Makes a project and answers its id.
    pub async fn create_project(&self, name: &str) -> Result<String> {
        self.post("/api/v1/projects", &json!({"name": name})).await?.expect(201)?.string("id")
    }

    /// Makes a node and answers its id.
    pub async fn create_node(&self, project: &str, title: &str, content: &str) -> Result<String> {
        let body = json!({"title": title, "content": content});
        self.post(&format!("/api/v1/projects/{project}/nodes"), &body).await?.expect(201)?.string("id")
    }

    /// Submits a `semantic_analysis` that is applied to a node; answers the task's id.
    pub async fn analyse(&self, project: &str, node: &str) -> Result<String> {
        let body = json!({"type": "semantic_analysis", "node_id": node, "input_data": {"node_ids": [node]}});
        self.post(&format!("/api/v1/projects/{project}/ai-tasks"), &body).await?.expect(201)?.string("id")
    }

    /// Waits until a task has ended, and answers it; an error unless it was completed.
    pub async fn completed(&self, task: &str) -> Result<Value> {
        let path = format!("/api/v1/ai-tasks/{task}");
        let ended = eventually(&format!("task {task} ends"), async || {
            let body = self.get(&path).await?.expect(200)?.body;
            let ended = matches!(body["status"].as_str(), Some("completed" | "failed" | "cancelled"));
            Ok(ended.then_some(body))
        })
        .await?;
        if ended["status"] != "completed" {
            bail!("the task was not completed: {ended:#}");
        }
        Ok(ended)
    }
}

impl Answer {
    /// An error unless it has this status.
    pub fn expect(self, status: u16) -> Result<Self> {
        if self.status.as_u16() != status {
            bail!("status {} instead of {status}: {}", self.status, self.text);
        }
        Ok(self)
    }

    /// An error unless its status is 2xx.
    pub fn success(self) -> Result<Self> {
        if !self.status.is_success() {
            bail!("status {}: {}", self.status, self.text);
        }
        Ok(self)
    }

    /// An error unless it is a complete problem document (RFC 9457, CONTRACT.md) of this status and code, with a request id
    /// that is also in the header.
    pub fn expect_problem(self, status: u16, code: &str) -> Result<Self> {
        let answer = self.expect(status)?;
        let problem = &answer.body;
        let content_type = answer.header("content-type").unwrap_or_default();
        let complete = ["type", "title", "detail", "instance"].iter().all(|member| problem[member].is_string());
        let request_id = problem["request_id"].as_str().filter(|id| !id.is_empty());
        if !content_type.starts_with("application/problem+json")
            || !complete
            || problem["status"] != status
            || problem["code"] != code
            || request_id.is_none()
            || request_id != answer.header("x-request-id")
        {
            bail!("not a problem of code {code} ({content_type}, {:?}): {}", answer.headers, answer.text);
        }
        Ok(answer)
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(HeaderValue::to_str).and_then(Result::ok)
    }

    /// A member of the body that is a string.
    pub fn string(&self, member: &str) -> Result<String> {
        let value = self.body[member].as_str().with_context(|| format!("no string {member} in {}", self.text))?;
        Ok(value.to_owned())
    }

    /// The names in `errors[]` of a problem.
    pub fn field_errors(&self) -> Vec<&str> {
        let errors = self.body["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
        errors.iter().filter_map(|error| error["field"].as_str()).collect()
    }
}

/// reqwest is built without a TLS provider of its own. Whoever comes first chooses; it is the same one.
fn install_crypto() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}
