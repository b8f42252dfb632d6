//! What a report measures of groups, and what an experiment may not harm whatever it is for.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Design, Experiment, check::check_count};
use crate::{error::ApiError, limits, scenario::field};

/// A metric of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Clicks by impressions; where no client reports impressions, by items served.
    Ctr,
    /// Seconds a watch.
    WatchTime,
    /// The share of users who converted.
    ConversionRate,
    /// Of a user.
    Revenue,
    /// Milliseconds from the beginning of a slate's funnel to its end.
    LatencyMs,
    /// Milliseconds that stages had for a slate, summed over all their calls.
    CostMs,
}

impl Metric {
    /// Every metric and its name, in the order of reports.
    pub const NAMES: [(&'static str, Self); 6] = [
        ("ctr", Self::Ctr),
        ("watch_time", Self::WatchTime),
        ("conversion_rate", Self::ConversionRate),
        ("revenue", Self::Revenue),
        ("latency_ms", Self::LatencyMs),
        ("cost_ms", Self::CostMs),
    ];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::NAMES.iter().find(|(_, metric)| *metric == self).map_or("", |(name, _)| name)
    }

    /// Whether less of it is better.
    #[must_use]
    pub fn less_is_better(self) -> bool {
        matches!(self, Self::LatencyMs | Self::CostMs)
    }
}

/// What a guardrail is about; in JSON the metric's name, or `sample_ratio`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Guarded {
    /// A metric of the groups.
    Metric(Metric),
    /// That groups get the users that they should have.
    SampleRatio,
}

const SAMPLE_RATIO: &str = "sample_ratio";

impl TryFrom<String> for Guarded {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        if name == SAMPLE_RATIO {
            return Ok(Self::SampleRatio);
        }
        let of = Metric::NAMES.iter().find(|(known, _)| *known == name);
        of.map(|(_, metric)| Self::Metric(*metric)).ok_or_else(|| {
            let known = Metric::NAMES.map(|(known, _)| format!("`{known}`")).join(", ");
            format!("nothing to guard is called `{name}`; known: {known}, `{SAMPLE_RATIO}`")
        })
    }
}

impl From<Guarded> for String {
    fn from(guarded: Guarded) -> Self {
        match guarded {
            Guarded::Metric(metric) => metric.as_str().to_owned(),
            Guarded::SampleRatio => SAMPLE_RATIO.to_owned(),
        }
    }
}

/// What stops an experiment by itself, once it is sure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guardrail {
    /// What may not get worse in any group.
    pub metric: Guarded,
    /// By how much it may, as a share of the control's value; by nothing unless said
    /// otherwise.
    #[serde(default, skip_serializing_if = "is_none")]
    pub margin: f64,
}

/// Why an experiment was stopped by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoppedBy {
    /// The guardrail's.
    pub metric: Guarded,
    /// The guardrail's.
    #[serde(default, skip_serializing_if = "is_none")]
    pub margin: f64,
    /// The group that it harmed; none for the sample ratio.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_id: Option<String>,
    /// Between what its lift lies; all of that is beyond the margin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lift_bounds: Option<[f64; 2]>,
    /// Of groups having the users that they should have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p_value: Option<f64>,
}

fn is_none(margin: &f64) -> bool {
    *margin == 0.0
}

/// How much worse what should be less may get: ten times as much.
const MOST_MARGIN: f64 = 10.0;

impl Experiment {
    pub(super) fn check_guardrails(&self) -> Result<(), ApiError> {
        check_count("guardrails", self.guardrails.len(), 0, limits::EXPERIMENT_GUARDRAILS)?;
        if self.design == Design::Interleaving && !self.guardrails.is_empty() {
            let message = "are for the type `split`: of an interleaving every user gets both groups' rankings, so that \
                           neither has a metric of its own";
            return Err(field("guardrails", message));
        }
        let mut known = BTreeSet::new();
        for (at, Guardrail { metric, margin }) in self.guardrails.iter().enumerate() {
            let path = |name: &str| format!("guardrails[{at}].{name}");
            if !known.insert(metric) {
                return Err(field(&path("metric"), "is there twice"));
            }
            let refused = |rule: String| Err(field(&path("margin"), format!("{rule}, got {margin}")));
            match metric {
                Guarded::SampleRatio if *margin != 0.0 => {
                    return refused("must not be there: users are lost, or they are not".to_owned());
                }
                // What is lost of it is all of it at most.
                Guarded::Metric(metric) if !metric.less_is_better() && !(0.0..1.0).contains(margin) => {
                    return refused("must be from 0, below 1".to_owned());
                }
                Guarded::Metric(_) if !(0.0..=MOST_MARGIN).contains(margin) => {
                    return refused(format!("must be 0 to {MOST_MARGIN}"));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parse(guardrails: &Value) -> Result<Experiment, (String, String)> {
        let body = json!({"experiment_id": "e", "scenario_id": "s", "guardrails": guardrails, "groups": [
            {"group_id": "a", "traffic_ratio": 0.5}, {"group_id": "b", "traffic_ratio": 0.5}]});
        let parsed = Experiment::parse(body.to_string().as_bytes());
        parsed.map_err(|error| (error.field.unwrap_or_default(), error.message))
    }

    #[test]
    fn names_are_those_of_json() {
        for (name, metric) in Metric::NAMES {
            assert_eq!(serde_json::to_string(&metric).unwrap(), format!("\"{name}\""));
            assert_eq!(metric.as_str(), name);
            assert_eq!(String::from(Guarded::Metric(metric)), name);
        }
        assert_eq!(Guarded::try_from("sample_ratio".to_owned()), Ok(Guarded::SampleRatio));
    }

    #[test]
    fn a_guardrail_is_a_metric_and_a_margin() {
        let given = json!([{"metric": "ctr", "margin": 0.02}, {"metric": "latency_ms", "margin": 2.5},
                           {"metric": "cost_ms"}, {"metric": "sample_ratio"}]);
        let experiment = parse(&given).unwrap();
        assert_eq!(experiment.guardrails[2], Guardrail { metric: Guarded::Metric(Metric::CostMs), margin: 0.0 });
        assert_eq!(serde_json::to_value(&experiment).unwrap()["guardrails"], given);
        let none = parse(&json!([])).unwrap();
        assert_eq!(serde_json::to_value(&none).unwrap().get("guardrails"), None);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let refused = |guardrails: Value, path: &str, said: &str| {
            let (field, message) = parse(&guardrails).unwrap_err();
            assert!(field == path && message.contains(said), "{field}: {message}");
        };
        refused(json!([{"metric": "clicks"}]), "guardrails[0].metric", "`sample_ratio`");
        refused(json!([{"metric": "ctr", "margin": 1.0}]), "guardrails[0].margin", "below 1, got 1");
        refused(json!([{"metric": "ctr", "margin": -0.1}]), "guardrails[0].margin", "from 0");
        refused(json!([{"metric": "cost_ms", "margin": 11}]), "guardrails[0].margin", "0 to 10");
        refused(json!([{"metric": "ctr"}, {"metric": "ctr"}]), "guardrails[1].metric", "twice");
        refused(json!([{"metric": "sample_ratio", "margin": 0.1}]), "guardrails[0].margin", "not be there");
        refused(json!([{"metric": "ctr", "limit": 1}]), "guardrails[0].limit", "unknown field");
        let many = vec![json!({"metric": "ctr"}); limits::EXPERIMENT_GUARDRAILS + 1];
        refused(json!(many), "guardrails", &limits::EXPERIMENT_GUARDRAILS.to_string());
    }
}
