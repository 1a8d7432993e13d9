//! The registry as other services call it, in this process or over gRPC.

mod convert;

use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use sker_api::{Ctx, Registry, WatchStream};
use sker_error::{Error, FieldError, Result};
use sker_proto::registry::{
    DeregisterRequest, DeregisterResponse, DiscoverRequest, DiscoverResponse, HeartbeatRequest, HeartbeatResponse,
    ListServicesRequest, ListServicesResponse, RegisterRequest, RegisterResponse, ServiceSummary, WatchRequest,
    WatchResponse,
};

use crate::app::{Directory, Filter, Followed, Interest, MAX_LIMIT, Paging, Scope};

/// The use cases behind the api trait.
pub struct RegistryApi {
    directory: Arc<Directory>,
}

impl RegistryApi {
    /// The api over the use cases.
    pub fn new(directory: Arc<Directory>) -> Self {
        RegistryApi { directory }
    }

    /// Who calls here is a service of the platform, and vouches for whom it calls for.
    fn admit(&self, ctx: &Ctx) -> Result<Scope> {
        // What is answered from memory is ready before any timer runs; nobody waits for it any more.
        if ctx.remaining().is_some_and(|left| left.is_zero()) {
            return Err(Error::timeout("the deadline passed before there was an answer"));
        }
        self.directory.admit(ctx, true)
    }
}

#[async_trait]
impl Registry for RegistryApi {
    async fn register(&self, ctx: &Ctx, request: RegisterRequest) -> Result<RegisterResponse> {
        let scope = self.admit(ctx)?;
        let instance = request.instance.unwrap_or_default();
        if !instance.tenant_id.is_empty() && instance.tenant_id != scope.tenant() {
            let fault = FieldError::new("tenantId", "contradiction", "is another tenant than the call's");
            return Err(Error::validation(vec![fault]));
        }
        let changed = self.directory.register(&scope, convert::to_body(instance)).await?.value;
        Ok(RegisterResponse { instance: Some(convert::to_message(&changed.instance)), created: changed.created })
    }

    async fn heartbeat(&self, ctx: &Ctx, request: HeartbeatRequest) -> Result<HeartbeatResponse> {
        let outcome = self.directory.heartbeats(&self.admit(ctx)?, request.instance_ids);
        let renewed = u32::try_from(outcome.renewed).unwrap_or(u32::MAX);
        Ok(HeartbeatResponse { renewed, unknown: outcome.unknown })
    }

    async fn deregister(&self, ctx: &Ctx, request: DeregisterRequest) -> Result<DeregisterResponse> {
        match self.directory.deregister(&self.admit(ctx)?, &request.instance_id).await {
            Err(error) if error.code() != sker_error::Code::NotFound => Err(error),
            _ => Ok(DeregisterResponse {}),
        }
    }

    async fn discover(&self, ctx: &Ctx, request: DiscoverRequest) -> Result<DiscoverResponse> {
        let scope = self.admit(ctx)?;
        let DiscoverRequest { service_name, group_name, status, health, tags, metadata } = request;
        let filter = Filter::new(&status, &health, tags, metadata.into_iter().collect())?;
        let found = self.directory.discover(&scope, &group_name, &service_name, filter, None).await?;
        let snapshot = &found.snapshot;
        let wanted = snapshot.instances.iter().filter(|instance| found.filter.matches(instance));
        Ok(DiscoverResponse {
            service_name: snapshot.key.service.to_string(),
            group_name: snapshot.key.group.to_string(),
            revision: snapshot.revision.to_string(),
            protected: snapshot.protected,
            instances: wanted.map(|instance| convert::to_message(instance)).collect(),
        })
    }

    async fn list_services(&self, ctx: &Ctx, request: ListServicesRequest) -> Result<ListServicesResponse> {
        let limit = match usize::try_from(request.limit) {
            Ok(0) | Err(_) => MAX_LIMIT,
            Ok(limit) => limit,
        };
        let paging = Paging { limit, cursor: request.cursor };
        let page = self.directory.services(&self.admit(ctx)?, &request.group_name, &paging)?;
        let summary = |snapshot: &Arc<crate::app::engine::Snapshot>| ServiceSummary {
            service_name: snapshot.key.service.to_string(),
            group_name: snapshot.key.group.to_string(),
            instances: u32::try_from(snapshot.instances.len()).unwrap_or(u32::MAX),
            healthy_instances: u32::try_from(snapshot.healthy()).unwrap_or(u32::MAX),
            revision: snapshot.revision.to_string(),
        };
        Ok(ListServicesResponse {
            services: page.items.iter().map(summary).collect(),
            next_cursor: page.next_cursor.unwrap_or_default(),
        })
    }

    async fn watch(&self, ctx: &Ctx, request: WatchRequest) -> Result<WatchStream> {
        let scope = self.admit(ctx)?;
        let service = (!request.service_name.is_empty()).then_some(request.service_name);
        let interest = Interest { groups: request.group_names, service };
        let steps = self.directory.watch(scope, interest, &request.resume_token)?;
        Ok(steps.map(|followed| followed.map(response)).boxed())
    }
}

fn response(followed: Followed) -> WatchResponse {
    WatchResponse { event: Some(convert::to_event(followed.step)), resume_token: followed.token }
}
