use std::num::NonZeroUsize;

use sker_broker::engines::{Job, Material, TaskKind, local::LocalEngine};

use super::run;

/// Words in no order that still repeat as a text's do.
fn essay(seed: u64, sentences: usize) -> String {
    const WORDS: &[&str] = &[
        "river", "bridge", "market", "pump", "teacher", "window", "winter", "garden", "machine", "letter", "harbour",
        "signal", "carries", "opens", "follows", "explains", "repairs", "measures", "quiet", "narrow", "bright",
        "heavy", "ancient", "careful",
    ];
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    let mut text = format!("## Part {seed}\n\n");
    for _ in 0..sentences {
        let words: Vec<&str> = (0..12).map(|_| WORDS[next() % WORDS.len()]).collect();
        text.push_str(&format!("The {} of {} {}. ", words[0], seed, words[1..].join(" ")));
    }
    text
}

#[tokio::test]
async fn two_megabytes_in_thousands_of_nodes_are_fused() {
    let materials: Vec<Material> = (0..3_000)
        .map(|number| Material {
            node_id: Some(format!("node-{number}")),
            title: format!("Part {number}"),
            text: essay(number, 8),
            tags: Vec::new(),
        })
        .collect();
    let bytes: usize = materials.iter().map(|material| material.text.len()).sum();
    assert!(bytes > 2_000_000, "{bytes}");
    let job = Job {
        kind: TaskKind::ContentFusion,
        materials,
        instruction: String::new(),
        context: String::new(),
        model: None,
    };
    let (output, recorder) = run(&LocalEngine::new(NonZeroUsize::MIN), job).await.unwrap();
    let sources = output.data["sources"].as_array().unwrap();
    assert!((10..=40).contains(&sources.len()), "{}", sources.len());
    assert!(recorder.percents.lock().unwrap().len() > 10, "progress is told on the way");
}

#[tokio::test]
async fn one_document_of_two_megabytes_is_handled_by_every_type() {
    let text = essay(7, 20_000);
    for kind in [TaskKind::ContentFusion, TaskKind::SemanticAnalysis, TaskKind::NodeEnhancement] {
        let (output, _) = run(&LocalEngine::new(NonZeroUsize::MIN), super::job(kind, &[&text])).await.unwrap();
        assert!(!output.data.is_empty());
    }
}
