//! What an event changes: the item's heat and counters, the user's profile.

use funnelweb_core::behavior::{Facts, Lesson, Weighing};
use funnelweb_guest::events::{CountEffect, Effect, HotEffect, ProfileEffect};

use crate::event::{Measures, Read};

/// The changes of one event. An item that the catalogue does not have (yet) gets
/// its heat and counters; nothing is learnt from it about the user. An action
/// that weighs nothing (an impression) is only counted.
pub(crate) fn of(read: &Read, weighing: Weighing, item: Option<&Facts>) -> Vec<Effect> {
    let action = read.event.action_type.as_str();
    let weight = weighing.weight;
    let mut effects = counts(action, read.measures);
    if weight > 0.0 {
        effects.push(Effect::Hot(HotEffect { weight: weight.into(), half_life_s: weighing.hot_half_life_s }));
    }
    if let Some(Lesson { preferences, counters, recent }) = item.and_then(|item| Lesson::of(action, weight, item)) {
        let half_life_s = weighing.profile_half_life_s;
        effects.push(Effect::Profile(ProfileEffect { preferences, half_life_s, counters, recent }));
    }
    effects
}

fn counts(action: &str, measures: Measures) -> Vec<Effect> {
    let count = |field: String, amount: f64| Effect::Count(CountEffect { field, amount });
    let mut effects = vec![count(format!("{action}_count"), 1.0)];
    for (name, value) in [("completion_rate", measures.completion_rate), ("watch_duration", measures.watch_duration)] {
        if let Some(value) = value {
            effects.push(count(format!("{name}_sum"), value));
            effects.push(count(format!("{name}_count"), 1.0));
        }
    }
    effects
}

#[cfg(test)]
mod tests {
    use funnelweb_core::{limits, scenario::Behaviors};

    use super::*;
    use crate::event::{Sender, read};

    fn effects(action: &str, extra: &str, item: Option<&str>) -> String {
        let sender = Sender { request_id: "r", user_id: Some("u"), now_ms: 1 };
        let text = format!(r#"{{"scenario_id":"s","item_id":"i","action_type":"{action}","extra":{extra}}}"#);
        let effects = of(
            &read(text.as_bytes(), 0, sender).unwrap(),
            Weighing::new(&Behaviors::default(), action),
            item.map(Facts::of).as_ref(),
        );
        assert!(effects.len() <= limits::EVENT_EFFECTS);
        let words: Vec<String> = effects
            .iter()
            .map(|effect| match effect {
                Effect::Hot(hot) => format!("hot {} {}", hot.weight, hot.half_life_s),
                Effect::Count(count) => format!("{} {}", count.field, count.amount),
                Effect::Profile(profile) => format!(
                    "{:?} {:?} {} {}",
                    profile.preferences, profile.counters, profile.recent, profile.half_life_s
                ),
            })
            .collect();
        words.join("; ")
    }

    const ITEM: &str = r#"{"item_id":"i","metadata":{"category":"c","tags":["a","b"],"n":1},"status":"active"}"#;

    #[test]
    fn a_liking_heats_counts_and_is_learnt_from() {
        assert_eq!(
            effects("like", "{}", Some(ITEM)),
            concat!(
                r#"like_count 1; hot 3 86400; "#,
                r#"[("category", "c", 3.0), ("tags", "a", 1.5), ("tags", "b", 1.5)] [("total_like_count", 1.0)] true 1209600"#
            )
        );
    }

    #[test]
    fn watching_is_counted_together_and_once() {
        let of = |action: &str| effects(action, "{}", Some(r#"{"metadata":{}}"#));
        assert_eq!(
            of("view"),
            r#"view_count 1; hot 1 86400; [] [("total_view_count", 1.0), ("total_watch_count", 1.0)] true 1209600"#
        );
        assert_eq!(of("watch"), r#"watch_count 1; hot 2 86400; [] [("total_watch_count", 1.0)] true 1209600"#);
    }

    #[test]
    fn a_dislike_cools_nothing_and_lowers_preferences() {
        assert_eq!(
            effects("dislike", "{}", Some(r#"{"metadata":{"category":"c"}}"#)),
            r#"dislike_count 1; [("category", "c", -4.0)] [("total_dislike_count", 1.0)] false 1209600"#
        );
    }

    #[test]
    fn impressions_and_unknown_actions_are_only_counted() {
        assert_eq!(effects("impression", "{}", Some(ITEM)), "impression_count 1");
        assert_eq!(effects("hum", "{}", Some(ITEM)), "hum_count 1");
    }

    #[test]
    fn measures_are_summed_and_an_unknown_item_teaches_nothing() {
        assert_eq!(
            effects("play", r#"{"completion_rate":0.5,"watch_duration":30,"price":9}"#, None),
            concat!(
                "play_count 1; completion_rate_sum 0.5; completion_rate_count 1; ",
                "watch_duration_sum 30; watch_duration_count 1; hot 2 86400"
            )
        );
    }

    #[test]
    fn values_that_no_profile_takes_are_passed_over() {
        let odd = r#"{"metadata":{"category":"","tags":["a",""]}}"#;
        assert!(effects("like", "{}", Some(odd)).contains(r#"[("tags", "a", 1.5)]"#));
    }
}
