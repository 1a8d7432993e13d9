use std::num::NonZeroUsize;

use serde_json::{Value, json};
use sker_broker::engines::{Engine, EngineError, Material, NullSink, TaskKind, local::LocalEngine};
use tokio_util::sync::CancellationToken;

use super::{fields, job, run};

const PUMPS: &str = "# Heat pumps\n\nA heat pump is a machine that moves heat from a cold place to a warm one. It needs electric power, \
but it delivers three times as much heat. Therefore heat pumps use less energy than any oven. Old houses are a problem, because \
their radiators need hot water.\n\n```sh\nset --temperature 55. Then stop.\n```\n\n| house | power |\n|---|---|\n| old | 12 kW |\n\n\
- Insulate the roof first.\n- Replace small radiators.\n";

const TEA: &str = "茶树喜欢温暖湿润的山地。茶农在春天采摘嫩芽，因为这时的茶叶最香。绿茶不经过发酵，所以保留了更多的茶多酚。\
总之，采摘时间和加工方法决定了茶叶的品质。";

fn engine() -> LocalEngine {
    LocalEngine::new(NonZeroUsize::MIN)
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|item| item.as_str().unwrap()).collect()
}

#[tokio::test]
async fn analysis_finds_tags_types_and_language() {
    let (output, _) = run(&engine(), job(TaskKind::SemanticAnalysis, &[PUMPS])).await.unwrap();
    let found = fields(&output, "local", false);
    let tags = strings(&found["tags"]);
    assert!(tags[0].eq_ignore_ascii_case("heat pumps") || tags[0].eq_ignore_ascii_case("heat pump"), "{tags:?}");
    let mut lower: Vec<String> = tags.iter().map(|tag| tag.to_lowercase()).collect();
    lower.sort_unstable();
    lower.dedup();
    assert_eq!(lower.len(), tags.len(), "no tag twice");
    let types = strings(&found["semantic_types"]);
    assert!(types.contains(&"definition") && types.contains(&"argument"), "{types:?}");
    assert_eq!(found["language"], "en");
    let confidence = found["confidence"].as_f64().unwrap();
    assert!((0.3..=1.0).contains(&confidence));
    assert_eq!(found.len(), 7);
}

#[tokio::test]
async fn chinese_is_analysed_word_by_word() {
    let (output, _) = run(&engine(), job(TaskKind::SemanticAnalysis, &[TEA])).await.unwrap();
    assert_eq!(output.data["language"], "zh");
    let tags = strings(&output.data["tags"]);
    assert!(tags.iter().any(|tag| tag.contains('茶')), "{tags:?}");
    assert!(strings(&output.data["semantic_types"]).contains(&"argument"), "{}", output.data["semantic_types"]);
}

#[tokio::test]
async fn kinds_of_text_are_told_apart() {
    let cases = [
        ("Open the valve. Wait ten minutes. Check the pressure. Close the valve again.", "instruction"),
        ("What is a lease? Who renews it? And what if nobody does?", "question"),
        (
            "He walked to the river. It was cold, and nobody had lit a fire. She said nothing and went home.",
            "narrative",
        ),
        (
            "See Erkan and Radev (2004) and https://example.org/paper. Compare the results of Mihalcea et al. [12].",
            "reference",
        ),
        ("```rust\nfn main() { println!(\"hello\"); }\n```\n", "code"),
        ("- apples\n- pears\n- plums\n- cherries\n", "list"),
        ("| year | sales |\n|---|---|\n| 2020 | 12 |\n| 2021 | 15 |\n", "data"),
        ("首先打开阀门。然后等待十分钟。最后检查压力。", "instruction"),
        ("什么是租约？谁来续约？", "question"),
        ("消息队列是一种在进程之间传递消息的机制。", "definition"),
    ];
    for (text, expected) in cases {
        let (output, _) = run(&engine(), job(TaskKind::SemanticAnalysis, &[text])).await.unwrap();
        let types = strings(&output.data["semantic_types"]);
        assert!(types.contains(&expected), "{text}: {types:?}");
    }
}

