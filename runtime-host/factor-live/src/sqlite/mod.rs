//! The embedded backend: tables of the tenant's SQLite file, served from memory.

mod cache;
mod effects;
mod exposed;
mod served;
mod tables;
mod whole;

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use funnelweb_core::{counter::SERVED_PLACES, id};
use funnelweb_tenant_store::{Durability, Stamp, TenantFile, TenantStores, lock, settled};
use rusqlite::params;

use self::cache::{Cached, Counters, LiveKey, Memory, Structure};
pub use self::{
    effects::{CountChange, HotChange, Weight},
    tables::Tables,
};
use crate::{
    check,
    exposures::{ExposureSet, Shown},
    hot::HotList,
    store::{Error, Live, Scored, Tenant, Walk, Whole},
};

/// Live structures in tenants' SQLite files.
#[derive(Clone)]
pub struct SqliteLive {
    stores: Arc<TenantStores>,
    tables: Tables,
}

impl SqliteLive {
    /// Adds the tables of live structures to `stores`.
    ///
    /// # Errors
    /// See [`TenantStores::register`].
    pub fn new(stores: Arc<TenantStores>) -> Result<Self, Error> {
        let tables = Tables { memory: Arc::new(Memory::new()) };
        stores.register(Arc::new(tables.clone()))?;
        Ok(Self { stores, tables })
    }

    /// The tables, for jobs that write live structures along with their own.
    #[must_use]
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    async fn hot(&self, tenant: &Tenant, scenario_id: &str) -> Result<Arc<Mutex<HotList>>, Error> {
        Error::check_id("scenario-id", scenario_id)?;
        let file = self.stores.open(tenant).await?;
        let scenario: Arc<str> = scenario_id.into();
        let key = LiveKey::Hot { file: file.number(), scenario: scenario.clone() };
        if let Some(Structure::Hot(list)) = self.tables.memory.get(&key) {
            return Ok(list);
        }
        let tables = self.tables.clone();
        file.write(Durability::Relaxed, move |write| tables.load_hot(write, scenario)).await
    }

    /// The committed exposures of a user: from memory, or read.
    async fn exposures(&self, file: &Arc<TenantFile>, key: &LiveKey) -> Result<Arc<Mutex<ExposureSet>>, Error> {
        let memory = &self.tables.memory;
        if let Some(Structure::Exposed(set)) = memory.get(key) {
            return Ok(set);
        }
        let stamp = memory.cache.stamp(key);
        let now_ms = self.stores.now_ms();
        let (key, memory) = (key.clone(), memory.clone());
        file.read(move |tx| {
            let LiveKey::Exposed { scenario, user, .. } = &key else { return Ok(Arc::default()) };
            let set = Arc::new(Mutex::new(exposed::load(tx, scenario, user, now_ms)?));
            memory.cache.offer(key, Cached::new(Structure::Exposed(set.clone())), stamp);
            Ok(set)
        })
        .await
    }
}

#[async_trait]
impl Live for SqliteLive {
    async fn hot_top(
        &self,
        tenant: &Tenant,
        scenario_id: String,
        limit: u32,
        mut exclude: Vec<u64>,
        now_ms: u64,
    ) -> Result<Scored, Error> {
        check::hot_top(&scenario_id, limit, &exclude)?;
        let list = self.hot(tenant, &scenario_id).await?;
        exclude.sort_unstable();
        let top = lock(&list).top(limit as usize, &exclude, now_ms);
        Ok(top)
    }

    async fn hot_scores(
        &self,
        tenant: &Tenant,
        scenario_id: String,
        handles: Vec<u64>,
        now_ms: u64,
    ) -> Result<Vec<f32>, Error> {
        check::hot_scores(&scenario_id, &handles)?;
        let list = self.hot(tenant, &scenario_id).await?;
        let scores = lock(&list).scores(&handles, now_ms);
        Ok(scores)
    }

    async fn expose(
        &self,
        tenant: &Tenant,
        scenario_id: String,
        user_id: Option<String>,
        item_ids: Vec<String>,
        ttl_s: u32,
    ) -> Result<(), Error> {
        check::expose(&scenario_id, user_id.as_deref(), &item_ids)?;
        if item_ids.is_empty() {
            return Ok(());
        }
        let file = self.stores.open(tenant).await?;
        let handles: Vec<u64> = item_ids.iter().map(|item| id::handle(item)).collect();
        self.tables.serve(&file, handles.iter().copied());
        let Some(user_id) = user_id.filter(|_| ttl_s > 0) else { return Ok(()) };
        let now_ms = self.stores.now_ms();
        let expires_ms = now_ms.saturating_add(1000 * u64::from(ttl_s));
        let shown = Arc::new(Shown { expires_ms, handles });
        let items = exposed::encode(&item_ids);
        let key = LiveKey::Exposed { file: file.number(), scenario: scenario_id.into(), user: user_id.into() };
        let compact = match self.tables.memory.get(&key) {
            Some(Structure::Exposed(set)) => {
                let set = lock(&set);
                set.rows >= set.compact_at
            }
            _ => false,
        };
        // Visible from here on; the disk follows, and nobody waits for it.
        let unflushed = self.tables.memory.show(key, shown.clone());
        let _ = file.submit(Durability::Deferred, items.len(), move |write| {
            let LiveKey::Exposed { scenario, user, .. } = unflushed.key() else { return Ok(()) };
            // Nobody waits for the answer, so it is told here; that a commit
            // failed is told by the writer.
            let rows = exposed::store(write, (scenario, user), expires_ms, &items, now_ms, compact)
                .inspect_err(|error| tracing::error!(%scenario, %error, "what a user was shown was not stored"))?;
            write.after_commit(move || {
                unflushed.memory().change(unflushed.key(), |cached| {
                    let Structure::Exposed(set) = cached else { return };
                    let mut set = lock(set);
                    set.add(&shown);
                    if let Some(rows) = rows {
                        set.rows = rows;
                        set.compact_at = exposed::compact_at(rows);
                    }
                });
            });
            Ok::<_, Error>(())
        })?;
        Ok(())
    }

