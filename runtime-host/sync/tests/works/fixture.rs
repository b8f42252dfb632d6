//! Stores, a runner, and what takes the lines.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use funnelweb_core::job::{Kind, State};
use funnelweb_factor_documents::{
    SqliteDocuments,
    store::{Collection, Documents, Key, Precondition},
};
use funnelweb_import::{Batch, Error, LineError, Result, Sink};
use funnelweb_jobs::{
    Jobs, Options, SqliteJobs, StartError,
    store::{Run, Tenant},
    work::{ParamError, Task, Work, Works},
};
use funnelweb_sync::{Intake, SyncSettings, SyncWork};
use funnelweb_tenant_store::{Clock, TenantStores};
use serde_json::{Value, json};
use tempfile::TempDir;

/// What was taken, by tenant and id.
#[derive(Default)]
pub struct Taken {
    pub rows: BTreeMap<(String, String), Value>,
    /// Lines of each request, in order.
    pub requests: Vec<usize>,
    /// Requests that are taken before one fails as by a server that is busy.
    pub busy_after: Option<usize>,
}

/// Takes rows once by their ids, as the endpoints do; refuses the item `bad`.
#[derive(Clone, Default)]
pub struct Intakes(pub Arc<Mutex<Taken>>);

struct Into {
    taken: Arc<Mutex<Taken>>,
    tenant: String,
}

impl Intake for Intakes {
    fn sink(&self, task: &Task) -> Box<dyn Sink + Send + Sync> {
        Box::new(Into { taken: Arc::clone(&self.0), tenant: task.tenant.as_str().to_owned() })
    }
}

impl Sink for Into {
    fn send(&self, path: &str, body: &[u8]) -> Result<Batch> {
        let mut taken = self.taken.lock().unwrap();
        if taken.busy_after == Some(taken.requests.len()) {
            taken.busy_after = None;
            return Err(Error::Unreachable { url: path.to_owned(), attempts: 1, reason: "busy".to_owned() });
        }
        let items = path.starts_with("/api/v1/items/feed?");
        assert!(items || path == "/api/v1/behaviors", "{path}");
        let mut batch = Batch::default();
        for (at, line) in body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).enumerate() {
            let row: Value = serde_json::from_slice(line).unwrap();
            batch.lines += 1;
            let id = &row[if items { "item_id" } else { "event_id" }];
            if row["item_id"] == "bad" {
                let error = ("invalid_field".to_owned(), Some("item_id".to_owned()), "is bad".to_owned());
                batch.failed += 1;
                batch.errors.push(LineError { line: at as u64 + 1, code: error.0, field: error.1, message: error.2 });
                continue;
            }
            let new = taken.rows.insert((self.tenant.clone(), id.as_str().unwrap().to_owned()), row).is_none();
            match (items, new) {
                (true, true) => batch.created += 1,
                (true, false) => batch.replaced += 1,
                (false, true) => batch.accepted += 1,
                (false, false) => batch.duplicates += 1,
            }
        }
        taken.requests.push(usize::try_from(batch.lines).unwrap());
        Ok(batch)
    }
}

pub struct Fixture {
    pub folder: TempDir,
    pub intakes: Intakes,
    documents: Arc<SqliteDocuments>,
    store: Arc<SqliteJobs>,
    skew_ms: Arc<AtomicU64>,
    settings: Option<SyncSettings>,
}

pub fn tenant(name: &str) -> Tenant {
    Tenant::new(name).unwrap()
}

