use funnelweb_core::limits;
use funnelweb_guest::aggregate::Span;
use proptest::prelude::*;

use super::*;

const START: u64 = 1_767_225_600_000 + 13 * 3_600_000;
const SPAN: Span = Span { from_ms: START, to_ms: START + 5 * MINUTE_MS };
const HALF_LIFE_S: u32 = 300;

fn event(action: &str, category: &str, weight: f32, at_ms: u64) -> Event {
    let signal = Signal {
        weight,
        hot_half_life_s: 9,
        profile_half_life_s: HALF_LIFE_S,
        known: !category.is_empty(),
        preferences: vec![("category".to_owned(), category.to_owned(), weight)],
    };
    Event {
        event_id: "e".to_owned(),
        scenario_id: "feed".to_owned(),
        user_id: "ann".to_owned(),
        item_id: "i".to_owned(),
        action_type: action.to_owned(),
        timestamp_ms: at_ms,
        group: String::new(),
        completion_rate: None,
        watch_duration: None,
        signal: (weight != 0.0).then_some(signal),
    }
}

fn key() -> Vec<String> {
    vec!["feed".to_owned(), "ann".to_owned()]
}

/// What events add to what a pane had before.
fn add(before: Option<Vec<u8>>, events: &[Event]) -> Vec<u8> {
    let new = Operator::aggregate(vec![Batch { key: key(), pane: SPAN, events: events.to_vec() }]).unwrap().remove(0);
    match before {
        None => new,
        Some(before) => Operator::merge(vec![vec![before, new]]).unwrap().remove(0),
    }
}

fn of(accumulator: Vec<u8>) -> Vec<Aggregated> {
    vec![Aggregated { key: key(), span: SPAN, accumulator }]
}

fn taste(accumulator: Vec<u8>) -> Option<Taste> {
    let changes = Operator::changes(of(accumulator)).unwrap().remove(0);
    changes.into_iter().next().map(|change| match change {
        Change::Taste(taste) => taste,
        other => panic!("{other:?}"),
    })
}

#[test]
fn actions_on_known_items_are_learnt_from() {
    let doings = [
        event("view", "c", 1.0, START),
        event("dislike", "d", -4.0, START + 1),
        event("like", "", 3.0, START + 2),
        event("impression", "c", 0.0, START + 3),
    ];
    let (first, second) = doings.split_at(1);
    let all = add(Some(add(None, first)), second);
    let taste = taste(all.clone()).unwrap();
    assert_eq!((taste.scenario_id.as_str(), taste.user_id.as_str(), taste.half_life_s), ("feed", "ann", HALF_LIFE_S));
    assert_eq!(taste.last_ms, START + 1);
    // A half-life before the end of the pane.
    assert_eq!(taste.preferences[0], ("category".to_owned(), "c".to_owned(), 0.5));
    assert!((taste.preferences[1].2 + 2.0).abs() < 1e-4);
    let counter = |name: &str, count: f64| (name.to_owned(), count);
    assert_eq!(
        taste.counters,
        [
            counter("active_hour_13", 2.0),
            counter("total_dislike_count", 1.0),
            counter("total_view_count", 1.0),
            counter("total_watch_count", 1.0)
        ]
    );
    let Output::Publish(message) = Operator::summary(of(all)).unwrap().remove(0).remove(0);
    assert_eq!((message.topic, message.key.as_str()), (Topic::UserProfileUpdates, "feed/ann"));
    let mut body: Value = serde_json::from_str(&message.body).unwrap();
    assert!((body["preferences"]["category"]["d"].take().as_f64().unwrap() + 2.0).abs() < 1e-4);
    assert_eq!(
        body,
        json!({
            "scenario_id": "feed", "user_id": "ann",
            "window_start": "2026-01-01T13:00:00.000Z", "window_end": "2026-01-01T13:05:00.000Z",
            "behaviors": 4, "actions": {"view": 1, "dislike": 1, "like": 1, "impression": 1},
            "preferences": {"category": {"c": 0.5, "d": null}}, "last_active_at": "2026-01-01T13:00:00.001Z"
        })
    );
}

#[test]
fn who_only_saw_something_is_not_learnt_from() {
    assert_eq!(taste(add(None, &[event("impression", "c", 0.0, START)])).map(|_| ()), None);
}

#[test]
fn a_program_that_likes_everything_stays_within_the_limits() {
    let long = "x".repeat(limits::TERM_BYTES - 5);
    let many: Vec<Event> = (0..2000).map(|at| event("like", &format!("{at}{long}"), 1.0, START)).collect();
    // At once, and bit by bit.
    let accumulator = many.chunks(300).fold(add(None, &many), |before, some| add(Some(before), some));
    assert!(accumulator.len() < limits::STREAM_ACCUMULATOR_BYTES, "{}", accumulator.len());
    assert!((20..limits::STREAM_PREFERENCES).contains(&taste(accumulator.clone()).unwrap().preferences.len()));
    let short: Vec<Event> = (0..2000).map(|at| event(&format!("a{at}"), &format!("{at}"), 1.0, START)).collect();
    let taste = taste(add(None, &short)).unwrap();
    assert!(
        taste.preferences.len() <= limits::STREAM_PREFERENCES && taste.counters.len() <= limits::STREAM_PREFERENCES
    );
    let Output::Publish(message) = Operator::summary(of(accumulator)).unwrap().remove(0).remove(0);
    assert!(message.body.len() <= limits::STREAM_MESSAGE_BYTES);
}

#[test]
fn an_accumulator_that_is_none_is_refused() {
    assert!(Operator::changes(of(vec![255; 3])).unwrap_err().starts_with("accumulator"));
    assert!(Operator::summary(vec![Aggregated { key: vec![], ..of(add(None, &[])).remove(0) }]).is_err());
}

proptest! {
    #[test]
    fn preferences_agree_with_the_raw_events(
        given in proptest::collection::vec((0..5 * MINUTE_MS, 0..3_u8, -3..4_i8), 0..30), at in 0..30_usize
    ) {
        let events: Vec<Event> = given.iter().map(|(after_ms, category, weight)| {
            event("rate", ["a", "b", "c"][usize::from(*category)], f32::from(*weight), START + after_ms)
        }).collect();
        let (first, second) = events.split_at(at.min(events.len()));
        let parts = add(Some(add(None, first)), second);
        for accumulator in [parts, add(None, &events)] {
            let taste = taste(accumulator);
            let learnt = |name: &str| {
                let scores = taste.iter().flat_map(|taste| &taste.preferences);
                scores.filter(|(_, value, _)| value == name).map(|(.., score)| *score).sum::<f64>()
            };
            for (category, name) in ["a", "b", "c"].iter().enumerate() {
                let expected: f64 = given.iter().filter(|(_, of, _)| usize::from(*of) == category).map(|(after_ms, _, weight)| {
                    f64::from(*weight) * decay::factor(START + after_ms, SPAN.to_ms, HALF_LIFE_S)
                }).sum();
                prop_assert!((learnt(name) - expected).abs() < 1e-9, "{name} {} {expected}", learnt(name));
            }
        }
    }
}
