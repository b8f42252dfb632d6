//! The embedded backend: a table of the tenant's SQLite file, and the tables of
//! the effects in the same transaction.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use funnelweb_core::limits;
use funnelweb_factor_documents::{
    SqliteDocuments,
    sqlite::Tables as DocumentTables,
    store::{Collection, Key, WriteError},
};
use funnelweb_factor_live::{
    SqliteLive,
    sqlite::{Tables as LiveTables, Weight},
};
use funnelweb_tenant_store::{Durability, Part, Purge, TenantStores, Write};
use rusqlite::{Row, params, params_from_iter, types::Value as Sql};
use serde_json::{Map, Value};

use crate::{
    check::check,
    profile,
    store::{AppendOutcome, Effect, Error, Event, Events, HistoryQuery, ProfileEffect, StoredEvent, Tenant},
};

/// Behaviour logs in tenants' SQLite files.
#[derive(Clone)]
pub struct SqliteEvents {
    stores: Arc<TenantStores>,
    documents: DocumentTables,
    live: LiveTables,
}

impl SqliteEvents {
    /// Adds the table of events to `stores`, which must be the one that
    /// `documents` and `live` were made with.
    ///
    /// # Errors
    /// See [`TenantStores::register`].
    pub fn new(stores: Arc<TenantStores>, documents: &SqliteDocuments, live: &SqliteLive) -> Result<Self, Error> {
        stores.register(Arc::new(Log))?;
        Ok(Self { stores, documents: documents.tables().clone(), live: live.tables().clone() })
    }
}

/// The changes of one append, gathered by what they change.
#[derive(Default)]
struct Changes<'a> {
    /// By scenario and half-life.
    hot: BTreeMap<(&'a str, u32), Vec<Weight<'a>>>,
    /// By item and field.
    counts: BTreeMap<(&'a str, &'a str), f64>,
    /// By scenario and user.
    profiles: BTreeMap<(&'a str, &'a str), Vec<(&'a Event, &'a ProfileEffect)>>,
}

impl<'a> Changes<'a> {
    fn add(&mut self, event: &'a Event, effects: &'a [Effect]) {
        for effect in effects {
            match effect {
                Effect::Hot(hot) => {
                    let weight = Weight { item: &event.item_id, weight: hot.weight, at_ms: event.timestamp_ms };
                    self.hot.entry((&event.scenario_id, hot.half_life_s)).or_default().push(weight);
                }
                Effect::Count(count) => {
                    *self.counts.entry((&event.item_id, &count.field)).or_default() += count.amount;
                }
                Effect::Profile(profile) => {
                    let user = (event.scenario_id.as_str(), event.user_id.as_str());
                    self.profiles.entry(user).or_default().push((event, profile));
                }
            }
        }
    }

    fn write(
        self,
        write: &mut Write<'_>,
        documents: &DocumentTables,
        live: &LiveTables,
        now_ms: u64,
    ) -> Result<(), Error> {
        for ((scenario, half_life_s), weights) in self.hot {
            live.add_hot(write, scenario, half_life_s, &weights)?;
        }
        let counts: Vec<_> = self.counts.into_iter().map(|((item, field), amount)| (item, field, amount)).collect();
        live.add_counts(write, &counts)?;
        for ((scenario, user), moves) in self.profiles {
            move_profile(write, documents, &Key::new(scenario, user), &moves, now_ms)?;
        }
        Ok(())
    }
}

/// Reads, moves and writes one profile. A profile that cannot be written, for it
/// was near the limit of a document, stays as it is: the events count.
fn move_profile(
    write: &mut Write<'_>,
    documents: &DocumentTables,
    key: &Key,
    moves: &[(&Event, &ProfileEffect)],
    now_ms: u64,
) -> Result<(), Error> {
    let found = documents.find(write, Collection::UserProfiles, key)?;
    let mut profile: Map<String, Value> =
        found.as_ref().and_then(|found| serde_json::from_str(&found.body).ok()).unwrap_or_default();
    profile::apply(&mut profile, moves);
    match documents.write_profile(write, key, profile, found.as_ref(), now_ms) {
        Err(WriteError::Store(error @ (Error::Unavailable(_) | Error::Denied(_)))) => Err(error),
        Err(error) => {
            tracing::warn!(scenario = key.scenario_id, %error, "a profile was left as it is");
            Ok(())
        }
        Ok(_) => Ok(()),
    }
}

