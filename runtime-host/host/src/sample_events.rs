//! Events that were made up to try a stream operator on, with what is expected of it: a JSON
//! file in the folder `samples` of a component's project.
//!
//! ```json
//! {"batches": [{"key": ["item-1"], "pane": {"from_ms": 1767225600000, "to_ms": 1767225660000},
//!               "events": [{"item_id": "item-1", "action_type": "view",
//!                           "timestamp_ms": 1767225601000, "completion_rate": 1.0}]}],
//!  "expect": {"changes": [[{"count": {"item_id": "item-1", "field": "finished_count", "amount": 1}}]],
//!             "summary": [[]]}}
//! ```
//!
//! Batches are as the interface has them; what is left out of an event is empty. `changes`
//! are what each batch's accumulator adds, and `summary` what a window of its pane alone says:
//! for each batch a list, of objects that are called as the interface calls them (`metric`,
//! `heat`, `count`, `taste`; `publish`, whose `body` is written as the object that it is).
//! What is not expected may be anything.

use std::path::Path;

use anyhow::{Context as _, anyhow, bail};
use funnelweb_core::scenario;
use funnelweb_factor_components::OwnOperator;
use funnelweb_stream::{
    Windows,
    operator::{
        Aggregated, Batch, Change, Count, Event, Heat, Message, Metric, Operator, Output, Signal, Span, Taste, key,
        show,
    },
    own, topic_name,
};
use serde::Deserialize;
use serde_json::{Value, json};

/// A day, in seconds: a half-life unless a sample says another.
const DAY_S: u32 = 86_400;
/// Differences of numbers that are none, by their size.
const ROUNDING: f64 = 1e-6;

