use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    sync::LazyLock,
};

use jieba_rs::Jieba;
use rust_stemmers::{Algorithm, Stemmer};

/// The stop words and the stemmer of a language; built once per process.
pub struct Lexicon {
    stop_words: HashSet<&'static str>,
    stemmer: Option<Stemmer>,
}

impl Lexicon {
    fn new(code: &str, algorithm: Option<Algorithm>) -> Self {
        let mut stop_words: HashSet<&'static str> =
            stop_words::lookup(code).unwrap_or_default().iter().copied().collect();
        match code {
            "en" => {
                stop_words.extend(ENGLISH_STOP_WORDS.split_whitespace());
                for topic in ENGLISH_TOPICS.split_whitespace() {
                    stop_words.remove(topic);
                }
            }
            "zh" => stop_words.extend(CHINESE_STOP_WORDS.split_whitespace()),
            _ => {}
        }
        Lexicon { stop_words, stemmer: algorithm.map(Stemmer::create) }
    }

    /// Whether a lower-case word carries no meaning of its own.
    pub fn is_stop(&self, word: &str) -> bool {
        self.stop_words.contains(word)
    }

    /// The stem of a lower-case word.
    pub fn stem<'a>(&self, word: &'a str) -> Cow<'a, str> {
        match &self.stemmer {
            // Words with digits are names of things (`utf8`, `3d`): stemming garbles them.
            Some(stemmer) if !word.bytes().any(|byte| byte.is_ascii_digit()) => stemmer.stem(word),
            _ => Cow::Borrowed(word),
        }
    }
}

/// What the general list lacks: contractions, and empty verbs and adverbs.
const ENGLISH_STOP_WORDS: &str = include_str!("lexicon/english_stop_words.txt");
/// What the general list holds although texts are about it.
const ENGLISH_TOPICS: &str = include_str!("lexicon/english_topics.txt");
/// What the general list lacks.
const CHINESE_STOP_WORDS: &str = include_str!("lexicon/chinese_stop_words.txt");

static LEXICONS: LazyLock<HashMap<&'static str, Lexicon>> = LazyLock::new(|| {
    [
        ("en", Some(Algorithm::English)),
        ("zh", None),
        ("ja", None),
        ("ko", None),
        ("es", Some(Algorithm::Spanish)),
        ("pt", Some(Algorithm::Portuguese)),
        ("it", Some(Algorithm::Italian)),
        ("fr", Some(Algorithm::French)),
        ("de", Some(Algorithm::German)),
        ("nl", Some(Algorithm::Dutch)),
        ("sv", Some(Algorithm::Swedish)),
        ("no", Some(Algorithm::Norwegian)),
        ("da", Some(Algorithm::Danish)),
        ("fi", Some(Algorithm::Finnish)),
        ("ru", Some(Algorithm::Russian)),
        ("hu", Some(Algorithm::Hungarian)),
        ("ro", Some(Algorithm::Romanian)),
        ("tr", Some(Algorithm::Turkish)),
        ("el", Some(Algorithm::Greek)),
        ("ar", Some(Algorithm::Arabic)),
        ("ta", Some(Algorithm::Tamil)),
        ("pl", None),
        ("uk", None),
        ("cs", None),
        ("hi", None),
        ("he", None),
        ("id", None),
        ("vi", None),
    ]
    .into_iter()
    .map(|(code, algorithm)| (code, Lexicon::new(code, algorithm)))
    .collect()
});

static JIEBA: LazyLock<Jieba> = LazyLock::new(Jieba::new);

/// The lexicon of a language, by its code. Unknown languages get the English one: what they mix in is mostly English.
pub fn lexicon(code: &str) -> &'static Lexicon {
    LEXICONS.get(code).unwrap_or_else(|| &LEXICONS["en"])
}

/// The Chinese dictionary; the first call loads it, which takes a good part of a second.
pub(super) fn jieba() -> &'static Jieba {
    &JIEBA
}

/// Loads stop words and the Chinese dictionary, so that the first task does not pay for it. Blocks.
pub fn warm_up() {
    let _ = lexicon("en");
    let _ = jieba();
}

/// Whether a Chinese phrase of several words begins with one that only counts or qualifies what follows, or with an empty
/// verb: 几个, 一套, 具有. Such a phrase is cut out of a sentence and names nothing.
pub fn begins_loosely(phrase: &str) -> bool {
    const EMPTY_VERBS: &[&str] =
        &["具有", "具备", "拥有", "利用", "用于", "提供", "包括", "包含", "获取", "实现", "确保"];
    let tagged = jieba().tag(phrase, false);
    tagged.len() > 1
        && tagged.first().is_some_and(|first| {
            matches!(first.tag, "m" | "mq" | "q" | "r" | "d" | "p" | "c" | "u") || EMPTY_VERBS.contains(&first.word)
        })
}

/// Whether the last word of a Chinese phrase is a noun, a name, a verbal noun or a foreign word by the dictionary.
pub fn is_noun_like(phrase: &str) -> bool {
    jieba().tag(phrase, false).last().is_some_and(|last| {
        last.tag.starts_with('n') || matches!(last.tag, "vn" | "an" | "eng" | "x" | "j" | "l" | "i" | "t" | "s" | "b")
    })
}
