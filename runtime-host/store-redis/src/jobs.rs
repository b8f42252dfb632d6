//! Runs of jobs on Redis, for several processes.

use std::{sync::Arc, time::SystemTime};

use async_trait::async_trait;
use funnelweb_core::{job::Kind, limits};
use funnelweb_jobs::{
    check,
    store::{Applied, Change, Entry, Error, Job, JobStore, Open, Record, Refused, Run, RunsQuery, Tenant},
};
use funnelweb_tenant_store::Clock;
use redis::Value;
use serde::{Deserialize, Serialize};

use crate::{
    command::{Command, JOBS_CHANGE, JOBS_FORGET, JOBS_KEEP, JOBS_REST, bytes, list, text},
    keys::JobKeys,
    store::RedisStore,
};

/// How often a change is tried again that another one came before.
const ATTEMPTS: usize = 64;
/// Runs that one step of a listing reads.
const STEP: u32 = 100;
/// How long a tenant without runs at work is looked at after one was begun: longer
/// than beginning one takes.
const REST_MS: u64 = 60_000;

/// Runs of jobs in Redis, for every process that works on it.
///
/// | key | type | is |
/// |---|---|---|
/// | `jobs:{tenant}` | HASH | runs, JSON, by id |
/// | `{…}:jobs` | HASH | of each job, `<scenario>/<kind>`: its fencing token, its schedule, its run at work; JSON |
/// | `{…}:runs` | ZSET | ids of runs, which are in the order of their ages |
/// | `{…}:runs:<scenario>/<kind>` | ZSET | those of one job |
/// | `{…}:checkpoint:<scenario>/<kind>` | string | what its run at work keeps |
/// | `jobs` | ZSET | tenants that may have runs at work, by the time at which one was begun last |
///
/// A change is read, made here, and written by a script if what was read is still so.
/// Leases are told by the clock of whoever takes one: clocks of processes that share a
/// Redis must agree to some seconds.
#[derive(Clone)]
pub struct RedisJobs {
    store: RedisStore,
    clock: Clock,
}

/// What is kept of one job.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Kept {
    token: u64,
    scheduled_ms: u64,
    /// The id of the run that waits or is at work.
    open: Option<String>,
}

/// An entry, and the texts that it was read from.
struct Read {
    entry: Entry,
    kept: String,
    record: String,
}

impl RedisJobs {
    /// The runs on this server.
    #[must_use]
    pub fn new(store: RedisStore) -> Self {
        let clock = || {
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        };
        Self::with_clock(store, Arc::new(clock))
    }

    /// With a clock of one's own, in milliseconds since 1970.
    #[must_use]
    pub fn with_clock(store: RedisStore, clock: Clock) -> Self {
        Self { store, clock }
    }

    fn keys(&self, tenant: &Tenant) -> JobKeys {
        self.store.keys().jobs(tenant)
    }

    async fn read(&self, keys: &JobKeys, job: &Job) -> Result<Read, Error> {
        let kept = self.store.run_one(Command::new("HGET", &keys.jobs).arg(field(job))).await?;
        let Some(kept) = text(kept) else {
            return Ok(Read { entry: Entry::default(), kept: String::new(), record: String::new() });
        };
        let Kept { token, scheduled_ms, open } = parse(&kept)?;
        let mut read = Read { entry: Entry { token, scheduled_ms, open: None }, kept, record: String::new() };
        if let Some(id) = open {
            let record = self.store.run_one(Command::new("HGET", &keys.runs).arg(id)).await?;
            read.record = text(record).unwrap_or_default();
            // One that is gone was over just then: what was read is no longer so.
            read.entry.open = if read.record.is_empty() { None } else { Some(parse(&read.record)?) };
        }
        Ok(read)
    }

