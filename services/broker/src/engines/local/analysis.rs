use serde_json::{Map, Value, json};

use super::{confidence::confidence, corpus::Corpus, semantics::semantic_types, work::Work};
use crate::engines::EngineError;

/// How many tags a text gets at most.
const MOST_TAGS: usize = 8;

/// `semantic_analysis`: what the texts are about, what kinds of text they are, in which language, and how sure that is.
pub(super) fn analyse(work: &Work<'_>) -> Result<Map<String, Value>, EngineError> {
    let corpus = Corpus::read(&work.job.materials, work, 70)?;
    let types = semantic_types(&corpus);
    work.check()?;
    let language = corpus.language();
    let mut fields = Map::new();
    fields.insert("tags".to_owned(), json!(tags(&corpus)));
    fields.insert("semantic_types".to_owned(), json!(types.names()));
    fields.insert("language".to_owned(), json!(language.code));
    fields.insert("confidence".to_owned(), json!(confidence(&corpus, &types)));
    Ok(fields)
}

/// Tags out of the key phrases: more for a longer text.
pub(super) fn tags(corpus: &Corpus<'_>) -> Vec<String> {
    let most = (2 + corpus.sentence_count()).min(MOST_TAGS);
    let mut tags: Vec<String> = Vec::new();
    for phrase in &corpus.phrases {
        if phrase.is_name() && !tags.iter().any(|tag| tag.eq_ignore_ascii_case(&phrase.text)) {
            tags.push(phrase.text.clone());
        }
        if tags.len() == most {
            break;
        }
    }
    tags
}
