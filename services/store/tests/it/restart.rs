//! Stopping and starting again on the same data.

use std::collections::HashSet;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use sker_bus::topology;
use sker_testkit::eventually;

use super::support::{PASSWORD, Setup, Wakes, World, lease_of, rows};

#[tokio::test]
async fn a_restart_keeps_everything() -> Result<()> {
    let world = World::new().await?;
    let (one, two) = (world.node("one").await?, world.node("two").await?);
    world.user.patch(&format!("/api/v1/nodes/{one}"), &json!({"content": "changed"}), None).await?.expect(200)?;
    let edge = world.connection(&one, &two).await?;
    let task = world.task(json!({"type": "content_generation", "node_id": two})).await?;
    let lease = lease_of(&world.broker("b").claim(&task).await?);
    let output = json!({"text": "made", "title": "t", "engine": "test", "generative": true, "usage": {}});
    world.broker("b").complete(&lease, &output).await?;
    let email = world.user.get("/api/v1/auth/me").await?.expect(200)?.string("email")?;
    let body = json!({"email": email, "password": PASSWORD});
    let session = world.store.http.post("/api/v1/auth/login", &body).await?.expect(200)?;
    let page = world.user.get(&format!("{}?limit=1", world.path("/nodes"))).await?.expect(200)?;

    let paths = [
        world.path(""),
        format!("/api/v1/nodes/{one}"),
        format!("/api/v1/nodes/{two}"),
        format!("/api/v1/nodes/{one}/versions"),
        format!("/api/v1/connections/{edge}"),
        format!("/api/v1/ai-tasks/{task}"),
        "/api/v1/auth/me".to_owned(),
    ];
    let read = async |world: &World| -> Result<Vec<(Value, Option<String>)>> {
        let mut found = Vec::new();
        for path in &paths {
            let answer = world.user.get(path).await?.expect(200).context(path.clone())?;
            found.push((answer.body.clone(), answer.header("etag").map(str::to_owned)));
        }
        Ok(found)
    };
    let before = read(&world).await?;
    let world = world.restart(Setup::after_a_crash).await?;
    assert_eq!(read(&world).await?, before);

    let next = format!("{}?limit=1&cursor={}", world.path("/nodes"), page.string("next_cursor")?);
    let next = world.user.get(&next).await?.expect(200)?;
    assert_eq!(next.body["data"][0]["id"], two, "a walk goes on where it was");
    let body = json!({"refresh_token": session.body["refresh_token"]});
    world.store.http.post("/api/v1/auth/refresh", &body).await?.expect(200)?;
    world.store.http.log_in(&email, PASSWORD).await?;
    world.store.admin().await?;
    assert!(world.broker("b").complete(&lease, &output).await?, "a repeated call is known as one");
    Ok(())
}

#[tokio::test]
async fn unfinished_tasks_are_woken_at_the_start_and_no_others() -> Result<()> {
    let world = World::new().await?;
    let broker = world.broker("b");
    let queued = world.queued_task(json!({})).await?;
    let completed = world.queued_task(json!({})).await?;
    broker.complete(&lease_of(&broker.claim(&completed).await?), &json!({"tags": []})).await?;
    let cancelled = world.queued_task(json!({})).await?;
    world.user.post(&format!("/api/v1/ai-tasks/{cancelled}/cancel"), &json!({})).await?.expect(200)?;
    let failed = world.queued_task(json!({})).await?;
    broker.fail(&lease_of(&broker.claim(&failed).await?), false, 0).await?;
    let held = world.queued_task(json!({})).await?;
    let lease = lease_of(&broker.claim(&held).await?);
    let later = world.task(json!({"scheduled_at": "2999-01-01T00:00:00Z"})).await?;

    let world = world.restart(Setup::after_a_crash).await?;
    let mut wakes = Wakes::of(&*world.store.setup.bus, topology::PROCESS_QUEUE).await?;
    wakes.until(&queued).await?;
    let marker = world.task(json!({})).await?;
    let mut woken = HashSet::new();
    loop {
        let task = wakes.next().await?.task_id.to_string();
        if task == marker {
            break;
        }
        woken.insert(task);
    }
    for task in [&completed, &cancelled, &failed, &held, &later] {
        assert!(!woken.contains(task), "{}", world.task_now(task).await?);
    }
    // Its broker is alive, and a restart of the store is no reason to take anything away from it.
    let broker = world.broker("b");
    assert_eq!(broker.renew(&lease).await?, None);
    assert!(!broker.complete(&lease, &json!({"tags": []})).await?);
    assert_eq!(world.task_now(&later).await?["status"], "pending");
    Ok(())
}

#[tokio::test]
async fn a_task_whose_broker_died_with_the_store_runs_again() -> Result<()> {
    let world = World::new().await?;
    let silent = world.queued_task(json!({})).await?;
    world.broker("old").claim_for(&silent, 300).await?;
    let known = world.queued_task(json!({})).await?;
    world.broker("dead").claim(&known).await?;

    let world = world.restart(Setup::after_a_crash).await?;
    let mut wakes = Wakes::of(&*world.store.setup.bus, topology::PROCESS_QUEUE).await?;
    // The next broker says that its predecessor is gone; of the other one nobody knows anything.
    assert_eq!(world.broker("dead").release_all().await?, 1);
    let mut woken = HashSet::new();
    while !(woken.contains(&silent) && woken.contains(&known)) {
        woken.insert(wakes.next().await?.task_id.to_string());
    }
    for task in [&silent, &known] {
        let claimed = world.broker("new").claim(task).await?;
        assert_eq!((claimed.lease_epoch, claimed.attempts), (2, 1));
    }
    Ok(())
}

#[tokio::test]
async fn a_store_that_stops_finishes_what_is_in_flight() -> Result<()> {
    let world = World::new().await?;
    let user = world.user.clone();
    let path = world.path("/nodes");
    let writer = tokio::spawn(async move {
        let mut made = HashSet::new();
        loop {
            let body = json!({"title": "under load", "content": "x"});
            match user.post(&path, &body).await {
                Ok(answer) if answer.status == 201 => made.insert(answer.string("id").unwrap_or_default()),
                // Refused or not connected: the store is going.
                _ => return made,
            };
        }
    });
    eventually("the writer is at work", async || {
        let page = world.user.get(&world.path("/nodes?limit=20")).await?.expect(200)?;
        Ok((rows(&page)?.len() == 20).then_some(()))
    })
    .await?;
    let world = world.restart(Setup::after_a_crash).await?;
    let made = writer.await?;
    for node in made {
        world.node_now(&node).await.context("what was acknowledged is there")?;
    }
    Ok(())
}
