//! What happens when the server does not answer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use funnelweb_factor_key_value::store::KeyValues;
use funnelweb_factor_live::store::{CountAdd, Error, HotAdd, Live, LiveEffects, Tenant};
use funnelweb_store_redis::{RedisKeyValues, RedisLive, RedisSettings, RedisStore};
use tokio::time::sleep;

use crate::{
    harness::{Cluster, Fault, Kind, Proxy, Server, url},
    live::Items,
};

fn acme() -> Tenant {
    Tenant::new("acme").unwrap()
}

async fn through(proxy: &Proxy, response_timeout_ms: u64) -> RedisStore {
    let settings = RedisSettings { response_timeout_ms, ..RedisSettings::of(url(proxy)) };
    RedisStore::connect(&settings).await.unwrap()
}

fn is_unavailable<T: std::fmt::Debug>(result: Result<T, Error>) {
    match result {
        Err(Error::Unavailable(message)) => assert!(message.starts_with("redis: "), "{message}"),
        other => panic!("expected unavailable, got {other:?}"),
    }
}

/// Until a call succeeds again; how long it took.
async fn recovered(stores: &RedisKeyValues) -> Duration {
    let start = Instant::now();
    while stores.get(&acme(), "default", "k").await.is_err() {
        assert!(start.elapsed() < Duration::from_secs(10), "it does not recover");
        sleep(Duration::from_millis(10)).await;
    }
    start.elapsed()
}

