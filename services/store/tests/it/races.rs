//! What several do at the same time: one of them wins, and nothing is left half way.

use std::collections::{BTreeSet, HashSet};

use anyhow::{Context as _, Result, ensure};
use futures::future::{join_all, try_join, try_join_all};
use serde_json::{Value, json};
use sker_error::Code;
use sker_testkit::{Answer, Api, eventually};

use super::support::{PASSWORD, World, ids, lease_of, rows};

/// Nobody is told that the store has failed, whatever else they are told.
fn assert_no_fault(answers: &[Answer]) {
    for answer in answers {
        assert!(!answer.status.is_server_error(), "{}: {}", answer.status, answer.text);
    }
}

fn count(answers: &[Answer], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status == status).count()
}

#[tokio::test]
async fn of_many_who_change_the_same_version_one_does() -> Result<()> {
    let world = World::new().await?;
    let node = world.node("contested").await?;
    let path = format!("/api/v1/nodes/{node}");
    let patches = (0..8).map(|number| {
        let (user, path) = (world.user.clone(), path.clone());
        async move { user.patch(&path, &json!({"title": format!("by {number}")}), Some("\"1\"")).await }
    });
    let answers = try_join_all(patches).await?;
    assert_eq!((count(&answers, 200), count(&answers, 412)), (1, 7), "{answers:?}");
    let winner = answers.iter().find(|answer| answer.status == 200).context("a winner")?;
    assert_eq!(world.node_now(&node).await?, winner.body);
    Ok(())
}

#[tokio::test]
async fn changes_that_ask_for_no_version_are_all_made_one_after_the_other() -> Result<()> {
    let world = World::new().await?;
    let node = world.node("busy").await?;
    let path = format!("/api/v1/nodes/{node}");
    let patches = (0..8).map(|number| {
        let (user, path) = (world.user.clone(), path.clone());
        async move { user.patch(&path, &json!({"metadata": {format!("m{number}"): true}}), None).await }
    });
    let answers = try_join_all(patches).await?;
    assert_eq!(count(&answers, 200), 8, "{answers:?}");
    let now = world.node_now(&node).await?;
    assert_eq!(now["version"], 9);
    assert_eq!(now["metadata"].as_object().map(serde_json::Map::len), Some(8), "none undoes another: {now}");
    assert_eq!(world.versions(&node).await?.len(), 9);
    Ok(())
}

#[tokio::test]
async fn an_edge_that_many_make_at_once_is_made_once() -> Result<()> {
    let world = World::new().await?;
    let (one, two) = (world.node("one").await?, world.node("two").await?);
    let body = json!({"source_node_id": one, "target_node_id": two, "type": "reference"});
    let attempts = (0..8).map(|_| {
        let (user, path, body) = (world.user.clone(), world.path("/connections"), body.clone());
        async move { user.post(&path, &body).await }
    });
    let answers = try_join_all(attempts).await?;
    assert_eq!((count(&answers, 201), count(&answers, 409)), (1, 7), "{answers:?}");
    Ok(())
}

