/// No event may be longer: a server that never ends a line must not fill our memory.
pub const MAX_EVENT_BYTES: usize = 1 << 20;

/// A server sent an event longer than [`MAX_EVENT_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SseOverflow;

/// Reads server-sent events (WHATWG HTML, section 9.2) from pieces of any size; gives the data of each event. Other fields
/// (`event`, `id`, `retry`) and comments are skipped: chat completions do not use them.
#[derive(Debug, Default)]
pub struct SseParser {
    line: Vec<u8>,
    data: Option<String>,
    /// The last piece ended with a carriage return; a line feed that follows belongs to it.
    after_return: bool,
}

impl SseParser {
    /// Takes the next bytes of the stream; `event` gets the data of every event that they complete.
    ///
    /// # Errors
    /// A line or an event is too long. The parser is of no more use then.
    pub fn feed(&mut self, bytes: &[u8], mut event: impl FnMut(String)) -> Result<(), SseOverflow> {
        for byte in bytes {
            let follows_return = std::mem::replace(&mut self.after_return, *byte == b'\r');
            match byte {
                b'\n' if follows_return => {}
                b'\n' | b'\r' => self.end_line(&mut event)?,
                other if self.line.len() < MAX_EVENT_BYTES => self.line.push(*other),
                _ => return Err(SseOverflow),
            }
        }
        Ok(())
    }

    /// The stream has ended. Servers that forget the last empty line still meant their last event.
    pub fn finish(mut self, mut event: impl FnMut(String)) -> Result<(), SseOverflow> {
        if !self.line.is_empty() {
            self.end_line(&mut event)?;
        }
        if let Some(data) = self.data {
            event(data);
        }
        Ok(())
    }

    fn end_line(&mut self, event: &mut impl FnMut(String)) -> Result<(), SseOverflow> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            if let Some(data) = self.data.take() {
                event(data);
            }
            return Ok(());
        }
        let Some(rest) = line.strip_prefix(b"data") else { return Ok(()) };
        let value = match rest {
            [] => rest,
            [b':', b' ', value @ ..] | [b':', value @ ..] => value,
            _ => return Ok(()),
        };
        let value = String::from_utf8_lossy(value);
        match &mut self.data {
            None => self.data = Some(value.into_owned()),
            Some(data) if data.len() + value.len() < MAX_EVENT_BYTES => {
                data.push('\n');
                data.push_str(&value);
            }
            Some(_) => return Err(SseOverflow),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
        let mut events = Vec::new();
        let mut parser = SseParser::default();
        for piece in pieces {
            parser.feed(piece, |data| events.push(data)).unwrap();
        }
        parser.finish(|data| events.push(data)).unwrap();
        events
    }

    #[test]
    fn events_are_read_as_the_standard_says() {
        let stream = ": ping\r\nevent: message\r\ndata: one\r\n\r\ndata:two\ndata: lines\n\nid: 7\n\nretry: 3\ndatabase: x\n\ndata: [DONE]\n\n";
        assert_eq!(parse([stream.as_bytes()]), ["one", "two\nlines", "[DONE]"]);
    }

    #[test]
    fn a_last_event_without_an_empty_line_counts() {
        assert_eq!(parse(["data: end".as_bytes()]), ["end"]);
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut parser = SseParser::default();
        let piece = vec![b'x'; MAX_EVENT_BYTES];
        parser.feed(&piece, |_| {}).unwrap();
        assert_eq!(parser.feed(b"y", |_| {}), Err(SseOverflow));
    }

    proptest! {
        #[test]
        fn packet_boundaries_do_not_matter(
            lines in proptest::collection::vec("(data: ?|: |event: )?[a-z水火 :]{0,12}(\r\n|\n|\r)(\n)?", 0..12),
            cuts in proptest::collection::vec(0_usize..400, 0..12),
        ) {
            let stream = lines.concat().into_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let pieces = cuts.windows(2).map(|cut| &stream[cut[0]..cut[1]]);
            prop_assert_eq!(parse(pieces), parse([&*stream]));
            prop_assert_eq!(parse(stream.chunks(1)), parse([&*stream]));
        }
    }
}
