//! `spin:key-value`.

use funnelweb_factor_key_value::{
    conformance,
    store::{Error, KeyValues, LISTED_KEYS, Tenant},
};
use funnelweb_store_redis::RedisKeyValues;

use crate::harness::{Cluster, Kind, Server};

#[tokio::test(flavor = "multi_thread")]
async fn conforms_on_redis() {
    conformance::run(&RedisKeyValues::new(Server::start(Kind::Redis).store().await), "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conforms_on_valkey() {
    conformance::run(&RedisKeyValues::new(Server::start(Kind::Valkey).store().await), "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conforms_on_a_cluster() {
    let cluster = Cluster::start(Kind::Redis);
    conformance::run(&RedisKeyValues::new(cluster.store().await), "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conforms_on_a_cluster_of_valkey() {
    let cluster = Cluster::start(Kind::Valkey);
    conformance::run(&RedisKeyValues::new(cluster.store().await), "").await;
}

#[tokio::test]
async fn a_store_is_one_hash() {
    let server = Server::start(Kind::Redis);
    let store = server.store().await;
    let (stores, t) = (RedisKeyValues::new(store.clone()), Tenant::new("acme").unwrap());
    stores.set(&t, "default", "greeting", b"hello".to_vec()).await.unwrap();
    assert_eq!(server.say::<String>(&["HGET", "kv:acme:default", "greeting"]), "hello");
    let before = store.round_trips();
    stores.set(&t, "default", "greeting", b"again".to_vec()).await.unwrap();
    stores.get(&t, "default", "greeting").await.unwrap();
    stores.exists(&t, "default", "greeting").await.unwrap();
    stores.delete(&t, "default", "greeting").await.unwrap();
    assert_eq!(store.round_trips() - before, 4);
}

#[tokio::test]
async fn so_many_keys_are_listed_and_no_more() {
    let server = Server::start(Kind::Valkey);
    let (stores, t) = (RedisKeyValues::new(server.store().await), Tenant::new("acme").unwrap());
    let words: Vec<String> = (0..LISTED_KEYS).flat_map(|at| [format!("k{at}"), String::new()]).collect();
    let command = ["HSET", "kv:acme:default"].into_iter().chain(words.iter().map(String::as_str));
    server.say::<i64>(&command.collect::<Vec<_>>());
    assert_eq!(stores.get_keys(&t, "default").await.unwrap().len(), LISTED_KEYS);
    stores.set(&t, "default", "more", vec![]).await.unwrap();
    match stores.get_keys(&t, "default").await {
        Err(Error::Invalid(message)) => assert!(message.starts_with("keys of the store"), "{message}"),
        other => panic!("{other:?}"),
    }
}

/// All keys of a store, page by page.
async fn pages(stores: &RedisKeyValues, t: &Tenant) -> Result<(usize, Vec<String>), Error> {
    let (mut pages, mut keys, mut cursor) = (0, Vec::new(), None);
    loop {
        let page = stores.list_keys(t, "default", cursor).await?;
        pages += 1;
        keys.extend(page.keys);
        let Some(next) = page.cursor else { break };
        cursor = Some(next);
    }
    keys.sort_unstable();
    keys.dedup();
    Ok((pages, keys))
}

#[tokio::test]
async fn a_large_store_is_listed_page_by_page_where_the_server_can() {
    for kind in [Kind::Redis, Kind::Valkey] {
        let server = Server::start(kind);
        let (stores, t) = (RedisKeyValues::new(server.store().await), Tenant::new("acme").unwrap());
        let fill = |from: usize, to: usize| {
            let words: Vec<String> = (from..to).flat_map(|at| [format!("k{at:05}"), "x".repeat(100)]).collect();
            let command = ["HSET", "kv:acme:default"].into_iter().chain(words.iter().map(String::as_str));
            server.say::<i64>(&command.collect::<Vec<_>>());
        };
        fill(0, LISTED_KEYS);
        let all = |count: usize| (0..count).map(|at| format!("k{at:05}")).collect::<Vec<_>>();
        assert_eq!(pages(&stores, &t).await, Ok((1, all(LISTED_KEYS))));
        fill(LISTED_KEYS, 3 * LISTED_KEYS);
        match pages(&stores, &t).await {
            Ok((pages, keys)) => {
                assert!(pages > 1, "{pages}");
                assert_eq!(keys, all(3 * LISTED_KEYS));
            }
            Err(Error::Invalid(message)) if kind == Kind::Redis => {
                assert!(message.starts_with("keys of the store"), "{message}");
            }
            Err(error) => panic!("{kind:?}: {error}"),
        }
        for cursor in ["k", "-1", "1 2", "999999999999999999999"] {
            let refused = stores.list_keys(&t, "default", Some(cursor.to_owned())).await;
            assert!(matches!(&refused, Err(Error::Invalid(message)) if message.starts_with("cursor")), "{refused:?}");
        }
    }
}

#[tokio::test]
async fn a_number_is_text_that_other_programs_read_and_marks_end() {
    let server = Server::start(Kind::Redis);
    let (stores, t) = (RedisKeyValues::new(server.store().await), Tenant::new("acme").unwrap());
    assert_eq!(stores.increment(&t, "default", "n", 7).await, Ok(7));
    assert_eq!(server.say::<i64>(&["HINCRBY", "kv:acme:default", "n", "1"]), 8);
    assert_eq!(stores.compare_and_set(&t, "default", "n", Some(b"8".to_vec()), b"9".to_vec()).await, Ok(true));
    let mut keys: Vec<String> = server.say(&["KEYS", "*"]);
    keys.retain(|key| key != "kv:acme:default");
    assert_eq!(keys.len(), 2, "{keys:?}");
    for mark in keys {
        assert!(mark.starts_with("{kv:acme:default}:call:"), "{mark}");
        assert!((100..=120).contains(&server.say::<i64>(&["TTL", &mark])), "{mark}");
    }
    // What is no store of ours is not called a number that is none.
    server.say::<()>(&["SET", "kv:acme:text", "x"]);
    let refused = stores.increment(&t, "text", "n", 1).await;
    assert!(matches!(&refused, Err(Error::Unavailable(message)) if message.contains("WRONGTYPE")), "{refused:?}");
}
