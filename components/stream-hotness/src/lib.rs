//! What happens to items: their place in the hot list of the scenario, their counters,
//! and what came of them in the last hour.
//!
//! Heat and counters change with every step of the log, not only at the ends of windows:
//! an action adds its weight, which halves every half-life of the scenario, and counts as
//! `<action>_count`, `completion_rate_sum`, `watch_duration_sum` and so on in the item's
//! statistics. Every five minutes the last hour of each item that something happened to
//! in these five minutes goes to the topic `item-stats-updates`: `ctr` is clicks by
//! impressions, `heat` is as of the end of the hour and of what happened in it alone.

use bincode::{Decode, Encode};
use funnelweb_core::{
    decay,
    tally::{Sum, Tally},
    time,
};
use funnelweb_guest::aggregate::{
    Aggregated, Batch, Change, Count, Declaration, Event, Field, Guest, Heat, Message, Output, Topic, Window,
};
use serde_json::{Map, Value, json};

/// The component.
pub struct Operator;

const MINUTE_MS: u64 = 60_000;
const WINDOW: Window = Window { size_ms: 60 * MINUTE_MS, slide_ms: 5 * MINUTE_MS };
/// A client that was offline sends what happened meanwhile.
const LATENESS_MS: u64 = 5 * MINUTE_MS;

/// What happened to an item.
#[derive(Debug, Clone, Default, PartialEq, Encode, Decode)]
struct Stats {
    actions: Tally,
    completed: Sum,
    /// Seconds that were watched.
    watched: Sum,
    /// When something happened last, in milliseconds since 1970.
    last_ms: u64,
    warmth: Option<Warmth>,
}

/// Heat as of a time.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
struct Warmth {
    weight: f64,
    as_of_ms: u64,
    /// In seconds; the first that a weight came with: the scenario's may change.
    half_life_s: u32,
    /// Of the last weight, in milliseconds since 1970.
    last_ms: u64,
}

impl Warmth {
    fn add(&mut self, weight: f64, at_ms: u64, last_ms: u64) {
        let as_of_ms = self.as_of_ms.max(at_ms);
        let factor = |from_ms| decay::factor(from_ms, as_of_ms, self.half_life_s);
        self.weight = self.weight * factor(self.as_of_ms) + weight * factor(at_ms);
        self.as_of_ms = as_of_ms;
        self.last_ms = self.last_ms.max(last_ms);
    }
}

impl Stats {
    fn read(bytes: &[u8]) -> Result<Self, String> {
        let read = bincode::decode_from_slice(bytes, bincode::config::standard());
        read.map(|(stats, _)| stats).map_err(|error| format!("accumulator: {error}"))
    }

    fn write(&self) -> Result<Vec<u8>, String> {
        bincode::encode_to_vec(self, bincode::config::standard()).map_err(|error| error.to_string())
    }

    /// Adds an event of a pane that ends at `end_ms`: heat is as of then.
    fn add(&mut self, event: &Event, end_ms: u64) {
        self.actions.add(&event.action_type, 1);
        self.completed.add(event.completion_rate);
        self.watched.add(event.watch_duration);
        self.last_ms = self.last_ms.max(event.timestamp_ms);
        // What is disliked is not cooled: the next one may like it.
        let Some(signal) = event.signal.as_ref().filter(|signal| signal.weight > 0.0) else { return };
        let half_life_s = signal.hot_half_life_s;
        let cold = || Warmth { weight: 0.0, as_of_ms: end_ms, half_life_s, last_ms: 0 };
        let warmth = self.warmth.get_or_insert_with(cold);
        let factor = decay::factor(event.timestamp_ms, end_ms, warmth.half_life_s);
        warmth.add(f64::from(signal.weight) * factor, end_ms, event.timestamp_ms);
    }

    fn merge(&mut self, other: &Self) {
        self.actions.merge(&other.actions);
        self.completed.merge(other.completed);
        self.watched.merge(other.watched);
        self.last_ms = self.last_ms.max(other.last_ms);
        match (&mut self.warmth, &other.warmth) {
            (Some(own), Some(other)) => own.add(other.weight, other.as_of_ms, other.last_ms),
            (None, Some(other)) => self.warmth = Some(other.clone()),
            (_, None) => {}
        }
    }

