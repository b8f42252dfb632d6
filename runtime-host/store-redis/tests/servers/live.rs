//! The `live` capability.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use funnelweb_core::{id::handle, limits};
use funnelweb_factor_documents::store::{
    Collection, ColumnSpec, Document, Documents, InsertOutcome, ItemColumns, Key, Page, Precondition, Prepared, Query,
    Term, Walk, WriteError,
};
use funnelweb_factor_live::{
    conformance::{Change, EffectsSuite, Suite},
    store::{CountAdd, Error, HotAdd, Live, LiveEffects, Scored, Tenant},
};
use funnelweb_store_redis::{RedisLive, RedisStore};
use funnelweb_tenant_store::pages;

use crate::harness::{Cluster, Kind, Server};

const START_MS: u64 = 1_700_000_000_000;
const HOUR_MS: u64 = 3_600_000;

/// The items of these tests, by handle.
pub struct Items(HashMap<u64, String>);

impl Items {
    pub fn new() -> Arc<Self> {
        let names = ["a", "b", "c", "d", "x", "h", "b:x"].map(str::to_owned);
        let names = names.into_iter().chain((0..1000).map(|at| format!("i{at}")));
        Arc::new(Self(names.map(|name| (handle(&name), name)).collect()))
    }
}

fn unused() -> Error {
    Error::Unavailable("not a part of these tests".to_owned())
}

#[async_trait]
impl Documents for Items {
    async fn get(&self, _: &Tenant, _: Collection, _: Key) -> Result<Option<Document>, Error> {
        Err(unused())
    }

    async fn get_many(&self, _: &Tenant, _: Collection, _: Vec<Key>) -> Result<Vec<Option<Document>>, Error> {
        Err(unused())
    }

    async fn insert_prepared(&self, _: &Tenant, _: Prepared, _: bool) -> Result<Vec<InsertOutcome>, Error> {
        Err(unused())
    }

    async fn replace(&self, _: &Tenant, _: Collection, _: Key, _: String, _: Precondition) -> Result<u64, WriteError> {
        Err(unused().into())
    }

    async fn patch(
        &self,
        _: &Tenant,
        _: Collection,
        _: Key,
        _: String,
        _: Precondition,
    ) -> Result<Document, WriteError> {
        Err(unused().into())
    }

    async fn delete(&self, _: &Tenant, _: Collection, _: Key, _: Precondition) -> Result<bool, WriteError> {
        Err(unused().into())
    }

    async fn delete_user(&self, _: &Tenant, _: String) -> Result<u64, Error> {
        Err(unused())
    }

    async fn delete_scenario(&self, _: &Tenant, _: String) -> Result<u64, Error> {
        Err(unused())
    }

    async fn query(&self, _: &Tenant, _: Collection, _: Query) -> Result<Page, Error> {
        Err(unused())
    }

    async fn newest_items(&self, _: &Tenant, _: String, _: Vec<(Option<Term>, u32)>) -> Result<Vec<Vec<u64>>, Error> {
        Err(unused())
    }

    async fn item_columns(
        &self,
        _: &Tenant,
        _: String,
        _: Vec<u64>,
        _: Vec<ColumnSpec>,
        _: u64,
    ) -> Result<ItemColumns, Error> {
        Err(unused())
    }

    async fn item_ids(&self, _: &Tenant, _: String, handles: Vec<u64>) -> Result<Vec<Option<String>>, Error> {
        Ok(handles.iter().map(|handle| self.0.get(handle).cloned()).collect())
    }

    async fn tenants(&self) -> Result<Vec<Tenant>, Error> {
        Err(unused())
    }

    fn walk<'a>(&'a self, _: &'a Tenant, _: Collection) -> Walk<'a, Document> {
        pages((), async |()| Err(unused()))
    }

    async fn restore(&self, _: &Tenant, _: Collection, _: Vec<Document>) -> Result<(), Error> {
        Err(unused())
    }

    async fn version_floor(&self, _: &Tenant) -> Result<u64, Error> {
        Err(unused())
    }

    async fn raise_version_floor(&self, _: &Tenant, _: u64) -> Result<(), Error> {
        Err(unused())
    }
}

