use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use funnelweb_core::{
    job::{Kind, State},
    time,
};
use funnelweb_factor_documents::{
    SqliteDocuments,
    store::{Documents, Key, Precondition},
};
use funnelweb_tenant_store::{Clock, TenantStores};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::sleep;

use super::*;
use crate::{
    Jobs, Options, SqliteJobs,
    store::{JobStore, Run, RunsQuery, Trigger},
    work::{Failure, ParamError, Task, Work, Works},
};

struct Echo;

#[async_trait]
impl Work for Echo {
    fn check(&self, _: &Value) -> Result<(), ParamError> {
        Ok(())
    }

    async fn run(&self, task: Task) -> Result<Value, Failure> {
        Ok(task.params)
    }
}

struct Fixture {
    _folder: TempDir,
    store: Arc<SqliteJobs>,
    documents: Arc<SqliteDocuments>,
    now_ms: Arc<AtomicU64>,
}

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Between two hours.
        let now_ms = Arc::new(AtomicU64::new(time::parse_ms("2026-01-31T12:30:00Z").unwrap()));
        let files = Arc::new(TenantStores::with(folder.path(), clock(&now_ms), 16).unwrap());
        let documents = Arc::new(SqliteDocuments::new(Arc::clone(&files)).unwrap());
        Self { _folder: folder, store: Arc::new(SqliteJobs::new(files).unwrap()), documents, now_ms }
    }

    /// A process.
    fn begin(&self) -> Jobs {
        let works = [Kind::Similarity, Kind::Experiments].map(|kind| (kind, Arc::new(Echo) as Arc<dyn Work>));
        let works = Works::from(works);
        let short = Duration::from_millis(10);
        let options = Options { poll: short, tick: short, clock: clock(&self.now_ms), ..Options::default() };
        let jobs = Jobs::new(self.store.clone(), self.documents.clone(), works, options);
        jobs.spawn();
        jobs
    }

    fn advance(&self, ms: u64) {
        self.now_ms.fetch_add(ms, Ordering::SeqCst);
    }

    async fn write(&self, tenant: &Tenant, scenario: &str, status: &str, jobs: Value) {
        let body = json!({"status": status, "config": {"jobs": jobs}}).to_string();
        let key = Key::new(scenario, scenario);
        self.documents.replace(tenant, Collection::Scenarios, key, body, Precondition::None).await.unwrap();
    }

    /// All runs of a tenant, oldest first, when there are so many, all over; a moment
    /// later there are no more.
    async fn runs(&self, tenant: &Tenant, count: usize) -> Vec<Run> {
        let query = RunsQuery { limit: 100, ..RunsQuery::default() };
        for _ in 0..1000 {
            let mut runs = self.store.list(tenant, query.clone()).await.unwrap();
            if runs.len() >= count && runs.iter().all(|run| run.state.is_over()) {
                sleep(Duration::from_millis(100)).await;
                assert_eq!(self.store.list(tenant, query.clone()).await.unwrap().len(), count);
                runs.reverse();
                return runs;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("never {count}: {:?}", self.store.list(tenant, query).await);
    }
}

fn clock(now_ms: &Arc<AtomicU64>) -> Clock {
    let now_ms = Arc::clone(now_ms);
    Arc::new(move || now_ms.load(Ordering::SeqCst))
}

fn tenant(id: &str) -> Tenant {
    Tenant::new(id).unwrap()
}

fn hourly(n: u32) -> Value {
    json!({"similarity": {"schedule": "0 * * * *", "params": {"n": n}}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_are_begun_when_they_are_due_by_one_process() {
    let fixture = Fixture::new();
    let (acme, beta) = (tenant("acme"), tenant("beta"));
    fixture.write(&acme, "feed", "active", hourly(1)).await;
    fixture.write(&acme, "off", "inactive", hourly(1)).await;
    fixture.write(&acme, "asked", "active", json!({"similarity": {"params": {"n": 3}}})).await;
    fixture.write(&beta, "feed", "active", hourly(2)).await;
    let processes = [fixture.begin(), fixture.begin(), fixture.begin()];
    fixture.runs(&acme, 0).await;
    for hour in 1..=3 {
        fixture.advance(HOUR_MS);
        for (t, n) in [(&acme, 1), (&beta, 2)] {
            let runs = fixture.runs(t, hour).await;
            let last = &runs[hour - 1];
            assert_eq!(
                (last.scenario_id.as_str(), last.trigger, last.state),
                ("feed", Trigger::Schedule, State::Succeeded)
            );
            assert_eq!(last.outcome, format!("{{\"n\":{n}}}"));
        }
    }
    for process in processes {
        process.drain().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn times_that_were_missed_are_made_up_for_by_one_run() {
    let fixture = Fixture::new();
    let acme = tenant("acme");
    fixture.write(&acme, "feed", "active", hourly(1)).await;
    // Nobody was there for most of a day, from before it was due first.
    fixture.advance(20 * HOUR_MS);
    let jobs = fixture.begin();
    assert_eq!(fixture.runs(&acme, 1).await[0].created_ms, fixture.now_ms.load(Ordering::SeqCst));
    jobs.drain().await;
    // And again later.
    fixture.advance(20 * HOUR_MS);
    let jobs = fixture.begin();
    fixture.runs(&acme, 2).await;
    // The next is in its time: at the full hour.
    fixture.advance(29 * MINUTE_MS);
    fixture.runs(&acme, 2).await;
    fixture.advance(MINUTE_MS);
    fixture.runs(&acme, 3).await;
    jobs.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_changed_counts() {
    let fixture = Fixture::new();
    let acme = tenant("acme");
    fixture.write(&acme, "feed", "active", hourly(1)).await;
    let jobs = fixture.begin();
    fixture.runs(&acme, 0).await;
    // Elsewhere: no schedule any more, then none for a while, then other params.
    fixture.write(&acme, "feed", "active", json!({})).await;
    fixture.advance(HOUR_MS);
    fixture.runs(&acme, 0).await;
    // Here: it was checked before it is written.
    jobs.check(Some(&acme), Kind::Similarity, "{}").unwrap();
    fixture.write(&acme, "feed", "active", hourly(2)).await;
    fixture.runs(&acme, 0).await;
    fixture.write(&acme, "feed", "active", hourly(3)).await;
    fixture.advance(HOUR_MS);
    assert_eq!(fixture.runs(&acme, 1).await[0].outcome, r#"{"n":3}"#);
    fixture.write(&acme, "feed", "inactive", hourly(3)).await;
    fixture.advance(HOUR_MS);
    fixture.runs(&acme, 1).await;
    fixture.documents.delete_scenario(&acme, "feed".to_owned()).await.unwrap();
    fixture.advance(HOUR_MS);
    fixture.runs(&acme, 0).await;
    jobs.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_is_not_there_is_a_run_that_failed() {
    let fixture = Fixture::new();
    let acme = tenant("acme");
    fixture.write(&acme, "feed", "active", json!({"precompute": {"schedule": "0 * * * *"}})).await;
    let jobs = fixture.begin();
    fixture.runs(&acme, 0).await;
    fixture.advance(HOUR_MS);
    let run = fixture.runs(&acme, 1).await.remove(0);
    assert_eq!(run.state, State::Failed);
    assert!(run.error.contains("no job `precompute`"), "{}", run.error);
    jobs.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn experiments_that_run_are_reported_on_every_hour() {
    let fixture = Fixture::new();
    let acme = tenant("acme");
    let write = async |scenario: &str, experiments: Value, jobs: Value| {
        let body = json!({"status": "active", "config": {"jobs": jobs}, "experiments": experiments}).to_string();
        let key = Key::new(scenario, scenario);
        fixture.documents.replace(&acme, Collection::Scenarios, key, body, Precondition::None).await.unwrap();
    };
    let running = json!([{"experiment_id": "exp"}]);
    write("with", running.clone(), json!({})).await;
    write("without", Value::Null, json!({"experiments": {}})).await;
    write("over", json!([]), json!({})).await;
    write("daily", running, json!({"experiments": {"schedule": "0 3 * * *"}})).await;
    let process = fixture.begin();
    fixture.runs(&acme, 0).await;
    // Those that run each hour, and those that were stopped once more.
    for hour in 1..=3 {
        fixture.advance(HOUR_MS);
        fixture.runs(&acme, hour + 1).await;
    }
    let runs = fixture.runs(&acme, 4).await;
    assert!(runs.iter().all(|run| run.kind == Kind::Experiments), "{runs:?}");
    let of = |name: &str| runs.iter().filter(|run| run.scenario_id == name).count();
    assert_eq!((of("with"), of("over")), (3, 1), "{runs:?}");
    // The next day, of all that passed, one each.
    fixture.advance(24 * HOUR_MS);
    let runs = fixture.runs(&acme, 6).await;
    let mut last: Vec<&str> = runs[4..].iter().map(|run| run.scenario_id.as_str()).collect();
    last.sort_unstable();
    assert_eq!(last, ["daily", "with"]);
    process.drain().await;
}
