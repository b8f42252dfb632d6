//! A step as it is written down: what it changes, without how far it comes.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};
use funnelweb_factor_events::store::{Change, Error};
use funnelweb_stream::{
    key,
    store::{DeadLetter, Due, Series, Step, Window},
    topic_name,
};

/// Of the encoding; a step of another one is left to the program that wrote it.
const FORMAT: u8 = 2;

/// Names and values of a counter's labels.
pub(super) type Labels = Vec<(String, String)>;

/// Shards, and numbers of theirs.
pub(super) type Marks = Vec<(u32, u64)>;

/// A message.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub(super) struct Message {
    pub(super) key: String,
    pub(super) body: String,
}

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub(super) struct Dead {
    pub(super) offset: u64,
    pub(super) scenario_id: String,
    pub(super) user_id: String,
    pub(super) about: String,
    pub(super) reason: String,
}

/// See the module. Keys are texts.
#[derive(Debug, Clone, Default, PartialEq, Encode, Decode)]
pub(super) struct Written {
    /// When it was written down, in milliseconds since 1970.
    pub(super) at_ms: u64,
    /// Keys, where panes begin, accumulators.
    pub(super) put: Vec<(String, u64, Vec<u8>)>,
    pub(super) drop_before_ms: u64,
    /// Keys and ends.
    pub(super) due: Vec<(String, u64)>,
    /// Keys and ends, each with the marks that go.
    pub(super) spoke: Vec<(String, u64, Marks)>,
    /// By name and labels, each once.
    pub(super) counts: Vec<(String, Labels, f64)>,
    pub(super) changes: Vec<Change>,
    /// By topic.
    pub(super) messages: Vec<(String, Vec<Message>)>,
    pub(super) dead: Vec<Dead>,
    /// By generation.
    pub(super) seen: Vec<(u64, Vec<u8>)>,
    pub(super) forget_below: u64,
}

impl Written {
    pub(super) fn new(step: Step, counts: Vec<(Series, f64)>, at_ms: u64) -> Self {
        let Step {
            progress: _,
            put,
            drop_before_ms,
            due,
            spoke,
            counts: _,
            changes,
            messages,
            dead,
            seen,
            forget_below,
        } = step;
        let put: BTreeMap<(String, u64), Vec<u8>> =
            put.into_iter().map(|(pane, accumulator)| ((key::text(&pane.key), pane.from_ms), accumulator)).collect();
        let mut by_topic: BTreeMap<&str, Vec<Message>> = BTreeMap::new();
        for message in messages {
            let (key, body) = (message.key, message.body);
            by_topic.entry(topic_name(message.topic)).or_default().push(Message { key, body });
        }
        let window = |(key, end_ms): Window| (key::text(&key), end_ms);
        let spoken = |Due { window: (key, end_ms), marks }: Due| (key::text(&key), end_ms, marks);
        let letter = |DeadLetter { offset, scenario_id, user_id, reason, about }| Dead {
            offset,
            scenario_id,
            user_id,
            about,
            reason,
        };
        Self {
            at_ms,
            put: put.into_iter().map(|((key, from_ms), accumulator)| (key, from_ms, accumulator)).collect(),
            drop_before_ms,
            due: due.into_iter().map(window).collect(),
            spoke: spoke.into_iter().map(spoken).collect(),
            counts: counts.into_iter().map(|(series, amount)| (series.name, series.labels, amount)).collect(),
            changes,
            messages: by_topic.into_iter().map(|(topic, messages)| (topic.to_owned(), messages)).collect(),
            dead: dead.into_iter().map(letter).collect(),
            seen: seen.into_iter().map(|seen| (seen.generation, seen.bytes)).collect(),
            forget_below,
        }
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![FORMAT];
        bincode::encode_into_std_write(self, &mut bytes, bincode::config::standard())
            .map_err(|error| Error::invalid("step", error))?;
        Ok(bytes)
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (&FORMAT, rest) = bytes.split_first()? else { return None };
        bincode::decode_from_slice(rest, bincode::config::standard()).ok().map(|(written, _)| written)
    }
}
