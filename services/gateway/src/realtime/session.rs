//! What a realtime client may do, and on whose behalf: the calls that go to the store.

use std::{sync::Arc, time::Duration};

use serde_json::{Map, Value};
use sker_api::Ctx;
use sker_auth::Claims;
use sker_error::{Error, Result};
use sker_proto::store::{AuthorizeChannelRequest, CancelTaskRequest, CreateTaskRequest};
use sker_types::{Principal, Time, new_id};

use crate::gateway::Gateway;

/// How long the store may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A client that has shown a valid token.
#[derive(Clone, Debug)]
pub struct Session {
    principal: Principal,
    expires: i64,
    request_id: Arc<str>,
}

impl Session {
    /// Verifies a token.
    pub fn begin(gateway: &Gateway, token: &str, request_id: Arc<str>) -> Result<Session> {
        let claims: Claims = gateway.keys.verify(token)?;
        Ok(Session { principal: claims.principal(), expires: claims.exp, request_id })
    }

    /// Goes on with another token of the same client.
    pub fn renew(&mut self, gateway: &Gateway, token: &str) -> Result<()> {
        let claims = gateway.keys.verify(token)?;
        if claims.principal().subject != self.principal.subject || claims.principal().kind != self.principal.kind {
            return Err(Error::forbidden("this socket belongs to someone else; open another"));
        }
        self.principal = claims.principal();
        self.expires = claims.exp;
        Ok(())
    }

    /// Whom the token names.
    pub fn subject(&self) -> &str {
        &self.principal.subject
    }

    /// Until when the token is good.
    pub fn expires_at(&self) -> Time {
        sker_types::from_micros(self.expires.saturating_mul(1_000_000))
    }

    /// How long that is from now.
    pub fn left(&self) -> Duration {
        let micros = sker_types::to_micros(self.expires_at()).saturating_sub(sker_types::to_micros(sker_types::now()));
        // A token may claim to be good for longer than a timer can count.
        Duration::from_micros(u64::try_from(micros).unwrap_or(0)).min(Duration::from_secs(365 * 86_400))
    }

    fn ctx(&self) -> Ctx {
        let mut ctx = Ctx::new(self.principal.clone()).within(PATIENCE);
        ctx.request_id = self.request_id.to_string();
        ctx
    }

    /// The full name of a channel that the client may listen to.
    pub async fn channel(&self, gateway: &Gateway, channel: &str) -> Result<String> {
        let (store, ctx) = (Arc::clone(&gateway.store), self.ctx());
        let request = AuthorizeChannelRequest { channel: channel.to_owned() };
        let call = async move { ctx.bound(store.authorize_channel(&ctx, request)).await };
        Ok(gateway.main.run(call).await?.channel)
    }

    /// Creates a task; answers its id.
    pub async fn submit(&self, gateway: &Gateway, project_id: String, data: Map<String, Value>) -> Result<String> {
        let (store, ctx) = (Arc::clone(&gateway.store), self.ctx());
        let body_json = Value::Object(data).to_string();
        // The client's frame is one wish, however often it takes to reach the store.
        let request = CreateTaskRequest { project_id, body_json, idempotency_key: new_id().to_string() };
        let call = async move { ctx.bound(store.create_task(&ctx, request)).await };
        let task = gateway.main.run(call).await?.task;
        task.map(|task| task.id).ok_or_else(|| Error::internal("the store answered without the task"))
    }

    /// Cancels a task.
    pub async fn cancel(&self, gateway: &Gateway, id: String) -> Result<()> {
        let (store, ctx) = (Arc::clone(&gateway.store), self.ctx());
        let call = async move { ctx.bound(store.cancel_task(&ctx, CancelTaskRequest { id })).await };
        gateway.main.run(call).await.map(|_| ())
    }
}
