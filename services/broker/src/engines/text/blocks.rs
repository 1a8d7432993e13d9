use std::ops::Range;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// What a block of Markdown is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockKind {
    /// A heading of level 1 to 6.
    Heading(u8),
    /// Running text.
    Paragraph,
    /// The text of one list item.
    ListItem {
        /// Whether the list is numbered.
        ordered: bool,
    },
    /// Text inside a block quote.
    Quote,
    /// A code block with its fences.
    Code,
    /// A whole table.
    Table,
    /// A block of HTML.
    Html,
    /// A thematic break.
    Rule,
    /// YAML front matter.
    Metadata,
}

impl BlockKind {
    /// Whether the block holds sentences.
    pub fn is_prose(self) -> bool {
        matches!(self, BlockKind::Paragraph | BlockKind::ListItem { .. } | BlockKind::Quote)
    }
}

/// A leaf block: where it stands in the source, without its markers where it has any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// What it is.
    pub kind: BlockKind,
    /// Its bytes in the source, trimmed.
    pub range: Range<usize>,
}

/// Splits Markdown (or plain text) into its leaf blocks, in order.
pub fn blocks(source: &str) -> Vec<Block> {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS;
    let mut reader = Reader { source, blocks: Vec::new(), leaf: None, heading: None, lists: Vec::new(), quotes: 0 };
    // Inside code, tables and HTML nothing is looked at; the block counts as one.
    let mut skip_until: Option<TagEnd> = None;
    for (event, range) in Parser::new_ext(source, options).into_offset_iter() {
        match (&skip_until, event) {
            (Some(end), Event::End(tag)) if *end == tag => skip_until = None,
            (Some(_), _) => {}
            (None, Event::Start(tag)) => skip_until = reader.start(tag, range),
            (None, Event::End(tag)) => reader.end(tag),
            (None, Event::Rule) => reader.whole(BlockKind::Rule, range),
            (None, Event::TaskListMarker(_)) => {}
            (None, _) => reader.extend(range),
        }
    }
    reader.flush();
    reader.blocks
}

struct Reader<'a> {
    source: &'a str,
    blocks: Vec<Block>,
    /// The text of the leaf that is being read.
    leaf: Option<Range<usize>>,
    heading: Option<u8>,
    /// For every open list whether it is numbered.
    lists: Vec<bool>,
    quotes: usize,
}

impl Reader<'_> {
    /// Opens a block; says which end to wait for when it is read as a whole.
    fn start(&mut self, tag: Tag<'_>, range: Range<usize>) -> Option<TagEnd> {
        let end = tag.to_end();
        match tag {
            Tag::Paragraph => {
                self.flush();
                self.leaf = Some(range);
            }
            Tag::Heading { level, .. } => {
                self.flush();
                self.heading = Some(level as u8);
            }
            Tag::BlockQuote(_) => {
                self.flush();
                self.quotes += 1;
            }
            Tag::List(first) => {
                self.flush();
                self.lists.push(first.is_some());
            }
            Tag::Item | Tag::FootnoteDefinition(_) => self.flush(),
            Tag::CodeBlock(_) => return self.skip(BlockKind::Code, range, end),
            Tag::HtmlBlock => return self.skip(BlockKind::Html, range, end),
            Tag::Table(_) => return self.skip(BlockKind::Table, range, end),
            Tag::MetadataBlock(_) => return self.skip(BlockKind::Metadata, range, end),
            _ => self.extend(range),
        }
        None
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Paragraph | TagEnd::Item | TagEnd::FootnoteDefinition => self.flush(),
            TagEnd::Heading(_) => {
                self.flush();
                self.heading = None;
            }
            TagEnd::BlockQuote(_) => {
                self.flush();
                self.quotes = self.quotes.saturating_sub(1);
            }
            TagEnd::List(_) => {
                self.flush();
                self.lists.pop();
            }
            _ => {}
        }
    }

    fn skip(&mut self, kind: BlockKind, range: Range<usize>, end: TagEnd) -> Option<TagEnd> {
        self.whole(kind, range);
        Some(end)
    }

    fn whole(&mut self, kind: BlockKind, range: Range<usize>) {
        self.flush();
        self.push(kind, range);
    }

    /// Inline content makes the current leaf longer.
    fn extend(&mut self, range: Range<usize>) {
        let range = match self.source[..range.start].ends_with('\\') {
            // The parser leaves the backslash of an escape out.
            true => range.start - 1..range.end,
            false => range,
        };
        match &mut self.leaf {
            Some(leaf) => *leaf = leaf.start.min(range.start)..leaf.end.max(range.end),
            None => self.leaf = Some(range),
        }
    }

    fn flush(&mut self) {
        let Some(range) = self.leaf.take() else { return };
        let kind = match (self.heading, self.lists.last(), self.quotes) {
            (Some(level), _, _) => BlockKind::Heading(level),
            (None, _, quotes) if quotes > 0 => BlockKind::Quote,
            (None, Some(ordered), _) => BlockKind::ListItem { ordered: *ordered },
            (None, None, _) => BlockKind::Paragraph,
        };
        self.push(kind, range);
    }

    fn push(&mut self, kind: BlockKind, range: Range<usize>) {
        let range = trim(self.source, range);
        // Never backwards: whatever the parser reports, blocks stay in order and apart.
        let start = self.blocks.last().map_or(range.start, |last| range.start.max(last.range.end));
        if start < range.end {
            self.blocks.push(Block { kind, range: start..range.end });
        }
    }
}

/// The range without white space at either end.
pub(super) fn trim(source: &str, range: Range<usize>) -> Range<usize> {
    let text = &source[range.clone()];
    let start = range.start + (text.len() - text.trim_start().len());
    start..start + text.trim().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(source: &str) -> Vec<(BlockKind, &str)> {
        blocks(source).into_iter().map(|block| (block.kind, &source[block.range])).collect()
    }

    #[test]
    fn every_kind_of_block_is_told_apart() {
        let source = "---\ntitle: x\n---\n\n# Head *line*\n\nA paragraph\nof two lines.\n\n- one **bold**\n- two\n  1. inner\n\n> quoted\n\n```rust\nfn main() {}\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n<div>x</div>\n\n***\n";
        assert_eq!(
            read(source),
            [
                (BlockKind::Metadata, "---\ntitle: x\n---"),
                (BlockKind::Heading(1), "Head *line*"),
                (BlockKind::Paragraph, "A paragraph\nof two lines."),
                (BlockKind::ListItem { ordered: false }, "one **bold**"),
                (BlockKind::ListItem { ordered: false }, "two"),
                (BlockKind::ListItem { ordered: true }, "inner"),
                (BlockKind::Quote, "quoted"),
                (BlockKind::Code, "```rust\nfn main() {}\n```"),
                (BlockKind::Table, "| a | b |\n|---|---|\n| 1 | 2 |"),
                (BlockKind::Html, "<div>x</div>"),
                (BlockKind::Rule, "***"),
            ]
        );
    }

    #[test]
    fn an_escaped_first_character_keeps_its_backslash() {
        assert_eq!(read("- \\*not bold\\*")[0].1, "\\*not bold\\*");
    }
}