#[tokio::test]
async fn fusion_quotes_its_sources_verbatim_and_in_order() {
    let mut fusion = job(TaskKind::ContentFusion, &[PUMPS, TEA]);
    fusion.materials.insert(0, Material {
        node_id: Some("node-1".to_owned()),
        title: "Grid".to_owned(),
        text: "> The grid must carry the power\n> of all heat pumps in winter. It is strong enough today.\n\nPower lines are \
               built slowly. Wind and sun supply most of the power that heat pumps use."
            .to_owned(),
        tags: Vec::new(),
    });
    let (output, recorder) = run(&engine(), fusion.clone()).await.unwrap();
    let found = fields(&output, "local", false);
    let text = found["text"].as_str().unwrap();
    assert_eq!(*recorder.text.lock().unwrap(), text, "the pieces are the text");
    let sources = found["sources"].as_array().unwrap();
    assert!(sources.len() >= 3);
    let mut at = 0;
    for source in sources {
        let excerpt = source["excerpt"].as_str().unwrap();
        let material = match source["node_id"].as_str() {
            Some("node-1") => &fusion.materials[0],
            _ => &fusion.materials[1 + source["input"].as_u64().unwrap() as usize],
        };
        assert!(material.text.contains(excerpt), "verbatim: {excerpt}");
        let found_at = text[at..].find(excerpt).unwrap_or_else(|| panic!("in order: {excerpt}"));
        at += found_at + excerpt.len();
    }
    assert!(!text.contains("--temperature") && !text.contains('|'), "code and tables are no sentences: {text}");
    assert!(!text.contains("\n>"), "markers are not quoted: {text}");
    assert!(!found["title"].as_str().unwrap().is_empty());
    let percents = recorder.percents.lock().unwrap().clone();
    assert!(percents.is_sorted() && percents.last() == Some(&100), "{percents:?}");
}

#[tokio::test]
async fn the_same_input_gives_the_same_output_and_another_input_another() {
    for kind in TaskKind::ALL {
        let (first, _) = run(&engine(), job(kind, &[PUMPS])).await.unwrap();
        let (again, _) = run(&engine(), job(kind, &[PUMPS])).await.unwrap();
        let (other, _) = run(&engine(), job(kind, &[TEA])).await.unwrap();
        assert_eq!(first, again, "{kind:?}");
        assert_ne!(first.data, other.data, "{kind:?}");
    }
}

#[tokio::test]
async fn a_draft_keeps_to_what_the_instruction_names() {
    let text = "Bees live in hives and collect nectar. A queen lays all the eggs of a hive. Wasps build nests of chewed wood. \
                Wasps hunt flies and caterpillars all summer. Hornets are the largest wasps of the region. Bees dance to tell \
                where flowers are. Flowers bloom from March to October here. Gardeners plant hedges for shade.";
    let mut bees = job(TaskKind::ContentGeneration, &[text]);
    bees.instruction = "Write about bees and their queen".to_owned();
    let mut wasps = job(TaskKind::ContentGeneration, &[text]);
    wasps.instruction = "Write about wasps and hornets".to_owned();
    let (bees, _) = run(&engine(), bees).await.unwrap();
    let (wasps, _) = run(&engine(), wasps).await.unwrap();
    assert!(bees.data["text"].as_str().unwrap().contains("A queen lays"), "{}", bees.data["text"]);
    assert!(wasps.data["text"].as_str().unwrap().contains("Hornets"), "{}", wasps.data["text"]);
    assert_ne!(bees.data["text"], wasps.data["text"]);
}

#[tokio::test]
async fn optimization_says_everything_once_and_leaves_code_and_tables_alone() {
    let text = "# Notes\n\nThe pump  is old . The pump is old! It leaks ,badly.\n\n1. Stop it.\n2. Drain it.\n   - Slowly.\n\n```\nx  =  1 ;;\n```\n\n\
                | a  | b |\n|----|---|\n| 1  | 2 |\n\nIt leaks, badly. Nobody knows why??\n";
    let (output, recorder) = run(&engine(), job(TaskKind::ContentOptimization, &[text])).await.unwrap();
    let expected = "# Notes\n\nThe pump is old. It leaks, badly.\n\n1. Stop it.\n2. Drain it.\n   - Slowly.\n\n```\nx  =  1 ;;\n```\n\n\
                    | a  | b |\n|----|---|\n| 1  | 2 |\n\nNobody knows why?";
    let got = fields(&output, "local", false)["text"].as_str().unwrap().to_owned();
    assert_eq!(got, expected);
    assert_eq!(*recorder.text.lock().unwrap(), got);
    assert_eq!(output.data["title"], "Notes");
}