#[tokio::test]
async fn no_edge_outlives_its_nodes() -> Result<()> {
    let world = World::new().await?;
    for round in 0..12 {
        let mut nodes = Vec::new();
        for name in ["a", "b", "c"] {
            nodes.push(world.node(&format!("{name}{round}")).await?);
        }
        let [a, b, c] = [&nodes[0], &nodes[1], &nodes[2]];
        let edge = world.connection(b, c).await?;
        let delete = |path: String| {
            let user = world.user.clone();
            async move { user.delete(&path).await }
        };
        let post = |path: String, body: Value| {
            let user = world.user.clone();
            async move { user.post(&path, &body).await }
        };
        let patch = |path: String, body: Value| {
            let user = world.user.clone();
            async move { user.patch(&path, &body, None).await }
        };
        let answers = tokio::try_join!(
            delete(format!("/api/v1/nodes/{a}")),
            post(world.path("/connections"), json!({"source_node_id": b, "target_node_id": a})),
            post(world.path("/connections"), json!({"source_node_id": a, "target_node_id": c})),
            patch(format!("/api/v1/connections/{edge}"), json!({"source_node_id": c, "target_node_id": a})),
            patch(format!("/api/v1/connections/{edge}"), json!({"weight": 0.5})),
            post(world.path("/nodes:batch"), json!({"delete": [c]})),
        )?;
        assert_no_fault(&[answers.0, answers.1, answers.2, answers.3, answers.4, answers.5]);
        let canvas = world.user.get(&world.path("/canvas")).await?.expect(200)?.body;
        let all = |what: &str, member: &str| -> Vec<String> {
            let rows = canvas[what].as_array().map(Vec::as_slice).unwrap_or_default();
            rows.iter().filter_map(|row| row[member].as_str().map(str::to_owned)).collect()
        };
        let living: HashSet<String> = all("nodes", "id").into_iter().collect();
        assert!(living.contains(b) && !living.contains(a) && !living.contains(c), "{canvas}");
        for end in all("connections", "source_node_id").into_iter().chain(all("connections", "target_node_id")) {
            assert!(living.contains(&end), "an edge to a node that is gone: {canvas}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn administrators_who_demote_each_other_leave_one() -> Result<()> {
    let world = World::new().await?;
    let first = world.store.admin().await?;
    let first_id = first.get("/api/v1/auth/me").await?.expect(200)?.string("id")?;
    let second_id = world.user_id.to_string();
    let promoted = first.patch(&user_path(&second_id), &json!({"role": "admin"}), None).await?.expect(200)?;
    let second = world.store.http.log_in(&promoted.string("email")?, PASSWORD).await?;
    for body in [json!({"role": "user"}), json!({"is_active": false})].iter().cycle().take(10) {
        let demote = |by: &Api, whom: &str| {
            let (by, path, body) = (by.clone(), user_path(whom), body.clone());
            async move { by.patch(&path, &body, None).await }
        };
        let (one, two) = try_join(demote(&first, &second_id), demote(&second, &first_id)).await?;
        assert_no_fault(&[one, two]);
        let left = first.get("/api/v1/users?role=admin&is_active=true").await?.expect(200)?;
        ensure!(!rows(&left)?.is_empty(), "nobody is left who could make an administrator");
        for id in [&first_id, &second_id] {
            let body = json!({"role": "admin", "is_active": true});
            first.patch(&user_path(id), &body, None).await?.expect(200).or_else(|_| anyhow::bail!("not restored"))?;
        }
        assert_eq!(ids(&first.get("/api/v1/users?role=admin&is_active=true").await?)?.len(), 2);
    }
    Ok(())
}

fn user_path(id: &str) -> String {
    format!("/api/v1/users/{id}")
}

#[tokio::test]
async fn a_refresh_token_that_many_use_at_once_is_good_for_one_and_then_for_nobody() -> Result<()> {
    let world = World::new().await?;
    let email = world.user.get("/api/v1/auth/me").await?.string("email")?;
    let body = json!({"email": email, "password": PASSWORD});
    let session = world.store.http.post("/api/v1/auth/login", &body).await?.expect(200)?;
    let body = json!({"refresh_token": session.string("refresh_token")?});
    let uses = (0..6).map(|_| {
        let (http, body) = (world.store.http.clone(), body.clone());
        async move { http.post("/api/v1/auth/refresh", &body).await }
    });
    let answers = try_join_all(uses).await?;
    assert_eq!((count(&answers, 200), count(&answers, 401)), (1, 5), "{answers:?}");
    let winner = answers.iter().find(|answer| answer.status == 200).context("a winner")?;
    let body = json!({"refresh_token": winner.string("refresh_token")?});
    world.store.http.post("/api/v1/auth/refresh", &body).await?.expect_problem(401, "unauthenticated")?;
    Ok(())
}

#[tokio::test]
async fn no_session_that_is_opened_while_its_account_is_locked_survives() -> Result<()> {
    let world = World::new().await?;
    let admin = world.store.admin().await?;
    let email = world.user.get("/api/v1/auth/me").await?.string("email")?;
    let path = user_path(&world.user_id.to_string());
    for _ in 0..6 {
        let sign_in = json!({"email": email, "password": PASSWORD});
        let (signed_in, locked) = try_join(
            world.store.http.post("/api/v1/auth/login", &sign_in),
            admin.patch(&path, &json!({"is_active": false}), None),
        )
        .await?;
        locked.expect(200)?;
        admin.patch(&path, &json!({"is_active": true}), None).await?.expect(200)?;
        if signed_in.status == 200 {
            let body = json!({"refresh_token": signed_in.string("refresh_token")?});
            world.store.http.post("/api/v1/auth/refresh", &body).await?.expect_problem(401, "unauthenticated")?;
        } else {
            signed_in.expect_problem(401, "unauthenticated")?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_task_that_is_completed_and_cancelled_at_once_ends_once() -> Result<()> {
    let world = World::new().await?;
    let broker = world.broker("b");
    for _ in 0..12 {
        let task = world.task(json!({})).await?;
        let lease = lease_of(&broker.claim(&task).await?);
        let (user, path) = (world.user.clone(), format!("/api/v1/ai-tasks/{task}/cancel"));
        let (output, nothing) = (json!({"tags": []}), json!({}));
        let (completed, cancelled) = tokio::join!(broker.complete(&lease, &output), user.post(&path, &nothing));
        let cancelled = cancelled?;
        let now = world.task_now(&task).await?;
        match completed {
            Ok(repeated) => {
                assert!(!repeated);
                cancelled.expect_problem(409, "conflict")?;
                assert_eq!(now["status"], "completed");
            }
            Err(error) => {
                assert_eq!(error.code(), Code::Conflict, "{error:?}");
                cancelled.expect(200)?;
                assert_eq!(now["status"], "cancelled");
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_task_that_is_claimed_and_cancelled_at_once_is_one_or_the_other() -> Result<()> {
    let world = World::new().await?;
    for round in 0..12 {
        let task = world.task(json!({})).await?;
        let path = format!("/api/v1/ai-tasks/{task}/cancel");
        let brokers = [world.broker(&format!("one {round}")), world.broker(&format!("two {round}"))];
        let claims = join_all(brokers.iter().map(|broker| broker.ask_for(&task, 600_000)));
        let body = json!({});
        let (claims, cancelled) = tokio::join!(claims, world.user.post(&path, &body));
        cancelled?.expect(200)?;
        let mut epochs = BTreeSet::new();
        for (broker, claim) in brokers.iter().zip(claims) {
            if let Some(claimed) = claim?.tasks.first() {
                assert!(epochs.insert(claimed.lease_epoch), "two have the same claim");
                assert_eq!(broker.renew(&lease_of(claimed)).await?.as_deref(), Some("cancelled"));
            }
        }
        assert!(epochs.len() <= 1, "{epochs:?}");
        assert_eq!(world.task_now(&task).await?["status"], "cancelled");
    }
    Ok(())
}

#[tokio::test]
async fn many_brokers_that_take_what_is_there_get_every_task_once() -> Result<()> {
    const TASKS: usize = 60;
    let world = World::new().await?;
    let mut made = BTreeSet::new();
    for _ in 0..TASKS {
        made.insert(world.task(json!({})).await?);
    }
    let claimers = (0..8).map(|number| {
        let broker = world.broker(&format!("b{number}"));
        async move {
            let mut got = Vec::new();
            loop {
                let tasks = broker.claim_any(3).await?;
                if tasks.is_empty() {
                    return Ok::<_, anyhow::Error>(got);
                }
                got.extend(tasks.into_iter().map(|task| task.id));
            }
        }
    });
    let mut got: Vec<String> = try_join_all(claimers).await?.into_iter().flatten().collect();
    // Whoever found all locked by others has given up early.
    let last = world.broker("last");
    eventually("nothing is left to be claimed", async || {
        got.extend(last.claim_any(200).await?.into_iter().map(|task| task.id));
        Ok((got.len() >= TASKS).then_some(()))
    })
    .await?;
    assert_eq!(got.len(), TASKS, "none was claimed twice");
    assert_eq!(got.into_iter().collect::<BTreeSet<_>>(), made);
    Ok(())
}

#[tokio::test]
async fn a_key_that_is_used_many_times_at_once_makes_one_task() -> Result<()> {
    let world = World::new().await?;
    let body = json!({"type": "semantic_analysis", "input_data": {"inputs": ["One sentence."]}});
    let attempts = (0..8).map(|_| {
        let request = world.user.request(reqwest::Method::POST, &world.path("/ai-tasks")).json(&body);
        let user = world.user.clone();
        async move { user.send(request.header("Idempotency-Key", "the-same")).await }
    });
    let answers = try_join_all(attempts).await?;
    let made: BTreeSet<String> = answers.iter().map(|answer| answer.string("id")).collect::<Result<_>>()?;
    assert_eq!(made.len(), 1, "{answers:?}");
    assert_eq!(ids(&world.user.get(&world.path("/ai-tasks")).await?)?.len(), 1);
    Ok(())
}
