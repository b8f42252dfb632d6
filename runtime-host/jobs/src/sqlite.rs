//! The embedded backend: tables of the tenant's SQLite file.
//!
//! One process has the data directory, so the runs that others were at when this
//! one began are nobody's: they are free at once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use funnelweb_core::{job::Kind, limits};
use funnelweb_tenant_store::{Durability, Part, Purge, TenantStores, Write, lock};
use rusqlite::{Connection, OptionalExtension, params, types::Type};
use serde::Deserialize;
use tokio::sync::OnceCell;

use crate::{
    check,
    store::{Applied, Change, Entry, Error, Job, JobStore, Open, Record, Refused, Run, RunsQuery, Tenant},
};

/// Runs of jobs in tenants' SQLite files.
#[derive(Clone)]
pub struct SqliteJobs {
    stores: Arc<TenantStores>,
    /// Tenants that may have open runs, and how often one was begun for each: so that
    /// not every file is looked into again and again.
    at_work: Arc<Mutex<HashMap<Tenant, u64>>>,
    /// Filled when `at_work` knows of those that were there before this process.
    looked: Arc<OnceCell<()>>,
}

struct Tables;

impl SqliteJobs {
    /// Adds the tables of jobs to `stores`.
    ///
    /// # Errors
    /// See [`TenantStores::register`].
    pub fn new(stores: Arc<TenantStores>) -> Result<Self, Error> {
        stores.register(Arc::new(Tables))?;
        Ok(Self { stores, at_work: Arc::default(), looked: Arc::default() })
    }

    /// Frees what a process that ended was at, and remembers whose it was.
    async fn look(&self, tenant: &Tenant) -> Result<(), Error> {
        let now_ms = self.stores.now_ms();
        let file = self.stores.open(tenant).await?;
        let jobs = file.read(|tx| open_runs(tx)).await?;
        if jobs.is_empty() {
            return Ok(());
        }
        file.write(Durability::Durable, move |write| {
            for (job, _) in jobs {
                match apply(write, &job, Change::Abandon, now_ms) {
                    Ok(_) | Err(Refused::Nothing) => {}
                    Err(Refused::Store(error)) => return Err(error),
                    Err(other) => return Err(Error::Unavailable(other.to_string())),
                }
            }
            Ok::<_, Error>(())
        })
        .await?;
        lock(&self.at_work).entry(tenant.clone()).or_default();
        Ok(())
    }
}

#[async_trait]
impl JobStore for SqliteJobs {
    async fn change(&self, tenant: &Tenant, job: &Job, change: Change) -> Result<Record, Refused> {
        change.check(job)?;
        let file = self.stores.open(tenant).await?;
        let now_ms = self.stores.now_ms();
        let durability = match change {
            Change::Renew { .. } => Durability::Relaxed,
            _ => Durability::Durable,
        };
        let begins = matches!(change, Change::Create { .. });
        let (job, tenant, at_work) = (job.clone(), tenant.clone(), Arc::clone(&self.at_work));
        file.write(durability, move |write| {
            let applied = apply(write, &job, change, now_ms)?;
            if begins {
                write.after_commit(move || *lock(&at_work).entry(tenant).or_default() += 1);
            }
            Ok(applied.record)
        })
        .await
    }

    async fn scheduled_ms(&self, tenant: &Tenant, job: &Job) -> Result<u64, Error> {
        let file = self.stores.open(tenant).await?;
        let job = job.clone();
        file.read(move |tx| Ok(entry(tx, &job)?.scheduled_ms)).await
    }

    async fn keep(&self, tenant: &Tenant, job: &Job, token: u64, checkpoint: Vec<u8>) -> Result<(), Refused> {
        check::checkpoint(job, &checkpoint)?;
        let file = self.stores.open(tenant).await?;
        let job = job.clone();
        file.write_sized(Durability::Durable, checkpoint.len(), move |write| {
            entry(write, &job)?.check_held(token)?;
            write
                .prepare_cached("INSERT OR REPLACE INTO job_checkpoints (scenario, kind, bytes) VALUES (?, ?, ?)")
                .and_then(|mut put| put.execute(params![job.scenario_id, job.kind.as_str(), checkpoint]))
                .map_err(Error::from)?;
            Ok(())
        })
        .await
    }

