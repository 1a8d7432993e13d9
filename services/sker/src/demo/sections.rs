//! A text cut into sections, nothing of it lost: the sections, put together again, are the text.

use std::ops::Range;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// The most bytes of one section. A longer one is cut where a paragraph, a line or a sentence ends.
pub const MAX_SECTION_BYTES: usize = 16 << 10;
/// The most sections of one text. When there are more, neighbours are put together.
pub const MAX_SECTIONS: usize = 8_000;
/// The most characters of a title.
const MAX_TITLE: usize = 120;

/// A part of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section<'text> {
    /// Its heading, or its first words.
    pub title: String,
    /// The text itself, its heading included.
    pub text: &'text str,
}

impl Section<'_> {
    /// Whether there is nothing to read in it.
    pub fn is_blank(&self) -> bool {
        self.text.trim().is_empty()
    }
}

/// Cuts Markdown at its headings; text without headings at paragraphs, so that the sections are of similar size.
pub fn split(text: &str) -> Vec<Section<'_>> {
    let mut cuts = headings(text);
    if cuts.is_empty() {
        cuts = paragraphs(text);
    }
    let mut parts = between(text, cuts);
    if parts.len() > MAX_SECTIONS {
        parts = put_together(text, parts);
    }
    let mut sections = Vec::with_capacity(parts.len());
    for Part { title, range } in parts {
        let title = title.unwrap_or_else(|| first_words(&text[range.clone()]));
        let pieces = pieces(&text[range]);
        let several = pieces.len() > 1;
        for (index, piece) in pieces.into_iter().enumerate() {
            let title = match title.as_str() {
                "" => format!("Section {}", sections.len() + 1),
                title if several => format!("{title} ({})", index + 1),
                title => title.to_owned(),
            };
            sections.push(Section { title, text: piece });
        }
    }
    sections
}

/// Where a part begins, and its heading.
struct Cut {
    at: usize,
    title: Option<String>,
}

struct Part {
    title: Option<String>,
    range: Range<usize>,
}

/// The headings that stand for themselves: one in a quotation or a list is part of that.
fn headings(text: &str) -> Vec<Cut> {
    // The byte order mark is no part of the first line to a reader of Markdown, but it is part of the text.
    let skipped = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let options = Options::ENABLE_TABLES | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS;
    let mut cuts = Vec::new();
    let mut depth = 0_usize;
    let mut heading: Option<(usize, String)> = None;
    for (event, range) in Parser::new_ext(&text[skipped..], options).into_offset_iter() {
        match event {
            Event::Start(Tag::Heading { .. }) if depth == 0 => {
                let start = range.start + skipped;
                let line = text[..start].rfind('\n').map_or(0, |end| end + 1);
                heading = Some((line, String::new()));
                depth += 1;
            }
            Event::End(TagEnd::Heading(_)) if depth == 1 => {
                depth -= 1;
                if let Some((at, title)) = heading.take() {
                    cuts.push(Cut { at, title: Some(shorten(&title)) });
                }
            }
            Event::Start(_) => depth += 1,
            Event::End(_) => depth = depth.saturating_sub(1),
            Event::Text(words) | Event::Code(words) => {
                if let Some((_, title)) = &mut heading {
                    title.push_str(&words);
                }
            }
            Event::SoftBreak | Event::HardBreak => {
                if let Some((_, title)) = &mut heading {
                    title.push(' ');
                }
            }
            _ => {}
        }
    }
    cuts
}

/// Paragraphs, several short ones together.
fn paragraphs(text: &str) -> Vec<Cut> {
    let enough = (text.len() / 24).clamp(300, 4 << 10);
    let mut cuts = vec![Cut { at: 0, title: None }];
    let (mut begun, mut at, mut after_blank) = (0, 0, false);
    // Lines, not line feeds: a text may come from where a line ends with a carriage return as well.
    for line in text.split_inclusive('\n') {
        let blank = line.trim().is_empty();
        if after_blank && !blank && at - begun >= enough {
            begun = at;
            cuts.push(Cut { at, title: None });
        }
        after_blank = blank;
        at += line.len();
    }
    cuts
}

/// The parts between cuts. What stands before the first one is a part of its own when there is anything to read in it.
fn between(text: &str, cuts: Vec<Cut>) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::with_capacity(cuts.len() + 1);
    let mut begun = 0;
    let mut title = None;
    for cut in cuts {
        if !text[begun..cut.at].trim().is_empty() {
            parts.push(Part { title: title.take(), range: begun..cut.at });
            begun = cut.at;
        }
        title = cut.title;
    }
    parts.push(Part { title, range: begun..text.len() });
    parts
}

/// Neighbours together until there are few enough.
fn put_together(text: &str, parts: Vec<Part>) -> Vec<Part> {
    let enough = text.len().div_ceil(MAX_SECTIONS / 2);
    let mut together: Vec<Part> = Vec::new();
    for part in parts {
        match together.last_mut() {
            Some(last) if last.range.len() < enough => last.range.end = part.range.end,
            _ => together.push(part),
        }
    }
    together
}

/// A part in pieces that are not too long.
fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while rest.len() > MAX_SECTION_BYTES {
        let (piece, after) = rest.split_at(where_to_cut(rest));
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    pieces
}

/// The best place within the first [`MAX_SECTION_BYTES`], but no sooner than after a quarter of them.
fn where_to_cut(text: &str) -> usize {
    let window = &text[..text.floor_char_boundary(MAX_SECTION_BYTES)];
    let ends: [&[&str]; 4] = [&["\n\n"], &["\n"], &["。", "！", "？", ". ", "! ", "? "], &[" ", "，", "、"]];
    for marks in ends {
        let end = marks.iter().filter_map(|mark| window.rfind(mark).map(|at| at + mark.len())).max();
        if let Some(end) = end
            && end >= MAX_SECTION_BYTES / 4
        {
            return end;
        }
    }
    window.len()
}

