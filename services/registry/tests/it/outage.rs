//! With the database away.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use sea_orm::{ConnectionTrait, sea_query::Table};
use serde_json::{Value, json};
use sker_api::Ctx;
use sker_db::Db;
use sker_error::Code;
use sker_registry::{
    app::{
        AccessRules, Anonymous, Directory, Durability, EventQuery, Filter, Scope, Storage, SystemClock,
        engine::{Engine, ExpiryRules, WorkingSet},
        input::LeaseDefaults,
    },
    migration::Migrator,
    store::{EventPolicy, WriteBehind, load},
};
use sker_types::Principal;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    backend::Outage,
    support::{instance, instance_with},
};

struct Registry {
    directory: Directory,
    storage: Arc<WriteBehind>,
    scope: Scope,
    stop: CancellationToken,
    writing: JoinHandle<()>,
}

impl Registry {
    async fn open(outage: &Outage) -> Result<Registry> {
        let db = Db::connect(&outage.config()).await?;
        db.migrate::<Migrator>().await?;
        let policy = EventPolicy { stored: true, retention: Duration::from_secs(3_600) };
        let storage = Arc::new(WriteBehind::new(db, policy));
        let stop = CancellationToken::new();
        let engine = Engine::new(
            Arc::new(SystemClock::new()),
            ExpiryRules::default(),
            100,
            storage.clone(),
            WorkingSet::default(),
            stop.clone(),
        );
        storage.begin_at(engine.boot());
        let access = AccessRules { auth_enabled: false, anonymous: Anonymous::Everybody };
        let directory =
            Directory::new(engine, storage.clone(), access, LeaseDefaults::default(), Durability::Committed);
        let scope = directory.admit(&Ctx::new(Principal::anonymous()), true)?;
        let (writer, token) = (storage.clone(), stop.clone());
        let writing = tokio::spawn(async move { writer.run(token).await });
        Ok(Registry { directory, storage, scope, stop, writing })
    }

    async fn register(&self, body: Value) -> Result<bool, sker_error::Error> {
        Ok(self.directory.register(&self.scope, body).await?.value.persisted)
    }

    async fn until_stored(&self) -> Result<()> {
        sker_testkit::eventually("the database is written again", async || {
            Ok((self.storage.is_available() && self.storage.backlog() == 0).then_some(()))
        })
        .await
    }

    async fn found(&self, service: &str) -> Result<usize> {
        let found = self.directory.discover(&self.scope, "", service, Filter::default(), None).await?;
        Ok(found.snapshot.instances.len())
    }
}

#[tokio::test]
async fn with_the_database_away_lookups_and_leases_go_on_and_nothing_is_lost() -> Result<()> {
    let mut outage = Outage::new().await?;
    let registry = Registry::open(&outage).await?;
    assert!(registry.register(instance("a", 7001)).await?);
    let known = registry.directory.discover(&registry.scope, "", "a", Filter::default(), None).await?;
    let id = known.snapshot.instances[0].id.to_string();
    let stored_before = instance_with("c", 7004, json!({"ephemeral": false}));
    assert!(registry.register(stored_before.clone()).await?);

    outage.begin().await?;
    assert!(!registry.register(instance("a", 7002)).await?, "in memory only, and it is said so");
    assert_eq!(registry.found("a").await?, 2);
    registry.directory.heartbeat(&registry.scope, &id, None)?;
    let persistent = instance_with("b", 7003, json!({"ephemeral": false}));
    let refused = registry.register(persistent.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert_eq!(registry.found("b").await?, 0, "what was refused is not there");
    assert!(registry.register(stored_before).await?, "what is stored may register again");
    let group = registry.directory.create_group(&registry.scope, json!({"groupName": "g"})).await.unwrap_err();
    assert_eq!(group.code(), Code::Unavailable);
    outage.end().await?;

    registry.until_stored().await?;
    assert!(registry.register(persistent).await?);
    registry.stop.cancel();
    registry.writing.await?;
    let mut stored: Vec<u16> = load(&Db::connect(&outage.config()).await?)
        .await?
        .instances
        .iter()
        .map(|stored| stored.registration.spec.port)
        .collect();
    stored.sort_unstable();
    assert_eq!(stored, [7001, 7002, 7003, 7004]);
    Ok(())
}

#[tokio::test]
async fn what_was_missed_is_written_however_much_it_is() -> Result<()> {
    let mut outage = Outage::new().await?;
    let registry = Registry::open(&outage).await?;
    outage.begin().await?;
    // Together more than a server takes in one statement (MariaDB: 16 MiB), and as deep as it may be.
    let filling = (1..19).fold(json!("x".repeat(60_000)), |inner, _| json!({"a": inner}));
    for port in 7001..7301 {
        registry.register(instance_with("a", port, json!({"metadata": {"filling": filling}}))).await?;
    }
    outage.end().await?;
    registry.until_stored().await?;
    let stored = load(&Db::connect(&outage.config()).await?).await?.instances;
    assert_eq!(stored.len(), 300);
    Ok(())
}

#[tokio::test]
async fn a_row_that_the_database_refuses_holds_up_no_other() -> Result<()> {
    let mut outage = Outage::new().await?;
    let registry = Registry::open(&outage).await?;
    let admin = Db::connect(&outage.config()).await?;
    admin.write().execute(Table::drop().table("HUB_REGISTRY_SERVICE_GROUP")).await?;
    admin.close().await;
    outage.begin().await?;
    for port in 7001..7011 {
        registry.register(instance("a", port)).await?;
    }
    registry.directory.create_group(&registry.scope, json!({"groupName": "g"})).await.unwrap_err();
    for port in 7011..7021 {
        registry.register(instance("a", port)).await?;
    }
    outage.end().await?;
    registry.until_stored().await?;
    let all = EventQuery { tenant: "default".to_owned(), service: "a".to_owned(), limit: 100, ..EventQuery::default() };
    let ports: Vec<u16> = registry.storage.events(&all).await?.iter().rev().map(|event| event.port_number).collect();
    assert_eq!(ports, (7001..7021).collect::<Vec<_>>());
    Ok(())
}

#[tokio::test]
async fn a_persistent_instance_that_cannot_be_stored_is_taken_back() -> Result<()> {
    let mut outage = Outage::new().await?;
    let registry = Registry::open(&outage).await?;
    outage.begin().await?;
    // Nobody knows yet that the database is away: this one finds out.
    let persistent = instance_with("b", 7003, json!({"ephemeral": false}));
    assert_eq!(registry.register(persistent).await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(registry.found("b").await?, 0);
    let service = registry.directory.create_service(&registry.scope, json!({"serviceName": "c"})).await;
    assert_eq!(service.unwrap_err().code(), Code::Unavailable);
    outage.end().await?;
    registry.stop.cancel();
    registry.writing.await?;
    assert!(load(&Db::connect(&outage.config()).await?).await?.instances.is_empty());
    Ok(())
}
