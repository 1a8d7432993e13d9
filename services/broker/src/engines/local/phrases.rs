use std::collections::HashMap;

use crate::engines::text::{Word, begins_loosely, is_han, is_noun_like};

/// A key phrase.
#[derive(Clone, Debug, PartialEq)]
pub struct Phrase {
    /// As it stands in the text.
    pub text: String,
    /// Its terms.
    pub terms: Vec<String>,
    /// Its C-value; only good for comparing phrases of one text.
    pub score: f32,
}

impl Phrase {
    /// Whether it can stand as a tag or in a title: short, and with a letter.
    pub fn is_name(&self) -> bool {
        self.text.chars().count() <= 40 && self.text.chars().any(char::is_alphabetic)
    }
}

/// Longest phrase, in words.
const LONGEST: usize = 3;
/// When there are more candidates, those seen only once are forgotten: key phrases of a large text come again.
const MOST_CANDIDATES: usize = 150_000;
const NONE: u32 = u32::MAX;

type Key = [u32; LONGEST];

#[derive(Clone, Copy)]
struct Candidate<'a> {
    surface: &'a str,
    count: u32,
    /// When it was first seen; decides between equals.
    first: u32,
    /// Seen only at the beginning of sentences, where its capital says nothing.
    initial: bool,
}

/// Counts the phrases of texts and ranks them by C-value: `(1 + log2(words)) * (count - mean count of the longer phrases
/// that it stands in)`, where one is added to the logarithm so that single words can be key phrases too.
#[derive(Default)]
pub struct PhraseCounter<'a> {
    terms: HashMap<String, u32>,
    candidates: HashMap<Key, Candidate<'a>>,
    seen: u32,
}

impl<'a> PhraseCounter<'a> {
    /// Counts the phrases of a sentence or heading, each occurrence as `weight`.
    pub fn add(&mut self, text: &'a str, words: &[Word], weight: u32) {
        let mut run: Vec<(usize, u32)> = Vec::new();
        for (index, word) in words.iter().enumerate() {
            let usable = !word.stop && !is_number(&text[word.range.clone()]);
            if word.breaks || !usable {
                self.count(text, words, &run, weight);
                run.clear();
            }
            if usable {
                let next = self.terms.len() as u32;
                let id = match self.terms.get(&word.term) {
                    Some(id) => *id,
                    None => *self.terms.entry(word.term.clone()).or_insert(next),
                };
                run.push((index, id));
            }
        }
        self.count(text, words, &run, weight);
        if self.candidates.len() > MOST_CANDIDATES {
            self.candidates.retain(|_, candidate| candidate.count > 1);
        }
    }

    fn count(&mut self, text: &'a str, words: &[Word], run: &[(usize, u32)], weight: u32) {
        for start in 0..run.len() {
            let mut key = [NONE; LONGEST];
            for length in 1..=LONGEST.min(run.len() - start) {
                let (index, id) = run[start + length - 1];
                key[length - 1] = id;
                let surface = &text[words[run[start].0].range.start..words[index].range.end];
                let initial = run[start].0 == 0;
                let first = self.seen;
                let candidate =
                    self.candidates.entry(key).or_insert(Candidate { surface, count: 0, first, initial: true });
                candidate.count += weight;
                let capital = |text: &str| text.starts_with(char::is_uppercase);
                if (capital(candidate.surface) && !capital(surface)) || (candidate.initial && !initial) {
                    candidate.surface = surface;
                }
                candidate.initial &= initial;
                self.seen += 1;
            }
        }
    }

    /// The best phrases: none is part of a better one or nearly the same.
    pub fn best(self, limit: usize) -> Vec<Phrase> {
        let mut names = vec![""; self.terms.len()];
        for (term, id) in &self.terms {
            names[*id as usize] = term;
        }
        // For every phrase: in how many longer ones it stands, and how often those occur.
        let mut nested: HashMap<Key, (u32, u32)> = HashMap::new();
        for (key, candidate) in &self.candidates {
            for part in parts(key) {
                let entry = nested.entry(part).or_default();
                entry.0 += 1;
                entry.1 += candidate.count;
            }
        }
        let mut ranked: Vec<(f32, &Key, &Candidate<'_>)> = self
            .candidates
            .iter()
            .map(|(key, candidate)| {
                let (longer, occurrences) = nested.get(key).copied().unwrap_or_default();
                let mean = if longer == 0 { 0.0 } else { occurrences as f32 / longer as f32 };
                let score = (1.0 + (length(key) as f32).log2()) * (candidate.count as f32 - mean);
                (score * fitness(candidate.surface), key, candidate)
            })
            .filter(|(score, ..)| *score > 0.0)
            .collect();
        ranked.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.2.first.cmp(&b.2.first)));

