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
