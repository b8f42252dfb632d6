//! How a cluster is reached, and what is said of one that cannot be.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use funnelweb_log_kafka::{
    Error, KafkaLog, KafkaSettings, SaslMechanism, SaslSettings, Subscription, TlsSettings, Topic,
};
use funnelweb_test_servers::{
    Server, free_port,
    kafka::{SCRAM_PASSWORD, SCRAM_USER},
};

use crate::harness::{Offsets, Reader, behaviors, numbered, settings};

async fn works(settings: KafkaSettings, tenant: &str) {
    let log = KafkaLog::connect(settings).await.unwrap();
    let topic = behaviors(&log, tenant).await;
    let producer = log.producer().unwrap();
    producer.append(&topic, numbered(0..10, 3)).await.unwrap();
    producer.close(Duration::from_secs(60)).await.unwrap();
    let mut reader = Reader::of(&log, tenant, &topic, &Offsets::default());
    reader.take(10).await;
    reader.leave().await;
}

async fn refused(settings: KafkaSettings) -> Error {
    KafkaLog::connect(settings).await.unwrap_err()
}

#[tokio::test]
async fn a_cluster_that_is_not_there_is_named() {
    let broker = format!("127.0.0.1:{}", free_port());
    let settings = KafkaSettings { connect_timeout_ms: 1000, ..KafkaSettings::of(&broker) };
    let start = Instant::now();
    let error = refused(settings.clone()).await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    let Error::Unavailable(message) = error else { panic!("{error:?}") };
    assert!(message.contains(&broker) && message.contains("Connection refused"), "{message}");
    // A name that nobody has.
    let error =
        refused(KafkaSettings { bootstrap_servers: vec!["broker.invalid:9092".to_owned()], ..settings.clone() });
    let Error::Unavailable(message) = error.await else { panic!("a broker has no address") };
    assert!(message.contains("broker.invalid"), "{message}");
    // One that takes connections and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let broker = silent.local_addr().unwrap().to_string();
    let start = Instant::now();
    let error = refused(KafkaSettings { bootstrap_servers: vec![broker.clone()], ..settings.clone() }).await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert!(matches!(&error, Error::Unavailable(message) if message.contains(&broker)), "{error:?}");
    assert!(matches!(refused(KafkaSettings { partitions: 0, ..settings }).await, Error::Invalid(_)));
}

/// A broker that lets in `ann` and `cid` to do all, and `bob` to do nothing.
struct Guarded {
    _server: Server,
    folder: tempfile::TempDir,
    sasl: KafkaSettings,
    tls: KafkaSettings,
    both: KafkaSettings,
}

