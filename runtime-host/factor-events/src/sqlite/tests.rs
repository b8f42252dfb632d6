//! The conformance suite on SQLite, and what is particular to it: what is held
//! back in the journal and what the tables have make one whole.

use funnelweb_core::id;
use funnelweb_factor_documents::store::{Collection::UserProfiles, Documents, Key, NewDocument, Precondition, Query};
use funnelweb_factor_live::store::Live;
use serde_json::{Value, json};

use super::*;
use crate::{
    conformance::Suite,
    store::{CountEffect, HotEffect, ProfileEffect},
};

mod apart;

const NOW_MS: u64 = 1_700_000_000_000;

/// Everything that an event changes.
struct Stores {
    documents: SqliteDocuments,
    live: SqliteLive,
    events: SqliteEvents,
}

fn open_with(folder: &std::path::Path, capacity: usize) -> Stores {
    let stores = Arc::new(TenantStores::with(folder, Arc::new(|| NOW_MS), capacity).unwrap());
    let documents = SqliteDocuments::new(stores.clone()).unwrap();
    let live = SqliteLive::new(stores.clone()).unwrap();
    let events = SqliteEvents::new(stores, &documents, &live).unwrap();
    Stores { documents, live, events }
}

fn open(folder: &std::path::Path) -> Stores {
    open_with(folder, 4)
}

fn tenant() -> Tenant {
    Tenant::new("t").unwrap()
}

fn feed() -> String {
    "feed".to_owned()
}

fn event(id: &str, user: &str, item: &str) -> Event {
    Event {
        event_id: id.to_owned(),
        scenario_id: feed(),
        user_id: user.to_owned(),
        item_id: item.to_owned(),
        action_type: "click".to_owned(),
        timestamp_ms: NOW_MS,
        body: "{}".to_owned(),
        signal: None,
    }
}

fn effects() -> Vec<Effect> {
    vec![
        Effect::Hot(HotEffect { weight: 1.0, half_life_s: 3600 }),
        Effect::Count(CountEffect { field: "n".to_owned(), amount: 1.0 }),
        Effect::Profile(ProfileEffect {
            preferences: vec![("tags".to_owned(), "t".to_owned(), 1.0)],
            half_life_s: 3600,
            counters: vec![("seen".to_owned(), 1.0)],
            recent: true,
        }),
    ]
}

impl Stores {
    async fn append(&self, t: &Tenant, id: &str, user: &str, item: &str) -> AppendOutcome {
        self.events.append(t, vec![event(id, user, item)], vec![effects()]).await.unwrap()[0]
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Write<'_>) -> Result<T, Error> + Send + 'static,
    ) -> T {
        let file = self.events.stores.open(&tenant()).await.unwrap();
        file.write(Durability::Durable, work).await.unwrap()
    }

    async fn settle(&self) {
        self.write(|write| write.settle()).await;
    }

    async fn rows(&self, table: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM {table}");
        self.write(move |write| Ok(write.query_row(&sql, [], |row| row.get(0))?)).await
    }

    async fn profile(&self, t: &Tenant, user: &str) -> Option<(u64, Value)> {
        let found = self.documents.get(t, UserProfiles, Key::new("feed", user)).await.unwrap()?;
        Some((found.version, serde_json::from_str(&found.body).unwrap()))
    }

    /// The hot score and the counter of an item.
    async fn item(&self, t: &Tenant, item: &str) -> (f32, f64) {
        let handles = || vec![id::handle(item)];
        let hot = self.live.hot_scores(t, feed(), handles(), NOW_MS).await.unwrap()[0];
        (hot, self.live.item_stats(t, feed(), handles(), vec!["n".to_owned()]).await.unwrap()[0])
    }

