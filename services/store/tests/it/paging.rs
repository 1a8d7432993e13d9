//! Keyset pages.

use std::collections::HashSet;

use anyhow::{Context as _, Result};
use serde_json::json;
use sker_testkit::{Answer, Api};

use super::support::{World, ids, rows, text};

/// Where the `Link` header says the next page is.
fn next_link(page: &Answer) -> Result<Option<String>> {
    let Some(link) = page.header("link") else { return Ok(None) };
    let (target, parameters) = link.split_once(';').context("a target and its parameters")?;
    anyhow::ensure!(parameters.trim() == "rel=\"next\"", "Link: {link}");
    let target = target.trim().strip_prefix('<').and_then(|target| target.strip_suffix('>'));
    Ok(Some(target.with_context(|| format!("Link: {link}"))?.to_owned()))
}

/// Walks a list to its end by its `Link` headers, calling `between` after each page with the page's last id; answers the
/// ids and the times of all rows in order.
async fn walk(api: &Api, path: &str, between: impl AsyncFn(&str) -> Result<()>) -> Result<Vec<(String, String)>> {
    let mut walked = Vec::new();
    let mut next = Some(path.to_owned());
    while let Some(path) = next {
        let page = api.get(&path).await?.expect(200)?;
        for row in rows(&page)? {
            walked.push((text(row, "id")?.to_owned(), text(row, "created_at")?.to_owned()));
        }
        next = next_link(&page)?;
        assert_eq!(page.body["next_cursor"].is_string(), next.is_some(), "{}", page.text);
        if let (Some((last, _)), true) = (walked.last(), next.is_some()) {
            between(last).await?;
        }
        anyhow::ensure!(walked.len() < 10_000, "the walk has no end");
    }
    Ok(walked)
}

/// 20 nodes of one moment and 13 of different ones.
async fn nodes(world: &World) -> Result<HashSet<String>> {
    let create: Vec<_> = (0..20).map(|number| json!({"title": format!("together {number}")})).collect();
    world.user.post(&world.path("/nodes:batch"), &json!({"create": create})).await?.success()?;
    for number in 0..13 {
        world.node(&format!("alone {number}")).await?;
    }
    Ok(ids(&world.user.get(&world.path("/nodes?limit=200")).await?.expect(200)?)?.into_iter().collect())
}

