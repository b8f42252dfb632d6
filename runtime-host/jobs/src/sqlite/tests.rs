use std::sync::atomic::{AtomicU64, Ordering};

use funnelweb_core::job::State;
use funnelweb_tenant_store::Clock;
use tempfile::TempDir;

use super::*;
use crate::{conformance::Suite, new_id, store::End};

struct Fixture {
    folder: TempDir,
    now_ms: Arc<AtomicU64>,
}

impl Fixture {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), now_ms: Arc::new(AtomicU64::new(1_800_000_000_000)) }
    }

    /// A process of its own, as it were.
    fn open(&self) -> (Arc<TenantStores>, SqliteJobs) {
        let now_ms = Arc::clone(&self.now_ms);
        let clock: Clock = Arc::new(move || now_ms.load(Ordering::SeqCst));
        let stores = Arc::new(TenantStores::with(self.folder.path(), clock, 100).unwrap());
        (Arc::clone(&stores), SqliteJobs::new(stores).unwrap())
    }
}

fn acme() -> Tenant {
    Tenant::new("acme").unwrap()
}

fn feed() -> Job {
    Job::new("feed", Kind::Similarity)
}

async fn begin(jobs: &SqliteJobs) -> Record {
    let change = Change::Create { id: new_id(1), params: "{}".to_owned(), scheduled_ms: None };
    jobs.change(&acme(), &feed(), change).await.unwrap()
}

async fn claim(jobs: &SqliteJobs) -> Result<Record, Refused> {
    jobs.change(&acme(), &feed(), Change::Claim { claim: new_id(2) }).await
}

#[tokio::test]
async fn passes_the_suite() {
    let fixture = Fixture::new();
    let (_, jobs) = fixture.open();
    let now_ms = || fixture.now_ms.load(Ordering::SeqCst);
    let advance = |ms| {
        fixture.now_ms.fetch_add(ms, Ordering::SeqCst);
    };
    Suite { jobs: &jobs, now_ms: &now_ms, advance: &advance, prefix: "" }.run().await;
}

#[tokio::test]
async fn what_a_process_was_at_is_free_when_the_next_begins() {
    let fixture = Fixture::new();
    let (_, jobs) = fixture.open();
    begin(&jobs).await;
    let first = claim(&jobs).await.unwrap();
    jobs.keep(&acme(), &feed(), first.token, vec![7]).await.unwrap();
    drop(jobs);
    let (_, jobs) = fixture.open();
    // Only when it looks: until then its lease counts.
    assert_eq!(claim(&jobs).await, Err(Refused::Nothing));
    let open = jobs.open().await.unwrap();
    assert_eq!((open.len(), &open[0].tenant, open[0].record.is_free(jobs.stores.now_ms())), (1, &acme(), true));
    let second = claim(&jobs).await.unwrap();
    assert!(second.token > first.token);
    assert_eq!(jobs.kept(&acme(), &feed()).await.unwrap(), Some(vec![7]));
    // Looking again takes nothing from who has it now.
    assert!(!jobs.open().await.unwrap()[0].record.is_free(jobs.stores.now_ms()));
}

#[tokio::test]
async fn tenants_at_rest_are_not_looked_at() {
    let fixture = Fixture::new();
    let (_, jobs) = fixture.open();
    jobs.stores.open(&Tenant::new("idle").unwrap()).await.unwrap();
    assert!(jobs.open().await.unwrap().is_empty());
    assert!(lock(&jobs.at_work).is_empty());
    begin(&jobs).await;
    assert_eq!(jobs.open().await.unwrap().len(), 1);
    let token = claim(&jobs).await.unwrap().token;
    jobs.change(&acme(), &feed(), Change::Finish { token, end: End::Cancelled }).await.unwrap();
    assert!(jobs.open().await.unwrap().is_empty());
    assert!(lock(&jobs.at_work).is_empty());
}

#[tokio::test]
async fn a_scenario_s_jobs_go_with_all_else_of_it() {
    let fixture = Fixture::new();
    let (stores, jobs) = fixture.open();
    let run = begin(&jobs).await.run;
    stores.purge(&acme(), Purge::User("feed".to_owned())).await.unwrap();
    assert_eq!(jobs.get(&acme(), &run.id).await.unwrap().unwrap().state, State::Queued);
    assert_eq!(stores.purge(&acme(), Purge::Scenario("feed".to_owned())).await.unwrap(), 0);
    assert_eq!(jobs.get(&acme(), &run.id).await.unwrap(), None);
    assert!(jobs.open().await.unwrap().is_empty());
}
