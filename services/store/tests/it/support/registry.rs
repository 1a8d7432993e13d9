use std::{collections::BTreeMap, sync::Mutex};

use async_trait::async_trait;
use sker_api::{
    Ctx, Registry, WatchStream,
    proto::registry::{
        DeregisterRequest, DeregisterResponse, DiscoverRequest, DiscoverResponse, HeartbeatRequest, HeartbeatResponse,
        Instance, ListServicesRequest, ListServicesResponse, RegisterRequest, RegisterResponse, WatchRequest,
    },
};
use sker_error::{Error, Result};

/// Stands in for the registry, which this crate must not depend on: it remembers who is registered.
#[derive(Default)]
pub struct FakeRegistry {
    instances: Mutex<BTreeMap<String, Instance>>,
}

impl FakeRegistry {
    /// Who is registered now.
    pub fn instances(&self) -> Vec<Instance> {
        self.instances.lock().unwrap().values().cloned().collect()
    }
}

#[async_trait]
impl Registry for FakeRegistry {
    async fn register(&self, ctx: &Ctx, request: RegisterRequest) -> Result<RegisterResponse> {
        if !ctx.principal.is_service() {
            return Err(Error::forbidden("only services register here"));
        }
        let mut instance = request.instance.unwrap_or_default();
        instance.instance_id = format!("{}:{}", instance.host_address, instance.port_number);
        let created = self.instances.lock().unwrap().insert(instance.instance_id.clone(), instance.clone()).is_none();
        Ok(RegisterResponse { instance: Some(instance), created })
    }

    async fn heartbeat(&self, _: &Ctx, request: HeartbeatRequest) -> Result<HeartbeatResponse> {
        let instances = self.instances.lock().unwrap();
        let (known, unknown): (Vec<_>, Vec<_>) =
            request.instance_ids.into_iter().partition(|id| instances.contains_key(id));
        Ok(HeartbeatResponse { renewed: known.len() as u32, unknown })
    }

    async fn deregister(&self, _: &Ctx, request: DeregisterRequest) -> Result<DeregisterResponse> {
        self.instances.lock().unwrap().remove(&request.instance_id);
        Ok(DeregisterResponse {})
    }

    async fn discover(&self, _: &Ctx, _: DiscoverRequest) -> Result<DiscoverResponse> {
        Ok(DiscoverResponse::default())
    }

    async fn list_services(&self, _: &Ctx, _: ListServicesRequest) -> Result<ListServicesResponse> {
        Ok(ListServicesResponse::default())
    }

    async fn watch(&self, _: &Ctx, _: WatchRequest) -> Result<WatchStream> {
        Err(Error::unavailable("nobody watches here"))
    }
}