#[tokio::test]
async fn a_walk_loses_and_repeats_nothing_while_rows_are_inserted() -> Result<()> {
    let world = World::new().await?;
    let before = nodes(&world).await?;
    assert_eq!(before.len(), 33);
    for sort in ["", "&sort=created_at", "&sort=-created_at"] {
        let path = format!("{}?limit=7{sort}", world.path("/nodes"));
        let walked = walk(&world.user, &path, async |_| {
            let create = json!([{"title": "meanwhile"}, {"title": "at the same time"}]);
            world.user.post(&world.path("/nodes:batch"), &json!({"create": create})).await?.success()?;
            Ok(())
        })
        .await
        .with_context(|| path.clone())?;
        let distinct: HashSet<&String> = walked.iter().map(|(id, _)| id).collect();
        assert_eq!(distinct.len(), walked.len(), "{path}: nothing twice");
        assert!(before.iter().all(|id| distinct.contains(id)), "{path}: nothing lost");
        let times: Vec<&String> = walked.iter().map(|(_, time)| time).collect();
        let ordered = match sort {
            "&sort=-created_at" => times.is_sorted_by(|one, next| one >= next),
            _ => times.is_sorted(),
        };
        assert!(ordered, "{path}: {times:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_walk_goes_on_when_the_row_it_was_at_is_deleted_or_changed() -> Result<()> {
    let world = World::new().await?;
    let before = nodes(&world).await?;
    let path = format!("{}?limit=5", world.path("/nodes"));
    let walked = walk(&world.user, &path, async |last| {
        world.user.delete(&format!("/api/v1/nodes/{last}")).await?.expect(204)?;
        Ok(())
    })
    .await?;
    let walked: Vec<String> = walked.into_iter().map(|(id, _)| id).collect();
    assert_eq!(walked.len(), before.len());
    assert_eq!(walked.into_iter().collect::<HashSet<_>>(), before);
    Ok(())
}

#[tokio::test]
async fn every_list_has_pages() -> Result<()> {
    let world = World::new().await?;
    let mut made = Vec::new();
    for number in 0..5 {
        made.push(world.node(&format!("{number}")).await?);
        world.user.create_project(&format!("{number}")).await?;
        world.task(json!({})).await?;
        let change = json!({"content": format!("change {number}")});
        world.user.patch(&format!("/api/v1/nodes/{}", made[0]), &change, None).await?.expect(200)?;
    }
    for number in 0..4 {
        world.connection(&made[number], &made[number + 1]).await?;
    }
    for (list, expected) in [
        ("/api/v1/projects".to_owned(), 6),
        ("/api/v1/nodes".to_owned(), 5),
        ("/api/v1/connections".to_owned(), 4),
        ("/api/v1/ai-tasks".to_owned(), 5),
        (world.path("/nodes"), 5),
        (world.path("/connections"), 4),
        (world.path("/ai-tasks"), 5),
        (format!("/api/v1/nodes/{}/versions", made[0]), 6),
    ] {
        for limit in [1, 2, expected, expected + 1] {
            let mut found = 0;
            let mut next = Some(format!("{list}?limit={limit}"));
            while let Some(path) = next {
                let page = world.user.get(&path).await?.expect(200).with_context(|| path.clone())?;
                found += rows(&page)?.len();
                next = next_link(&page)?;
            }
            assert_eq!(found, expected, "{list} by {limit}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_cursor_that_was_not_given_out_for_this_list_is_refused() -> Result<()> {
    let world = World::new().await?;
    nodes(&world).await?;
    let list = world.path("/nodes");
    let page = world.user.get(&format!("{list}?limit=5")).await?.expect(200)?;
    let cursor = page.string("next_cursor")?;
    world.user.get(&format!("{list}?limit=5&cursor={cursor}")).await?.expect(200)?;
    // Another size of page is the same list.
    world.user.get(&format!("{list}?limit=9&cursor={cursor}")).await?.expect(200)?;

    let changed = |at: usize| -> String {
        let mut bytes = cursor.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).unwrap_or_default()
    };
    let other = world.user.create_project("other").await?;
    for path in [
        format!("{list}?cursor={}", changed(0)),
        format!("{list}?cursor={}", changed(cursor.len() / 2)),
        format!("{list}?cursor={}", &cursor[1..]),
        format!("{list}?cursor={cursor}AAAA"),
        format!("{list}?cursor=nonsense"),
        format!("{list}?cursor=%00"),
        format!("{list}?cursor={cursor}&sort=-created_at"),
        format!("{list}?cursor={cursor}&status=idle"),
        format!("{}?cursor={cursor}", world.path("/connections")),
        format!("/api/v1/projects?cursor={cursor}"),
        format!("/api/v1/projects/{other}/nodes?cursor={cursor}"),
    ] {
        let refused = world.user.get(&path).await?.expect_problem(400, "validation_failed").context(path)?;
        assert_eq!(refused.field_errors(), ["cursor"]);
    }
    Ok(())
}

#[tokio::test]
async fn a_page_has_fifty_rows_unless_it_is_told() -> Result<()> {
    let world = World::new().await?;
    let create: Vec<_> = (0..60).map(|number| json!({"title": format!("{number}")})).collect();
    world.user.post(&world.path("/nodes:batch"), &json!({"create": create})).await?.success()?;
    for (query, expected) in [("", 50), ("?limit=200", 60)] {
        let page = world.user.get(&world.path(&format!("/nodes{query}"))).await?.expect(200)?;
        assert_eq!(rows(&page)?.len(), expected);
    }
    Ok(())
}
