//! What becomes of calls when the server is down, slow or back again.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test suite: a failed check is a panic"
)]

mod support;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use funnelweb_core::id::handle;
use funnelweb_factor_documents::store::{Collection::*, *};
use funnelweb_factor_events::store::{AppendOutcome, Event, Events};
use funnelweb_store_mongodb::{MongoDocuments, MongoEvents, MongoSettings, MongoStore};
use funnelweb_test_servers::proxy::{Fault, Proxy};
use serde_json::json;
use support::{Server, live::MemoryLive};

const TIMEOUT: Duration = Duration::from_millis(1500);

struct Through {
    server: Server,
    proxy: Proxy,
    store: Arc<MongoStore>,
    documents: MongoDocuments,
    t: Tenant,
}

/// A store with something in it and in memory, behind a proxy.
async fn through() -> Through {
    let server = Server::ferretdb().await;
    let proxy = Proxy::before(server.port());
    let settings = MongoSettings {
        operation_timeout_ms: TIMEOUT.as_millis() as u64,
        ..MongoSettings::new(format!("mongodb://127.0.0.1:{}/", proxy.port()), &server.database)
    };
    let store = MongoStore::connect(settings).await.unwrap();
    let documents = MongoDocuments::new(store.clone(), None);
    let t = Tenant::new("t").unwrap();
    let item = json!({"metadata": {"n": 3}}).to_string();
    for (collection, key, body) in [
        (Scenarios, Key::new("feed", "feed"), "{}".to_owned()),
        (UserProfiles, Key::new("feed", "ann"), "{}".to_owned()),
        (Items, Key::new("feed", "i"), item),
        (Experiments, Key::new("feed", "x"), "{}".to_owned()),
    ] {
        documents.replace(&t, collection, key, body, Precondition::None).await.unwrap();
    }
    let through = Through { server, proxy, store, documents, t };
    through.recommend().await.unwrap();
    through
}

impl Through {
    /// What a recommendation reads.
    async fn recommend(&self) -> Result<(), Error> {
        let (documents, t, feed) = (&self.documents, &self.t, || "feed".to_owned());
        assert!(documents.get(t, Scenarios, Key::new("feed", "feed")).await?.is_some());
        assert!(documents.get(t, UserProfiles, Key::new("feed", "ann")).await?.is_some());
        assert_eq!(documents.newest_items(t, feed(), vec![(None, 5)]).await?, [[handle("i")]]);
        let columns = vec![ColumnSpec { name: "n".to_owned(), kind: ColumnKind::Numeric }];
        let columns = documents.item_columns(t, feed(), vec![handle("i"), handle("j")], columns, 0).await?;
        assert_eq!(columns.table.numeric, [3.0]);
        Ok(())
    }

    async fn write(&self, n: u32) -> Result<u64, WriteError> {
        let (key, body) = (Key::new("feed", "x"), json!({"n": n}).to_string());
        self.documents.replace(&self.t, Experiments, key, body, Precondition::None).await
    }

    async fn recovers(&self) {
        let start = Instant::now();
        while let Err(error) = self.write(1).await {
            assert!(matches!(error, WriteError::Store(Error::Unavailable(_))), "{error}");
            assert!(start.elapsed() < Duration::from_secs(20), "{error}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.recommend().await.unwrap();
        let found = self.documents.get(&self.t, Experiments, Key::new("feed", "x")).await.unwrap().unwrap();
        assert!(found.body.contains(r#""n":1"#), "{}", found.body);
    }
}

fn unavailable<T: std::fmt::Debug>(result: Result<T, impl std::fmt::Display>) {
    let message = result.unwrap_err().to_string();
    assert!(message.starts_with("mongodb"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_is_cut_off_reads_are_from_memory_and_writes_fail_at_once() {
    let through = through().await;
    for fault in [Fault::Cut, Fault::Stall] {
        through.proxy.set(fault);
        // Past the age of everything that is kept.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        through.recommend().await.unwrap();
        unavailable(through.write(2).await);
        unavailable(through.documents.get(&through.t, UserProfiles, Key::new("feed", "bob")).await);
        // By now it is known to be down: nothing waits for it.
        for _ in 0..5 {
            let _ = through.write(2).await;
        }
        let start = Instant::now();
        for _ in 0..100 {
            through.recommend().await.unwrap();
        }
        // A probe now and then may wait, the rest does not.
        assert!(start.elapsed() < 3 * TIMEOUT, "{:?}", start.elapsed());
        through.proxy.set(Fault::None);
        through.recovers().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_server_does_not_hold_a_call_past_its_deadline() {
    let through = through().await;
    through.proxy.set(Fault::Stall);
    for _ in 0..3 {
        let start = Instant::now();
        unavailable(through.documents.get(&through.t, UserProfiles, Key::new("feed", "bob")).await);
        let took = start.elapsed();
        assert!(took < TIMEOUT + Duration::from_millis(500), "{took:?}");
    }
    through.proxy.set(Fault::None);
    through.recovers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_there_after_the_server_was_killed() {
    let mut through = through().await;
    let live = Arc::new(MemoryLive::default());
    let events = MongoEvents::new(through.store.clone(), live);
    let event = |n: u32| Event {
        event_id: format!("e{n}"),
        scenario_id: "feed".to_owned(),
        user_id: "ann".to_owned(),
        item_id: "i".to_owned(),
        action_type: "click".to_owned(),
        timestamp_ms: 0,
        body: "{}".to_owned(),
        signal: None,
    };
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        for n in 10 * round..10 * round + 10 {
            let key = Key::new("other", format!("i{n}"));
            let new = vec![NewDocument { key: key.clone(), body: "{}".to_owned() }];
            through.documents.insert_many(&through.t, Items, new, false).await.unwrap();
            assert_eq!(
                events.append(&through.t, vec![event(n)], vec![vec![]]).await,
                Ok(vec![AppendOutcome::Accepted])
            );
            acknowledged.push(key);
        }
        through.server.stop();
        unavailable(events.append(&through.t, vec![event(1000 + round)], vec![vec![]]).await);
        through.server.start();
        through.recovers().await;
    }
    let other = MongoDocuments::new(through.server.store().await, None);
    let found = other.get_many(&through.t, Items, acknowledged.clone()).await.unwrap();
    assert!(found.iter().all(Option::is_some));
    assert_eq!(events.read(&through.t, 0, 1000).await.unwrap().len(), acknowledged.len());
}

#[tokio::test]
async fn a_server_that_says_nothing_is_an_error_at_start() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("mongodb://{}/", silent.local_addr().unwrap());
    let settings = MongoSettings { connect_timeout_ms: 200, operation_timeout_ms: 300, ..MongoSettings::new(url, "x") };
    let start = Instant::now();
    let error = MongoStore::connect(settings).await.err().unwrap().to_string();
    assert!(error.starts_with("mongodb at 127.0.0.1:"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(2));
}
