//! Long work for a scenario, in the background: the `jobs` capability.
//!
//! A [`Work`](work::Work) does one kind of job; [`Jobs`] has runs of it done, a few at
//! a time, when somebody asks or a scenario's config says when. Whatever becomes of
//! the process, a run is done by one at a time: who has it has a lease, which ends
//! with the process, and a fencing token, by which stores refuse what a predecessor
//! still writes. A run that failed in a way that may pass, or was left by its process,
//! is tried again from what it kept; how often has a limit.
//!
//! [`store`] holds the trait of what is kept, [`entry`] what may happen to it,
//! [`sqlite`] the embedded backend, `conformance` the suite that every backend must
//! pass.
//!
//! ```
//! # tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(async {
//! use std::sync::Arc;
//! use funnelweb_core::job::{Kind, State};
//! use funnelweb_factor_documents::{SqliteDocuments, store::{Collection, Documents, Key, Precondition}};
//! use funnelweb_jobs::{Jobs, Options, SqliteJobs, store::Tenant, work::{Failure, ParamError, Task, Work, Works}};
//! use funnelweb_tenant_store::TenantStores;
//! use serde_json::{Value, json};
//!
//! struct Count;
//! #[async_trait::async_trait]
//! impl Work for Count {
//!     fn check(&self, _: &Value) -> Result<(), ParamError> {
//!         Ok(())
//!     }
//!     async fn run(&self, task: Task) -> Result<Value, Failure> {
//!         task.progress.report("counting", 50.0);
//!         Ok(json!({"counted": task.params["to"]}))
//!     }
//! }
//!
//! let folder = tempfile::tempdir().unwrap();
//! let files = Arc::new(TenantStores::new(folder.path()).unwrap());
//! let documents = Arc::new(SqliteDocuments::new(Arc::clone(&files)).unwrap());
//! let store = Arc::new(SqliteJobs::new(files).unwrap());
//! let acme = Tenant::new("acme").unwrap();
//! let feed = r#"{"config":{"recall":{"strategies":[]}}}"#.to_owned();
//! documents.replace(&acme, Collection::Scenarios, Key::new("feed", "feed"), feed, Precondition::None).await.unwrap();
//!
//! let works = Works::from([(Kind::Similarity, Arc::new(Count) as Arc<dyn Work>)]);
//! let jobs = Jobs::new(store, documents, works, Options::default());
//! jobs.spawn();
//! let run = jobs.start(&acme, "feed", Kind::Similarity, r#"{"to":7}"#).await.unwrap();
//! let over = loop {
//!     let now = jobs.get(&acme, &run.id).await.unwrap().unwrap();
//!     if now.state.is_over() { break now }
//!     tokio::time::sleep(std::time::Duration::from_millis(5)).await;
//! };
//! assert_eq!((over.state, over.outcome.as_str()), (State::Succeeded, r#"{"counted":7}"#));
//! jobs.drain().await;
//! # });
//! ```

pub mod check;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod entry;
#[cfg(feature = "host")]
pub mod host;
mod jobs;
mod runner;
mod schedule;
pub mod sqlite;
pub mod store;
pub mod work;

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

pub use jobs::{Jobs, Options, StartError};
pub use sqlite::SqliteJobs;

/// An id that no other call gives, of this process or another; later ones are
/// greater, to the millisecond.
#[must_use]
pub fn new_id(now_ms: u64) -> String {
    static PROCESS: LazyLock<u32> = LazyLock::new(|| RandomState::new().hash_one(0) as u32);
    static CALLS: AtomicU64 = AtomicU64::new(0);
    // Twelve digits last for nine thousand years.
    let (call, process) = (CALLS.fetch_add(1, Ordering::Relaxed) & 0xffff_ffff, *PROCESS);
    format!("{now_ms:012x}-{call:08x}-{process:08x}")
}
