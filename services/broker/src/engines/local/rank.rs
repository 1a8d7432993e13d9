use super::{corpus::Corpus, cues, work::Work};
use crate::engines::{EngineError, text::BlockKind};

mod graph;
mod vector;

use self::{graph::lexrank, vector::Vector};

/// How many sentences are compared with each other at most, over all documents together.
pub const MAX_CANDIDATES: usize = 480;
/// How many sentences of one document are compared with each other at most.
const MAX_PER_DOCUMENT: usize = 240;
/// Maximal marginal relevance: how much relevance counts against novelty.
const RELEVANCE: f32 = 0.8;

// What a sentence's parts of the score weigh.
const CENTRALITY: f32 = 0.37;
const KEY_TERMS: f32 = 0.18;
const TITLE: f32 = 0.14;
const CUE: f32 = 0.26;
const PLACE: f32 = 0.05;
/// A list item without a full stop is a part of a list more than a sentence.
const FRAGMENT: f32 = 0.75;
/// How much an instruction moves the ranking, when there is one.
const QUERY: f32 = 0.45;

/// A sentence that was chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Pick {
    /// Its document.
    pub document: usize,
    /// Its index in the document.
    pub sentence: usize,
    /// Its score, 0 to 1.
    pub score: f32,
}

struct Candidate {
    document: usize,
    sentence: usize,
    vector: Vector,
    score: f32,
}

/// Chooses the `count` sentences that say most about the whole corpus, in source order. `query` leans the choice
/// towards what it names.
pub fn select(corpus: &Corpus<'_>, query: &str, count: usize) -> Vec<Pick> {
    Ranking::new(corpus, query).select(count, |_, _| Ok::<(), std::convert::Infallible>(())).unwrap_or_default()
}

/// [`select`] as a part of a job: reports progress from `from` to `to` and stops when the job is cancelled.
pub(super) fn select_for(
    work: &Work<'_>,
    corpus: &Corpus<'_>,
    query: &str,
    count: usize,
    (from, to): (u8, u8),
) -> Result<Vec<Pick>, EngineError> {
    Ranking::new(corpus, query).select(count, |done, all| {
        work.progress(from, to, done, all, "ranking");
        work.check()
    })
}

struct Ranking<'c, 'a> {
    corpus: &'c Corpus<'a>,
    phrase_weights: std::collections::HashMap<u32, f32>,
    query: Option<Vector>,
}

impl<'c, 'a> Ranking<'c, 'a> {
    fn new(corpus: &'c Corpus<'a>, query: &str) -> Self {
        let terms = corpus.known_terms(query);
        let query = (!terms.is_empty()).then(|| Vector::new(corpus, &terms));
        Ranking { corpus, phrase_weights: corpus.phrase_weights(), query }
    }

    /// `step` is called between bounded pieces of work.
    fn select<E>(&self, count: usize, mut step: impl FnMut(usize, usize) -> Result<(), E>) -> Result<Vec<Pick>, E> {
        let documents = self.corpus.documents.len();
        // Of many documents each gives fewer candidates; the best of all go on.
        let quota = (MAX_CANDIDATES / documents.max(1)).clamp(2, MAX_PER_DOCUMENT);
        let mut candidates = Vec::new();
        for document in 0..documents {
            step(document, documents)?;
            candidates.extend(self.rank_document(self.quotable(document), document, quota));
        }
        if candidates.is_empty() {
            // Nothing can stand on its own: better a fragment than nothing.
            for document in 0..documents {
                step(document, documents)?;
                candidates.extend(self.rank_document(self.unbroken(document), document, quota));
            }
        }
        if candidates.len() > MAX_CANDIDATES {
            candidates.sort_by(by_score);
            candidates.truncate(MAX_CANDIDATES);
            candidates.sort_by_key(|candidate| (candidate.document, candidate.sentence));
        }
        step(documents, documents)?;
        if documents > 1 {
            self.rank_across(&mut candidates);
        }
        let mut picks = diverse(&candidates, count, documents);
        picks.sort_by_key(|pick| (pick.document, pick.sentence));
        Ok(picks)
    }