impl Fixture {
    /// Files of the tenants `acme` and `other` may be read, and what `change` adds.
    pub async fn new(change: impl FnOnce(&mut SyncSettings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = SyncSettings { folder: Some(folder.path().join("files")), ..SyncSettings::default() };
        for name in ["files/acme", "files/other", "data"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        change(&mut settings);
        Self::with(folder, Some(settings)).await
    }

    /// Nothing may be read.
    pub async fn off() -> Self {
        Self::with(tempfile::tempdir().unwrap(), None).await
    }

    async fn with(folder: TempDir, settings: Option<SyncSettings>) -> Self {
        let skew_ms = Arc::new(AtomicU64::new(0));
        let files = TenantStores::with(&folder.path().join("data"), clock(&skew_ms), 16).unwrap();
        let files = Arc::new(files);
        let documents = Arc::new(SqliteDocuments::new(Arc::clone(&files)).unwrap());
        let store = Arc::new(SqliteJobs::new(files).unwrap());
        for name in ["acme", "other"] {
            let (key, body) = (Key::new("feed", "feed"), r#"{"config":{}}"#.to_owned());
            documents.replace(&tenant(name), Collection::Scenarios, key, body, Precondition::None).await.unwrap();
        }
        Self { folder, intakes: Intakes::default(), documents, store, skew_ms, settings }
    }

    /// Writes a file of a tenant, an hour before now.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join("files").join(name);
        fs::write(&path, content).unwrap();
        let hour_ago = SystemTime::now() - Duration::from_secs(3600);
        fs::File::options().write(true).open(&path).unwrap().set_modified(hour_ago).unwrap();
        path
    }

    pub fn work(&self) -> SyncWork {
        SyncWork::new(self.settings.clone(), self.folder.path(), Arc::new(self.intakes.clone())).unwrap()
    }

    pub fn refused(&self, params: &Value) -> ParamError {
        self.work().check(params).unwrap_err()
    }

    pub fn jobs(&self) -> Jobs {
        let works = Works::from([(Kind::Sync, Arc::new(self.work()) as Arc<dyn Work>)]);
        let pause = Duration::from_millis(10);
        let options = Options { heartbeat: pause, poll: pause, clock: clock(&self.skew_ms), ..Options::default() };
        let jobs = Jobs::new(self.store.clone(), self.documents.clone(), works, options);
        jobs.spawn();
        jobs
    }

    /// A run to its end. Pauses between attempts pass at once.
    pub async fn run(&self, name: &str, params: Value) -> Run {
        let jobs = self.jobs();
        let run = self.start(&jobs, name, params).await.unwrap();
        let over = self.over(&jobs, name, &run.id).await;
        jobs.drain().await;
        over
    }

    pub async fn start(&self, jobs: &Jobs, name: &str, params: Value) -> std::result::Result<Run, StartError> {
        jobs.start(&tenant(name), "feed", Kind::Sync, &params.to_string()).await
    }

    pub async fn over(&self, jobs: &Jobs, name: &str, id: &str) -> Run {
        for _ in 0..2000 {
            let run = jobs.get(&tenant(name), id).await.unwrap().unwrap();
            if run.state.is_over() {
                return run;
            }
            if run.state == State::Queued && run.attempts > 0 {
                self.skew_ms.fetch_add(1_000_000, Ordering::SeqCst);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("it is not over");
    }

    /// What came of the sources of a run that succeeded.
    pub async fn sources(&self, params: Value) -> Vec<Value> {
        let run = self.run("acme", params).await;
        assert_eq!(run.state, State::Succeeded, "{}", run.error);
        let outcome: Value = serde_json::from_str(&run.outcome).unwrap();
        outcome["sources"].as_array().unwrap().clone()
    }

    /// The state of the one source of a run.
    pub async fn state(&self, from: &str, kind: &str) -> String {
        let sources = self.sources(one(from, kind)).await;
        sources[0]["state"].as_str().unwrap().to_owned()
    }

    pub fn requests(&self) -> Vec<usize> {
        self.intakes.0.lock().unwrap().requests.clone()
    }

    pub fn rows(&self) -> usize {
        self.intakes.0.lock().unwrap().rows.len()
    }
}

/// Params of one source.
pub fn one(from: &str, kind: &str) -> Value {
    json!({"sources": [{"from": from, "kind": kind}]})
}

/// So many behaviours as CSV.
pub fn events(count: usize) -> String {
    let rows: String = (0..count).map(|at| format!("u{at},i,view\n")).collect();
    format!("user_id,item_id,action_type\n{rows}")
}

fn clock(skew_ms: &Arc<AtomicU64>) -> Clock {
    let (skew_ms, system) = (Arc::clone(skew_ms), Options::default().clock);
    Arc::new(move || system() + skew_ms.load(Ordering::SeqCst))
}
