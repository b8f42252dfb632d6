//! What is one transaction where the server has them, as far as it can be told
//! without one: which commands are sent as parts of it, and with what. Whether
//! they are undone together is for the suites on a real server to show.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test suite: a failed check is a panic"
)]

mod support;

use std::sync::Arc;

use funnelweb_factor_documents::store::{Collection::Items, InsertOutcome::*, *};
use funnelweb_factor_events::store::{AppendOutcome, Effect, Event, Events, HotEffect};
use funnelweb_store_mongodb::{Abilities, Environment, MongoDocuments, MongoEvents, MongoSettings, MongoStore};
use serde_json::json;
use support::{Server, live::MemoryLive, translator::Translator};

fn with_transactions(abilities: &mut Abilities) {
    abilities.transactions = true;
}

#[tokio::test(flavor = "multi_thread")]
async fn bulk_writes_and_appends_are_transactions() {
    let server = Server::ferretdb_as_replica_set().await;
    let translator = Translator::new(&server.url).await;
    let settings = MongoSettings { url: translator.url.clone(), ..server.settings() };
    let environment = Environment { adjust: with_transactions, ..Environment::default() };
    let store = MongoStore::connect_with(settings, environment).await.unwrap();
    let (t, live) = (Tenant::new("t").unwrap(), Arc::<MemoryLive>::default());
    let documents = MongoDocuments::new(store.clone(), Some(live.clone()));
    let events = MongoEvents::new(store, live.clone());
    let seen = || std::mem::take(&mut *translator.seen.lock().unwrap());

    let new = |id: &str, n: u32| NewDocument { key: Key::new("feed", id), body: json!({"n": n}).to_string() };
    let outcomes = documents.insert_many(&t, Items, vec![new("a", 1), new("b", 1)], false).await.unwrap();
    assert_eq!((outcomes, seen()), (vec![Created; 2], vec!["begin insert".to_owned(), "commitTransaction".to_owned()]));
    let outcomes = documents.insert_many(&t, Items, vec![new("b", 2), new("c", 2), new("a", 2)], true).await.unwrap();
    assert_eq!(outcomes, [Replaced, Created, Replaced]);
    assert_eq!(seen(), ["begin insert", "update", "commitTransaction"]);
    let keys = ["a", "b", "c"].map(|id| Key::new("feed", id)).to_vec();
    let found = documents.get_many(&t, Items, keys).await.unwrap();
    assert!(found.iter().all(|found| found.as_ref().unwrap().body.contains(r#""n":2"#)));
    // Nothing to write, nothing begun.
    assert_eq!(documents.insert_many(&t, Items, vec![new("a", 3)], false).await.unwrap(), [Duplicate]);
    assert_eq!(seen(), Vec::<String>::new());

    let event = |id: &str| Event {
        event_id: id.to_owned(),
        scenario_id: "feed".to_owned(),
        user_id: "ann".to_owned(),
        item_id: "i".to_owned(),
        action_type: "click".to_owned(),
        timestamp_ms: 0,
        body: "{}".to_owned(),
        signal: None,
    };
    let hot = || vec![Effect::Hot(HotEffect { weight: 1.0, half_life_s: 60 })];
    let outcomes = events.append(&t, vec![event("e1"), event("e2")], vec![hot(), hot()]).await.unwrap();
    assert_eq!(outcomes, [AppendOutcome::Accepted; 2]);
    assert_eq!(seen(), ["begin insert", "insert", "commitTransaction"]);
    // One that is there undoes the first try; those that are new are written then.
    let outcomes = events.append(&t, vec![event("e2"), event("e3")], vec![vec![], vec![]]).await.unwrap();
    assert_eq!(outcomes, [AppendOutcome::Duplicate, AppendOutcome::Accepted]);
    assert_eq!(seen(), ["begin insert", "abortTransaction", "begin insert", "commitTransaction"]);
    assert_eq!((events.read(&t, 0, 10).await.unwrap().len(), live.batches()), (3, 1));
}
