use std::sync::{Arc, atomic::Ordering};

use prometheus::{
    IntCounter, IntGauge,
    core::{Collector, Desc},
    proto::MetricFamily,
};
use sker_telemetry::Metrics;

use crate::{app::engine::Engine, store::WriteBehind};

/// Reads the engine's numbers when somebody looks, so that heartbeats count without a second counter.
struct EngineCollector {
    engine: Arc<Engine>,
    storage: Arc<WriteBehind>,
    services: IntGauge,
    instances: IntGauge,
    backlog: IntGauge,
    registrations: IntCounter,
    deregistrations: IntCounter,
    expirations: IntCounter,
    heartbeats: IntCounter,
    stalls: IntCounter,
}

/// Adds the registry's own metrics.
pub(crate) fn register(metrics: &Metrics, engine: &Arc<Engine>, storage: &Arc<WriteBehind>) -> anyhow::Result<()> {
    let collector = EngineCollector {
        engine: engine.clone(),
        storage: storage.clone(),
        services: IntGauge::new("registry_services", "Services that are known.")?,
        instances: IntGauge::new("registry_instances", "Instances that are registered.")?,
        backlog: IntGauge::new("registry_unstored_rows", "Rows that wait for the database.")?,
        registrations: IntCounter::new("registry_registrations_total", "New instances.")?,
        deregistrations: IntCounter::new("registry_deregistrations_total", "Instances taken out by request.")?,
        expirations: IntCounter::new("registry_expirations_total", "Instances removed because their leases ran out.")?,
        heartbeats: IntCounter::new("registry_heartbeats_total", "Leases renewed.")?,
        stalls: IntCounter::new("registry_forgiven_stalls_total", "Pauses of the registry that leases were forgiven.")?,
    };
    metrics.registry().register(Box::new(collector))?;
    Ok(())
}

impl EngineCollector {
    fn update(&self) {
        let (services, instances) = self.engine.sizes();
        let gauge = |gauge: &IntGauge, value: usize| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        gauge(&self.services, services);
        gauge(&self.instances, instances);
        gauge(&self.backlog, self.storage.backlog());
        let counters = self.engine.counters();
        for (counter, value) in [
            (&self.registrations, &counters.registrations),
            (&self.deregistrations, &counters.deregistrations),
            (&self.expirations, &counters.expirations),
            (&self.heartbeats, &counters.heartbeats),
            (&self.stalls, &counters.stalls),
        ] {
            counter.inc_by(value.load(Ordering::Relaxed).saturating_sub(counter.get()));
        }
    }

    fn parts(&self) -> [&dyn Collector; 8] {
        [
            &self.services,
            &self.instances,
            &self.backlog,
            &self.registrations,
            &self.deregistrations,
            &self.expirations,
            &self.heartbeats,
            &self.stalls,
        ]
    }
}

impl Collector for EngineCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.parts().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.update();
        self.parts().into_iter().flat_map(Collector::collect).collect()
    }
}
