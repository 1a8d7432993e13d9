//! The file that the demo is given, checked before anything is started.

use std::{fs::File, io::Read, path::Path};

use crate::exit::{Exit, Failure};

/// The largest file that is taken.
const MAX_BYTES: u64 = 16 << 20;

/// Reads a UTF-8 text file. Anything else is a fault of the input that says what is wrong.
pub fn read(path: &Path) -> Result<String, Failure> {
    let wrong = |what: String| Failure::new(Exit::Usage, format!("{}: {what}", path.display()));
    let file = File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => wrong("no such file".to_owned()),
        std::io::ErrorKind::PermissionDenied => wrong("permission denied".to_owned()),
        _ => wrong(format!("cannot be opened: {error}")),
    })?;
    if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
        return Err(wrong("is a directory; give a Markdown or text file".to_owned()));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(wrong(format!("is larger than {} MiB", MAX_BYTES >> 20)));
    }
    text(bytes).map_err(wrong)
}

fn text(bytes: Vec<u8>) -> Result<String, String> {
    if bytes.contains(&0) {
        return Err("is a binary file; give UTF-8 text".to_owned());
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        format!("is not UTF-8 text (byte {} is wrong); convert it first", error.utf8_error().valid_up_to())
    })?;
    if text.trim_start_matches('\u{feff}').trim().is_empty() {
        return Err("is empty".to_owned());
    }
    // Formats such as PostScript images are ASCII, but no text: real text has hardly any control characters.
    let controls = text.chars().filter(|letter| letter.is_control() && !"\n\r\t\u{c}".contains(*letter)).count();
    if controls * 20 > text.chars().count() {
        return Err("is a binary file; give UTF-8 text".to_owned());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_taken_as_it_is() {
        for content in ["# Hello\n", "你好", "\u{feff}a\r\n\tb"] {
            assert_eq!(text(content.as_bytes().to_vec()).unwrap(), content);
        }
    }

    #[test]
    fn what_is_no_text_is_refused_and_says_why() {
        for (bytes, why) in [
            (&b""[..], "empty"),
            (b" \n\t\r\n", "empty"),
            ("\u{feff}\n".as_bytes(), "empty"),
            (b"\x7fELF\0\0\0", "binary"),
            (b"\x01\x02\x03\x04abc", "binary"),
            (b"caf\xe9", "not UTF-8"),
        ] {
            let message = text(bytes.to_vec()).unwrap_err();
            assert!(message.contains(why), "{bytes:?}: {message}");
        }
    }

    #[test]
    fn a_missing_file_and_a_directory_are_faults_of_the_input() {
        let directory = tempfile::tempdir().unwrap();
        let missing = read(&directory.path().join("missing.md")).unwrap_err();
        assert_eq!((missing.exit, missing.message.ends_with("no such file")), (Exit::Usage, true));
        let folder = read(directory.path()).unwrap_err();
        assert_eq!((folder.exit, folder.message.contains("directory")), (Exit::Usage, true));
    }
}
