//! Keyset pages with a cursor that clients cannot read or make.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use sker_error::{Error, FieldError, Result};
use sker_runtime::QueryFields;
use sker_types::{Page, Uuid, from_micros, to_micros};

use crate::store::{Place, Slice};

const PLACE_BYTES: usize = 8 + 16;
const MAC_BYTES: usize = 16;

/// What the client asks for of a list: `limit`, `sort` and `cursor`.
#[derive(Debug)]
pub(super) struct Paging {
    limit: u32,
    descending: bool,
    cursor: Option<String>,
}

impl Paging {
    /// Reads the parameters. Lists are sorted by time of creation, oldest first unless `newest_first`.
    pub(super) fn read(query: &mut QueryFields, newest_first: bool) -> Self {
        let sort = query.one_of("sort", &["created_at", "-created_at"]);
        Paging {
            limit: query.limit(),
            descending: sort.map_or(newest_first, |sort| sort.starts_with('-')),
            cursor: query.cursor(),
        }
    }
}

/// Signs and checks cursors.
pub(super) struct Cursors {
    mac: Hmac<Sha256>,
}

impl Cursors {
    pub(super) fn new(secret: &[u8]) -> Result<Self> {
        // A key of its own, so that a signature made here is one nowhere else.
        let mut derive = Hmac::<Sha256>::new_from_slice(secret).map_err(|error| Error::internal(error.to_string()))?;
        derive.update(b"sker-store list cursor v1");
        let key = derive.finalize().into_bytes();
        let mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|error| Error::internal(error.to_string()))?;
        Ok(Cursors { mac })
    }

    /// What to read for a page: one row more than the page has, to know whether another one follows. `list` names the
    /// list with its filters: a cursor is good for no other.
    pub(super) fn slice(&self, paging: &Paging, list: &str) -> Result<Slice> {
        let after = paging.cursor.as_deref().map(|cursor| self.open(cursor, list, paging.descending)).transpose()?;
        Ok(Slice { descending: paging.descending, after, limit: u64::from(paging.limit) + 1 })
    }

    /// The page out of the rows that were read.
    pub(super) fn page<R, T>(
        &self,
        paging: &Paging,
        list: &str,
        mut rows: Vec<R>,
        place: impl Fn(&R) -> Place,
        view: impl FnMut(R) -> T,
    ) -> Page<T> {
        let limit = paging.limit as usize;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let last = rows.last().filter(|_| more).map(&place);
        let next_cursor = last.map(|place| self.seal(place, list, paging.descending));
        Page { data: rows.into_iter().map(view).collect(), next_cursor }
    }

    fn seal(&self, place: Place, list: &str, descending: bool) -> String {
        let mut bytes = Vec::with_capacity(PLACE_BYTES + MAC_BYTES);
        bytes.extend(to_micros(place.time).to_be_bytes());
        bytes.extend(place.id.as_bytes());
        let mac = self.sign(&bytes, list, descending).finalize().into_bytes();
        bytes.extend(&mac[..MAC_BYTES]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn open(&self, cursor: &str, list: &str, descending: bool) -> Result<Place> {
        let invalid = || {
            let message = "must be the next_cursor of a page of this list, with the same sort and filters";
            Error::validation(vec![FieldError::new("cursor", "invalid", message)])
        };
        let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| invalid())?;
        let (place, mac) = bytes.split_at_checked(PLACE_BYTES).ok_or_else(invalid)?;
        if mac.len() != MAC_BYTES {
            return Err(invalid());
        }
        self.sign(place, list, descending).verify_truncated_left(mac).map_err(|_| invalid())?;
        let (micros, id) = place.split_first_chunk::<8>().ok_or_else(invalid)?;
        let id = Uuid::from_slice(id).map_err(|_| invalid())?;
        Ok(Place { time: from_micros(i64::from_be_bytes(*micros)), id })
    }

    fn sign(&self, place: &[u8], list: &str, descending: bool) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        mac.update(place);
        mac.update(if descending { b"-" } else { b"+" });
        mac.update(list.as_bytes());
        mac
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sker_error::Code;

    use super::*;

    fn cursors() -> Cursors {
        Cursors::new(b"a secret of tests").unwrap()
    }

    fn place() -> impl Strategy<Value = Place> {
        (0i64..4_000_000_000_000_000, any::<[u8; 16]>())
            .prop_map(|(micros, id)| Place { time: from_micros(micros), id: Uuid::from_bytes(id) })
    }

    proptest! {
        #[test]
        fn a_cursor_leads_back_to_its_place(place in place(), descending: bool) {
            let cursor = cursors().seal(place, "nodes", descending);
            prop_assert_eq!(cursors().open(&cursor, "nodes", descending).unwrap(), place);
        }

        #[test]
        fn a_cursor_that_was_tampered_with_is_refused(place in place(), at in 0usize..40, bit in 0u8..8) {
            let mut bytes = URL_SAFE_NO_PAD.decode(cursors().seal(place, "nodes", false)).unwrap();
            bytes[at] ^= 1 << bit;
            let error = cursors().open(&URL_SAFE_NO_PAD.encode(bytes), "nodes", false).unwrap_err();
            prop_assert_eq!(error.code(), Code::ValidationFailed);
            prop_assert_eq!(&error.fields()[0].field, "cursor");
        }

        #[test]
        fn what_is_no_cursor_is_refused(text in ".{0,80}") {
            prop_assert!(cursors().open(&text, "nodes", false).is_err());
        }
    }

    #[test]
    fn a_cursor_is_good_for_its_list_and_order_only() {
        let place = Place { time: from_micros(7), id: Uuid::nil() };
        let cursor = cursors().seal(place, "nodes", false);
        assert!(cursors().open(&cursor, "projects", false).is_err());
        assert!(cursors().open(&cursor, "nodes", true).is_err());
        assert!(Cursors::new(b"another secret").unwrap().open(&cursor, "nodes", false).is_err());
    }
}
