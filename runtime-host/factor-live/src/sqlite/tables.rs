//! The tables within a transaction: loading and purging.

use std::sync::{Arc, Mutex};

use funnelweb_tenant_store::{Error, Part, Purge, Write};
use rusqlite::{Connection, OptionalExtension};

use super::{
    cache::{Cached, LiveKey, Memory, Structure},
    exposed,
};
use crate::{decay::Score, hot::HotList};

/// The tables of live structures, for use within a transaction of the tenant's
/// file. Cheap to clone.
#[derive(Clone)]
pub struct Tables {
    pub(super) memory: Arc<Memory>,
}

impl Tables {
    /// Loads a hot list. As a job of the writer: what is committed before stands
    /// in it, what is committed after changes it in memory.
    pub(super) fn load_hot(&self, write: &mut Write<'_>, scenario: Arc<str>) -> Result<Arc<Mutex<HotList>>, Error> {
        write.settle()?;
        let half_life_s = list(write, &scenario)?.map_or(1, |(half_life_s, _)| half_life_s);
        let loaded = Arc::new(Mutex::new(HotList::with_members(half_life_s, members(write, &scenario)?)));
        let key = LiveKey::Hot { file: write.number(), scenario };
        let (memory, kept) = (self.memory.clone(), Cached::new(Structure::Hot(loaded.clone())));
        write.after_commit(move || memory.cache.put(key, kept));
        Ok(loaded)
    }
}

/// Half-life and number of members of a stored list.
pub(super) fn list(connection: &Connection, scenario: &str) -> Result<Option<(u32, i64)>, Error> {
    let mut select = connection.prepare_cached("SELECT half_life_s, members FROM hot_lists WHERE scenario = ?")?;
    Ok(select.query_row([scenario], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
}

pub(super) fn to_score(row: &rusqlite::Row<'_>) -> rusqlite::Result<Score> {
    Ok(Score { value: row.get(0)?, at_ms: row.get::<_, i64>(1)?.cast_unsigned() })
}

pub(super) fn members(connection: &Connection, scenario: &str) -> Result<Vec<(u64, Score)>, Error> {
    let mut select =
        connection.prepare_cached("SELECT score, at_ms, handle FROM hot_items WHERE scenario = ? ORDER BY at_ms")?;
    let members = select.query_map([scenario], |row| Ok((row.get::<_, i64>(2)?.cast_unsigned(), to_score(row)?)))?;
    Ok(members.collect::<Result<_, _>>()?)
}

impl Part for Tables {
    fn name(&self) -> &'static str {
        "live"
    }

    fn migrations(&self) -> &'static [&'static str] {
        &[include_str!("schema.sql"), include_str!("schema-2.sql"), include_str!("schema-3.sql")]
    }

    fn settle(&self, write: &mut Write<'_>) -> Result<(), Error> {
        self.settle_served(write)
    }

    fn closed(&self, file: u64) {
        self.memory.counts.close(file);
    }

    /// Counters stay: whose items they are is not known here
    /// ([`Tables::delete_counters`]).
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
