use std::ops::Range;

use super::{Block, BlockKind, Language, Word, blocks, detect_language, sentences, words};

/// A text that has been read: its blocks, its sentences and its language.
pub struct Document<'a> {
    /// The text itself.
    pub source: &'a str,
    /// Its blocks, in order.
    pub blocks: Vec<Block>,
    /// The sentences of its prose blocks, in order.
    pub sentences: Vec<Sentence<'a>>,
    /// The language of its prose.
    pub language: Language,
}

/// A sentence of a document.
#[derive(Clone, Debug)]
pub struct Sentence<'a> {
    /// Verbatim.
    pub text: &'a str,
    /// Its bytes in the source.
    pub range: Range<usize>,
    /// The index of its block.
    pub block: usize,
    /// Whether Markdown's markers (`>` of a quote) stand in the middle of it, so that it cannot be quoted as it is.
    pub broken: bool,
}

impl<'a> Document<'a> {
    /// Reads a text.
    pub fn read(source: &'a str) -> Self {
        let blocks = blocks(source);
        let mut found = Vec::new();
        for (index, block) in blocks.iter().enumerate().filter(|(_, block)| block.kind.is_prose()) {
            for range in sentences(&source[block.range.clone()]) {
                let range = block.range.start + range.start..block.range.start + range.end;
                let text = &source[range.clone()];
                let broken = block.kind == BlockKind::Quote
                    && text.lines().skip(1).any(|line| line.trim_start().starts_with('>'));
                found.push(Sentence { text, range, block: index, broken });
            }
        }
        let language = detect_prose(source, &blocks);
        Document { source, blocks, sentences: found, language }
    }

    /// The text of a block.
    pub fn block_text(&self, index: usize) -> &'a str {
        &self.source[self.blocks[index].range.clone()]
    }

    /// The document's own title: its first heading, if one stands before the first prose.
    pub fn heading(&self) -> Option<&'a str> {
        self.blocks
            .iter()
            .take_while(|block| !block.kind.is_prose())
            .find(|block| matches!(block.kind, BlockKind::Heading(_)))
            .map(|block| &self.source[block.range.clone()])
    }

    /// The texts of all headings.
    pub fn headings(&self) -> impl Iterator<Item = &'a str> + '_ {
        self.blocks
            .iter()
            .filter(|block| matches!(block.kind, BlockKind::Heading(_)))
            .map(|block| &self.source[block.range.clone()])
    }

    /// The words of a sentence of this document.
    pub fn words(&self, sentence: &Sentence<'_>) -> Vec<Word> {
        words(sentence.text, &self.language)
    }
}

/// The language of the prose, so that a page full of code is not taken for Finnish.
fn detect_prose(source: &str, blocks: &[Block]) -> Language {
    const ENOUGH: usize = 2_000;
    let mut sample = String::new();
    for block in blocks.iter().filter(|block| block.kind.is_prose() || matches!(block.kind, BlockKind::Heading(_))) {
        if sample.len() >= ENOUGH {
            break;
        }
        let text = &source[block.range.clone()];
        let end = (0..=text.len().min(ENOUGH)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        sample.push_str(&text[..end]);
        sample.push('\n');
    }
    if sample.trim().is_empty() { detect_language(source) } else { detect_language(&sample) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_and_tables_hold_no_sentences() {
        let source =
            "# Title\n\nFirst one. Second one.\n\n```\nlet x = 1. And.\n```\n\n| a. B | c |\n|---|---|\n\n- An item.\n";
        let document = Document::read(source);
        let texts: Vec<&str> = document.sentences.iter().map(|sentence| sentence.text).collect();
        assert_eq!(texts, ["First one.", "Second one.", "An item."]);
        assert_eq!(document.heading(), Some("Title"));
    }

    #[test]
    fn a_quoted_sentence_over_two_lines_is_marked() {
        let document = Document::read("> one line\n> and another. Short one.");
        assert!(document.sentences[0].broken);
        assert!(!document.sentences[1].broken);
    }
}
