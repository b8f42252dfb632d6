//! The embedded backend: a table of the tenant's SQLite file.

use std::sync::Arc;

use async_trait::async_trait;
use funnelweb_core::limits;
use funnelweb_tenant_store::{Durability, Part, Purge, TenantStores, Write};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::{
    Head, Reason, Recording, decode,
    store::{Error, Packed, Page, Recordings, Tenant},
};

/// Of the oldest, how many each new one takes along that are too many or have expired: more than
/// it adds. What has expired behind others goes with a sweep.
const EXPIRED: u32 = 2;
/// Recordings that a sweep deletes at once.
const SWEPT: u32 = 500;
/// What a head is read from.
const HEAD: &str = "seq, request, scenario, user, at_ms, expires_ms, reason, status, elapsed_us";

/// Recordings in tenants' SQLite files.
#[derive(Clone)]
pub struct SqliteRecordings {
    stores: Arc<TenantStores>,
}

impl SqliteRecordings {
    /// Adds the table to `stores`.
    ///
    /// # Errors
    /// See [`TenantStores::register`].
    pub fn new(stores: Arc<TenantStores>) -> Result<Self, Error> {
        stores.register(Arc::new(Tables))?;
        Ok(Self { stores })
    }

    /// Deletes what was kept since the tenant's file was purged of it.
    async fn forget(&self, tenant: &Tenant, what: Purge) -> Result<(), Error> {
        let file = self.stores.open(tenant).await?;
        file.write(Durability::Durable, move |write| purge(write, &what)).await
    }
}

#[async_trait]
impl Recordings for SqliteRecordings {
    async fn append(&self, tenant: &Tenant, recordings: Vec<Packed>) -> Result<(), Error> {
        if recordings.is_empty() {
            return Ok(());
        }
        let now_ms = self.stores.now_ms();
        let file = self.stores.open(tenant).await?;
        let bytes = recordings.iter().map(|recording| recording.bytes.len()).sum();
        file.submit(Durability::Deferred, bytes, move |write| insert(write, &recordings, now_ms))?.done().await
    }

    async fn get(&self, tenant: &Tenant, request_id: &str) -> Result<Option<Recording>, Error> {
        let file = self.stores.open(tenant).await?;
        let (request, now_ms) = (request_id.to_owned(), self.stores.now_ms());
        let sql = "SELECT bytes FROM recordings JOIN recorded USING (seq)
                   WHERE request = ? AND expires_ms > ? ORDER BY seq DESC LIMIT 1";
        let found = file.read(move |tx| {
            let row = params![request, now_ms.cast_signed()];
            let found = tx.prepare_cached(sql)?.query_row(row, |row| row.get::<_, Vec<u8>>(0)).optional();
            found.map_err(Error::from)
        });
        found.await?.map_or(Ok(None), |written| decode(request_id, &written))
    }

