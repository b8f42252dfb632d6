//! How a user's profile moves with what the user does.
//!
//! The document of collection `user-profiles`:
//! `{user_id, scenario_id, features: {<counters>, favorite_categories,
//! last_active_at}, preferences: {category_scores, tag_scores, <field>_scores},
//! recent_items: [{item_id, action_type, at}], preferences_at_ms, updated_at}`.
//!
//! A score is a sum of weights that halve every half-life, as of
//! `preferences_at_ms`. A document that the API wrote may lack any part or have
//! something else in its place: a part of another type begins anew, everything
//! that this module does not own is left as it is.

use std::collections::{BTreeMap, HashMap};

use funnelweb_core::{limits, time};
use funnelweb_factor_live::decay_factor;
use serde_json::{Map, Value, json};

use crate::store::{Event, ProfileEffect};

/// Categories listed in `features.favorite_categories`.
const FAVORITES: usize = 5;
/// A score nearer to 0 is forgotten.
const LEAST_SCORE: f64 = 1e-6;
/// Decimal digits kept of a score. So many that rounding takes back less than
/// decays between any two events of a person.
const DIGITS: i32 = 9;

type Scores = HashMap<String, f64>;

/// The name under which `preferences` holds the scores of an item field.
#[must_use]
pub fn scores_name(field: &str) -> String {
    match field {
        "tags" => "tag_scores".to_owned(),
        field => format!("{field}_scores"),
    }
}

/// Moves `profile` by the effects of a user's events in one scenario, in any
/// order. An event older than the profile is itself decayed to the profile's
/// time, so the order in which events arrive does not matter.
pub fn apply(profile: &mut Map<String, Value>, moves: &[(&Event, &ProfileEffect)]) {
    let Some((newest, effect)) = moves.iter().max_by_key(|(event, _)| event.timestamp_ms) else { return };
    profile.insert("user_id".to_owned(), newest.user_id.as_str().into());
    profile.insert("scenario_id".to_owned(), newest.scenario_id.as_str().into());

    let before_ms = profile.get("preferences_at_ms").and_then(Value::as_u64);
    let at_ms = before_ms.unwrap_or(0).max(newest.timestamp_ms);
    let aged = before_ms.map_or(1.0, |before_ms| decay_factor(before_ms, at_ms, effect.half_life_s));
    profile.insert("preferences_at_ms".to_owned(), at_ms.into());
    let favorites =
        change_part(profile, "preferences", |preferences| move_preferences(preferences, moves, at_ms, aged));
    change_part(profile, "features", |features| move_features(features, moves, newest.timestamp_ms, favorites));
    if moves.iter().any(|(_, effect)| effect.recent) {
        move_recent(profile, moves);
    }
}

/// Changes the object under `name`; a new one when something else is there.
fn change_part<T>(
    profile: &mut Map<String, Value>,
    name: &str,
    change: impl FnOnce(&mut Map<String, Value>) -> T,
) -> T {
    let mut part = match profile.remove(name) {
        Some(Value::Object(part)) => part,
        _ => Map::new(),
    };
    let answer = change(&mut part);
    profile.insert(name.to_owned(), Value::Object(part));
    answer
}

/// Ages all scores, adds the new ones; the favourite categories, best first.
fn move_preferences(
    preferences: &mut Map<String, Value>,
    moves: &[(&Event, &ProfileEffect)],
    at_ms: u64,
    aged: f64,
) -> Option<Vec<String>> {
    let mut all: BTreeMap<String, Scores> = BTreeMap::new();
    for (name, scores) in preferences.iter().filter(|(name, _)| name.ends_with("_scores")) {
        let scores = scores.as_object().into_iter().flatten();
        let aged = scores.filter_map(|(value, score)| Some((value.clone(), score.as_f64()? * aged)));
        all.insert(name.clone(), aged.collect());
    }
    for (event, effect) in moves {
        let decay = decay_factor(event.timestamp_ms, at_ms, effect.half_life_s);
        for (field, value, weight) in &effect.preferences {
            let scores = all.entry(scores_name(field)).or_default();
            *scores.entry(value.clone()).or_default() += f64::from(*weight) * decay;
        }
    }
    let mut favorites = None;
    for (name, scores) in all {
        let mut kept: Vec<(String, f64)> = scores
            .into_iter()
            .filter(|(_, score)| score.abs() >= LEAST_SCORE)
            .map(|(value, score)| (value, round(score)))
            .collect();
        if kept.len() > limits::PROFILE_PREFERENCES {
            kept.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()).then_with(|| a.0.cmp(&b.0)));
            kept.truncate(limits::PROFILE_PREFERENCES);
        }
        if name == "category_scores" {
            let mut liked: Vec<&(String, f64)> = kept.iter().filter(|(_, score)| *score > 0.0).collect();
            liked.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
            favorites = Some(liked.into_iter().take(FAVORITES).map(|(value, _)| value.clone()).collect());
        }
        let scores = kept.into_iter().map(|(value, score)| (value, score.into())).collect();
        preferences.insert(name, Value::Object(scores));
    }
    favorites
}

