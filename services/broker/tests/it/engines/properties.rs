use proptest::prelude::*;
use sker_broker::engines::text::{Document, MAX_SENTENCE_BYTES, blocks, sentences, words};

fn visible(text: &str) -> String {
    text.chars().filter(|character| !character.is_whitespace()).collect()
}

/// Text with everything that might confuse a splitter.
fn prose() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[a-zA-Z]{1,9}",
        "[水火山川，；：“”（）]{1,6}",
        Just(". ".to_owned()),
        Just("。".to_owned()),
        Just("！”".to_owned()),
        Just("? ".to_owned()),
        Just("...".to_owned()),
        Just("`a. b`".to_owned()),
        Just("``".to_owned()),
        Just("Dr. ".to_owned()),
        Just("3.14".to_owned()),
        Just("\n".to_owned()),
        Just("\n\n".to_owned()),
        Just(" ".to_owned()),
        "\\PC{0,4}",
    ];
    proptest::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

/// Markdown of sorts.
fn markdown() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        prose(),
        Just("# Head\n".to_owned()),
        Just("- item. Next\n".to_owned()),
        Just("1. first\n   - inner\n".to_owned()),
        Just("> quote\n> more. End.\n".to_owned()),
        Just("```\ncode. Here\n".to_owned()),
        Just("```\n".to_owned()),
        Just("| a | b |\n|---|---|\n| 1 | 2 |\n".to_owned()),
        Just("[link](http://x/y. Z) <b>\n".to_owned()),
        Just("[^1]: note. Two\n".to_owned()),
        Just("\\*x\\*\n".to_owned()),
        Just("---\n".to_owned()),
        Just("\n".to_owned()),
    ];
    proptest::collection::vec(line, 0..20).prop_map(|lines| lines.concat())
}

proptest! {
    #[test]
    fn sentences_lose_and_garble_nothing(text in prose()) {
        let found = sentences(&text);
        let mut end = 0;
        for range in &found {
            prop_assert!(range.start >= end && range.end > range.start, "in order, apart and not empty");
            prop_assert!(range.len() <= MAX_SENTENCE_BYTES);
            prop_assert_eq!(text[range.clone()].trim(), &text[range.clone()]);
            end = range.end;
        }
        let together: String = found.iter().map(|range| &text[range.clone()]).collect();
        prop_assert_eq!(visible(&together), visible(&text));
    }

    #[test]
    fn any_string_can_be_split(text in "\\PC*") {
        let together: String = sentences(&text).into_iter().map(|range| text[range].to_owned()).collect();
        prop_assert_eq!(visible(&together), visible(&text));
    }

    #[test]
    fn blocks_and_their_sentences_are_parts_of_the_source_in_order(text in markdown()) {
        let mut end = 0;
        for block in blocks(&text) {
            prop_assert!(block.range.start >= end && block.range.end > block.range.start);
            end = block.range.end;
        }
        let document = Document::read(&text);
        let mut end = 0;
        for sentence in &document.sentences {
            prop_assert_eq!(&text[sentence.range.clone()], sentence.text);
            prop_assert!(sentence.range.start >= end);
            end = sentence.range.end;
            for word in words(sentence.text, &document.language) {
                prop_assert!(!sentence.text[word.range].is_empty());
            }
        }
    }
}
