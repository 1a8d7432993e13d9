use crate::engines::local::corpus::Corpus;

/// A sentence as a unit vector of TF-IDF weights.
#[derive(Clone, Debug)]
pub(super) struct Vector {
    /// Sorted by term.
    weights: Box<[(u32, f32)]>,
}

impl Vector {
    pub(super) fn new(corpus: &Corpus<'_>, terms: &[u32]) -> Self {
        let mut sorted = terms.to_vec();
        sorted.sort_unstable();
        let mut weights: Vec<(u32, f32)> = Vec::with_capacity(sorted.len());
        for term in sorted {
            match weights.last_mut() {
                Some((last, count)) if *last == term => *count += 1.0,
                _ => weights.push((term, 1.0)),
            }
        }
        for (term, weight) in &mut weights {
            *weight *= corpus.rarity(*term);
        }
        let norm = weights.iter().map(|(_, weight)| weight * weight).sum::<f32>().sqrt();
        if norm > 0.0 {
            weights.iter_mut().for_each(|(_, weight)| *weight /= norm);
        }
        Vector { weights: weights.into() }
    }

    /// The terms with their weights.
    pub(super) fn terms(&self) -> impl Iterator<Item = (u32, f32)> + '_ {
        self.weights.iter().copied()
    }

    /// 0 (nothing in common) to 1 (the same words).
    pub(super) fn cosine(&self, other: &Vector) -> f32 {
        let (mut left, mut right) = (self.weights.iter().peekable(), other.weights.iter().peekable());
        let mut sum = 0.0;
        while let (Some((a, x)), Some((b, y))) = (left.peek(), right.peek()) {
            match a.cmp(b) {
                std::cmp::Ordering::Less => {
                    left.next();
                }
                std::cmp::Ordering::Greater => {
                    right.next();
                }
                std::cmp::Ordering::Equal => {
                    sum += x * y;
                    left.next();
                    right.next();
                }
            }
        }
        sum.min(1.0)
    }
}
