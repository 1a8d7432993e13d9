//! With the database away. Another writer that holds the file's lock is such a database.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Result;
use serde_json::{Value, json};
use sker_api::Ctx;
use sker_db::{Db, DbConfig};
use sker_error::Code;
use sker_registry::{
    app::{
        AccessRules, Anonymous, Directory, Durability, Filter, Scope, Storage, SystemClock,
        engine::{Engine, ExpiryRules, WorkingSet},
        input::LeaseDefaults,
    },
    migration::Migrator,
    store::{EventPolicy, WriteBehind, load},
};
use sker_types::Principal;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::{instance, instance_with};

struct Registry {
    directory: Directory,
    storage: Arc<WriteBehind>,
    scope: Scope,
    stop: CancellationToken,
    writing: JoinHandle<()>,
}

async fn open(file: &Path) -> Result<Db> {
    Ok(Db::connect(&DbConfig { busy_timeout_ms: 20, ..DbConfig::sqlite(file) }).await?)
}

impl Registry {
    async fn open(file: &Path) -> Result<Registry> {
        let db = open(file).await?;
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

    async fn found(&self, service: &str) -> Result<usize> {
        let found = self.directory.discover(&self.scope, "", service, Filter::default(), None).await?;
        Ok(found.snapshot.instances.len())
    }
}

#[tokio::test]
async fn with_the_database_away_lookups_and_leases_go_on_and_nothing_is_lost() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("registry.db");
    let registry = Registry::open(&file).await?;
    assert!(registry.register(instance("a", 7001)).await?);
    let stored_before = instance_with("c", 7004, json!({"ephemeral": false}));
    assert!(registry.register(stored_before.clone()).await?);

    let other = open(&file).await?;
    let lock = other.begin().await?;
    assert!(!registry.register(instance("a", 7002)).await?, "in memory only, and it is said so");
    assert_eq!(registry.found("a").await?, 2);
    let persistent = instance_with("b", 7003, json!({"ephemeral": false}));
    let refused = registry.register(persistent.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert_eq!(registry.found("b").await?, 0, "what was refused is not there");
    assert!(registry.register(stored_before).await?, "what is stored may register again");
    let group = registry.directory.create_group(&registry.scope, json!({"groupName": "g"})).await.unwrap_err();
    assert_eq!(group.code(), Code::Unavailable);
    lock.rollback().await?;

    sker_testkit::eventually("the database is written again", async || {
        Ok((registry.storage.is_available() && registry.storage.backlog() == 0).then_some(()))
    })
    .await?;
    assert!(registry.register(persistent).await?);
    registry.stop.cancel();
    registry.writing.await?;
    let mut stored: Vec<u16> =
        load(&other).await?.instances.iter().map(|stored| stored.registration.spec.port).collect();
    stored.sort_unstable();
    assert_eq!(stored, [7001, 7002, 7003, 7004]);
    Ok(())
}

#[tokio::test]
async fn a_persistent_instance_that_cannot_be_stored_is_taken_back() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("registry.db");
    let registry = Registry::open(&file).await?;
    let other = open(&file).await?;
    let lock = other.begin().await?;
    // Nobody knows yet that the database is away: this one finds out.
    let persistent = instance_with("b", 7003, json!({"ephemeral": false}));
    assert_eq!(registry.register(persistent).await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(registry.found("b").await?, 0);
    let service = registry.directory.create_service(&registry.scope, json!({"serviceName": "c"})).await;
    assert_eq!(service.unwrap_err().code(), Code::Unavailable);
    lock.rollback().await?;
    registry.stop.cancel();
    registry.writing.await?;
    assert!(load(&other).await?.instances.is_empty());
    Ok(())
}
