//! The platform as the programs it is made of, on PostgreSQL, Redis and RabbitMQ.

mod outside;
mod plan;
mod service;

use std::path::Path;

use anyhow::{Context, Result};
use futures::future::try_join_all;
use tokio::sync::{Semaphore, SemaphorePermit};

pub use outside::Outside;
use outside::Places;
pub use plan::Plan;
pub use service::Service;

use crate::{Api, eventually};

/// Each is a handful of processes; more at a time only slow each other down.
const AT_A_TIME: usize = 2;

static PERMITS: Semaphore = Semaphore::const_new(AT_A_TIME);

/// The address of the administrator of every distributed platform.
pub const ADMIN: &str = "admin@example.org";
/// The administrator's password.
pub const ADMIN_PASSWORD: &str = "the administrator of a test";

/// A platform of one's own out of programs of their own. Killed when dropped.
pub struct Distributed {
    /// The registry.
    pub registry: Service,
    /// The stores; the others call the first one, and reach all of them through the gateways.
    pub stores: Vec<Service>,
    /// The brokers.
    pub brokers: Vec<Service>,
    /// The database-service.
    pub database_service: Service,
    /// The gateways.
    pub gateways: Vec<Service>,
    // After the programs that use them.
    _places: Places,
    _permit: SemaphorePermit<'static>,
}

impl Distributed {
    /// Starts everything at once, as an operator would who does not know the order, and waits until every gateway serves.
    /// Waits before that while other tests of this process have as many platforms as the machine can bear.
    pub async fn start(home: &Path, outside: Outside, plan: Plan) -> Result<Self> {
        let permit = PERMITS.acquire().await?;
        let places = outside.places().await?;
        let mut platform = plan.services(home, &places)?.into_platform(places, permit);
        for service in platform.services() {
            service.start()?;
        }
        platform.until_ready().await?;
        Ok(platform)
    }

    /// A client of a gateway, not signed in.
    pub fn gateway(&self, number: usize) -> Result<Api> {
        self.gateways.get(number).context("no such gateway")?.api()
    }

    /// The administrator, signed in at the first gateway.
    pub async fn admin(&self) -> Result<Api> {
        self.gateway(0)?.log_in(ADMIN, ADMIN_PASSWORD).await
    }

    /// Every program.
    pub fn services(&mut self) -> impl Iterator<Item = &mut Service> {
        let first = [&mut self.registry, &mut self.database_service];
        first.into_iter().chain(&mut self.stores).chain(&mut self.brokers).chain(&mut self.gateways)
    }

    /// Waits until every program that runs says that it is ready, and every gateway leads to the store.
    pub async fn until_ready(&mut self) -> Result<()> {
        try_join_all(self.services().filter(|service| service.is_started()).map(Service::until_ready)).await?;
        let gateways = self.gateways.iter().filter(|gateway| gateway.is_started());
        for gateway in gateways {
            let api = gateway.api()?;
            let leads = eventually("the gateway leads to the store", async || {
                // Nobody is signed in: the store's own answer.
                let answer = api.get("/api/v1/projects").await;
                Ok(answer.is_ok_and(|answer| answer.status.as_u16() == 401).then_some(()))
            });
            leads.await.with_context(|| gateway.output())?;
        }
        Ok(())
    }

    /// The ends of the outputs of all programs, for the message of a failed test.
    pub fn output(&mut self) -> String {
        self.services().map(|service| service.output()).collect::<Vec<_>>().join("\n")
    }
}
