//! The `results` capability.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use funnelweb_factor_results::{
    conformance::Suite,
    store::{Clock, Entry, Key, ResultStore, Tenant},
};
use funnelweb_store_redis::{RedisResults, RedisStore};

use crate::harness::{Cluster, Kind, Server};

/// Of the present: the server lets entries expire by its own clock.
fn now_ms() -> u64 {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    now.as_millis().try_into().unwrap()
}

/// With a clock that stands still but for what the suite moves it on: its checks of times are
/// exact.
async fn conforms(store: RedisStore) {
    let now = Arc::new(AtomicU64::new(now_ms()));
    let clock: Clock = {
        let now = Arc::clone(&now);
        Arc::new(move || now.load(Ordering::Relaxed))
    };
    let results = RedisResults::with_clock(store, Arc::clone(&clock));
    let advance = |ms| {
        now.fetch_add(ms, Ordering::Relaxed);
    };
    Suite { store: &results, now_ms: &|| clock(), advance: &advance, prefix: "" }.run().await;
}

#[tokio::test]
async fn conforms_on_redis() {
    conforms(Server::start(Kind::Redis).store().await).await;
}

#[tokio::test]
async fn conforms_on_valkey() {
    conforms(Server::start(Kind::Valkey).store().await).await;
}

#[tokio::test]
async fn conforms_on_a_cluster() {
    conforms(Cluster::start(Kind::Redis).store().await).await;
}

#[tokio::test]
async fn the_key_is_the_documented_one_and_expires() {
    let server = Server::start(Kind::Redis);
    let results = RedisResults::new(server.store().await);
    let acme = Tenant::new("acme").unwrap();
    let key = Key { scenario_id: "feed".to_owned(), user_id: "ann".to_owned(), hash: "1f".to_owned() };
    let now = now_ms();
    let entry = Entry { value: "{\"items\":[]}".into(), fresh_until_ms: now + 600_000, stale_until_ms: now + 660_000 };
    results.put(&acme, &key, entry).await.unwrap();
    let text: String = server.say(&["GET", "recommend:acme:feed:ann:1f"]);
    let stored: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(stored["result"], serde_json::json!({"items": []}));
    let left: u64 = server.say(&["PTTL", "recommend:acme:feed:ann:1f"]);
    assert!((600_000..=660_000).contains(&left), "{left}");
    // Something else under the key is no result, and no failure.
    server.say::<()>(&["SET", "recommend:acme:feed:ann:1f", "?"]);
    assert_eq!(results.get(&acme, &key).await, Ok(None));
}
