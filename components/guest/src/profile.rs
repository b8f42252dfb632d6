//! A profile document (design §3.1) as stages see the user.

use funnelweb_core::{id, limits, scenario::Behaviors, time};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::types::{Attribute, Preference, User};

/// The parts of a profile that stages see; the rest is passed over.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Profile {
    features: Map<String, Value>,
    preferences: Map<String, Value>,
    recent_items: Vec<Recent>,
}

#[derive(Deserialize)]
struct Recent {
    item_id: String,
    #[serde(default)]
    action_type: String,
}

/// How much an action counts that the scenario gives no weight above 0, as of a
/// profile that somebody wrote.
const PLAIN_WEIGHT: f32 = 1.0;

/// The user of a request; one without a profile, or with one that does not read,
/// is a new user.
#[must_use]
pub fn user(user_id: &str, document: Option<&str>, behaviors: &Behaviors) -> User {
    let profile: Profile = document.and_then(|body| serde_json::from_str(body).ok()).unwrap_or_default();
    let attributes = profile.features.iter().filter_map(|(name, value)| {
        let values = values(value).filter(|values| !values.is_empty())?;
        Some(Attribute { name: name.clone(), values })
    });
    let weights = profile.recent_items.iter().map(|recent| match behaviors.weight(&recent.action_type) {
        weight if weight > 0.0 => weight,
        _ => PLAIN_WEIGHT,
    });
    User {
        id: user_id.to_owned(),
        attributes: attributes.collect(),
        preferences: preferences(&profile.preferences),
        recent: profile.recent_items.iter().map(|recent| id::handle(&recent.item_id)).collect(),
        recent_weights: weights.collect(),
    }
}

/// When a profile was created, in milliseconds since 1970.
#[must_use]
pub fn created_ms(document: &str) -> Option<u64> {
    #[derive(Deserialize)]
    struct Created {
        created_at: String,
    }
    time::parse_ms(&serde_json::from_str::<Created>(document).ok()?.created_at)
}

/// `category_scores`, `tag_scores` and `F_scores` for any other field.
fn preferences(scores: &Map<String, Value>) -> Vec<Preference> {
    let mut all = Vec::new();
    for (name, values) in scores {
        let (Some(field), Some(values)) = (name.strip_suffix("_scores"), values.as_object()) else { continue };
        let field = if field == "tag" { "tags" } else { field };
        for (value, score) in values {
            if let Some(score) = score.as_f64() {
                all.push(Preference { field: field.to_owned(), value: value.clone(), score: score as f32 });
            }
        }
    }
    strongest(all)
}

/// Preferences as stages are given them: the [`limits::STAGE_PREFERENCES`]
/// strongest first, without those that are 0 or not finite, scaled so that the
/// strongest has magnitude 1. All scores of a profile decay alike, so scaling makes
/// their age cancel out.
#[must_use]
pub fn strongest(mut all: Vec<Preference>) -> Vec<Preference> {
    all.retain(|preference| preference.score.is_finite() && preference.score != 0.0);
    all.sort_by(|one, other| {
        other
            .score
            .abs()
            .total_cmp(&one.score.abs())
            .then_with(|| (&one.field, &one.value).cmp(&(&other.field, &other.value)))
    });
    all.truncate(limits::STAGE_PREFERENCES);
    if let Some(strongest) = all.first().map(|preference| preference.score.abs()) {
        for preference in &mut all {
            preference.score /= strongest;
        }
    }
    all
}

/// The texts of a scalar or of an array of scalars, numbers and booleans in their
/// JSON spelling; None for anything else.
#[must_use]
pub fn values(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Array(values) => values.iter().map(scalar).collect(),
        other => scalar(other).map(|text| vec![text]),
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(yes) => Some(yes.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_says_since_when_it_is() {
        let body = r#"{"user_id":"ann","created_at":"2026-01-31T12:00:00.250Z","features":{"created_at":"never"}}"#;
        assert_eq!(created_ms(body), Some(1_769_860_800_250));
        assert!(
            ["{}", "[]", r#"{"created_at":3}"#, r#"{"created_at":"soon"}"#]
                .iter()
                .all(|body| created_ms(body).is_none())
        );
    }

    #[test]
    fn a_profile_becomes_a_user() {
        let user = user(
            "ann",
            Some(
                r#"{"features":{"age":"18-25","favorite_categories":["a","b"],"n":3,"deep":{"x":1}},
                    "preferences":{"category_scores":{"a":2.0,"b":-4.0},"tag_scores":{"t":1.0,"bad":"x"},"other":1},
                    "recent_items":[{"item_id":"i1","action_type":"click","at":"2026-01-01T00:00:00Z"},
                        {"item_id":"i2","action_type":"stare"}],"more":1}"#,
            ),
            &Behaviors::default(),
        );
        let names: Vec<_> = user.attributes.iter().map(|attribute| attribute.name.as_str()).collect();
        assert_eq!(names, ["age", "favorite_categories", "n"]);
        let scores: Vec<_> = user.preferences.iter().map(|p| (p.field.as_str(), p.value.as_str(), p.score)).collect();
        assert_eq!(scores, [("category", "b", -1.0), ("category", "a", 0.5), ("tags", "t", 0.25)]);
        assert_eq!(user.recent, [id::handle("i1"), id::handle("i2")]);
        assert_eq!(user.recent_weights, [2.0, PLAIN_WEIGHT]);
    }

    #[test]
    fn stages_are_given_the_strongest_preferences() {
        let of = |count: usize| {
            let scores: Map<String, Value> = (1..=count).map(|at| (format!("v{at}"), at.into())).collect();
            let document = serde_json::json!({"preferences": {"category_scores": scores}});
            user("ann", Some(&document.to_string()), &Behaviors::default()).preferences
        };
        assert_eq!(of(limits::STAGE_PREFERENCES).len(), limits::STAGE_PREFERENCES);
        let most = of(limits::STAGE_PREFERENCES + 1);
        assert_eq!(most.len(), limits::STAGE_PREFERENCES);
        assert_eq!(most.last().unwrap().value, "v2", "the weakest is left out");
    }

    #[test]
    fn a_profile_that_does_not_read_is_none() {
        for document in [None, Some("not json"), Some("[]"), Some(r#"{"recent_items":1}"#)] {
            let user = user("ann", document, &Behaviors::default());
            assert!(user.preferences.is_empty() && user.recent.is_empty() && user.attributes.is_empty());
        }
    }
}
