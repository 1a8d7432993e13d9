use std::{sync::Arc, time::Duration};

use secrecy::SecretString;
use serde_json::{Value, json};
use sker_broker::engines::{
    Engine, EngineError, Failure, Material, TaskKind,
    openai::{OpenAiEngine, OpenAiOptions},
};
use tokio_util::sync::CancellationToken;

use super::{Recorder, fields, job, run};
use crate::support::{Provider, Reply};

const KEY: &str = "sk-test-0123456789";

fn options(provider: &Provider) -> OpenAiOptions {
    OpenAiOptions { api_key: Some(SecretString::from(KEY)), ..OpenAiOptions::new(provider.url.clone(), "small-model") }
}

fn engine(provider: &Provider) -> OpenAiEngine {
    OpenAiEngine::new(options(provider)).unwrap()
}

async fn provider(reply: Reply) -> Provider {
    Provider::start(vec![reply]).await
}

fn stream(pieces: &[&str]) -> Reply {
    Reply::Stream(Provider::events(pieces), Duration::ZERO)
}

async fn failure(engine: &OpenAiEngine) -> Failure {
    match run(engine, job(TaskKind::ContentGeneration, &["Some text."])).await.err() {
        Some(EngineError::Failed(failure)) => failure,
        other => panic!("expected a failure, got {other:?}"),
    }
}

#[tokio::test]
async fn a_streamed_text_arrives_piece_by_piece_with_its_title_taken_off() {
    let provider = provider(stream(&["# On", " rivers\n\nRiv", "ers rise", " in spring."])).await;
    let mut generation = job(TaskKind::ContentGeneration, &["Rivers."]);
    generation.instruction = "Write one sentence".to_owned();
    generation.model = Some("large-model".to_owned());
    let (output, recorder) = run(&engine(&provider), generation).await.unwrap();
    let found = fields(&output, "openai", true);
    assert_eq!((&found["title"], &found["text"]), (&json!("On rivers"), &json!("Rivers rise in spring.")));
    assert_eq!(*recorder.text.lock().unwrap(), "Rivers rise in spring.");
    assert_eq!((output.usage.prompt_tokens, output.usage.completion_tokens, output.usage.estimated), (11, 7, false));
    let (key, body) = provider.requests().remove(0);
    assert_eq!(key.as_deref(), Some("Bearer sk-test-0123456789"));
    assert_eq!((&body["model"], &body["stream"]), (&json!("large-model"), &json!(true)));
    assert!(body["messages"][1]["content"].as_str().unwrap().contains("Write one sentence"));
}

#[tokio::test]
async fn events_split_anywhere_and_dripped_slowly_are_one_answer() {
    let bytes: Vec<String> =
        Provider::events(&["# 河\n水在春", "天上涨。"]).concat().chars().map(String::from).collect();
    let provider = provider(Reply::Stream(bytes, Duration::from_micros(200))).await;
    let (output, _) = run(&engine(&provider), job(TaskKind::ContentOptimization, &["水上涨。"])).await.unwrap();
    assert_eq!((&output.data["title"], &output.data["text"]), (&json!("河"), &json!("水在春天上涨。")));
}

#[tokio::test]
async fn a_server_that_leaves_out_everything_optional_still_answers() {
    let bare = vec![
        "data: {}\n\n".to_owned(),
        "data: {\"choices\": null}\n\n".to_owned(),
        "data: {\"choices\": [{\"delta\": {\"content\": null}}]}\n\n".to_owned(),
        "data: {\"choices\": [{\"delta\": {\"content\": \"Just text\"}}]}\n\n".to_owned(),
        "data: [DONE]\n\n".to_owned(),
    ];
    for reply in
        [Reply::Stream(bare, Duration::ZERO), Reply::Json(json!({"choices": [{"message": {"content": "Just text"}}]}))]
    {
        let provider = provider(reply).await;
        let (output, _) = run(&engine(&provider), job(TaskKind::ContentGeneration, &["Text."])).await.unwrap();
        assert_eq!(output.data["text"], "Just text");
        assert!(output.usage.estimated && output.usage.prompt_tokens > 0);
    }
}

