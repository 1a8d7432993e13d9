use serde_json::{Map, Value};

/// Finds the JSON object in what a model answered: bare, in a code fence, or with words around it; trailing commas are
/// forgiven.
pub fn lenient_object(answer: &str) -> Option<Map<String, Value>> {
    let start = answer.find('{')?;
    let candidate = balanced(&answer[start..])?;
    let parsed = serde_json::from_str(candidate).or_else(|_| serde_json::from_str(&without_trailing_commas(candidate)));
    match parsed {
        Ok(Value::Object(map)) => Some(map),
        _ => None,
    }
}

/// The text up to the brace that closes the first one; braces inside strings do not count.
fn balanced(text: &str) -> Option<&str> {
    let (mut depth, mut inside, mut escaped) = (0_usize, false, false);
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if inside => escaped = true,
            b'"' => inside = !inside,
            b'{' if !inside => depth += 1,
            b'}' if !inside => {
                depth -= 1;
                if depth == 0 {
                    return Some(&text[..=index]);
                }
            }
            _ => {}
        }
    }
    None
}

fn without_trailing_commas(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut inside, mut escaped) = (false, false);
    for (index, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if inside => escaped = true,
            '"' => inside = !inside,
            ',' if !inside && text[index + 1..].trim_start().starts_with(['}', ']']) => continue,
            _ => {}
        }
        out.push(character);
    }
    out
}

/// A list of strings, however the model wrote it: a list, or words with commas between.
pub(super) fn strings(value: Option<&Value>, most: usize) -> Vec<String> {
    let found: Vec<String> = match value {
        Some(Value::Array(items)) => items.iter().filter_map(|item| item.as_str()).map(str::to_owned).collect(),
        Some(Value::String(text)) => text.split([',', '，', '、', ';', '；']).map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    let mut strings: Vec<String> = Vec::new();
    for text in found {
        let text = text.trim().trim_start_matches('#');
        if !text.is_empty() && strings.len() < most && !strings.iter().any(|known| known.eq_ignore_ascii_case(text)) {
            strings.push(text.to_owned());
        }
    }
    strings
}

/// A string; empty when there is none.
pub(super) fn string(value: Option<&Value>) -> String {
    value.and_then(Value::as_str).map(|text| text.trim().to_owned()).unwrap_or_default()
}

/// A share from 0 to 1: a number, a number in a string, or a percentage.
pub(super) fn share(value: Option<&Value>) -> Option<f64> {
    let (number, percent) = match value? {
        Value::Number(number) => (number.as_f64()?, false),
        Value::String(text) => (text.trim().trim_end_matches('%').trim().parse().ok()?, text.contains('%')),
        _ => return None,
    };
    let share = if percent || number > 1.0 { number / 100.0 } else { number };
    share.is_finite().then(|| share.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_is_found_in_whatever_a_model_answers() {
        for answer in [
            r#"{"tags": ["a", "b"]}"#,
            "Sure! Here it is:\n```json\n{\"tags\": [\"a\", \"b\",],}\n```\nAnything else?",
            "{\"tags\": [\"a\", \"b\"]} {\"more\": 1}",
        ] {
            assert_eq!(lenient_object(answer).map(Value::Object), Some(json!({"tags": ["a", "b"]})), "{answer}");
        }
        assert_eq!(lenient_object("{\"a\": \"}\"}").map(Value::Object), Some(json!({"a": "}"})));
        assert_eq!(lenient_object("no object here"), None);
        assert_eq!(lenient_object("{\"cut\": \"o"), None);
    }

    #[test]
    fn fields_are_read_leniently() {
        assert_eq!(strings(Some(&json!("#a, b，A")), 5), ["a", "b"]);
        assert_eq!(share(Some(&json!("85%"))), Some(0.85));
        assert_eq!(share(Some(&json!(85))), Some(0.85));
        assert_eq!(share(Some(&json!(0.4))), Some(0.4));
        assert_eq!(share(Some(&json!(null))), None);
    }
}
