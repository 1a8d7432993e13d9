use std::ops::Range;

use super::{blocks::trim, language::is_han};

/// No sentence is longer than this: text without any punctuation is cut at white space, so that ranking stays bounded.
pub const MAX_SENTENCE_BYTES: usize = 1_500;

/// Words before a full stop that do not end a sentence.
const ABBREVIATIONS: &[&str] = &[
    "mr", "mrs", "ms", "dr", "prof", "st", "mt", "sr", "jr", "vs", "e.g", "i.e", "cf", "fig", "figs", "no", "nos",
    "vol", "pp", "p", "ed", "eds", "al", "approx", "dept", "est", "inc", "ltd", "co", "corp", "gen", "col", "lt",
    "sgt", "rev", "hon", "u.s", "u.k", "ph.d", "a.m", "p.m", "viz", "ca", "sec", "eq", "art", "ch",
];

/// Splits prose into sentences: trimmed ranges, in order, that together hold every visible character.
///
/// A sentence ends at `. ! ?` followed by white space, at `。！？`, and at an empty line; closing quotes and brackets
/// belong to it. Abbreviations, initials, numbers, a number that opens a list item, and whatever stands inside
/// `` `code` `` end nothing.
pub fn sentences(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = 0;
    let mut chars = text.char_indices().peekable();
    let mut code_until = 0;
    while let Some((index, character)) = chars.next() {
        if index < code_until {
            continue;
        }
        let end = match character {
            '`' => {
                code_until = code_span_end(text, index);
                continue;
            }
            '.' | '!' | '?' => latin_end(text, start, index, character),
            '。' | '！' | '？' => Some(after_closers(text, index)),
            '\n' => empty_line(text, index).then_some(index),
            _ => None,
        };
        if let Some(end) = end {
            push(text, start..end, &mut found);
            start = end;
            while chars.peek().is_some_and(|(next, _)| *next < end) {
                chars.next();
            }
        }
    }
    push(text, start..text.len(), &mut found);
    found
}

fn push(text: &str, range: Range<usize>, found: &mut Vec<Range<usize>>) {
    let mut range = trim(text, range);
    while range.len() > MAX_SENTENCE_BYTES {
        let cut = range.start + cut_point(&text[range.clone()]);
        let part = trim(text, range.start..cut);
        if !part.is_empty() {
            found.push(part);
        }
        range = trim(text, cut..range.end);
    }
    if !range.is_empty() {
        found.push(range);
    }
}

/// Where to cut a text that is too long: after the last white space or comma that fits, else between two characters.
fn cut_point(text: &str) -> usize {
    let limit = (0..=MAX_SENTENCE_BYTES).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    let fitting = &text[..limit];
    fitting
        .char_indices()
        .rev()
        .take_while(|(index, _)| *index > limit / 2)
        .find(|(_, character)| character.is_whitespace() || matches!(character, '，' | '；' | '、' | ',' | ';'))
        .map_or(limit, |(index, character)| index + character.len_utf8())
}

/// The end of the code span that opens at `index`, or just behind the backticks when nothing closes it in this paragraph.
fn code_span_end(text: &str, index: usize) -> usize {
    let ticks = text[index..].bytes().take_while(|byte| *byte == b'`').count();
    let opened = index + ticks;
    // A span never reaches over an empty line, and a bound keeps unbalanced backticks from costing a scan each.
    let limit = (opened + MAX_SENTENCE_BYTES).min(text.len());
    let limit = (opened..=limit).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(opened);
    let inside = &text[opened..limit];
    let inside = inside.split("\n\n").next().unwrap_or(inside);
    let mut rest = 0;
    while let Some(at) = inside[rest..].find('`') {
        let run = inside[rest + at..].bytes().take_while(|byte| *byte == b'`').count();
        if run == ticks {
            return opened + rest + at + run;
        }
        rest += at + run;
    }
    opened
}