fn first_words(text: &str) -> String {
    // A fence of a block of code says nothing about what is in it.
    let is_fence = |line: &str| line.starts_with("```") || line.starts_with("~~~");
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty() && !is_fence(line));
    let line = lines().find(|line| line.contains(char::is_alphanumeric)).or_else(|| lines().next()).unwrap_or_default();
    let words = shorten(line);
    if words.chars().count() <= 60 {
        words
    } else {
        format!("{}…", words.chars().take(59).collect::<String>().trim_end())
    }
}

/// One line, of bounded length. Control characters are no part of a title.
fn shorten(title: &str) -> String {
    let mut short = String::new();
    for word in title.split(|letter: char| letter.is_whitespace() || letter.is_control()) {
        if word.is_empty() || word == "\u{feff}" {
            continue;
        }
        if !short.is_empty() {
            short.push(' ');
        }
        short.push_str(word);
        if short.chars().count() > MAX_TITLE {
            return format!("{}…", short.chars().take(MAX_TITLE - 1).collect::<String>().trim_end());
        }
    }
    short
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn titles(text: &str) -> Vec<String> {
        split(text).into_iter().map(|section| section.title).collect()
    }

    #[test]
    fn each_heading_begins_a_section() {
        let text = "intro\n\n# One\ntext\n\nTwo\n===\nmore\n## Three `code` *soft*\nlast";
        assert_eq!(titles(text), ["intro", "One", "Two", "Three code soft"]);
        assert_eq!(split(text)[1].text, "# One\ntext\n\n");
    }

    #[test]
    fn what_only_looks_like_a_heading_begins_none() {
        let text = "# One\n```sh\n# a comment\n```\n> # quoted\n\n- # in a list\n";
        assert_eq!(titles(text), ["One"]);
        assert_eq!(titles("---\ntitle: x\n---\n# One\n"), ["title: x", "One"]);
    }

    #[test]
    fn blank_lines_before_the_first_heading_belong_to_it() {
        assert_eq!(split("\n\n# One\ntext"), [Section { title: "One".into(), text: "\n\n# One\ntext" }]);
    }

    #[test]
    fn a_byte_order_mark_does_not_hide_the_first_heading() {
        assert_eq!(split("\u{feff}# One\ntext"), [Section { title: "One".into(), text: "\u{feff}# One\ntext" }]);
    }

    #[test]
    fn a_heading_without_words_gets_a_number() {
        assert_eq!(titles("#\ntext\n# Two\n"), ["Section 1", "Two"]);
    }

    #[test]
    fn plain_text_is_cut_at_paragraphs() {
        let paragraph = "word ".repeat(80);
        let text = [paragraph.as_str(); 5].join("\n\n");
        assert_eq!(split(&text).len(), 5);
        assert_eq!(titles("just a line"), ["just a line"]);
    }

    #[test]
    fn paragraphs_are_found_whatever_lines_end_with() {
        let paragraph = "word ".repeat(80);
        assert_eq!(split(&[paragraph.as_str(); 5].join("\r\n\r\n")).len(), 5);
        assert_eq!(split(&[paragraph.as_str(); 5].join("\n \n")).len(), 5);
    }

    #[test]
    fn code_is_named_by_its_first_line_and_not_by_its_fence() {
        assert_eq!(titles("```rust\nfn main() {}\n```\n"), ["fn main() {}"]);
        assert_eq!(titles("~~~\nlet it = 1;\n~~~\n"), ["let it = 1;"]);
        assert_eq!(titles("```\n```\n"), ["Section 1"]);
    }

    #[test]
    fn a_long_section_is_cut_where_a_sentence_ends() {
        let text = format!("# 长\n{}", "这是一个句子。".repeat(2_000));
        let sections = split(&text);
        assert!(sections.len() > 1);
        assert!(sections.iter().all(|section| section.text.ends_with('。')));
        assert_eq!(sections[1].title, "长 (2)");
    }

    #[test]
    fn a_text_of_headings_alone_stays_within_bounds() {
        let text = "# a\n".repeat(500_000);
        let sections = split(&text);
        assert!(sections.len() <= MAX_SECTIONS, "{}", sections.len());
        assert_eq!(sections.iter().map(|section| section.text).collect::<String>(), text.as_str());
    }

    proptest! {
        #[test]
        fn nothing_is_lost(
            pieces in prop::collection::vec(
                prop::sample::select(vec![
                    "# ", "## ", "\n", "\n\n", "\r\n", "===\n", "---\n", "> ", "- ", "```\n", "    ", "word ", "句子。", "\u{feff}",
                    "\t", "é", "[a](b)", "<b>", "| a | b |\n|---|---|\n", "\u{0}", "*",
                ]),
                0..200,
            ),
            long in 0_usize..40_000,
        ) {
            let mut text = pieces.concat();
            text.insert_str(0, &"字x ".repeat(long / 5));
            let sections = split(&text);
            prop_assert_eq!(sections.iter().map(|section| section.text).collect::<String>(), text.as_str());
            for section in &sections {
                prop_assert!(section.text.len() <= MAX_SECTION_BYTES);
                prop_assert!(!section.title.is_empty());
                prop_assert!(section.title.chars().count() <= MAX_TITLE + 8, "{}", section.title);
                prop_assert!(!section.title.contains(|letter: char| letter.is_control()), "{:?}", section.title);
            }
            prop_assert!(sections.len() <= MAX_SECTIONS + text.len() / (MAX_SECTION_BYTES / 4));
        }
    }
}