    async fn kept(&self, tenant: &Tenant, job: &Job) -> Result<Option<Vec<u8>>, Error> {
        let file = self.stores.open(tenant).await?;
        let job = job.clone();
        file.read(move |tx| {
            let mut select = tx.prepare_cached("SELECT bytes FROM job_checkpoints WHERE scenario = ? AND kind = ?")?;
            Ok(select.query_row(params![job.scenario_id, job.kind.as_str()], |row| row.get(0)).optional()?)
        })
        .await
    }

    async fn get(&self, tenant: &Tenant, id: &str) -> Result<Option<Run>, Error> {
        let file = self.stores.open(tenant).await?;
        let id = id.to_owned();
        file.read(move |tx| Ok(record(tx, &id)?.map(|record| record.run))).await
    }

    async fn list(&self, tenant: &Tenant, query: RunsQuery) -> Result<Vec<Run>, Error> {
        check::runs(&query)?;
        let file = self.stores.open(tenant).await?;
        file.read(move |tx| {
            let mut select = tx.prepare_cached(
                "SELECT record FROM job_runs
                 WHERE (?1 IS NULL OR scenario = ?1) AND (?2 IS NULL OR kind = ?2)
                   AND (?3 IS NULL OR state = ?3) AND (?4 IS NULL OR id < ?4)
                 ORDER BY id DESC LIMIT ?5",
            )?;
            let RunsQuery { scenario_id, kind, state, before, limit } = query;
            let (kind, state) = (kind.map(Kind::as_str), state.map(funnelweb_core::job::State::as_str));
            let rows = select.query_map(params![scenario_id, kind, state, before, limit], to_record)?;
            Ok(rows.map(|record| record.map(|record| record.run)).collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn open(&self) -> Result<Vec<Open>, Error> {
        self.looked
            .get_or_try_init(|| async {
                for tenant in self.stores.tenants().await? {
                    self.look(&tenant).await?;
                }
                Ok::<_, Error>(())
            })
            .await?;
        let at_work: Vec<(Tenant, u64)> =
            lock(&self.at_work).iter().map(|(tenant, begun)| (tenant.clone(), *begun)).collect();
        let mut all = Vec::new();
        for (tenant, begun) in at_work {
            let file = self.stores.open(&tenant).await?;
            let runs = file.read(|tx| open_runs(tx)).await?;
            if runs.is_empty() {
                let mut at_work = lock(&self.at_work);
                if at_work.get(&tenant) == Some(&begun) {
                    at_work.remove(&tenant);
                }
            }
            all.extend(runs.into_iter().map(|(job, record)| Open { tenant: tenant.clone(), job, record }));
        }
        Ok(all)
    }

    async fn forget_scenario(&self, tenant: &Tenant, scenario_id: &str) -> Result<(), Error> {
        let file = self.stores.open(tenant).await?;
        let scenario = scenario_id.to_owned();
        file.write(Durability::Durable, move |write| purge(write, &scenario)).await
    }
}

/// Makes a change within a transaction.
fn apply(connection: &Connection, job: &Job, change: Change, now_ms: u64) -> Result<Applied, Refused> {
    let mut now = entry(connection, job)?;
    let applied = now.apply(job, change, now_ms)?;
    save(connection, job, &now, &applied)?;
    Ok(applied)
}

fn entry(connection: &Connection, job: &Job) -> Result<Entry, Error> {
    let mut select =
        connection.prepare_cached("SELECT token, scheduled_ms, open FROM jobs WHERE scenario = ? AND kind = ?")?;
    let found = select
        .query_row(params![job.scenario_id, job.kind.as_str()], |row| {
            let number = |at| Ok::<_, rusqlite::Error>(row.get::<_, i64>(at)?.cast_unsigned());
            Ok((number(0)?, number(1)?, row.get::<_, Option<String>>(2)?))
        })
        .optional()?;
    let Some((token, scheduled_ms, open)) = found else { return Ok(Entry::default()) };
    let open = open.map(|id| record(connection, &id)).transpose()?.flatten();
    Ok(Entry { token, scheduled_ms, open })
}

fn save(connection: &Connection, job: &Job, entry: &Entry, applied: &Applied) -> Result<(), Error> {
    let (scenario, kind) = (&job.scenario_id, job.kind.as_str());
    let open = entry.open.as_ref().map(|record| &record.run.id);
    let (token, scheduled_ms) = (entry.token.cast_signed(), entry.scheduled_ms.cast_signed());
    connection.prepare_cached("INSERT OR REPLACE INTO jobs VALUES (?, ?, ?, ?, ?)")?.execute(params![
        scenario,
        kind,
        token,
        scheduled_ms,
        open
    ])?;
    let run = &applied.record.run;
    let json = serde_json::to_string(&applied.record).map_err(|error| Error::Unavailable(error.to_string()))?;
    connection.prepare_cached("INSERT OR REPLACE INTO job_runs VALUES (?, ?, ?, ?, ?)")?.execute(params![
        run.id,
        scenario,
        kind,
        run.state.as_str(),
        json
    ])?;
    if applied.over {
        connection
            .prepare_cached("DELETE FROM job_checkpoints WHERE scenario = ? AND kind = ?")?
            .execute(params![scenario, kind])?;
        connection
            .prepare_cached(
                "DELETE FROM job_runs WHERE scenario = ?1 AND kind = ?2 AND id IN (
                   SELECT id FROM job_runs WHERE scenario = ?1 AND kind = ?2 ORDER BY id DESC LIMIT -1 OFFSET ?3)",
            )?
            .execute(params![scenario, kind, limits::JOB_RUNS])?;
    }
    Ok(())
}

fn record(connection: &Connection, id: &str) -> Result<Option<Record>, Error> {
    let mut select = connection.prepare_cached("SELECT record FROM job_runs WHERE id = ?")?;
    Ok(select.query_row([id], to_record).optional()?)
}

fn to_record(row: &rusqlite::Row<'_>) -> rusqlite::Result<Record> {
    let text: String = row.get(0)?;
    Record::deserialize(&mut serde_json::Deserializer::from_str(&text))
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, error.into()))
}

fn open_runs(connection: &Connection) -> Result<Vec<(Job, Record)>, Error> {
    let mut select = connection.prepare_cached(
        "SELECT job_runs.record FROM jobs JOIN job_runs ON job_runs.id = jobs.open ORDER BY jobs.open",
    )?;
    let rows = select.query_map([], |row| {
        let record = to_record(row)?;
        Ok((Job::new(&record.run.scenario_id, record.run.kind), record))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn purge(connection: &Connection, scenario: &str) -> Result<(), Error> {
    for sql in [
        "DELETE FROM jobs WHERE scenario = ?",
        "DELETE FROM job_runs WHERE scenario = ?",
        "DELETE FROM job_checkpoints WHERE scenario = ?",
    ] {
        connection.prepare_cached(sql)?.execute([scenario])?;
    }
    Ok(())
}

impl Part for Tables {
    fn name(&self) -> &'static str {
        "jobs"
    }

    fn migrations(&self) -> &'static [&'static str] {
        &[include_str!("schema.sql")]
    }

    fn purge(&self, write: &mut Write<'_>, what: &Purge) -> Result<u64, Error> {
        match what {
            // A run says nothing of users.
            Purge::User(_) => {}
            Purge::Scenario(scenario) => purge(write, scenario)?,
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests;
