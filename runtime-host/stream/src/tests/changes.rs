//! What operators change of hot lists, counters and profiles.

use std::sync::Mutex;

use funnelweb_core::{decay, id::handle};
use funnelweb_factor_documents::store::{Collection, Documents, Key};
use funnelweb_factor_live::store::Live;

use super::*;
use crate::operator::{Count, Heat, Taste};

const HALF_LIFE_S: u32 = 60;

/// Says of each pane how many events it has, as heat, counters and taste; or what it is
/// told to say.
struct Warming {
    declaration: Declaration,
    says: Mutex<Option<Vec<Change>>>,
}

impl Warming {
    fn new() -> Self {
        let window = Window { size_ms: 10 * SECOND, slide_ms: 10 * SECOND };
        let declaration = Declaration { key: vec![Field::Scenario, Field::Item], window, allowed_lateness_ms: 0 };
        Self { declaration, says: Mutex::new(None) }
    }
}

#[async_trait]
impl Operator for Warming {
    fn name(&self) -> &str {
        "warming"
    }
    fn declaration(&self) -> &Declaration {
        &self.declaration
    }
    /// Times of events, each eight bytes.
    async fn aggregate(&self, batches: &[Batch]) -> Result<Vec<Vec<u8>>, Failure> {
        let one = |batch: &Batch| batch.events.iter().flat_map(|event| event.timestamp_ms.to_le_bytes()).collect();
        Ok(batches.iter().map(one).collect())
    }
    async fn merge(&self, panes: &[Vec<Vec<u8>>]) -> Result<Vec<Vec<u8>>, Failure> {
        Ok(panes.iter().map(|panes| panes.concat()).collect())
    }
    async fn changes(&self, panes: &[Aggregated]) -> Result<Vec<Vec<Change>>, Failure> {
        let says = self.says.lock().unwrap().clone();
        let one = |pane: &Aggregated| {
            let times = pane.accumulator.chunks(8).map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap()));
            let count = times.clone().count() as f64;
            let weight = times.clone().map(|at_ms| decay::factor(at_ms, pane.span.to_ms, HALF_LIFE_S)).sum();
            let (scenario_id, item_id) = (pane.key[0].clone(), pane.key[1].clone());
            let last_ms = times.max().unwrap();
            says.clone().unwrap_or_else(|| {
                vec![
                    heat(&scenario_id, &item_id, weight, last_ms),
                    Change::Count(Count { item_id: item_id.clone(), field: "seen".to_owned(), amount: count }),
                    Change::Taste(Taste {
                        scenario_id: scenario_id.clone(),
                        user_id: "ann".to_owned(),
                        half_life_s: HALF_LIFE_S,
                        preferences: vec![("category".to_owned(), item_id, weight)],
                        counters: vec![("total_seen_count".to_owned(), count)],
                        last_ms,
                    }),
                ]
            })
        };
        Ok(panes.iter().map(one).collect())
    }
    async fn summary(&self, windows: &[Aggregated]) -> Result<Vec<Vec<Output>>, Failure> {
        Ok(windows.iter().map(|_| Vec::new()).collect())
    }
}

fn heat(scenario: &str, item: &str, weight: f64, last_ms: u64) -> Change {
    let (scenario_id, item_id) = (scenario.to_owned(), item.to_owned());
    Change::Heat(Heat { scenario_id, item_id, half_life_s: HALF_LIFE_S, weight, last_ms })
}

impl World {
    async fn warm(&self, operator: &Warming, now_ms: u64) {
        while self.engine.step(&self.tenant, operator, now_ms).await.unwrap() == Outcome::Advanced {}
    }

    async fn hot(&self, item: &str, at_ms: u64) -> f64 {
        f64::from(self.live.hot_scores(&self.tenant, "feed".to_owned(), vec![handle(item)], at_ms).await.unwrap()[0])
    }