    async fn list(
        &self,
        tenant: &Tenant,
        scenario_id: Option<&str>,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Page, Error> {
        Error::check_count("limit", limit as usize, 1, limits::PAGE_DOCUMENTS as usize)?;
        let file = self.stores.open(tenant).await?;
        let (scenario, now_ms) = (scenario_id.map(str::to_owned), self.stores.now_ms().cast_signed());
        let before = before.map_or(i64::MAX, u64::cast_signed);
        file.read(move |tx| {
            let of = if scenario.is_some() { "scenario = ?1" } else { "?1 IS NULL" };
            let sql = format!(
                "SELECT {HEAD} FROM recordings WHERE {of} AND seq < ?2 AND expires_ms > ?3 ORDER BY seq DESC LIMIT ?4"
            );
            let mut select = tx.prepare_cached(&sql)?;
            let rows = select.query_map(params![scenario, before, now_ms, limit], head)?;
            let heads = rows.collect::<Result<Vec<_>, _>>()?;
            let last = heads.last().map(|(seq, _)| seq.cast_unsigned());
            let is_full = heads.len() == limit as usize;
            Ok(Page { heads: heads.into_iter().map(|(_, head)| head).collect(), next: last.filter(|_| is_full) })
        })
        .await
    }

    async fn forget_user(&self, tenant: &Tenant, user_id: &str) -> Result<(), Error> {
        self.forget(tenant, Purge::User(user_id.to_owned())).await
    }

    async fn forget_scenario(&self, tenant: &Tenant, scenario_id: &str) -> Result<(), Error> {
        self.forget(tenant, Purge::Scenario(scenario_id.to_owned())).await
    }

    async fn sweep(&self) -> Result<(), Error> {
        for tenant in self.stores.tenants().await? {
            let now_ms = self.stores.now_ms();
            // In pieces, so that others can write in between.
            loop {
                let file = self.stores.open(&tenant).await?;
                if file.write(Durability::Relaxed, move |write| sweep(write, now_ms, SWEPT)).await? < SWEPT as usize {
                    break;
                }
            }
        }
        Ok(())
    }
}

fn head(row: &Row<'_>) -> rusqlite::Result<(i64, Head)> {
    let reason: String = row.get(6)?;
    let head = Head {
        request_id: row.get(1)?,
        scenario_id: row.get(2)?,
        user_id: row.get(3)?,
        at_ms: row.get::<_, i64>(4)?.cast_unsigned(),
        expires_ms: row.get::<_, i64>(5)?.cast_unsigned(),
        reason: Reason::of(&reason).unwrap_or(Reason::Sample),
        status: row.get(7)?,
        elapsed_us: row.get(8)?,
    };
    Ok((row.get(0)?, head))
}

fn insert(connection: &Connection, recordings: &[Packed], now_ms: u64) -> Result<(), Error> {
    let sql = "INSERT INTO recordings (request, scenario, user, at_ms, expires_ms, reason, status, elapsed_us)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
    let mut insert = connection.prepare_cached(sql)?;
    let mut insert_bytes = connection.prepare_cached("INSERT INTO recorded (seq, bytes) VALUES (?, ?)")?;
    for Packed { head, bytes } in recordings {
        insert.execute(params![
            head.request_id,
            head.scenario_id,
            head.user_id,
            head.at_ms.cast_signed(),
            head.expires_ms.cast_signed(),
            head.reason.as_str(),
            head.status,
            head.elapsed_us,
        ])?;
        insert_bytes.execute(params![connection.last_insert_rowid(), bytes])?;
    }
    let gone = u32::try_from(recordings.len()).unwrap_or(u32::MAX).saturating_mul(EXPIRED);
    let too_many = connection.last_insert_rowid() - limits::RECORDINGS.cast_signed();
    let sql = "DELETE FROM recordings WHERE (seq <= ? OR expires_ms <= ?)
               AND seq IN (SELECT seq FROM recordings ORDER BY seq LIMIT ?)";
    connection.prepare_cached(sql)?.execute(params![too_many, now_ms.cast_signed(), gone])?;
    Ok(())
}

/// Deletes of what has expired so many at most; how many.
fn sweep(connection: &Connection, now_ms: u64, most: u32) -> Result<usize, Error> {
    let sql = "DELETE FROM recordings WHERE seq IN (SELECT seq FROM recordings WHERE expires_ms <= ? LIMIT ?)";
    Ok(connection.prepare_cached(sql)?.execute(params![now_ms.cast_signed(), most])?)
}

fn purge(connection: &Connection, what: &Purge) -> Result<(), Error> {
    let (sql, of) = match what {
        Purge::User(user) => ("DELETE FROM recordings WHERE user = ?", user),
        Purge::Scenario(scenario) => ("DELETE FROM recordings WHERE scenario = ?", scenario),
    };
    connection.prepare_cached(sql)?.execute([of])?;
    Ok(())
}

/// The table and what is deleted of it.
struct Tables;

impl Part for Tables {
    fn name(&self) -> &'static str {
        "recordings"
    }

    fn migrations(&self) -> &'static [&'static str] {
        &[include_str!("schema.sql"), include_str!("apart.sql")]
    }

    fn purge(&self, write: &mut Write<'_>, what: &Purge) -> Result<u64, Error> {
        purge(write, what).map(|()| 0)
    }
}

#[cfg(test)]
mod tests;