    /// The best sentences of one document.
    fn rank_document(&self, mut chosen: Vec<usize>, document: usize, quota: usize) -> Vec<Candidate> {
        if chosen.len() > MAX_PER_DOCUMENT {
            chosen = self.nearest_to_centroid(document, chosen);
        }
        let terms = &self.corpus.terms[document];
        let vectors: Vec<Vector> = chosen.iter().map(|index| Vector::new(self.corpus, &terms[*index])).collect();
        let restart = self.query.as_ref().map(|query| vectors.iter().map(|vector| vector.cosine(query)).collect());
        let centrality = lexrank(&vectors, restart);
        let mut candidates: Vec<Candidate> = vectors
            .into_iter()
            .zip(chosen)
            .zip(centrality)
            .map(|((vector, sentence), central)| {
                let score = self.score(document, sentence, &vector, central);
                Candidate { document, sentence, vector, score }
            })
            .collect();
        candidates.sort_by(by_score);
        candidates.truncate(quota);
        candidates.sort_by_key(|candidate| candidate.sentence);
        candidates
    }

    /// The sentences of a document that can stand on their own.
    fn quotable(&self, document: usize) -> Vec<usize> {
        let read = &self.corpus.documents[document];
        (0..read.sentences.len())
            .filter(|index| {
                let sentence = &read.sentences[*index];
                let says_something = self.corpus.terms[document][*index].len() >= 3;
                !sentence.broken && says_something && !is_link(sentence.text) && !is_label(sentence.text)
            })
            .collect()
    }

    /// The sentences of a document that can be quoted at all; when there is none, any.
    fn unbroken(&self, document: usize) -> Vec<usize> {
        let read = &self.corpus.documents[document];
        let all = 0..read.sentences.len();
        let whole: Vec<usize> = all.clone().filter(|index| !read.sentences[*index].broken).collect();
        if whole.is_empty() { all.collect() } else { whole }
    }

    /// Cuts a long document down in linear time: the sentences that are most like the whole (centroid method, Radev et
    /// al. 2004).
    fn nearest_to_centroid(&self, document: usize, sentences: Vec<usize>) -> Vec<usize> {
        let terms = &self.corpus.terms[document];
        let mut counts: std::collections::HashMap<u32, f32> = std::collections::HashMap::new();
        for index in &sentences {
            for term in &*terms[*index] {
                *counts.entry(*term).or_default() += 1.0;
            }
        }
        let most = sentences.len() as f32;
        let query = self.query.as_ref();
        let mut scored: Vec<(f32, usize)> = sentences
            .into_iter()
            .map(|index| {
                let vector = Vector::new(self.corpus, &terms[index]);
                let central: f32 = vector.terms().map(|(term, weight)| weight * (counts[&term] / most).sqrt()).sum();
                let asked = query.map_or(0.0, |query| vector.cosine(query));
                let cue = cues::cue(self.corpus.documents[document].sentences[index].text);
                (central + asked + 0.2 * cue, index)
            })
            .collect();
        scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        scored.truncate(MAX_PER_DOCUMENT);
        let mut kept: Vec<usize> = scored.into_iter().map(|(_, index)| index).collect();
        kept.sort_unstable();
        kept
    }

    /// A sentence's score from its centrality and Edmundson's features, each 0 to 1 (cues may be negative).
    fn score(&self, document: usize, index: usize, vector: &Vector, centrality: f32) -> f32 {
        let sentence = &self.corpus.documents[document].sentences[index];
        let terms = &self.corpus.terms[document][index];
        let key = self.key_terms(terms);
        let title = self.title(document, terms);
        let place = self.place(document, index);
        let own =
            CENTRALITY * centrality + KEY_TERMS * key + TITLE * title + CUE * cues::cue(sentence.text) + PLACE * place;
        let own = match &self.query {
            Some(query) => (1.0 - QUERY) * own + QUERY * vector.cosine(query).sqrt(),
            None => own,
        };
        let whole = match self.corpus.documents[document].blocks[sentence.block].kind {
            BlockKind::ListItem { .. } if !ends(sentence.text) => FRAGMENT,
            _ => 1.0,
        };
        (own * whole * length_factor(terms.len())).clamp(0.0, 1.0)
    }

    fn key_terms(&self, terms: &[u32]) -> f32 {
        let mut distinct = terms.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        let sum: f32 = distinct.iter().filter_map(|term| self.phrase_weights.get(term)).sum();
        // A long sentence holds more of anything; the root takes most of that back.
        (sum / (distinct.len().max(4) as f32).sqrt()).min(1.0)
    }

