//! The conformance suite of events on every server, and what is left behind by
//! processes that die.

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
use funnelweb_core::id::handle;
use funnelweb_factor_documents::store::{Collection::UserProfiles, Documents, Key, Precondition};
use funnelweb_factor_events::{conformance::Suite, store::*};
use funnelweb_factor_live::store::Live;
use funnelweb_store_mongodb::{Abilities, MongoDocuments, MongoEvents};
use serde_json::{Value, json};
use support::{Server, clock, live::MemoryLive};

struct Backend {
    documents: MongoDocuments,
    events: MongoEvents,
    live: Arc<MemoryLive>,
    clock: Arc<AtomicU64>,
}

impl Backend {
    async fn new(server: &Server, adjust: fn(&mut Abilities)) -> Self {
        Self::with(server, adjust, Arc::default(), &clock()).await
    }

    /// Another process, when the live structures and the clock are those of one.
    async fn with(server: &Server, adjust: fn(&mut Abilities), live: Arc<MemoryLive>, clock: &Arc<AtomicU64>) -> Self {
        let store = server.store_at(clock, adjust).await;
        let documents = MongoDocuments::new(store.clone(), Some(live.clone()));
        let events = MongoEvents::new(store, live.clone());
        Self { documents, events, live, clock: clock.clone() }
    }

    fn now_ms(&self) -> u64 {
        self.clock.load(Ordering::Relaxed)
    }

    /// What the effects of [`event`] have added up to.
    async fn counted(&self, t: &Tenant, user: &str) -> (f32, f64, u64) {
        let hot =
            self.live.hot_scores(t, "feed".to_owned(), vec![handle("i")], self.now_ms()).await.unwrap()[0].round();
        let fields = vec!["view_count".to_owned()];
        let count = self.live.item_stats(t, "feed".to_owned(), vec![handle("i")], fields).await.unwrap()[0];
        let profile = self.documents.get(t, UserProfiles, Key::new("feed", user)).await.unwrap();
        let watched = profile.map_or(0, |profile| {
            let body: Value = serde_json::from_str(&profile.body).unwrap();
            body["features"]["total_watch_count"].as_u64().unwrap()
        });
        (hot, count, watched)
    }
}

fn event(id: &str, user: &str, at_ms: u64) -> (Event, Vec<Effect>) {
    let event = Event {
        event_id: id.to_owned(),
        scenario_id: "feed".to_owned(),
        user_id: user.to_owned(),
        item_id: "i".to_owned(),
        action_type: "click".to_owned(),
        timestamp_ms: at_ms,
        body: json!({"event_id": id, "context": {"device_type": "mobile"}, "timestamp": "2023-11-14"}).to_string(),
        signal: None,
    };
    let profile = ProfileEffect {
        preferences: vec![("category".to_owned(), "fun".to_owned(), 1.0)],
        // Long: what is counted is still whole when the clock has moved on.
        half_life_s: u32::MAX,
        counters: vec![("total_watch_count".to_owned(), 1.0)],
        recent: true,
    };
    let effects = vec![
        Effect::Hot(HotEffect { weight: 1.0, half_life_s: u32::MAX }),
        Effect::Count(CountEffect { field: "view_count".to_owned(), amount: 1.0 }),
        Effect::Profile(profile),
    ];
    (event, effects)
}

