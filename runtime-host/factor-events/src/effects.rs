//! What an event changes, by what it says.

use funnelweb_core::{behavior, id};
use serde::Deserialize;

use crate::store::{CountEffect, Effect, Event, HotEffect, ProfileEffect, Signal};

/// What is aggregated of an event's body, as far as it is there and of its type.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Details {
    /// `context.experiment_group`; empty outside of experiments.
    pub group: String,
    /// `extra.completion_rate`: the part of the item that was consumed.
    pub completion_rate: Option<f64>,
    /// `extra.watch_duration`, in seconds.
    pub watch_duration: Option<f64>,
}

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
}

impl Details {
    /// Of an event's body.
    #[must_use]
    pub fn of(body: &str) -> Self {
        let Body { context, extra } = serde_json::from_str(body).unwrap_or_default();
        let number = |value: Option<serde_json::Value>| value.and_then(|value| value.as_f64());
        let group = context.experiment_group.as_ref().and_then(serde_json::Value::as_str);
        Self {
            group: group.filter(|group| id::check(group).is_ok()).unwrap_or_default().to_owned(),
            completion_rate: number(extra.completion_rate),
            watch_duration: number(extra.watch_duration),
        }
    }
}

/// What the next request needs, where operators follow with the rest: the user's recent
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

/// Everything, where no operators follow.
#[must_use]
pub fn all(event: &Event) -> Vec<Effect> {
    let Details { completion_rate, watch_duration, group: _ } = Details::of(&event.body);
    let counted = behavior::item_counters(&event.action_type, completion_rate, watch_duration);
    let count = |(field, amount)| Effect::Count(CountEffect { field, amount });
    let mut effects: Vec<Effect> = counted.into_iter().map(count).collect();
    let Some(signal) = &event.signal else { return effects };
    if signal.weight > 0.0 {
        effects.push(Effect::Hot(HotEffect { weight: signal.weight.into(), half_life_s: signal.hot_half_life_s }));
    }
    if signal.known {
        effects.push(Effect::Profile(ProfileEffect {
            preferences: signal.preferences.clone(),
            half_life_s: signal.profile_half_life_s,
            counters: behavior::user_counters(&event.action_type, event.timestamp_ms),
            recent: signal.weight > 0.0,
        }));
    }
    effects
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(weight: f32, known: bool, body: &str) -> Event {
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
            body: body.to_owned(),
            signal: (weight != 0.0).then_some(said),
        }
    }

    fn shown(effects: &[Effect]) -> String {
        let one = |effect: &Effect| match effect {
            Effect::Hot(hot) => format!("hot {} {}", hot.weight, hot.half_life_s),
            Effect::Count(count) => format!("{} {}", count.field, count.amount),
            Effect::Profile(ProfileEffect { preferences, half_life_s, counters, recent }) => {
                format!("{preferences:?} {counters:?} {recent} {half_life_s}")
            }
        };
        effects.iter().map(one).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn a_liking_heats_counts_and_is_learnt_from() {
        let body = r#"{"extra":{"completion_rate":0.5,"watch_duration":30,"price":9}}"#;
        assert_eq!(
            shown(&all(&event(2.0, true, body))),
            concat!(
                "play_count 1; completion_rate_sum 0.5; completion_rate_count 1; watch_duration_sum 30; ",
                r#"watch_duration_count 1; hot 2 60; [("category", "c", 2.0)] "#,
                r#"[("total_play_count", 1.0), ("total_watch_count", 1.0), ("active_hour_01", 1.0)] true 600"#
            )
        );
        assert_eq!(shown(&at_once(&event(2.0, true, body))), "[] [] true 600");
    }

    #[test]
    fn a_dislike_cools_nothing_and_what_says_nothing_is_only_counted() {
        let disliked = shown(&all(&event(-4.0, true, "{}")));
        assert!(disliked.contains(r#"("category", "c", -4.0)"#) && disliked.contains("false 600"), "{disliked}");
        assert!(!disliked.contains("hot") && at_once(&event(-4.0, true, "{}")).is_empty());
        assert_eq!(shown(&all(&event(0.0, false, "{}"))), "play_count 1");
        assert_eq!(shown(&all(&event(2.0, false, "{}"))), "play_count 1; hot 2 60");
        assert!(at_once(&event(2.0, false, "{}")).is_empty());
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
