//! ETag, If-Match and If-None-Match on every single resource.

use anyhow::{Context as _, Result};
use reqwest::Method;
use serde_json::{Value, json};

use super::support::World;

/// Paths of single resources, each with a change to it.
async fn resources(world: &World) -> Result<Vec<(String, [Value; 3])>> {
    let (one, two) = (world.node("one").await?, world.node("two").await?);
    let edge = world.connection(&one, &two).await?;
    let task = world.task(json!({"scheduled_at": "2999-01-01T00:00:00Z"})).await?;
    Ok(vec![
        (world.path(""), [json!({"name": "b"}), json!({"name": "c"}), json!({"name": "d"})]),
        (format!("/api/v1/nodes/{one}"), [json!({"title": "b"}), json!({"importance": 5}), json!({"content": "d"})]),
        (format!("/api/v1/connections/{edge}"), [json!({"weight": 0}), json!({"weight": 0.5}), json!({"weight": 1})]),
        (
            format!("/api/v1/ai-tasks/{task}"),
            [json!({"priority": "low"}), json!({"priority": "high"}), json!({"priority": "urgent"})],
        ),
        (
            format!("/api/v1/users/{}", world.user_id),
            [json!({"username": "bee"}), json!({"username": "cee"}), json!({"username": "dee"})],
        ),
    ])
}

#[tokio::test]
async fn a_stale_if_match_is_refused_and_changes_nothing() -> Result<()> {
    let world = World::new().await?;
    for (path, [first, second, third]) in resources(&world).await? {
        let read = world.user.get(&path).await?.expect(200).context(path.clone())?;
        let old = read.header("etag").context("an ETag")?.to_owned();
        let changed = world.user.patch(&path, &first, Some(&old)).await?.expect(200).context(path.clone())?;
        let new = changed.header("etag").context("an ETag")?.to_owned();
        assert_ne!(new, old, "{path}: every change makes a new ETag");

        let refused = world.user.patch(&path, &second, Some(&old)).await?;
        refused.expect_problem(412, "precondition_failed").context(path.clone())?;
        let weak = world.user.patch(&path, &second, Some(&format!("W/{new}"))).await?;
        weak.expect_problem(412, "precondition_failed").context("a weak tag matches no write")?;
        let nonsense = world.user.patch(&path, &second, Some("nonsense")).await?;
        nonsense.expect_problem(400, "invalid_request").context(path.clone())?;
        let now = world.user.get(&path).await?.expect(200)?;
        assert_eq!(now.body, changed.body, "{path}: nothing has changed");
        assert_eq!(now.header("etag"), Some(new.as_str()));

        let listed = format!("{old}, {new}");
        let changed = world.user.patch(&path, &second, Some(&listed)).await?.expect(200).context(path.clone())?;
        assert_ne!(changed.header("etag"), Some(new.as_str()));
        world.user.patch(&path, &third, Some("*")).await?.expect(200).context(path.clone())?;
    }
    Ok(())
}

#[tokio::test]
async fn a_client_that_has_the_newest_version_is_sent_no_body() -> Result<()> {
    let world = World::new().await?;
    for (path, [change, ..]) in resources(&world).await? {
        let tag = world.user.get(&path).await?.expect(200)?.header("etag").context("an ETag")?.to_owned();
        let read = |tag: &str| world.user.request(Method::GET, &path).header("If-None-Match", tag);
        for tag in [tag.clone(), format!("\"0\", {tag}"), format!("W/{tag}")] {
            let answer = world.user.send(read(&tag)).await?.expect(304).context(path.clone())?;
            assert_eq!(answer.text, "", "{path}");
            assert!(answer.header("etag").is_some(), "{path}");
        }
        world.user.patch(&path, &change, None).await?.expect(200)?;
        let answer = world.user.send(read(&tag)).await?.expect(200).context(path.clone())?;
        assert_ne!(answer.header("etag"), Some(tag.as_str()), "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn a_stale_if_match_deletes_nothing() -> Result<()> {
    let world = World::new().await?;
    let mut resources = resources(&world).await?;
    // The project last; accounts and unfinished tasks are not deleted like that.
    resources.truncate(3);
    resources.reverse();
    for (path, [change, ..]) in resources {
        let old = world.user.get(&path).await?.expect(200)?.header("etag").context("an ETag")?.to_owned();
        let changed = world.user.patch(&path, &change, None).await?.expect(200)?;
        let delete = |tag: &str| world.user.request(Method::DELETE, &path).header("If-Match", tag);
        world.user.send(delete(&old)).await?.expect_problem(412, "precondition_failed").context(path.clone())?;
        world.user.get(&path).await?.expect(200)?;
        let new = changed.header("etag").context("an ETag")?;
        world.user.send(delete(new)).await?.expect(204).context(path.clone())?;
        world.user.get(&path).await?.expect_problem(404, "not_found").context(path.clone())?;
    }
    Ok(())
}

#[tokio::test]
async fn of_two_who_edit_at_once_one_is_told() -> Result<()> {
    let world = World::new().await?;
    let path = format!("/api/v1/nodes/{}", world.node("one").await?);
    let tag = world.user.get(&path).await?.expect(200)?.header("etag").context("an ETag")?.to_owned();
    let edits = (0..8).map(|number| {
        let (user, path, tag) = (world.user.clone(), path.clone(), tag.clone());
        async move { user.patch(&path, &json!({"content": format!("edit {number}")}), Some(&tag)).await }
    });
    let answers = futures::future::try_join_all(edits).await?;
    let won: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(won.len(), 1);
    assert!(answers.iter().all(|answer| [200, 412].contains(&answer.status.as_u16())));
    assert_eq!(world.user.get(&path).await?.body["content"], won[0].body["content"]);
    Ok(())
}

#[tokio::test]
async fn what_is_updated_by_patch_says_so_to_put() -> Result<()> {
    let world = World::new().await?;
    for (path, [change, ..]) in resources(&world).await? {
        let refused = world.user.put(&path, &change).await?.expect_problem(405, "method_not_allowed");
        let refused = refused.with_context(|| path.clone())?;
        let allow = refused.header("allow").with_context(|| format!("{path}: an Allow header"))?;
        for method in ["GET", "PATCH"] {
            assert!(allow.split(',').any(|allowed| allowed.trim() == method), "{path}: {allow}");
        }
        assert!(!allow.contains("PUT"), "{path}: {allow}");
    }
    let refused = world.user.delete("/api/v1/projects").await?.expect_problem(405, "method_not_allowed")?;
    assert!(refused.header("allow").is_some_and(|allow| allow.contains("GET") && allow.contains("POST")));
    Ok(())
}

#[tokio::test]
async fn a_canvas_is_sent_again_when_anything_on_it_has_changed() -> Result<()> {
    let world = World::new().await?;
    let node = world.node("one").await?;
    let path = world.path("/canvas");
    for (changed, change) in
        [(world.path(""), json!({"name": "x"})), (format!("/api/v1/nodes/{node}"), json!({"title": "x"}))]
    {
        let tag = world.user.get(&path).await?.expect(200)?.header("etag").context("an ETag")?.to_owned();
        let read = || world.user.request(Method::GET, &path).header("If-None-Match", &tag);
        world.user.send(read()).await?.expect(304)?;
        world.user.patch(&changed, &change, None).await?.expect(200)?;
        world.user.send(read()).await?.expect(200).context(changed)?;
    }
    Ok(())
}
