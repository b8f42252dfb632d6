//! The tables within a transaction: the effects of events, loading and purging.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use funnelweb_core::{id, limits};
use funnelweb_tenant_store::{Error, Part, Purge, Write, lock};
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    cache::{Cached, Counters, LiveKey, Memory, Structure},
    exposed,
};
use crate::{decay::Score, hot::HotList};

/// Members of a hot list in the store at which it is cut to
/// [`limits::HOT_MEMBERS`]: cutting reads them all, so it is not done each time.
const HOT_MEMBERS_HIGH: i64 = (limits::HOT_MEMBERS + limits::HOT_MEMBERS / 8) as i64;

/// The tables of live structures, for use within a transaction of the tenant's
/// file. Cheap to clone.
#[derive(Clone)]
pub struct Tables {
    pub(super) memory: Arc<Memory>,
}

/// A weight that an item gets in a hot list.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weight<'a> {
    /// The item's id.
    pub item: &'a str,
    /// How much; finite.
    pub weight: f64,
    /// When it was given, in milliseconds since 1970.
    pub at_ms: u64,
}

impl Tables {
    /// Adds weights to the hot list of a scenario; memory follows after the
    /// commit.
    ///
    /// # Errors
    /// `unavailable` when the file cannot be written.
    pub fn add_hot(
        &self,
        write: &mut Write<'_>,
        scenario: &str,
        half_life_s: u32,
        weights: &[Weight<'_>],
    ) -> Result<(), Error> {
        let half_life_s = half_life_s.max(1);
        let key = LiveKey::Hot { file: write.number(), scenario: scenario.into() };
        let memory = self.memory.clone();
        let before = list(write, scenario)?;
        let (stored, members) = before.unwrap_or((half_life_s, 0));
        let mut changed: HashMap<u64, Score> = HashMap::with_capacity(weights.len());
        let mut added = 0_i64;
        if stored != half_life_s {
            let at_ms = weights.iter().map(|weight| weight.at_ms).max().unwrap_or(0);
            change_half_life(write, scenario, stored, at_ms)?;
        }
        {
            let mut select =
                write.prepare_cached("SELECT score, at_ms FROM hot_items WHERE scenario = ? AND handle = ?")?;
            let mut upsert = write.prepare_cached("INSERT OR REPLACE INTO hot_items VALUES (?, ?, ?, ?, ?)")?;
            let mut items: HashMap<u64, &str> = HashMap::with_capacity(weights.len());
            for weight in weights {
                let handle = id::handle(weight.item);
                items.insert(handle, weight.item);
                let old = match changed.get(&handle) {
                    Some(score) => Some(*score),
                    None => select.query_row(params![scenario, handle.cast_signed()], to_score).optional()?,
                };
                added += i64::from(old.is_none());
                let old = old.unwrap_or(Score { value: 0.0, at_ms: weight.at_ms });
                changed.insert(handle, old.add(weight.weight, weight.at_ms, half_life_s));
            }
            for (handle, score) in &changed {
                let item = items.get(handle).copied().unwrap_or_default();
                let (handle, at_ms) = (handle.cast_signed(), score.at_ms.cast_signed());
                upsert.execute(params![scenario, handle, item, score.value, at_ms])?;
            }
        }
        let mut members = members + added;
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
        if before.is_none() || stored != half_life_s {
            // What is in memory is under another half-life.
            write.after_commit(move || memory.cache.forget(&key));
            return Ok(());
        }
        write.after_commit(move || {
            memory.change(&key, |cached| {
                let Structure::Hot(list) = cached else { return };
                let mut list = lock(list);
                for (handle, score) in changed {
                    list.set(handle, score);
                }
                for handle in cut {
                    list.remove(handle);
                }
            });
        });
        Ok(())
    }

    /// Adds to counters of items: item id, field, how much. Memory follows after
    /// the commit.
    ///
    /// # Errors
    /// `unavailable` when the file cannot be written.
    pub fn add_counts(&self, write: &mut Write<'_>, counts: &[(&str, &str, f64)]) -> Result<(), Error> {
        let mut now: HashMap<u64, Counters> = HashMap::new();
        {
            let mut add = write.prepare_cached(
                "INSERT INTO item_stats (handle, field, item, value) VALUES (?, ?, ?, ?)
                 ON CONFLICT (handle, field) DO UPDATE SET value = value + excluded.value RETURNING value",
            )?;
            for (item, field, amount) in counts {
                let handle = id::handle(item);
                let value: f64 = add.query_row(params![handle.cast_signed(), field, item, amount], |row| row.get(0))?;
                now.entry(handle).or_default().push(((*field).into(), value));
            }
        }
        let memory = self.memory.clone();
        let file = write.number();
        write.after_commit(move || {
            for (handle, values) in now {
                memory.change(&LiveKey::Stats { file, handle }, |cached| {
                    let Structure::Stats(counters) = cached else { return };
                    let mut counters = lock(counters);
                    for (field, value) in values {
                        match counters.iter_mut().find(|(other, _)| *other == field) {
                            Some((_, counter)) => *counter = value,
                            None => counters.push((field, value)),
                        }
                    }
                });
            }
        });
        Ok(())
    }

    /// Loads a hot list. As a job of the writer: what is committed before stands
    /// in it, what is committed after changes it in memory.
    pub(super) fn load_hot(&self, write: &mut Write<'_>, scenario: Arc<str>) -> Result<Arc<Mutex<HotList>>, Error> {
        let half_life_s = list(write, &scenario)?.map_or(1, |(half_life_s, _)| half_life_s);
        let loaded = Arc::new(Mutex::new(HotList::with_members(half_life_s, members(write, &scenario)?)));
        let key = LiveKey::Hot { file: write.number(), scenario };
        let (memory, kept) = (self.memory.clone(), Cached::new(Structure::Hot(loaded.clone())));
        write.after_commit(move || memory.cache.put(key, kept));
        Ok(loaded)
    }
}

/// Half-life and number of members of a stored list.
fn list(connection: &Connection, scenario: &str) -> Result<Option<(u32, i64)>, Error> {
    let mut select = connection.prepare_cached("SELECT half_life_s, members FROM hot_lists WHERE scenario = ?")?;
    Ok(select.query_row([scenario], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
}

fn to_score(row: &rusqlite::Row<'_>) -> rusqlite::Result<Score> {
    Ok(Score { value: row.get(0)?, at_ms: row.get::<_, i64>(1)?.cast_unsigned() })
}

fn members(connection: &Connection, scenario: &str) -> Result<Vec<(u64, Score)>, Error> {
    let mut select =
        connection.prepare_cached("SELECT score, at_ms, handle FROM hot_items WHERE scenario = ? ORDER BY at_ms")?;
    let members = select.query_map([scenario], |row| Ok((row.get::<_, i64>(2)?.cast_unsigned(), to_score(row)?)))?;
    Ok(members.collect::<Result<_, _>>()?)
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
    let members = members(connection, scenario)?;
    let list = HotList::with_members(half_life_s, members);
    let cut = list.coldest_beyond(limits::HOT_MEMBERS);
    let mut delete = connection.prepare_cached("DELETE FROM hot_items WHERE scenario = ? AND handle = ?")?;
    for handle in &cut {
        delete.execute(params![scenario, handle.cast_signed()])?;
    }
    Ok(cut)
}

impl Part for Tables {
    fn name(&self) -> &'static str {
        "live"
    }

    fn migrations(&self) -> &'static [&'static str] {
        &[include_str!("schema.sql")]
    }

    /// Counters stay: they are an item's in all scenarios, and no user's.
    fn purge(&self, write: &mut Write<'_>, what: &Purge) -> Result<u64, Error> {
        let memory = self.memory.clone();
        let number = write.number();
        match what {
            Purge::User(user) => {
                exposed::delete_user(write, user)?;
                let gone = user.clone();
                write.after_commit(move || {
                    memory.cache.forget_where(
                        |key| matches!(key, LiveKey::Exposed { file, user, .. } if *file == number && **user == *gone),
                    );
                });
            }
            Purge::Scenario(scenario) => {
                for sql in [
                    "DELETE FROM hot_lists WHERE scenario = ?",
                    "DELETE FROM hot_items WHERE scenario = ?",
                    "DELETE FROM exposures WHERE scenario = ?",
                ] {
                    write.prepare_cached(sql)?.execute([scenario])?;
                }
                let gone = scenario.clone();
                write.after_commit(move || {
                    memory.cache.forget_where(|key| match key {
                        LiveKey::Hot { file, scenario } | LiveKey::Exposed { file, scenario, .. } => {
                            *file == number && **scenario == *gone
                        }
                        LiveKey::Stats { .. } => false,
                    });
                });
            }
        }
        Ok(0)
    }
}
