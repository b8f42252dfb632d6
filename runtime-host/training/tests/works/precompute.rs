use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::SystemTime,
};

use async_trait::async_trait;
use funnelweb_core::id::handle;
use funnelweb_factor_documents::store::{Collection, Key, Precondition};
use funnelweb_factor_learned::store::Slate;
use funnelweb_tenant_store::Error as StoreError;
use funnelweb_training::{Ask, Error, Funnel, Made, PrecomputeParams, precompute};
use serde_json::{Value, json};

use crate::fixture::{DAY_MS, Fixture, Follower};

/// Gives everybody the item `for-<user>` and `all`, except who it fails for.
#[derive(Default)]
struct Shelf {
    fails: HashSet<String>,
    down: bool,
    asked: Mutex<Vec<String>>,
    configs: Mutex<HashSet<String>>,
}

#[async_trait]
impl Funnel for Shelf {
    fn at_once(&self) -> usize {
        3
    }

    async fn slate(&self, ask: &Ask<'_>) -> Result<Made, Error> {
        self.asked.lock().unwrap().push(ask.user_id.to_owned());
        self.configs.lock().unwrap().insert(ask.config.to_owned());
        if self.down {
            return Err(Error::Store(StoreError::Unavailable("gone".to_owned())));
        }
        let handles = vec![handle(&format!("for-{}", ask.user_id)), handle("all")];
        let failed = self.fails.contains(ask.user_id).then(|| "hot_items: no answer within 250 ms".to_owned());
        Ok(Made { handles, scores: vec![2.0, 1.0], failed })
    }
}

fn failing(users: &[&str]) -> Arc<Shelf> {
    Arc::new(Shelf { fails: users.iter().map(|user| (*user).to_owned()).collect(), ..Shelf::default() })
}

fn now_ms() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64
}

impl Fixture {
    /// Users with a profile, who were there so many days ago, each a minute before the
    /// one before.
    async fn visitors(&self, users: std::ops::Range<u64>, days: u64) {
        for user in users {
            let id = format!("u{user}");
            let event = self.event(&id, "i", "impression", now_ms() - days * DAY_MS - user * 60_000);
            self.append(vec![event]).await;
            self.insert(&self.t, Collection::UserProfiles, &id, json!({"user_id": id})).await;
        }
    }

    async fn configure(&self, config: Value) {
        let body = json!({"scenario_id": "feed", "scenario_type": "x", "config": config}).to_string();
        let key = Key::new("feed", "feed");
        let documents = &self.context.documents;
        documents.replace(&self.t, Collection::Scenarios, key, body, Precondition::None).await.unwrap();
    }

    async fn precompute(&self, version: u64, params: Value, funnel: &Arc<Shelf>) -> Result<Value, Error> {
        let params = PrecomputeParams::parse(&params).unwrap();
        precompute(&self.context, &self.target(version), &params, funnel.clone(), Follower::new()).await
    }

    async fn slate(&self, user: &str) -> Option<Slate> {
        self.context.learned.precomputed(&self.t, "feed", handle(user)).await.unwrap()
    }
}

async fn fixture() -> Fixture {
    let it = Fixture::new().await;
    let strategies = json!([{"name": "precomputed"}, {"name": "latest"}, {"name": "explore"}]);
    it.configure(json!({"recall": {"strategies": strategies}, "exploration": {"share": 0.2}})).await;
    it
}

