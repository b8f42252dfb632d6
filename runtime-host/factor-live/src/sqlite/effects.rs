//! The effects of events: what they change in memory at once, and in the tables
//! when the journal is settled.

use std::{collections::BTreeMap, sync::Arc};

use funnelweb_core::limits;
use funnelweb_tenant_store::{Error, Write, lock};
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    cache::{LiveKey, Structure},
    tables::{Tables, list, members, to_score},
};
use crate::{decay::Score, hot::HotList};

/// Members of a hot list in the store at which it is cut to
/// [`limits::HOT_MEMBERS`]: cutting reads them all, so it is not done each time.
const HOT_MEMBERS_HIGH: i64 = (limits::HOT_MEMBERS + limits::HOT_MEMBERS / 8) as i64;

/// A weight that an item gets in a hot list.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weight {
    /// The item.
    pub handle: u64,
    /// How much; finite.
    pub weight: f64,
    /// When it was given, in milliseconds since 1970.
    pub at_ms: u64,
}

/// Weights for a scenario's hot list, under one half-life.
#[derive(Debug, Clone, PartialEq)]
pub struct HotChange {
    /// The scenario.
    pub scenario: String,
    /// At least 1, in seconds.
    pub half_life_s: u32,
    /// In order.
    pub weights: Vec<Weight>,
}

/// What an item's counter gets.
#[derive(Debug, Clone, PartialEq)]
pub struct CountChange {
    /// The item.
    pub handle: u64,
    /// The counter.
    pub field: Arc<str>,
    /// How much; finite.
    pub amount: f64,
}

impl Tables {
    /// Makes changes visible that are committed under the number `seq`; the
    /// tables follow when the journal is settled.
    pub fn show(&self, file: u64, seq: u64, hot: &[HotChange], counts: &[CountChange]) {
        let memory = &self.memory;
        for HotChange { scenario, half_life_s, weights } in hot {
            let key = LiveKey::Hot { file, scenario: scenario.as_str().into() };
            let mut other = false;
            memory.change(&key, |cached| {
                let Structure::Hot(list) = cached else { return };
                let mut list = lock(list);
                other = list.half_life_s() != *half_life_s;
                if !other {
                    weights.iter().for_each(|one| list.add(one.handle, one.weight, one.at_ms));
                }
            });
            if other {
                // It is loaded again, with the tables as they are then.
                memory.cache.forget(&key);
            }
        }
        // First: who reads after the cache changed must find them.
        let added = counts.iter().map(|count| (count.handle, (count.field.clone(), count.amount)));
        memory.counts.add(file, seq, added);
        for one in counts.chunk_by(|a, b| a.handle == b.handle) {
            let Some(handle) = one.first().map(|count| count.handle) else { continue };
            memory.change(&LiveKey::Stats { file, handle }, |cached| {
                let Structure::Stats(counters) = cached else { return };
                lock(counters).add(seq, one.iter().map(|count| (&*count.field, count.amount)));
            });
        }
    }

    /// Has memory drop the counts up to `seq` when the job is committed.
    pub fn settled_after(&self, write: &mut Write<'_>, seq: u64) {
        let (memory, file) = (self.memory.clone(), write.number());
        write.after_commit(move || memory.counts.settle(file, seq));
    }

    /// Writes weights to the table; what is in memory has them already.
    ///
    /// # Errors
    /// `unavailable` when the file cannot be written.
    pub fn store_hot(&self, write: &mut Write<'_>, change: &HotChange) -> Result<(), Error> {
        let HotChange { scenario, half_life_s, weights } = change;
        let half_life_s = (*half_life_s).max(1);
        let before = list(write, scenario)?;
        let (stored, mut members) = before.unwrap_or((half_life_s, 0));
        if stored != half_life_s {
            let at_ms = weights.iter().map(|weight| weight.at_ms).max().unwrap_or(0);
            change_half_life(write, scenario, stored, at_ms)?;
        }
        members += add_weights(write, scenario, half_life_s, weights)?;
        let mut cut = Vec::new();
        if members > HOT_MEMBERS_HIGH {
            cut = cut_hot(write, scenario, half_life_s)?;
            members -= cut.len() as i64;
        }
        write.prepare_cached("INSERT OR REPLACE INTO hot_lists VALUES (?, ?, ?)")?.execute(params![
            scenario,
            half_life_s,
            members
        ])?;
        if !cut.is_empty() {
            let key = LiveKey::Hot { file: write.number(), scenario: scenario.as_str().into() };
            let memory = self.memory.clone();
            write.after_commit(move || {
                memory.change(&key, |cached| {
                    let Structure::Hot(list) = cached else { return };
                    let mut list = lock(list);
                    cut.into_iter().for_each(|handle| list.remove(handle));
                });
            });
        }
        Ok(())
    }

