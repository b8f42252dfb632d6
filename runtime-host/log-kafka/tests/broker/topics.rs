//! Topics as they are created, and as they are.

use funnelweb_log_kafka::{Ensured, Error, KafkaLog, KafkaSettings, Topic};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication},
    client::DefaultClientContext,
};

use crate::harness::{connect, settings, shared};

fn admin(port: u16) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", format!("127.0.0.1:{port}")).create().unwrap()
}

#[tokio::test]
async fn topics_are_created_as_configured() {
    let server = shared();
    let settings = KafkaSettings {
        topic_prefix: "created.".to_owned(),
        partitions: 5,
        replication_factor: Some(1),
        retention_days: 3,
        ..settings(server.port())
    };
    let log = KafkaLog::connect(settings).await.unwrap();
    let all = [
        Topic::Behaviors("acme:eu.1".to_owned()),
        Topic::DeadBehaviors("acme:eu.1".to_owned()),
        Topic::ProfileUpdates,
        Topic::ItemStats,
        Topic::Metrics,
    ];
    let ensured = log.ensure(&all).await.unwrap();
    let names: Vec<&str> = ensured.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "created.user-behaviors-acme--ceu--d1",
            "created.user-behaviors-dead-acme--ceu--d1",
            "created.user-profile-updates",
            "created.item-stats-updates",
            "created.recommendation-metrics"
        ]
    );
    assert!(ensured.iter().all(|one| one.created && one.partitions == 5), "{ensured:?}");
    let resources: Vec<_> = names.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
    for config in admin(server.port()).describe_configs(&resources, &AdminOptions::new()).await.unwrap() {
        let config = config.unwrap();
        let value = |key: &str| config.get(key).unwrap().value.clone().unwrap();
        assert_eq!(value("retention.ms"), (3 * 24 * 3_600_000_u64).to_string());
        assert_eq!(value("cleanup.policy"), "delete");
    }
    // Once.
    let again = log.ensure(&all).await.unwrap();
    assert!(again.iter().all(|one| !one.created && one.partitions == 5), "{again:?}");
}

#[tokio::test]
async fn a_topic_that_is_there_is_used_as_it_is() {
    let server = shared();
    let log = connect(&server).await;
    let new = NewTopic::new("user-behaviors-as-it-is", 2, TopicReplication::Fixed(1));
    admin(server.port()).create_topics(&[new], &AdminOptions::new()).await.unwrap();
    let topic = Topic::Behaviors("as-it-is".to_owned());
    let ensured = log.ensure(std::slice::from_ref(&topic)).await.unwrap();
    let name = "user-behaviors-as-it-is".to_owned();
    assert_eq!(ensured, [Ensured { topic, name, partitions: 2, created: false }]);
}

#[tokio::test]
async fn many_may_create_one_at_once() {
    let server = shared();
    let log = connect(&server).await;
    let topic = [Topic::Behaviors("at-once".to_owned()), Topic::Behaviors("at-once-2".to_owned())];
    let (a, b, c) = tokio::join!(log.ensure(&topic), log.ensure(&topic), log.ensure(&topic[..1]));
    let all = [a.unwrap(), b.unwrap(), c.unwrap()].concat();
    assert!(all.iter().all(|one| one.partitions == 3), "{all:?}");
    let created = all.iter().filter(|one| one.created).count();
    assert_eq!(created, 2, "{all:?}");
}

#[tokio::test]
async fn what_the_cluster_does_not_accept_is_invalid() {
    let server = shared();
    let settings = KafkaSettings { replication_factor: Some(3), ..settings(server.port()) };
    let log = KafkaLog::connect(settings).await.unwrap();
    let error = log.ensure(&[Topic::Behaviors("copies".to_owned())]).await.unwrap_err();
    assert!(matches!(&error, Error::Invalid(message) if message.contains("user-behaviors-copies")), "{error:?}");
    let error = log.ensure(&[Topic::Behaviors("a b".to_owned())]).await.unwrap_err();
    assert!(matches!(&error, Error::Invalid(message) if message.starts_with("tenant:")), "{error:?}");
}