#[tokio::test]
async fn who_was_there_lately_has_a_slate() {
    let it = fixture().await;
    it.visitors(0..30, 1).await;
    it.visitors(30..40, 20).await;
    // There, and not known.
    it.append(vec![it.event("stranger", "i", "impression", now_ms())]).await;
    let before_ms = now_ms();
    let funnel = failing(&[]);
    let outcome = it.precompute(1, json!({}), &funnel).await.unwrap();
    let counts = ["version", "users", "slates", "items", "unknown", "kept", "empty"].map(|name| outcome[name].as_u64());
    assert_eq!(counts, [1, 31, 30, 31, 1, 0, 0].map(Some), "{outcome}");
    assert_eq!(outcome["served"], true);
    let slate = it.slate("u3").await.unwrap();
    assert_eq!((slate.handles, slate.scores), (vec![handle("for-u3"), handle("all")], vec![2.0, 1.0]));
    assert!((before_ms..=now_ms()).contains(&slate.made_ms));
    assert!(it.slate("u30").await.is_none() && it.slate("stranger").await.is_none());
    // By the scenario's funnel, without what is drawn anew and without itself.
    let configs = funnel.configs.lock().unwrap().clone();
    let config: Value = serde_json::from_str(configs.iter().next().unwrap()).unwrap();
    let names: Vec<&Value> =
        config["recall"]["strategies"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!((configs.len(), names, &config["exploration"]["share"]), (1, vec![&json!("latest")], &json!(0.0)));

    // The last ones of a longer time.
    let outcome = it.precompute(2, json!({"active_days": 30, "max_users": 5}), &failing(&[])).await.unwrap();
    assert_eq!(outcome["users"], 5);
    assert!(it.slate("stranger").await.is_none() && it.slate("u3").await.is_some() && it.slate("u4").await.is_none());
}

#[tokio::test]
async fn a_slate_that_fails_stays_as_it_was() {
    let it = fixture().await;
    it.visitors(0..30, 1).await;
    it.precompute(1, json!({}), &failing(&["u7"])).await.unwrap();
    assert!(it.slate("u7").await.is_none());
    let first = it.slate("u8").await.unwrap();
    let outcome = it.precompute(2, json!({}), &failing(&["u8"])).await.unwrap();
    assert_eq!((&outcome["slates"], &outcome["kept"]), (&json!(30), &json!(1)));
    assert_eq!(it.slate("u8").await.unwrap(), first);
    assert!(it.slate("u9").await.unwrap().made_ms > first.made_ms && it.slate("u7").await.is_some());
}

#[tokio::test]
async fn a_run_that_fails_leaves_all_as_it_was() {
    let it = fixture().await;
    it.visitors(0..3, 1).await;
    it.precompute(1, json!({}), &failing(&[])).await.unwrap();
    let before = it.slate("u1").await;
    let error = it.precompute(2, json!({}), &failing(&["u0", "u1", "u2"])).await.unwrap_err();
    assert!(
        matches!(&error, Error::Data(text) if text.contains("hot_items: no answer") && text.contains("3 of 3")),
        "{error}"
    );
    // A store that is down may be up later.
    let down = Arc::new(Shelf { down: true, ..Shelf::default() });
    assert!(matches!(it.precompute(3, json!({}), &down).await, Err(Error::Store(StoreError::Unavailable(_)))));
    assert_eq!(down.asked.lock().unwrap().len(), 9, "each is asked for three times");
    it.configure(json!({"recall": {"strategies": [{"name": "precomputed"}]}})).await;
    let error = it.precompute(4, json!({}), &failing(&[])).await.unwrap_err().to_string();
    assert!(error.contains("`precomputed`") && error.contains("params.funnel.recall"), "{error}");
    assert_eq!((it.slate("u1").await, it.versions("slates").await), (before, vec![1]));
    // With a funnel of its own it needs none of the scenario's.
    let params = json!({"funnel": {"recall": {"strategies": [{"name": "latest"}]}}});
    it.precompute(5, params, &failing(&[])).await.unwrap();
    let late = it.precompute(4, json!({}), &failing(&[])).await;
    assert_eq!(late, Err(Error::Superseded));
}

#[tokio::test]
async fn a_run_that_is_stopped_changes_nothing() {
    let it = fixture().await;
    it.visitors(0..30, 1).await;
    it.precompute(1, json!({}), &failing(&[])).await.unwrap();
    for phase in ["reading behaviours", "making slates", "writing"] {
        let (funnel, follower) = (failing(&[]), Follower::who_cancels(phase, 0.0));
        let params = PrecomputeParams::default();
        let stopped = precompute(&it.context, &it.target(2), &params, funnel, follower).await;
        assert_eq!(stopped, Err(Error::Cancelled), "{phase}");
        assert_eq!(it.versions("slates").await, [1]);
    }
    // In the middle of it, with all but a few to go.
    let (funnel, follower) = (failing(&[]), Follower::who_cancels("making slates", 0.2));
    let params = PrecomputeParams::default();
    assert_eq!(precompute(&it.context, &it.target(2), &params, funnel.clone(), follower).await, Err(Error::Cancelled));
    assert!(funnel.asked.lock().unwrap().len() < 15);
}

#[tokio::test]
async fn when_nobody_was_there_nobody_has_a_slate() {
    let it = fixture().await;
    it.visitors(0..3, 1).await;
    it.precompute(1, json!({}), &failing(&[])).await.unwrap();
    for user in 0..3 {
        it.context.documents.delete_user(&it.t, format!("u{user}")).await.unwrap();
    }
    let outcome = it.precompute(2, json!({}), &failing(&[])).await.unwrap();
    assert_eq!((&outcome["users"], &outcome["note"]), (&json!(0), &json!("nobody was there")));
    assert!(it.slate("u1").await.is_none());
}