impl Guarded {
    fn start() -> Self {
        let keys = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (certificate, store) = (folder.path().join("cert.pem"), folder.path().join("store.pem"));
        std::fs::write(&certificate, keys.cert.pem()).unwrap();
        std::fs::write(&store, keys.signing_key.serialize_pem() + &keys.cert.pem()).unwrap();
        let [sasl, tls, both] = [free_port(), free_port(), free_port()];
        let plain = "org.apache.kafka.common.security.plain.PlainLoginModule required";
        let users = format!("{plain} user_ann=\"s3cret\" user_bob=\"s3cret\";");
        let scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
        let listeners = format!(
            "listeners=PLAINTEXT://127.0.0.1:{{port}},SASL_PLAINTEXT://127.0.0.1:{sasl},SSL://localhost:{tls},\
             SASL_SSL://localhost:{both},CONTROLLER://127.0.0.1:{{controller}}"
        );
        let mut lines = vec![
            listeners,
            "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512".to_owned(),
            "ssl.keystore.type=PEM".to_owned(),
            format!("ssl.keystore.location={}", store.display()),
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer".to_owned(),
            "super.users=User:ANONYMOUS;User:ann;User:cid".to_owned(),
        ];
        for listener in ["sasl_plaintext", "sasl_ssl"] {
            let logins = [("plain", users.as_str()), ("scram-sha-256", scram), ("scram-sha-512", scram)];
            let line = |(name, login)| format!("listener.name.{listener}.{name}.sasl.jaas.config={login}");
            lines.extend(logins.map(line));
        }
        let server = Server::kafka(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        let ca = TlsSettings { ca_file: Some(certificate), ..TlsSettings::default() };
        let at = |port: u16, tls: Option<&TlsSettings>, user: Option<&str>| KafkaSettings {
            bootstrap_servers: vec![format!("localhost:{port}")],
            tls: tls.cloned(),
            sasl: user.map(|user| login(user, "s3cret")),
            ..settings(port)
        };
        let (sasl, tls, both) =
            (at(sasl, None, Some("ann")), at(tls, Some(&ca), None), at(both, Some(&ca), Some("ann")));
        Self { _server: server, folder, sasl, tls, both }
    }
}

fn login(user: &str, password: &str) -> SaslSettings {
    SaslSettings { mechanism: SaslMechanism::Plain, username: user.to_owned(), password: password.to_owned() }
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_and_certificates_are_used() {
    let guarded = Guarded::start();
    works(guarded.sasl.clone(), "by-password").await;
    works(guarded.tls.clone(), "by-tls").await;
    works(guarded.both.clone(), "by-both").await;
    let scram = |mechanism: SaslMechanism| {
        Some(SaslSettings { mechanism, username: SCRAM_USER.to_owned(), password: SCRAM_PASSWORD.to_owned() })
    };
    works(KafkaSettings { sasl: scram(SaslMechanism::ScramSha256), ..guarded.sasl.clone() }, "by-scram").await;
    works(KafkaSettings { sasl: scram(SaslMechanism::ScramSha512), ..guarded.both.clone() }, "by-scram-tls").await;

    let short = |settings: &KafkaSettings| KafkaSettings { connect_timeout_ms: 10_000, ..settings.clone() };
    // That is known before the time is over.
    let wrong = KafkaSettings { sasl: Some(login("ann", "wr0ng")), ..guarded.sasl.clone() };
    let start = Instant::now();
    let error = refused(wrong).await;
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    assert!(matches!(&error, Error::Denied(message) if message.contains("uthentication")), "{error:?}");
    assert!(!format!("{error:?}").contains("wr0ng"));
    // Nobody vouches for it, or it is somebody else.
    let unknown = KafkaSettings { tls: Some(TlsSettings::default()), ..short(&guarded.tls) };
    let error = refused(unknown).await;
    assert!(matches!(&error, Error::Unavailable(message) if message.contains("certificate")), "{error:?}");
    let other = guarded.tls.bootstrap_servers[0].replace("localhost", "127.0.0.1");
    let error = refused(KafkaSettings { bootstrap_servers: vec![other], ..short(&guarded.tls) }).await;
    assert!(matches!(&error, Error::Unavailable(message) if message.contains("certificate")), "{error:?}");
    // What is there, and is none.
    let none: PathBuf = guarded.folder.path().join("none.pem");
    std::fs::write(&none, "none").unwrap();
    let tls = Some(TlsSettings { ca_file: Some(none), ..TlsSettings::default() });
    let error = refused(KafkaSettings { tls, ..guarded.tls.clone() }).await;
    assert!(matches!(&error, Error::Invalid(message) if message.contains("ssl.ca.location")), "{error:?}");

    // Who may do nothing is told so, whatever he tries.
    let bob = KafkaSettings { sasl: Some(login("bob", "s3cret")), ..guarded.sasl.clone() };
    let log = KafkaLog::connect(bob).await.unwrap();
    let topic = Topic::Behaviors("by-password".to_owned());
    let error = log.ensure(std::slice::from_ref(&topic)).await.unwrap_err();
    assert!(matches!(&error, Error::Denied(message) if message.contains("user-behaviors-by-password")), "{error:?}");
    let producer = log.producer().unwrap();
    let error = producer.append(&topic, numbered(0..2, 1)).await.unwrap_err();
    assert!(matches!(error.first, Error::Denied(_)), "{error:?}");
    let mut group = log.join("by-password", &Subscription::Topics(vec![topic])).unwrap();
    let error = tokio::time::timeout(Duration::from_secs(60), group.next()).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Denied(_)), "{error:?}");
    group.leave().await;
}