fn live_on(store: &RedisStore) -> (Arc<AtomicU64>, RedisLive) {
    let clock = Arc::new(AtomicU64::new(START_MS));
    let read = clock.clone();
    (clock, RedisLive::with_clock(store.clone(), Items::new(), Arc::new(move || read.load(Ordering::Relaxed))))
}

fn hot(item: &str, weight: f64, at_ms: u64) -> HotAdd {
    HotAdd { scenario_id: "feed".to_owned(), item_id: item.to_owned(), weight, half_life_s: 3600, at_ms }
}

fn count(item: &str, field: &str, amount: f64) -> CountAdd {
    CountAdd { item_id: item.to_owned(), field: field.to_owned(), amount }
}

/// Applies a batch that nobody else applies.
fn apply(live: &RedisLive, tenant: &Tenant, hot: Vec<HotAdd>, counts: Vec<CountAdd>) -> Change {
    static BATCH: std::sync::Mutex<u128> = std::sync::Mutex::new(1 << 100);
    let batch = {
        let mut batch = BATCH.lock().unwrap();
        *batch += 1;
        *batch
    };
    let (live, tenant) = (live.clone(), tenant.clone());
    Box::pin(async move { live.apply(&tenant, batch, hot, counts).await.unwrap() })
}

async fn conforms(store: RedisStore, prefix: &str) {
    let (clock, live) = live_on(&store);
    let suite = Suite {
        live: &live,
        advance: &|ms| {
            clock.fetch_add(ms, Ordering::Relaxed);
        },
        add_hot: &|tenant, item, weight, at_ms| apply(&live, tenant, vec![hot(item, weight, at_ms)], vec![]),
        add_count: &|tenant, item, field, amount| apply(&live, tenant, vec![], vec![count(item, field, amount)]),
        prefix,
    };
    suite.run().await;
    EffectsSuite { live: &live, effects: &live, prefix }.run().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conforms_on_redis() {
    let server = Server::start(Kind::Redis);
    conforms(server.store().await, "").await;
    // Another deployment on the same server, by its prefix; and another prefix of tenants.
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

fn acme() -> Tenant {
    Tenant::new("acme").unwrap()
}

fn feed() -> String {
    "feed".to_owned()
}

fn ann() -> String {
    "ann".to_owned()
}

async fn expose(live: &RedisLive, items: &[&str], ttl_s: u32) {
    let items = items.iter().map(|&item| item.to_owned()).collect();
    live.expose(&acme(), feed(), Some(ann()), items, ttl_s).await.unwrap();
}

async fn top(live: &RedisLive, now_ms: u64) -> Scored {
    live.hot_top(&acme(), feed(), 5000, vec![], now_ms).await.unwrap()
}

#[tokio::test]
async fn other_programs_read_the_documented_keys() {
    for kind in [Kind::Redis, Kind::Valkey] {
        let server = Server::start(kind);
        let (_, live) = live_on(&server.store().await);
        let adds = vec![hot("a", 1.0, START_MS), hot("b", 3.0, START_MS)];
        let counts = vec![count("a", "view_count", 1.0), count("a", "view_count", 2.0), count("a", "like_count", 0.5)];
        live.apply(&acme(), 7, adds, counts).await.unwrap();
        expose(&live, &["a", "b"], 86_400).await;
        assert_eq!(server.say::<String>(&["TYPE", "hot:items:acme:feed"]), "zset");
        assert_eq!(server.say::<Vec<String>>(&["ZREVRANGE", "hot:items:acme:feed", "0", "-1"]), ["b", "a"]);
        assert_eq!(server.say::<String>(&["TYPE", "exposed:acme:ann:feed"]), "set");
        let shown: BTreeSet<String> = server.say(&["SMEMBERS", "exposed:acme:ann:feed"]);
        assert_eq!(shown, BTreeSet::from(["a".to_owned(), "b".to_owned()]));
        let ttl_s: i64 = server.say(&["TTL", "exposed:acme:ann:feed"]);
        assert!((86_390..=86_400).contains(&ttl_s), "{ttl_s}");
        let stats: HashMap<String, String> = server.say(&["HGETALL", "item:stats:acme:a"]);
        let pair = |field: &str, value: &str| (field.to_owned(), value.to_owned());
        assert_eq!(stats, HashMap::from([pair("view_count", "3"), pair("like_count", "0.5")]));
        // Nothing else but what goes with a key, and every such mark goes away.
        let mut keys: Vec<String> = server.say(&["KEYS", "*"]);
        keys.sort_unstable();
        let expected = [
            "exposed:acme:ann:feed",
            "hot:items:acme:feed",
            "item:stats:acme:a",
            "{exposed:acme:ann:feed}:expiry",
            "{hot:items:acme:feed}:batch:7",
            "{hot:items:acme:feed}:changes",
            "{hot:items:acme:feed}:decay",
            "{item:stats:acme:a}:batch:7",
        ];
        assert_eq!(keys, expected);
        for mark in [expected[4], expected[7]] {
            assert!((3500..=3600).contains(&server.say::<i64>(&["TTL", mark])));
        }
        assert_eq!(server.say::<i64>(&["TTL", "{exposed:acme:ann:feed}:expiry"]), ttl_s);
    }
}

#[tokio::test]
async fn a_prefix_begins_every_key() {
    let server = Server::start(Kind::Redis);
    let settings = funnelweb_store_redis::RedisSettings {
        key_prefix: "shop:".to_owned(),
        ..funnelweb_store_redis::RedisSettings::of(server.url())
    };
    let (_, live) = live_on(&RedisStore::connect(&settings).await.unwrap());
    live.apply(&acme(), 7, vec![hot("a", 1.0, START_MS)], vec![count("a", "n", 1.0)]).await.unwrap();
    expose(&live, &["a"], 60).await;
    let keys: Vec<String> = server.say(&["KEYS", "*"]);
    assert_eq!(keys.len(), 8);
    assert!(keys.iter().all(|key| key.starts_with("shop:") || key.starts_with("{shop:")), "{keys:?}");
    live.forget_scenario(&acme(), "feed", vec!["a".to_owned()]).await.unwrap();
    let left: Vec<String> = server.say(&["KEYS", "*"]);
    assert!(left.iter().all(|key| key.contains(":batch:")), "{left:?}");
}

/// What a recommendation asks of live structures.
async fn recommend(live: &RedisLive) {
    let t = acme();
    live.exposed(&t, feed(), ann()).await.unwrap();
    let hot = live.hot_top(&t, feed(), 100, vec![], START_MS).await.unwrap();
    live.hot_scores(&t, feed(), hot.handles.clone(), START_MS).await.unwrap();
    live.item_stats(&t, feed(), hot.handles, vec!["n".to_owned()]).await.unwrap();
    expose(live, &["a", "b"], 60).await;
}

#[tokio::test]
async fn a_recommendation_is_three_round_trips_and_a_batch_one() {
    let (server, cluster) = (Server::start(Kind::Redis), Cluster::start(Kind::Redis));
    for store in [server.store().await, cluster.store().await] {
        let (_, live) = live_on(&store);
        for batch in 0..2 {
            let adds = (0..100).map(|at| hot(&format!("i{at}"), 1.0, START_MS)).collect();
            let counts = (0..1000).map(|at| count(&format!("i{at}"), "n", 1.0)).collect();
            let before = store.round_trips();
            live.apply(&acme(), batch, adds, counts).await.unwrap();
            // The first time, servers are told the scripts.
            assert_eq!(store.round_trips() - before, if batch == 0 { 2 } else { 1 });
        }
        recommend(&live).await;
        for live in [&live_on(&store).1, &live] {
            for _ in 0..2 {
                let before = store.round_trips();
                recommend(live).await;
                assert_eq!(store.round_trips() - before, 3);
            }
        }
    }
}

#[tokio::test]
async fn what_another_process_adds_is_seen_within_a_second() {
    let server = Server::start(Kind::Redis);
    let store = server.store().await;
    let ((_, ours), (_, theirs)) = (live_on(&store), live_on(&server.store().await));
    let add = async |live: &RedisLive, item: &str| apply(live, &acme(), vec![hot(item, 1.0, START_MS)], vec![]).await;
    add(&ours, "a").await;
    add(&ours, "b").await;
    assert_eq!(top(&ours, START_MS).await.handles.len(), 2);
    add(&theirs, "b").await;
    add(&theirs, "c").await;
    let before = store.round_trips();
    assert_eq!(top(&ours, START_MS).await.handles.len(), 2);
    assert_eq!(store.round_trips(), before);
    tokio::time::sleep(std::time::Duration::from_millis(1050)).await;
    let seen = top(&ours, START_MS).await;
    assert_eq!((seen.handles[0], seen.scores), (handle("b"), vec![2.0, 1.0, 1.0]));
    // One of ours that follows one of theirs has the list read again, at once.
    add(&theirs, "c").await;
    add(&ours, "c").await;
    assert_eq!(top(&ours, START_MS).await.scores, [3.0, 2.0, 1.0]);
    // As does a deletion.
    theirs.forget_scenario(&acme(), "feed", vec![]).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1050)).await;
    assert_eq!(top(&ours, START_MS).await, Scored::default());
}

