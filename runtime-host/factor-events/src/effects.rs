//! What an event changes, by what it says.

use funnelweb_core::id;
use serde::Deserialize;

use crate::store::{Effect, Event, ProfileEffect, Signal};

/// What is aggregated of an event's body, as far as it is there, of its type, and 0 to
/// 10⁹.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Details {
    /// `context.experiment_group`; empty outside of experiments.
    pub group: String,
    /// `extra.completion_rate`: the part of the item that was consumed.
    pub completion_rate: Option<f64>,
    /// `extra.watch_duration`, in seconds.
    pub watch_duration: Option<f64>,
    /// `extra.revenue`: what it brought in.
    pub revenue: Option<f64>,
}

/// The most that is summed of one event: 30 years in seconds.
const MOST: f64 = 1e9;

#[derive(Default, Deserialize)]
struct Body {
    #[serde(default)]
    context: Context,
    #[serde(default)]
    extra: Extra,
}

#[derive(Default, Deserialize)]
struct Context {
    #[serde(default)]
    experiment_group: Option<serde_json::Value>,
}

#[derive(Default, Deserialize)]
struct Extra {
    #[serde(default)]
    completion_rate: Option<serde_json::Value>,
    #[serde(default)]
    watch_duration: Option<serde_json::Value>,
    #[serde(default)]
    revenue: Option<serde_json::Value>,
}

impl Details {
    /// Of an event's body.
    #[must_use]
    pub fn of(body: &str) -> Self {
        let Body { context, extra } = serde_json::from_str(body).unwrap_or_default();
        let number = |value: Option<serde_json::Value>| value?.as_f64().filter(|value| (0.0..=MOST).contains(value));
        let group = context.experiment_group.as_ref().and_then(serde_json::Value::as_str);
        Self {
            group: group.filter(|group| id::check(group).is_ok()).unwrap_or_default().to_owned(),
            completion_rate: number(extra.completion_rate),
            watch_duration: number(extra.watch_duration),
            revenue: number(extra.revenue),
        }
    }
}

/// What the next request needs, since operators follow with the rest: the user's recent
/// items.
#[must_use]
pub fn at_once(event: &Event) -> Vec<Effect> {
    let liked = |signal: &&Signal| signal.known && signal.weight > 0.0;
    let recent = |signal: &Signal| {
        let half_life_s = signal.profile_half_life_s;
        Effect::Profile(ProfileEffect { preferences: Vec::new(), half_life_s, counters: Vec::new(), recent: true })
    };
    event.signal.as_ref().filter(liked).map(recent).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(weight: f32, known: bool) -> Event {
        let preferences = vec![("category".to_owned(), "c".to_owned(), weight)];
        let preferences = if known { preferences } else { Vec::new() };
        let said = Signal { weight, hot_half_life_s: 60, profile_half_life_s: 600, known, preferences };
        Event {
            event_id: "e".to_owned(),
            scenario_id: "s".to_owned(),
            user_id: "u".to_owned(),
            item_id: "i".to_owned(),
            action_type: "play".to_owned(),
            timestamp_ms: 3_600_000,
            body: "{}".to_owned(),
            signal: (weight != 0.0).then_some(said),
        }
    }

    #[test]
    fn a_liking_of_a_known_item_is_recent_and_nothing_else_is() {
        let recent = ProfileEffect { preferences: vec![], half_life_s: 600, counters: vec![], recent: true };
        assert_eq!(at_once(&event(2.0, true)), [Effect::Profile(recent)]);
        for (weight, known) in [(-4.0, true), (0.0, false), (2.0, false)] {
            assert_eq!(at_once(&event(weight, known)), []);
        }
    }

    #[test]
    fn what_a_body_says_in_another_type_is_not_there() {
        let body = r#"{"context":{"experiment_group":7},"extra":{"completion_rate":"1","watch_duration":2.5}}"#;
        let details = Details { watch_duration: Some(2.5), ..Details::default() };
        assert_eq!(Details::of(body), details);
        assert_eq!(Details::of("[]"), Details::default());
        assert_eq!(Details::of(r#"{"context":{"experiment_group":"b"}}"#).group, "b");
        assert_eq!(Details::of(r#"{"context":{"experiment_group":"a/b"}}"#).group, "");
    }
}
