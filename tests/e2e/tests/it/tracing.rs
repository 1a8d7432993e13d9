//! One action of a user is one trace across the services.

use std::collections::{HashMap, HashSet};

use anyhow::Result;
use serde_json::json;
use sker_testkit::{Embedded, eventually};

use crate::collector::Collector;

#[tokio::test]
async fn a_task_is_one_trace_from_the_gateway_to_the_broker() -> Result<()> {
    let collector = Collector::start().await?;
    let endpoint = format!("up.otlp_endpoint={}", collector.endpoint);
    let home = tempfile::tempdir()?;
    let mut platform = Embedded::start_with(home.path(), &[endpoint]).await?;
    let user = platform.gateway()?.sign_up().await?;
    let project = user.create_project("traced").await?;
    let trace_id = uuid::Uuid::now_v7().simple().to_string();
    let body = json!({"project_id": project, "type": "semantic_analysis", "input_data": {"inputs": ["One sentence."]}});
    let request = user
        .request(reqwest::Method::POST, "/api/v1/ai-tasks")
        .header("traceparent", format!("00-{trace_id}-00f067aa0ba902b7-01"))
        .json(&body);
    let task = user.send(request).await?.expect(201)?.string("id")?;
    user.completed(&task).await?;
    assert_eq!(platform.interrupt().await?, Some(0), "the last spans leave before the end");

    let trace_id: Vec<u8> = uuid::Uuid::try_parse(&trace_id)?.as_bytes().to_vec();
    let spans = eventually("the spans of gateway, store and broker have arrived", async || {
        let spans = collector.of(&trace_id);
        let names: HashSet<&str> = spans.iter().map(|span| span.name.as_str()).collect();
        let complete = ["http.request", "POST /api/v1/ai-tasks", "ai_task"].iter().all(|name| names.contains(name));
        Ok(complete.then_some(spans))
    })
    .await?;

    // Every span hangs below another of the trace, or below the caller's own.
    let known: HashMap<&[u8], &str> = spans.iter().map(|span| (span.id.as_slice(), span.name.as_str())).collect();
    let caller = 0x00f0_67aa_0ba9_02b7_u64.to_be_bytes();
    for span in &spans {
        let parent = span.parent.as_slice();
        assert!(parent == caller || known.contains_key(parent), "{} hangs in the air", span.name);
    }
    let store = spans.iter().find(|span| span.name == "POST /api/v1/ai-tasks").expect("the store's span");
    assert_eq!(known.get(store.parent.as_slice()), Some(&"http.request"), "the store continues the gateway");
    Ok(())
}
