use sker_error::{Error, FieldError, Result};

/// Items on a page when the caller does not say, and the most there are. Everything is in memory, and clients of the seed
/// know nothing of pages.
pub const MAX_LIMIT: usize = 1_000;

/// Which part of a list is wanted.
#[derive(Clone, Debug)]
pub struct Paging {
    /// At most so many.
    pub limit: usize,
    /// From the page before; empty for the first.
    pub cursor: String,
}

impl Default for Paging {
    fn default() -> Self {
        Paging { limit: MAX_LIMIT, cursor: String::new() }
    }
}

/// A part of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// In order.
    pub items: Vec<T>,
    /// How many there are on all pages.
    pub total: usize,
    /// For the next page; `None` on the last.
    pub next_cursor: Option<String>,
}

impl Paging {
    /// Cuts the page out of a list that is in the order of its keys.
    pub(super) fn cut<T>(&self, all: impl Iterator<Item = T>, key: impl Fn(&T) -> String) -> Result<Page<T>> {
        let after = match self.cursor.as_str() {
            "" => None,
            cursor => Some(decode(cursor).ok_or_else(|| {
                Error::validation(vec![FieldError::new("cursor", "invalid", "must come from the page before")])
            })?),
        };
        let limit = self.limit.clamp(1, MAX_LIMIT);
        let (mut items, mut total, mut more) = (Vec::new(), 0, false);
        for item in all {
            total += 1;
            if after.as_ref().is_some_and(|after| key(&item) <= *after) {
                continue;
            }
            if items.len() < limit {
                items.push(item);
            } else {
                more = true;
            }
        }
        let next_cursor = items.last().filter(|_| more).map(|last| encode(&key(last)));
        Ok(Page { items, total, next_cursor })
    }
}

fn encode(key: &str) -> String {
    key.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn decode(cursor: &str) -> Option<String> {
    if !cursor.is_ascii() || !cursor.len().is_multiple_of(2) {
        return None;
    }
    let bytes: Option<Vec<u8>> =
        (0..cursor.len()).step_by(2).map(|at| u8::from_str_radix(&cursor[at..at + 2], 16).ok()).collect();
    String::from_utf8(bytes?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_walked_to_its_end_without_gap_or_repetition() {
        let all = ["a", "b", "中", "d\u{1f}e"];
        let mut sorted = all.map(str::to_owned).to_vec();
        sorted.sort();
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = Paging { limit: 2, cursor }.cut(sorted.iter().cloned(), Clone::clone).unwrap();
            assert_eq!(page.total, 4);
            seen.extend(page.items);
            match page.next_cursor {
                Some(next) => cursor = next,
                None => break,
            }
        }
        assert_eq!(seen, sorted);
        assert!(Paging { limit: 2, cursor: "zz".to_owned() }.cut(sorted.into_iter(), Clone::clone).is_err());
    }
}
