//! Whether recommendations are any good: in the demo's worlds the tastes are
//! known, so it is known how well a slate suits a user. For users with a history
//! it must suit better than what is popular.

use std::time::SystemTime;

use funnelweb_demo::{Kind, SEED, Size, World};
use funnelweb_import::load_demo;
use serde_json::{Value, json};

use crate::{
    fixtures::{slate, strings},
    harness::{Client, shared},
};

/// How much better than the popular slate, in mean probability of a click.
const MARGIN: f32 = 0.10;
const COUNT: usize = 10;

fn load(kind: Kind) -> (Client, World) {
    let now_ms = u64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    let size = Size { items: 2_000, users: 200, events: 8_000 };
    let world = World::new(kind, size, SEED, now_ms).unwrap();
    let tenant = format!("truth-{}", kind.name());
    let importer = funnelweb_import::Client::new(&shared().url(), &tenant).unwrap();
    let loaded = load_demo(&importer, &world, &mut |_| {}).unwrap();
    assert_eq!((loaded.items.created, loaded.behaviors.accepted), (2_000, 8_000), "{loaded:?}");
    (shared().tenant(&tenant), world)
}

/// The mean affinity of all users' slates, and the stages that degraded.
fn measure(client: &Client, world: &World) -> (f32, Vec<String>) {
    let mut sum = 0.0;
    let mut degraded = Vec::new();
    for user in 0..world.size().users {
        let id = world.user_id(user);
        let body = json!({"scenario_id": world.scenario_id(), "count": COUNT});
        let reply = client.post("/api/v1/recommend", &body).user(&id).expect(200);
        let items = slate(&reply);
        assert_eq!(items.len(), COUNT, "{id}");
        sum += world.mean_affinity(user, &items);
        degraded = strings(&reply.json()["degraded"], "stage");
    }
    (sum / world.size().users as f32, degraded)
}

fn mean(world: &World, slate: impl Fn(u32) -> Vec<String>) -> f32 {
    let users = world.size().users;
    (0..users).map(|user| world.mean_affinity(user, &slate(user))).sum::<f32>() / users as f32
}

/// The scenario with only stages that are built.
fn built(world: &World) -> Value {
    let mut scenario: Value = serde_json::from_str(world.scenario_json()).unwrap();
    let hot = if world.kind() == Kind::News { "hot_news" } else { "hot_items" };
    scenario["config"] = json!({
        "features": {"item_features": [
            {"name": "category", "type": "categorical", "weight": 2.0},
            {"name": "tags", "type": "multi_categorical", "weight": 3.0},
            {"name": "hot_score", "type": "numeric", "weight": 0.5},
            {"name": "publish_time", "type": "timestamp", "weight": 0.3}
        ]},
        "recall": {"strategies": [
            {"name": hot, "weight": 0.3, "limit": 200},
            {"name": "content_based", "weight": 0.6, "limit": 300},
            {"name": "latest", "weight": 0.1, "limit": 50}
        ]},
        "rank": {"model": "linear"},
        "exposure": {"enabled": false},
        "cache": {"enabled": false}
    });
    scenario
}

/// Compares. The shipped scenario is held to the margin as well where one of its
/// channels that know the user is built.
fn compare(kind: Kind) {
    let (client, world) = load(kind);
    let popular = mean(&world, |_| world.popular(COUNT));
    let best = mean(&world, |user| world.best(user, COUNT));
    let (shipped, degraded) = measure(&client, &world);
    client.put(&format!("/api/v1/scenarios/{}", world.scenario_id()), &built(&world)).expect(200);
    let (built, none) = measure(&client, &world);
    println!(
        "{}: popular {popular:.3}, shipped {shipped:.3} (without {degraded:?}), linear {built:.3}, best possible {best:.3}",
        kind.name()
    );
    assert!(none.is_empty(), "{none:?}");
    assert!(built >= popular + MARGIN, "{built} against {popular}");
    if world.scenario_json().contains("content_based") {
        assert!(shipped >= popular + MARGIN, "{shipped} against {popular}");
    }
}

#[test]
fn vlog_beats_popularity() {
    compare(Kind::Vlog);
}

#[test]
fn news_beats_popularity() {
    compare(Kind::News);
}

#[test]
fn ecommerce_beats_popularity() {
    compare(Kind::Ecommerce);
}