    async fn history(&self, t: &Tenant, query: HistoryQuery) -> Vec<String> {
        let found = self.events.history(t, query).await.unwrap();
        assert!(found.is_sorted_by(|a, b| a.offset > b.offset));
        found.into_iter().map(|one| one.event.event_id).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn conforms() {
    let folder = tempfile::tempdir().unwrap();
    let Stores { documents, live, events } = open(folder.path());
    Suite { events: &events, documents: &documents, live: &live, now_ms: NOW_MS, prefix: "" }.run().await;
}

#[tokio::test]
async fn it_does_not_show_when_the_journal_is_settled() {
    let folder = tempfile::tempdir().unwrap();
    let (s, t) = (open(folder.path()), &tenant());
    let mut last = None;
    for round in 0..6_u32 {
        let (new, old) = (format!("e{round}"), "e0");
        assert_eq!(s.append(t, &new, "ann", "i").await, AppendOutcome::Accepted);
        assert_eq!(s.append(t, old, "ann", "i").await, AppendOutcome::Duplicate);
        let count = f64::from(round + 1);
        let before = (s.profile(t, "ann").await, s.item(t, "i").await);
        assert_eq!(before.1, (count as f32, count));
        let (version, profile) = before.0.clone().unwrap();
        assert_eq!(version, u64::from(round) + 1);
        assert_eq!(
            (&profile["features"]["seen"], &profile["preferences"]["tag_scores"]["t"]),
            (&json!(round + 1), &json!(count))
        );
        if round % 2 == 1 {
            // Loading the hot list in the first round settled it.
            assert_eq!(s.rows("journal").await, if round == 1 { 1 } else { 2 });
            s.settle().await;
            assert_eq!((s.rows("journal").await, s.rows("events_by_id").await), (0, i64::from(round) + 1));
        }
        // From memory; then from another opening.
        assert_eq!((s.profile(t, "ann").await, s.item(t, "i").await), before);
        last = Some(before);
    }
    let all = HistoryQuery { user_id: Some("ann".to_owned()), limit: 10, ..HistoryQuery::default() };
    s.append(t, "e6", "ann", "other").await;
    let six = ["e6", "e5", "e4", "e3", "e2", "e1", "e0"];
    assert_eq!(s.history(t, all.clone()).await, six);
    let item = HistoryQuery { user_id: None, item_id: Some("i".to_owned()), ..all.clone() };
    assert_eq!(s.history(t, item).await, six[1..]);
    for before in 1..=7 {
        let page = HistoryQuery { before: Some(before), limit: 3, ..all.clone() };
        let from = 8 - before as usize;
        assert_eq!(s.history(t, page).await, six[from..(from + 3).min(7)], "{before}");
    }
    drop(s);
    let again = open(folder.path());
    let (version, _) = again.profile(t, "ann").await.unwrap();
    assert_eq!((version, again.item(t, "i").await), (7, last.unwrap().1));
}

#[tokio::test]
async fn what_a_killed_process_held_back_is_there_when_it_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let (s, t) = (open(folder.path()), &tenant());
    s.append(t, "e1", "ann", "i").await;
    s.settle().await;
    s.append(t, "e2", "ann", "i").await;
    s.append(t, "e3", "bob", "j").await;
    let seen = async |s: &Stores| {
        (s.profile(t, "ann").await, s.profile(t, "bob").await, s.item(t, "i").await, s.item(t, "j").await)
    };
    // The files as they are, without a checkpoint or a goodbye.
    let copy = tempfile::tempdir().unwrap();
    std::fs::create_dir(copy.path().join("tenants")).unwrap();
    for name in ["t.db", "t.db-wal"] {
        std::fs::copy(folder.path().join("tenants").join(name), copy.path().join("tenants").join(name)).unwrap();
    }
    let again = open(copy.path());
    assert_eq!(again.rows("journal").await, 0);
    assert_eq!(seen(&again).await, seen(&s).await);
    for id in ["e1", "e2", "e3"] {
        assert_eq!(again.append(t, id, "ann", "i").await, AppendOutcome::Duplicate);
    }
    assert_eq!(again.append(t, "e4", "ann", "i").await, AppendOutcome::Accepted);
    assert_eq!(again.item(t, "i").await, (3.0, 3.0));
}

#[tokio::test]
async fn a_write_of_a_profile_replaces_what_events_made_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let (s, t, key) = (open(folder.path()), &tenant(), || Key::new("feed", "ann"));
    s.append(t, "e1", "ann", "i").await;
    // A user of whom only the journal knows is found, and can be written over.
    let query = Query { scenario_id: Some(feed()), limit: 10, ..Query::default() };
    let page = s.documents.query(t, UserProfiles, query.clone()).await.unwrap();
    assert_eq!(page.documents, [s.documents.get(t, UserProfiles, key()).await.unwrap().unwrap()]);
    s.append(t, "e2", "ann", "i").await;
    let put = |body: Value, when| s.documents.replace(t, UserProfiles, key(), body.to_string(), when);
    assert!(put(json!({}), Precondition::Version(1)).await.is_err());
    let own = json!({"features": {"seen": 10, "age": 3}, "preferences": {"tag_scores": {"mine": 4.0}}});
    assert_eq!(put(own, Precondition::Version(2)).await.unwrap(), 3);
    let (_, profile) = s.profile(t, "ann").await.unwrap();
    assert_eq!(profile["preferences"]["tag_scores"], json!({"mine": 4.0}));
    assert_eq!(profile["recent_items"], Value::Null);
    s.append(t, "e3", "ann", "j").await;
    let check = async |version: u64| {
        let (found, profile) = s.profile(t, "ann").await.unwrap();
        assert_eq!(
            (found, &profile["features"]["seen"], &profile["features"]["age"]),
            (version, &json!(11), &json!(3))
        );
        assert_eq!(profile["preferences"]["tag_scores"], json!({"mine": 4.0, "t": 1.0}));
        assert_eq!(profile["recent_items"].as_array().unwrap().len(), 1);
    };
    check(4).await;
    s.settle().await;
    check(4).await;
    assert_eq!(s.documents.query(t, UserProfiles, query).await.unwrap().documents[0].version, 4);
    let patched =
        s.documents.patch(t, UserProfiles, key(), r#"{"note":1}"#.to_owned(), Precondition::None).await.unwrap();
    assert_eq!(patched.version, 5);
    check(5).await;
    let new = NewDocument { key: key(), body: "{}".to_owned() };
    s.documents.insert_many(t, UserProfiles, vec![new], true).await.unwrap();
    assert_eq!(s.profile(t, "ann").await.unwrap().1["features"], Value::Null);
    s.append(t, "e4", "ann", "j").await;
    assert!(s.documents.delete(t, UserProfiles, key(), Precondition::Exists).await.unwrap());
    assert_eq!((s.profile(t, "ann").await, s.rows("profile_states").await), (None, 0));
    // The next event makes a new one, at a version that never was.
    s.append(t, "e5", "ann", "j").await;
    let (version, profile) = s.profile(t, "ann").await.unwrap();
    assert_eq!((version, &profile["features"]["seen"]), (8, &json!(1)));
    s.settle().await;
    assert_eq!(s.profile(t, "ann").await.unwrap(), (version, profile));
}

#[tokio::test]
async fn what_is_held_back_is_deleted_too() {
    let folder = tempfile::tempdir().unwrap();
    let (s, t) = (open(folder.path()), &tenant());
    let items = ["i", "j"].map(|item| NewDocument { key: Key::new("feed", item), body: "{}".to_owned() }).to_vec();
    s.documents.insert_many(t, funnelweb_factor_documents::store::Collection::Items, items, false).await.unwrap();
    s.append(t, "e1", "ann", "i").await;
    s.append(t, "e2", "bob", "j").await;
    assert_eq!(s.item(t, "j").await, (1.0, 1.0));
    assert_eq!(s.documents.delete_user(t, "ann".to_owned()).await.unwrap(), 2);
    assert_eq!((s.profile(t, "ann").await, s.rows("events").await, s.rows("events_by_id").await), (None, 1, 1));
    // Its id is free again; counters of items outlive users.
    assert_eq!(s.append(t, "e1", "ann", "i").await, AppendOutcome::Accepted);
    assert_eq!(s.item(t, "i").await.1, 2.0);
    s.append(t, "e3", "bob", "elsewhere").await;
    assert_eq!(s.documents.delete_scenario(t, feed()).await.unwrap(), 2 + 2 + 3);
    for table in
        ["events", "events_by_id", "events_by_user", "events_by_item", "journal", "hot_items", "profile_states"]
    {
        assert_eq!(s.rows(table).await, 0, "{table}");
    }
    assert_eq!((s.item(t, "i").await, s.item(t, "j").await), ((0.0, 0.0), (0.0, 0.0)));
    // An item that the scenario never had is not its own.
    assert_eq!(s.rows("item_stats").await, 1);
}

#[tokio::test]
async fn a_log_of_the_first_schema_is_carried_over() {
    let folder = tempfile::tempdir().unwrap();
    let s = open(folder.path());
    s.append(&tenant(), "e0", "ann", "i").await;
    s.documents.delete_user(&tenant(), "ann".to_owned()).await.unwrap();
    // The file as it was.
    let old = include_str!("schema.sql");
    let undo = format!(
        "DROP TABLE events; DROP TABLE events_by_id; DROP TABLE events_by_user; DROP TABLE events_by_item;
         DROP TABLE journal; DROP TABLE log_ends; {old}
         INSERT INTO events VALUES (7, 'e1', 'feed', 'ann', 'i', 'click', 5, '{{}}'), (9, 'e2', 'feed', 'ann', 'j', 'click', 5, '{{}}');
         UPDATE schema_versions SET version = 1 WHERE part = 'events'"
    );
    s.write(move |write| Ok(write.execute_batch(&undo)?)).await;
    drop(s);
    let (s, t) = (open(folder.path()), &tenant());
    let ann = HistoryQuery { user_id: Some("ann".to_owned()), limit: 10, ..HistoryQuery::default() };
    assert_eq!(s.history(t, ann).await, ["e2", "e1"]);
    assert_eq!(s.append(t, "e1", "ann", "i").await, AppendOutcome::Duplicate);
    assert_eq!(s.append(t, "e3", "ann", "i").await, AppendOutcome::Accepted);
    assert_eq!(s.events.read(t, 0, 10).await.unwrap()[2].offset, 10);
}

#[tokio::test]
async fn a_full_journal_is_settled_on_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let (s, t) = (open(folder.path()), &tenant());
    let many = HELD_EVENTS / 1000 + 2;
    for batch in 0..many {
        let ids = (0..1000).map(|at| event(&format!("e{batch}-{at}"), "ann", "i")).collect();
        s.events.append(t, ids, vec![effects(); 1000]).await.unwrap();
    }
    assert!(s.rows("journal").await < many as i64);
    assert_eq!(s.item(t, "i").await, (1000.0 * many as f32, 1000.0 * many as f64));
    assert_eq!(s.profile(t, "ann").await.unwrap().0, many as u64);
    assert_eq!(s.append(t, "e0-0", "ann", "i").await, AppendOutcome::Duplicate);
    assert_eq!(s.append(t, &format!("e{}-999", many - 1), "ann", "i").await, AppendOutcome::Duplicate);
}

