use super::super::Sink;

/// Takes the title line (`# Title`) off the beginning of a streamed text; the rest goes on to the sink as it comes.
pub(super) struct Draft<'a> {
    sink: &'a dyn Sink,
    /// What has not been decided on yet: the first line.
    held: Option<String>,
    title: String,
    text: String,
}

/// A first line longer than this is no title.
const LONGEST_TITLE: usize = 300;

impl<'a> Draft<'a> {
    pub(super) fn new(sink: &'a dyn Sink) -> Self {
        Draft { sink, held: Some(String::new()), title: String::new(), text: String::new() }
    }

    /// The next piece of the answer.
    pub(super) fn push(&mut self, piece: &str) {
        let Some(held) = &mut self.held else { return self.pass(piece) };
        held.push_str(piece);
        let line = held.trim_start();
        if line.is_empty() || (line.starts_with('#') && !line.contains('\n') && line.len() < LONGEST_TITLE) {
            return;
        }
        let held = self.held.take().unwrap_or_default();
        self.decide(&held);
    }

    /// The title (empty when the model gave none) and the text.
    pub(super) fn finish(mut self) -> (String, String) {
        if let Some(held) = self.held.take() {
            self.decide(&held);
        }
        (self.title, self.text)
    }

    fn decide(&mut self, held: &str) {
        let held = held.trim_start();
        let (line, rest) = held.split_once('\n').unwrap_or((held, ""));
        if line.starts_with('#') && line.len() < LONGEST_TITLE {
            self.title = line.trim_start_matches('#').trim().trim_matches('*').to_owned();
            self.pass(rest.trim_start());
        } else {
            self.pass(held);
        }
    }

    fn pass(&mut self, piece: &str) {
        // White space between the title and the text belongs to neither.
        let piece = if self.text.is_empty() { piece.trim_start() } else { piece };
        if !piece.is_empty() {
            self.text.push_str(piece);
            self.sink.chunk(piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::NullSink;

    fn read(pieces: &[&str]) -> (String, String) {
        let mut draft = Draft::new(&NullSink);
        pieces.iter().for_each(|piece| draft.push(piece));
        draft.finish()
    }

    #[test]
    fn the_title_line_is_taken_off() {
        let expected = ("The title".to_owned(), "Text. More.".to_owned());
        assert_eq!(read(&["# The", " title\n", "\nText.", " More."]), expected);
        assert_eq!(read(&["# The title\n\nText. More."]), expected);
    }

    #[test]
    fn a_text_without_a_title_stays_whole() {
        assert_eq!(read(&["Just ", "text"]), (String::new(), "Just text".to_owned()));
        assert_eq!(read(&["# Only a title"]), ("Only a title".to_owned(), String::new()));
    }
}
