//! The effects of events as they are written down with the events, and as they
//! are applied later, those of many calls together.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use bincode::{Decode, Encode};
use funnelweb_core::id;
use funnelweb_factor_documents::{profile::Move, sqlite::Tables as DocumentTables, store::Key};
use funnelweb_factor_live::sqlite::{CountChange, HotChange, Tables as LiveTables, Weight};
use funnelweb_tenant_store::{Error, Write, set_settled, settled};
use rusqlite::params;

use crate::store::{Change, Effect, Event};

/// Of the encoding of [`Effects`]; a file with another one is not opened.
const FORMAT: u8 = 1;

/// A weight: handle, how much, when in milliseconds.
type Given = (u64, f64, u64);
/// A move, under the number of its call.
type Numbered = (u64, Arc<Move>);

/// The effects of one call's new events, by what they change.
#[derive(Debug, Default, PartialEq, Encode, Decode)]
pub(super) struct Effects {
    /// By scenario and half-life; handle, weight and time of each.
    hot: Vec<(String, u32, Vec<Given>)>,
    /// By field; handle and amount of each.
    counts: Vec<(String, Vec<(u64, f64)>)>,
    /// By scenario and user.
    moves: Vec<(String, String, Vec<Arc<Move>>)>,
}

/// The place of `key` in a list that is looked up by `places`.
fn place<K: std::hash::Hash + Eq, T>(places: &mut HashMap<K, usize>, list: &mut Vec<T>, key: K, new: T) -> usize {
    *places.entry(key).or_insert_with(|| {
        list.push(new);
        list.len() - 1
    })
}

/// Effects that are gathered one by one.
#[derive(Default)]
struct Gathering<'a> {
    effects: Effects,
    hot: HashMap<&'a str, usize>,
    counts: HashMap<&'a str, usize>,
    moves: HashMap<(&'a str, &'a str), usize>,
}

impl<'a> Gathering<'a> {
    fn heat(&mut self, scenario: &'a str, half_life_s: u32, given: Given) {
        // A list's half-life is that of the last weight: those of another one begin a
        // new entry.
        if self.effects.last_half_life(scenario) != Some(half_life_s) {
            self.hot.remove(scenario);
        }
        let new = (scenario.to_owned(), half_life_s, Vec::new());
        let at = place(&mut self.hot, &mut self.effects.hot, scenario, new);
        if let Some((_, _, weights)) = self.effects.hot.get_mut(at) {
            weights.push(given);
        }
    }

    fn count(&mut self, field: &'a str, handle: u64, amount: f64) {
        let at = place(&mut self.counts, &mut self.effects.counts, field, (field.to_owned(), Vec::new()));
        if let Some((_, amounts)) = self.effects.counts.get_mut(at) {
            amounts.push((handle, amount));
        }
    }

    fn profile(&mut self, scenario: &'a str, user: &'a str, one: Move) {
        let new = (scenario.to_owned(), user.to_owned(), Vec::new());
        let at = place(&mut self.moves, &mut self.effects.moves, (scenario, user), new);
        if let Some((_, _, moves)) = self.effects.moves.get_mut(at) {
            moves.push(Arc::new(one));
        }
    }
}