    fn title(&self, document: usize, terms: &[u32]) -> f32 {
        let title = &self.corpus.titles[document];
        if title.is_empty() {
            return 0.0;
        }
        let all: f32 = title.iter().take(12).map(|term| self.corpus.rarity(*term)).sum();
        let hit: f32 = title.iter().filter(|term| terms.contains(term)).map(|term| self.corpus.rarity(*term)).sum();
        (hit / all.max(f32::MIN_POSITIVE)).min(1.0)
    }

    /// Baxendale's rule: the ends of paragraphs hold the topic. List items hold details.
    fn place(&self, document: usize, index: usize) -> f32 {
        let read = &self.corpus.documents[document];
        let block = read.sentences[index].block;
        if !matches!(read.blocks[block].kind, BlockKind::Paragraph) {
            return 0.2;
        }
        let first = index == 0 || read.sentences[index - 1].block != block;
        let last = read.sentences.get(index + 1).is_none_or(|next| next.block != block);
        if first || last { 1.0 } else { 0.5 }
    }

    /// Scores the candidates of several documents against each other.
    fn rank_across(&self, candidates: &mut [Candidate]) {
        let vectors: Vec<Vector> = candidates.iter().map(|candidate| candidate.vector.clone()).collect();
        let restart = candidates.iter().map(|candidate| candidate.score.max(0.01)).collect();
        for (candidate, central) in candidates.iter_mut().zip(lexrank(&vectors, Some(restart))) {
            candidate.score = 0.5 * candidate.score + 0.5 * central;
        }
    }
}

fn ends(sentence: &str) -> bool {
    sentence.trim_end_matches(['"', '”', ')', '）', '*', '_', '`']).ends_with(['.', '!', '?', '。', '！', '？'])
}

/// Whether a sentence is nothing but a link, as in a table of contents.
fn is_link(sentence: &str) -> bool {
    sentence.starts_with('[') && sentence.ends_with(')') && sentence.matches("](").count() == 1
}

/// Whether a sentence only announces what follows it: it ends with a colon, or is bold as a whole like a heading.
fn is_label(sentence: &str) -> bool {
    let bold = sentence.len() > 4 && sentence.starts_with("**") && sentence[2..].find("**") == Some(sentence.len() - 4);
    sentence.trim_end_matches(['*', '_']).ends_with([':', '：']) || (bold && !ends(sentence))
}

/// Very short sentences lean on their neighbours, very long ones hide what matters.
fn length_factor(content_words: usize) -> f32 {
    match content_words {
        0..=2 => 0.4,
        3..=4 => 0.75,
        5..=28 => 1.0,
        _ => (28.0 / content_words as f32).max(0.5),
    }
}

fn by_score(a: &Candidate, b: &Candidate) -> std::cmp::Ordering {
    b.score.total_cmp(&a.score).then((a.document, a.sentence).cmp(&(b.document, b.sentence)))
}

/// Chooses by maximal marginal relevance; a document that has given nothing yet is preferred a little.
fn diverse(candidates: &[Candidate], count: usize, documents: usize) -> Vec<Pick> {
    let best = candidates.iter().map(|candidate| candidate.score).fold(f32::MIN_POSITIVE, f32::max);
    let mut likeness = vec![0.0_f32; candidates.len()];
    let mut taken = vec![false; candidates.len()];
    let mut given = vec![0_u32; documents];
    let mut picks = Vec::new();
    while picks.len() < count.min(candidates.len()) {
        let value = |index: usize| {
            let candidate = &candidates[index];
            let fresh = if documents > 1 && given[candidate.document] == 0 { 0.1 } else { 0.0 };
            RELEVANCE * candidate.score / best - (1.0 - RELEVANCE) * likeness[index] + fresh
        };
        let open = (0..candidates.len()).filter(|index| !taken[*index] && likeness[*index] < 0.95);
        // The first of equals wins.
        let Some(next) = open.rev().max_by(|a, b| value(*a).total_cmp(&value(*b))) else { break };
        taken[next] = true;
        given[candidates[next].document] += 1;
        for (index, like) in likeness.iter_mut().enumerate() {
            *like = like.max(candidates[next].vector.cosine(&candidates[index].vector));
        }
        let candidate = &candidates[next];
        picks.push(Pick { document: candidate.document, sentence: candidate.sentence, score: candidate.score });
    }
    picks
}