#[tokio::test]
async fn a_short_rate_limit_is_waited_out() {
    let limited = Reply::Status(429, vec![("retry-after-ms", "20".to_owned())], "{}".to_owned());
    let provider = Provider::start(vec![limited.clone(), limited, stream(&["# T\nDone."])]).await;
    let (output, _) = run(&engine(&provider), job(TaskKind::ContentGeneration, &["Text."])).await.unwrap();
    assert_eq!(output.data["text"], "Done.");
    assert_eq!(provider.requests().len(), 3);
}

#[tokio::test]
async fn a_long_rate_limit_fails_the_attempt_and_says_when() {
    let provider = provider(Reply::Status(429, vec![("retry-after", "120".to_owned())], "{}".to_owned())).await;
    let failure = failure(&engine(&provider)).await;
    assert_eq!((failure.code, failure.retryable, failure.retry_after_ms), ("rate_limited", true, Some(120_000)));
    assert_eq!(provider.requests().len(), 1);
}

#[tokio::test]
async fn refusals_are_told_apart() {
    for (status, body, code, retryable) in [
        (400, r#"{"error": {"message": "no such parameter"}}"#, "engine_rejected", false),
        (401, r#"{"error": {"message": "Incorrect API key: sk-test-0123456789"}}"#, "engine_unauthorized", false),
        (402, "", "engine_budget", false),
        (404, "not json", "engine_rejected", false),
        (429, r#"{"error": {"code": "insufficient_quota"}}"#, "engine_budget", false),
        (429, "", "rate_limited", true),
        (500, "", "engine_unavailable", true),
        (503, r#"{"error": "busy sk-test-0123456789"}"#, "engine_unavailable", true),
    ] {
        let provider = provider(Reply::Status(status, Vec::new(), body.to_owned())).await;
        let failure = failure(&engine(&provider)).await;
        assert_eq!((failure.code, failure.retryable), (code, retryable), "{status} {body}");
        assert!(!failure.message.contains("0123456789"), "the key shows: {}", failure.message);
    }
}

#[tokio::test]
async fn faults_in_the_middle_of_a_stream_are_retryable_failures_with_their_cost() {
    let begun = || Provider::events(&["# T\nHalf of", " it"])[..3].to_vec();
    let mut broken = begun();
    broken.push("data: {\"error\": {\"message\": \"overloaded\", \"type\": \"server_error\"}}\n\n".to_owned());
    let mut garbled = begun();
    garbled.push("data: {not json\n\n".to_owned());
    for reply in [
        Reply::Stream(broken, Duration::ZERO),
        Reply::Stream(garbled, Duration::ZERO),
        Reply::Stream(begun(), Duration::ZERO),
        Reply::Cut(begun()),
    ] {
        let provider = provider(reply.clone()).await;
        let failure = failure(&engine(&provider)).await;
        assert_eq!((failure.code, failure.retryable), ("engine_error", true), "{reply:?}");
        assert!(failure.usage.is_some_and(|usage| usage.estimated && usage.completion_tokens > 0), "{reply:?}");
    }
}

#[tokio::test]
async fn silence_runs_into_the_timeouts() {
    let begun = Provider::events(&["# T\nHalf of"])[..2].to_vec();
    for pieces in [Vec::new(), vec![": ping\n\n".to_owned()], begun] {
        let provider = provider(Reply::Stall(pieces)).await;
        let limits = OpenAiOptions {
            first_token_timeout: Duration::from_millis(80),
            idle_timeout: Duration::from_millis(80),
            ..options(&provider)
        };
        let failure = failure(&OpenAiEngine::new(limits).unwrap()).await;
        assert_eq!((failure.code, failure.retryable), ("engine_timeout", true));
        tokio::time::timeout(Duration::from_secs(60), provider.gone.notified())
            .await
            .expect("the connection is closed");
    }
}

#[tokio::test]
async fn a_job_that_takes_too_long_as_a_whole_is_ended() {
    let drip: Vec<String> = std::iter::repeat_n(Provider::events(&["x"])[1].clone(), 10_000).collect();
    let provider = provider(Reply::Stream(drip, Duration::from_millis(10))).await;
    let limits = OpenAiOptions { total_timeout: Duration::from_millis(150), ..options(&provider) };
    assert_eq!(failure(&OpenAiEngine::new(limits).unwrap()).await.code, "engine_timeout");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_retryable_failure() {
    let gone = provider(stream(&["x"])).await;
    let engine = engine(&gone);
    drop(gone);
    // The listener goes with its task; whatever still answers on the port does not speak HTTP for us.
    tokio::task::yield_now().await;
    let failure = failure(&engine).await;
    assert!(failure.retryable, "{failure:?}");
}

#[tokio::test]
async fn cancelling_closes_the_connection() {
    let begun = Provider::events(&["# T\nHalf of"])[..2].to_vec();
    let provider = provider(Reply::Stall(begun)).await;
    let (engine, cancel, recorder) = (engine(&provider), CancellationToken::new(), Arc::new(Recorder::default()));
    let running = engine.run(job(TaskKind::ContentGeneration, &["Text."]), recorder.clone(), cancel.clone());
    let cancelling = async {
        while recorder.text.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        cancel.cancel();
    };
    let (outcome, ()) = tokio::join!(running, cancelling);
    assert_eq!(outcome.err(), Some(EngineError::Cancelled));
    tokio::time::timeout(Duration::from_secs(60), provider.gone.notified()).await.expect("the connection is closed");
}

#[tokio::test]
async fn analyses_and_descriptions_are_read_leniently() {
    let analysis = "Here you are:\n```json\n{\"tags\": \"rivers, floods\", \"semantic_types\": [\"argument\"], \"confidence\": \"90%\",}\n```";
    let described = "{\"title\": \"Rivers\", \"tags\": [\"#water\", \"spring\"], \"summary\": \"They rise.\"}";
    let provider = Provider::start(vec![stream(&[analysis]), stream(&[described])]).await;
    let engine = engine(&provider);
    let (output, _) =
        run(&engine, job(TaskKind::SemanticAnalysis, &["The rivers rise in the spring and flood."])).await.unwrap();
    assert_eq!((&output.data["tags"], &output.data["language"]), (&json!(["rivers", "floods"]), &json!("en")));
    assert_eq!(output.data["confidence"], 0.9);
    let mut batch = job(TaskKind::BatchProcessing, &["The rivers rise.", "Floods follow."]);
    batch.materials[0].tags = vec!["Spring".to_owned()];
    let (output, _) = run(&engine, batch).await.unwrap();
    let items = output.data["items"].as_array().unwrap();
    assert_eq!((items.len(), &items[0]["tags"]), (2, &json!(["Spring", "water"])));
    assert_eq!(output.usage.prompt_tokens, 22, "the sum of both calls");
}

#[tokio::test]
async fn a_server_that_does_not_know_response_format_is_asked_without_it() {
    let refusal = Reply::Status(400, Vec::new(), r#"{"error": {"message": "unknown: response_format"}}"#.to_owned());
    let described = stream(&[r#"{"title": "Rivers", "tags": ["water"], "summary": "They rise."}"#]);
    let provider = Provider::start(vec![refusal, described]).await;
    let engine = engine(&provider);
    for _ in 0..2 {
        let (output, _) = run(&engine, job(TaskKind::NodeEnhancement, &["The rivers rise."])).await.unwrap();
        assert_eq!(output.data["title"], "Rivers");
    }
    let formatted: Vec<bool> =
        provider.requests().iter().map(|(_, body)| body.get("response_format").is_some()).collect();
    assert_eq!(formatted, [true, false, false], "refused, repeated, remembered");
}

#[tokio::test]
async fn a_refusal_of_something_else_than_response_format_is_not_held_against_it() {
    let refusal = Reply::Status(400, Vec::new(), r#"{"error": {"message": "too long"}}"#.to_owned());
    let described = stream(&[r#"{"title": "Rivers", "tags": ["water"], "summary": "They rise."}"#]);
    let provider = Provider::start(vec![refusal.clone(), refusal, described]).await;
    let engine = engine(&provider);
    let error = run(&engine, job(TaskKind::NodeEnhancement, &["Too much."])).await.err();
    let Some(EngineError::Failed(failure)) = error else { panic!("expected a failure, got {error:?}") };
    assert_eq!((failure.code, failure.retryable), ("engine_rejected", false));
    run(&engine, job(TaskKind::NodeEnhancement, &["The rivers rise."])).await.unwrap();
    assert!(provider.requests()[2].1.get("response_format").is_some());
}

#[tokio::test]
async fn an_answer_that_is_no_object_is_worth_another_attempt() {
    let provider = provider(stream(&["I would rather not."])).await;
    let error = run(&engine(&provider), job(TaskKind::NodeEnhancement, &["Text."])).await.err();
    let Some(EngineError::Failed(failure)) = error else { panic!("expected a failure, got {error:?}") };
    assert_eq!((failure.code, failure.retryable), ("engine_error", true));
    assert_eq!(failure.usage.map(|usage| usage.prompt_tokens), Some(11));
}

#[tokio::test]
async fn a_fusion_names_the_sentences_that_it_rests_on() {
    let provider = provider(stream(&["# Rivers\nIn spring the rivers rise because snow melts."])).await;
    let mut fusion = job(TaskKind::ContentFusion, &["Nobody mentions bicycles here."]);
    fusion.materials.insert(
        0,
        Material {
            node_id: Some("node-1".to_owned()),
            text: "It was cold. Snow melts in spring and rivers rise. Cars drove by.".to_owned(),
            ..Material::default()
        },
    );
    let (output, _) = run(&engine(&provider), fusion).await.unwrap();
    assert_eq!(
        output.data["sources"],
        json!([{"node_id": "node-1", "excerpt": "Snow melts in spring and rivers rise."}])
    );
}

#[tokio::test]
async fn too_much_material_is_condensed_and_the_output_says_so() {
    let provider = provider(stream(&["# T\nShort."])).await;
    let limits = OpenAiOptions { max_input_bytes: 2_000, ..options(&provider) };
    let text: String =
        (0..400).map(|number| format!("River number {number} carries water to harbour {}. ", number % 7)).collect();
    let (output, _) =
        run(&OpenAiEngine::new(limits).unwrap(), job(TaskKind::ContentGeneration, &[&text])).await.unwrap();
    assert_eq!(output.data["condensed"], Value::Bool(true));
    let (_, body) = provider.requests().remove(0);
    let asked = body["messages"][1]["content"].as_str().unwrap();
    assert!(asked.len() < 2_600 && asked.contains("River number"), "{}", asked.len());
}

#[tokio::test]
async fn a_model_that_thinks_aloud_is_answering() {
    let thought = |field: &str| format!("data: {}\n\n", json!({"choices": [{"delta": {field: "hm"}}]}));
    let mut pieces: Vec<String> = (0..15).flat_map(|_| [thought("reasoning_content"), thought("reasoning")]).collect();
    pieces.extend(Provider::events(&["# T\nAn answer."]));
    // Three seconds of thoughts: no pause is near the limit, all of them together are beyond it.
    let provider = provider(Reply::Stream(pieces, Duration::from_millis(100))).await;
    let limits = OpenAiOptions { first_token_timeout: Duration::from_secs(2), ..options(&provider) };
    let generation = job(TaskKind::ContentGeneration, &["Some text."]);
    let (output, _) = run(&OpenAiEngine::new(limits).unwrap(), generation).await.unwrap();
    assert_eq!(output.data["text"], "An answer.");
}
