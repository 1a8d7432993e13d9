use super::{corpus::Corpus, semantics::Types};

/// How sure an analysis is, 0 to 1, by formula:
/// `0.4 * language + 0.3 * (1 - e^(-words / 40)) + 0.3 * evidence`, where `language` is the certainty of its detection,
/// `words` counts content words, and `evidence` is how strongly the best semantic type showed.
pub(super) fn confidence(corpus: &Corpus<'_>, types: &Types) -> f64 {
    let words: usize = corpus.terms.iter().flatten().map(|terms| terms.len()).sum();
    let amount = 1.0 - (-(words as f64) / 40.0).exp();
    let sum = 0.4 * f64::from(corpus.language().confidence) + 0.3 * amount + 0.3 * f64::from(types.evidence());
    (sum.clamp(0.0, 1.0) * 1_000.0).round() / 1_000.0
}