    /// Whether nobody came between.
    async fn write(
        &self,
        keys: &JobKeys,
        job: &Job,
        read: Read,
        entry: Entry,
        applied: &Applied,
    ) -> Result<bool, Error> {
        let open = entry.open.map(|record| record.run.id);
        let kept = Kept { token: entry.token, scheduled_ms: entry.scheduled_ms, open };
        let id = &applied.record.run.id;
        // A run that is begun was nothing before.
        let before =
            if read.entry.open.as_ref().is_some_and(|open| open.run.id == *id) { read.record } else { String::new() };
        let call = JOBS_CHANGE.call(&keys.all(&field(job)).each_ref().map(String::as_str));
        let call = call.arg(field(job)).arg(read.kept).arg(print(&kept)?);
        let call = call.arg(id).arg(before).arg(print(&applied.record)?);
        let call = call.arg(u8::from(applied.over)).arg(limits::JOB_RUNS);
        Ok(self.store.run_one(call).await? == Value::Int(1))
    }

    async fn records(&self, keys: &JobKeys, ids: &[String]) -> Result<Vec<Record>, Error> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let found = list(self.store.run_one(Command::new("HMGET", &keys.runs).arg(ids)).await?);
        found.into_iter().filter_map(text).map(|record| parse(&record)).collect()
    }

    /// Adds the newest runs of a ZSET that fit, so many at most.
    async fn collect(&self, keys: &JobKeys, set: &str, query: &RunsQuery, found: &mut Vec<Run>) -> Result<(), Error> {
        let fits = |run: &Run| {
            query.kind.is_none_or(|kind| run.kind == kind) && query.state.is_none_or(|state| run.state == state)
        };
        let most = found.len() + query.limit as usize;
        let mut before = query.before.clone();
        loop {
            let from = before.as_ref().map_or_else(|| "+".to_owned(), |id| format!("({id}"));
            let range = Command::new("ZREVRANGEBYLEX", set).arg(from).arg("-").arg("LIMIT").arg(0).arg(STEP);
            let ids: Vec<String> = list(self.store.run_one(range).await?).into_iter().filter_map(text).collect();
            let Some(last) = ids.last() else { return Ok(()) };
            for record in self.records(keys, &ids).await? {
                if found.len() < most && fits(&record.run) {
                    found.push(record.run);
                }
            }
            if found.len() >= most || ids.len() < STEP as usize {
                return Ok(());
            }
            before = Some(last.clone());
        }
    }
}

#[async_trait]
impl JobStore for RedisJobs {
    async fn change(&self, tenant: &Tenant, job: &Job, change: Change) -> Result<Record, Refused> {
        change.check(job)?;
        let keys = self.keys(tenant);
        let now_ms = (self.clock)();
        if matches!(change, Change::Create { .. }) {
            // Before, so that whatever happens somebody looks.
            let begun = Command::new("ZADD", &self.store.keys().jobs_tenants());
            self.store.run_one(begun.arg(now_ms).arg(tenant.as_str())).await?;
        }
        for _ in 0..ATTEMPTS {
            let read = self.read(&keys, job).await?;
            let mut entry = read.entry.clone();
            let applied = entry.apply(job, change.clone(), now_ms)?;
            if self.write(&keys, job, read, entry, &applied).await? {
                return Ok(applied.record);
            }
        }
        Err(changing())
    }

    async fn scheduled_ms(&self, tenant: &Tenant, job: &Job) -> Result<u64, Error> {
        Ok(self.read(&self.keys(tenant), job).await?.entry.scheduled_ms)
    }

    async fn keep(&self, tenant: &Tenant, job: &Job, token: u64, checkpoint: Vec<u8>) -> Result<(), Refused> {
        check::checkpoint(job, &checkpoint)?;
        let keys = self.keys(tenant);
        // A lease that is made longer changes nothing of what is expected; a schedule does.
        for _ in 0..ATTEMPTS {
            let read = self.read(&keys, job).await?;
            read.entry.check_held(token)?;
            let call = JOBS_KEEP.call(&[&keys.jobs, &keys.checkpoint(&field(job))]);
            let call = call.arg(field(job)).arg(read.kept).arg(&checkpoint);
            if self.store.run_one(call).await? == Value::Int(1) {
                return Ok(());
            }
        }
        Err(changing())
    }

