use std::{borrow::Cow, ops::Range};

use super::{
    language::{Language, is_han},
    lexicon::{Lexicon, jieba, lexicon},
};

/// One word of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// Its bytes in the text.
    pub range: Range<usize>,
    /// Lower-case and stemmed: words with the same term count as one.
    pub term: String,
    /// Whether it carries no meaning of its own.
    pub stop: bool,
    /// Whether punctuation stands before it, so that no phrase reaches over.
    pub breaks: bool,
}

/// The words of a text, in order. Chinese is segmented with a dictionary and a hidden Markov model for unknown words
/// (jieba); other scripts are split at what is neither letter nor digit. Addresses of links, paths and HTML tags are left out.
pub fn words(text: &str, language: &Language) -> Vec<Word> {
    let text = &*hide_markup(text);
    let mut found = Vec::with_capacity(text.len() / 5);
    // Foreign words inside Chinese text are English as a rule.
    let latin = lexicon(if language.is_chinese() { "en" } else { language.code });
    let mut breaks = true;
    let mut rest = 0;
    while let Some(character) = text[rest..].chars().next() {
        if is_han(character) {
            let end = run_end(text, rest, is_han);
            chinese(text, rest..end, &mut breaks, &mut found);
            rest = end;
        } else if character.is_alphanumeric() {
            let end = word_end(text, rest);
            push(text, rest..end, latin, &mut breaks, &mut found);
            rest = end;
        } else {
            breaks |= match character {
                '`' | '*' | '_' => false,
                // A hyphen joins, a dash with blanks around it does not.
                '-' => text[rest + 1..].starts_with(char::is_whitespace),
                other => !other.is_whitespace(),
            };
            rest += character.len_utf8();
        }
    }
    found
}

/// Tokens as a language model would count them, roughly: four letters or one and a half Chinese characters are one.
pub fn estimate_tokens(text: &str) -> u64 {
    let (mut han, mut other) = (0_u64, 0_u64);
    for character in text.chars() {
        if is_han(character) { han += 1 } else { other += 1 }
    }
    (han * 2).div_ceil(3) + other.div_ceil(4)
}

/// Chinese prefixes that make a new word of the one behind them, which a dictionary cannot list: 微服务, 子任务.
const PREFIXES: &[&str] = &["微", "子", "伪", "亚"];

fn chinese(text: &str, run: Range<usize>, breaks: &mut bool, found: &mut Vec<Word>) {
    let lexicon = lexicon("zh");
    let mut prefix = None;
    for token in jieba().cut(&text[run.clone()], true) {
        let mut range = run.start + token.byte_start..run.start + token.byte_end;
        if PREFIXES.contains(&&text[range.clone()]) && range.end < run.end {
            prefix = Some(range.start);
            continue;
        }
        range.start = prefix.take().unwrap_or(range.start);
        let word = &text[range.clone()];
        // A single character is rarely a topic, and often half of a word that the dictionary lacks.
        let stop = word.chars().nth(1).is_none() || lexicon.is_stop(word);
        found.push(Word { range, term: word.to_owned(), stop, breaks: std::mem::take(breaks) });
    }
}

fn push(text: &str, range: Range<usize>, lexicon: &Lexicon, breaks: &mut bool, found: &mut Vec<Word>) {
    let lower = text[range.clone()].to_lowercase();
    let lower = if lower.contains('’') { lower.replace('’', "'") } else { lower };
    let bare = lower.strip_suffix("'s").unwrap_or(&lower);
    let single = bare.chars().nth(1).is_none();
    let stop = single || lexicon.is_stop(&lower) || lexicon.is_stop(bare);
    let term = if stop { bare.to_owned() } else { lexicon.stem(bare).into_owned() };
    found.push(Word { range, term, stop, breaks: std::mem::take(breaks) });
}

fn run_end(text: &str, start: usize, belongs: impl Fn(char) -> bool) -> usize {
    text[start..].char_indices().find(|(_, character)| !belongs(*character)).map_or(text.len(), |(at, _)| start + at)
}

/// The end of the word that starts at `start`: an apostrophe stays inside a word, a point or comma inside a number.
fn word_end(text: &str, start: usize) -> usize {
    let mut end = start;
    let mut chars = text[start..].chars().peekable();
    let mut last_is_digit = false;
    while let Some(character) = chars.next() {
        if character.is_alphanumeric() && !is_han(character) {
            last_is_digit = character.is_ascii_digit();
            end += character.len_utf8();
            continue;
        }
        let next = chars.peek().copied();
        let joins = match character {
            '\'' | '’' => next.is_some_and(char::is_alphabetic) && !last_is_digit,
            '.' | ',' => last_is_digit && next.is_some_and(|next| next.is_ascii_digit()),
            // Identifiers: snake_case is one word.
            '_' => next.is_some_and(|next| next.is_alphanumeric() && !is_han(next)),
            _ => false,
        };
        if !joins {
            break;
        }
        end += character.len_utf8();
    }
    end
}

