use std::{
    collections::hash_map::DefaultHasher,
    hash::{Hash, Hasher},
};

use crate::engines::text::{Language, is_han};

/// A number that is the same for sentences that differ only in case, light punctuation and white space. A question
/// differs from the statement of the same words.
pub(super) fn fingerprint(sentence: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    let mut gap = false;
    let mut any = false;
    for character in sentence.chars().flat_map(char::to_lowercase) {
        if character.is_whitespace() || is_light(character) {
            gap = true;
            continue;
        }
        // "a nice" and "an ice" must differ, "北京 上海" and "北京上海" need not.
        if gap && any && !is_han(character) {
            ' '.hash(&mut hasher);
        }
        character.hash(&mut hasher);
        any = true;
        gap = false;
    }
    sentence.trim_end().ends_with(['?', '？']).hash(&mut hasher);
    if !any {
        sentence.hash(&mut hasher);
    }
    hasher.finish()
}

/// Signs that change nothing about what a sentence says. `+`, `#`, `%`, `-` and the like do.
fn is_light(character: char) -> bool {
    ".,;:!?'\"*_`()，。；：！？、“”‘’（）…".contains(character)
}

/// A sentence with its white space and punctuation in order. What stands in code spans, links and addresses is left
/// alone.
pub(super) fn tidy(sentence: &str, language: &Language) -> String {
    let chinese = language.is_chinese();
    let mut out = String::with_capacity(sentence.len());
    let mut rest = sentence;
    while !rest.is_empty() {
        if let Some(length) = protected(rest) {
            out.push_str(&rest[..length]);
            rest = &rest[length..];
            continue;
        }
        let Some(character) = rest.chars().next() else { break };
        let after = &rest[character.len_utf8()..];
        rest = after;
        if character.is_whitespace() {
            let before = &sentence[..sentence.len() - rest.len()];
            rest = after.trim_start();
            let gap = &sentence[before.len() - character.len_utf8()..sentence.len() - rest.len()];
            // The markers of a quote's next line.
            let unquoted = if gap.contains('\n') { rest.trim_start_matches(['>', ' ']) } else { rest };
            let quoted = unquoted.len() < rest.len();
            rest = unquoted;
            // A hard line break of Markdown.
            if gap.starts_with("  ") && gap.contains('\n') && !rest.is_empty() {
                out.push_str(if quoted { "  \n> " } else { "  \n" });
                continue;
            }
            // "leaks ,badly": the space stands on the wrong side.
            if let Some(misplaced) = rest.chars().next().filter(|sign| matches!(sign, ',' | ';'))
                && rest[1..].starts_with(char::is_alphabetic)
                && !chinese
            {
                out.push(misplaced);
                out.push(' ');
                rest = &rest[1..];
                continue;
            }
            space(&mut out, rest, chinese);
        } else {
            sign(&mut out, character, rest, chinese);
        }
    }
    out.trim().to_owned()
}

/// The length of what must not be touched at the beginning of `text`: a code span, a link's target, an address.
fn protected(text: &str) -> Option<usize> {
    if text.starts_with('`') {
        let ticks = text.bytes().take_while(|byte| *byte == b'`').count();
        let fence = &text[..ticks];
        return Some(text[ticks..].find(fence).map_or(ticks, |end| ticks + end + ticks));
    }
    if text.starts_with("](") {
        return text.find(')').map(|end| end + 1);
    }
    if text.starts_with("http://") || text.starts_with("https://") || text.starts_with('<') {
        let end = text.find(|c: char| c.is_whitespace() || matches!(c, '，' | '。' | '）')).unwrap_or(text.len());
        return Some(end);
    }
    None
}

/// One space, or none where the signs on either side need none.
fn space(out: &mut String, rest: &str, chinese: bool) {
    let Some(next) = rest.chars().next() else { return };
    let Some(last) = out.chars().next_back() else { return };
    let before_sign =
        matches!(next, ',' | ';' | ':' | '!' | '?' | '，' | '。' | '；' | '：' | '！' | '？' | '、' | ')' | '）')
            || (next == '.' && !rest[1..].starts_with(|c: char| c.is_alphanumeric() || c == '.'));
    let between_chinese = chinese && (is_han(last) || is_wide_sign(last)) && (is_han(next) || is_wide_sign(next));
    if !before_sign && !between_chinese && !last.is_whitespace() {
        out.push(' ');
    }
}

/// A sign or letter: repeated marks once, and Chinese marks between Chinese characters.
fn sign(out: &mut String, character: char, rest: &str, chinese: bool) {
    let last = out.chars().next_back();
    let wide = match character {
        ',' => '，',
        ';' => '；',
        ':' => '：',
        '!' => '！',
        '?' => '？',
        '.' => '。',
        other => other,
    };
    let repeats = matches!(character, '!' | '?' | ',' | ';' | '，' | '。' | '！' | '？' | '；' | '、');
    if repeats && (last == Some(character) || last == Some(wide)) {
        return;
    }
    let after_chinese = chinese && last.is_some_and(is_han);
    let rest = rest.trim_start_matches(character);
    let next = rest.chars().next();
    let ends = match next {
        None => true,
        Some(next) => is_han(next) || (next.is_whitespace() && rest.trim_start().starts_with(is_han)),
    };
    out.push(if wide != character && after_chinese && ends { wide } else { character });
}

fn is_wide_sign(character: char) -> bool {
    matches!(character, '，' | '。' | '；' | '：' | '！' | '？' | '、' | '（' | '）' | '“' | '”')
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENGLISH: Language = Language { code: "en", confidence: 1.0 };
    const CHINESE: Language = Language { code: "zh", confidence: 1.0 };

    #[test]
    fn english_is_tidied() {
        assert_eq!(
            tidy("It  works , really !!\nSee `a  b ,c` here .", &ENGLISH),
            "It works, really! See `a  b ,c` here."
        );
        assert_eq!(tidy("Pi is 3.14 , see https://a.b/c,,d now", &ENGLISH), "Pi is 3.14, see https://a.b/c,,d now");
    }

    #[test]
    fn hard_line_breaks_and_quotes_stay() {
        assert_eq!(tidy("one  \n> **two**\n> three", &ENGLISH), "one  \n> **two** three");
    }

    #[test]
    fn a_space_before_a_comma_goes_behind_it() {
        assert_eq!(tidy("It leaks ,badly.", &ENGLISH), "It leaks, badly.");
    }

    #[test]
    fn chinese_is_tidied() {
        assert_eq!(tidy("今天 天气很好,我们  出去走走!!", &CHINESE), "今天天气很好，我们出去走走！");
        assert_eq!(tidy("使用 Rust 编写", &CHINESE), "使用 Rust 编写");
    }

    #[test]
    fn the_same_sentence_is_known_again() {
        assert_eq!(fingerprint("It works."), fingerprint("it  works !"));
        assert_ne!(fingerprint("A nice day"), fingerprint("An ice day"));
    }
}