/// Numbers that look random, the same every time.
fn numbers() -> impl FnMut(u64) -> u64 {
    let mut state = 7_u64;
    move |below| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    }
}

#[tokio::test]
async fn scores_are_sums_of_decayed_weights() {
    let server = Server::start(Kind::Valkey);
    let store = server.store().await;
    let (_, live) = live_on(&store);
    let mut next = numbers();
    let mut given: Vec<HotAdd> = Vec::new();
    let mut now_ms = START_MS;
    for round in 0..60 {
        // Now and then it is quiet for more half-lives than the landmark stays.
        now_ms += if round % 20 == 19 { 300 * HOUR_MS } else { next(3 * HOUR_MS) };
        let adds: Vec<HotAdd> = (0..next(20))
            .map(|_| hot(&format!("i{}", next(30)), next(1000) as f64 / 100.0 - 1.0, now_ms - next(5 * HOUR_MS)))
            .collect();
        given.extend(adds.iter().cloned());
        apply(&live, &acme(), adds, vec![]).await;
        // From what it has, changed by replies; and read anew.
        for live in [&live, &live_on(&store).1] {
            let items: Vec<String> = (0..30).map(|at| format!("i{at}")).collect();
            let handles = items.iter().map(|item| handle(item)).collect();
            let scores = live.hot_scores(&acme(), feed(), handles, now_ms).await.unwrap();
            for (item, score) in items.iter().zip(scores) {
                let worth = |add: &HotAdd| add.weight * (-((now_ms - add.at_ms) as f64) / HOUR_MS as f64).exp2();
                let sum: f64 = given.iter().filter(|add| add.item_id == *item).map(worth).sum();
                assert!((f64::from(score) - sum).abs() < 1e-4, "{item} in round {round}: {score}, not {sum}");
            }
        }
    }
}

