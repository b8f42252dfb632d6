//! How a server is reached, and what is said of one that cannot be.

use std::time::{Duration, Instant};

use funnelweb_factor_key_value::store::{Error, KeyValues, Tenant};
use funnelweb_store_redis::{RedisKeyValues, RedisSettings, RedisStore};

use crate::harness::{Cluster, Kind, Server, free_port};

async fn works(settings: &RedisSettings) {
    let stores = RedisKeyValues::new(RedisStore::connect(settings).await.unwrap());
    let t = Tenant::new("acme").unwrap();
    stores.set(&t, "default", "k", b"v".to_vec()).await.unwrap();
    assert_eq!(stores.get(&t, "default", "k").await, Ok(Some(b"v".to_vec())));
}

async fn refused(settings: &RedisSettings) -> String {
    match RedisStore::connect(settings).await {
        Err(Error::Unavailable(message) | Error::Invalid(message)) => message,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let url = format!("redis://ann:s3cret@127.0.0.1:{}", free_port());
    let start = Instant::now();
    let message = refused(&RedisSettings::of(&url)).await;
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert!(message.contains(url.rsplit('@').next().unwrap()) && message.contains("refused"), "{message}");
    assert!(!message.contains("s3cret"), "{message}");
    let cluster = RedisSettings { cluster: true, ..RedisSettings::of(&url) };
    let message = refused(&cluster).await;
    assert!(message.contains(url.rsplit('@').next().unwrap()), "{message}");
    // One that takes connections and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", silent.local_addr().unwrap());
    let settings = RedisSettings { connect_timeout_ms: 200, response_timeout_ms: 500, ..RedisSettings::of(url) };
    let start = Instant::now();
    refused(&settings).await;
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_cluster_is_told_from_a_server() {
    let (server, cluster) = (Server::start(Kind::Redis), Cluster::start(Kind::Redis));
    let message = refused(&RedisSettings { cluster: true, ..RedisSettings::of(server.url()) }).await;
    assert!(message.contains("`cluster` must be false"), "{message}");
    let message = refused(&RedisSettings::of(cluster.nodes[1].url())).await;
    assert!(message.starts_with("cluster:"), "{message}");
    let mut settings = cluster.settings();
    settings.urls = cluster.nodes.iter().map(Server::url).collect();
    works(&settings).await;
}

#[tokio::test]
async fn user_password_and_database_are_used() {
    for kind in [Kind::Redis, Kind::Valkey] {
        let server = Server::start(kind);
        server.say::<()>(&["ACL", "SETUSER", "funnelweb", "on", ">s3cret", "~shop:*", "~{shop:*", "+@all"]);
        server.say::<()>(&["ACL", "SETUSER", "reader", "on", ">s3cret", "~*", "+@read", "+ping"]);
        let settings = RedisSettings {
            username: Some("funnelweb".to_owned()),
            password: Some("s3cret".to_owned()),
            database: Some(3),
            key_prefix: "shop:".to_owned(),
            ..RedisSettings::of(server.url())
        };
        works(&settings).await;
        let keyspace: String = server.say(&["INFO", "keyspace"]);
        assert!(keyspace.contains("db3:keys=1"), "{keyspace}");
        works(&RedisSettings {
            key_prefix: "shop:".to_owned(),
            ..RedisSettings::of(format!("redis://funnelweb:s3cret@127.0.0.1:{}/4", server.port))
        })
        .await;
        let message = refused(&RedisSettings { password: Some("wrong".to_owned()), ..settings.clone() }).await;
        assert!(message.to_lowercase().contains("password") || message.contains("WRONGPASS"), "{message}");
        // It must let us run scripts.
        let message = refused(&RedisSettings { username: Some("reader".to_owned()), ..settings.clone() }).await;
        assert!(message.contains("eval") || message.contains("select"), "{message}");
    }
}

#[tokio::test]
async fn a_socket_will_do() {
    let server = Server::with(Kind::Redis, &["--unixsocket", "{folder}/socket"]);
    works(&RedisSettings::of(format!("unix://{}", server.folder().join("socket").display()))).await;
}

#[tokio::test]
async fn tls_checks_who_the_server_is() {
    for kind in [Kind::Redis, Kind::Valkey] {
        let keys = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: String| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let (certificate, key) = (file("cert.pem", keys.cert.pem()), file("key.pem", keys.signing_key.serialize_pem()));
        let port = free_port();
        let (tls_port, no) = (port.to_string(), "no");
        let arguments = ["--tls-port", &tls_port, "--tls-cert-file", &certificate, "--tls-key-file", &key];
        let more = ["--tls-ca-cert-file", &certificate, "--tls-auth-clients", no];
        let _server = Server::with(kind, &[arguments.as_slice(), more.as_slice()].concat());
        let url = format!("rediss://localhost:{port}");
        let settings = RedisSettings { tls_ca_file: Some(certificate.into()), ..RedisSettings::of(&url) };
        works(&settings).await;
        // Nobody vouches for it, or it is somebody else.
        refused(&RedisSettings::of(&url)).await;
        refused(&RedisSettings { urls: vec![format!("rediss://127.0.0.1:{port}")], ..settings.clone() }).await;
        let missing = RedisSettings { tls_ca_file: Some("/nowhere.pem".into()), ..settings.clone() };
        assert!(refused(&missing).await.starts_with("tls_ca_file:"));
        let plain = RedisSettings { urls: vec!["redis://localhost".to_owned()], ..settings };
        assert!(refused(&plain).await.starts_with("tls_ca_file:"));
    }
}
