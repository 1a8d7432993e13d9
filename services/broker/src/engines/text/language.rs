/// A detected language.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Language {
    /// Its ISO 639-1 code (639-3 where there is none), or `und` when nothing can be said.
    pub code: &'static str,
    /// 0 to 1.
    pub confidence: f32,
}

impl Language {
    /// Whether words must be found with a dictionary.
    pub fn is_chinese(&self) -> bool {
        self.code == "zh"
    }

    /// [`Self::joint_after`] for sentences that need not be neighbours: a list item or label that is no whole sentence
    /// gets a line of its own.
    pub fn joint_between(&self, before: &str, next: &str) -> &'static str {
        if is_ended(next) { self.joint_after(before) } else { "\n" }
    }

    /// What joins a sentence of this language to the one before it: nothing or a space, and a line break when the one
    /// before (a list item, say) has no end of its own.
    pub fn joint_after(&self, before: &str) -> &'static str {
        let ended = before.trim_end_matches(CLOSERS);
        match self.code {
            _ if !is_ended(before) => "\n",
            // A foreign sentence in such a text still ends with a space.
            "zh" | "ja" if !after_latin(ended) => "",
            _ => " ",
        }
    }
}

/// What may stand behind the end of a sentence.
const CLOSERS: &[char] = &['"', '\'', '”', '’', '」', '』', ')', '）', ']', '*', '_', '`'];

fn is_ended(sentence: &str) -> bool {
    let ends = ['.', '!', '?', '。', '！', '？', '…', ':', '：', ';', '；'];
    sentence.trim_end_matches(CLOSERS).ends_with(ends)
}

/// Whether a sentence ends with a sign of the Latin script behind a Latin letter or digit.
fn after_latin(ended: &str) -> bool {
    let mut last = ended.chars().rev();
    last.next().is_some_and(|sign| sign.is_ascii()) && last.next().is_some_and(|before| before.is_ascii())
}

/// Detection looks at this much text at most; more does not make it surer.
const SAMPLE_BYTES: usize = 2_000;

/// Whether a character is a Chinese one.
pub fn is_han(character: char) -> bool {
    matches!(character, '\u{4E00}'..='\u{9FFF}' | '\u{3400}'..='\u{4DBF}' | '\u{F900}'..='\u{FAFF}' | '\u{20000}'..='\u{323AF}')
}

/// Detects the language of a text from its scripts first and, for what scripts do not decide, from its trigrams
/// (whatlang, after Cavnar and Trenkle, "N-Gram-Based Text Categorization", 1994).
pub fn detect_language(text: &str) -> Language {
    let sample = sample(text);
    let (mut han, mut kana, mut hangul, mut other) = (0_u32, 0_u32, 0_u32, 0_u32);
    for character in sample.chars() {
        match character {
            character if is_han(character) => han += 1,
            '\u{3040}'..='\u{30FF}' => kana += 1,
            '\u{AC00}'..='\u{D7AF}' => hangul += 1,
            character if character.is_alphabetic() => other += 1,
            _ => {}
        }
    }
    // One Chinese character says about as much as three or four letters.
    let letters = han + kana + hangul + other.div_ceil(4);
    if letters == 0 {
        return Language { code: "und", confidence: 0.0 };
    }
    let share = |count: u32| count as f32 / letters as f32;
    if share(kana) > 0.15 {
        return Language { code: "ja", confidence: share(kana + han) };
    }
    if share(hangul) > 0.4 {
        return Language { code: "ko", confidence: share(hangul) };
    }
    if share(han) > 0.4 {
        return Language { code: "zh", confidence: share(han) };
    }
    by_trigrams(sample)
}

fn by_trigrams(sample: &str) -> Language {
    let english = english_function_words(sample);
    match whatlang::detect(sample) {
        Some(info) if info.is_reliable() => {
            Language { code: short_code(info.lang().code()), confidence: info.confidence() as f32 }
        }
        // Trigrams of a few words say little; function words do.
        _ if english > 0.2 => Language { code: "en", confidence: (0.5 + english).min(0.95) },
        Some(info) => Language { code: short_code(info.lang().code()), confidence: info.confidence() as f32 * 0.5 },
        None => Language { code: "und", confidence: 0.0 },
    }
}

