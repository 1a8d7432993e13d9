use std::collections::HashSet;

use serde_json::Value;

use super::{corpus::Corpus, fusion::source};
use crate::engines::Material;

const MOST_SOURCES: usize = 40;

/// For a text that was written from materials (by a model, say): of each material the verbatim sentence that the text rests
/// on most, by the rarity of the words that they share. Materials that share next to nothing with it are left out.
pub fn sources_of(materials: &[Material], text: &str) -> Vec<Value> {
    let corpus = Corpus::of_texts(materials.iter().map(|material| (&*material.title, &*material.text)));
    let used: HashSet<u32> = corpus.known_terms(text).iter().copied().collect();
    let mut found: Vec<(f32, usize, &str)> = Vec::new();
    for (document, read) in corpus.documents.iter().enumerate() {
        let best = read.sentences.iter().zip(&corpus.terms[document]).filter(|(sentence, _)| !sentence.broken).map(
            |(sentence, terms)| {
                let all: f32 = terms.iter().map(|term| corpus.rarity(*term)).sum();
                let shared: f32 =
                    terms.iter().filter(|term| used.contains(*term)).map(|term| corpus.rarity(*term)).sum();
                // Half for how much is shared, half for how much of the sentence that is.
                let score = if all > 0.0 { shared.sqrt() * (shared / all) } else { 0.0 };
                (score, sentence.text)
            },
        );
        if let Some((score, excerpt)) = best.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(score, _)| *score > 0.3) {
            found.push((score, document, excerpt));
        }
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    found.truncate(MOST_SOURCES);
    found.sort_by_key(|(_, document, _)| *document);
    found.into_iter().map(|(_, document, excerpt)| source(document, materials, excerpt)).collect()
}
