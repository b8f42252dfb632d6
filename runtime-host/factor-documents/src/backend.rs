//! What every backend of [`Documents`](crate::store::Documents) needs, so that all
//! of them check, order and derive the same: keys and bodies, the place of a
//! document in a query, and the columns of item rows.

use std::sync::Arc;

use funnelweb_core::{limits, time};
use serde_json::Value;

use crate::{
    body::parse_walked,
    store::{Collection, Document, Error, Key, NewDocument, Precondition, Query, Sort, Term, WriteError},
};
pub use crate::{
    body::{Body, Field, IndexTerm, OWN_FIELDS_BYTES, check_key, parse},
    columns::Plan,
};

/// The function from an id to its handle; another is injected in tests only.
pub type HandleOf = fn(&str) -> u64;

/// Lists in one call of `newest-items`.
const LISTS: usize = limits::PROFILE_PREFERENCES;

/// The place of a document in the order of a query. A document keeps its place
/// for life, so a page that starts after one neither repeats nor passes over
/// what stood there all along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The order of the query.
    pub sort: Sort,
    /// When the document was created, in milliseconds since 1970.
    pub created_ms: i64,
    /// The document's handle, as a signed number.
    pub handle: i64,
}

impl Cursor {
    /// As a page's `next` has it.
    #[must_use]
    pub fn encode(self) -> String {
        let sort = if self.sort == Sort::Newest { 'n' } else { 'o' };
        format!("{sort}{:016x}{:016x}", self.created_ms, self.handle)
    }

    /// Reads a `next` of a page in this order; none for anything else.
    #[must_use]
    pub fn decode(text: &str, sort: Sort) -> Option<Self> {
        // Of ASCII only, so that slicing cannot meet the middle of a character;
        // and `from_str_radix` would take a sign.
        if text.len() != 33 || !text.get(1..)?.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let number = |text: &str| u64::from_str_radix(text, 16).ok().map(u64::cast_signed);
        let cursor = Self { sort, created_ms: number(text.get(1..17)?)?, handle: number(text.get(17..)?)? };
        (cursor.encode() == text).then_some(cursor)
    }
}

/// What the keys of a call must be.
///
/// # Errors
/// `invalid`, naming the argument and the rule.
pub fn check_keys(collection: Collection, keys: &[Key]) -> Result<(), Error> {
    Error::check_count("keys", keys.len(), 0, limits::GET_KEYS)?;
    let mut keys = keys.iter().enumerate();
    keys.try_for_each(|(at, key)| check_key(format_args!("keys[{at}]"), collection, key))
}

/// Documents that are to be inserted, checked, and with what is derived of them.
pub struct Prepared {
    /// Where they go.
    pub collection: Collection,
    /// Of each its key and body, in order.
    pub documents: Vec<(Key, Body)>,
    /// Bytes of the bodies as they were given.
    pub bytes: usize,
}

impl Prepared {
    /// Checks and derives on a thread that may be kept busy.
    ///
    /// # Errors
    /// `invalid`, naming the argument and the rule.
    pub async fn new(collection: Collection, documents: Vec<NewDocument>) -> Result<Self, Error> {
        Error::check_count("documents", documents.len(), 0, limits::INSERT_DOCUMENTS)?;
        let bytes = documents.iter().map(|document| document.body.len()).sum();
        let prepare = move |(at, NewDocument { key, body }): (usize, NewDocument)| {
            check_key(format_args!("documents[{at}].key"), collection, &key)?;
            let name = format!("documents[{at}].body");
            let body = Body::new(&*name, collection, &key, parse(&name, &body)?)?;
            Ok((key, body))
        };
        let all = move || documents.into_iter().enumerate().map(prepare).collect::<Result<_, Error>>();
        let prepared = tokio::task::spawn_blocking(all).await;
        let documents = prepared.map_err(|error| Error::Unavailable(format!("the work was abandoned: {error}")))??;
        Ok(Self { collection, documents, bytes })
    }
}

/// A document that was walked and is to be restored.
#[derive(Debug, Clone)]
pub struct Restored {
    /// Where it goes.
    pub key: Key,
    /// Its body, with the store's own fields set.
    pub body: Body,
    /// The text of the body.
    pub text: String,
    /// Its version, an `i64` that is not 0.
    pub version: u64,
    /// When it was created, in milliseconds since 1970.
    pub created_ms: u64,
}

/// Checks documents that are to be restored and derives what goes with them, on a
/// thread that may be kept busy.
///
/// # Errors
/// `invalid`, naming the argument and the rule.
pub async fn prepare_restored(collection: Collection, documents: Vec<Document>) -> Result<Vec<Restored>, Error> {
    Error::check_count("documents", documents.len(), 0, limits::INSERT_DOCUMENTS)?;
    let prepare = move |(at, Document { key, body, version }): (usize, Document)| {
        check_key(format_args!("documents[{at}].key"), collection, &key)?;
        if version == 0 || i64::try_from(version).is_err() {
            return Err(Error::invalid(format_args!("documents[{at}].version"), "is no version"));
        }
        let name = format!("documents[{at}].body");
        let mut body = Body::new(&*name, collection, &key, parse_walked(&name, &body)?)?;
        let time = |field: &str| {
            let time = body.object.get(field).and_then(Value::as_str).and_then(time::parse_ms);
            time.ok_or_else(|| Error::invalid(&name, format_args!("`{field}` must be a time")))
        };
        let (created_ms, updated_ms) = (time("created_at")?, time("updated_at")?);
        let text = body.finish(&name, created_ms, updated_ms)?;
        Ok(Restored { key, body, text, version, created_ms })
    };
    let prepared = tokio::task::spawn_blocking(move || documents.into_iter().enumerate().map(prepare).collect());
    prepared.await.map_err(|error| Error::Unavailable(format!("the work was abandoned: {error}")))?
}