#[tokio::test]
async fn a_cut_is_an_error_at_once_and_is_recovered_from() {
    let server = Server::start(Kind::Redis);
    let proxy = Proxy::before(server.port);
    let stores = RedisKeyValues::new(through(&proxy, 2000).await);
    stores.set(&acme(), "default", "k", b"v".to_vec()).await.unwrap();
    for _ in 0..3 {
        proxy.set(Fault::Cut);
        sleep(Duration::from_millis(10)).await;
        for _ in 0..8 {
            let start = Instant::now();
            is_unavailable(stores.get(&acme(), "default", "k").await);
            is_unavailable(stores.set(&acme(), "default", "k", b"w".to_vec()).await);
            assert!(start.elapsed() < Duration::from_millis(600), "{:?}", start.elapsed());
        }
        // By now nobody tries any more.
        let start = Instant::now();
        for _ in 0..100 {
            is_unavailable(stores.get(&acme(), "default", "k").await);
        }
        assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
        proxy.set(Fault::None);
        let took = recovered(&stores).await;
        assert!(took < Duration::from_secs(3), "{took:?}");
        assert_eq!(stores.get(&acme(), "default", "k").await, Ok(Some(b"v".to_vec())));
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_costs_a_deadline_and_not_one_per_request() {
    let server = Server::start(Kind::Valkey);
    let proxy = Proxy::before(server.port);
    let stores = Arc::new(RedisKeyValues::new(through(&proxy, 300).await));
    stores.set(&acme(), "default", "k", b"v".to_vec()).await.unwrap();
    proxy.set(Fault::Stall);
    let start = Instant::now();
    let calls = (0..20).map(|_| {
        let stores = stores.clone();
        tokio::spawn(async move { is_unavailable(stores.get(&acme(), "default", "k").await) })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
    assert!((250..600).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    let start = Instant::now();
    for _ in 0..50 {
        is_unavailable(stores.get(&acme(), "default", "k").await);
    }
    assert!(start.elapsed() < Duration::from_millis(200), "{:?}", start.elapsed());
    proxy.set(Fault::None);
    let took = recovered(&stores).await;
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[tokio::test]
async fn a_reply_that_breaks_off_is_asked_for_again() {
    let server = Server::start(Kind::Redis);
    let proxy = Proxy::before(server.port);
    let store = through(&proxy, 2000).await;
    let (stores, live) = (RedisKeyValues::new(store.clone()), RedisLive::new(store, Items::new()));
    stores.set(&acme(), "default", "k", vec![7; 100_000]).await.unwrap();
    for batch in 0..10 {
        proxy.set(Fault::HalfAReply);
        assert_eq!(stores.get(&acme(), "default", "k").await.unwrap().map(|value| value.len()), Some(100_000));
        proxy.set(Fault::HalfAReply);
        let count = CountAdd { item_id: "a".to_owned(), field: "n".to_owned(), amount: 1.0 };
        live.apply(&acme(), batch, vec![], vec![count]).await.unwrap();
    }
    // Each was applied twice.
    assert_eq!(server.say::<String>(&["HGET", "item:stats:acme:a", "n"]), "10");
}

#[tokio::test]
async fn an_increment_or_a_swap_whose_reply_breaks_off_is_made_once() {
    let server = Server::start(Kind::Redis);
    let proxy = Proxy::before(server.port);
    let stores = RedisKeyValues::new(through(&proxy, 2000).await);
    stores.set(&acme(), "default", "k", b"0".to_vec()).await.unwrap();
    for round in 1..=10 {
        proxy.set(Fault::HalfAReply);
        assert_eq!(stores.increment(&acme(), "default", "n", 3).await, Ok(3 * round));
        proxy.set(Fault::HalfAReply);
        let (seen, new) = ((round - 1).to_string().into_bytes(), round.to_string().into_bytes());
        assert_eq!(stores.compare_and_set(&acme(), "default", "k", Some(seen), new).await, Ok(true));
    }
    assert_eq!(server.say::<Vec<String>>(&["HMGET", "kv:acme:default", "n", "k"]), ["30", "10"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_there_once_however_often_it_is_cut() {
    let server = Server::start(Kind::Redis);
    let proxy = Arc::new(Proxy::before(server.port));
    let live = RedisLive::new(through(&proxy, 500).await, Items::new());
    let cuts = Arc::new(AtomicUsize::new(0));
    let cutter = {
        let (proxy, cuts) = (proxy.clone(), cuts.clone());
        tokio::spawn(async move {
            for mode in [Fault::Cut, Fault::HalfAReply, Fault::Stall, Fault::HalfAReply].into_iter().cycle().take(20) {
                proxy.set(mode);
                sleep(Duration::from_millis(40)).await;
                proxy.set(Fault::None);
                sleep(Duration::from_millis(60)).await;
                cuts.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    let writers = (0..8_u128).map(|writer| {
        let (live, cuts) = (live.clone(), cuts.clone());
        tokio::spawn(async move {
            let mut round = 0;
            while cuts.load(Ordering::Relaxed) < 20 && round < 1000 {
                let batch = writer * 1000 + round;
                let hot = HotAdd {
                    scenario_id: "feed".to_owned(),
                    item_id: "a".to_owned(),
                    weight: 1.0,
                    half_life_s: 3600,
                    at_ms: 1,
                };
                let count = CountAdd { item_id: "a".to_owned(), field: "n".to_owned(), amount: 1.0 };
                while live.apply(&acme(), batch, vec![hot.clone()], vec![count.clone()]).await.is_err() {
                    sleep(Duration::from_millis(20)).await;
                }
                let shown = vec![format!("i{writer}-{round}")];
                while live.expose(&acme(), "feed".to_owned(), Some("ann".to_owned()), shown.clone(), 600).await.is_err()
                {
                    sleep(Duration::from_millis(20)).await;
                }
                round += 1;
            }
            round
        })
    });
    let mut done = 0;
    for writer in writers.collect::<Vec<_>>() {
        done += writer.await.unwrap();
    }
    cutter.await.unwrap();
    let live = RedisLive::new(server.store().await, Items::new());
    let a = vec![funnelweb_core::id::handle("a")];
    let feed = || "feed".to_owned();
    assert_eq!(live.item_stats(&acme(), feed(), a.clone(), vec!["n".to_owned()]).await.unwrap(), [done as f64]);
    assert_eq!(live.hot_scores(&acme(), feed(), a, 1).await.unwrap(), [done as f32]);
    assert_eq!(live.exposed(&acme(), feed(), "ann".to_owned()).await.unwrap().len(), done as usize);
}

#[tokio::test]
async fn a_server_that_was_started_again_is_found_and_told_the_scripts() {
    for kind in [Kind::Redis, Kind::Valkey] {
        let mut server = Server::with(kind, &["--appendonly", "yes", "--appendfsync", "always"]);
        let live = RedisLive::new(server.store().await, Items::new());
        let expose = async |item: &str| {
            live.expose(&acme(), "feed".to_owned(), Some("ann".to_owned()), vec![item.to_owned()], 600).await
        };
        expose("a").await.unwrap();
        server.restart();
        // The old connections are found to be dead, and made anew, by the call itself.
        expose("b").await.unwrap();
        assert_eq!(live.exposed(&acme(), "feed".to_owned(), "ann".to_owned()).await.unwrap().len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_loses_a_node_serves_the_rest_and_takes_it_back() {
    let mut cluster = Cluster::start_with(Kind::Redis, &["--cluster-require-full-coverage", "no"]);
    let settings = RedisSettings { response_timeout_ms: 1000, ..cluster.settings() };
    let stores = RedisKeyValues::new(RedisStore::connect(&settings).await.unwrap());
    // A label's slot is that of its key: some are on each node.
    let labels: Vec<String> = (0..30).map(|at| format!("l{at}")).collect();
    for label in &labels {
        stores.set(&acme(), label, "k", b"v".to_vec()).await.unwrap();
    }
    let held: Vec<i64> = cluster.nodes.iter().map(|node| node.say(&["DBSIZE"])).collect();
    assert!(held.iter().all(|keys| *keys > 0), "{held:?}");
    cluster.nodes[2].stop();
    let mut lost = 0;
    for label in &labels {
        match stores.get(&acme(), label, "k").await {
            Ok(value) => assert_eq!(value, Some(b"v".to_vec())),
            Err(error) => {
                is_unavailable::<()>(Err(error));
                lost += 1;
                // So that the breaker has no reason to open.
                let other = labels.iter().find(|label| cluster.node_of(&format!("kv:acme:{label}")) != 2).unwrap();
                stores.get(&acme(), other, "k").await.unwrap();
            }
        }
    }
    assert_eq!(lost, held[2]);
    cluster.nodes[2].restart();
    let start = Instant::now();
    for label in &labels {
        while stores.set(&acme(), label, "k", b"w".to_vec()).await.is_err() {
            assert!(start.elapsed() < Duration::from_secs(20), "it does not recover");
            sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_says_nothing_does_not_stop_the_others() {
    let cluster = Cluster::start(Kind::Redis);
    let settings = RedisSettings { response_timeout_ms: 300, ..cluster.settings() };
    let stores = RedisKeyValues::new(RedisStore::connect(&settings).await.unwrap());
    let on =
        |node| (0..100).map(|at| format!("l{at}")).find(|label| cluster.node_of(&format!("kv:acme:{label}")) == node);
    let labels: Vec<String> = (0..3).map(|node| on(node).unwrap()).collect();
    for label in &labels {
        stores.set(&acme(), label, "k", b"v".to_vec()).await.unwrap();
    }
    cluster.nodes[1].say::<()>(&["CLIENT", "PAUSE", "1500", "ALL"]);
    let start = Instant::now();
    let t = acme();
    let silent = stores.get(&t, &labels[1], "k");
    let others = async {
        for _ in 0..20 {
            for label in [&labels[0], &labels[2]] {
                assert_eq!(stores.get(&acme(), label, "k").await, Ok(Some(b"v".to_vec())));
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    let (silent, ()) = tokio::join!(silent, others);
    is_unavailable(silent);
    assert!(start.elapsed() < Duration::from_millis(1200), "{:?}", start.elapsed());
    while stores.get(&acme(), &labels[1], "k").await.is_err() {
        assert!(start.elapsed() < Duration::from_secs(5), "it does not recover");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_slot_that_moves_is_followed() {
    let cluster = Cluster::start(Kind::Valkey);
    let stores = RedisKeyValues::new(cluster.store().await);
    let label = (0..100).map(|at| format!("l{at}")).find(|label| cluster.node_of(&format!("kv:acme:{label}")) == 0);
    let label = label.unwrap();
    assert_eq!(stores.get(&acme(), &label, "k").await, Ok(None));
    let slot: i64 = cluster.nodes[0].say(&["CLUSTER", "KEYSLOT", &format!("kv:acme:{label}")]);
    let to: String = cluster.nodes[1].say(&["CLUSTER", "MYID"]);
    for node in [1, 0, 2] {
        cluster.nodes[node].say::<()>(&["CLUSTER", "SETSLOT", &slot.to_string(), "NODE", &to]);
    }
    stores.set(&acme(), &label, "k", b"v".to_vec()).await.unwrap();
    assert_eq!(stores.get(&acme(), &label, "k").await, Ok(Some(b"v".to_vec())));
    assert_eq!(cluster.nodes[1].say::<i64>(&["DBSIZE"]), 1);
}
