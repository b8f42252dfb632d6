//! The suite that every backend of [`Events`] must pass: each sentence of
//! `wit/capabilities/events.wit` has a check here. Effects are seen through the
//! capabilities that they change.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test suite: a failed check is a panic"
)]

use funnelweb_core::{id::handle, limits};
use funnelweb_factor_documents::store::{
    Collection::{self, UserProfiles},
    Documents, Key, Precondition,
};
use funnelweb_factor_live::store::Live;
use serde_json::{Value, json};

use crate::store::{
    AppendOutcome::{Accepted, Duplicate},
    *,
};

/// A backend under test, with the capabilities that its effects change.
pub struct Suite<'a> {
    /// The backend.
    pub events: &'a dyn Events,
    /// Its documents.
    pub documents: &'a dyn Documents,
    /// Its live structures.
    pub live: &'a dyn Live,
    /// The time that the backend's clock stands at.
    pub now_ms: u64,
    /// Begins the names of the tenants, so that a server can be used again.
    pub prefix: &'a str,
}

fn is_invalid<T: std::fmt::Debug>(result: Result<T, Error>, name: &str) {
    match result {
        Err(Error::Invalid(message)) => assert!(message.contains(name), "{message} does not name {name}"),
        other => panic!("expected invalid({name}), got {other:?}"),
    }
}

fn effects() -> Vec<Effect> {
    vec![
        Effect::Hot(HotEffect { weight: 2.0, half_life_s: 3600 }),
        Effect::Count(CountEffect { field: "view_count".to_owned(), amount: 1.0 }),
        Effect::Count(CountEffect { field: "watch_time".to_owned(), amount: 0.5 }),
        Effect::Profile(ProfileEffect {
            preferences: vec![
                ("category".to_owned(), "喜剧".to_owned(), 1.0),
                ("tags".to_owned(), "t".to_owned(), -0.5),
                ("author".to_owned(), "ann".to_owned(), 2.0),
            ],
            half_life_s: 3600,
            counters: vec![("total_watch_count".to_owned(), 1.0)],
            recent: true,
        }),
    ]
}

