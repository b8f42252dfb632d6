//! The conformance suite of stream stores on every server, steps of processes that die
//! or are slow at any write, and who follows a log.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test suite: a failed check is a panic"
)]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bson::doc;
use funnelweb_core::limits;
use funnelweb_factor_documents::store::Documents;
use funnelweb_factor_events::store::{Event, Events};
use funnelweb_store_mongodb::{
    Abilities, Environment, MongoDocuments, MongoEvents, MongoSettings, MongoStore, MongoStreams,
};
use funnelweb_stream::{
    Grown, Streams, Watched,
    conformance::{Counting, Suite, pane, step},
    operator::Operator,
    store::{DeadLetter, Place, Progress, Series, Step, StreamStore, Tenant},
};
use support::{
    Server, clock,
    gate::{Gate, Then},
    live::MemoryLive,
};

const OPERATOR: &str = "stream-test";

fn place(tenant: &Tenant) -> Place {
    Place::main(tenant, OPERATOR)
}

/// What a process has.
struct Process {
    documents: MongoDocuments,
    streams: Arc<MongoStreams>,
    live: Arc<MemoryLive>,
    clock: Arc<AtomicU64>,
}

impl Process {
    async fn new(server: &Server, adjust: fn(&mut Abilities)) -> Self {
        let clock = clock();
        Self::of(server.store_at(&clock, adjust).await, Arc::default(), &clock).await
    }

    /// The live structures and the clock are those of all processes.
    async fn of(store: Arc<MongoStore>, live: Arc<MemoryLive>, clock: &Arc<AtomicU64>) -> Self {
        let documents = MongoDocuments::new(store.clone(), Some(live.clone()));
        let streams = MongoStreams::open(&MongoEvents::new(store, live.clone())).await.unwrap();
        Self { documents, streams, live, clock: clock.clone() }
    }

    /// Another one, behind a gate.
    async fn behind(&self, gate: &Gate, server: &Server, adjust: fn(&mut Abilities), step_bytes: usize) -> Self {
        let settings = MongoSettings { url: gate.url.clone(), ..server.settings() };
        let time = self.clock.clone();
        let time = Arc::new(move || time.load(Ordering::Relaxed));
        let environment = Environment { clock: time, adjust, step_bytes, ..Environment::default() };
        let store = MongoStore::connect_with(settings, environment).await.unwrap();
        Self::of(store, self.live.clone(), &self.clock).await
    }

    fn suite<'a>(&'a self, prefix: &'a str) -> Suite<'a> {
        let now_ms = self.clock.load(Ordering::Relaxed);
        Suite { store: &*self.streams, documents: &self.documents, live: &*self.live, now_ms, prefix }
    }

    async fn progress(&self, t: &Tenant) -> Progress {
        self.streams.progress(&place(t)).await.unwrap()
    }

    /// Makes the next of the suite's steps; false when another process made it.
    async fn advance(&self, t: &Tenant) -> Result<bool, funnelweb_stream::store::Error> {
        let before = self.streams.progress(&place(t)).await?;
        let next = step(&before, before.next.max(1), self.clock.load(Ordering::Relaxed));
        self.streams.commit(&place(t), before, next).await
    }

    /// Makes a step from where an operator is.
    async fn commit(&self, at: &Place, step: Step) {
        let before = self.streams.progress(at).await.unwrap();
        let step = Step { progress: before.clone(), ..step };
        assert_eq!(self.streams.commit(at, before, step).await, Ok(true));
    }
}