/// To [`DIGITS`] digits, for the sake of the document's length.
fn round(score: f64) -> f64 {
    let scale = 10_f64.powi(DIGITS - 1 - score.abs().log10().floor() as i32);
    (score * scale).round() / scale
}

fn move_features(
    features: &mut Map<String, Value>,
    moves: &[(&Event, &ProfileEffect)],
    newest_ms: u64,
    favorites: Option<Vec<String>>,
) {
    for (name, amount) in moves.iter().flat_map(|(_, effect)| &effect.counters) {
        let sum = features.get(name).and_then(Value::as_f64).unwrap_or(0.0) + amount;
        // Counts read as counts: 3, not 3.0.
        let whole = sum.fract() == 0.0 && sum.abs() < 9e15;
        features.insert(name.clone(), if whole { Value::from(sum as i64) } else { sum.into() });
    }
    if let Some(favorites) = favorites {
        features.insert("favorite_categories".to_owned(), favorites.into());
    }
    let before_ms = features.get("last_active_at").and_then(Value::as_str).and_then(time::parse_ms);
    let last_ms = before_ms.unwrap_or(0).max(newest_ms);
    features.insert("last_active_at".to_owned(), time::format_ms(last_ms).into());
}

/// Puts items in front, newest first, each once.
fn move_recent(profile: &mut Map<String, Value>, moves: &[(&Event, &ProfileEffect)]) {
    let mut recent = match profile.remove("recent_items") {
        Some(Value::Array(recent)) => recent,
        _ => Vec::new(),
    };
    recent.retain(|entry| entry.get("item_id").is_some_and(Value::is_string));
    let at_ms = |entry: &Value| entry.get("at").and_then(Value::as_str).and_then(time::parse_ms).unwrap_or(0);
    for (event, _) in moves.iter().filter(|(_, effect)| effect.recent) {
        let same = recent.iter().position(|entry| entry.get("item_id").and_then(Value::as_str) == Some(&event.item_id));
        if let Some(same) = same {
            if recent.get(same).map_or(0, at_ms) > event.timestamp_ms {
                continue;
            }
            recent.remove(same);
        }
        // Nearly always the first is older already.
        let place = recent.iter().position(|entry| at_ms(entry) <= event.timestamp_ms).unwrap_or(recent.len());
        let at = time::format_ms(event.timestamp_ms);
        recent.insert(place, json!({"item_id": event.item_id, "action_type": event.action_type, "at": at}));
        recent.truncate(limits::PROFILE_RECENT_ITEMS);
    }
    profile.insert("recent_items".to_owned(), recent.into());
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: u64 = 3_600_000;

    fn event(item: &str, hour: u64) -> Event {
        Event {
            event_id: format!("{item}{hour}"),
            scenario_id: "s".to_owned(),
            user_id: "u".to_owned(),
            item_id: item.to_owned(),
            action_type: "click".to_owned(),
            timestamp_ms: hour * HOUR_MS,
            body: "{}".to_owned(),
        }
    }

    fn likes(field: &str, value: &str, score: f32) -> ProfileEffect {
        ProfileEffect {
            preferences: vec![(field.to_owned(), value.to_owned(), score)],
            half_life_s: 3600,
            counters: vec![("total_watch_count".to_owned(), 1.0)],
            recent: true,
        }
    }

    fn moved(mut profile: Value, moves: &[(Event, ProfileEffect)]) -> Value {
        let moves: Vec<_> = moves.iter().map(|(event, effect)| (event, effect)).collect();
        apply(profile.as_object_mut().unwrap(), &moves);
        profile
    }

    #[test]
    fn a_first_event_makes_the_documented_shape() {
        let profile = moved(json!({}), &[(event("i", 1), likes("category", "fun", 2.0))]);
        let at = "1970-01-01T01:00:00.000Z";
        let expected = json!({
            "user_id": "u", "scenario_id": "s", "preferences_at_ms": HOUR_MS,
            "features": {"total_watch_count": 1, "favorite_categories": ["fun"], "last_active_at": at},
            "preferences": {"category_scores": {"fun": 2.0}},
            "recent_items": [{"item_id": "i", "action_type": "click", "at": at}]
        });
        assert_eq!(profile, expected);
    }

    #[test]
    fn scores_decay_and_late_events_are_decayed_themselves() {
        let events = [
            (event("a", 1), likes("category", "x", 4.0)),
            (event("b", 3), likes("tags", "t", -1.0)),
            (event("c", 2), likes("category", "x", 2.0)),
        ];
        let expected = json!({"category_scores": {"x": 2.0}, "tag_scores": {"t": -1.0}});
        let at_once = moved(json!({}), &events);
        assert_eq!(at_once["preferences"], expected);
        let one_by_one = events.iter().fold(json!({}), |profile, one| moved(profile, std::slice::from_ref(one)));
        assert_eq!(one_by_one, at_once);
        let order: Vec<_> = at_once["recent_items"].as_array().unwrap().iter().map(|one| &one["item_id"]).collect();
        assert_eq!(order, ["b", "c", "a"]);
        assert_eq!(at_once["features"]["total_watch_count"], 3);
    }

    #[test]
    fn what_the_api_wrote_is_kept_or_begun_anew() {
        let odd = json!({
            "features": [], "preferences": {"category_scores": {"old": 1, "bad": "x"}, "tag_scores": 7, "note": "mine"},
            "recent_items": [3, {"item_id": "z"}], "preferences_at_ms": "never", "embedding": [1]
        });
        let profile = moved(odd, &[(event("i", 1), likes("author", "ann", 1.0))]);
        let expected =
            json!({"category_scores": {"old": 1.0}, "tag_scores": {}, "note": "mine", "author_scores": {"ann": 1.0}});
        assert_eq!(profile["preferences"], expected);
        assert_eq!(profile["embedding"], json!([1]));
        assert_eq!(profile["recent_items"].as_array().unwrap().len(), 2);
        assert_eq!(profile["features"]["favorite_categories"], json!(["old"]));
    }

    #[test]
    fn many_small_steps_decay_as_one_large_one() {
        let still = |tenths_s: u64| {
            let mut event = event("i", 1);
            event.timestamp_ms += tenths_s * 100;
            (event, ProfileEffect { preferences: vec![], ..likes("", "", 0.0) })
        };
        let start = moved(json!({}), &[(event("i", 1), likes("tags", "t", 1.0))]);
        let steps = (0..=36_000).map(still);
        let profile = steps.fold(start, |profile, one| moved(profile, &[one]));
        let score = profile["preferences"]["tag_scores"]["t"].as_f64().unwrap();
        assert!((score - 0.5).abs() < 1e-4, "{score}");
    }

    #[test]
    fn lists_are_bounded() {
        let many = (0..300).map(|at| (event(&at.to_string(), at), likes("tags", &at.to_string(), 1.0)));
        let profile = many.fold(json!({}), |profile, one| moved(profile, &[one]));
        // Of half-lives of an hour, nineteen leave more than a millionth.
        assert!(profile["preferences"]["tag_scores"].as_object().unwrap().len() <= 21);
        assert_eq!(profile["recent_items"].as_array().unwrap().len(), limits::PROFILE_RECENT_ITEMS);
        let at_once: Vec<_> = (0..300).map(|at| (event("i", 1), likes("tags", &at.to_string(), at as f32))).collect();
        let profile = moved(json!({}), &at_once);
        let scores = profile["preferences"]["tag_scores"].as_object().unwrap();
        assert_eq!(scores.len(), limits::PROFILE_PREFERENCES);
        assert!(scores.contains_key("299") && !scores.contains_key("100"));
    }
}