#[tokio::test]
async fn the_coldest_go_when_there_are_too_many() {
    let server = Server::start(Kind::Redis);
    let (_, live) = live_on(&server.store().await);
    let all = limits::HOT_MEMBERS + limits::HOT_MEMBERS / 8 + 1;
    for from in (0..all).step_by(10_000) {
        let adds = (from..all.min(from + 10_000)).map(|at| hot(&format!("i{at}"), at as f64 + 1.0, START_MS));
        apply(&live, &acme(), adds.collect(), vec![]).await;
    }
    assert_eq!(server.say::<usize>(&["ZCARD", "hot:items:acme:feed"]), limits::HOT_MEMBERS);
    assert!(server.say::<usize>(&["ZCARD", "{hot:items:acme:feed}:changes"]) <= 20_000);
    let ends = vec![handle("i0"), handle(&format!("i{}", all - 1))];
    assert_eq!(live.hot_scores(&acme(), feed(), ends, START_MS).await.unwrap(), [0.0, all as f32]);
    // A change of the half-life touches every member.
    let slower = HotAdd { half_life_s: 7200, at_ms: START_MS + HOUR_MS, ..hot("i0", 1.0, 0) };
    let start = std::time::Instant::now();
    apply(&live, &acme(), vec![slower], vec![]).await;
    assert!(start.elapsed().as_millis() < 1500, "{:?}", start.elapsed());
    let last = vec![handle(&format!("i{}", all - 1)), handle("i0")];
    assert_eq!(live.hot_scores(&acme(), feed(), last, START_MS + HOUR_MS).await.unwrap(), [all as f32 / 2.0, 1.0]);
}