/// The events that are new, and which ones.
fn insert(write: &Write<'_>, events: &[Event]) -> Result<Vec<AppendOutcome>, Error> {
    let mut insert = write.prepare_cached(
        "INSERT INTO events (event_id, scenario, user, item, action_type, timestamp_ms, body)
         VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (event_id) DO NOTHING",
    )?;
    let mut outcomes = Vec::with_capacity(events.len());
    for event in events {
        let Event { event_id, scenario_id, user_id, item_id, action_type, timestamp_ms, body } = event;
        let at_ms = timestamp_ms.cast_signed();
        let new = insert.execute(params![event_id, scenario_id, user_id, item_id, action_type, at_ms, body])? > 0;
        outcomes.push(if new { AppendOutcome::Accepted } else { AppendOutcome::Duplicate });
    }
    Ok(outcomes)
}

const COLUMNS: &str = r#""offset", event_id, scenario, user, item, action_type, timestamp_ms, body"#;

fn to_event(row: &Row<'_>) -> rusqlite::Result<StoredEvent> {
    let event = Event {
        event_id: row.get(1)?,
        scenario_id: row.get(2)?,
        user_id: row.get(3)?,
        item_id: row.get(4)?,
        action_type: row.get(5)?,
        timestamp_ms: row.get::<_, i64>(6)?.cast_unsigned(),
        body: row.get(7)?,
    };
    Ok(StoredEvent { offset: row.get::<_, i64>(0)?.cast_unsigned(), event })
}

fn offset(offset: u64) -> Sql {
    Sql::Integer(i64::try_from(offset).unwrap_or(i64::MAX))
}

#[async_trait]
impl Events for SqliteEvents {
    async fn append(
        &self,
        tenant: &Tenant,
        events: Vec<Event>,
        effects: Vec<Vec<Effect>>,
    ) -> Result<Vec<AppendOutcome>, Error> {
        let now_ms = self.stores.now_ms();
        check(&events, &effects, now_ms)?;
        let file = self.stores.open(tenant).await?;
        let (documents, live) = (self.documents.clone(), self.live.clone());
        file.write(Durability::Durable, move |write| {
            let outcomes = insert(write, &events)?;
            let mut changes = Changes::default();
            for ((event, effects), outcome) in events.iter().zip(&effects).zip(&outcomes) {
                if *outcome == AppendOutcome::Accepted {
                    changes.add(event, effects);
                }
            }
            changes.write(write, &documents, &live, now_ms)?;
            Ok(outcomes)
        })
        .await
    }

    async fn history(&self, tenant: &Tenant, query: HistoryQuery) -> Result<Vec<StoredEvent>, Error> {
        Error::check_count("query.limit", query.limit as usize, 1, limits::HISTORY_EVENTS as usize)?;
        if query.user_id.is_none() && query.item_id.is_none() {
            return Err(Error::invalid("query", "at least one of user-id and item-id must be given"));
        }
        let file = self.stores.open(tenant).await?;
        file.read(move |tx| {
            let mut conditions = vec![r#""offset" < ?"#];
            let mut values = vec![offset(query.before.unwrap_or(u64::MAX))];
            let filters =
                [("user = ?", query.user_id), ("item = ?", query.item_id), ("scenario = ?", query.scenario_id)];
            for (condition, value) in filters {
                if let Some(value) = value {
                    conditions.push(condition);
                    values.push(Sql::Text(value));
                }
            }
            values.push(Sql::Integer(i64::from(query.limit)));
            let conditions = conditions.join(" AND ");
            let sql = format!(r#"SELECT {COLUMNS} FROM events WHERE {conditions} ORDER BY "offset" DESC LIMIT ?"#);
            let mut select = tx.prepare_cached(&sql)?;
            let events = select.query_map(params_from_iter(values), to_event)?;
            Ok(events.collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn read(&self, tenant: &Tenant, from: u64, limit: u32) -> Result<Vec<StoredEvent>, Error> {
        Error::check_count("limit", limit as usize, 1, limits::HISTORY_EVENTS as usize)?;
        let file = self.stores.open(tenant).await?;
        file.read(move |tx| {
            let sql = format!(r#"SELECT {COLUMNS} FROM events WHERE "offset" >= ? ORDER BY "offset" LIMIT ?"#);
            let mut select = tx.prepare_cached(&sql)?;
            let events = select.query_map(params![offset(from), limit], to_event)?;
            Ok(events.collect::<Result<_, _>>()?)
        })
        .await
    }
}

/// The table of events.
struct Log;

impl Part for Log {
    fn name(&self) -> &'static str {
        "events"
    }

    fn migrations(&self) -> &'static [&'static str] {
        &[include_str!("schema.sql")]
    }

    fn purge(&self, write: &mut Write<'_>, what: &Purge) -> Result<u64, Error> {
        let (sql, id) = match what {
            Purge::User(user) => ("DELETE FROM events WHERE user = ?", user),
            Purge::Scenario(scenario) => ("DELETE FROM events WHERE scenario = ?", scenario),
        };
        Ok(write.prepare_cached(sql)?.execute([id])? as u64)
    }
}

#[cfg(test)]
mod tests;
