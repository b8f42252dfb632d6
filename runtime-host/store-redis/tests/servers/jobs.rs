//! Runs of jobs.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use funnelweb_core::job::{Kind as JobKind, State};
use funnelweb_jobs::{
    conformance::Suite,
    store::{Change, End, Job, JobStore, Refused, Tenant},
};
use funnelweb_store_redis::{RedisJobs, RedisStore};

use crate::harness::{Cluster, Kind, Server};

const START_MS: u64 = 1_700_000_000_000;

fn jobs_on(store: &RedisStore) -> (Arc<AtomicU64>, RedisJobs) {
    let clock = Arc::new(AtomicU64::new(START_MS));
    let read = clock.clone();
    (clock, RedisJobs::with_clock(store.clone(), Arc::new(move || read.load(Ordering::Relaxed))))
}

async fn conforms(store: RedisStore, prefix: &str) {
    let (clock, jobs) = jobs_on(&store);
    let advance = |ms| {
        clock.fetch_add(ms, Ordering::Relaxed);
    };
    Suite { jobs: &jobs, now_ms: &|| clock.load(Ordering::Relaxed), advance: &advance, prefix }.run().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conforms_on_redis() {
    let server = Server::start(Kind::Redis);
    conforms(server.store().await, "").await;
    conforms(server.store().await, "again-").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conforms_on_valkey() {
    conforms(Server::start(Kind::Valkey).store().await, "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conforms_on_a_cluster() {
    conforms(Cluster::start(Kind::Redis).store().await, "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conforms_on_a_cluster_of_valkey() {
    conforms(Cluster::start(Kind::Valkey).store().await, "").await;
}

fn feed() -> (Tenant, Job) {
    (Tenant::new("acme").unwrap(), Job::new("feed", JobKind::Similarity))
}

async fn create(jobs: &RedisJobs, id: &str) -> Result<(), Refused> {
    let (t, job) = feed();
    let change = Change::Create { id: id.to_owned(), params: "{}".to_owned(), scheduled_ms: None };
    jobs.change(&t, &job, change).await.map(drop)
}

#[tokio::test]
async fn the_keys_are_those_of_the_table() {
    let server = Server::start(Kind::Redis);
    let (_, jobs) = jobs_on(&server.store().await);
    let (t, job) = feed();
    create(&jobs, "run-1").await.unwrap();
    let token = jobs.change(&t, &job, Change::Claim { claim: "c".to_owned() }).await.unwrap().token;
    jobs.keep(&t, &job, token, b"half".to_vec()).await.unwrap();
    let mut keys: Vec<String> = server.say(&["KEYS", "*"]);
    keys.sort_unstable();
    let mut expected = ["jobs", "jobs:acme", "{jobs:acme}:jobs", "{jobs:acme}:runs"].map(str::to_owned).to_vec();
    expected.extend(["runs", "checkpoint"].map(|what| format!("{{jobs:acme}}:{what}:feed/similarity")));
    expected.sort_unstable();
    assert_eq!(keys, expected);
    assert_eq!(server.say::<String>(&["GET", "{jobs:acme}:checkpoint:feed/similarity"]), "half");
    jobs.forget_scenario(&t, "feed").await.unwrap();
    assert_eq!(server.say::<Vec<String>>(&["KEYS", "*"]), ["jobs"]);
}

#[tokio::test]
async fn tenants_at_rest_are_looked_at_no_more() {
    let server = Server::start(Kind::Valkey);
    let (clock, jobs) = jobs_on(&server.store().await);
    let (_, other_process) = jobs_on(&server.store().await);
    let (t, job) = feed();
    let tenants = || server.say::<Vec<String>>(&["ZRANGE", "jobs", "0", "-1"]);
    create(&jobs, "run-1").await.unwrap();
    let open = other_process.open().await.unwrap();
    assert_eq!((open.len(), open[0].record.run.id.as_str()), (1, "run-1"));
    let token = other_process.change(&t, &job, Change::Claim { claim: "c".to_owned() }).await.unwrap().token;
    clock.fetch_add(3_600_000, Ordering::Relaxed);
    jobs.open().await.unwrap();
    assert_eq!(tenants(), ["acme"], "there is a run");
    other_process.change(&t, &job, Change::Finish { token, end: End::Cancelled }).await.unwrap();
    // By a clock that was at that time just now: something may be on its way.
    assert!(other_process.open().await.unwrap().is_empty());
    assert_eq!(tenants(), ["acme"]);
    assert!(jobs.open().await.unwrap().is_empty());
    assert!(tenants().is_empty());
    create(&jobs, "run-2").await.unwrap();
    assert_eq!(jobs.open().await.unwrap().len(), 1);
    assert_eq!(jobs.get(&t, "run-1").await.unwrap().unwrap().state, State::Cancelled);
}