    async fn seen(&self, item: &str) -> f64 {
        let fields = vec!["seen".to_owned()];
        self.live.item_stats(&self.tenant, "feed".to_owned(), vec![handle(item)], fields).await.unwrap()[0]
    }

    async fn profile(&self) -> serde_json::Value {
        let key = Key::new("feed", "ann");
        let found = self.documents.get(&self.tenant, Collection::UserProfiles, key).await.unwrap();
        found.map_or(serde_json::Value::Null, |found| serde_json::from_str(&found.body).unwrap())
    }
}

fn is_near(found: f64, expected: f64) -> bool {
    (found - expected).abs() <= 1e-5 * expected.abs().max(1.0)
}

#[tokio::test]
async fn hot_lists_counters_and_profiles_follow_every_step() {
    let mut world = World::new();
    let operator = Warming::new();
    // In panes that are open, late, and open again.
    let times = [0, 3, 61, 1, 62, 200, 62, 201, 0];
    let at = |second: u64| NOW + second * SECOND;
    for (done, second) in times.iter().enumerate() {
        world.append(&[(at(*second), "a"), (at(*second), "b")]).await;
        world.warm(&operator, at(300)).await;
        let newest = *times[..=done].iter().max().unwrap();
        let expected: f64 =
            times[..=done].iter().map(|second| decay::factor(at(*second), at(newest), HALF_LIFE_S)).sum();
        for item in ["a", "b"] {
            assert!(is_near(world.hot(item, at(newest)).await, expected), "{done}");
            assert_eq!(world.seen(item).await, (done + 1) as f64);
        }
        let profile = world.profile().await;
        assert_eq!(profile["features"]["total_seen_count"], 2 * (done + 1));
        let score = profile["preferences"]["category_scores"]["a"].as_f64().unwrap();
        // As of the newest event that moved it.
        let as_of = profile["preferences_at_ms"].as_u64().unwrap();
        assert!(is_near(score, expected * decay::factor(at(newest), as_of, HALF_LIFE_S)), "{done} {score} {expected}");
        if done % 3 == 2 {
            world = world.again();
        }
    }
}

#[tokio::test]
async fn a_step_that_is_made_twice_changes_nothing_twice() {
    let (world, operator) = (World::new(), Warming::new());
    world.append(&vec![(NOW, "a"); 2000]).await;
    tokio::join!(world.warm(&operator, NOW), world.warm(&operator, NOW), world.warm(&operator, NOW));
    assert_eq!(world.seen("a").await, 2000.0);
    assert!(is_near(world.hot("a", NOW).await, 2000.0));
    assert_eq!(world.profile().await["features"]["total_seen_count"], 2000);
}

#[tokio::test]
async fn changes_that_cannot_be_are_refused_with_the_field() {
    let (world, operator) = (World::new(), Warming::new());
    let count = |item: &str, field: &str, amount: f64| {
        Change::Count(Count { item_id: item.to_owned(), field: field.to_owned(), amount })
    };
    let taste = |user: &str, half_life_s: u32, values: usize, last_ms: u64| {
        let value = |at: usize| ("category".to_owned(), format!("c{at}"), 1.0);
        let preferences = (0..values).map(value).collect();
        let (scenario_id, user_id) = ("feed".to_owned(), user.to_owned());
        Change::Taste(Taste { scenario_id, user_id, half_life_s, preferences, counters: vec![], last_ms })
    };
    let wrong = [
        (heat("a/b", "a", 1.0, NOW), "scenario-id"),
        (heat("feed", "", 1.0, NOW), "item-id"),
        (heat("feed", "a", f64::NAN, NOW), "weight"),
        (heat("feed", "a", 1e13, NOW), "weight"),
        (heat("feed", "a", 1.0, NOW + 10 * SECOND), "last-ms"),
        (heat("feed", "a", 1.0, 0), "last-ms"),
        (count("a b", "f", 1.0), "item-id"),
        (count("a", "", 1.0), "field"),
        (count("a", "f", f64::INFINITY), "amount"),
        (taste("", 60, 1, NOW), "user-id"),
        (taste("ann", 0, 1, NOW), "half-life-s"),
        (taste("ann", 60, limits::STREAM_PREFERENCES + 1, NOW), "preferences"),
    ];
    for (change, name) in wrong {
        *operator.says.lock().unwrap() = Some(vec![change.clone()]);
        world.append(&[(NOW, "a")]).await;
        world.warm(&operator, NOW).await;
        let (_, letter) = world.store.dead_letters(&world.tenant, 1).await.unwrap().remove(0);
        assert!(letter.reason.contains(name), "{change:?}: {}", letter.reason);
    }
    assert_eq!(world.hot("a", NOW).await, 0.0);
    assert_eq!(world.profile().await, serde_json::Value::Null);
    *operator.says.lock().unwrap() = Some(vec![taste("ann", 60, limits::STREAM_PREFERENCES, NOW)]);
    world.append(&[(NOW, "b")]).await;
    world.warm(&operator, NOW).await;
    assert_ne!(world.profile().await, serde_json::Value::Null);
}