    /// Adds to counters in the table, each item and field once and ascending;
    /// what is in memory has them already.
    ///
    /// # Errors
    /// `unavailable` when the file cannot be written.
    pub fn store_counts<'a>(
        &self,
        write: &Write<'_>,
        counts: impl IntoIterator<Item = (u64, &'a str, f64)>,
    ) -> Result<(), Error> {
        let mut add = write.prepare_cached(
            "INSERT INTO item_stats (handle, field, value) VALUES (?, ?, ?)
             ON CONFLICT (handle, field) DO UPDATE SET value = value + excluded.value",
        )?;
        for (handle, field, amount) in counts {
            add.execute(params![handle.cast_signed(), field, amount])?;
        }
        Ok(())
    }

    /// Deletes all counters of these items.
    ///
    /// # Errors
    /// `unavailable` when the file cannot be written.
    pub fn delete_counters(&self, write: &mut Write<'_>, handles: Vec<u64>) -> Result<(), Error> {
        {
            let mut delete = write.prepare_cached("DELETE FROM item_stats WHERE handle = ?")?;
            for handle in &handles {
                delete.execute([handle.cast_signed()])?;
            }
        }
        let (memory, file) = (self.memory.clone(), write.number());
        write.after_commit(move || {
            memory.served.forget(&file, &handles);
            for handle in handles {
                memory.cache.forget(&LiveKey::Stats { file, handle });
            }
        });
        Ok(())
    }
}

/// Adds weights, item by item as they stand in the table; how many are new.
fn add_weights(connection: &Connection, scenario: &str, half_life_s: u32, weights: &[Weight]) -> Result<i64, Error> {
    let mut select =
        connection.prepare_cached("SELECT score, at_ms FROM hot_items WHERE scenario = ? AND handle = ?")?;
    let mut upsert = connection.prepare_cached("INSERT OR REPLACE INTO hot_items VALUES (?, ?, ?, ?)")?;
    let mut by_item: BTreeMap<i64, Vec<&Weight>> = BTreeMap::new();
    for weight in weights {
        by_item.entry(weight.handle.cast_signed()).or_default().push(weight);
    }
    let mut added = 0;
    for (handle, weights) in by_item {
        let mut score = select.query_row(params![scenario, handle], to_score).optional()?;
        added += i64::from(score.is_none());
        for weight in weights {
            let old = score.unwrap_or(Score { value: 0.0, at_ms: weight.at_ms });
            score = Some(old.add(weight.weight, weight.at_ms, half_life_s));
        }
        let Some(score) = score else { continue };
        upsert.execute(params![scenario, handle, score.value, score.at_ms.cast_signed()])?;
    }
    Ok(added)
}

/// The half-life of a list changes: every score is brought to `at_ms` under the
/// old one first.
fn change_half_life(connection: &Connection, scenario: &str, old_s: u32, at_ms: u64) -> Result<(), Error> {
    let mut update =
        connection.prepare_cached("UPDATE hot_items SET score = ?, at_ms = ? WHERE scenario = ? AND handle = ?")?;
    for (handle, score) in members(connection, scenario)? {
        let score = score.add(0.0, at_ms, old_s);
        update.execute(params![score.value, score.at_ms.cast_signed(), scenario, handle.cast_signed()])?;
    }
    Ok(())
}

/// Deletes the coldest beyond [`limits::HOT_MEMBERS`]; which ones.
fn cut_hot(connection: &Connection, scenario: &str, half_life_s: u32) -> Result<Vec<u64>, Error> {
    let list = HotList::with_members(half_life_s, members(connection, scenario)?);
    let cut = list.coldest_beyond(limits::HOT_MEMBERS);
    let mut delete = connection.prepare_cached("DELETE FROM hot_items WHERE scenario = ? AND handle = ?")?;
    for handle in &cut {
        delete.execute(params![scenario, handle.cast_signed()])?;
    }
    Ok(cut)
}
