use crate::engines::text::is_han;

/// Words that announce what matters (Edmundson's bonus words).
const BONUS: &[&str] = &[
    "in short",
    "in summary",
    "in sum",
    "to sum up",
    "in conclusion",
    "conclude",
    "overall",
    "as a result",
    "the result",
    "therefore",
    "thus",
    "consequently",
    "hence",
    "that is why",
    "this is why",
    "this means",
    "which means",
    "what matters",
    "the point",
    "the lesson",
    "the reason",
    "the real",
    "the key",
    "the main",
    "the central",
    "the finding",
    "findings",
    "we found",
    "found that",
    "showed that",
    "shows that",
    "suggests that",
    "turned out",
    "turns out",
    "it follows",
    "in other words",
    "important",
    "essential",
    "crucial",
    "significant",
    "above all",
    "most of all",
    "ultimately",
    "the problem",
    "the answer",
    "the solution",
    "proposes",
    "argues that",
    "recommend",
    "the aim",
    "the cause",
    "in fact",
    "rather than",
    "not because",
    "what changed",
    "what really",
    "explains",
    "depends on",
    "because of",
];

/// Words that announce examples, doubts and asides (Edmundson's stigma words).
const STIGMA: &[&str] = &[
    "for example",
    "for instance",
    "such as",
    "e.g.",
    "incidentally",
    "by the way",
    "once,",
    "one day",
    "one morning",
    "yesterday",
    "perhaps",
    "maybe",
    "hardly",
    "imagine",
    "suppose",
    "remember when",
    "the story goes",
    "so to speak",
    "i remember",
    "my grandfather",
    "my grandmother",
    "my uncle",
    "my neighbour",
    "last week",
    "years ago",
    "at first glance",
    "he said",
    "she said",
    "asked",
    "laughed",
];

const BONUS_CHINESE: &[&str] = &[
    "总之",
    "综上",
    "总的来说",
    "由此可见",
    "可见",
    "因此",
    "所以",
    "结果",
    "结论",
    "说明",
    "表明",
    "意味着",
    "关键",
    "核心",
    "根本",
    "真正",
    "重要",
    "换句话说",
    "也就是说",
    "归根结底",
    "发现",
    "证明",
    "原因",
    "问题在于",
    "目的",
    "建议",
    "才能",
    "取决于",
    "本质",
    "教训",
    "最终",
    "不在于",
    "而在于",
    "而是",
    "解决",
    "办法",
    "效果",
    "主要",
    "首要",
];

const STIGMA_CHINESE: &[&str] = &[
    "例如",
    "比如",
    "譬如",
    "有一次",
    "有一天",
    "有一年",
    "那天",
    "小时候",
    "记得",
    "据说",
    "想象",
    "假如",
    "也许",
    "或许",
    "顺便",
    "打个比方",
    "笑着",
    "问道",
    "说道",
    "清晨",
    "傍晚",
];

/// How much a sentence announces that it matters: -1 to 1.
pub(super) fn cue(sentence: &str) -> f32 {
    let (bonus, stigma) = if sentence.contains(is_han) {
        (count(sentence, BONUS_CHINESE), count(sentence, STIGMA_CHINESE))
    } else {
        let lower = sentence.to_lowercase();
        (count_words(&lower, BONUS), count_words(&lower, STIGMA))
    };
    let asks = sentence.trim_end_matches(['"', '”', '’', ')', '）', '」']).ends_with(['?', '？']);
    let quoted = sentence.starts_with(['"', '“', '「', '‘']);
    // The first cue says most; more of them add less and less.
    let bonus = 1.0 - 0.45_f32.powi(bonus);
    (bonus - 0.5 * stigma.min(2) as f32 - 0.6 * f32::from(u8::from(asks)) - 0.3 * f32::from(u8::from(quoted)))
        .clamp(-1.0, 1.0)
}

fn count(text: &str, cues: &[&str]) -> i32 {
    cues.iter().filter(|cue| text.contains(**cue)).count() as i32
}

/// Like [`count`], but only at the beginning of words.
fn count_words(text: &str, cues: &[&str]) -> i32 {
    let begins = |at: usize| !text[..at].ends_with(char::is_alphanumeric);
    cues.iter().filter(|cue| text.match_indices(**cue).any(|(at, _)| begins(at))).count() as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conclusion_counts_more_than_an_example_or_a_question() {
        assert!(cue("In short, the pipes were too narrow.") > 0.3);
        assert!(cue("总之，关键在于管道太窄。") > 0.3);
        assert!(cue("For example, a pipe in the cellar burst.") < 0.0);
        assert!(cue("Why did the pipe burst?") < 0.0);
        assert_eq!(cue("The pipe is made of copper."), 0.0);
    }
}
