//! Cursors of feeds. A cursor names everything that was served before the page that it leads
//! to, and nothing else says so: no page repeats what came before, whenever it is asked for,
//! by which process, and how often; and a page that is asked for again leaves out the same.
//!
//! A version, whose it is (hashes of the scenario's and the user's id, 4 bytes each), the
//! items' handles in the order in which they were served, and 4 bytes of a hash of all that;
//! as base64url.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use funnelweb_core::{
    error::{ApiError, Code},
    id, limits,
};
use funnelweb_guest::types::Handle;

const VERSION: u8 = 1;
/// Bytes before the handles, and after them.
const HEAD: usize = 9;
const TAIL: usize = 4;
const HANDLE: usize = size_of::<Handle>();
/// Characters of the longest.
const LONGEST: usize = (HEAD + limits::FEED_ITEMS * HANDLE + TAIL).div_ceil(3) * 4;

/// The cursor of the page after this one; none when the feed would be too long.
pub(crate) fn next(
    (scenario_id, user_id): (&str, &str),
    before: &[Handle],
    page: impl Iterator<Item = Handle>,
) -> Option<String> {
    let mut bytes = Vec::with_capacity(HEAD + (before.len() + limits::COUNT as usize) * HANDLE + TAIL);
    bytes.push(VERSION);
    bytes.extend(of(scenario_id));
    bytes.extend(of(user_id));
    bytes.extend(before.iter().copied().chain(page).flat_map(Handle::to_le_bytes));
    if bytes.len() > HEAD + limits::FEED_ITEMS * HANDLE {
        return None;
    }
    let sum = sum(&bytes);
    bytes.extend(sum);
    Some(URL_SAFE_NO_PAD.encode(bytes))
}

/// What was served before the page that a cursor leads to.
///
/// # Errors
/// `invalid_field` naming `cursor`: it is damaged, or of another scenario or user.
pub(crate) fn read((scenario_id, user_id): (&str, &str), cursor: &str) -> Result<Vec<Handle>, ApiError> {
    let invalid = |message: String| ApiError::field(Code::InvalidField, "cursor", message);
    if cursor.len() > LONGEST {
        return Err(invalid(format!("is longer than that of a feed of {} items", limits::FEED_ITEMS)));
    }
    let damaged = || invalid("is damaged, or none that was given out".to_owned());
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| damaged())?;
    let (bytes, tail) = bytes.split_last_chunk::<TAIL>().ok_or_else(damaged)?;
    let (head, handles) = bytes.split_first_chunk::<HEAD>().ok_or_else(damaged)?;
    let [version, scenario @ .., u0, u1, u2, u3] = *head;
    let (handles, rest) = handles.as_chunks::<HANDLE>();
    if sum(bytes) != *tail || version != VERSION || !rest.is_empty() {
        return Err(damaged());
    }
    if scenario != of(scenario_id) {
        return Err(invalid(format!("is of another scenario than `{scenario_id}`")));
    }
    if [u0, u1, u2, u3] != of(user_id) {
        return Err(invalid("is of another user".to_owned()));
    }
    Ok(handles.iter().map(|handle| Handle::from_le_bytes(*handle)).collect())
}

/// Tells one id from another, and no more.
fn of(id: &str) -> [u8; 4] {
    // Truncation is the definition.
    (id::handle(id) as u32).to_le_bytes()
}

fn sum(bytes: &[u8]) -> [u8; TAIL] {
    (id::digest(bytes) as u32).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OF: (&str, &str) = ("feed", "ann");

    fn refused(of: (&str, &str), cursor: &str) -> String {
        let error = read(of, cursor).unwrap_err();
        assert_eq!((error.code, error.field.as_deref()), (Code::InvalidField, Some("cursor")));
        error.message
    }

    #[test]
    fn it_is_of_one_feed() {
        let cursor = next(OF, &[1, u64::MAX], [7].into_iter()).unwrap();
        assert_eq!(read(OF, &cursor), Ok(vec![1, u64::MAX, 7]));
        assert!(refused(("shop", "ann"), &cursor).contains("another scenario than `shop`"));
        assert!(refused(("feed", "bob"), &cursor).contains("another user"));
        assert!(refused(("feed", ""), &cursor).contains("another user"));
        let nobody = next(("feed", ""), &[1], [].into_iter()).unwrap();
        assert_eq!(read(("feed", ""), &nobody), Ok(vec![1]));
    }

    #[test]
    fn a_feed_is_so_long() {
        let all: Vec<Handle> = (0..limits::FEED_ITEMS as u64).collect();
        let cursor = next(OF, &all, std::iter::empty()).unwrap();
        assert_eq!(read(OF, &cursor).unwrap().len(), limits::FEED_ITEMS);
        assert!(cursor.len() <= limits::FEED_ITEMS * 11);
        assert_eq!(next(OF, &all, std::iter::once(1)), None);
        assert!(refused(OF, &"A".repeat(LONGEST + 1)).contains(&limits::FEED_ITEMS.to_string()));
    }

    #[test]
    fn anything_else_is_none() {
        for cursor in ["", "A", "AAAA", "====", "é", "{\"a\":1}", &"A".repeat(LONGEST)] {
            assert!(refused(OF, cursor).contains("damaged"), "{cursor}");
        }
    }

    proptest! {
        #[test]
        fn what_is_damaged_is_told(
            handles in prop::collection::vec(any::<u64>(), 0..40),
            at in any::<prop::sample::Index>(),
            by in 1_u8..64,
        ) {
            let cursor = next(OF, &handles, std::iter::empty()).unwrap();
            prop_assert_eq!(read(OF, &cursor).unwrap(), handles);
            const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
            let mut damaged = cursor.clone().into_bytes();
            let place = at.index(damaged.len());
            let old = ALPHABET.iter().position(|digit| *digit == damaged[place]).unwrap();
            damaged[place] = ALPHABET[(old + by as usize) % 64];
            prop_assert!(read(OF, std::str::from_utf8(&damaged).unwrap()).is_err());
            prop_assert!(read(OF, &cursor[..place]).is_err());
        }
    }
}