/// Where a sentence ends whose terminator stands at `index`, if it is one.
fn latin_end(text: &str, start: usize, index: usize, terminator: char) -> Option<usize> {
    let end = after_closers(text, index);
    let rest = &text[end..];
    match rest.chars().next() {
        None => return Some(end),
        Some(next) if next.is_whitespace() => {}
        // "真的吗?是的。": ASCII punctuation inside Chinese text has no space behind it.
        Some(next) if is_han(next) && text[..index].chars().next_back().is_some_and(is_han) => return Some(end),
        Some(_) => return None,
    }
    let next = rest.trim_start().chars().next();
    if terminator != '.' {
        // "“Really?” she asked." goes on.
        return (!next.is_some_and(char::is_lowercase) || end == index + 1).then_some(end);
    }
    if text[..index].ends_with('.') || text[index + 1..].starts_with('.') {
        // An ellipsis ends a sentence only when another one visibly begins.
        return next.is_none_or(|next| !next.is_lowercase()).then_some(end);
    }
    if next.is_some_and(char::is_lowercase) {
        return None;
    }
    let word = last_word(&text[start..index]);
    let bare = word.trim_start_matches(['(', '[', '"', '\'', '“', '‘', '*', '_']);
    let opens = text[start..index].trim_start().len() == word.len();
    let is_number = !bare.is_empty() && bare.chars().all(|character| character.is_ascii_digit());
    let is_initial = bare.chars().count() == 1 && bare.chars().all(char::is_uppercase) && bare != "I";
    let lower = bare.to_lowercase();
    let is_abbreviation =
        ABBREVIATIONS.contains(&lower.as_str()) && (lower != "no" || next.is_some_and(char::is_numeric));
    ((!is_number || !opens) && !is_initial && !is_abbreviation).then_some(end)
}

fn last_word(text: &str) -> &str {
    // Looking back a bounded way keeps the splitter linear.
    let from = (text.len().saturating_sub(48)..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    let tail = &text[from..];
    tail.rsplit(char::is_whitespace).next().unwrap_or(tail)
}

/// The index behind the terminators, closing quotes and brackets that follow `index`.
fn after_closers(text: &str, index: usize) -> usize {
    let mut end = index;
    for character in text[index..].chars() {
        let closes = matches!(
            character,
            '.' | '!'
                | '?'
                | '。'
                | '！'
                | '？'
                | '…'
                | '"'
                | '\''
                | '”'
                | '’'
                | '」'
                | '』'
                | '）'
                | ')'
                | ']'
                | '】'
                | '》'
                | '*'
                | '_'
        );
        if !closes {
            break;
        }
        end += character.len_utf8();
    }
    end
}

/// Whether the line break at `index` is followed by an empty line.
fn empty_line(text: &str, index: usize) -> bool {
    for character in text[index + 1..].chars() {
        match character {
            '\n' => return true,
            character if character.is_whitespace() => {}
            _ => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Vec<&str> {
        sentences(text).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn english_sentences_end_where_a_reader_would_end_them() {
        assert_eq!(
            split(
                "Dr. Smith paid $3.50 for it, e.g. at No. 7. “Was it worth it?” she asked. It was! J. R. Hall (of the U.S. team) agreed."
            ),
            [
                "Dr. Smith paid $3.50 for it, e.g. at No. 7.",
                "“Was it worth it?” she asked.",
                "It was!",
                "J. R. Hall (of the U.S. team) agreed.",
            ]
        );
    }

    #[test]
    fn chinese_sentences_keep_their_closing_quotes() {
        assert_eq!(
            split("他说：“走吧。”我们就走了！真的吗？真的。版本是1.5。"),
            ["他说：“走吧。”", "我们就走了！", "真的吗？", "真的。", "版本是1.5。"]
        );
    }

    #[test]
    fn code_spans_are_not_cut() {
        assert_eq!(split("Call `a. B. C` first. Then `x"), ["Call `a. B. C` first.", "Then `x"]);
    }

    #[test]
    fn text_without_punctuation_is_cut_at_white_space() {
        let text = "word ".repeat(2_000);
        let parts = split(&text);
        assert!(parts.len() > 5);
        assert!(parts.iter().all(|part| part.len() <= MAX_SENTENCE_BYTES && part.ends_with("word")));
    }

    #[test]
    fn a_number_that_opens_an_item_is_not_a_sentence() {
        assert_eq!(
            split("1. Open the valve. It was 1986. Then wait."),
            ["1. Open the valve.", "It was 1986.", "Then wait."]
        );
    }
}
