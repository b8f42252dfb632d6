//! The embedded backend: the log in the tenant's SQLite file, and the effects in
//! the same transaction.
//!
//! Applied one by one, the effects of a hundred events write several hundred
//! pages all over the file. So an append writes two things, both at the end of
//! their tables: the events and a row of a journal with their effects; after the
//! commit the effects are visible from memory. Every few thousand events the
//! journal is *settled*: its effects are applied to the tables together, each
//! page written once. What a process that was killed left in the journal is
//! settled when the file is opened, so nothing acknowledged is ever lost.

mod journal;
mod log;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use funnelweb_factor_documents::{SqliteDocuments, sqlite::Tables as DocumentTables};
use funnelweb_factor_live::{SqliteLive, sqlite::Tables as LiveTables};
use funnelweb_tenant_store::{Durability, Part, Purge, TenantStores, Write, lock};
use rusqlite::Connection;

use self::{journal::Effects, log::Ids};
use crate::{
    check::{check, check_history, check_read, check_restored},
    store::{AppendOutcome, Change, Effect, Error, Event, Events, HistoryQuery, StoredEvent, Tenant},
};

/// Events in a file's journal at which it is settled.
const HELD_EVENTS: usize = 8192;
/// Bytes of a file's journal at which it is settled; in memory it is about four
/// times as large.
const HELD_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of the journals of all open files together, above which those that
/// grow are settled at [`HELD_BYTES_LEAST`].
const HELD_BYTES_ALL: usize = 32 * 1024 * 1024;
/// Bytes that a file may hold in any case.
const HELD_BYTES_LEAST: usize = 64 * 1024;

/// Behaviour logs in tenants' SQLite files.
#[derive(Clone)]
pub struct SqliteEvents {
    stores: Arc<TenantStores>,
    log: Log,
}

impl SqliteEvents {
    /// Adds the tables of events to `stores`, which must be the one that
    /// `documents` and `live` were made with.
    ///
    /// # Errors
    /// See [`TenantStores::register`].
    pub fn new(stores: Arc<TenantStores>, documents: &SqliteDocuments, live: &SqliteLive) -> Result<Self, Error> {
        let (documents, live) = (documents.tables().clone(), live.tables().clone());
        let log = Log { documents, live, ids: Arc::default(), held: Arc::default() };
        stores.register(Arc::new(log.clone()))?;
        Ok(Self { stores, log })
    }

    /// For those who keep the state of operators in the same files.
    #[must_use]
    pub fn applying(&self) -> Applying {
        Applying(self.log.clone())
    }
}

/// Applies what operators change, in the transaction of their step.
#[derive(Clone)]
pub struct Applying(Log);

impl Applying {
    /// Writes the changes down; after the commit they are visible.
    ///
    /// # Errors
    /// `unavailable` when the file cannot be written.
    pub fn apply(&self, write: &mut Write<'_>, changes: &[Change], now_ms: u64) -> Result<(), Error> {
        let log = self.0.clone();
        if changes.is_empty() {
            return Ok(());
        }
        if log.is_full(write.number()) {
            write.settle()?;
        }
        let effects = Effects::of_changes(changes, now_ms);
        let (seq, bytes) = effects.insert(write)?;
        let file = write.number();
        write.after_commit(move || {
            lock(&log.held).entry(file).or_default().bytes += bytes;
            effects.show(file, seq, &log.documents, &log.live);
        });
        Ok(())
    }
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
        let log = self.log.clone();
        let bytes = events.iter().map(bytes).sum::<usize>() + effects.iter().flatten().map(effect_bytes).sum::<usize>();
        file.write_sized(Durability::Durable, bytes, move |write| log.append(write, &events, &effects, now_ms)).await
    }

    async fn history(&self, tenant: &Tenant, query: HistoryQuery) -> Result<Vec<StoredEvent>, Error> {
        check_history(&query)?;
        let file = self.stores.open(tenant).await?;
        file.read(move |tx| log::history(tx, &query)).await
    }

    async fn read(&self, tenant: &Tenant, from: u64, limit: u32) -> Result<Vec<StoredEvent>, Error> {
        check_read(limit)?;
        let file = self.stores.open(tenant).await?;
        file.read(move |tx| log::read(tx, from, limit)).await
    }

    async fn expire(&self, tenant: &Tenant, before_ms: u64, below: u64) -> Result<u64, Error> {
        let file = self.stores.open(tenant).await?;
        file.write(Durability::Relaxed, move |write| {
            let Some(last) = log::last_expired(write, before_ms, below)? else { return Ok(0) };
            // So that all of them are in the index tables.
            write.settle()?;
            log::delete_until(write, last)
        })
        .await
    }

    async fn settle(&self, tenant: &Tenant) -> Result<(), Error> {
        let file = self.stores.open(tenant).await?;
        file.write(Durability::Durable, |write| write.settle()).await
    }

    async fn restore(&self, tenant: &Tenant, events: Vec<StoredEvent>) -> Result<(), Error> {
        check_restored(&events)?;
        let file = self.stores.open(tenant).await?;
        let log = self.log.clone();
        let size = events.iter().map(|stored| bytes(&stored.event)).sum();
        file.write_sized(Durability::Durable, size, move |write| log.restore(write, &events)).await
    }

    async fn last_offset(&self, tenant: &Tenant) -> Result<u64, Error> {
        let file = self.stores.open(tenant).await?;
        file.read(|tx| log::last(tx)).await
    }

    async fn raise_last_offset(&self, tenant: &Tenant, offset: u64) -> Result<(), Error> {
        let file = self.stores.open(tenant).await?;
        file.write(Durability::Durable, move |write| log::raise_last(write, offset)).await
    }
}