async fn conforms(server: &Server, adjust: fn(&mut Abilities), prefix: &str) {
    let backend = Backend::new(server, adjust).await;
    let suite = Suite {
        events: &backend.events,
        documents: &backend.documents,
        live: &*backend.live,
        now_ms: backend.now_ms(),
        prefix,
    };
    suite.run().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_server_conforms() {
    Server::each(async |server| conforms(server, |_| {}, "a-").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_filters_of_indexed_queries_conform() {
    let server = Server::ferretdb().await;
    conforms(&server, |abilities| abilities.indexed_queries = true, "b-").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_looks_as_the_design_shows() {
    Server::each(async |server| {
        let (backend, t) = (Backend::new(server, |_| {}).await, Tenant::new("t").unwrap());
        let (event, effects) = event("e1", "ann", 1_700_000_000_000);
        backend.events.append(&t, vec![event.clone()], vec![effects]).await.unwrap();
        let stored =
            server.collection("interactions").await.find_one(doc! { "tenant_id": "t" }).await.unwrap().unwrap();
        let mut shown = stored.clone();
        shown.remove("_fw");
        shown.remove("_id");
        let at = bson::DateTime::from_millis(1_700_000_000_000);
        let expected = doc! {
            "tenant_id": "t", "timestamp": at, "scenario_id": "feed", "user_id": "ann", "item_id": "i",
            "action_type": "click", "context": {"device_type": "mobile"}, "event_id": "e1",
            // The body says something else.
            "％_timestamp": "2023-11-14",
        };
        assert_eq!(shown.into_iter().collect::<std::collections::BTreeMap<_, _>>(), expected.into_iter().collect());
        assert!(stored.get_object_id("_id").is_ok());
        assert_eq!(backend.events.read(&t, 0, 1).await.unwrap()[0].event, event);
        let batches = server.collection("fw_batches").await;
        assert_eq!(batches.count_documents(doc! {}).await.unwrap(), 0);
    })
    .await;
}

/// Another stream engine forgets nothing of a profile that is written here.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_applied_of_panes_stays_with_a_profile() {
    Server::each(async |server| {
        let (backend, t) = (Backend::new(server, |_| {}).await, Tenant::new("t").unwrap());
        let append = async |id: &str| {
            let (event, effects) = event(id, "ann", backend.now_ms());
            backend.events.append(&t, vec![event], vec![effects]).await.unwrap();
        };
        let profiles = server.collection("user_profiles").await;
        let panes = bson::bson!([{ "pane": "stream-profile/feed/ann/0/300", "at_s": 7, "applied": "{}" }]);
        let remembered = async |version| {
            let found = profiles.find_one(doc! { "user_id": "ann" }).await.unwrap().unwrap();
            let own = found.get_document("_fw").unwrap();
            assert_eq!((own.get("panes"), own.get_i64("version").unwrap()), (Some(&panes), version));
        };
        append("e1").await;
        profiles.update_one(doc! {}, doc! { "$set": { "_fw.panes": &panes } }).await.unwrap();
        append("e2").await;
        remembered(2).await;
        let (key, body) = (Key::new("feed", "ann"), "{}".to_owned());
        backend.documents.replace(&t, UserProfiles, key, body, Precondition::None).await.unwrap();
        remembered(3).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_left_behind_is_applied_once() {
    Server::each(async |server| {
        let (backend, t) = (Backend::new(server, |_| {}).await, Tenant::new("t").unwrap());
        let one = |id: &str| {
            let (event, effects) = event(id, "ann", backend.now_ms());
            (vec![event], vec![effects])
        };
        let append = async |id: &str| {
            let (events, effects) = one(id);
            backend.events.append(&t, events, effects).await
        };
        assert_eq!(append("e1").await, Ok(vec![AppendOutcome::Accepted]));
        // The live structures fail after the event was written.
        backend.live.down.store(true, Ordering::Relaxed);
        assert!(matches!(append("e2").await, Err(Error::Unavailable(_))));
        backend.live.down.store(false, Ordering::Relaxed);
        // To the client that tries again it is known.
        assert_eq!(append("e2").await, Ok(vec![AppendOutcome::Duplicate]));
        assert_eq!(backend.counted(&t, "ann").await, (1.0, 1.0, 2));
        // Too young: it may still be on its way.
        assert_eq!(backend.events.sweep().await, Ok(0));
        backend.clock.fetch_add(200_000, Ordering::Relaxed);
        assert_eq!(backend.events.sweep().await, Ok(1));
        assert_eq!(backend.counted(&t, "ann").await, (2.0, 2.0, 2));
        assert_eq!(backend.events.sweep().await, Ok(0));
        assert_eq!(backend.counted(&t, "ann").await, (2.0, 2.0, 2));
    })
    .await;
}

/// Kills appends at every moment of their time: the caller is dropped, as it is
/// when its process dies.
#[tokio::test(flavor = "multi_thread")]
async fn an_append_that_dies_anywhere_loses_nothing_and_counts_nothing_twice() {
    const ROUNDS: u32 = 40;
    let server = Server::ferretdb().await;
    let (live, clock, t) = (Arc::<MemoryLive>::default(), clock(), Tenant::new("t").unwrap());
    let mut whole = Duration::MAX;
    let mut died = 0;
    for round in 0..ROUNDS {
        let user = format!("u{round}");
        let backend = Backend::with(&server, |_| {}, live.clone(), &clock).await;
        let before = backend.counted(&t, &user).await;
        let all: Vec<_> = (0..3).map(|at| event(&format!("e{round}-{at}"), &user, backend.now_ms())).collect();
        let (events, effects): (Vec<_>, Vec<_>) = all.into_iter().unzip();
        let append = backend.events.append(&t, events.clone(), effects.clone());
        // The first tells how long one takes.
        let (start, time) = (Instant::now(), if round == 0 { whole } else { whole * round / ROUNDS });
        died += usize::from(tokio::time::timeout(time, append).await.is_err());
        if round == 0 {
            whole = start.elapsed();
        }
        // Another process: the client tries again, and what was left is swept.
        clock.fetch_add(200_000, Ordering::Relaxed);
        let other = Backend::with(&server, |_| {}, live.clone(), &clock).await;
        other.events.append(&t, events, effects).await.unwrap();
        other.events.sweep().await.unwrap();
        let after = other.counted(&t, &user).await;
        assert_eq!(after, (before.0 + 3.0, before.1 + 3.0, before.2 + 3), "round {round}");
        assert_eq!(other.events.read(&t, 0, 1000).await.unwrap().len() as u32, 3 * (round + 1));
    }
    assert!(died > 0, "every append was done before it was to die");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_not_read_past_what_is_on_its_way() {
    Server::each(async |server| {
        let (backend, t) = (Backend::new(server, |_| {}).await, Tenant::new("t").unwrap());
        let append = async |id: &str| {
            let (one, effects) = event(id, "ann", backend.now_ms());
            backend.events.append(&t, vec![one], vec![effects]).await.unwrap();
        };
        append("e1").await;
        // Another process has taken an offset and not written yet.
        let log = doc! { "_id": "log/t" };
        let states = server.collection("fw_state").await;
        let at = bson::DateTime::from_millis(backend.now_ms() as i64);
        let open = doc! { "$inc": { "next": 1_i64 }, "$set": { "open.ff": { "after": 1_i64, "at": at } } };
        states.update_one(log.clone(), open).await.unwrap();
        append("e3").await;
        let read = async || {
            let read = backend.events.read(&t, 0, 10).await.unwrap();
            read.into_iter().map(|one| (one.offset, one.event.event_id)).collect::<Vec<_>>()
        };
        let event = |offset: u64, id: &str| (offset, id.to_owned());
        assert_eq!(read().await, [event(1, "e1")]);
        // It is lost: what comes after can be read, and it is forgotten.
        backend.clock.fetch_add(81_000, Ordering::Relaxed);
        assert_eq!(read().await, [event(1, "e1"), event(3, "e3")]);
        append("e4").await;
        let left = states.find_one(log).await.unwrap().unwrap();
        assert!(left.get_document("open").unwrap().is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_sweeps_at_a_time() {
    Server::each(async |server| {
        let (live, clock, t) = (Arc::<MemoryLive>::default(), clock(), Tenant::new("t").unwrap());
        let a = Backend::with(server, |_| {}, live.clone(), &clock).await;
        let b = Backend::with(server, |_| {}, live.clone(), &clock).await;
        assert_eq!(a.events.sweep().await, Ok(0));
        live.down.store(true, Ordering::Relaxed);
        let (event, effects) = event("e1", "ann", a.now_ms());
        assert!(a.events.append(&t, vec![event], vec![effects]).await.is_err());
        live.down.store(false, Ordering::Relaxed);
        clock.fetch_add(100_000, Ordering::Relaxed);
        // The lease of `a` is over.
        assert_eq!(b.events.sweep().await, Ok(1));
        assert_eq!(a.events.sweep().await, Ok(0));
        assert_eq!(live.batches(), 1);
    })
    .await;
}
