//! How a user's profile moves with what the user does.
//!
//! The document of collection `user-profiles`:
//! `{user_id, scenario_id, features: {<counters>, favorite_categories,
//! last_active_at}, preferences: {category_scores, tag_scores, <field>_scores},
//! recent_items: [{item_id, action_type, at}], preferences_at_ms, updated_at}`.
//!
//! What an event changes of it is a [`State`], stored apart from the JSON that
//! the API wrote and merged into it when the document is read: an event costs
//! neither reading nor writing JSON. A write of the document replaces both.
//!
//! A score is a sum of weights that halve every half-life, as of
//! `preferences_at_ms`. A document that the API wrote may lack any part or have
//! something else in its place: a part of another type begins anew, everything
//! that this module does not own is left as it is.

mod json;
mod moves;

use std::borrow::Cow;

use bincode::{BorrowDecode, Decode, Encode};
use funnelweb_core::{limits, time};
use serde_json::{Map, Value};

use crate::{backend::OWN_FIELDS_BYTES, store::Key};

/// Moves the user's profile in the scenario (`events.profile-effect`).
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct ProfileEffect {
    /// Item field, value, and how much to add to its preference.
    pub preferences: Vec<(String, String, f32)>,
    /// Time in which a preference halves, in seconds, at least 1.
    pub half_life_s: u32,
    /// Counters in the profile's `features`, and how much to add.
    pub counters: Vec<(String, f64)>,
    /// Whether the item joins the list of recent items.
    pub recent: bool,
}

/// What one event does to a profile.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Move {
    /// The item that the user did something with.
    pub item: String,
    /// What the user did.
    pub action: String,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// When it was accepted, in milliseconds since 1970.
    pub accepted_ms: u64,
    /// The change.
    pub effect: ProfileEffect,
}

/// Scores of one item field's values, none of them twice.
#[derive(Debug, Clone, PartialEq, Encode, BorrowDecode)]
struct Scores<'a> {
    /// As `preferences` names it: `category_scores`, `tag_scores`, ….
    name: Cow<'a, str>,
    values: Vec<(Cow<'a, str>, f64)>,
}

#[derive(Debug, Clone, PartialEq, Encode, BorrowDecode)]
struct Counter<'a> {
    name: Cow<'a, str>,
    value: f64,
    /// Whether an event changed it; else it is as in the document.
    moved: bool,
}

#[derive(Debug, Clone, PartialEq, Encode, BorrowDecode)]
struct Recent<'a> {
    item: Cow<'a, str>,
    at_ms: u64,
    action: Cow<'a, str>,
    /// The entry as the API wrote it, when it did.
    text: Option<Cow<'a, str>>,
}

/// What events have made of a profile. Its texts are those of the row it was
/// read from, of a document or of moves: hundreds, of which few change at a time.
#[derive(Debug, Clone, Default, PartialEq, Encode, BorrowDecode)]
pub(crate) struct State<'a> {
    /// As of when the scores are.
    at_ms: Option<u64>,
    active_ms: Option<u64>,
    scores: Vec<Scores<'a>>,
    counters: Vec<Counter<'a>>,
    /// Newest first.
    recent: Vec<Recent<'a>>,
    /// Whether an event put something into `recent`.
    recent_moved: bool,
    /// When the last event was accepted.
    pub(crate) updated_ms: u64,
}

/// Of the encoding; another one is not read.
const FORMAT: u8 = 1;

impl<'a> State<'a> {
    /// As it is stored; none when there is no room for so much.
    pub(crate) fn encode(&self) -> Option<Vec<u8>> {
        let mut bytes = vec![FORMAT];
        bincode::encode_into_std_write(self, &mut bytes, bincode::config::standard()).ok()?;
        (bytes.len() <= limits::DOCUMENT_BYTES).then_some(bytes)
    }

    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (&FORMAT, rest) = bytes.split_first()? else { return None };
        let config = bincode::config::standard().with_limit::<{ 4 * limits::DOCUMENT_BYTES }>();
        bincode::borrow_decode_from_slice(rest, config).ok().map(|(state, _)| state)
    }
}

/// Moves the document of a profile in place by a user's events in one scenario.
/// Whether it could hold them: one that has no room for more stays as it is.
///
/// For stores that keep a profile as one document; `at` is its scenario and user.
pub fn move_document(document: &mut Map<String, Value>, at: &Key, moves: &[Move]) -> bool {
    if moves.is_empty() {
        return true;
    }
    let mut moved = document.clone();
    let mut state = State::from_document(document);
    state.apply(moves.iter());
    state.merge_into(&mut moved, &at.scenario_id, &at.id);
    moved.insert("updated_at".to_owned(), time::format_ms(state.updated_ms).into());
    // What is measured is what is stored: the text.
    let room = limits::DOCUMENT_BYTES + OWN_FIELDS_BYTES;
    if serde_json::to_string(&moved).is_ok_and(|text| text.len() <= room) {
        *document = moved;
        return true;
    }
    false
}

/// The name under which `preferences` holds the scores of an item field.
#[must_use]
pub fn scores_name(field: &str) -> String {
    match field {
        "tags" => "tag_scores".to_owned(),
        field => format!("{field}_scores"),
    }
}

#[cfg(test)]
mod tests;
