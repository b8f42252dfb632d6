use std::{
    collections::VecDeque,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use funnelweb_core::{job::Kind, limits};
use funnelweb_factor_documents::{
    SqliteDocuments,
    store::{Collection, Documents, Key, Precondition},
};
use funnelweb_tenant_store::{Clock, NICE, TenantStores};
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::{
    Jobs, Options, SqliteJobs, StartError,
    store::{Error, Job, JobStore, Run, RunsQuery},
    work::{ParamError, Works},
};

type Body = Box<dyn Fn(&Task) -> Result<Value, Failure> + Send + Sync>;

/// Does what it is told, one call after the other; then the last for ever.
#[derive(Default)]
struct Told {
    bodies: Mutex<VecDeque<Arc<Body>>>,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
}

#[async_trait]
impl Work for Told {
    fn check(&self, params: &Value) -> Result<(), ParamError> {
        let known = params.as_object().unwrap().keys().all(|name| name == "n");
        if known { Ok(()) } else { Err(("/x".to_owned(), "is not known".to_owned())) }
    }

    async fn run(&self, task: Task) -> Result<Value, Failure> {
        let body = {
            let mut bodies = lock(&self.bodies);
            if bodies.len() > 1 { bodies.pop_front().unwrap() } else { bodies[0].clone() }
        };
        let now = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_at_once.fetch_max(now, Ordering::SeqCst);
        let kept = task.kept().await?;
        if kept.is_none() {
            task.keep(vec![u8::try_from(task.attempt).unwrap()]).await?;
        }
        let result = body(&task);
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        result.map(|value| json!({"value": value, "kept": kept, "attempt": task.attempt}))
    }
}

struct Fixture {
    _folder: TempDir,
    work: Arc<Told>,
    store: Arc<SqliteJobs>,
    documents: Arc<SqliteDocuments>,
    skew_ms: Arc<std::sync::atomic::AtomicU64>,
}

fn acme() -> Tenant {
    Tenant::new("acme").unwrap()
}

impl Fixture {
    async fn new(bodies: Vec<Body>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let skew_ms = Arc::new(std::sync::atomic::AtomicU64::new(0));
        let files = Arc::new(TenantStores::with(folder.path(), clock(&skew_ms), 16).unwrap());
        let documents = Arc::new(SqliteDocuments::new(Arc::clone(&files)).unwrap());
        let store = Arc::new(SqliteJobs::new(files).unwrap());
        let work = Arc::new(Told { bodies: Mutex::new(bodies.into_iter().map(Arc::new).collect()), ..Told::default() });
        let fixture = Self { _folder: folder, work, store, documents, skew_ms };
        for tenant in ["acme", "beta"] {
            for scenario in ["feed", "news", "shop"] {
                let body = json!({"config": {"jobs": {"similarity": {"params": {"n": 1}}}}}).to_string();
                let key = Key::new(scenario, scenario);
                let tenant = Tenant::new(tenant).unwrap();
                fixture.documents.replace(&tenant, Collection::Scenarios, key, body, Precondition::None).await.unwrap();
            }
        }
        fixture
    }

    fn jobs(&self, at_once: usize) -> Jobs {
        let works = Works::from([(Kind::Similarity, self.work.clone() as Arc<dyn Work>)]);
        let (heartbeat, poll) = (Duration::from_millis(20), Duration::from_millis(20));
        let options = Options { at_once, heartbeat, poll, clock: clock(&self.skew_ms), ..Options::default() };
        Jobs::new(self.store.clone(), self.documents.clone(), works, options)
    }

    /// The run, when it is what is asked for.
    async fn when(&self, tenant: &Tenant, id: &str, is: impl Fn(&Run) -> bool) -> Run {
        for _ in 0..3000 {
            let run = self.store.get(tenant, id).await.unwrap().unwrap();
            if is(&run) {
                return run;
            }
            sleep(Duration::from_millis(5)).await;
        }
        panic!("it never came to be: {:?}", self.store.get(tenant, id).await);
    }

    async fn over(&self, id: &str) -> Run {
        self.when(&acme(), id, |run| run.state.is_over()).await
    }
}

fn clock(skew_ms: &Arc<std::sync::atomic::AtomicU64>) -> Clock {
    let (skew_ms, system) = (Arc::clone(skew_ms), Options::default().clock);
    Arc::new(move || system() + skew_ms.load(Ordering::SeqCst))
}

fn body(body: impl Fn(&Task) -> Result<Value, Failure> + Send + Sync + 'static) -> Body {
    Box::new(body)
}

/// Works until it is told to stop.
fn until_cancelled() -> Body {
    body(|task| {
        loop {
            task.progress.report("waiting", 40.0);
            task.go_on()?;
            thread::sleep(Duration::from_millis(1));
        }
    })
}

async fn start(jobs: &Jobs, scenario: &str) -> Run {
    jobs.start(&acme(), scenario, Kind::Similarity, "{}").await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn params_overlay_those_of_the_scenario() {
    let fixture = Fixture::new(vec![body(|task| Ok(task.params.clone()))]).await;
    let jobs = fixture.jobs(1);
    jobs.spawn();
    let run = start(&jobs, "feed").await;
    assert_eq!(fixture.over(&run.id).await.outcome, r#"{"attempt":1,"kept":null,"value":{"n":1}}"#);
    let run = jobs.start(&acme(), "feed", Kind::Similarity, r#"{"n":2}"#).await.unwrap();
    let over = fixture.over(&run.id).await;
    assert_eq!(over.outcome, r#"{"attempt":1,"kept":null,"value":{"n":2}}"#);
    assert_eq!((over.state, over.percent, over.attempts), (State::Succeeded, 100.0, 1));
    jobs.drain().await;
}

#[tokio::test]
async fn what_cannot_be_begun_is_said() {
    let fixture = Fixture::new(vec![until_cancelled()]).await;
    let jobs = fixture.jobs(1);
    let start = async |scenario: &str, kind, params: &str| jobs.start(&acme(), scenario, kind, params).await;
    assert_eq!(start("nobody", Kind::Similarity, "{}").await, Err(StartError::NoScenario));
    assert!(matches!(start("a/b", Kind::Similarity, "{}").await, Err(StartError::Store(Error::Invalid(_)))));
    let params = |error| match error {
        Err(StartError::Params((pointer, message))) => (pointer, message),
        other => panic!("{other:?}"),
    };
    assert_eq!(params(start("feed", Kind::Similarity, r#"{"x":1}"#).await).0, "/x");
    assert!(params(start("feed", Kind::Similarity, "[]").await).1.contains("JSON object"));
    let long = format!("{{\"n\":\"{}\"}}", "x".repeat(limits::PARAMS_BYTES));
    assert!(params(start("feed", Kind::Similarity, &long).await).1.contains(&limits::PARAMS_BYTES.to_string()));
    let (_, message) = params(start("feed", Kind::Precompute, "{}").await);
    assert_eq!(message, "this server has no job `precompute`; it has: similarity");
    assert_eq!(jobs.check(None, Kind::Sync, "{}").unwrap_err().1, "this server has no job `sync`; it has: similarity");
    assert_eq!(jobs.check(None, Kind::Similarity, r#"{"n":1}"#), Ok(()));
    let run = start("feed", Kind::Similarity, "{}").await.unwrap();
    assert_eq!(start("feed", Kind::Similarity, "{}").await, Err(StartError::Active(run.id)));
    assert_eq!(jobs.cancel(&acme(), "nobody").await, Ok(None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn progress_is_seen_and_a_run_is_cancelled() {
    let fixture = Fixture::new(vec![until_cancelled()]).await;
    let jobs = fixture.jobs(1);
    jobs.spawn();
    let run = start(&jobs, "feed").await;
    let at_work = fixture.when(&acme(), &run.id, |run| run.percent > 0.0).await;
    assert_eq!((at_work.state, at_work.phase.as_str(), at_work.percent), (State::Running, "waiting", 40.0));
    // One that waits goes at once.
    let waits = start(&jobs, "news").await;
    assert_eq!(jobs.cancel(&acme(), &waits.id).await.unwrap().unwrap().state, State::Cancelled);
    // By another process: the runner learns of it with its next sign of life.
    let elsewhere = fixture.jobs(1);
    assert_eq!(elsewhere.cancel(&acme(), &run.id).await.unwrap().unwrap().state, State::Running);
    let over = fixture.over(&run.id).await;
    assert_eq!((over.state, over.error.as_str(), over.phase.as_str()), (State::Cancelled, "", ""));
    assert_eq!(jobs.cancel(&acme(), &run.id).await.unwrap().unwrap(), over, "what is over stays as it is");
    jobs.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stops_the_moment_it_is_told_was_cancelled() {
    const RUNS: usize = 20;
    let at_once = || {
        body(|task| {
            loop {
                task.go_on()?;
                std::hint::spin_loop();
            }
        })
    };
    let fixture = Fixture::new((0..RUNS).map(|_| at_once()).collect()).await;
    let jobs = fixture.jobs(1);
    jobs.spawn();
    for _ in 0..RUNS {
        let run = start(&jobs, "feed").await;
        fixture.when(&acme(), &run.id, |run| run.state == State::Running).await;
        jobs.cancel(&acme(), &run.id).await.unwrap();
        let over = fixture.over(&run.id).await;
        assert_eq!((over.state, over.error.as_str()), (State::Cancelled, ""));
    }
    jobs.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_that_may_pass_are_tried_again_and_others_not() {
    let fixture = Fixture::new(vec![
        body(|_| Err(Failure::Transient("the store is away".to_owned()))),
        body(|_| Ok(json!("done"))),
        body(|_| Err(Failure::Permanent("no items".to_owned()))),
        body(|_| panic!("a bug in {}", "a work")),
        body(|_| Ok(json!("x".repeat(limits::JOB_OUTCOME_BYTES)))),
        body(|_| Err(Failure::Cancelled)),
    ])
    .await;
    let jobs = fixture.jobs(1);
    jobs.spawn();
    let run = start(&jobs, "feed").await;
    let waits = fixture.when(&acme(), &run.id, |run| run.phase.contains("the store is away")).await;
    assert_eq!((waits.state, waits.attempts), (State::Queued, 1));
    fixture.skew_ms.fetch_add(crate::store::backoff_ms(1), Ordering::SeqCst);
    let over = fixture.over(&run.id).await;
    // It found what the first attempt kept.
    assert_eq!(over.outcome, r#"{"attempt":2,"kept":[1],"value":"done"}"#);
    for (error, attempts) in [
        ("no items".to_owned(), 1),
        ("it panicked: a bug in a work".to_owned(), 1),
        (format!("the outcome must be a JSON object of at most {} bytes", limits::JOB_OUTCOME_BYTES), 1),
        ("it stopped without being told to".to_owned(), 1),
    ] {
        let run = start(&jobs, "feed").await;
        let over = fixture.over(&run.id).await;
        assert_eq!((over.state, over.attempts), (State::Failed, attempts));
        assert!(over.error.starts_with(&error), "{}", over.error);
    }
    jobs.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_run_is_taken_up_from_what_it_kept() {
    let fixture = Fixture::new(vec![until_cancelled(), body(|_| Ok(json!("done")))]).await;
    let jobs = fixture.jobs(1);
    jobs.spawn();
    let run = start(&jobs, "feed").await;
    fixture.when(&acme(), &run.id, |run| run.percent > 0.0).await;
    let began = Instant::now();
    jobs.drain().await;
    assert!(began.elapsed() < GRACE, "it stops at once");
    let waits = fixture.store.get(&acme(), &run.id).await.unwrap().unwrap();
    assert_eq!((waits.state, waits.attempts), (State::Queued, 1));
    let next = fixture.jobs(1);
    next.spawn();
    assert_eq!(fixture.over(&run.id).await.outcome, r#"{"attempt":2,"kept":[1],"value":"done"}"#);
    next.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_that_lost_its_run_has_no_say() {
    let fixture = Fixture::new(vec![until_cancelled(), body(|_| Ok(json!("second")))]).await;
    let jobs = fixture.jobs(1);
    jobs.spawn();
    let run = start(&jobs, "feed").await;
    fixture.when(&acme(), &run.id, |run| run.percent > 0.0).await;
    // As if this process had been cut off for longer than its lease.
    let job = Job::new("feed", Kind::Similarity);
    fixture.store.change(&acme(), &job, Change::Abandon).await.unwrap();
    let claimed = fixture.store.change(&acme(), &job, Change::Claim { claim: "other".to_owned() }).await.unwrap();
    fixture.when(&acme(), &run.id, |_| fixture.work.at_once.load(Ordering::SeqCst) == 0).await;
    sleep(Duration::from_millis(100)).await;
    assert_eq!(fixture.store.get(&acme(), &run.id).await.unwrap().unwrap().state, State::Running);
    let end = End::Succeeded(r#"{"by":"other"}"#.to_owned());
    fixture.store.change(&acme(), &job, Change::Finish { token: claimed.token, end }).await.unwrap();
    jobs.drain().await;
    assert_eq!(fixture.over(&run.id).await.outcome, r#"{"by":"other"}"#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_many_run_at_once_and_tenants_take_turns() {
    let order = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&order);
    let fixture = Fixture::new(vec![body(move |task| {
        lock(&seen).push(format!("{}/{}", task.tenant, task.scenario_id));
        thread::sleep(Duration::from_millis(30));
        Ok(json!(1))
    })])
    .await;
    assert_eq!(Options::default().at_once, limits::RUNNING_JOBS);
    let jobs = fixture.jobs(limits::RUNNING_JOBS);
    let mut runs = Vec::new();
    for (tenant, scenario) in [("acme", "feed"), ("acme", "news"), ("acme", "shop"), ("beta", "feed"), ("beta", "news")]
    {
        let tenant = Tenant::new(tenant).unwrap();
        let run = jobs.start(&tenant, scenario, Kind::Similarity, "{}").await.unwrap();
        runs.push((tenant, run));
    }
    jobs.spawn();
    for (tenant, run) in &runs {
        fixture.when(tenant, &run.id, |run| run.state == State::Succeeded).await;
    }
    assert_eq!(fixture.work.most_at_once.load(Ordering::SeqCst), limits::RUNNING_JOBS);
    assert_eq!(*lock(&order), ["acme/feed", "beta/feed", "acme/news", "beta/news", "acme/shop"]);
    jobs.drain().await;
    let jobs = fixture.jobs(2);
    for scenario in ["feed", "news", "shop"] {
        start(&jobs, scenario).await;
    }
    jobs.spawn();
    let all = RunsQuery { state: Some(State::Succeeded), limit: 100, ..RunsQuery::default() };
    while fixture.store.list(&acme(), all.clone()).await.unwrap().len() < 6 {
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(fixture.work.most_at_once.load(Ordering::SeqCst), 2);
    jobs.drain().await;
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_gives_way_and_others_do_not() {
    let priority = || rustix::process::getpriority_process(None).unwrap();
    let fixture = Fixture::new(vec![body(move |_| {
        let inner = thread::spawn(priority).join().unwrap();
        Ok(json!([priority(), inner]))
    })])
    .await;
    let before = priority();
    let jobs = fixture.jobs(1);
    jobs.spawn();
    let run = start(&jobs, "feed").await;
    let outcome: Value = serde_json::from_str(&fixture.over(&run.id).await.outcome).unwrap();
    // 19 is the lowest there is.
    let expected = (before + NICE).min(19);
    assert_eq!(outcome["value"], json!([expected, expected]));
    assert_eq!(priority(), before);
    jobs.drain().await;
}

#[test]
fn the_time_left_is_told_by_the_rate() {
    let left = |seconds, done, left| left_s(Duration::from_secs(seconds), done, left);
    assert_eq!(left(10, 20.0, 60.0), Some(30));
    assert_eq!(left(10, 0.5, 60.0), None);
    assert_eq!(left(10, -5.0, 60.0), None);
    assert_eq!(left(10, 50.0, 0.0), Some(0));
}