#[tokio::test]
async fn an_enhanced_node_keeps_its_tags() {
    let mut enhancement = job(TaskKind::NodeEnhancement, &[PUMPS]);
    enhancement.materials[0].tags = vec!["winter".to_owned(), "Heat Pumps".to_owned()];
    let (output, _) = run(&engine(), enhancement).await.unwrap();
    let found = fields(&output, "local", false);
    let tags = strings(&found["tags"]);
    assert_eq!(tags[..2], ["winter", "Heat Pumps"]);
    assert_eq!(tags.iter().filter(|tag| tag.eq_ignore_ascii_case("heat pumps")).count(), 1);
    assert_eq!(found["title"], "Heat pumps");
    assert!(PUMPS.contains(found["summary"].as_str().unwrap().split(". ").next().unwrap()));
}

#[tokio::test]
async fn a_batch_has_an_item_for_everything_in_order() {
    let mut batch = job(TaskKind::BatchProcessing, &[PUMPS, TEA, "Short."]);
    batch.materials[0].node_id = Some("node-1".to_owned());
    let (output, _) = run(&engine(), batch).await.unwrap();
    let items = output.data["items"].as_array().unwrap();
    assert_eq!(items.len(), 3);
    assert_eq!((&items[0]["node_id"], &items[1]["node_id"]), (&json!("node-1"), &json!(null)));
    assert_eq!((&items[0]["language"], &items[1]["language"]), (&json!("en"), &json!("zh")));
    assert_eq!(items[2]["summary"], "Short.");
}

#[tokio::test]
async fn texts_without_a_sentence_still_give_something() {
    for text in [
        "```\nlet a = 1;\n```",
        "# Only a heading",
        "| a |\n|---|\n| 1 |",
        "word",
        "🙂",
        "…",
        "> quoted\n> over two lines",
    ] {
        for kind in TaskKind::ALL {
            let (output, _) = run(&engine(), job(kind, &[text])).await.unwrap();
            if kind == TaskKind::ContentFusion {
                assert!(!output.data["text"].as_str().unwrap().is_empty(), "{text}");
                assert!(!output.data["title"].as_str().unwrap().is_empty(), "{text}");
            }
        }
    }
    let error = run(&engine(), job(TaskKind::ContentFusion, &[" \n "])).await.err().unwrap();
    assert!(matches!(error, EngineError::Failed(failure) if failure.code == "invalid_input" && !failure.retryable));
}

#[tokio::test]
async fn a_cancelled_job_stops() {
    let cancel = CancellationToken::new();
    cancel.cancel();
    for texts in [vec![PUMPS.to_owned()], vec![PUMPS.repeat(200)]] {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let job = job(TaskKind::ContentFusion, &texts);
        let stopped = engine().run(job, std::sync::Arc::new(NullSink), cancel.clone()).await;
        assert_eq!(stopped.err(), Some(EngineError::Cancelled));
    }
}

#[tokio::test]
async fn a_title_is_short_and_readable_whatever_the_text_is() {
    let long = "x".repeat(5_000);
    let cases: [(&[&str], &str); 4] = [
        (&["```rust\nfn main() {}\n```"], "fn main() {}"),
        (&["| Service | Port |\n|---|---|\n| store | 3001 |"], "Service Port"),
        (&["😀 🎉"], "😀 🎉"),
        (&[&long, &long], &long[..60]),
    ];
    for (texts, title) in cases {
        let (output, _) = run(&engine(), job(TaskKind::ContentFusion, texts)).await.unwrap();
        assert_eq!(output.data["title"], title);
    }
}

#[tokio::test]
async fn a_bold_line_is_a_label_and_not_quoted_beside_sentences() {
    let text = "**Starting the gateway, the broker and all other services**\n\nThe store keeps projects and tasks of every user. **Note**: it needs a disk.";
    let (output, _) = run(&engine(), job(TaskKind::ContentFusion, &[text])).await.unwrap();
    let fused = output.data["text"].as_str().unwrap();
    assert!(fused.contains("The store keeps") && !fused.contains("Starting"), "{fused}");
}
