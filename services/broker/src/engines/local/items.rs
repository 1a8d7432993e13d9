use serde_json::{Map, Value, json};

use super::{analysis::tags, corpus::Corpus, fusion::title, rank::select, work::Work};
use crate::engines::{EngineError, Material};

/// A node has at most this many tags after being enhanced.
const MOST_TAGS: usize = 10;

/// `node_enhancement`: a title, tags and a summary for what is there. Tags that the node has are kept.
pub(super) fn enhance(work: &Work<'_>) -> Result<Map<String, Value>, EngineError> {
    let materials = &work.job.materials;
    let corpus = Corpus::read(materials, work, 60)?;
    work.check()?;
    let summary = summarize(&corpus, &work.job.instruction);
    work.chunk(&summary);
    let own = materials.iter().flat_map(|material| &material.tags);
    let mut fields = Map::new();
    fields.insert("title".to_owned(), json!(title(&corpus, materials)));
    fields.insert("tags".to_owned(), json!(merged(own, tags(&corpus))));
    fields.insert("summary".to_owned(), json!(summary));
    Ok(fields)
}

/// `batch_processing`: an item for every node and input, in order.
pub(super) fn batch(work: &Work<'_>) -> Result<Map<String, Value>, EngineError> {
    let materials = &work.job.materials;
    let mut items = Vec::with_capacity(materials.len());
    for index in 0..materials.len() {
        work.check()?;
        work.progress(0, 99, index, materials.len(), "working through the batch");
        items.push(item(index, materials, &work.job.instruction));
    }
    let mut fields = Map::new();
    fields.insert("items".to_owned(), json!(items));
    Ok(fields)
}

fn item(index: usize, materials: &[Material], instruction: &str) -> Value {
    let material = &materials[index];
    let corpus = Corpus::of_text(&material.title, &material.text);
    json!({
        "index": index,
        "node_id": material.node_id,
        "title": title(&corpus, std::slice::from_ref(material)),
        "tags": tags(&corpus),
        "summary": summarize(&corpus, instruction),
        "language": corpus.language().code,
    })
}

/// A summary of two to five verbatim sentences.
fn summarize(corpus: &Corpus<'_>, instruction: &str) -> String {
    let count = corpus.sentence_count().div_ceil(6).clamp(2, 5);
    let picks = select(corpus, instruction, count);
    let mut summary = String::new();
    for pick in picks {
        let document = &corpus.documents[pick.document];
        let sentence = document.sentences[pick.sentence].text;
        if !summary.is_empty() {
            summary.push_str(document.language.joint_between(&summary, sentence));
        }
        summary.push_str(sentence);
    }
    summary
}

fn merged<'a>(own: impl Iterator<Item = &'a String>, found: Vec<String>) -> Vec<String> {
    let mut tags: Vec<String> = Vec::new();
    for tag in own.cloned().chain(found) {
        if tags.len() < MOST_TAGS && !tags.iter().any(|known| known.to_lowercase() == tag.to_lowercase()) {
            tags.push(tag);
        }
    }
    tags
}