    async fn exposed(&self, tenant: &Tenant, scenario_id: String, user_id: String) -> Result<Vec<u64>, Error> {
        check::exposed(&scenario_id, &user_id)?;
        let file = self.stores.open(tenant).await?;
        let key = LiveKey::Exposed { file: file.number(), scenario: scenario_id.into(), user: user_id.into() };
        // In this order: what leaves the first is in the second by then.
        let unflushed = self.tables.memory.unflushed(&key);
        let set = self.exposures(&file, &key).await?;
        let now_ms = self.stores.now_ms();
        let mut alive: Vec<u64> = {
            let mut set = lock(&set);
            set.prune(now_ms);
            set.handles(now_ms).collect()
        };
        let fresh = unflushed.iter().filter(|shown| shown.expires_ms > now_ms).flat_map(|shown| &shown.handles);
        let committed = alive.len();
        alive.extend(fresh);
        if alive.len() > committed {
            alive.sort_unstable();
            alive.dedup();
        }
        Ok(alive)
    }

    async fn item_stats(
        &self,
        tenant: &Tenant,
        scenario_id: String,
        handles: Vec<u64>,
        fields: Vec<String>,
    ) -> Result<Vec<f64>, Error> {
        check::item_stats(&scenario_id, &handles, &fields)?;
        let file = self.stores.open(tenant).await?;
        let number = file.number();
        let memory = &self.tables.memory;
        let mut values = vec![0.0; handles.len() * fields.len()];
        let mut missing: Vec<(usize, u64, Stamp)> = Vec::new();
        // Before the cache is asked, and the snapshot taken.
        let asked = if fields.iter().any(|field| field == SERVED_PLACES) { &*handles } else { &[] };
        let served = memory.served.pending(&number, asked);
        for (at, &handle) in handles.iter().enumerate() {
            let key = LiveKey::Stats { file: number, handle };
            match memory.get(&key) {
                Some(Structure::Stats(counters)) => pick(&lock(&counters), &fields, &served, at, &mut values),
                _ => missing.push((at, handle, memory.cache.stamp(&key))),
            }
        }
        if missing.is_empty() {
            return Ok(values);
        }
        // Before the snapshot is taken.
        let (last, changes) = memory.counts.get(number, missing.iter().map(|(_, handle, _)| handle));
        let memory = memory.clone();
        file.read(move |tx| {
            let mut select = tx.prepare_cached("SELECT field, value FROM item_stats WHERE handle = ?")?;
            let (have, newest_batch) = (settled(tx)?, served::newest_batch(tx)?);
            for ((at, handle, stamp), changes) in missing.into_iter().zip(changes) {
                let found = select.query_map(params![handle.cast_signed()], |row| Ok((row.get(0)?, row.get(1)?)))?;
                let mut counters = Counters::new(last.max(have), newest_batch, found.collect::<Result<_, _>>()?);
                for (_, (field, amount)) in changes.into_iter().filter(|(seq, _)| *seq > have) {
                    counters.add_one(&field, amount);
                }
                pick(&counters, &fields, &served, at, &mut values);
                let kept = Cached::new(Structure::Stats(Arc::new(Mutex::new(counters))));
                memory.cache.offer(LiveKey::Stats { file: number, handle }, kept, stamp);
            }
            Ok(values)
        })
        .await
    }

    async fn flush(&self) {
        self.tables.memory.served.flush().await;
    }

    fn walk<'a>(&'a self, tenant: &'a Tenant) -> Walk<'a, Whole> {
        self.walk_all(tenant)
    }

    async fn restore(&self, tenant: &Tenant, structures: Vec<Whole>) -> Result<(), Error> {
        structures.iter().try_for_each(Whole::check)?;
        self.put_back(tenant, structures).await
    }
}

/// Copies an item's counters to its row; `served` is what they may lack of places
/// served, by item.
fn pick(counters: &Counters, fields: &[String], served: &[Vec<(u64, f64)>], at: usize, values: &mut [f64]) {
    let row = values.iter_mut().skip(at * fields.len());
    for (field, value) in fields.iter().zip(row) {
        *value = counters.get(field);
        if field == SERVED_PLACES {
            *value += served.get(at).map_or(0.0, |pending| counters.lacking(pending));
        }
    }
}

#[cfg(test)]
mod tests;
