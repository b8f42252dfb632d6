//! A tenant with a scenario, items and behaviours, and somebody who follows a run.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use funnelweb_blob_store::{FileBlobs, store::Blobs};
use funnelweb_core::{
    behavior::{Facts, Lesson, Weighing},
    id::handle,
    scenario::Behaviors,
};
use funnelweb_factor_documents::{
    SqliteDocuments,
    profile::ProfileEffect,
    store::{Collection, Key, NewDocument},
};
use funnelweb_factor_events::{
    SqliteEvents,
    store::{Effect, Event},
};
use funnelweb_factor_learned::{
    LearnedModels,
    store::{Learned, Relation},
};
use funnelweb_factor_live::SqliteLive;
use funnelweb_factor_vectors::{EmbeddedVectors, store::Vectors};
use funnelweb_tenant_store::{Tenant, TenantStores};
use funnelweb_training::{Context, Error, Follow, SimilarityParams, Target, similarity};
use serde_json::{Value, json};

pub struct Fixture {
    pub folder: tempfile::TempDir,
    pub context: Context,
    pub t: Tenant,
    pub numbers: AtomicU64,
}

pub const START_MS: u64 = 1_700_000_000_000;
pub const DAY_MS: u64 = 86_400_000;

impl Fixture {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let stores = Arc::new(TenantStores::new(folder.path()).unwrap());
        let documents = SqliteDocuments::new(stores.clone()).unwrap();
        let live = SqliteLive::new(stores.clone()).unwrap();
        let events = SqliteEvents::new(stores, &documents, &live).unwrap();
        let blobs: Arc<dyn Blobs> = Arc::new(FileBlobs::new(folder.path()).unwrap());
        let vectors: Arc<dyn Vectors> = Arc::new(EmbeddedVectors::new(folder.path()));
        let learned: Arc<dyn Learned> = Arc::new(LearnedModels::new(blobs.clone(), vectors.clone()));
        let checkpoint_every = Duration::from_secs(3600);
        let (documents, events) = (Arc::new(documents), Arc::new(events));
        let context = Context { documents, events, vectors, blobs, learned, checkpoint_every };
        let it = Self { folder, context, t: Tenant::new("t").unwrap(), numbers: AtomicU64::new(0) };
        it.scenario(&it.t, json!({})).await;
        it
    }

    pub async fn scenario(&self, tenant: &Tenant, behaviors: Value) {
        let body = json!({
            "scenario_id": "feed", "scenario_type": "x",
            "config": {"recall": {"strategies": []}, "behaviors": behaviors}
        });
        self.insert(tenant, Collection::Scenarios, "feed", body).await;
    }

    pub async fn insert(&self, tenant: &Tenant, collection: Collection, id: &str, body: Value) {
        let document = NewDocument { key: Key::new("feed", id), body: body.to_string() };
        self.context.documents.insert_many(tenant, collection, vec![document], true).await.unwrap();
    }

    pub async fn item(&self, id: &str, extra: Value) {
        let mut body = json!({"item_id": id, "scenario_id": "feed", "metadata": {"category": "c", "tags": ["a", id]}});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        self.insert(&self.t, Collection::Items, id, body).await;
    }

    pub fn event(&self, user: &str, item: &str, action: &str, at_ms: u64) -> Event {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        Event {
            event_id: format!("e{number}"),
            scenario_id: "feed".to_owned(),
            user_id: user.to_owned(),
            item_id: item.to_owned(),
            action_type: action.to_owned(),
            timestamp_ms: at_ms,
            body: "{}".to_owned(),
            signal: None,
        }
    }

    pub async fn append(&self, events: Vec<Event>) {
        for events in events.chunks(1000) {
            let effects = vec![Vec::new(); events.len()];
            self.context.events.append(&self.t, events.to_vec(), effects).await.unwrap();
        }
    }

    /// Appends an event with what it does to the profile, as the endpoint does.
    pub async fn behave(&self, event: Event) {
        let key = Key::new("feed", &event.item_id);
        let item = self.context.documents.get(&self.t, Collection::Items, key).await.unwrap();
        let weighing = Weighing::new(&Behaviors::default(), &event.action_type);
        let item = item.map(|item| Facts::of(&item.body));
        let lesson = item.and_then(|item| Lesson::of(&event.action_type, weighing.weight, event.timestamp_ms, &item));
        let effect = lesson.map(|Lesson { preferences, counters, recent }| {
            let half_life_s = weighing.profile_half_life_s;
            Effect::Profile(ProfileEffect { preferences, half_life_s, counters, recent })
        });
        self.context.events.append(&self.t, vec![event], vec![effect.into_iter().collect()]).await.unwrap();
    }

    /// Two tastes of 20 users each: items `a0` to `a9`, and `b0` to `b9`.
    pub async fn two_tastes(&self) {
        let mut events = Vec::new();
        for user in 0..40 {
            let taste = if user < 20 { "a" } else { "b" };
            for at in 0..5 {
                let item = format!("{taste}{}", (user * 3 + at * at) % 10);
                events.push(self.event(&format!("u{user}"), &item, "click", START_MS + at));
            }
        }
        self.append(events).await;
    }

    pub fn target(&self, version: u64) -> Target {
        Target { tenant: self.t.clone(), scenario_id: "feed".to_owned(), version, began_ms: START_MS }
    }

    pub async fn similarity(&self, version: u64, params: Value) -> Result<Value, Error> {
        let params = SimilarityParams::parse(&params).unwrap();
        similarity(&self.context, &self.target(version), &params, Follower::new()).await
    }

    pub async fn related(&self, relation: Relation, id: &str) -> Vec<u64> {
        let learned = &self.context.learned;
        learned.related(&self.t, "feed", relation, &[handle(id)], 1000).await.unwrap().handles
    }

    pub async fn versions(&self, what: &str) -> Vec<u64> {
        let listed = self.context.blobs.list(&self.t, &format!("learned/feed/{what}")).await.unwrap();
        listed.into_iter().map(|blob| blob.version).collect()
    }
}

/// Follows a run, and stops it in a phase.
#[derive(Default)]
pub struct Follower {
    pub told: Mutex<Vec<(String, f32)>>,
    cancel_at: Option<(&'static str, f32)>,
    cancelled: AtomicBool,
}

impl Follower {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    pub fn who_cancels(phase: &'static str, part: f32) -> Arc<Self> {
        Arc::new(Self { cancel_at: Some((phase, part)), ..Self::default() })
    }
}

impl Follow for Follower {
    fn at(&self, phase: &str, part: f32) {
        assert!((0.0..=1.0).contains(&part), "{phase} {part}");
        self.told.lock().unwrap().push((phase.to_owned(), part));
        if self.cancel_at.is_some_and(|(name, from)| name == phase && part >= from) {
            self.cancelled.store(true, Ordering::SeqCst);
        }
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }
}
