//! What a behaviour says of the user: the same when it arrives and when profiles are
//! made anew from the log.

use serde::Deserialize;

use crate::{limits, scenario::Behaviors};

/// An action moves the preference for the item's category by its weight.
const CATEGORY_SHARE: f32 = 1.0;
/// And for each of its tags by half of it: an item has one category and several
/// tags, each of which says less.
const TAG_SHARE: f32 = 0.5;
/// Actions that consume an item, counted together as `total_watch_count`.
const WATCHING: [&str; 3] = ["view", "watch", "play"];

/// What preferences are learnt from. Anything that is not text is passed over.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Facts {
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
struct Metadata {
    #[serde(default)]
    category: Option<String>,
    #[serde(default)]
    tags: Option<Vec<String>>,
}

impl Facts {
    /// Of a stored item.
    #[must_use]
    pub fn of(body: &str) -> Self {
        // An item is checked when it is written.
        serde_json::from_str(body).unwrap_or_default()
    }

    /// What an action of this weight adds to the user's preferences: field
    /// (`category`, `tags`), value, how much.
    #[must_use]
    pub fn preferences(&self, weight: f32) -> Vec<(String, String, f32)> {
        let category = self.metadata.category.iter().map(|value| ("category", value, CATEGORY_SHARE));
        let tags = self.metadata.tags.iter().flatten().map(|value| ("tags", value, TAG_SHARE));
        // The host refuses others; a catalogue may have come another way than ours.
        let named = category.chain(tags).filter(|(_, value, _)| (1..=limits::TERM_BYTES).contains(&value.len()));
        named
            .take(1 + limits::ITEM_TAGS)
            .map(|(field, value, share)| (field.to_owned(), value.clone(), weight * share))
            .collect()
    }
}

/// What an action means in a scenario.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weighing {
    /// Above 0 for a liking, below for the contrary.
    pub weight: f32,
    /// After which it counts half in an item's heat.
    pub hot_half_life_s: u32,
    /// After which it counts half in a user's preferences.
    pub profile_half_life_s: u32,
}

impl Weighing {
    /// By the scenario's settings.
    #[must_use]
    pub fn new(behaviors: &Behaviors, action: &str) -> Self {
        Self {
            weight: behaviors.weight(action),
            hot_half_life_s: seconds(behaviors.hot_half_life_hours, 3600.0),
            profile_half_life_s: seconds(behaviors.profile_half_life_days, 86_400.0),
        }
    }
}

/// How a behaviour moves the profile of its user.
#[derive(Debug, Clone, PartialEq)]
pub struct Lesson {
    /// Item field, value, and how much to add to its preference.
    pub preferences: Vec<(String, String, f32)>,
    /// Counters in the profile's `features`, and how much to add.
    pub counters: Vec<(String, f64)>,
    /// Whether the item joins the list of recent items.
    pub recent: bool,
}

impl Lesson {
    /// Of an action on an item; none of one that weighs nothing (an impression).
    #[must_use]
    pub fn of(action: &str, weight: f32, at_ms: u64, item: &Facts) -> Option<Self> {
        (weight != 0.0).then(|| Self {
            preferences: item.preferences(weight),
            counters: user_counters(action, at_ms),
            recent: weight > 0.0,
        })
    }
}

/// What an action adds to counters in the `features` of its user: `total_<action>_count`,
/// `total_watch_count`, and `active_hour_<00 to 23>` of the day (UTC).
#[must_use]
pub fn user_counters(action: &str, at_ms: u64) -> Vec<(String, f64)> {
    let mut counters = vec![(format!("total_{action}_count"), 1.0)];
    if WATCHING.contains(&action) && action != "watch" {
        counters.push(("total_watch_count".to_owned(), 1.0));
    }
    counters.push((format!("active_hour_{:02}", at_ms / 3_600_000 % 24), 1.0));
    counters
}

/// A time in whole seconds, at least one. The config bounds it.
fn seconds(time: f32, unit_s: f32) -> u32 {
    (time * unit_s).round().max(1.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn category_and_tags_are_learnt_from() {
        let facts = Facts::of(r#"{"item_id":"i","metadata":{"category":"c","tags":["a",""],"n":1}}"#);
        let of = |field: &str, value: &str, amount| (field.to_owned(), value.to_owned(), amount);
        assert_eq!(facts.preferences(4.0), [of("category", "c", 4.0), of("tags", "a", 2.0)]);
    }

    #[test]
    fn what_an_item_does_not_say_is_passed_over() {
        assert_eq!(Facts::of("{}"), Facts::default());
        assert_eq!(Facts::of(r#"{"metadata":{"category":null,"tags":null}}"#), Facts::default());
    }

    #[test]
    fn what_weighs_nothing_teaches_nothing() {
        assert_eq!(Lesson::of("impression", 0.0, 0, &Facts::default()), None);
        assert!(!Lesson::of("skip", -1.0, 0, &Facts::default()).unwrap().recent);
    }

    #[test]
    fn watching_is_counted_together_and_once_and_by_the_hour() {
        let at_ms = 1_767_225_600_000 + 13 * 3_600_000 + 1;
        let of = |action: &str| user_counters(action, at_ms).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(of("view"), ["total_view_count", "total_watch_count", "active_hour_13"]);
        assert_eq!(of("watch"), ["total_watch_count", "active_hour_13"]);
        assert_eq!(of("like"), ["total_like_count", "active_hour_13"]);
    }
}
