//! What the demo promises: the same bytes everywhere, a plausible history, and a
//! truth that a recommender can find.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests are not recognised as tests")]

use std::collections::{BTreeMap, BTreeSet, HashMap};

use funnelweb_core::{id, scenario::Behaviors, time};
use funnelweb_demo::{Event, Kind, Size, World, worlds};

const NOW_MS: u64 = 1_767_225_600_000;

fn world(kind: Kind) -> World {
    World::new(kind, Size::default(), 7, NOW_MS).unwrap()
}

/// Changing one of these changes every measurement made on the demo.
#[test]
fn the_bytes_are_these_on_every_platform() {
    let first: [(Kind, &str, u64); 3] = [
        (
            Kind::Vlog,
            r#"{"item_id":"vlog_000000","metadata":{"author":"Ivo Lindqvist","category":"science","completion_rate":0.47,"duration":167,"hd":true,"language":"en","publish_time":"2025-12-07T02:00:59.000Z","tags":["history","biology"],"title":"The deep sea in sixty seconds"},"embedding":[0.539,0.341,-0.16,-0.117,-0.236,-0.021,-0.368,0.178,-0.253,-0.004,-0.03,-0.135,0.182,0.167,-0.426,0.08],"created_at":"2025-12-07T02:00:59.000Z"}"#,
            0x48E7_1729_0689_7FB5,
        ),
        (
            Kind::News,
            r#"{"item_id":"news_000000","metadata":{"category":"health","hot_score":62.7,"location":"Montreal","publish_time":"2025-12-31T13:52:43.000Z","source":"Morning Ledger","tags":["ageing"],"title":"Montreal: school lunch plan under review","words":147},"embedding":[-0.317,-0.017,-0.335,-0.071,0.224,0.089,-0.055,0.456,0.179,0.253,-0.317,-0.206,0.388,-0.248,-0.042,0.244],"created_at":"2025-12-31T13:52:43.000Z"}"#,
            0x5631_72FE_6B65_64B6,
        ),
        (
            Kind::Ecommerce,
            r#"{"item_id":"ecommerce_000000","metadata":{"brand":"Tarnside","category":"fashion","discount_percent":20,"price":34.99,"publish_time":"2025-12-27T05:51:39.000Z","rating":4.3,"stock":98,"tags":["slim-fit","striped"],"title":"Tarnside slim-fit sweater"},"embedding":[-0.023,-0.187,0.004,0.259,-0.339,0.253,-0.438,0.009,0.201,0.161,0.257,0.336,0.011,0.417,-0.118,0.307],"created_at":"2025-12-27T05:51:39.000Z"}"#,
            0x2EAE_BEB8_9196_F071,
        ),
    ];
    for (kind, line, digest) in first {
        let world = world(kind);
        let items: Vec<String> = world.items().map(|item| String::from_utf8(item.to_line()).unwrap()).collect();
        assert_eq!(items[0], line);
        let events = world.events().map(|event| String::from_utf8(event.to_line()).unwrap());
        let all = items.into_iter().chain(events).fold(0, |all: u64, line| all.rotate_left(5) ^ id::handle(&line));
        assert_eq!(all, digest, "{kind:?} {all:#x}");
    }
}

#[test]
fn an_item_needs_no_item_before_it() {
    let world = world(Kind::News);
    assert_eq!(world.items().nth(1_234), Some(world.item(1_234)));
}

#[test]
fn another_seed_or_kind_is_another_world() {
    let world = world(Kind::Vlog);
    let other = World::new(Kind::Vlog, Size::default(), 8, NOW_MS).unwrap();
    let same = world.items().zip(other.items()).filter(|(a, b)| a.metadata["title"] == b.metadata["title"]).count();
    assert!(same < 200, "{same}");
    assert_ne!(world.events().next().unwrap().event_id, other.events().next().unwrap().event_id);
    assert_ne!(world.affinity(0, 0), other.affinity(0, 0));
    assert_eq!(world.affinity(200, 0), 0.0);
    assert_eq!(world.affinity(0, 2_000), 0.0);
}

