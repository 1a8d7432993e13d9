use std::{collections::BTreeSet, sync::Arc};

use sker_error::Result;

use super::{
    access::Scope,
    directory::Directory,
    engine::Snapshot,
    model::{Health, Status},
    storage::EventQuery,
    view::{EventView, HealthStats, InstanceStats, Stats},
};

impl Directory {
    /// The whole in numbers, as far as the caller may see it. What is counted over all tenants is in the metrics only.
    pub fn stats(&self, scope: &Scope) -> Stats {
        let services = self.visible(scope);
        let groups: BTreeSet<_> = services.iter().map(|service| service.key.group.clone()).collect();
        let explicit = self.engine.groups(scope.tenant()).into_iter().filter(|(name, entry)| {
            entry.is_some() && scope.may_read(name, entry.as_deref()) && !groups.contains(name)
        });
        Stats {
            tenant_id: scope.tenant().to_owned(),
            groups: groups.len() + explicit.count(),
            services: services.len(),
            instances: services.iter().map(|service| service.instances.len()).sum(),
            healthy_instances: services.iter().map(|service| service.healthy()).sum(),
        }
    }

    /// Instances in numbers.
    pub fn instance_stats(&self, scope: &Scope) -> InstanceStats {
        let mut stats = InstanceStats {
            by_status: Status::WORDS.iter().map(|word| (*word, 0)).collect(),
            by_health: Health::WORDS.iter().map(|word| (*word, 0)).collect(),
            ..InstanceStats::default()
        };
        for service in self.visible(scope) {
            *stats.by_group.entry(service.key.group.to_string()).or_default() += service.instances.len();
            for instance in &service.instances {
                stats.total += 1;
                *if instance.spec.ephemeral { &mut stats.ephemeral } else { &mut stats.persistent } += 1;
                *stats.by_status.entry(instance.status().as_str()).or_default() += 1;
                *stats.by_health.entry(instance.health().as_str()).or_default() += 1;
            }
        }
        stats
    }

    /// Health in numbers.
    pub fn health_stats(&self, scope: &Scope) -> HealthStats {
        let mut stats = HealthStats::default();
        for service in self.visible(scope) {
            let name = format!("{}/{}", service.key.group, service.key.service);
            if !service.instances.is_empty() && service.healthy() == 0 {
                stats.services_without_healthy_instance.push(name.clone());
            }
            if service.protected {
                stats.protected_services.push(name);
            }
            for instance in &service.instances {
                *match instance.health() {
                    Health::Healthy => &mut stats.healthy,
                    Health::Unhealthy => &mut stats.unhealthy,
                    Health::Unknown => &mut stats.unknown,
                } += 1;
            }
        }
        let total = stats.healthy + stats.unhealthy + stats.unknown;
        stats.healthy_ratio = if total == 0 { 1.0 } else { stats.healthy as f64 / total as f64 };
        stats
    }

    /// Stored events, newest first, and the cursor of the page of older ones.
    pub async fn events(&self, scope: &Scope, mut query: EventQuery) -> Result<(Vec<EventView>, Option<String>)> {
        query.tenant = scope.tenant().to_owned();
        if !query.group.is_empty() {
            self.readable_group(scope, &query.group)?;
        }
        if !scope.may_read(sker_api::PLATFORM_GROUP, None) {
            query.hidden_group = sker_api::PLATFORM_GROUP.to_owned();
        }
        let mut events = self.storage.events(&query).await?;
        // A page may be shorter than asked for where something is hidden; the cursor goes on behind all of it.
        let full = events.len() as u64 >= query.limit;
        let next_cursor = events.last().filter(|_| full).map(|event| event.revision.clone());
        let groups = self.engine.groups(scope.tenant());
        events.retain(|event| {
            let entry = groups.get(event.group_name.as_str()).and_then(Option::as_deref);
            scope.may_read(&event.group_name, entry)
        });
        Ok((events, next_cursor))
    }

    fn visible(&self, scope: &Scope) -> Vec<Arc<Snapshot>> {
        let mut services = self.engine.services(scope.tenant());
        services.retain(|service| {
            let entry = self.engine.group(&service.key.group_key());
            scope.may_read(&service.key.group, entry.as_deref())
        });
        services
    }
}