#[tokio::test]
async fn a_reader_that_missed_many_changes_reads_the_whole_list() {
    let server = Server::start(Kind::Redis);
    let ((_, ours), (_, theirs)) = (live_on(&server.store().await), live_on(&server.store().await));
    apply(&ours, &acme(), vec![hot("a", 5.0, START_MS), hot("b", 4.0, START_MS)], vec![]).await;
    assert_eq!(top(&ours, START_MS).await.handles.len(), 2);
    apply(&theirs, &acme(), vec![hot("b", 2.0, START_MS)], vec![]).await;
    for from in (0..25_000).step_by(5000) {
        let adds = (from..from + 5000).map(|at| hot(&format!("j{at}"), 1.0, START_MS)).collect();
        apply(&theirs, &acme(), adds, vec![]).await;
    }
    tokio::time::sleep(std::time::Duration::from_millis(1050)).await;
    let seen = ours.hot_top(&acme(), feed(), 3, vec![], START_MS).await.unwrap();
    assert_eq!(seen.scores, [6.0, 5.0, 1.0]);
    assert_eq!(seen.handles[..2], ["b", "a"].map(handle));
}

#[tokio::test]
async fn the_oldest_exposures_go_and_a_deleted_set_is_forgotten() {
    let server = Server::start(Kind::Redis);
    let (clock, live) = live_on(&server.store().await);
    let shown = async || live.exposed(&acme(), feed(), ann()).await.unwrap();
    for call in 0..11 {
        clock.fetch_add(1000, Ordering::Relaxed);
        let items: Vec<String> = (0..1000).map(|at| format!("i{}", call * 1000 + at)).collect();
        live.expose(&acme(), feed(), Some(ann()), items, 3600).await.unwrap();
    }
    let now: BTreeSet<u64> = shown().await.into_iter().collect();
    assert_eq!(now.len(), limits::EXPOSURES);
    assert_eq!(server.say::<usize>(&["SCARD", "exposed:acme:ann:feed"]), limits::EXPOSURES);
    assert!(!now.contains(&handle("i999")) && now.contains(&handle("i1000")) && now.contains(&handle("i10999")));
    server.say::<i64>(&["DEL", "exposed:acme:ann:feed"]);
    assert!(shown().await.is_empty());
    expose(&live, &["x"], 60).await;
    assert_eq!(shown().await, [handle("x")]);
    assert_eq!(server.say::<usize>(&["ZCARD", "{exposed:acme:ann:feed}:expiry"]), 1);
    // What has expired goes with the next that is shown; all of it by itself.
    expose(&live, &["y"], 1).await;
    clock.fetch_add(1000, Ordering::Relaxed);
    assert_eq!(shown().await, [handle("x")]);
    expose(&live, &["z"], 1).await;
    assert_eq!(server.say::<usize>(&["SCARD", "exposed:acme:ann:feed"]), 2);
    assert!(server.say::<i64>(&["PTTL", "exposed:acme:ann:feed"]) <= 59_000);
    live.expose(&acme(), feed(), Some("bob".to_owned()), vec!["a".to_owned()], 1).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    assert_eq!(server.say::<usize>(&["EXISTS", "exposed:acme:bob:feed", "{exposed:acme:bob:feed}:expiry"]), 0);
}

#[tokio::test]
async fn a_counter_that_cannot_count_does_not_stop_the_others() {
    let server = Server::start(Kind::Redis);
    let (_, live) = live_on(&server.store().await);
    server.say::<i64>(&["HSET", "item:stats:acme:a", "n", "many"]);
    server.say::<()>(&["SET", "item:stats:acme:b", "no hash"]);
    let counts = vec![count("a", "n", 1.0), count("a", "m", 1.0), count("b", "n", 1.0), count("c", "n", 1.0)];
    live.apply(&acme(), 1, vec![], counts).await.unwrap();
    let read = async |items: &[&str]| {
        let (handles, fields) = (items.iter().map(|item| handle(item)).collect(), vec!["n".to_owned(), "m".to_owned()]);
        live.item_stats(&acme(), feed(), handles, fields).await
    };
    assert_eq!(read(&["a", "c"]).await.unwrap(), [0.0, 1.0, 1.0, 0.0]);
    assert!(matches!(read(&["b"]).await, Err(Error::Unavailable(_))));
}