/// As a server of many processes tests and changes.
fn atomic(abilities: &mut Abilities) {
    (abilities.atomic_updates, abilities.indexed_queries) = (true, true);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_server_conforms() {
    Server::each(async |server| Process::new(server, |_| {}).await.suite("a-").run().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_filters_of_atomic_updates_conform() {
    let server = Server::ferretdb().await;
    let process = Process::new(&server, atomic).await;
    let suite = process.suite("b-");
    // All but the race: this server tests and changes apart.
    suite.run_alone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_lock_of_a_kind_is_enough() {
    let server = Server::ferretdb().await;
    let environment = Environment { lock_stripes: 1, ..Environment::default() };
    let store = MongoStore::connect_with(server.settings(), environment).await.unwrap();
    let process = Process::of(store, Arc::default(), &clock()).await;
    process.suite("").run_alone().await;
}

/// A step that has room beside its progress.
const WHOLE: usize = 1 << 20;

/// Kills the process after each of the writes of a step, of which a document takes so
/// much.
async fn dies_anywhere(adjust: fn(&mut Abilities), step_bytes: usize) {
    let server = Server::ferretdb().await;
    let survivor = Process::new(&server, adjust).await;
    let suite = survivor.suite("");
    let mut left_behind = 0;
    for writes in 0.. {
        let t = &Tenant::new(&format!("t{writes}")).unwrap();
        assert_eq!(survivor.advance(t).await, Ok(true));
        let gate = Gate::new(&server.url).await;
        let dying = survivor.behind(&gate, &server, adjust, step_bytes).await;
        gate.set(writes, Then::Dies);
        let made = dying.advance(t).await;
        // Whoever follows finds it written down, whole, or not at all.
        let next = survivor.progress(t).await.next;
        suite.check_steps(t, next - 1).await;
        if made.is_err() && next == 2 {
            assert_eq!(survivor.advance(t).await, Ok(true));
        }
        left_behind += usize::from(made.is_err() && next == 3);
        suite.check_steps(t, 2).await;
        assert_eq!(survivor.advance(t).await, Ok(true));
        suite.check_steps(t, 3).await;
        if let Ok(made) = made {
            assert!(made && left_behind > 5, "{left_behind} steps were left behind by {writes} writes");
            // Parts of those that died are left.
            let parts = server.collection("fw_stream_steps").await.count_documents(doc! {}).await.unwrap();
            assert_eq!(parts > 0, step_bytes < WHOLE);
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_dies_anywhere_is_made_once() {
    dies_anywhere(|_| {}, WHOLE).await;
    dies_anywhere(atomic, WHOLE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_step_that_dies_anywhere_is_made_once() {
    dies_anywhere(|_| {}, 150).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_waits_for_live_structures() {
    let server = Server::ferretdb().await;
    let process = Process::new(&server, |_| {}).await;
    let (suite, t) = (process.suite(""), &Tenant::new("t").unwrap());
    process.live.down.store(true, Ordering::Relaxed);
    process.advance(t).await.unwrap_err();
    process.streams.progress(&place(t)).await.unwrap_err();
    process.live.down.store(false, Ordering::Relaxed);
    suite.check_steps(t, 1).await;
}

/// Has a process wait at each of its writes while another one goes on.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_slow_writes_nothing_over() {
    let server = Server::ferretdb().await;
    let survivor = Process::new(&server, atomic).await;
    let suite = survivor.suite("");
    for writes in 0.. {
        let t = &Tenant::new(&format!("t{writes}")).unwrap();
        assert_eq!(survivor.advance(t).await, Ok(true));
        let gate = Gate::new(&server.url).await;
        let slow = survivor.behind(&gate, &server, atomic, WHOLE).await;
        gate.set(writes, Then::Waits);
        let advance = slow.advance(t);
        let goes_on = async {
            let waits = tokio::time::timeout(Duration::from_secs(5), gate.is_waited_at()).await.is_ok();
            while survivor.progress(t).await.next < 4 {
                assert_eq!(survivor.advance(t).await, Ok(true));
            }
            suite.check_steps(t, 3).await;
            gate.open();
            waits
        };
        let (made, waited) = tokio::join!(advance, goes_on);
        // Its step is that of the other one, unless it was not written down.
        assert_eq!(made, Ok(writes > 0));
        suite.check_steps(t, 3).await;
        if !waited {
            assert!(writes > 5, "{writes}");
            break;
        }
    }
}

/// Has a step write of their topic what it has read before another operator's.
#[tokio::test(flavor = "multi_thread")]
async fn operators_that_speak_at_once_have_offsets_of_their_own() {
    let (server, t) = (Server::ferretdb().await, &Tenant::new("t").unwrap());
    let gate = Gate::new(&server.url).await;
    let process = Process::new(&server, |_| {}).await.behind(&gate, &server, |_| {}, WHOLE).await;
    let speak = async |operator: &str, number: u64| {
        let messages = step(&Progress::default(), number, 0).messages;
        process.commit(&Place::main(t, operator), Step { messages, ..Step::default() }).await;
    };
    gate.tear("fw_state");
    let other = async {
        gate.is_waited_at().await;
        speak("other", 2).await;
    };
    tokio::join!(speak("one", 1), other, gate.opens_late());
    speak("one", 3).await;
    let published = process.streams.published(t, "recommendation-metrics", 0, 10).await.unwrap();
    let published: Vec<(u64, &str)> = published.iter().map(|one| (one.offset, one.key.as_str())).collect();
    assert_eq!(published, [(1, "k1"), (2, "k2"), (3, "k3")]);
}

/// Has a step of windows write of a mark what it has read before a shard's.
#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_is_marked_while_it_speaks_does_so_again() {
    let (server, t) = (Server::ferretdb().await, &Tenant::new("t").unwrap());
    let gate = Gate::new(&server.url).await;
    let process = Process::new(&server, |_| {}).await.behind(&gate, &server, |_| {}, WHOLE).await;
    let (main, shard) = (place(t), place(t).at(1));
    let mark = async || {
        let due = vec![(vec!["a".to_owned()], 2000)];
        process.commit(&shard, Step { due, ..Step::default() }).await;
    };
    let due = async || {
        let due = process.streams.due(&main, 1000, u64::MAX).await.unwrap();
        due.into_iter().map(|(due, _)| due).collect::<Vec<_>>()
    };
    mark().await;
    let spoke = due().await;
    assert_eq!(spoke[0].marks, [(1, 1)]);
    gate.tear("fw_stream_due");
    let again = async {
        gate.is_waited_at().await;
        mark().await;
    };
    tokio::join!(process.commit(&main, Step { spoke, ..Step::default() }), again, gate.opens_late());
    let left = due().await;
    assert_eq!(left.iter().map(|due| due.marks.as_slice()).collect::<Vec<_>>(), [[(1, 2)]]);
}

/// Deletes a user while a process that has read and written of it waits.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_slow_puts_nothing_back_that_was_deleted() {
    let server = Server::ferretdb().await;
    let other = Process::new(&server, atomic).await;
    let key = vec!["feed".to_owned(), "ann".to_owned()];
    for writes in 0..5 {
        let t = &Tenant::new(&format!("t{writes}")).unwrap();
        let gate = Gate::new(&server.url).await;
        let slow = other.behind(&gate, &server, atomic, WHOLE).await;
        let before = slow.progress(t).await;
        gate.set(writes, Then::Waits);
        let letter = DeadLetter {
            offset: 1,
            scenario_id: "feed".to_owned(),
            user_id: "ann".to_owned(),
            reason: "poison".to_owned(),
            about: "e1".to_owned(),
        };
        let step = Step {
            progress: Progress { next: 2, ..before.clone() },
            put: vec![(pane(&["feed", "ann"], 1000), b"x".to_vec())],
            due: vec![(key.clone(), 2000)],
            dead: vec![letter],
            ..Step::default()
        };
        let at = place(t);
        let commit = slow.streams.commit(&at, before, step);
        let delete = async {
            let _ = tokio::time::timeout(Duration::from_secs(5), gate.is_waited_at()).await;
            other.documents.delete_user(t, "ann".to_owned()).await.unwrap();
            gate.open();
        };
        let (made, ()) = tokio::join!(commit, delete);
        assert_eq!(made, Ok(writes > 0));
        let streams = &other.streams;
        assert_eq!(streams.first_pane(&place(t), 0).await.unwrap(), None);
        assert_eq!(streams.due(&place(t), 1000, u64::MAX).await.unwrap(), []);
        assert_eq!(streams.dead_letters(t, 10).await.unwrap(), []);
        for name in ["fw_stream_panes", "fw_stream_due", "fw_dead_letters"] {
            let left = server.collection(name).await.find_one(doc! { "tenant_id": t.as_str() }).await.unwrap();
            assert!(!left.is_some_and(|left| left.to_string().contains("ann")), "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_from_before_there_were_operators_are_passed_over() {
    Server::each(async |server| {
        let (old, new) = (Tenant::new("old").unwrap(), Tenant::new("new").unwrap());
        let states = server.collection("fw_state").await;
        states.insert_one(doc! { "_id": "log/old", "tenant_id": "old", "next": 5_i64 }).await.unwrap();
        let process = Process::new(server, |_| {}).await;
        states.insert_one(doc! { "_id": "log/new", "tenant_id": "new", "next": 3_i64 }).await.unwrap();
        let process = Process::of(server.store().await, process.live.clone(), &process.clock).await;
        assert_eq!((process.progress(&old).await.next, process.progress(&new).await.next), (6, 0));
        assert_eq!(process.streams.tenants().await.unwrap(), [new, old]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_has_so_many_counters() {
    Server::each(async |server| {
        let (process, t) = (Process::new(server, |_| {}).await, &Tenant::new("t").unwrap());
        let counter = |at: usize| {
            doc! {
                "_id": format!("c{at}"), "tenant_id": "t", "operator": "other", "shard": 0_i64, "number": 1_i64,
                "name": "x_total", "labels": { "n": at.to_string() }, "value": 1.0,
            }
        };
        let counters = server.collection("fw_counters").await;
        counters.insert_many((1..limits::METRIC_SERIES).map(counter)).await.unwrap();
        let series = |name: &str| Series { name: name.to_owned(), labels: vec![] };
        for round in 1..=2 {
            let before = process.progress(t).await;
            let counts = ["a_total", "b_total", "c_total", "stream_x_total"].map(|name| (series(name), 1.0)).to_vec();
            let step = Step { progress: before.clone(), counts, ..Step::default() };
            assert_eq!(process.streams.commit(&place(t), before, step).await, Ok(true));
            let all = process.streams.counters().await.unwrap();
            let count = |name: &str| all[0].1.get(&series(name)).copied();
            assert_eq!((count("a_total"), count("b_total"), count("c_total")), (Some(f64::from(round)), None, None));
            assert_eq!(count("stream_x_total"), Some(f64::from(round)));
            assert_eq!(count("metric_series_refused_total"), Some(2.0 * f64::from(round)));
        }
    })
    .await;
}

/// What is appended through either of two is counted once, by whoever leads; and when
/// that one is gone, by the other.
#[tokio::test(flavor = "multi_thread")]
async fn all_follow_and_one_counts() {
    let (server, t) = (Server::ferretdb().await, Tenant::new("t").unwrap());
    // In one process: this server takes the writes of no more.
    let log = MongoEvents::new(server.store().await, Arc::<MemoryLive>::default());
    let mut all = Vec::new();
    for _ in 0..2 {
        let state: Arc<dyn StreamStore> = MongoStreams::open(&log).await.unwrap();
        let grown = Arc::new(Grown::default());
        let watched: Arc<dyn Events> = Arc::new(Watched::new(Arc::new(log.clone()), state.clone(), grown.clone()));
        let operators: Vec<Arc<dyn Operator>> = vec![Arc::new(Counting::new(OPERATOR, 1000, 0))];
        let streams = Arc::new(Streams::new(watched.clone(), state.clone(), operators, grown));
        all.push((watched, state, tokio::spawn(streams.follow())));
    }
    let event = |id: usize| Event {
        event_id: format!("e{id}"),
        scenario_id: "feed".to_owned(),
        user_id: "ann".to_owned(),
        item_id: "i".to_owned(),
        action_type: "click".to_owned(),
        timestamp_ms: 1_700_000_000_000,
        body: "{}".to_owned(),
        signal: None,
    };
    for at in 0..10 {
        let (watched, ..) = &all[at % 2];
        watched.append(&t, vec![event(at)], vec![vec![]]).await.unwrap();
    }
    let seen = async |count: f64| {
        let begun = Instant::now();
        loop {
            let counters = all[0].1.counters().await.unwrap();
            let counters = counters.iter().flat_map(|(_, counters)| counters.iter());
            // Some of them may be late besides.
            let sum: f64 = counters.filter(|(series, _)| series.name == "seen_total").map(|(_, value)| value).sum();
            if sum == count {
                return;
            }
            assert!(sum < count && begun.elapsed() < Duration::from_secs(120), "{sum} of {count}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    seen(10.0).await;
    let leads = [all[0].1.lead(&t).await.unwrap(), all[1].1.lead(&t).await.unwrap()];
    assert_ne!(leads[0], leads[1]);
    // The one that leads is gone, and its lease ends.
    all[usize::from(leads[1])].2.abort();
    all[usize::from(leads[0])].0.append(&t, vec![event(10)], vec![vec![]]).await.unwrap();
    seen(11.0).await;
    all.iter().for_each(|(.., following)| following.abort());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_leads_at_a_time() {
    Server::each(async |server| {
        let a = Process::new(server, |_| {}).await;
        let store = server.store_at(&a.clock, |_| {}).await;
        let b = Process::of(store.clone(), a.live.clone(), &a.clock).await;
        let (a, b, t, clock) = (&a.streams, &b.streams, &Tenant::new("t").unwrap(), &a.clock);
        assert_eq!((a.lead(t).await, b.lead(t).await, a.lead(t).await), (Ok(true), Ok(false), Ok(true)));
        assert_eq!(b.abandoned().await, Ok(vec![]));
        // Who dies leaves something to do.
        clock.fetch_add(16_000, Ordering::Relaxed);
        assert_eq!(b.abandoned().await, Ok(vec![t.clone()]));
        // It does not ask again at once.
        assert_eq!(b.lead(t).await, Ok(false));
        tokio::time::sleep(Duration::from_millis(2100)).await;
        assert_eq!(b.lead(t).await, Ok(true));
        b.leave(t, None).await.unwrap();
        clock.fetch_add(60_000, Ordering::Relaxed);
        assert_eq!(a.abandoned().await, Ok(vec![]));
        b.lead(t).await.unwrap();
        b.leave(t, Some(clock.load(Ordering::Relaxed) + 1000)).await.unwrap();
        assert_eq!(a.abandoned().await, Ok(vec![]));
        clock.fetch_add(7000, Ordering::Relaxed);
        assert_eq!(a.abandoned().await, Ok(vec![t.clone()]));
    })
    .await;
}
