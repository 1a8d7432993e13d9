use serde_json::{Map, Value, json};

use super::{
    corpus::Corpus,
    rank::{Pick, select_for},
    work::Work,
};
use crate::engines::{EngineError, Material};

/// Verbatim parts of documents, with the number of the document.
type Excerpts<'a> = Vec<(usize, &'a str)>;

/// An excerpt list never gets longer than this.
const MOST_SENTENCES: usize = 40;

/// `content_fusion`: the sentences that say most about all nodes together, in source order, with where they are from.
pub(super) fn fuse(work: &Work<'_>) -> Result<Map<String, Value>, EngineError> {
    let corpus = Corpus::read(&work.job.materials, work, 40)?;
    let query = query(work);
    let count = fused_length(corpus.sentence_count(), corpus.documents.len());
    let picks = select_for(work, &corpus, &query, count, (40, 90))?;
    let (text, excerpts) = compose(work, &corpus, &picks)?;
    let sources: Vec<Value> =
        excerpts.iter().map(|(document, excerpt)| source(*document, &work.job.materials, excerpt)).collect();
    let mut fields = Map::new();
    fields.insert("text".to_owned(), json!(text));
    fields.insert("title".to_owned(), json!(title(&corpus, &work.job.materials)));
    fields.insert("sources".to_owned(), json!(sources));
    Ok(fields)
}

/// `content_generation`: an extractive draft that keeps to what the instruction names.
pub(super) fn draft(work: &Work<'_>) -> Result<Map<String, Value>, EngineError> {
    let corpus = Corpus::read(&work.job.materials, work, 40)?;
    let count = (fused_length(corpus.sentence_count(), corpus.documents.len()) * 3).div_ceil(2);
    let picks = select_for(work, &corpus, &query(work), count, (40, 90))?;
    let (text, _) = compose(work, &corpus, &picks)?;
    let mut fields = Map::new();
    fields.insert("text".to_owned(), json!(text));
    fields.insert("title".to_owned(), json!(title(&corpus, &work.job.materials)));
    Ok(fields)
}

fn query(work: &Work<'_>) -> String {
    format!("{}\n{}", work.job.instruction, work.job.context)
}

/// How long a fused text is: a fifth of a short text, and ever less of a long one; at least a word from each of a few
/// documents.
fn fused_length(sentences: usize, documents: usize) -> usize {
    let share =
        if sentences <= 60 { sentences.div_ceil(5) } else { 12 + ((sentences - 60) as f32).sqrt() as usize / 2 };
    share.max(3).max(documents.min(12)).min(MOST_SENTENCES)
}

/// Puts the picks together, a paragraph per document, and streams them.
fn compose<'a>(work: &Work<'_>, corpus: &Corpus<'a>, picks: &[Pick]) -> Result<(String, Excerpts<'a>), EngineError> {
    let mut excerpts: Excerpts<'a> = picks
        .iter()
        .map(|pick| (pick.document, corpus.documents[pick.document].sentences[pick.sentence].text))
        .collect();
    if excerpts.is_empty() {
        excerpts = without_prose(corpus);
    }
    let mut text = String::new();
    let mut last: Option<usize> = None;
    for (index, (document, excerpt)) in excerpts.iter().enumerate() {
        work.check()?;
        let joint = match last {
            None => "",
            Some(before) if before != *document => "\n\n",
            Some(_) => corpus.documents[*document].language.joint_between(&text, excerpt),
        };
        let piece = format!("{joint}{excerpt}");
        work.chunk(&piece);
        work.progress(90, 99, index, excerpts.len(), "writing");
        text.push_str(&piece);
        last = Some(*document);
    }
    Ok((text, excerpts))
}

/// What to quote when there is no sentence at all (only headings, code or tables): the first blocks.
fn without_prose<'a>(corpus: &Corpus<'a>) -> Excerpts<'a> {
    let mut found = Vec::new();
    for (index, document) in corpus.documents.iter().enumerate() {
        let block = (0..document.blocks.len()).map(|block| document.block_text(block)).find(|text| !text.is_empty());
        let text = block.unwrap_or(document.source.trim());
        let end = (0..=text.len().min(1_000)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        if end > 0 && found.len() < MOST_SENTENCES {
            found.push((index, &text[..end]));
        }
    }
    found
}

/// Where an excerpt is from: a node, or the number of an input.
pub(crate) fn source(document: usize, materials: &[Material], excerpt: &str) -> Value {
    match &materials[document].node_id {
        Some(node_id) => json!({"node_id": node_id, "excerpt": excerpt}),
        None => {
            let nodes = materials.iter().filter(|material| material.node_id.is_some()).count();
            json!({"node_id": null, "input": document - nodes.min(document), "excerpt": excerpt})
        }
    }
}

/// A title: the text's own when there is one text with a heading, else made of its key phrases.
pub(super) fn title(corpus: &Corpus<'_>, materials: &[Material]) -> String {
    if let ([document], [material]) = (&*corpus.documents, materials) {
        if let Some(heading) = document.heading() {
            return plain(heading);
        }
        if !material.title.trim().is_empty() {
            return material.title.trim().to_owned();
        }
    }
    let joint = match corpus.language().code {
        "zh" | "ja" => "与",
        "en" => " and ",
        _ => ", ",
    };
    let phrases: Vec<&str> =
        corpus.phrases.iter().filter(|phrase| phrase.is_name()).take(2).map(|phrase| phrase.text.as_str()).collect();
    if phrases.is_empty() {
        return first_words(corpus);
    }
    capitalised(&phrases.join(joint))
}

fn first_words(corpus: &Corpus<'_>) -> String {
    let source = corpus.documents.iter().map(|document| document.source.trim()).find(|text| !text.is_empty());
    let fence = |line: &str| line.starts_with("```") || line.starts_with("~~~");
    let says = |line: &&str| !fence(line) && line.contains(char::is_alphanumeric);
    let line = source.and_then(|text| text.lines().map(str::trim).find(says).or(text.lines().next()));
    let line = line.unwrap_or_default().replace(['|', '*', '`'], " ");
    line.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(60).collect()
}

/// A heading without Markdown's emphasis, code and link marks.
fn plain(heading: &str) -> String {
    let mut text = heading.replace(['*', '`'], "");
    while let (Some(open), Some(middle)) = (text.find('['), text.find("](")) {
        let Some(close) = text[middle..].find(')') else { break };
        if open > middle {
            break;
        }
        text = format!("{}{}{}", &text[..open], &text[open + 1..middle], &text[middle + close + 1..]);
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}
