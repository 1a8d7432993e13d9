use std::collections::HashMap;

use super::{
    phrases::{Phrase, PhraseCounter},
    work::Work,
};
use crate::engines::{
    EngineError, Material,
    text::{Document, Language, detect_language, words},
};

/// All the texts of a job, read and counted once.
pub struct Corpus<'a> {
    /// The documents, in the order of the materials.
    pub documents: Vec<Document<'a>>,
    /// For every document, for every sentence: the terms of its content words.
    pub terms: Vec<Vec<Box<[u32]>>>,
    /// For every document: the terms of its title and headings.
    pub titles: Vec<Box<[u32]>>,
    /// Key phrases over everything, best first.
    pub phrases: Vec<Phrase>,
    vocabulary: HashMap<String, u32>,
    /// In how many sentences a term stands.
    frequencies: Vec<u32>,
    sentences: u32,
    language: Language,
}

/// How many key phrases are kept.
const PHRASES: usize = 24;
/// A heading's words weigh as much as this many occurrences.
const HEADING_WEIGHT: u32 = 2;

impl<'a> Corpus<'a> {
    /// Reads one text on its own.
    pub fn of_text(title: &'a str, text: &'a str) -> Self {
        Self::of_texts([(title, text)])
    }

    /// Reads texts with their titles.
    pub fn of_texts(texts: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut reader = Reader::default();
        texts.into_iter().for_each(|(title, text)| reader.read(title, text));
        reader.finish()
    }

    /// Reads the materials of a job, with progress from 0 to `to` percent.
    pub(super) fn read(materials: &'a [Material], work: &Work<'_>, to: u8) -> Result<Self, EngineError> {
        let mut reader = Reader::default();
        for (index, material) in materials.iter().enumerate() {
            work.check()?;
            work.progress(0, to, index, materials.len(), "reading");
            reader.read(&material.title, &material.text);
        }
        work.check()?;
        Ok(reader.finish())
    }

    /// The language of most of the text.
    pub fn language(&self) -> Language {
        self.language
    }

    /// How many sentences there are in all.
    pub fn sentence_count(&self) -> usize {
        self.sentences as usize
    }

    /// How rare a term is: `ln(1 + sentences / sentences with it)`.
    pub fn rarity(&self, term: u32) -> f32 {
        let frequency = self.frequencies.get(term as usize).copied().unwrap_or(0).max(1);
        (1.0 + self.sentences as f32 / frequency as f32).ln()
    }

    /// The known terms of a text, for comparing it with sentences.
    pub fn known_terms(&self, text: &str) -> Box<[u32]> {
        if text.trim().is_empty() {
            return Box::default();
        }
        let language = detect_language(text);
        let found = words(text, &language);
        found.iter().filter(|word| !word.stop).filter_map(|word| self.vocabulary.get(&word.term).copied()).collect()
    }

    /// For every term the weight of the best key phrase it stands in, 0 to 1.
    pub fn phrase_weights(&self) -> HashMap<u32, f32> {
        let best = self.phrases.first().map_or(1.0, |phrase| phrase.score.max(f32::MIN_POSITIVE));
        let mut weights = HashMap::new();
        for phrase in &self.phrases {
            for term in phrase.terms.iter().filter_map(|term| self.vocabulary.get(term)) {
                let weight = weights.entry(*term).or_insert(0.0_f32);
                *weight = weight.max(phrase.score / best);
            }
        }
        weights
    }
}

#[derive(Default)]
struct Reader<'a> {
    documents: Vec<Document<'a>>,
    terms: Vec<Vec<Box<[u32]>>>,
    titles: Vec<Box<[u32]>>,
    vocabulary: HashMap<String, u32>,
    frequencies: Vec<u32>,
    sentences: u32,
    phrases: PhraseCounter<'a>,
    languages: HashMap<&'static str, (usize, f32)>,
}

impl<'a> Reader<'a> {
    fn read(&mut self, title: &'a str, text: &'a str) {
        let document = Document::read(text);
        let entry = self.languages.entry(document.language.code).or_insert((0, 0.0));
        entry.0 += text.len();
        entry.1 = entry.1.max(document.language.confidence);

        let mut titles = Vec::new();
        for heading in std::iter::once(title).chain(document.headings()).filter(|heading| !heading.is_empty()) {
            let found = words(heading, &document.language);
            self.phrases.add(heading, &found, HEADING_WEIGHT);
            titles.extend(found.into_iter().filter(|word| !word.stop).map(|word| self.term(word.term)));
        }
        titles.sort_unstable();
        titles.dedup();

        let mut terms = Vec::with_capacity(document.sentences.len());
        for sentence in &document.sentences {
            let found = document.words(sentence);
            self.phrases.add(sentence.text, &found, 1);
            let ids: Box<[u32]> =
                found.into_iter().filter(|word| !word.stop).map(|word| self.term(word.term)).collect();
            let mut distinct = ids.to_vec();
            distinct.sort_unstable();
            distinct.dedup();
            for id in distinct {
                self.frequencies[id as usize] += 1;
            }
            self.sentences += 1;
            terms.push(ids);
        }
        self.documents.push(document);
        self.terms.push(terms);
        self.titles.push(titles.into());
    }

    fn term(&mut self, term: String) -> u32 {
        let next = self.frequencies.len() as u32;
        let id = *self.vocabulary.entry(term).or_insert(next);
        if id == next {
            self.frequencies.push(0);
        }
        id
    }

    fn finish(self) -> Corpus<'a> {
        // Of two languages with equally much text the name decides, so that the answer is always the same.
        let language = self
            .languages
            .into_iter()
            .max_by_key(|(code, (bytes, _))| (*code != "und", *bytes, *code))
            .map_or(Language { code: "und", confidence: 0.0 }, |(code, (_, confidence))| Language { code, confidence });
        Corpus {
            documents: self.documents,
            terms: self.terms,
            titles: self.titles,
            phrases: self.phrases.best(PHRASES),
            vocabulary: self.vocabulary,
            frequencies: self.frequencies,
            sentences: self.sentences,
            language,
        }
    }
}