#[tokio::test]
async fn a_failure_after_the_insert_takes_the_event_back() {
    let folder = tempfile::tempdir().unwrap();
    let events = open(folder.path()).events;
    let t = Tenant::new("t").unwrap();
    let event = Event {
        event_id: "e".to_owned(),
        scenario_id: "s".to_owned(),
        user_id: "u".to_owned(),
        item_id: "i".to_owned(),
        action_type: "click".to_owned(),
        timestamp_ms: NOW_MS,
        body: "{}".to_owned(),
        signal: None,
    };
    let file = events.stores.open(&t).await.unwrap();
    let change = async |sql: &'static str| {
        file.write(Durability::Durable, move |write| write.execute_batch(sql).map_err(Error::from)).await.unwrap();
    };
    let append = async || {
        let hot = Effect::Hot(HotEffect { weight: 1.0, half_life_s: 1 });
        events.append(&t, vec![event.clone()], vec![vec![hot]]).await
    };
    change("ALTER TABLE journal RENAME TO away").await;
    assert!(matches!(append().await, Err(Error::Unavailable(_))));
    assert_eq!(events.read(&t, 0, 10).await.unwrap(), []);
    change("ALTER TABLE away RENAME TO journal").await;
    assert_eq!(append().await, Ok(vec![AppendOutcome::Accepted]));
}

