//! The embedded backend: a table of the tenant's SQLite file.

use std::sync::Arc;

use async_trait::async_trait;
use funnelweb_core::limits;
use funnelweb_tenant_store::{Durability, Part, Purge, TenantStores, Write};
use rusqlite::{Connection, params};

use crate::{
    Slate, check,
    codec::{self, Place},
    store::{Error, ExposureLog, Page, Tenant},
};

/// Old slates that each new one takes along: more than it adds, so they go.
const EXPIRED: u32 = 2;

/// Slates that a sweep looks at at once.
const SWEPT: u32 = 500;

/// Slates in tenants' SQLite files.
#[derive(Clone)]
pub struct SqliteExposureLog {
    stores: Arc<TenantStores>,
}

impl SqliteExposureLog {
    /// Adds the table to `stores`.
    ///
    /// # Errors
    /// See [`TenantStores::register`].
    pub fn new(stores: Arc<TenantStores>) -> Result<Self, Error> {
        stores.register(Arc::new(Tables))?;
        Ok(Self { stores })
    }
}

#[async_trait]
impl ExposureLog for SqliteExposureLog {
    async fn append(&self, tenant: &Tenant, slate: Slate) -> Result<(), Error> {
        let now_ms = self.stores.now_ms();
        let file = self.stores.open(tenant).await?;
        let bytes = slate.bytes();
        // Nobody waits for it.
        drop(file.submit(Durability::Deferred, bytes, move |write| insert(write, slate, now_ms))?);
        Ok(())
    }

    async fn read(&self, tenant: &Tenant, scenario_id: &str, after: Option<u64>, limit: u32) -> Result<Page, Error> {
        check::limit(limit)?;
        let file = self.stores.open(tenant).await?;
        let scenario = scenario_id.to_owned();
        let oldest_ms = oldest_ms(self.stores.now_ms());
        file.read(move |tx| read(tx, scenario, after.unwrap_or_default(), oldest_ms, limit)).await
    }

    async fn settle(&self, tenant: &Tenant) -> Result<(), Error> {
        let file = self.stores.open(tenant).await?;
        file.write(Durability::Relaxed, |_| Ok(())).await
    }

    /// Numbers are given in the order of writes, all of them by this process.
    async fn end(&self, tenant: &Tenant) -> Result<u64, Error> {
        let file = self.stores.open(tenant).await?;
        file.write(Durability::Relaxed, |write| last(write)).await
    }

    /// A tenant's writes are done one after the other: whoever is deleted is deleted after
    /// all that was noted before.
    async fn forget_user(&self, _: &Tenant, _: &str) -> Result<(), Error> {
        Ok(())
    }

    async fn forget_scenario(&self, _: &Tenant, _: &str) -> Result<(), Error> {
        Ok(())
    }

    async fn sweep(&self) -> Result<(), Error> {
        for tenant in self.stores.tenants().await? {
            self.sweep_one(&tenant).await?;
        }
        Ok(())
    }
}

impl SqliteExposureLog {
    /// In pieces, so that others can write in between.
    async fn sweep_one(&self, tenant: &Tenant) -> Result<(), Error> {
        loop {
            let oldest_ms = oldest_ms(self.stores.now_ms());
            let file = self.stores.open(tenant).await?;
            let deleted = file.write(Durability::Relaxed, move |write| sweep(write, oldest_ms)).await?;
            if deleted < SWEPT as usize {
                return Ok(());
            }
        }
    }
}

/// Deletes of the oldest slates those that are too old; how many.
fn sweep(connection: &Connection, oldest_ms: i64) -> Result<usize, Error> {
    let sql = "DELETE FROM exposure_log WHERE seq IN (SELECT seq FROM exposure_log ORDER BY seq LIMIT ?)
               AND shown_at_ms < ?";
    Ok(connection.prepare_cached(sql)?.execute(params![SWEPT, oldest_ms])?)
}

fn insert(connection: &Connection, slate: Slate, now_ms: u64) -> Result<(), Error> {
    let (Place { scenario_id, user_id, shown_at_ms }, bytes) = codec::encode(slate)?;
    connection
        .prepare_cached("INSERT INTO exposure_log (scenario, user, shown_at_ms, slate) VALUES (?, ?, ?, ?)")?
        .execute(params![scenario_id, user_id, shown_at_ms.cast_signed(), bytes])?;
    let too_many = connection.last_insert_rowid() - limits::EXPOSURE_LOG_SLATES.cast_signed();
    connection
        .prepare_cached(
            "DELETE FROM exposure_log WHERE seq IN (SELECT seq FROM exposure_log ORDER BY seq LIMIT ?)
             AND (seq <= ? OR shown_at_ms < ?)",
        )?
        .execute(params![EXPIRED, too_many, oldest_ms(now_ms)])?;
    Ok(())
}

/// The last number that was given.
fn last(connection: &Connection) -> Result<u64, Error> {
    let sql = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'exposure_log'";
    Ok(connection.prepare_cached(sql)?.query_row([], |row| row.get::<_, i64>(0))?.cast_unsigned())
}

/// What was shown before is kept no more, though it may still be there.
fn oldest_ms(now_ms: u64) -> i64 {
    now_ms.saturating_sub(limits::EXPOSURE_LOG_MS).cast_signed()
}

fn read(connection: &Connection, scenario: String, after: u64, oldest_ms: i64, limit: u32) -> Result<Page, Error> {
    let mut select = connection.prepare_cached(
        "SELECT seq, user, shown_at_ms, slate FROM exposure_log
         WHERE scenario = ? AND seq > ? AND shown_at_ms >= ? ORDER BY seq LIMIT ?",
    )?;
    let mut rows = select.query(params![scenario, after.cast_signed(), oldest_ms, limit])?;
    let (mut page, mut count) = (Page::default(), 0);
    while let Some(row) = rows.next()? {
        let place = Place {
            scenario_id: scenario.clone(),
            user_id: row.get(1)?,
            shown_at_ms: row.get::<_, i64>(2)?.cast_unsigned(),
        };
        let bytes = row.get_ref(3)?.as_blob().map_err(rusqlite::Error::from)?;
        let seq = row.get::<_, i64>(0)?.cast_unsigned();
        match codec::decode(place, bytes) {
            Some(slate) => {
                page.slates.push(slate);
                page.positions.push(seq);
            }
            None => tracing::warn!(%scenario, seq, "a logged slate is damaged and passed over"),
        }
        (count, page.next) = (count + 1, Some(seq));
    }
    if count < limit {
        page.next = None;
    }
    Ok(page)
}

/// The table and what is deleted of it.
struct Tables;

impl Part for Tables {
    fn name(&self) -> &'static str {
        "exposure_log"
    }

    fn migrations(&self) -> &'static [&'static str] {
        &[include_str!("schema.sql")]
    }

    fn purge(&self, write: &mut Write<'_>, what: &Purge) -> Result<u64, Error> {
        let (sql, of) = match what {
            Purge::User(user) => ("DELETE FROM exposure_log WHERE user = ?", user),
            Purge::Scenario(scenario) => ("DELETE FROM exposure_log WHERE scenario = ?", scenario),
        };
        write.prepare_cached(sql)?.execute([of])?;
        Ok(0)
    }
}

#[cfg(test)]
mod tests;
