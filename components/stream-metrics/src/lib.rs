//! What came of what was shown, by scenario and experiment group, minute by minute.
//!
//! Counters that only grow: `funnelweb_behaviors_total{scenario, group, action}`,
//! `funnelweb_watch_seconds_total` and `funnelweb_watches_total{scenario, group}`, from
//! which rates over any time can be read. At the end of each minute the rates of that
//! minute go to the topic `recommendation-metrics`: `ctr` is clicks by impressions,
//! `conversion_rate` conversions by clicks; a rate of nothing is `null`.

use bincode::{Decode, Encode};
use funnelweb_core::{
    tally::{Sum, Tally},
    time,
};
use funnelweb_guest::aggregate::{
    Aggregated, Batch, Change, Declaration, Event, Field, Guest, Message, Metric, Output, Topic, Window,
};
use serde_json::json;

/// The component.
pub struct Operator;

const MINUTE_MS: u64 = 60_000;
/// A client that was offline sends what happened meanwhile.
const LATENESS_MS: u64 = 5 * MINUTE_MS;
/// Actions that a scenario is there for.
const CONVERSIONS: [&str; 4] = ["purchase", "buy", "order", "conversion"];

/// What happened in a minute.
#[derive(Debug, Clone, Default, PartialEq, Encode, Decode)]
struct Minute {
    actions: Tally,
    /// Seconds that were watched.
    watched: Sum,
}

impl Minute {
    fn read(bytes: &[u8]) -> Result<Self, String> {
        let read = bincode::decode_from_slice(bytes, bincode::config::standard());
        read.map(|(minute, _)| minute).map_err(|error| format!("accumulator: {error}"))
    }

    fn write(&self) -> Result<Vec<u8>, String> {
        bincode::encode_to_vec(self, bincode::config::standard()).map_err(|error| error.to_string())
    }

    fn add(&mut self, event: &Event) {
        self.actions.add(&event.action_type, 1);
        self.watched.add(event.watch_duration);
    }

    fn merge(&mut self, other: &Self) {
        self.actions.merge(&other.actions);
        self.watched.merge(other.watched);
    }
}

impl Guest for Operator {
    fn declare() -> Declaration {
        Declaration {
            key: vec![Field::Scenario, Field::Group],
            window: Window { size_ms: MINUTE_MS, slide_ms: MINUTE_MS },
            allowed_lateness_ms: LATENESS_MS,
        }
    }

    fn aggregate(batches: Vec<Batch>) -> Result<Vec<Vec<u8>>, String> {
        let one = |batch: &Batch| {
            let mut minute = Minute::default();
            batch.events.iter().for_each(|event| minute.add(event));
            minute.write()
        };
        batches.iter().map(one).collect()
    }

    fn merge(parts: Vec<Vec<Vec<u8>>>) -> Result<Vec<Vec<u8>>, String> {
        let one = |parts: &Vec<Vec<u8>>| {
            let mut all = Minute::default();
            for part in parts {
                all.merge(&Minute::read(part)?);
            }
            all.write()
        };
        parts.iter().map(one).collect()
    }

    fn changes(panes: Vec<Aggregated>) -> Result<Vec<Vec<Change>>, String> {
        let one = |pane: &Aggregated| {
            let (scenario, group) = parts(&pane.key)?;
            let minute = Minute::read(&pane.accumulator)?;
            let metric = |name: &str, action: Option<&str>, amount: f64| {
                let action = action.map(|action| ("action", action));
                let labels = [("scenario", scenario), ("group", group)].into_iter().chain(action);
                let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
                Change::Metric(Metric { name: name.to_owned(), labels, amount })
            };
            let counted =
                minute.actions.iter().map(|(action, count)| metric("behaviors_total", Some(action), count as f64));
            let Sum { count, sum } = minute.watched;
            let watched = [("watches_total", count as f64), ("watch_seconds_total", sum)];
            let watched = watched.into_iter().filter(|_| count > 0);
            Ok(counted.chain(watched.map(|(name, amount)| metric(name, None, amount))).collect())
        };
        panes.iter().map(one).collect()
    }

    fn summary(windows: Vec<Aggregated>) -> Result<Vec<Vec<Output>>, String> {
        let one = |window: &Aggregated| {
            let (scenario, group) = parts(&window.key)?;
            let minute = Minute::read(&window.accumulator)?;
            let Minute { actions, watched } = &minute;
            let (impressions, clicks) = (actions.of("impression"), actions.of("click"));
            let conversions: u64 = CONVERSIONS.iter().map(|action| actions.of(action)).sum();
            let rate = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
            let body = json!({
                "scenario_id": scenario,
                "experiment_group": group,
                "window_start": time::format_ms(window.span.from_ms),
                "window_end": time::format_ms(window.span.to_ms),
                "behaviors": actions.total(),
                "impressions": impressions,
                "clicks": clicks,
                "ctr": rate(clicks, impressions),
                "watches": watched.count,
                "mean_watch_s": watched.mean(),
                "conversions": conversions,
                "conversion_rate": rate(conversions, clicks),
            });
            let message = Message {
                topic: Topic::RecommendationMetrics,
                key: format!("{scenario}/{group}"),
                body: body.to_string(),
            };
            Ok(vec![Output::Publish(message)])
        };
        windows.iter().map(one).collect()
    }
}

