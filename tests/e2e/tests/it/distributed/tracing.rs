//! One action of a user is one trace across programs, over HTTP, gRPC and AMQP.

use std::collections::{HashMap, HashSet};

use anyhow::{Context, Result};
use serde_json::json;
use sker_testkit::{Outside, Plan, eventually};

use super::canvas::Canvas;
use crate::collector::Collector;

#[tokio::test]
async fn a_task_is_one_trace_across_programs() -> Result<()> {
    let collector = Collector::start().await?;
    let plan = Plan::default().with_everywhere("telemetry.otlp_endpoint", &collector.endpoint);
    let mut canvas = Canvas::new(Outside::shared(), plan).await?;
    let trace_id = uuid::Uuid::now_v7();
    let input = json!({"inputs": ["One sentence."]});
    let body = json!({"project_id": canvas.project, "type": "semantic_analysis", "input_data": input});
    let request = canvas
        .user
        .request(reqwest::Method::POST, "/api/v1/ai-tasks")
        .header("traceparent", format!("00-{}-00f067aa0ba902b7-01", trace_id.simple()))
        .json(&body);
    let task = canvas.user.send(request).await?.expect(201)?.string("id")?;
    canvas.user.completed(&task).await?;
    for service in canvas.platform.services() {
        assert_eq!(service.stop().await?, Some(0), "the last spans leave before the end");
    }

    let spans = eventually("the spans of all of them have arrived", async || {
        let spans = collector.of(trace_id.as_bytes());
        let seen: HashSet<(&str, &str)> =
            spans.iter().map(|span| (span.service.as_str(), span.name.as_str())).collect();
        let expected = [
            ("gateway", "http.request"),
            ("store", "POST /api/v1/ai-tasks"),
            ("broker", "ai_task"),
            ("broker", "sker.store.v1.TaskService/CompleteTask"),
            ("store", "sker.store.v1.TaskService/CompleteTask"),
        ];
        Ok(expected.iter().all(|span| seen.contains(span)).then(|| spans.clone()))
    })
    .await
    .with_context(|| format!("{:#?} of {:#?}", collector.of(trace_id.as_bytes()), collector.summary()))?;

    // Every span hangs below another of the trace, or below the caller's own.
    let known: HashMap<&[u8], (&str, &str)> =
        spans.iter().map(|span| (span.id.as_slice(), (span.service.as_str(), span.name.as_str()))).collect();
    let caller = 0x00f0_67aa_0ba9_02b7_u64.to_be_bytes();
    for span in &spans {
        assert!(span.parent == caller || known.contains_key(span.parent.as_slice()), "{span:?} hangs in the air");
    }
    let parent_of = |service: &str, name: &str| {
        let span = spans.iter().find(|span| span.service == service && span.name == name);
        span.and_then(|span| known.get(span.parent.as_slice())).copied()
    };
    let http = parent_of("store", "POST /api/v1/ai-tasks");
    assert_eq!(http, Some(("gateway", "http.request")), "over HTTP the store continues the gateway");
    let amqp = parent_of("broker", "ai_task").map(|(service, _)| service);
    assert_eq!(amqp, Some("store"), "over AMQP the broker continues the store");
    let grpc = parent_of("store", "sker.store.v1.TaskService/CompleteTask").map(|(service, _)| service);
    assert_eq!(grpc, Some("broker"), "over gRPC the store continues the broker");
    Ok(())
}
