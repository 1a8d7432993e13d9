//! Keyset pages.

use std::collections::HashSet;

use anyhow::{Context, Result};
use sker_testkit::Api;

use crate::world::{World, rows, text};

/// Walks a list to its end, calling `between` after each page; answers the ids in order.
async fn walk(api: &Api, path: &str, between: impl AsyncFn() -> Result<()>) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let query = cursor.as_ref().map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        let page = api.get(&format!("{path}{query}")).await?.expect(200)?;
        for row in rows(&page.body)? {
            ids.push(text(row, "id")?.to_owned());
        }
        let next = page.body["next_cursor"].as_str().map(str::to_owned);
        let link = page.header("link").unwrap_or_default();
        assert_eq!(next.is_some(), link.contains("rel=\"next\"") || link.contains("rel=next"), "Link: {link}");
        match next {
            Some(next) => cursor = Some(next),
            None => return Ok(ids),
        }
        between().await?;
    }
}

#[tokio::test]
async fn a_page_walked_to_its_end_while_rows_are_inserted_loses_and_repeats_nothing() -> Result<()> {
    let world = World::new().await?;
    let project = world.user.create_project("canvas").await?;
    let mut before = HashSet::new();
    for number in 0..40 {
        before.insert(world.user.create_node(&project, &format!("node {number}"), "content").await?);
    }
    for sort in ["", "&sort=created_at", "&sort=-created_at"] {
        let path = format!("/api/v1/projects/{project}/nodes?limit=7{sort}");
        let walked = walk(&world.user, &path, async || {
            for _ in 0..2 {
                world.user.create_node(&project, "late", "inserted meanwhile").await?;
            }
            Ok(())
        })
        .await
        .with_context(|| path.clone())?;
        let distinct: HashSet<&String> = walked.iter().collect();
        assert_eq!(distinct.len(), walked.len(), "{path}: none twice");
        assert!(before.iter().all(|id| distinct.contains(id)), "{path}: none lost");
    }
    Ok(())
}

#[tokio::test]
async fn a_wrong_limit_cursor_filter_or_sort_is_refused() -> Result<()> {
    let world = World::new().await?;
    for query in ["limit=0", "limit=abc", "cursor=nonsense", "colour=red", "sort=colour"] {
        let refused = world.user.get(&format!("/api/v1/projects?{query}")).await?;
        assert_eq!(refused.status.as_u16(), 400, "{query}: {}", refused.text);
    }
    Ok(())
}