/// Batches, and what is expected of an operator that is given them.
#[derive(Debug)]
pub struct EventSample {
    batches: Vec<Batch>,
    expect: Expect,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    batches: Vec<WrittenBatch>,
    #[serde(default)]
    expect: Expect,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Expect {
    changes: Option<Vec<Vec<Value>>>,
    summary: Option<Vec<Vec<Value>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenBatch {
    key: Vec<String>,
    pane: WrittenSpan,
    events: Vec<WrittenEvent>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenSpan {
    from_ms: u64,
    to_ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenEvent {
    #[serde(default)]
    event_id: String,
    #[serde(default)]
    scenario_id: String,
    #[serde(default)]
    user_id: String,
    #[serde(default)]
    item_id: String,
    #[serde(default)]
    action_type: String,
    timestamp_ms: u64,
    #[serde(default)]
    group: String,
    completion_rate: Option<f64>,
    watch_duration: Option<f64>,
    signal: Option<WrittenSignal>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenSignal {
    weight: f32,
    #[serde(default = "day")]
    hot_half_life_s: u32,
    #[serde(default = "day")]
    profile_half_life_s: u32,
    #[serde(default = "known")]
    known: bool,
    #[serde(default)]
    preferences: Vec<(String, String, f32)>,
}

fn day() -> u32 {
    DAY_S
}

fn known() -> bool {
    true
}

impl EventSample {
    /// The samples of a project's folder, by their files' names.
    ///
    /// # Errors
    /// When there is none, or one does not read.
    pub fn all(folder: &Path) -> anyhow::Result<Vec<(String, Self)>> {
        super::sample::texts(folder)?
            .into_iter()
            .map(|(name, text)| {
                let sample = Self::parse(&text).with_context(|| format!("{}/{name}.json", folder.display()))?;
                Ok((name, sample))
            })
            .collect()
    }

    /// A sample from its text.
    ///
    /// # Errors
    /// What is wrong, with its JSON path.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let written: Written = scenario::parse_json(text.as_bytes()).map_err(|error| match error.field {
            Some(field) => anyhow!("{field}: {}", error.message),
            None => anyhow!(error.message),
        })?;
        let batches: Vec<Batch> = written.batches.into_iter().map(WrittenBatch::batch).collect();
        if let Some(at) = batches.iter().position(|batch| batch.events.is_empty()) {
            bail!("batches[{at}].events: there must be one at least");
        }
        for (of, lists) in [("changes", &written.expect.changes), ("summary", &written.expect.summary)] {
            if let Some(lists) = lists.as_ref().filter(|lists| lists.len() != batches.len()) {
                bail!("expect.{of}: there must be a list for each of {} batches, got {}", batches.len(), lists.len());
            }
        }
        Ok(Self { batches, expect: written.expect })
    }

    /// Gives an operator the batches.
    ///
    /// # Errors
    /// What is other than expected, or why there is no answer.
    pub async fn run(&self, operator: &OwnOperator) -> Result<(), String> {
        let windows = Windows::new(operator.declaration()).map_err(|rule| format!("declare: {rule}"))?;
        self.fit(operator, &windows)?;
        let failed = |of: &str| {
            let of = of.to_owned();
            move |failure| format!("{of}: {failure}")
        };
        let accumulators = operator.aggregate(&self.batches).await.map_err(failed("aggregate"))?;
        let given = |span: fn(&Windows, Span) -> Span| {
            let of = |(batch, accumulator): (&Batch, &Vec<u8>)| Aggregated {
                key: batch.key.clone(),
                span: span(&windows, batch.pane),
                accumulator: accumulator.clone(),
            };
            self.batches.iter().zip(&accumulators).map(of).collect::<Vec<_>>()
        };
        let panes = given(|_, pane| pane);
        let changes = operator.changes(&panes).await.map_err(failed("changes"))?;
        let ends = given(|windows, pane| Span { to_ms: pane.from_ms.saturating_add(windows.size_ms), ..pane });
        let summary = operator.summary(&ends).await.map_err(failed("summary"))?;
        compare("changes", self.expect.changes.as_ref(), &shown(changes, change))?;
        compare("summary", self.expect.summary.as_ref(), &shown(summary, output))
    }

    /// Whether batches are as the engine makes them of what the operator declares.
    fn fit(&self, operator: &OwnOperator, windows: &Windows) -> Result<(), String> {
        for (at, batch) in self.batches.iter().enumerate() {
            for event in &batch.events {
                let (own, pane) = (key(&operator.declaration().key, event), windows.pane(event.timestamp_ms));
                if own != batch.key {
                    return Err(format!("batches[{at}].key: an event of it has the key {own:?}, not {:?}", batch.key));
                }
                if (pane.from_ms, pane.to_ms) != (batch.pane.from_ms, batch.pane.to_ms) {
                    return Err(format!(
                        "batches[{at}].pane: an event of it is in the pane {} ({} to {}), not {}",
                        show(pane),
                        pane.from_ms,
                        pane.to_ms,
                        show(batch.pane)
                    ));
                }
            }
        }
        Ok(())
    }
}

impl WrittenBatch {
    fn batch(self) -> Batch {
        let signal = |signal: WrittenSignal| Signal {
            weight: signal.weight,
            hot_half_life_s: signal.hot_half_life_s,
            profile_half_life_s: signal.profile_half_life_s,
            known: signal.known,
            preferences: signal.preferences,
        };
        let event = |event: WrittenEvent| Event {
            event_id: event.event_id,
            scenario_id: event.scenario_id,
            user_id: event.user_id,
            item_id: event.item_id,
            action_type: event.action_type,
            timestamp_ms: event.timestamp_ms,
            group: event.group,
            completion_rate: event.completion_rate,
            watch_duration: event.watch_duration,
            signal: event.signal.map(signal),
        };
        let WrittenSpan { from_ms, to_ms } = self.pane;
        Batch { key: self.key, pane: Span { from_ms, to_ms }, events: self.events.into_iter().map(event).collect() }
    }
}

fn shown<T>(lists: Vec<Vec<T>>, one: fn(T) -> Value) -> Vec<Vec<Value>> {
    lists.into_iter().map(|list| list.into_iter().map(one).collect()).collect()
}

/// A change as samples write it.
fn change(change: Change) -> Value {
    match change {
        Change::Metric(Metric { name, labels, amount }) => {
            // The host's part of the name is not the component's.
            let name = name.strip_prefix(own::METRICS).unwrap_or(&name);
            json!({"metric": {"name": name, "labels": labels, "amount": amount}})
        }
        Change::Heat(Heat { scenario_id, item_id, half_life_s, weight, last_ms }) => json!({"heat": {
            "scenario_id": scenario_id, "item_id": item_id, "half_life_s": half_life_s, "weight": weight,
            "last_ms": last_ms,
        }}),
        Change::Count(Count { item_id, field, amount }) => {
            json!({"count": {"item_id": item_id, "field": field, "amount": amount}})
        }
        Change::Taste(Taste { scenario_id, user_id, half_life_s, preferences, counters, last_ms }) => json!({"taste": {
            "scenario_id": scenario_id, "user_id": user_id, "half_life_s": half_life_s,
            "preferences": preferences, "counters": counters, "last_ms": last_ms,
        }}),
    }
}

/// An output as samples write it.
fn output(Output::Publish(Message { topic, key, body }): Output) -> Value {
    let body = serde_json::from_str(&body).unwrap_or(Value::String(body));
    json!({"publish": {"topic": topic_name(topic), "key": key, "body": body}})
}

fn compare(of: &str, expected: Option<&Vec<Vec<Value>>>, found: &[Vec<Value>]) -> Result<(), String> {
    let Some(expected) = expected else { return Ok(()) };
    if expected.len() != found.len() {
        return Err(format!("{of}: it answered for {} batches, not for {}", found.len(), expected.len()));
    }
    let differs = |(_, (expected, found)): &(usize, (&Vec<Value>, &Vec<Value>))| {
        expected.len() != found.len() || !expected.iter().zip(*found).all(|(one, other)| same(one, other))
    };
    match expected.iter().zip(found).enumerate().find(differs) {
        None => Ok(()),
        Some((at, (expected, found))) => {
            let text = |list: &Vec<Value>| serde_json::to_string(list).unwrap_or_default();
            Err(format!("{of}[{at}]: it answered {}, and not {}", text(found), text(expected)))
        }
    }
}

/// Whether two values are the same, but for rounding.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            let (one, other) = (one.as_f64().unwrap_or(f64::NAN), other.as_f64().unwrap_or(f64::NAN));
            (one - other).abs() <= ROUNDING * one.abs().max(other.abs()).max(1.0)
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let has = |(name, value): (&String, &Value)| other.get(name).is_some_and(|other| same(value, other));
            one.len() == other.len() && one.iter().all(has)
        }
        (one, other) => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_told_by_its_path() {
        let refused = |text: &str| EventSample::parse(text).unwrap_err().to_string();
        assert!(refused(r#"{"batches": [{"key": [], "pane": {"from_ms": 0}}]}"#).contains("pane"));
        let batch = r#"{"key": ["a"], "pane": {"from_ms": 0, "to_ms": 1000}, "events": [EVENTS]}"#;
        let with = |events: &str, expect: &str| {
            format!(r#"{{"batches": [{}], "expect": {expect}}}"#, batch.replace("EVENTS", events))
        };
        assert!(refused(&with("", "{}")).contains("batches[0].events"));
        let event = r#"{"timestamp_ms": 1}"#;
        assert!(refused(&with(event, r#"{"changes": []}"#)).contains("a list for each of 1 batches, got 0"));
        assert!(refused(&with(event, r#"{"order": []}"#)).contains("order"));
        EventSample::parse(&with(event, r#"{"summary": [[]]}"#)).unwrap();
    }

    #[test]
    fn answers_are_compared_but_for_rounding() {
        let count = |amount: f64| {
            change(Change::Count(Count { item_id: "i".to_owned(), field: "seen_count".to_owned(), amount }))
        };
        let expected = vec![vec![json!({"count": {"item_id": "i", "field": "seen_count", "amount": 1}})]];
        assert_eq!(compare("changes", Some(&expected), &[vec![count(1.000_000_000_1)]]), Ok(()));
        let other = compare("changes", Some(&expected), &[vec![count(2.0)]]).unwrap_err();
        assert!(other.starts_with("changes[0]: it answered "), "{other}");
        assert!(compare("changes", Some(&expected), &[vec![]]).is_err());
        assert_eq!(compare("changes", None, &[]), Ok(()));
    }

    #[test]
    fn names_of_metrics_and_bodies_are_as_the_component_says_them() {
        let metric = Metric { name: "own_seen_total".to_owned(), labels: vec![], amount: 1.0 };
        assert_eq!(
            change(Change::Metric(metric)),
            json!({"metric": {"name": "seen_total", "labels": [], "amount": 1.0}})
        );
        let message = Message {
            topic: funnelweb_stream::operator::Topic::ItemStatsUpdates,
            key: "feed/i".to_owned(),
            body: r#"{"n":1}"#.to_owned(),
        };
        let expected = json!({"publish": {"topic": "item-stats-updates", "key": "feed/i", "body": {"n": 1}}});
        assert_eq!(output(Output::Publish(message)), expected);
    }
}