/// The share of the commonest English function words.
fn english_function_words(sample: &str) -> f32 {
    const WORDS: &[&str] = &[
        "the", "of", "and", "to", "a", "in", "is", "it", "that", "for", "was", "on", "are", "with", "as", "be", "this",
        "not",
    ];
    let (mut hits, mut all) = (0_u32, 0_u32);
    for word in sample.split(|character: char| !character.is_alphanumeric()).filter(|word| !word.is_empty()).take(400) {
        all += 1;
        hits += u32::from(WORDS.iter().any(|known| known.eq_ignore_ascii_case(word)));
    }
    if all == 0 { 0.0 } else { hits as f32 / all as f32 }
}

fn sample(text: &str) -> &str {
    let text = text.trim();
    let end = (0..=SAMPLE_BYTES.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    &text[..end]
}

/// ISO 639-1 for what whatlang names by ISO 639-3.
fn short_code(code: &'static str) -> &'static str {
    const CODES: &[(&str, &str)] = &[
        ("eng", "en"),
        ("cmn", "zh"),
        ("spa", "es"),
        ("por", "pt"),
        ("ita", "it"),
        ("fra", "fr"),
        ("deu", "de"),
        ("rus", "ru"),
        ("ukr", "uk"),
        ("ara", "ar"),
        ("hin", "hi"),
        ("jpn", "ja"),
        ("heb", "he"),
        ("pol", "pl"),
        ("kor", "ko"),
        ("nob", "no"),
        ("dan", "da"),
        ("swe", "sv"),
        ("fin", "fi"),
        ("tur", "tr"),
        ("nld", "nl"),
        ("hun", "hu"),
        ("ces", "cs"),
        ("ell", "el"),
        ("bul", "bg"),
        ("bel", "be"),
        ("mar", "mr"),
        ("kan", "kn"),
        ("ron", "ro"),
        ("slv", "sl"),
        ("hrv", "hr"),
        ("srp", "sr"),
        ("mkd", "mk"),
        ("lit", "lt"),
        ("lav", "lv"),
        ("est", "et"),
        ("tam", "ta"),
        ("vie", "vi"),
        ("urd", "ur"),
        ("tha", "th"),
        ("guj", "gu"),
        ("uzb", "uz"),
        ("pan", "pa"),
        ("aze", "az"),
        ("ind", "id"),
        ("tel", "te"),
        ("pes", "fa"),
        ("mal", "ml"),
        ("ori", "or"),
        ("mya", "my"),
        ("nep", "ne"),
        ("sin", "si"),
        ("khm", "km"),
        ("tuk", "tk"),
        ("zul", "zu"),
        ("sna", "sn"),
        ("afr", "af"),
        ("lat", "la"),
        ("slk", "sk"),
        ("cat", "ca"),
        ("tgl", "tl"),
        ("hye", "hy"),
        ("cym", "cy"),
        ("ben", "bn"),
        ("kat", "ka"),
        ("epo", "eo"),
        ("amh", "am"),
        ("jav", "jv"),
        ("yid", "yi"),
        ("aka", "ak"),
    ];
    CODES.iter().find(|(long, _)| *long == code).map_or(code, |(_, short)| short)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_joined_as_their_writers_would() {
        let chinese = Language { code: "zh", confidence: 1.0 };
        assert_eq!(chinese.joint_after("网关转发请求。"), "");
        assert_eq!(chinese.joint_after("The gateway forwards requests."), " ");
        assert_eq!(chinese.joint_after("真的吗?"), "");
        assert_eq!(chinese.joint_between("网关转发请求。", "它很快。"), "");
        assert_eq!(chinese.joint_between("网关转发请求。", "**职责**：任务调度"), "\n");
    }

    #[test]
    fn languages_are_told_apart() {
        let cases = [
            ("The river rose slowly in the night and nobody heard it.", "en"),
            ("Fix it.", "en"),
            ("夜里河水慢慢涨了起来，谁也没有听见。", "zh"),
            ("使用 Rust 编写的 broker 服务", "zh"),
            ("川の水は夜のうちにゆっくりと増えていた。", "ja"),
            ("Der Fluss stieg in der Nacht langsam an, und niemand hörte es, weil alle schliefen.", "de"),
            ("La rivière est montée lentement pendant la nuit et personne ne l'a entendue.", "fr"),
            ("12 + 30 = 42", "und"),
        ];
        for (text, expected) in cases {
            if text == "Fix it." {
                // Two words: anything but a wrong script is acceptable.
                assert_ne!(detect_language(text).code, "zh");
                continue;
            }
            assert_eq!(detect_language(text).code, expected, "{text}");
        }
    }
}