        let mut chosen: Vec<(Key, Phrase)> = Vec::new();
        for (score, key, candidate) in ranked {
            if chosen.len() == limit {
                break;
            }
            if chosen.iter().all(|(other, _)| apart(key, other)) {
                let terms = key[..length(key)].iter().map(|id| names[*id as usize].to_owned()).collect();
                chosen.push((*key, Phrase { text: surface(candidate), terms, score }));
            }
        }
        chosen.into_iter().map(|(_, phrase)| phrase).collect()
    }
}

fn length(key: &Key) -> usize {
    key.iter().take_while(|id| **id != NONE).count()
}

/// All shorter phrases inside a phrase.
fn parts(key: &Key) -> impl Iterator<Item = Key> + '_ {
    let length = length(key);
    (1..length).flat_map(move |size| {
        (0..=length - size).map(move |start| {
            let mut part = [NONE; LONGEST];
            part[..size].copy_from_slice(&key[start..start + size]);
            part
        })
    })
}

/// Whether two phrases share less than half of the shorter one's words.
fn apart(one: &Key, other: &Key) -> bool {
    let shared = one.iter().filter(|id| **id != NONE && other.contains(id)).count();
    shared * 2 < length(one).min(length(other)).max(1) || shared == 0
}

fn is_number(text: &str) -> bool {
    text.chars().all(|character| character.is_numeric() || matches!(character, '.' | ','))
}

/// Phrases that can hardly be topics count less: adverbs and participles, and Chinese words that are no nouns. Single words
/// count less than phrases, which say more.
fn fitness(surface: &str) -> f32 {
    const SINGLE: f32 = 0.7;
    if surface.chars().any(is_han) {
        let noun = if !is_noun_like(surface) {
            0.45
        } else if begins_loosely(surface) {
            0.3
        } else {
            1.0
        };
        return if surface.chars().count() <= 2 { noun * SINGLE } else { noun };
    }
    if surface.contains(char::is_whitespace) {
        return 1.0;
    }
    match () {
        () if surface.ends_with("ly") => 0.4 * SINGLE,
        () if surface.ends_with("ing") || surface.ends_with("ed") => 0.6 * SINGLE,
        () => SINGLE,
    }
}

/// In lower case, unless its capitals mean something.
fn surface(candidate: &Candidate<'_>) -> String {
    let text = candidate.surface.split_whitespace().collect::<Vec<_>>().join(" ").replace(['*', '`'], "");
    let mut chars = text.chars();
    match chars.next() {
        Some(first) if candidate.initial && first.is_uppercase() && !chars.as_str().contains(char::is_uppercase) => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::text::{Language, words};

    fn best(text: &str, code: &'static str, limit: usize) -> Vec<String> {
        let language = Language { code, confidence: 1.0 };
        let mut counter = PhraseCounter::default();
        for sentence in text.split_inclusive(['.', '。']) {
            counter.add(sentence, &words(sentence, &language), 1);
        }
        counter.best(limit).into_iter().map(|phrase| phrase.text).collect()
    }

    #[test]
    fn a_phrase_that_returns_beats_its_own_words() {
        let text = "Heat pumps move heat. A heat pump needs power. Most heat pumps are quiet. The house was cold.";
        assert_eq!(best(text, "en", 1), ["heat pump"]);
    }

    #[test]
    fn chinese_phrases_are_nouns() {
        let found = best("消息队列保存消息。消息队列不会丢失消息。工程师喜欢消息队列。", "zh", 2);
        assert!(found[0].contains("消息") || found[0].contains("队列"), "{found:?}");
    }

    #[test]
    fn nothing_is_said_twice() {
        let found = best("Green tea is tea. Green tea cools. Green tea again. Tea leaves.", "en", 5);
        assert_eq!(found.iter().filter(|phrase| phrase.contains("reen tea")).count(), 1, "{found:?}");
    }
}