#[test]
fn a_history_is_plausible() {
    for kind in Kind::ALL {
        let world = world(kind);
        let events: Vec<Event> = world.events().collect();
        assert_eq!(events.len(), 8_000);
        let mut actions: BTreeMap<&str, usize> = BTreeMap::new();
        let mut users: BTreeMap<&str, usize> = BTreeMap::new();
        let mut ids = BTreeSet::new();
        for event in &events {
            *actions.entry(event.action_type).or_default() += 1;
            *users.entry(&event.user_id).or_default() += 1;
            assert!(ids.insert(&event.event_id), "{}", event.event_id);
            for text in [&event.event_id, &event.user_id, &event.item_id] {
                id::check(text).unwrap();
            }
            let at_ms = time::parse_ms(&event.timestamp).unwrap();
            assert!(at_ms <= NOW_MS);
            let item = world.item(world.item_index(&event.item_id).unwrap());
            assert!(time::parse_ms(&item.created_at).unwrap() <= at_ms, "{event:?} before {}", item.created_at);
        }
        assert_eq!(users.len(), 200);
        assert!(users.values().all(|count| *count >= 8), "{kind:?} {users:?}");
        let rate = actions["click"] as f64 / actions["impression"] as f64;
        assert!((0.15..0.4).contains(&rate), "{kind:?} {actions:?}");
        assert!(actions["like"] > 50 && actions["dislike"] > 20, "{kind:?} {actions:?}");
        // Popularity is uneven: the busiest fiftieth of the items has far more
        // than its share.
        let mut items: BTreeMap<&str, usize> = BTreeMap::new();
        events.iter().for_each(|event| *items.entry(&event.item_id).or_default() += 1);
        let mut counts: Vec<usize> = items.into_values().collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        assert!(counts.iter().take(40).sum::<usize>() > 1_600, "{kind:?} {counts:?}");
    }
}

/// A plain content-based recommender: weights of behaviours by category and tag.
fn content_based(world: &World, events: &[Event], user: &str, count: usize) -> Vec<String> {
    let behaviors = Behaviors::default();
    let mut likes: HashMap<String, f64> = HashMap::new();
    for event in events.iter().filter(|event| event.user_id == user) {
        let item = world.item(world.item_index(&event.item_id).unwrap());
        for term in terms(&item) {
            *likes.entry(term).or_default() += f64::from(behaviors.weight(event.action_type));
        }
    }
    let mut scored: Vec<(f64, String)> = world
        .items()
        .map(|item| {
            let score = terms(&item).iter().filter_map(|term| likes.get(term)).sum();
            (score, item.item_id)
        })
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    scored.into_iter().take(count).map(|(_, id)| id).collect()
}

fn terms(item: &funnelweb_demo::Item) -> Vec<String> {
    let category = item.metadata["category"].as_str().unwrap();
    let tags = item.metadata["tags"].as_array().unwrap();
    let tags = tags.iter().map(|tag| format!("{category}/{}", tag.as_str().unwrap()));
    tags.chain([category.to_owned()]).collect()
}

#[test]
fn a_taste_can_be_learned_and_beats_popularity() {
    for world in worlds(Size::default(), 7, NOW_MS).unwrap() {
        let events: Vec<Event> = world.events().collect();
        let popular = world.popular(20);
        let (mut of_popular, mut of_content, mut of_best, mut of_any) = (0.0, 0.0, 0.0, 0.0);
        let any: Vec<String> = (0..20).map(|item| world.item_id(item * 97)).collect();
        let users = 40;
        for user in 0..users {
            of_any += world.mean_affinity(user, &any) / users as f32;
            of_popular += world.mean_affinity(user, &popular) / users as f32;
            let slate = content_based(&world, &events, &world.user_id(user), 20);
            of_content += world.mean_affinity(user, &slate) / users as f32;
            of_best += world.mean_affinity(user, &world.best(user, 20)) / users as f32;
        }
        let all =
            format!("{:?}: any {of_any}, popular {of_popular}, content {of_content}, best {of_best}", world.kind());
        assert!(of_popular > of_any + 0.05, "{all}");
        assert!(of_content > of_popular + 0.15, "{all}");
        assert!(of_best > of_content + 0.15, "{all}");
    }
}
