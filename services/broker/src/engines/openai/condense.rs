use crate::engines::{
    Job, Material,
    local::{Corpus, MAX_CANDIDATES, select},
    text::detect_language,
};

/// The materials cut to `limit` bytes: of texts that are too long together, the most central sentences are kept, in order.
/// Says whether anything was left out. Takes a while for large materials: run it where blocking is allowed.
pub(super) fn condense(job: &Job, limit: usize) -> (Vec<Material>, bool) {
    if job.bytes() <= limit {
        return (job.materials.clone(), false);
    }
    let corpus = Corpus::of_texts(job.materials.iter().map(|material| (&*material.title, &*material.text)));
    let picks = select(&corpus, &job.instruction, MAX_CANDIDATES);
    let mut kept: Vec<Material> =
        job.materials.iter().map(|material| Material { text: String::new(), ..material.clone() }).collect();
    // The best first, until the limit; then in source order again.
    let mut ranked: Vec<_> = picks.iter().collect();
    ranked.sort_by(|a, b| b.score.total_cmp(&a.score).then((a.document, a.sentence).cmp(&(b.document, b.sentence))));
    let mut left = limit;
    ranked.retain(|pick| {
        let length = corpus.documents[pick.document].sentences[pick.sentence].text.len() + 1;
        let fits = length <= left;
        left -= if fits { length } else { 0 };
        fits
    });
    ranked.sort_by_key(|pick| (pick.document, pick.sentence));
    for pick in ranked {
        let text = &mut kept[pick.document].text;
        text.push_str(corpus.documents[pick.document].sentences[pick.sentence].text);
        text.push('\n');
    }
    kept.retain(|material| !material.text.is_empty());
    (kept, true)
}

/// The language of most of the material, by name or code.
pub(super) fn language(materials: &[Material]) -> &'static str {
    let longest = materials.iter().max_by_key(|material| material.text.len());
    longest.map_or("und", |material| detect_language(&material.text).code)
}