impl Effects {
    pub(super) fn new<'a>(events: impl Iterator<Item = (&'a Event, &'a [Effect])>, now_ms: u64) -> Self {
        let mut gathering = Gathering::default();
        for (event, effects) in events {
            let (handle, at_ms) = (id::handle(&event.item_id), event.timestamp_ms);
            for effect in effects {
                match effect {
                    Effect::Hot(hot) => {
                        gathering.heat(&event.scenario_id, hot.half_life_s, (handle, hot.weight, at_ms));
                    }
                    Effect::Count(count) => gathering.count(&count.field, handle, count.amount),
                    Effect::Profile(effect) => {
                        let (item, action) = (event.item_id.clone(), event.action_type.clone());
                        let effect = effect.clone();
                        let one = Move { item, action, at_ms, accepted_ms: now_ms, effect };
                        gathering.profile(&event.scenario_id, &event.user_id, one);
                    }
                }
            }
        }
        gathering.effects
    }

    /// Of what operators change.
    pub(super) fn of_changes(changes: &[Change], now_ms: u64) -> Self {
        let mut gathering = Gathering::default();
        for change in changes {
            match change {
                Change::Heat { scenario_id, item_id, half_life_s, weight, at_ms } => {
                    gathering.heat(scenario_id, *half_life_s, (id::handle(item_id), *weight, *at_ms));
                }
                Change::Count { item_id, field, amount } => gathering.count(field, id::handle(item_id), *amount),
                Change::Profile { scenario_id, user_id, at_ms, effect } => {
                    let (item, action) = (String::new(), String::new());
                    let one = Move { item, action, at_ms: *at_ms, accepted_ms: now_ms, effect: effect.clone() };
                    gathering.profile(scenario_id, user_id, one);
                }
            }
        }
        gathering.effects
    }

    fn last_half_life(&self, scenario: &str) -> Option<u32> {
        self.hot.iter().rev().find(|(name, _, _)| name == scenario).map(|(_, half_life_s, _)| *half_life_s)
    }

    /// Writes the effects down; their number and their length in bytes.
    pub(super) fn insert(&self, write: &Write<'_>) -> Result<(u64, usize), Error> {
        let mut bytes = vec![FORMAT];
        bincode::encode_into_std_write(self, &mut bytes, bincode::config::standard())
            .map_err(|error| Error::invalid("effects", error))?;
        let last: Option<i64> =
            write.prepare_cached("SELECT max(seq) FROM journal")?.query_row([], |row| row.get(0))?;
        let seq = settled(write)?.max(last.unwrap_or(0).cast_unsigned()) + 1;
        write
            .prepare_cached("INSERT INTO journal (seq, effects) VALUES (?, ?)")?
            .execute(params![seq.cast_signed(), bytes])?;
        Ok((seq, bytes.len()))
    }

    /// Has memory show the effects, which are committed under the number `seq`.
    pub(super) fn show(self, file: u64, seq: u64, documents: &DocumentTables, live: &LiveTables) {
        let hot: Vec<HotChange> = self.hot.into_iter().map(hot_change).collect();
        let mut counts = Vec::new();
        for (field, amounts) in self.counts {
            let field: Arc<str> = field.into();
            let change = |(handle, amount)| CountChange { handle, field: field.clone(), amount };
            counts.extend(amounts.into_iter().map(change));
        }
        counts.sort_by_key(|count| count.handle);
        live.show(file, seq, &hot, &counts);
        let mut moves = Vec::new();
        for (scenario, user, list) in self.moves {
            let key = Key::new(scenario, user);
            moves.extend(list.into_iter().map(|one| (key.clone(), one)));
        }
        documents.show_moves(file, seq, moves);
    }
}

fn hot_change((scenario, half_life_s, weights): (String, u32, Vec<Given>)) -> HotChange {
    let weight = |(handle, weight, at_ms)| Weight { handle, weight, at_ms };
    HotChange { scenario, half_life_s, weights: weights.into_iter().map(weight).collect() }
}

/// The effects of many calls, by what they change.
#[derive(Default)]
struct Gathered {
    hot: Vec<HotChange>,
    /// In the order of the table.
    counts: BTreeMap<(i64, String), f64>,
    moves: BTreeMap<(String, String), Vec<Numbered>>,
}

impl Gathered {
    fn add(&mut self, seq: u64, effects: Effects) {
        for entry in effects.hot {
            let mut change = hot_change(entry);
            // In order: the half-life of a list may change on the way.
            match self.hot.iter_mut().rev().find(|other| other.scenario == change.scenario) {
                Some(last) if last.half_life_s == change.half_life_s => last.weights.append(&mut change.weights),
                _ => self.hot.push(change),
            }
        }
        for (field, amounts) in effects.counts {
            for (handle, amount) in amounts {
                *self.counts.entry((handle.cast_signed(), field.clone())).or_default() += amount;
            }
        }
        for (scenario, user, moves) in effects.moves {
            self.moves.entry((scenario, user)).or_default().extend(moves.into_iter().map(|one| (seq, one)));
        }
    }
}

/// Applies everything that is written down to the tables it changes.
pub(super) fn settle(write: &mut Write<'_>, documents: &DocumentTables, live: &LiveTables) -> Result<(), Error> {
    let mut gathered = Gathered::default();
    let mut last = None;
    {
        let mut select = write.prepare_cached("SELECT seq, effects FROM journal ORDER BY seq")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let seq = row.get::<_, i64>(0)?.cast_unsigned();
            gathered.add(seq, decode(row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?)?);
            last = Some(seq);
        }
    }
    let Some(seq) = last else { return Ok(()) };
    for change in &gathered.hot {
        live.store_hot(write, change)?;
    }
    let counts = gathered.counts.iter().map(|((handle, field), amount)| (handle.cast_unsigned(), &**field, *amount));
    live.store_counts(write, counts)?;
    for ((scenario, user), moves) in gathered.moves {
        documents.move_profile(write, &Key::new(scenario, user), &moves)?;
    }
    write.execute("DELETE FROM journal", [])?;
    set_settled(write, seq)?;
    live.settled_after(write, seq);
    documents.settled_after(write, seq);
    Ok(())
}

fn decode(bytes: &[u8]) -> Result<Effects, Error> {
    let unknown = || Error::Unavailable("the journal is of another version of this program".to_owned());
    let Some((&FORMAT, rest)) = bytes.split_first() else { return Err(unknown()) };
    let (effects, _) = bincode::decode_from_slice(rest, bincode::config::standard()).map_err(|_| unknown())?;
    Ok(effects)
}
