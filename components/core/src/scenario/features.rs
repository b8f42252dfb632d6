//! What a scenario declares of its feature table.

use serde::{Deserialize, Serialize};

use super::{
    Strategy,
    check::{check_config_text, check_count, check_range, config},
    one,
};
use crate::{derived::Derived, error::ApiError, limits};

/// The feature table's columns.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Features {
    /// Fields of items.
    #[serde(default)]
    pub item_features: Vec<Feature>,
    /// Fields of user profiles.
    #[serde(default)]
    pub user_features: Vec<Feature>,
    /// Fields of a request's context; `hour` (0 to 23) and `weekday` (0 for Monday to
    /// 6) of the request's time where the context has no such field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub context_features: Vec<Feature>,
    /// Computed for user and item; see [`Derived`](crate::derived::Derived).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub derived_features: Vec<String>,
}

/// One feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feature {
    /// A field of the item's `metadata`, of the profile's `features`, or of the
    /// request's `context`.
    pub name: String,
    /// How it becomes a column.
    #[serde(rename = "type")]
    pub kind: FeatureKind,
    /// What the linear ranker gives it; negative to prefer small values.
    #[serde(default = "one")]
    pub weight: f32,
}

/// How a field becomes a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeatureKind {
    /// A number.
    Numeric,
    /// One value of many.
    Categorical,
    /// Several values.
    MultiCategorical,
    /// A point in time; its age counts.
    Timestamp,
}

impl FeatureKind {
    /// Its name in a config.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Numeric => "numeric",
            Self::Categorical => "categorical",
            Self::MultiCategorical => "multi_categorical",
            Self::Timestamp => "timestamp",
        }
    }
}

impl Features {
    /// The kind of a feature by its full name (`item:price`, `user:age`,
    /// `context:hour`, `derived:category:affinity`), as far as it is declared.
    #[must_use]
    pub fn kind(&self, full_name: &str) -> Option<FeatureKind> {
        let (source, name) = full_name.split_once(':')?;
        let of =
            |features: &[Feature]| features.iter().find(|feature| feature.name == name).map(|feature| feature.kind);
        match source {
            "item" => of(&self.item_features),
            "user" => of(&self.user_features),
            "context" => of(&self.context_features),
            "derived" => self.derived_features.iter().any(|derived| derived == name).then_some(FeatureKind::Numeric),
            _ => None,
        }
    }

    /// Checks what depends on nothing else of the config.
    pub(super) fn check(&self) -> Result<(), ApiError> {
        let lists = [
            ("item_features", &self.item_features),
            ("user_features", &self.user_features),
            ("context_features", &self.context_features),
        ];
        for (list, features) in lists {
            let path = format!("config.features.{list}");
            check_count(&path, features.len(), 0, limits::FEATURES)?;
            for (at, feature) in features.iter().enumerate() {
                let path = format!("{path}[{at}]");
                check_config_text(&format!("{path}.name"), &feature.name)?;
                check_range(&format!("{path}.weight"), feature.weight, -1000.0, 1000.0)?;
                if features.iter().take(at).any(|other| other.name == feature.name) {
                    return Err(config(format!("{path}.name"), format!("`{}` is declared twice", feature.name)));
                }
            }
        }
        let path = "config.features.derived_features";
        check_count(path, self.derived_features.len(), 0, limits::FEATURES)?;
        for (at, name) in self.derived_features.iter().enumerate() {
            let path = format!("{path}[{at}]");
            check_config_text(&path, name)?;
            self.check_derived(name).map_err(|message| config(&path, message))?;
            if self.derived_features.iter().take(at).any(|other| other == name) {
                return Err(config(path, format!("`{name}` is declared twice")));
            }
        }
        Ok(())
    }

    /// That the channels that derived features are about are there.
    pub(super) fn check_channels(&self, channels: &[Strategy]) -> Result<(), ApiError> {
        for (at, name) in self.derived_features.iter().enumerate() {
            let channel = Derived::parse(name).and_then(Derived::channel);
            if let Some(channel) = channel
                && !channels.iter().any(|strategy| strategy.name == channel)
            {
                let message = format!("`{channel}` is none of the recall strategies");
                return Err(config(format!("config.features.derived_features[{at}]"), message));
            }
        }
        Ok(())
    }

    /// The feature it is about must be there.
    fn check_derived(&self, name: &str) -> Result<(), String> {
        let derived = Derived::parse(name).ok_or_else(|| format!("`{name}` must be one of: {}", Derived::FORMS))?;
        let Some(of) = derived.item_feature() else { return Ok(()) };
        let feature = self.item_features.iter().find(|feature| feature.name == of);
        let kind = feature.ok_or_else(|| format!("`{of}` is none of the item_features"))?.kind;
        if matches!(kind, FeatureKind::Categorical | FeatureKind::MultiCategorical) {
            return Ok(());
        }
        Err(format!("`{of}` is {}; only categorical and multi_categorical ones have values", kind.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features() -> Features {
        let feature = |name: &str, kind| Feature { name: name.to_owned(), kind, weight: 1.0 };
        Features {
            item_features: vec![feature("price", FeatureKind::Numeric), feature("tags", FeatureKind::MultiCategorical)],
            user_features: vec![feature("age", FeatureKind::Numeric)],
            context_features: vec![feature("hour", FeatureKind::Categorical)],
            derived_features: vec!["tags:overlap".to_owned(), "recall:hot_items:rank".to_owned()],
        }
    }

    fn channels() -> Vec<Strategy> {
        let strategy = r#"{"name": "hot_items"}"#;
        vec![serde_json::from_str(strategy).unwrap()]
    }

    #[test]
    fn features_have_a_kind_by_their_full_names() {
        let features = features();
        assert_eq!(features.check().and(features.check_channels(&channels())), Ok(()));
        for (name, kind) in [
            ("item:price", Some(FeatureKind::Numeric)),
            ("item:age", None),
            ("user:age", Some(FeatureKind::Numeric)),
            ("context:hour", Some(FeatureKind::Categorical)),
            ("derived:tags:overlap", Some(FeatureKind::Numeric)),
            ("derived:tags:affinity", None),
            ("price", None),
        ] {
            assert_eq!(features.kind(name), kind, "{name}");
        }
    }

    #[test]
    fn a_derived_feature_is_about_something_declared() {
        for (name, said) in [
            ("tags:similarity", "must be one of"),
            ("colour:overlap", "none of the item_features"),
            ("price:affinity", "`price` is numeric"),
            ("recall:user_cf:score", "none of the recall strategies"),
            ("tags:overlap", "declared twice"),
            ("", "must be 1 to"),
        ] {
            let mut features = features();
            features.derived_features.push(name.to_owned());
            let error = features.check().and_then(|()| features.check_channels(&channels())).unwrap_err();
            assert_eq!(error.field.as_deref(), Some("config.features.derived_features[2]"), "{name}");
            assert!(error.message.contains(said), "{name}: {}", error.message);
        }
    }
}