/// Bytes of an event in memory, roughly.
fn bytes(event: &Event) -> usize {
    let Event { event_id, scenario_id, user_id, item_id, action_type, timestamp_ms: _, body, signal } = event;
    let texts = [event_id, scenario_id, user_id, item_id, action_type, body];
    let preferences = signal.iter().flat_map(|signal| &signal.preferences);
    size_of::<Event>()
        + texts.into_iter().map(String::len).sum::<usize>()
        + preferences.map(|(field, value, _)| 64 + field.len() + value.len()).sum::<usize>()
}

fn effect_bytes(effect: &Effect) -> usize {
    let names = match effect {
        Effect::Profile(effect) => {
            effect.preferences.iter().map(|(field, value, _)| 64 + field.len() + value.len()).sum::<usize>()
                + effect.counters.iter().map(|(name, _)| 40 + name.len()).sum::<usize>()
        }
        Effect::Count(effect) => effect.field.len(),
        Effect::Hot(_) => 0,
    };
    size_of::<Effect>() + names
}

/// What a file's journal holds.
#[derive(Debug, Clone, Copy, Default)]
struct Held {
    events: usize,
    bytes: usize,
}

/// The tables of events, and what is in memory of them.
#[derive(Clone)]
struct Log {
    documents: DocumentTables,
    live: LiveTables,
    ids: Arc<Ids>,
    /// By file, as committed.
    held: Arc<Mutex<HashMap<u64, Held>>>,
}

impl Log {
    fn append(
        self,
        write: &mut Write<'_>,
        events: &[Event],
        effects: &[Vec<Effect>],
        now_ms: u64,
    ) -> Result<Vec<AppendOutcome>, Error> {
        if self.is_full(write.number()) {
            write.settle()?;
        }
        let (outcomes, new) = log::insert(write, &self.ids, events)?;
        if new.is_empty() {
            return Ok(outcomes);
        }
        let accepted = events.iter().zip(effects).zip(&outcomes);
        let accepted = accepted.filter(|(_, outcome)| **outcome == AppendOutcome::Accepted);
        let effects = Effects::new(accepted.map(|((event, effects), _)| (event, effects.as_slice())), now_ms);
        let (seq, bytes) = effects.insert(write)?;
        let file = write.number();
        write.after_commit(move || {
            let mut held = lock(&self.held);
            let held = held.entry(file).or_default();
            held.events += new.len();
            held.bytes += bytes;
            for (offset, handle) in new {
                self.ids.add(file, offset, [(handle, ())]);
            }
            effects.show(file, seq, &self.documents, &self.live);
        });
        Ok(outcomes)
    }

    fn restore(self, write: &mut Write<'_>, events: &[StoredEvent]) -> Result<(), Error> {
        // So that all events before are in the index tables; and these after.
        write.settle()?;
        log::restore(write, events)?;
        write.settle()
    }

    /// Whether the file's journal is to be settled before more is added.
    fn is_full(&self, file: u64) -> bool {
        let held = lock(&self.held);
        let own = held.get(&file).copied().unwrap_or_default();
        let all = || held.values().map(|held| held.bytes).sum::<usize>();
        own.events >= HELD_EVENTS || own.bytes >= HELD_BYTES || own.bytes >= HELD_BYTES_LEAST && all() >= HELD_BYTES_ALL
    }
}

impl Part for Log {
    fn name(&self) -> &'static str {
        "events"
    }

    fn migrations(&self) -> &'static [&'static str] {
        &[include_str!("schema.sql"), include_str!("schema-2.sql"), include_str!("schema-3.sql")]
    }

    fn settle(&self, write: &mut Write<'_>) -> Result<(), Error> {
        journal::settle(write, &self.documents, &self.live)?;
        let indexed = log::index(write)?;
        let (log, file) = (self.clone(), write.number());
        write.after_commit(move || {
            log.ids.settle(file, indexed);
            lock(&log.held).remove(&file);
        });
        Ok(())
    }

    fn closed(&self, file: u64) {
        self.ids.close(file);
        lock(&self.held).remove(&file);
    }

    fn item_id(&self, connection: &Connection, handle: u64) -> Result<Option<String>, Error> {
        log::item_id(connection, handle)
    }

    fn purge(&self, write: &mut Write<'_>, what: &Purge) -> Result<u64, Error> {
        if let Purge::Scenario(scenario) = what {
            // Counters are those of items, which go with the last scenario that has them.
            let items = self.documents.items_of_none_other(write, scenario)?;
            self.live.delete_counters(write, items)?;
        }
        log::delete(write, what)
    }
}

#[cfg(test)]
mod tests;