    async fn kept(&self, tenant: &Tenant, job: &Job) -> Result<Option<Vec<u8>>, Error> {
        let key = self.keys(tenant).checkpoint(&field(job));
        Ok(bytes(self.store.run_one(Command::new("GET", &key)).await?))
    }

    async fn get(&self, tenant: &Tenant, id: &str) -> Result<Option<Run>, Error> {
        let records = self.records(&self.keys(tenant), &[id.to_owned()]).await?;
        Ok(records.into_iter().next().map(|record| record.run))
    }

    async fn list(&self, tenant: &Tenant, query: RunsQuery) -> Result<Vec<Run>, Error> {
        check::runs(&query)?;
        let keys = self.keys(tenant);
        let mut found = Vec::new();
        match &query.scenario_id {
            Some(scenario_id) => {
                let kinds = Kind::NAMES.iter().map(|(_, kind)| *kind);
                for kind in kinds.filter(|kind| query.kind.is_none_or(|wanted| wanted == *kind)) {
                    let of_job = keys.of_job(&field(&Job::new(scenario_id, kind)));
                    self.collect(&keys, &of_job, &query, &mut found).await?;
                }
                found.sort_by(|one, other| other.id.cmp(&one.id));
                found.truncate(query.limit as usize);
            }
            None => self.collect(&keys, &keys.order, &query, &mut found).await?,
        }
        Ok(found)
    }

    async fn open(&self) -> Result<Vec<Open>, Error> {
        let tenants_key = self.store.keys().jobs_tenants();
        let all = Command::new("ZRANGE", &tenants_key).arg(0).arg(-1);
        let tenants = list(self.store.run_one(all).await?).into_iter().filter_map(text);
        let mut open = Vec::new();
        for id in tenants {
            let Ok(tenant) = Tenant::new(&id) else { continue };
            // Before what it is about.
            let begun = text(self.store.run_one(Command::new("ZSCORE", &tenants_key).arg(&id)).await?);
            let keys = self.keys(&tenant);
            let kept = list(self.store.run_one(Command::new("HVALS", &keys.jobs)).await?).into_iter().filter_map(text);
            let ids = kept.map(|kept| Ok(parse::<Kept>(&kept)?.open)).collect::<Result<Vec<_>, Error>>()?;
            let ids: Vec<String> = ids.into_iter().flatten().collect();
            if ids.is_empty()
                && let Some(begun) = begun
                && begun.parse::<f64>().is_ok_and(|begun_ms| begun_ms + (REST_MS as f64) < (self.clock)() as f64)
            {
                self.store.run_one(JOBS_REST.call(&[&tenants_key]).arg(&id).arg(begun)).await?;
            }
            let records = self.records(&keys, &ids).await?.into_iter().filter(|record| !record.run.state.is_over());
            open.extend(records.map(|record| Open {
                tenant: tenant.clone(),
                job: Job::new(&record.run.scenario_id, record.run.kind),
                record,
            }));
        }
        Ok(open)
    }

    async fn forget_scenario(&self, tenant: &Tenant, scenario_id: &str) -> Result<(), Error> {
        Error::check_id("scenario-id", scenario_id)?;
        let keys = self.keys(tenant);
        for (_, kind) in Kind::NAMES {
            let field = field(&Job::new(scenario_id, kind));
            let call = JOBS_FORGET.call(&keys.all(&field).each_ref().map(String::as_str));
            self.store.run_one(call.arg(field)).await?;
        }
        Ok(())
    }
}

fn changing() -> Refused {
    Error::Unavailable("the job is being changed by others; try again".to_owned()).into()
}

/// What a job is called where several are kept together. No id holds a `/`.
fn field(job: &Job) -> String {
    format!("{}/{}", job.scenario_id, job.kind.as_str())
}

fn parse<'t, T: Deserialize<'t>>(text: &'t str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|error| Error::Unavailable(format!("redis: a run of a job: {error}")))
}

fn print(value: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::Unavailable(error.to_string()))
}