/// Whether a slash begins an absolute path: `/api/v1/nodes`, and not `and/or`.
fn begins_path(before: &str, rest: &str) -> bool {
    let alone = before.chars().next_back().is_none_or(|last| last.is_whitespace() || matches!(last, '`' | '(' | '"'));
    alone && rest[1..].starts_with(|next: char| next.is_ascii_alphanumeric() || matches!(next, '_' | '.' | '{'))
}

/// Replaces link targets, bare addresses, paths and HTML tags by blanks of the same length, so that every index stays valid.
fn hide_markup(text: &str) -> Cow<'_, str> {
    if !text.contains(['<', '/']) && !text.contains("](") {
        return Cow::Borrowed(text);
    }
    let mut hidden: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    while let Some(found) = text[at..].find(['<', ']', ':', '/']) {
        let index = at + found;
        let rest = &text[index..];
        let range = if rest.starts_with("](") {
            rest.find(')').map(|end| index..index + end + 1)
        } else if rest.starts_with("://") {
            let scheme = text[..index].bytes().rev().take_while(u8::is_ascii_alphanumeric).count();
            let end = rest
                .find(|c: char| c.is_whitespace() || matches!(c, ')' | '>' | '"' | '，' | '。' | '）'))
                .unwrap_or(rest.len());
            Some(index - scheme..index + end)
        } else if rest.starts_with('/') && begins_path(&text[..index], rest) {
            let end = rest
                .find(|c: char| {
                    c.is_whitespace() || is_han(c) || matches!(c, '`' | ')' | ',' | '"' | '，' | '。' | '）')
                })
                .unwrap_or(rest.len());
            Some(index..index + end)
        } else if rest.starts_with('<')
            && rest[1..].starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '!')
        {
            rest.find('>').map(|end| index..index + end + 1)
        } else {
            None
        };
        at = match range {
            Some(range) => {
                let end = range.end;
                hidden.push(range);
                end
            }
            None => index + 1,
        };
    }
    if hidden.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut masked = String::with_capacity(text.len());
    let mut last = 0;
    for range in hidden {
        let start = range.start.max(last);
        masked.push_str(&text[last..start]);
        masked.extend(std::iter::repeat_n(' ', range.end.saturating_sub(start)));
        last = range.end.max(last);
    }
    masked.push_str(&text[last..]);
    Cow::Owned(masked)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENGLISH: Language = Language { code: "en", confidence: 1.0 };
    const CHINESE: Language = Language { code: "zh", confidence: 1.0 };

    fn content(text: &str, language: &Language) -> Vec<String> {
        words(text, language).into_iter().filter(|word| !word.stop).map(|word| word.term).collect()
    }

    #[test]
    fn english_words_are_stemmed_and_stop_words_known() {
        assert_eq!(
            content("The pumps didn't fail; pumping cost 1,200.50 dollars.", &ENGLISH),
            ["pump", "fail", "pump", "cost", "1,200.50", "dollar"]
        );
    }

    #[test]
    fn chinese_words_are_segmented() {
        let found = content("消息队列把任务分发给 broker 服务。", &CHINESE);
        assert!(found.contains(&"任务".to_owned()) && found.contains(&"broker".to_owned()), "{found:?}");
    }

    #[test]
    fn link_targets_and_tags_are_no_words() {
        let text = "See [the guide](https://example.org/secret) or https://a.example/b and <b>bold</b> text";
        assert_eq!(content(text, &ENGLISH), ["guid", "bold", "text"]);
        for word in words(text, &ENGLISH) {
            assert!(text.is_char_boundary(word.range.start) && text.is_char_boundary(word.range.end));
        }
    }

    #[test]
    fn a_chinese_prefix_belongs_to_its_word() {
        let found = content("我们把系统拆成微服务。", &CHINESE);
        assert!(found.contains(&"微服务".to_owned()), "{found:?}");
    }

    #[test]
    fn paths_are_addresses_and_dashes_part_phrases() {
        let found = content("`PATCH /api/v1/users` changes nodes and/or edges", &ENGLISH);
        assert!(found.iter().all(|term| term != "api" && term != "user"), "{found:?}");
        assert!(["patch", "node", "edg"].iter().all(|term| found.iter().any(|known| known == term)), "{found:?}");
        let found = words("broker - task queue, well-known", &ENGLISH);
        assert!(found.iter().all(|word| word.breaks == ["broker", "task", "well"].contains(&&*word.term)), "{found:?}");
    }

    #[test]
    fn tokens_are_estimated() {
        assert_eq!(estimate_tokens("four"), 1);
        assert_eq!(estimate_tokens("三个字"), 2);
        assert_eq!(estimate_tokens(""), 0);
    }
}
