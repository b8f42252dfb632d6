use serde_json::{Map, Value, json};

use super::*;

const HOUR_MS: u64 = 3_600_000;

fn event(item: &str, hour: u64, effect: ProfileEffect) -> Move {
    let at_ms = hour * HOUR_MS;
    Move { item: item.to_owned(), action: "click".to_owned(), at_ms, accepted_ms: at_ms, effect }
}

fn likes(field: &str, value: &str, score: f32) -> ProfileEffect {
    ProfileEffect {
        preferences: vec![(field.to_owned(), value.to_owned(), score)],
        half_life_s: 3600,
        counters: vec![("total_watch_count".to_owned(), 1.0)],
        recent: true,
    }
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

/// The document after the moves, by way of what is stored.
fn moved(profile: Value, moves: &[Move]) -> Value {
    let (mut document, written) = (object(profile.clone()), object(profile));
    let mut state = State::from_document(&written);
    state.apply(moves.iter());
    let bytes = state.encode().unwrap();
    let stored = State::decode(&bytes).unwrap();
    assert_eq!(stored, state);
    stored.merge_into(&mut document, "s", "u");
    Value::Object(document)
}

#[test]
fn a_first_event_makes_the_documented_shape() {
    let profile = moved(json!({}), &[event("i", 1, likes("category", "fun", 2.0))]);
    let at = "1970-01-01T01:00:00.000Z";
    let expected = json!({
        "user_id": "u", "scenario_id": "s", "preferences_at_ms": HOUR_MS,
        "features": {"total_watch_count": 1, "favorite_categories": ["fun"], "last_active_at": at},
        "preferences": {"category_scores": {"fun": 2.0}},
        "recent_items": [{"item_id": "i", "action_type": "click", "at": at}]
    });
    assert_eq!(profile, expected);
}

#[test]
fn scores_decay_and_late_events_are_decayed_themselves() {
    let events = [
        event("a", 1, likes("category", "x", 4.0)),
        event("b", 3, likes("tags", "t", -1.0)),
        event("c", 2, likes("category", "x", 2.0)),
    ];
    let expected = json!({"category_scores": {"x": 2.0}, "tag_scores": {"t": -1.0}});
    let at_once = moved(json!({}), &events);
    assert_eq!(at_once["preferences"], expected);
    let one_by_one = events.iter().fold(json!({}), |profile, one| moved(profile, std::slice::from_ref(one)));
    assert_eq!(one_by_one, at_once);
    let order: Vec<_> = at_once["recent_items"].as_array().unwrap().iter().map(|one| &one["item_id"]).collect();
    assert_eq!(order, ["b", "c", "a"]);
    assert_eq!(at_once["features"]["total_watch_count"], 3);
}

#[test]
fn what_the_api_wrote_is_kept_or_begun_anew() {
    let odd = json!({
        "features": [], "preferences": {"category_scores": {"old": 1, "bad": "x"}, "tag_scores": 7, "note": "mine"},
        "recent_items": [3, {"item_id": "z", "mine": 1}], "preferences_at_ms": "never", "embedding": [1]
    });
    let profile = moved(odd, &[event("i", 1, likes("author", "ann", 1.0))]);
    let expected =
        json!({"category_scores": {"old": 1.0}, "tag_scores": {}, "note": "mine", "author_scores": {"ann": 1.0}});
    assert_eq!(profile["preferences"], expected);
    assert_eq!(profile["embedding"], json!([1]));
    assert_eq!(profile["recent_items"][1], json!({"item_id": "z", "mine": 1}));
    assert_eq!(profile["recent_items"].as_array().unwrap().len(), 2);
    assert_eq!(profile["features"]["favorite_categories"], json!(["old"]));
}

#[test]
fn what_no_event_moved_is_left_to_the_document() {
    let own = json!({"features": {"age": 9_007_199_254_740_993_u64, "n": 1.0, "name": "x"}, "recent_items": 3});
    let still = ProfileEffect { recent: false, ..likes("category", "fun", 1.0) };
    let profile = moved(own, &[event("i", 1, still)]);
    assert_eq!(profile["features"]["age"], json!(9_007_199_254_740_993_u64));
    assert_eq!((&profile["features"]["n"], &profile["features"]["name"]), (&json!(1.0), &json!("x")));
    assert_eq!(profile["recent_items"], 3);
}

#[test]
fn many_small_steps_decay_as_one_large_one() {
    let still = |tenths_s: u64| {
        let mut event = event("i", 1, ProfileEffect { preferences: vec![], ..likes("", "", 0.0) });
        event.at_ms += tenths_s * 100;
        event
    };
    let first = event("i", 1, likes("tags", "t", 1.0));
    let steps: Vec<Move> = (0..=36_000).map(still).collect();
    let mut state = State::default();
    state.apply(std::iter::once(&first));
    for step in &steps {
        state.apply(std::iter::once(step));
    }
    let mut document = Map::new();
    state.merge_into(&mut document, "s", "u");
    let score = document["preferences"]["tag_scores"]["t"].as_f64().unwrap();
    assert!((score - 0.5).abs() < 1e-6, "{score}");
}

#[test]
fn lists_are_bounded() {
    let many = (0..300).map(|at| event(&at.to_string(), at, likes("tags", &at.to_string(), 1.0)));
    let profile = many.fold(json!({}), |profile, one| moved(profile, &[one]));
    // Of half-lives of an hour, nineteen leave more than a millionth.
    assert!(profile["preferences"]["tag_scores"].as_object().unwrap().len() <= 21);
    assert_eq!(profile["recent_items"].as_array().unwrap().len(), limits::PROFILE_RECENT_ITEMS);
    let at_once: Vec<_> = (0..300).map(|at| event("i", 1, likes("tags", &at.to_string(), at as f32))).collect();
    let profile = moved(json!({}), &at_once);
    let scores = profile["preferences"]["tag_scores"].as_object().unwrap();
    assert_eq!(scores.len(), limits::PROFILE_PREFERENCES);
    assert!(scores.contains_key("299") && !scores.contains_key("100"));
}

#[test]
fn another_format_is_not_read() {
    let mut bytes = State::default().encode().unwrap();
    bytes[0] += 1;
    assert_eq!(State::decode(&bytes), None);
    assert_eq!(State::decode(&[]), None);
}