impl Suite<'_> {
    /// Runs every check.
    pub async fn run(&self) {
        self.an_event_is_applied_once().await;
        self.one_call_is_all_or_nothing().await;
        self.history_is_newest_first().await;
        self.the_log_is_read_from_an_offset().await;
        self.odd_profiles_lose_no_event().await;
        self.what_is_deleted_is_gone_and_offsets_grow().await;
        self.counters_go_with_the_last_scenario_that_has_the_item().await;
        self.tenants_are_apart().await;
        self.limits_are_errors_that_name_the_argument().await;
        self.concurrent_appends_lose_nothing().await;
        self.a_log_is_restored_as_it_was().await;
        self.what_cannot_be_restored_is_refused().await;
    }

    fn tenant(&self, name: &str) -> Tenant {
        Tenant::new(&format!("{}{name}", self.prefix)).unwrap()
    }

    fn event(&self, id: &str, user: &str, item: &str) -> Event {
        Event {
            event_id: id.to_owned(),
            scenario_id: "feed".to_owned(),
            user_id: user.to_owned(),
            item_id: item.to_owned(),
            action_type: "click".to_owned(),
            timestamp_ms: self.now_ms,
            body: json!({"event_id": id, "extra": {"城市": "北京"}}).to_string(),
            signal: Some(Signal {
                weight: 2.0,
                hot_half_life_s: 3600,
                profile_half_life_s: 7200,
                known: true,
                preferences: vec![("category".to_owned(), "喜剧".to_owned(), 2.0)],
            }),
        }
    }

    async fn append(&self, t: &Tenant, events: Vec<Event>) -> Vec<AppendOutcome> {
        let effects = vec![effects(); events.len()];
        self.events.append(t, events, effects).await.unwrap()
    }

    async fn hot(&self, t: &Tenant, item: &str) -> f32 {
        let handles = vec![handle(item)];
        self.live.hot_scores(t, "feed".to_owned(), handles, self.now_ms).await.unwrap()[0]
    }

    async fn stats(&self, t: &Tenant, item: &str) -> Vec<f64> {
        let fields = vec!["view_count".to_owned(), "watch_time".to_owned()];
        self.live.item_stats(t, "feed".to_owned(), vec![handle(item)], fields).await.unwrap()
    }

    async fn profile(&self, t: &Tenant, user: &str) -> Option<Value> {
        let found = self.documents.get(t, UserProfiles, Key::new("feed", user)).await.unwrap()?;
        Some(serde_json::from_str(&found.body).unwrap())
    }

    async fn an_event_is_applied_once(&self) {
        let t = &self.tenant("once");
        let (first, second) = (self.event("e1", "ann", "i"), self.event("e2", "ann", "i"));
        // Nothing is known yet, in memory either.
        assert_eq!((self.hot(t, "i").await, self.stats(t, "i").await), (0.0, vec![0.0, 0.0]));
        assert_eq!(self.profile(t, "ann").await, None);
        assert_eq!(
            self.append(t, vec![first.clone(), first.clone(), second.clone()]).await,
            [Accepted, Duplicate, Accepted]
        );
        for _ in 0..2 {
            assert_eq!((self.hot(t, "i").await, self.stats(t, "i").await), (4.0, vec![2.0, 1.0]));
            let profile = self.profile(t, "ann").await.unwrap();
            let expected = json!({
                "category_scores": {"喜剧": 2.0}, "tag_scores": {"t": -1.0}, "author_scores": {"ann": 4.0}
            });
            assert_eq!(profile["preferences"], expected);
            assert_eq!(profile["features"]["total_watch_count"], 2);
            assert_eq!(profile["features"]["favorite_categories"], json!(["喜剧"]));
            assert_eq!((&profile["user_id"], &profile["scenario_id"]), (&json!("ann"), &json!("feed")));
            assert_eq!(profile["recent_items"].as_array().unwrap().len(), 1);
            assert!(profile["updated_at"].is_string());
            // A replay changes nothing.
            let replay = vec![second.clone(), first.clone()];
            assert_eq!(self.append(t, replay).await, [Duplicate, Duplicate]);
        }
        assert_eq!(self.append(t, vec![]).await, []);
    }

    async fn one_call_is_all_or_nothing(&self) {
        let t = &self.tenant("all");
        let mut wrong = self.event("e2", "ann", "i");
        wrong.body = "[".to_owned();
        let events = vec![self.event("e1", "ann", "i"), wrong];
        is_invalid(self.events.append(t, events, vec![effects(), effects()]).await, "events[1].body");
        assert_eq!(self.hot(t, "i").await, 0.0);
        assert_eq!(self.events.read(t, 0, 10).await.unwrap(), []);
        assert_eq!(self.append(t, vec![self.event("e1", "ann", "i")]).await, [Accepted]);
    }

    async fn history_is_newest_first(&self) {
        let t = &self.tenant("history");
        let mut other = self.event("e4", "ann", "i1");
        other.scenario_id = "other".to_owned();
        let events =
            vec![self.event("e1", "ann", "i1"), self.event("e2", "bob", "i1"), self.event("e3", "ann", "i2"), other];
        self.append(t, events.clone()).await;
        let all = HistoryQuery { limit: 1000, ..HistoryQuery::default() };
        let text = |text: &str| Some(text.to_owned());
        let ask = async |query: &HistoryQuery| {
            let found = self.events.history(t, query.clone()).await.unwrap();
            assert!(found.is_sorted_by(|a, b| a.offset > b.offset));
            found
        };
        let ids = |found: &[StoredEvent]| found.iter().map(|one| one.event.event_id.clone()).collect::<Vec<_>>();
        let ann = HistoryQuery { user_id: text("ann"), ..all.clone() };
        let found = ask(&ann).await;
        assert_eq!(ids(&found), ["e4", "e3", "e1"]);
        assert_eq!(found[2].event, events[0]);
        assert_eq!(ids(&ask(&HistoryQuery { item_id: text("i1"), ..all.clone() }).await), ["e4", "e2", "e1"]);
        assert_eq!(ids(&ask(&HistoryQuery { item_id: text("i1"), ..ann.clone() }).await), ["e4", "e1"]);
        assert_eq!(ids(&ask(&HistoryQuery { scenario_id: text("feed"), ..ann.clone() }).await), ["e3", "e1"]);
        let page = ask(&HistoryQuery { limit: 2, ..ann.clone() }).await;
        assert_eq!(ids(&page), ["e4", "e3"]);
        assert_eq!(ids(&ask(&HistoryQuery { before: Some(page[1].offset), ..ann }).await), ["e1"]);
        is_invalid(self.events.history(t, all).await, "user-id");
    }

    async fn the_log_is_read_from_an_offset(&self) {
        let t = &self.tenant("log");
        let events: Vec<Event> = (0..5).map(|at| self.event(&format!("e{at}"), "ann", "i")).collect();
        self.append(t, events.clone()).await;
        let all = self.events.read(t, 0, 1000).await.unwrap();
        assert_eq!(all.iter().map(|one| one.event.clone()).collect::<Vec<_>>(), events);
        assert!(all.is_sorted_by(|a, b| a.offset < b.offset));
        let rest = self.events.read(t, all[2].offset, 2).await.unwrap();
        assert_eq!(rest, all[2..4]);
        assert_eq!(self.events.read(t, all[4].offset + 1, 10).await.unwrap(), []);
        assert_eq!(self.events.read(t, u64::MAX, 10).await.unwrap(), []);
    }

    async fn odd_profiles_lose_no_event(&self) {
        let t = &self.tenant("odd");
        let full = json!({"features": "x".repeat(limits::DOCUMENT_BYTES - 400), "preferences": [1]});
        let near_full = json!({"note": "x".repeat(limits::DOCUMENT_BYTES - 100)});
        for (user, body) in [("a", json!({})), ("b", json!({"preferences": 3})), ("c", full), ("d", near_full)] {
            let key = Key::new("feed", user);
            self.documents.replace(t, UserProfiles, key, body.to_string(), Precondition::None).await.unwrap();
            assert_eq!(self.append(t, vec![self.event(user, user, user)]).await, [Accepted]);
            assert_eq!(self.hot(t, user).await, 2.0);
            let profile = self.profile(t, user).await.unwrap();
            // One that has no room for more is left as it is.
            let moved = user != "d";
            assert_eq!(profile["preferences"]["category_scores"]["喜剧"] == 1.0, moved, "{user}");
        }
    }

    async fn what_is_deleted_is_gone_and_offsets_grow(&self) {
        let t = &self.tenant("deleted");
        self.append(t, vec![self.event("e1", "ann", "i"), self.event("e2", "bob", "i"), self.event("e3", "ann", "i")])
            .await;
        self.live.expose(t, "feed".to_owned(), Some("ann".to_owned()), vec!["i".to_owned()], 60).await.unwrap();
        let last = self.events.read(t, 0, 10).await.unwrap()[2].offset;
        assert_eq!(self.documents.delete_user(t, "ann".to_owned()).await.unwrap(), 3);
        assert_eq!(self.profile(t, "ann").await, None);
        assert!(self.live.exposed(t, "feed".to_owned(), "ann".to_owned()).await.unwrap().is_empty());
        let left = self.events.read(t, 0, 10).await.unwrap();
        assert_eq!(left.iter().map(|one| one.event.user_id.as_str()).collect::<Vec<_>>(), ["bob"]);
        self.append(t, vec![self.event("e4", "ann", "i")]).await;
        assert!(self.events.read(t, 0, 10).await.unwrap()[1].offset > last);
        assert_eq!(self.documents.delete_scenario(t, "feed".to_owned()).await.unwrap(), 4);
        assert_eq!((self.events.read(t, 0, 10).await.unwrap().len(), self.hot(t, "i").await), (0, 0.0));
    }

    async fn counters_go_with_the_last_scenario_that_has_the_item(&self) {
        let t = &self.tenant("counters");
        for scenario in ["feed", "news"] {
            let whole = |key: Key| (key, json!({"metadata": {}}).to_string());
            for (collection, (key, body)) in [
                (Collection::Scenarios, whole(Key::new(scenario, scenario))),
                (Collection::Items, whole(Key::new(scenario, "i"))),
            ] {
                self.documents.replace(t, collection, key, body, Precondition::None).await.unwrap();
            }
        }
        self.append(t, vec![self.event("e", "ann", "i")]).await;
        self.documents.delete_scenario(t, "news".to_owned()).await.unwrap();
        assert_eq!(self.stats(t, "i").await, [1.0, 0.5]);
        self.documents.delete_scenario(t, "feed".to_owned()).await.unwrap();
        assert_eq!(self.stats(t, "i").await, [0.0, 0.0]);
    }

    async fn tenants_are_apart(&self) {
        let (a, b) = (&self.tenant("apart-a"), &self.tenant("apart-b"));
        self.append(a, vec![self.event("e1", "ann", "i")]).await;
        assert_eq!((self.hot(b, "i").await, self.profile(b, "ann").await), (0.0, None));
        assert_eq!(self.events.read(b, 0, 10).await.unwrap(), []);
        // The same event id is new to another tenant.
        assert_eq!(self.append(b, vec![self.event("e1", "ann", "i")]).await, [Accepted]);
        self.documents.delete_user(b, "ann".to_owned()).await.unwrap();
        assert_eq!(self.events.read(a, 0, 10).await.unwrap().len(), 1);
        assert!(self.profile(a, "ann").await.is_some());
    }

    async fn limits_are_errors_that_name_the_argument(&self) {
        let t = &self.tenant("limits");
        let one = |change: fn(&mut Event)| {
            let mut event = self.event("e", "ann", "i");
            change(&mut event);
            self.events.append(t, vec![event], vec![vec![]])
        };
        is_invalid(one(|event| event.event_id = "a/b".to_owned()).await, "events[0].event-id");
        is_invalid(one(|event| event.user_id.clear()).await, "events[0].user-id");
        is_invalid(one(|event| event.item_id = "x".repeat(limits::ID_BYTES + 1)).await, "events[0].item-id");
        is_invalid(one(|event| event.action_type = "x".repeat(limits::ACTION_TYPE_BYTES + 1)).await, "action-type");
        is_invalid(one(|event| event.timestamp_ms += limits::EVENT_FUTURE_MS + 1).await, "timestamp-ms");
        is_invalid(one(|event| event.body = "[]".to_owned()).await, "events[0].body");
        is_invalid(one(|event| event.body = " ".repeat(limits::DOCUMENT_BYTES + 1)).await, "events[0].body");
        one(|event| event.timestamp_ms += limits::EVENT_FUTURE_MS).await.unwrap();
        one(|event| {
            event.event_id = "at-the-limits".to_owned();
            event.item_id = "x".repeat(limits::ID_BYTES);
            event.action_type = "x".repeat(limits::ACTION_TYPE_BYTES);
        })
        .await
        .unwrap();
        let with = |effects: Vec<Effect>| self.events.append(t, vec![self.event("f", "ann", "i")], vec![effects]);
        let hot = |weight, half_life_s| vec![Effect::Hot(HotEffect { weight, half_life_s })];
        is_invalid(with(hot(f64::NAN, 1)).await, "weight");
        is_invalid(with(hot(f64::INFINITY, 1)).await, "weight");
        is_invalid(with(hot(1.0, 0)).await, "half-life-s");
        with(vec![hot(1.0, 1).remove(0); limits::EVENT_EFFECTS]).await.unwrap();
        is_invalid(with(vec![hot(1.0, 1).remove(0); limits::EVENT_EFFECTS + 1]).await, "effects[0]");
        is_invalid(with(vec![Effect::Count(CountEffect { field: String::new(), amount: 1.0 })]).await, "field");
        let many = |count: usize| {
            let events = (0..count).map(|at| self.event(&at.to_string(), "ann", "i")).collect();
            self.events.append(t, events, vec![vec![]; count])
        };
        assert_eq!(many(limits::EVENTS).await.unwrap().len(), limits::EVENTS);
        is_invalid(many(limits::EVENTS + 1).await, "events");
        is_invalid(self.events.append(t, vec![self.event("g", "ann", "i")], vec![]).await, "effects");
        let page = self.events.read(t, 0, limits::HISTORY_EVENTS).await.unwrap();
        assert_eq!(page.len(), limits::HISTORY_EVENTS as usize);
        is_invalid(self.events.read(t, 0, 0).await, "limit");
        is_invalid(self.events.read(t, 0, limits::HISTORY_EVENTS + 1).await, "limit");
    }

    async fn concurrent_appends_lose_nothing(&self) {
        let t = &self.tenant("race");
        let task = async |task: usize| {
            for round in 0..25 {
                let event = self.event(&format!("e{task}-{round}"), "ann", "i");
                assert_eq!(self.append(t, vec![event.clone(), event]).await, [Accepted, Duplicate]);
            }
        };
        tokio::join!(task(0), task(1), task(2), task(3), task(4), task(5), task(6), task(7));
        assert_eq!(self.hot(t, "i").await, 400.0);
        assert_eq!(self.stats(t, "i").await, [200.0, 100.0]);
        assert_eq!(self.profile(t, "ann").await.unwrap()["features"]["total_watch_count"], 200);
        assert_eq!(self.events.read(t, 0, 1000).await.unwrap().len(), 200);
    }

    async fn a_log_is_restored_as_it_was(&self) {
        let (from, to) = (&self.tenant("restore-from"), &self.tenant("restore-to"));
        let id = |at: usize| format!("e{at}");
        self.append(from, (0..10).map(|at| self.event(&id(at), ["ann", "bob", "cid"][at % 3], "i")).collect()).await;
        // A gap in the middle and at the end.
        self.documents.delete_user(from, "bob".to_owned()).await.unwrap();
        self.append(from, vec![self.event("last", "bob", "i")]).await;
        self.documents.delete_user(from, "bob".to_owned()).await.unwrap();
        self.events.settle(from).await.unwrap();
        let all = self.events.read(from, 0, 1000).await.unwrap();
        assert_eq!(all.len(), 7);
        let last = self.events.last_offset(from).await.unwrap();
        assert!(last > all[6].offset);
        for _ in 0..2 {
            // In parts, and one of them twice.
            for part in [0..3, 2..5, 5..7] {
                self.events.restore(to, all[part].to_vec()).await.unwrap();
            }
            self.events.raise_last_offset(to, last).await.unwrap();
            self.events.settle(to).await.unwrap();
            assert_eq!(self.events.read(to, 0, 1000).await.unwrap(), all);
            assert_eq!(self.events.last_offset(to).await.unwrap(), last);
        }
        // No effects came with it, and life goes on.
        assert_eq!((self.hot(to, "i").await, self.profile(to, "ann").await), (0.0, None));
        let again = vec![self.event("e0", "ann", "i"), self.event("new", "ann", "i")];
        assert_eq!(self.append(to, again).await, [Duplicate, Accepted]);
        let query = HistoryQuery { user_id: Some("ann".to_owned()), limit: 10, ..HistoryQuery::default() };
        let history = self.events.history(to, query).await.unwrap();
        let ids: Vec<&str> = history.iter().map(|one| one.event.event_id.as_str()).collect();
        assert_eq!(ids, ["new", "e9", "e6", "e3", "e0"]);
        assert!(history[0].offset > last);
        assert_eq!(self.documents.delete_user(to, "cid".to_owned()).await.unwrap(), 3);
        self.events.raise_last_offset(to, 1).await.unwrap();
        assert!(self.events.last_offset(to).await.unwrap() > last);
    }

    async fn what_cannot_be_restored_is_refused(&self) {
        let t = &self.tenant("unrestored");
        let at = |offset: u64, id: &str| StoredEvent { offset, event: self.event(id, "ann", "i") };
        self.events.restore(t, vec![]).await.unwrap();
        self.events.restore(t, vec![at(3, "a"), at(5, "b")]).await.unwrap();
        let restore = async |events: Vec<StoredEvent>| self.events.restore(t, events).await;
        is_invalid(restore(vec![at(0, "c")]).await, "events");
        is_invalid(restore(vec![at(9, "c"), at(8, "d")]).await, "events");
        is_invalid(restore(vec![at(u64::MAX, "c")]).await, "events");
        is_invalid(restore(vec![at(9, "a/b")]).await, "events[0].event-id");
        is_invalid(restore((1..=limits::EVENTS as u64 + 1).map(|n| at(n, &n.to_string())).collect()).await, "events");
        // The place is another's, or the event has another place.
        is_invalid(restore(vec![at(5, "c")]).await, "offset 5");
        is_invalid(restore(vec![at(9, "a")]).await, "offset 9");
        let left = self.events.read(t, 0, 10).await.unwrap();
        assert_eq!(left, [at(3, "a"), at(5, "b")]);
    }
}
