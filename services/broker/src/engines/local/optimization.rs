use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::{corpus::Corpus, fusion::title, work::Work};
use crate::engines::{
    EngineError, Material,
    text::{BlockKind, Document, Language},
};

mod tidy;

use self::tidy::{fingerprint, tidy};

/// `content_optimization`: the same text with every sentence said once, and white space and punctuation in order. Code,
/// tables and HTML are left as they are.
pub(super) fn optimize(work: &Work<'_>) -> Result<Map<String, Value>, EngineError> {
    let materials = &work.job.materials;
    let mut seen = HashSet::new();
    let mut text = String::new();
    for (index, material) in materials.iter().enumerate() {
        work.check()?;
        work.progress(0, 80, index, materials.len(), "tidying");
        rewrite(work, material, &mut seen, &mut text)?;
    }
    let corpus = Corpus::read(materials, work, 95)?;
    let mut fields = Map::new();
    fields.insert("text".to_owned(), json!(text));
    fields.insert("title".to_owned(), json!(title(&corpus, materials)));
    Ok(fields)
}

fn rewrite(
    work: &Work<'_>,
    material: &Material,
    seen: &mut HashSet<u64>,
    text: &mut String,
) -> Result<(), EngineError> {
    let document = Document::read(&material.text);
    let mut sentences = document.sentences.iter().peekable();
    let mut last: Option<BlockKind> = None;
    for (index, block) in document.blocks.iter().enumerate() {
        if index % 256 == 0 {
            work.check()?;
        }
        let mut kept = Vec::new();
        while let Some(sentence) = sentences.next_if(|sentence| sentence.block == index) {
            if seen.insert(fingerprint(sentence.text)) {
                kept.push(tidy(sentence.text, &document.language));
            }
        }
        let body = match block.kind {
            kind if kind.is_prose() && kept.is_empty() => continue,
            kind if kind.is_prose() => joined(&kept, &document.language),
            BlockKind::Heading(_) => tidy(document.block_text(index), &document.language),
            _ => document.block_text(index).to_owned(),
        };
        let tight = matches!((last, block.kind), (Some(BlockKind::ListItem { .. }), BlockKind::ListItem { .. }));
        let joint = match (text.is_empty(), tight) {
            (true, _) => "",
            (false, true) => "\n",
            (false, false) => "\n\n",
        };
        let piece = format!("{joint}{}{body}", marker(&document, index));
        work.chunk(&piece);
        text.push_str(&piece);
        last = Some(block.kind);
    }
    Ok(())
}

fn joined(sentences: &[String], language: &Language) -> String {
    let mut text = String::new();
    for sentence in sentences {
        if !text.is_empty() {
            text.push_str(language.joint_after(&text));
        }
        text.push_str(sentence);
    }
    text
}

/// What Markdown puts before a block on its line: hashes, a bullet with its indentation, brackets of a quote, a footnote's
/// label.
fn marker(document: &Document<'_>, index: usize) -> String {
    let block = &document.blocks[index];
    let before = &document.source[..block.range.start];
    let prefix = before.rsplit('\n').next().unwrap_or_default();
    match block.kind {
        // Underlined headings have no hashes of their own.
        BlockKind::Heading(level) if !prefix.trim_start().starts_with('#') => {
            format!("{} ", "#".repeat(usize::from(level)))
        }
        BlockKind::Heading(_) | BlockKind::Quote | BlockKind::ListItem { .. } | BlockKind::Paragraph => {
            prefix.to_owned()
        }
        _ => String::new(),
    }
}
