//! What events of a pane add, checked.

use std::collections::BTreeMap;

use funnelweb_core::decay;
use funnelweb_core::limits;
use funnelweb_factor_events::{
    check::check_change,
    store::{Change, ProfileEffect},
};

use crate::{
    operator::{self, Count, Failure, Heat, Metric, Span, Taste},
    store::Series,
};

/// Counters with these names are the host's.
const OWN: [&str; 5] = ["http_", "metric_", "own_stream_", "stage_", "stream_"];

/// A scenario, what of it, and a half-life in seconds.
type Place = (String, String, u32);

/// Everything that events of a pane add. Weights are as of its end.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    metrics: BTreeMap<Series, f64>,
    heat: BTreeMap<Place, Warmth>,
    /// By item and field.
    counts: BTreeMap<(String, String), f64>,
    tastes: BTreeMap<Place, Learnt>,
}

#[derive(Debug, Default)]
struct Warmth {
    weight: f64,
    last_ms: u64,
}

#[derive(Debug, Default)]
struct Learnt {
    /// By item field and value.
    preferences: BTreeMap<(String, String), f64>,
    counters: BTreeMap<String, f64>,
    last_ms: u64,
}

/// What is added by a step.
#[derive(Debug, Default)]
pub(crate) struct Added {
    pub(crate) counts: Vec<(Series, f64)>,
    pub(crate) changes: Vec<Change>,
}

impl Sums {
    /// Of what an operator says.
    pub(crate) fn new(changes: Vec<operator::Change>) -> Result<Self, Failure> {
        if changes.len() > limits::STREAM_CHANGES {
            let rule = format!("changes: at most {} a pane, got {}", limits::STREAM_CHANGES, changes.len());
            return Err(Failure::guest(rule));
        }
        let mut sums = Self::default();
        for change in changes {
            match change {
                operator::Change::Metric(metric) => {
                    *sums.metrics.entry(series(&metric)?).or_default() += metric.amount;
                }
                operator::Change::Heat(Heat { scenario_id, item_id, half_life_s, weight, last_ms }) => {
                    let warmth = sums.heat.entry((scenario_id, item_id, half_life_s)).or_default();
                    warmth.weight += weight;
                    warmth.last_ms = warmth.last_ms.max(last_ms);
                }
                operator::Change::Count(Count { item_id, field, amount }) => {
                    *sums.counts.entry((item_id, field)).or_default() += amount;
                }
                operator::Change::Taste(taste) => sums.learn(taste),
            }
        }
        Ok(sums)
    }

    /// Each amount, under a name that says what it is of.
    pub(crate) fn amounts(&self) -> BTreeMap<String, f64> {
        let mut amounts = BTreeMap::new();
        for (Series { name, labels }, amount) in &self.metrics {
            amounts.insert(format!("metric {name} {labels:?}"), *amount);
        }
        for ((scenario, item, _), Warmth { weight, .. }) in &self.heat {
            amounts.insert(format!("heat of {item} in {scenario}"), *weight);
        }
        for ((item, field), amount) in &self.counts {
            amounts.insert(format!("count {field} of {item}"), *amount);
        }
        for ((scenario, user, _), Learnt { preferences, counters, .. }) in &self.tastes {
            for ((field, value), amount) in preferences {
                amounts.insert(format!("preference of {user} in {scenario} for {field} {value}"), *amount);
            }
            for (name, amount) in counters {
                amounts.insert(format!("counter {name} of {user} in {scenario}"), *amount);
            }
        }
        amounts
    }

    fn learn(&mut self, taste: Taste) {
        let Taste { scenario_id, user_id, half_life_s, preferences, counters, last_ms } = taste;
        let learnt = self.tastes.entry((scenario_id, user_id, half_life_s)).or_default();
        for (field, value, amount) in preferences {
            *learnt.preferences.entry((field, value)).or_default() += amount;
        }
        for (name, amount) in counters {
            *learnt.counters.entry(name).or_default() += amount;
        }
        learnt.last_ms = learnt.last_ms.max(last_ms);
    }