#[tokio::test]
async fn operators_go_on_where_they_are_set() {
    let (world, operator) = (World::new(), Warming::new());
    world.append(&[(NOW, "a"), (NOW, "a"), (NOW, "a")]).await;
    let last = world.log.last_offset(&world.tenant).await.unwrap();
    let watched = Watched::new(world.log.clone(), world.store.clone(), Arc::default());
    // What has changed everything already, as logs had it that nobody followed.
    watched.restore_positions(&world.tenant, None).await.unwrap();
    world.append(&[(NOW, "a")]).await;
    world.warm(&operator, NOW).await;
    assert_eq!(world.seen("a").await, 1.0);
    let positions = watched.positions(&world.tenant).await.unwrap().unwrap();
    let of = |name: &str| positions.iter().find(|one| one.operator == name).unwrap().next;
    assert_eq!((of(""), of("warming")), (last + 1, last + 2));
    // From the second on, once more.
    let back = positions.into_iter().map(|one| Position { next: 2, ..one }).collect();
    watched.restore_positions(&world.tenant, Some(back)).await.unwrap();
    world.warm(&operator, NOW).await;
    assert_eq!(world.seen("a").await, 4.0);
    // Nobody would take what is left.
    let positions = Some(vec![Position { operator: "warming".to_owned(), next: 2, newest_ms: 0 }]);
    let refused = world.log.restore_positions(&world.tenant, positions).await.unwrap_err().to_string();
    assert!(refused.contains("warming"), "{refused}");
}

#[tokio::test]
async fn a_log_is_settled_when_all_operators_have_it() {
    let world = World::new();
    let grown = Arc::new(Grown::default());
    let watched: Arc<dyn Events> = Arc::new(Watched::new(world.log.clone(), world.store.clone(), grown.clone()));
    let operator: Arc<dyn Operator> = Arc::new(Warming::new());
    let streams = Arc::new(Streams::new(watched.clone(), world.store.clone(), vec![operator], grown.clone()));
    // What nobody follows is settled at once.
    let events: Vec<Logged> = (0..1000).map(|at| logged(at, NOW, "a")).collect();
    watched.append(&world.tenant, events, vec![vec![]; 1000]).await.unwrap();
    watched.settle(&world.tenant).await.unwrap();
    assert_eq!(world.seen("a").await, 0.0);
    assert!(grown.behind().contains_key(&world.tenant));
    let following = tokio::spawn(streams.follow());
    tokio::time::sleep(Duration::from_millis(100)).await;
    let events: Vec<Logged> = (1000..2000).map(|at| logged(at, NOW, "a")).collect();
    watched.append(&world.tenant, events, vec![vec![]; 1000]).await.unwrap();
    watched.settle(&world.tenant).await.unwrap();
    assert_eq!(world.seen("a").await, 2000.0);
    let caught_up = async {
        while !grown.behind().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), caught_up).await.unwrap();
    following.abort();
}
