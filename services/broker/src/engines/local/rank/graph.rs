use std::collections::HashMap;

use super::vector::Vector;

/// The probability of following an edge instead of starting anew (PageRank's usual value).
const DAMPING: f32 = 0.85;
/// Sentences less alike than this do not vote for each other (Erkan and Radev found 0.1 to work best).
const THRESHOLD: f32 = 0.1;
const ROUNDS: usize = 40;
const PRECISION: f32 = 1e-5;

/// Continuous LexRank: how central every sentence is, 0 to 1 with 1 for the most central. `restart` says where a random
/// reader begins anew; evenly when absent.
pub(super) fn lexrank(sentences: &[Vector], restart: Option<Vec<f32>>) -> Vec<f32> {
    let count = sentences.len();
    if count == 0 {
        return Vec::new();
    }
    let restart = distribution(restart.unwrap_or_default(), count);
    let edges = similarities(sentences);
    let mut ranks = restart.clone();
    for _ in 0..ROUNDS {
        let mut next: Vec<f32> = restart.iter().map(|share| (1.0 - DAMPING) * share).collect();
        for (from, targets) in edges.iter().enumerate() {
            match targets.is_empty() {
                true => next.iter_mut().zip(&restart).for_each(|(rank, share)| *rank += DAMPING * ranks[from] * share),
                false => targets.iter().for_each(|(to, weight)| next[*to] += DAMPING * ranks[from] * weight),
            }
        }
        let change: f32 = next.iter().zip(&ranks).map(|(new, old)| (new - old).abs()).sum();
        ranks = next;
        if change < PRECISION {
            break;
        }
    }
    let best = ranks.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
    ranks.iter_mut().for_each(|rank| *rank /= best);
    ranks
}

fn distribution(mut weights: Vec<f32>, count: usize) -> Vec<f32> {
    weights.resize(count, 0.0);
    // A tenth is spread evenly, so that no sentence is unreachable.
    let sum: f32 = weights.iter().sum();
    let even = 1.0 / count as f32;
    match sum > 0.0 {
        true => weights.into_iter().map(|weight| 0.9 * weight / sum + 0.1 * even).collect(),
        false => vec![even; count],
    }
}

/// For every sentence the sentences like it, with weights that sum to 1. Works over an index of terms, so that
/// sentences with nothing in common cost nothing.
fn similarities(sentences: &[Vector]) -> Vec<Vec<(usize, f32)>> {
    let mut index: HashMap<u32, Vec<(usize, f32)>> = HashMap::new();
    for (number, sentence) in sentences.iter().enumerate() {
        for (term, weight) in sentence.terms() {
            index.entry(term).or_default().push((number, weight));
        }
    }
    let mut row = vec![0.0_f32; sentences.len()];
    let mut edges = Vec::with_capacity(sentences.len());
    for (number, sentence) in sentences.iter().enumerate() {
        row.fill(0.0);
        for (term, weight) in sentence.terms() {
            for (other, there) in &index[&term] {
                row[*other] += weight * there;
            }
        }
        row[number] = 0.0;
        let sum: f32 = row.iter().filter(|weight| **weight >= THRESHOLD).sum();
        let targets = row.iter().enumerate().filter(|(_, weight)| **weight >= THRESHOLD);
        edges.push(targets.map(|(other, weight)| (other, weight / sum)).collect());
    }
    edges
}
