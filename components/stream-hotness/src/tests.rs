use funnelweb_guest::aggregate::{Signal, Span};
use proptest::prelude::*;

use super::*;

const START: u64 = 1_767_225_600_000;
const SLIDE: u64 = 5 * MINUTE_MS;
const HALF_LIFE_S: u32 = 600;

fn event(action: &str, weight: f32, at_ms: u64) -> Event {
    let signal =
        Signal { weight, hot_half_life_s: HALF_LIFE_S, profile_half_life_s: 9, known: true, preferences: vec![] };
    Event {
        event_id: "e".to_owned(),
        scenario_id: "feed".to_owned(),
        user_id: "u".to_owned(),
        item_id: "i".to_owned(),
        action_type: action.to_owned(),
        timestamp_ms: at_ms,
        group: String::new(),
        completion_rate: None,
        watch_duration: (action == "watch").then_some(2.5),
        signal: (weight != 0.0).then_some(signal),
    }
}

fn key() -> Vec<String> {
    vec!["feed".to_owned(), "i".to_owned()]
}

fn pane(at_ms: u64) -> Span {
    let from_ms = at_ms - at_ms % SLIDE;
    Span { from_ms, to_ms: from_ms + SLIDE }
}

/// What events add to what a pane had before.
fn add(before: Option<Vec<u8>>, events: &[Event], pane: Span) -> Vec<u8> {
    let new = Operator::aggregate(vec![Batch { key: key(), pane, events: events.to_vec() }]).unwrap().remove(0);
    match before {
        None => new,
        Some(before) => Operator::merge(vec![vec![before, new]]).unwrap().remove(0),
    }
}

fn of(accumulator: Vec<u8>, span: Span) -> Vec<Aggregated> {
    vec![Aggregated { key: key(), span, accumulator }]
}

fn changes(accumulator: Vec<u8>, span: Span) -> Vec<String> {
    let shown = |change| match change {
        Change::Count(Count { item_id, field, amount }) => format!("{item_id} {field} {amount}"),
        Change::Heat(Heat { scenario_id, item_id, half_life_s, weight, last_ms }) => {
            format!("{scenario_id} {item_id} {half_life_s} {weight} {}", last_ms - START)
        }
        other => panic!("{other:?}"),
    };
    Operator::changes(of(accumulator, span)).unwrap().remove(0).into_iter().map(shown).collect()
}

#[test]
fn actions_heat_and_count() {
    // A half-life before the end of the pane, and at its last moment but one.
    let span = Span { from_ms: START, to_ms: START + 2 * SLIDE };
    let first = add(None, &[event("click", 4.0, START), event("impression", 0.0, START + 1)], span);
    let all = add(Some(first), &[event("watch", 2.0, START), event("dislike", -4.0, START + 2)], span);
    assert_eq!(
        changes(all, span),
        [
            "i click_count 1",
            "i dislike_count 1",
            "i impression_count 1",
            "i watch_count 1",
            "i watch_duration_sum 2.5",
            "i watch_duration_count 1",
            "feed i 600 3 0"
        ]
    );
}

#[test]
fn the_last_hour_of_what_something_happened_to_is_said() {
    let events = [event("impression", 0.0, START), event("impression", 0.0, START), event("click", 4.0, START)];
    let accumulator = add(None, &events, pane(START));
    let window = |to_ms| Span { from_ms: to_ms - WINDOW.size_ms, to_ms };
    let said = |to_ms| Operator::summary(of(accumulator.clone(), window(to_ms))).unwrap().remove(0);
    let Output::Publish(message) = said(START + SLIDE).remove(0);
    assert_eq!((message.topic, message.key.as_str()), (Topic::ItemStatsUpdates, "feed/i"));
    let body: Value = serde_json::from_str(&message.body).unwrap();
    assert_eq!(
        body,
        json!({
            "scenario_id": "feed", "item_id": "i",
            "window_start": "2025-12-31T23:05:00.000Z", "window_end": "2026-01-01T00:05:00.000Z",
            "actions": {"impression": 2, "click": 1}, "impressions": 2, "views": 0, "clicks": 1, "ctr": 0.5,
            "mean_completion_rate": null, "mean_watch_s": null, "heat": 4.0 * 0.5_f64.sqrt(),
        })
    );
    // Nothing is new of it in the next five minutes.
    assert!(said(START + 2 * SLIDE).is_empty());
}

#[test]
fn an_accumulator_that_is_none_is_refused() {
    assert!(Operator::changes(of(vec![255; 3], pane(START))).unwrap_err().starts_with("accumulator"));
    let one = Aggregated { key: vec![], ..of(add(None, &[], pane(START)), pane(START)).remove(0) };
    assert!(Operator::summary(vec![one]).is_err());
}

proptest! {
    #[test]
    fn heat_agrees_with_the_raw_events(
        given in proptest::collection::vec((0..4 * SLIDE, 0..5_u8), 1..40), at in 0..40_usize
    ) {
        let mut panes: std::collections::BTreeMap<u64, Vec<Event>> = Default::default();
        for (after_ms, weight) in &given {
            let at_ms = START + after_ms;
            panes.entry(pane(at_ms).from_ms).or_default().push(event("like", f32::from(*weight), at_ms));
        }
        let end_ms = START + 4 * SLIDE;
        let accumulators: Vec<Vec<u8>> = panes.iter().map(|(from_ms, events)| {
            let (first, second) = events.split_at(at.min(events.len()));
            let pane = pane(*from_ms);
            add(Some(add(None, first, pane)), second, pane)
        }).collect();
        let merged = Operator::merge(vec![accumulators]).unwrap().remove(0);
        let stats = Stats::read(&merged).unwrap();
        let expected: f64 = given.iter().map(|(after_ms, weight)| {
            f64::from(*weight) * decay::factor(START + after_ms, end_ms, HALF_LIFE_S)
        }).sum();
        let heat = stats.warmth.map_or(0.0, |warmth| {
            warmth.weight * decay::factor(warmth.as_of_ms, end_ms, HALF_LIFE_S)
        });
        prop_assert!((heat - expected).abs() <= 1e-9 * expected.max(1.0), "{heat} {expected}");
        prop_assert_eq!(stats.actions.of("like"), given.len() as u64);
        prop_assert_eq!(stats.last_ms, START + given.iter().map(|(after_ms, _)| *after_ms).max().unwrap());
    }
}