/// Reads a merge patch.
///
/// # Errors
/// `invalid`, naming the argument and the rule.
pub fn parse_patch(text: &str) -> Result<Value, Error> {
    let patch = parse("merge-patch", text)?;
    if patch.is_object() { Ok(patch) } else { Err(Error::invalid("merge-patch", "must be a JSON object")) }
}

/// What a query must be, before the store is asked.
///
/// # Errors
/// `invalid`, naming the argument and the rule.
pub fn check_query(collection: Collection, query: &Query) -> Result<(), Error> {
    if !(1..=limits::PAGE_DOCUMENTS).contains(&query.limit) {
        let rule = format_args!("must be 1 to {}, got {}", limits::PAGE_DOCUMENTS, query.limit);
        return Err(Error::invalid("query.limit", rule));
    }
    if collection != Collection::Items && (query.category.is_some() || query.tag.is_some()) {
        return Err(Error::invalid("query", "category and tag are for items only"));
    }
    match &query.cursor {
        Some(text) if Cursor::decode(text, query.sort).is_none() => {
            Err(Error::invalid("query.cursor", "is not one that a page of this order gave"))
        }
        _ => Ok(()),
    }
}

/// The field of a term, if it is one that has an index.
///
/// # Errors
/// `invalid`, naming the argument and the rule.
pub fn term_field(term: Option<&Term>) -> Result<Field, Error> {
    match term.map(|term| term.field.as_str()) {
        None => Ok(Field::All),
        Some("category") => Ok(Field::Category),
        Some("tags") => Ok(Field::Tags),
        Some(other) => Err(Error::invalid("lists", format_args!("field must be `category` or `tags`, got `{other}`"))),
    }
}

/// What a call of `newest-items` must be, before the store is asked.
///
/// # Errors
/// `invalid`, naming the argument and the rule.
pub fn check_lists(scenario_id: &str, lists: &[(Option<Term>, u32)]) -> Result<(), Error> {
    Error::check_id("scenario-id", scenario_id)?;
    Error::check_count("lists", lists.len(), 0, LISTS)?;
    for (term, limit) in lists {
        term_field(term.as_ref())?;
        Error::check_count("lists.limit", *limit as usize, 0, limits::CANDIDATES)?;
    }
    Ok(())
}

/// A list of the newest items as a backend keeps it: longer than it was asked for,
/// as others ask for a few more (what a user was shown grows with every request).
#[derive(Debug, Clone)]
pub struct KeptList {
    handles: Arc<[u64]>,
    /// How many were read for.
    limit: u32,
}

impl KeptList {
    /// The fewest that are read.
    const SHORTEST: u32 = 256;

    /// How many to read for someone who asks for `limit`.
    #[must_use]
    pub fn to_read(limit: u32) -> u32 {
        let longest = u32::try_from(limits::CANDIDATES).unwrap_or(u32::MAX);
        limit.checked_next_power_of_two().unwrap_or(longest).clamp(Self::SHORTEST, longest)
    }

    /// What was read with this limit.
    #[must_use]
    pub fn new(handles: Arc<[u64]>, limit: u32) -> Self {
        Self { handles, limit }
    }

    /// The first `limit`, if it is known which they are.
    #[must_use]
    pub fn first(&self, limit: u32) -> Option<&[u64]> {
        let all = self.handles.len() < self.limit as usize;
        (all || limit <= self.limit).then(|| self.handles.get(..limit as usize).unwrap_or(&self.handles))
    }

    /// All that is known, for when no more can be read.
    #[must_use]
    pub fn all(&self) -> &[u64] {
        &self.handles
    }

    /// Bytes in memory, for bounding a cache.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.handles)
    }
}

/// Whether the precondition holds of the version found, 0 for none.
///
/// # Errors
/// `conflict` with that version when it does not.
pub fn check_precondition(when: Precondition, version: u64) -> Result<(), WriteError> {
    let holds = match when {
        Precondition::None => true,
        Precondition::Version(wanted) => version == wanted && version != 0,
        Precondition::Exists => version != 0,
        Precondition::Absent => version == 0,
    };
    if holds { Ok(()) } else { Err(WriteError::Conflict(version)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_answers_who_asks_for_no_more_than_is_known() {
        assert_eq!([0, 1, 256, 257, 5000, u32::MAX].map(KeptList::to_read), [256, 256, 256, 512, 5000, 5000]);
        let list = |count: u64, limit| KeptList::new((0..count).collect(), limit);
        assert_eq!(list(256, 256).first(2), Some(&[0, 1][..]));
        assert_eq!(list(256, 256).first(256).map(<[u64]>::len), Some(256));
        assert_eq!(list(256, 256).first(257), None);
        // There are no more.
        assert_eq!(list(255, 256).first(5000).map(<[u64]>::len), Some(255));
        assert_eq!(list(0, 256).first(0), Some(&[][..]));
    }

    #[test]
    fn a_cursor_reads_back_and_nothing_else_does() {
        for handle in [0, 1, -1, i64::MIN, i64::MAX] {
            let cursor = Cursor { sort: Sort::Oldest, created_ms: 1_700_000_000_000, handle };
            assert_eq!(Cursor::decode(&cursor.encode(), Sort::Oldest), Some(cursor));
            assert_eq!(Cursor::decode(&cursor.encode(), Sort::Newest), None);
        }
        for text in ["", "n", "o000000000000000é000000000000000", &"n".repeat(33), &"0".repeat(33)] {
            assert_eq!(Cursor::decode(text, Sort::Newest), None, "{text}");
        }
    }
}