    /// What the item's counters get.
    fn counts(&self) -> Vec<(String, f64)> {
        let actions = self.actions.iter().map(|(action, count)| (format!("{action}_count"), count as f64));
        let measures = [("completion_rate", self.completed), ("watch_duration", self.watched)];
        let measures = measures.into_iter().filter(|(_, sum)| sum.count > 0);
        let measures = measures.flat_map(|(name, Sum { count, sum })| {
            [(format!("{name}_sum"), sum), (format!("{name}_count"), count as f64)]
        });
        actions.chain(measures).collect()
    }
}

impl Guest for Operator {
    fn declare() -> Declaration {
        let key = vec![Field::Scenario, Field::Item];
        Declaration { key, window: WINDOW, allowed_lateness_ms: LATENESS_MS }
    }

    fn aggregate(batches: Vec<Batch>) -> Result<Vec<Vec<u8>>, String> {
        let one = |batch: &Batch| {
            let mut stats = Stats::default();
            batch.events.iter().for_each(|event| stats.add(event, batch.pane.to_ms));
            stats.write()
        };
        batches.iter().map(one).collect()
    }

    fn merge(parts: Vec<Vec<Vec<u8>>>) -> Result<Vec<Vec<u8>>, String> {
        let one = |parts: &Vec<Vec<u8>>| {
            let mut all = Stats::default();
            for part in parts {
                all.merge(&Stats::read(part)?);
            }
            all.write()
        };
        parts.iter().map(one).collect()
    }

    fn changes(panes: Vec<Aggregated>) -> Result<Vec<Vec<Change>>, String> {
        let one = |pane: &Aggregated| {
            let (scenario, item) = parts(&pane.key)?;
            let stats = Stats::read(&pane.accumulator)?;
            let count = |(field, amount)| Change::Count(Count { item_id: item.to_owned(), field, amount });
            let mut changes: Vec<Change> = stats.counts().into_iter().map(count).collect();
            if let Some(Warmth { weight, half_life_s, last_ms, as_of_ms: _ }) = stats.warmth {
                let (scenario_id, item_id) = (scenario.to_owned(), item.to_owned());
                changes.push(Change::Heat(Heat { scenario_id, item_id, half_life_s, weight, last_ms }));
            }
            Ok(changes)
        };
        panes.iter().map(one).collect()
    }

    fn summary(windows: Vec<Aggregated>) -> Result<Vec<Vec<Output>>, String> {
        let one = |window: &Aggregated| {
            let (scenario, item) = parts(&window.key)?;
            let stats = Stats::read(&window.accumulator)?;
            if stats.last_ms < window.span.to_ms.saturating_sub(WINDOW.slide_ms) {
                return Ok(Vec::new());
            }
            let (impressions, clicks) = (stats.actions.of("impression"), stats.actions.of("click"));
            let heat = stats.warmth.as_ref().map_or(0.0, |warmth| {
                warmth.weight * decay::factor(warmth.as_of_ms, window.span.to_ms, warmth.half_life_s)
            });
            let actions: Map<String, Value> =
                stats.actions.iter().map(|(action, count)| (action.to_owned(), count.into())).collect();
            let body = json!({
                "scenario_id": scenario,
                "item_id": item,
                "window_start": time::format_ms(window.span.from_ms),
                "window_end": time::format_ms(window.span.to_ms),
                "actions": actions,
                "impressions": impressions,
                "views": stats.actions.of("view"),
                "clicks": clicks,
                "ctr": (impressions > 0).then(|| clicks as f64 / impressions as f64),
                "mean_completion_rate": stats.completed.mean(),
                "mean_watch_s": stats.watched.mean(),
                "heat": heat,
            });
            let (topic, key) = (Topic::ItemStatsUpdates, format!("{scenario}/{item}"));
            Ok(vec![Output::Publish(Message { topic, key, body: body.to_string() })])
        };
        windows.iter().map(one).collect()
    }
}

fn parts(key: &[String]) -> Result<(&str, &str), String> {
    match key {
        [scenario, item] => Ok((scenario, item)),
        _ => Err(format!("a key of {} parts", key.len())),
    }
}

funnelweb_guest::export_aggregate!(Operator);

#[cfg(test)]
mod tests;