fn parts(key: &[String]) -> Result<(&str, &str), String> {
    match key {
        [scenario, group] => Ok((scenario, group)),
        _ => Err(format!("a key of {} parts", key.len())),
    }
}

funnelweb_guest::export_aggregate!(Operator);

#[cfg(test)]
mod tests {
    use funnelweb_guest::aggregate::Span;
    use proptest::prelude::*;

    use super::*;

    const SPAN: Span = Span { from_ms: 1_767_225_600_000, to_ms: 1_767_225_660_000 };

    fn event(action: &str, watch_duration: Option<f64>) -> Event {
        Event {
            event_id: "e".to_owned(),
            scenario_id: "feed".to_owned(),
            user_id: "u".to_owned(),
            item_id: "i".to_owned(),
            action_type: action.to_owned(),
            timestamp_ms: SPAN.from_ms,
            group: "b".to_owned(),
            completion_rate: None,
            watch_duration,
            signal: None,
        }
    }

    /// What events add to what a pane had before.
    fn add(before: Option<Vec<u8>>, events: &[Event]) -> Vec<u8> {
        let batch = Batch { key: vec!["feed".into(), "b".into()], pane: SPAN, events: events.to_vec() };
        let new = Operator::aggregate(vec![batch]).unwrap().remove(0);
        match before {
            None => new,
            Some(before) => Operator::merge(vec![vec![before, new]]).unwrap().remove(0),
        }
    }

    fn of(accumulator: Vec<u8>) -> Aggregated {
        Aggregated { key: vec!["feed".into(), "b".into()], span: SPAN, accumulator }
    }

    fn changes(accumulator: Vec<u8>) -> Vec<String> {
        let shown = |change| {
            let Change::Metric(Metric { name, labels, amount }) = change else { panic!("not a metric") };
            let action = labels.iter().find(|(name, _)| name == "action").map_or("", |(_, value)| value);
            format!("{name} {action} {amount}")
        };
        Operator::changes(vec![of(accumulator)]).unwrap().remove(0).into_iter().map(shown).collect()
    }

    #[test]
    fn what_happened_is_counted_and_a_minute_is_summed_up() {
        let seen =
            [event("impression", None), event("impression", None), event("click", None), event("watch", Some(30.0))];
        let first = add(None, &seen);
        let all = add(Some(first.clone()), &[event("watch", Some(15.0)), event("purchase", None)]);
        assert_eq!(
            changes(all.clone()),
            [
                "behaviors_total click 1",
                "behaviors_total impression 2",
                "behaviors_total purchase 1",
                "behaviors_total watch 2",
                "watches_total  2",
                "watch_seconds_total  45"
            ]
        );
        let Output::Publish(message) = Operator::summary(vec![of(all)]).unwrap().remove(0).remove(0);
        assert_eq!(message.key, "feed/b");
        let body: serde_json::Value = serde_json::from_str(&message.body).unwrap();
        assert_eq!(
            body,
            json!({
                "scenario_id": "feed", "experiment_group": "b",
                "window_start": "2026-01-01T00:00:00.000Z", "window_end": "2026-01-01T00:01:00.000Z",
                "behaviors": 6, "impressions": 2, "clicks": 1, "ctr": 0.5, "watches": 2, "mean_watch_s": 22.5,
                "conversions": 1, "conversion_rate": 1.0
            })
        );
        let Output::Publish(message) = Operator::summary(vec![of(add(None, &[]))]).unwrap().remove(0).remove(0);
        assert!(message.body.contains(r#""ctr":null"#) && message.body.contains(r#""mean_watch_s":null"#));
    }

    #[test]
    fn a_client_that_makes_actions_up_makes_no_counters_without_end() {
        let many: Vec<Event> = (0..1000).map(|at| event(&format!("a{at}"), None)).collect();
        let changes = changes(add(None, &many));
        assert_eq!(changes.len(), Tally::NAMES + 1);
        assert!(changes.contains(&format!("behaviors_total other {}", 1000 - Tally::NAMES)));
    }

    #[test]
    fn an_accumulator_that_is_none_is_refused() {
        assert!(Operator::changes(vec![of(vec![255; 3])]).unwrap_err().starts_with("accumulator"));
        assert!(Operator::summary(vec![Aggregated { key: vec![], ..of(add(None, &[])) }]).is_err());
    }

    proptest! {
        #[test]
        fn in_parts_or_at_once_is_the_same(actions in proptest::collection::vec(0..4_u8, 0..30), at in 0..30_usize) {
            let events: Vec<Event> = actions.iter().map(|of| event(["impression", "click", "watch", "order"][*of as usize], (*of == 2).then_some(2.5))).collect();
            let (first, second) = events.split_at(at.min(events.len()));
            let whole = add(None, &events);
            prop_assert_eq!(&add(Some(add(None, first)), second), &whole);
        }
    }
}
