//! Whether the local engine's summaries are better than the first three sentences, on documents written for this whose
//! beginnings do not hold the gist, against reference summaries of the kind that a person would write.

use std::{num::NonZeroUsize, path::PathBuf, sync::Arc};

use sker_broker::engines::{
    Engine, Job, Material, NullSink, TaskKind,
    local::LocalEngine,
    text::{Document, is_han},
};
use tokio_util::sync::CancellationToken;

struct Fixture {
    name: String,
    text: String,
    reference: String,
}

fn fixtures(language: &str) -> Vec<Fixture> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(language);
    let mut found: Vec<Fixture> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .map(|path| Fixture {
            name: path.file_stem().unwrap().to_string_lossy().into_owned(),
            text: std::fs::read_to_string(&path).unwrap(),
            reference: std::fs::read_to_string(path.with_extension("summary.txt")).unwrap(),
        })
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// Words of alphabetic scripts, single Chinese characters.
fn units(text: &str) -> Vec<String> {
    let mut units = Vec::new();
    let mut word = String::new();
    for character in text.chars().flat_map(char::to_lowercase) {
        if character.is_alphanumeric() && !is_han(character) {
            word.push(character);
            continue;
        }
        if !word.is_empty() {
            units.push(std::mem::take(&mut word));
        }
        if is_han(character) {
            units.push(character.to_string());
        }
    }
    if !word.is_empty() {
        units.push(word);
    }
    units
}

/// ROUGE-L (Lin, 2004): F1 of the longest common subsequence.
fn rouge_l(candidate: &str, reference: &str) -> f64 {
    let (candidate, reference) = (units(candidate), units(reference));
    let mut row = vec![0_usize; reference.len() + 1];
    for unit in &candidate {
        let mut diagonal = 0;
        for (index, other) in reference.iter().enumerate() {
            let above = row[index + 1];
            row[index + 1] = if unit == other { diagonal + 1 } else { above.max(row[index]) };
            diagonal = above;
        }
    }
    let common = row[reference.len()] as f64;
    if common == 0.0 {
        return 0.0;
    }
    let (precision, recall) = (common / candidate.len() as f64, common / reference.len() as f64);
    2.0 * precision * recall / (precision + recall)
}

async fn summary(text: &str) -> String {
    let engine = LocalEngine::new(NonZeroUsize::MIN);
    let job = Job {
        kind: TaskKind::NodeEnhancement,
        materials: vec![Material::input(text)],
        instruction: String::new(),
        context: String::new(),
        model: None,
    };
    let output = engine.run(job, Arc::new(NullSink), CancellationToken::new()).await.unwrap();
    output.data["summary"].as_str().unwrap().to_owned()
}

/// Mean ROUGE-L of the engine and of the first three sentences.
async fn compare(language: &str) -> (f64, f64) {
    let fixtures = fixtures(language);
    assert_eq!(fixtures.len(), 10);
    let (mut engine, mut lead) = (0.0, 0.0);
    for fixture in &fixtures {
        let document = Document::read(&fixture.text);
        let count = document.sentences.len();
        assert!((12..=25).contains(&count), "{} has {count} sentences", fixture.name);
        let first: Vec<&str> = document.sentences.iter().take(3).map(|sentence| sentence.text).collect();
        let ours = summary(&fixture.text).await;
        let (ours_score, lead_score) =
            (rouge_l(&ours, &fixture.reference), rouge_l(&first.join(" "), &fixture.reference));
        println!("{language} {:24} local {ours_score:.3} lead-3 {lead_score:.3}\n    {ours}", fixture.name);
        engine += ours_score;
        lead += lead_score;
    }
    let count = fixtures.len() as f64;
    println!("{language} mean: local {:.3} lead-3 {:.3}", engine / count, lead / count);
    (engine / count, lead / count)
}

#[tokio::test]
async fn english_summaries_beat_the_first_three_sentences() {
    let (engine, lead) = compare("en").await;
    assert!(engine > lead, "local {engine:.3}, lead-3 {lead:.3}");
}

#[tokio::test]
async fn chinese_summaries_beat_the_first_three_sentences() {
    let (engine, lead) = compare("zh").await;
    assert!(engine > lead, "local {engine:.3}, lead-3 {lead:.3}");
}

#[test]
fn rouge_is_one_for_the_same_text_and_zero_for_another() {
    assert!((rouge_l("a b c", "A b, c!") - 1.0).abs() < 1e-9);
    assert_eq!(rouge_l("水 火", "a b"), 0.0);
    assert!((rouge_l("a x b", "a b") - 0.8).abs() < 1e-9);
}
