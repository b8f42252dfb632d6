//! Behaviours that a log publishes.

use std::time::Instant;

use funnelweb_factor_events::{
    publish::{Accepted, Publisher},
    store::{Event, Tenant},
};
use funnelweb_log_kafka::{Behavior, KafkaPublisher, Topic};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
};

use crate::harness::{Offsets, PATIENCE, Reader, connect, shared};

const BATCH: u128 = 1_700_000_000_000 << 80;

fn accepted(index: u32, body: String) -> Accepted {
    let event = Event {
        event_id: format!("e-{index}"),
        scenario_id: "feed".to_owned(),
        user_id: "ann".to_owned(),
        item_id: "i".to_owned(),
        action_type: "click".to_owned(),
        timestamp_ms: 0,
        body,
        signal: None,
    };
    Accepted { index, offset: u64::from(index) + 1, event }
}

fn small(index: u32) -> Accepted {
    accepted(index, format!("{{\"n\":{index}}}"))
}

#[tokio::test]
async fn the_topic_is_made_and_what_is_too_large_keeps_nothing_waiting() {
    let (server, tenant) = (shared(), Tenant::new("publishing").unwrap());
    let log = connect(&server).await;
    let publisher = KafkaPublisher::new(log.clone()).unwrap();
    // Four times as large when it is written.
    let large = accepted(1, format!("{{\"n\":[{}0]}}", "1e15,".repeat(60_000)));
    let events = vec![small(0), large, small(2)];
    assert_eq!(publisher.publish(&tenant, BATCH, events).await, Ok(1));
    assert_eq!(publisher.publish(&tenant, BATCH + 1, vec![small(0)]).await, Ok(0));
    let mut reader = Reader::of(&log, "publishing", &Topic::Behaviors(tenant.to_string()), &Offsets::default());
    let read = reader.take(3).await.into_iter().map(|(_, stored)| {
        let behavior = Behavior::decode(&tenant, &stored.record.payload, 0).unwrap();
        (behavior.batch, behavior.accepted)
    });
    assert_eq!(read.collect::<Vec<_>>(), [(BATCH, small(0)), (BATCH, small(2)), (BATCH + 1, small(0))]);
    reader.leave().await;
}

#[tokio::test]
async fn a_topic_that_somebody_deletes_is_made_again() {
    let (server, tenant) = (shared(), Tenant::new("deleted").unwrap());
    let publisher = KafkaPublisher::new(connect(&server).await).unwrap();
    assert_eq!(publisher.publish(&tenant, BATCH, vec![small(0)]).await, Ok(0));
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", format!("127.0.0.1:{}", server.port())).create().unwrap();
    admin.delete_topics(&["user-behaviors-deleted"], &AdminOptions::new()).await.unwrap()[0].as_ref().unwrap();
    // The first attempts find out.
    let start = Instant::now();
    while let Err(error) = publisher.publish(&tenant, BATCH + 1, vec![small(0)]).await {
        assert!(start.elapsed() < PATIENCE, "{error}");
    }
}
