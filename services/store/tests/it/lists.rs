use std::collections::HashSet;

use anyhow::Result;
use serde_json::{Value, json};
use sker_testkit::Api;

use crate::world::World;

fn titles(page: &Value) -> Vec<String> {
    page["data"].as_array().unwrap().iter().map(|node| node["title"].as_str().unwrap().to_owned()).collect()
}

/// Walks a list to its end by its `Link` headers; calls `between` before every page but the first.
async fn walk(api: &Api, path: &str, between: impl AsyncFn() -> Result<()>) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut next = Some(path.to_owned());
    while let Some(path) = next {
        if !found.is_empty() {
            between().await?;
        }
        let answer = api.get(&path).await?.expect(200)?;
        found.extend(titles(&answer.body));
        let link = answer.header("link").map(str::to_owned);
        assert_eq!(link.is_some(), answer.body["next_cursor"].is_string());
        next = link.map(|link| link.trim_start_matches('<').split('>').next().unwrap().to_owned());
    }
    Ok(found)
}

#[tokio::test]
async fn a_list_is_walked_to_its_end_while_rows_are_inserted_and_no_row_is_missed_or_seen_twice() -> Result<()> {
    let world = World::start().await?;
    let user = world.api.sign_up().await?;
    let project = user.create_project("p").await?;
    let nodes: Vec<Value> = (0..25).map(|n| json!({"title": format!("old {n:02}")})).collect();
    user.post(&format!("/api/v1/projects/{project}/nodes:batch"), &json!({"create": nodes})).await?.expect(200)?;
    for sort in ["created_at", "-created_at"] {
        for path in [format!("/api/v1/projects/{project}/nodes"), "/api/v1/nodes".to_owned()] {
            let insert = async || user.create_node(&project, "new", "").await.map(drop);
            let found = walk(&user, &format!("{path}?limit=4&sort={sort}"), insert).await?;
            let old: Vec<&String> = found.iter().filter(|title| title.starts_with("old")).collect();
            let distinct: HashSet<&String> = old.iter().copied().collect();
            assert_eq!((old.len(), distinct.len()), (25, 25), "{path} {sort}: {found:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_list_is_sorted_by_time_both_ways() -> Result<()> {
    let world = World::start().await?;
    let user = world.api.sign_up().await?;
    let project = user.create_project("p").await?;
    for title in ["a", "b", "c"] {
        user.create_node(&project, title, "").await?;
    }
    let path = format!("/api/v1/projects/{project}/nodes");
    assert_eq!(titles(&user.get(&path).await?.expect(200)?.body), ["a", "b", "c"]);
    assert_eq!(titles(&user.get(&format!("{path}?sort=-created_at")).await?.expect(200)?.body), ["c", "b", "a"]);
    user.get(&format!("{path}?sort=title")).await?.expect_problem(400, "validation_failed")?;
    user.get(&format!("{path}?limit=0")).await?.expect_problem(400, "validation_failed")?;
    Ok(())
}

#[tokio::test]
async fn a_cursor_of_another_list_or_an_invented_one_is_refused() -> Result<()> {
    let world = World::start().await?;
    let user = world.api.sign_up().await?;
    let project = user.create_project("p").await?;
    for _ in 0..2 {
        user.create_node(&project, "t", "").await?;
    }
    let path = format!("/api/v1/projects/{project}/nodes");
    let cursor = user.get(&format!("{path}?limit=1")).await?.expect(200)?.string("next_cursor")?;
    user.get(&format!("{path}?limit=5&cursor={cursor}")).await?.expect(200)?;
    for wrong in [
        format!("/api/v1/nodes?cursor={cursor}"),
        format!("{path}?cursor={cursor}&status=idle"),
        format!("{path}?cursor={cursor}&sort=-created_at"),
        format!("{path}?cursor=AAAA"),
    ] {
        let answer = user.get(&wrong).await?.expect_problem(400, "validation_failed")?;
        assert_eq!(answer.body["errors"][0]["field"], "cursor");
    }
    Ok(())
}

#[tokio::test]
async fn nodes_are_found_by_text_tags_and_state() -> Result<()> {
    let world = World::start().await?;
    let user = world.api.sign_up().await?;
    let project = user.create_project("p").await?;
    let path = format!("/api/v1/projects/{project}/nodes");
    for body in [
        json!({"title": "Rust", "content": "Memory safety", "tags": ["lang", "100%"], "importance": 5}),
        json!({"title": "Go", "content": "Goroutines 内存", "tags": ["lang", "tag \"q\""], "status": "completed"}),
        json!({"title": "50_50", "content": "", "ai_generated": true}),
    ] {
        user.post(&path, &body).await?.expect(201)?;
    }
    for (query, expected) in [
        ("q=MEMORY", vec!["Rust"]),
        ("q=内存", vec!["Go"]),
        ("q=0_5", vec!["50_50"]),
        ("q=%25", vec![]),
        ("tags=lang", vec!["Rust", "Go"]),
        ("tags=lang,100%25", vec!["Rust"]),
        ("tags=tag%20%22q%22", vec!["Go"]),
        ("tags=lan", vec![]),
        ("status=completed", vec!["Go"]),
        ("importance=5", vec!["Rust"]),
        ("ai_generated=true", vec!["50_50"]),
    ] {
        let page = user.get(&format!("{path}?{query}")).await?.expect(200)?;
        assert_eq!(titles(&page.body), expected, "{query}");
    }
    Ok(())
}