#[tokio::test]
async fn the_begin_of_a_log_that_is_old_is_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let Stores { events, .. } = open(folder.path());
    let at = |number: u64, timestamp_ms: u64| Event { timestamp_ms, ..event(&format!("e{number}"), "ann", "i") };
    let old = NOW_MS - 1000;
    let mut all: Vec<Event> = (0..1500).map(|number| at(number, old)).collect();
    // One that is newer, with an old one behind it.
    all.extend([at(1500, NOW_MS), at(1501, old)]);
    for part in all.chunks(500) {
        events.append(&tenant(), part.to_vec(), vec![vec![]; part.len()]).await.unwrap();
    }
    let left = async || events.read(&tenant(), 0, 1000).await.unwrap();
    let expire = async |below: u64| events.expire(&tenant(), NOW_MS, below).await.unwrap();
    // Offsets begin at 1.
    assert_eq!(expire(1).await, 0);
    assert_eq!((expire(11).await, left().await[0].offset), (10, 11));
    assert_eq!((expire(u64::MAX).await, expire(u64::MAX).await, expire(u64::MAX).await), (1000, 490, 0));
    let ids: Vec<String> = left().await.into_iter().map(|stored| stored.event.event_id).collect();
    assert_eq!(ids, ["e1500", "e1501"]);
    // Nothing is found by what is gone, and its offsets stay given.
    let query = HistoryQuery { user_id: Some("ann".to_owned()), limit: 10, ..HistoryQuery::default() };
    assert_eq!(events.history(&tenant(), query).await.unwrap().len(), 2);
    assert_eq!(events.last_offset(&tenant()).await.unwrap(), 1502);
    let new = vec![at(9999, NOW_MS)];
    events.append(&tenant(), new, vec![vec![]]).await.unwrap();
    assert_eq!(left().await[2].offset, 1503);
}