    /// What is to be applied, for a pane of this span.
    pub(crate) fn added(self, pane: Span) -> Result<Added, Failure> {
        let Self { metrics, heat, counts, tastes } = self;
        // In the pane, or a score would be of another time than its event.
        let in_pane = |last_ms: u64| {
            let rule = || Failure::guest(format!("changes: last-ms {last_ms} is not in the pane"));
            (pane.from_ms..pane.to_ms).contains(&last_ms).then_some(last_ms).ok_or_else(rule)
        };
        let mut changes = Vec::with_capacity(heat.len() + counts.len() + tastes.len());
        for ((scenario_id, item_id, half_life_s), Warmth { weight, last_ms }) in heat {
            if weight != 0.0 {
                let at_ms = in_pane(last_ms)?;
                let weight = weight * decay::factor(pane.to_ms, at_ms, half_life_s);
                changes.push(Change::Heat { scenario_id, item_id, half_life_s, weight, at_ms });
            }
        }
        for ((item_id, field), amount) in counts {
            if amount != 0.0 {
                changes.push(Change::Count { item_id, field, amount });
            }
        }
        for ((scenario_id, user_id, half_life_s), learnt) in tastes {
            let Learnt { preferences, counters, last_ms } = learnt;
            let most = preferences.len().max(counters.len());
            if most > limits::STREAM_PREFERENCES {
                let rule = format!("changes: at most {} preferences and counters", limits::STREAM_PREFERENCES);
                return Err(Failure::guest(format!("{rule} of a user, got {most}")));
            }
            let moved = preferences.into_iter().filter(|(_, amount)| *amount != 0.0);
            let moved: Vec<((String, String), f64)> = moved.collect();
            let counters: Vec<(String, f64)> = counters.into_iter().filter(|(_, amount)| *amount != 0.0).collect();
            if moved.is_empty() && counters.is_empty() {
                continue;
            }
            let at_ms = in_pane(last_ms)?;
            let factor = decay::factor(pane.to_ms, at_ms, half_life_s);
            let preferences =
                moved.into_iter().map(|((field, value), amount)| (field, value, (amount * factor) as f32));
            let effect = ProfileEffect { preferences: preferences.collect(), half_life_s, counters, recent: false };
            changes.push(Change::Profile { scenario_id, user_id, at_ms, effect });
        }
        for change in &changes {
            check_change(change).map_err(|rule| Failure::guest(format!("changes: {rule}")))?;
        }
        let counts = metrics.into_iter().filter(|(_, amount)| *amount != 0.0).collect();
        Ok(Added { counts, changes })
    }
}

/// The counter that a metric is about.
fn series(metric: &Metric) -> Result<Series, Failure> {
    let Metric { name, labels, amount } = metric;
    let plain = |name: &str| {
        (1..=limits::METRIC_NAME_BYTES).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    let refuse = |rule: String| Err(Failure::guest(format!("metric `{name}`: {rule}")));
    let families = name.strip_suffix("_total").filter(|family| !family.ends_with("_total"));
    if !plain(name) || families.is_none() {
        return refuse(format!("its name must be up to {} of a-z and _, ending in _total", limits::METRIC_NAME_BYTES));
    }
    if let Some(prefix) = OWN.iter().find(|prefix| name.starts_with(*prefix)) {
        return refuse(format!("names that begin with {prefix} are the host's"));
    }
    // False for NaN too.
    if !(0.0..=limits::METRIC_AMOUNT).contains(amount) {
        return refuse(format!("its amount must be 0 to {}, got {amount}", limits::METRIC_AMOUNT));
    }
    if labels.len() > limits::METRIC_LABELS {
        return refuse(format!("at most {} labels, got {}", limits::METRIC_LABELS, labels.len()));
    }
    // An empty one is none to whoever reads them.
    let mut labels: Vec<_> = labels.iter().filter(|(_, value)| !value.is_empty()).cloned().collect();
    labels.sort();
    let twice = labels.windows(2).any(|pair| matches!(pair, [(one, _), (other, _)] if one == other));
    // Scrapers keep names that begin with `__` to themselves; the tenant is ours.
    let own = |label: &str| label == "tenant" || label.starts_with("__");
    if twice || labels.iter().any(|(label, value)| !plain(label) || own(label) || value.len() > limits::ID_BYTES) {
        return refuse(format!("labels must be different, of a-z and _, of values up to {} bytes", limits::ID_BYTES));
    }
    Ok(Series { name: name.clone(), labels })
}
