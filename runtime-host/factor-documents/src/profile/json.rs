//! A state from a document, and into one.

use std::borrow::Cow;

use funnelweb_core::{limits, time};
use serde_json::{Map, Value, json};

use super::{Counter, Recent, Scores, State};

/// Categories listed in `features.favorite_categories`.
const FAVORITES: usize = 5;
/// Decimal digits that are shown of a score.
const DIGITS: i32 = 9;

impl<'a> State<'a> {
    /// What a document that the API wrote says.
    pub(crate) fn from_document(document: &'a Map<String, Value>) -> Self {
        let object = |name: &str| document.get(name).and_then(Value::as_object);
        let features = object("features");
        let scores = object("preferences").into_iter().flatten().filter(|(name, _)| name.ends_with("_scores"));
        let counters = features.into_iter().flatten();
        Self {
            at_ms: document.get("preferences_at_ms").and_then(Value::as_u64),
            active_ms: features
                .and_then(|features| features.get("last_active_at"))
                .and_then(Value::as_str)
                .and_then(time::parse_ms),
            scores: scores
                .map(|(name, values)| Scores { name: name.as_str().into(), values: numbers(values) })
                .collect(),
            counters: counters
                .filter_map(|(name, value)| {
                    Some(Counter { name: name.as_str().into(), value: value.as_f64()?, moved: false })
                })
                .collect(),
            recent: document
                .get("recent_items")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Recent::from_entry)
                .take(limits::PROFILE_RECENT_ITEMS)
                .collect(),
            ..Self::default()
        }
    }

    /// Puts the state into the document; times of the document itself excepted.
    pub(crate) fn merge_into(&self, document: &mut Map<String, Value>, scenario: &str, user: &str) {
        document.insert("user_id".to_owned(), user.into());
        document.insert("scenario_id".to_owned(), scenario.into());
        if let Some(at_ms) = self.at_ms {
            document.insert("preferences_at_ms".to_owned(), at_ms.into());
        }
        change_part(document, "preferences", |preferences| {
            for scores in &self.scores {
                let values = scores.values.iter().map(|(value, score)| (value.to_string(), round(*score).into()));
                preferences.insert(scores.name.to_string(), Value::Object(values.collect()));
            }
        });
        change_part(document, "features", |features| self.merge_features(features));
        if self.recent_moved {
            let recent: Vec<Value> = self.recent.iter().map(Recent::to_entry).collect();
            document.insert("recent_items".to_owned(), recent.into());
        }
    }

    fn merge_features(&self, features: &mut Map<String, Value>) {
        for counter in self.counters.iter().filter(|counter| counter.moved) {
            // Counts read as counts: 3, not 3.0.
            let whole = counter.value.fract() == 0.0 && counter.value.abs() < 9e15;
            let value = if whole { Value::from(counter.value as i64) } else { counter.value.into() };
            features.insert(counter.name.to_string(), value);
        }
        if let Some(favorites) = self.favorites() {
            features.insert("favorite_categories".to_owned(), favorites.into());
        }
        if let Some(active_ms) = self.active_ms {
            features.insert("last_active_at".to_owned(), time::format_ms(active_ms).into());
        }
    }

    /// Categories by score, best first.
    fn favorites(&self) -> Option<Vec<&str>> {
        let scores = self.scores.iter().find(|scores| scores.name == "category_scores")?;
        let mut liked: Vec<&(Cow<'_, str>, f64)> = scores.values.iter().filter(|(_, score)| *score > 0.0).collect();
        liked.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        Some(liked.into_iter().take(FAVORITES).map(|(value, _)| &**value).collect())
    }
}

impl<'a> Recent<'a> {
    fn from_entry(entry: &'a Value) -> Option<Self> {
        let text = |name: &str| entry.get(name).and_then(Value::as_str);
        Some(Self {
            item: text("item_id")?.into(),
            at_ms: text("at").and_then(time::parse_ms).unwrap_or(0),
            action: text("action_type").unwrap_or_default().into(),
            text: Some(entry.to_string().into()),
        })
    }

    fn to_entry(&self) -> Value {
        match &self.text {
            Some(text) => serde_json::from_str(text).unwrap_or_default(),
            None => json!({
                "item_id": self.item, "action_type": self.action, "at": time::format_ms(self.at_ms)
            }),
        }
    }
}

fn numbers(values: &Value) -> Vec<(Cow<'_, str>, f64)> {
    let values = values.as_object().into_iter().flatten();
    values.filter_map(|(value, score)| Some((value.as_str().into(), score.as_f64()?))).collect()
}

/// Changes the object under `name`; a new one when something else is there.
fn change_part(document: &mut Map<String, Value>, name: &str, change: impl FnOnce(&mut Map<String, Value>)) {
    let mut part = match document.remove(name) {
        Some(Value::Object(part)) => part,
        _ => Map::new(),
    };
    change(&mut part);
    document.insert(name.to_owned(), Value::Object(part));
}

/// To [`DIGITS`] digits, for the sake of the document's length.
fn round(score: f64) -> f64 {
    if score == 0.0 {
        return 0.0;
    }
    let scale = 10_f64.powi(DIGITS - 1 - score.abs().log10().floor() as i32);
    let rounded = (score * scale).round() / scale;
    // Scales of scores that are nearly nothing are not finite.
    if rounded.is_finite() { rounded } else { score }
}
