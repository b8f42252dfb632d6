//! How much the user likes an item's values: the column `F:affinity`.
//!
//! `a(v) = p(v) / max |p|` over all of the user's preferences `p`: 1 for what the
//! user likes most, below 0 for a dislike, 0 for a value nothing is known of. A
//! categorical feature has the `a` of its value. A multi-categorical one has the
//! **mean** of `a` over the item's values, matched or not: an item that is about
//! what the user likes stands above one that merely also mentions it, and adding
//! tags to an item gains nothing.

use funnelweb_core::id;
use funnelweb_guest::types::{ColumnKind, FeatureSpec, Preference};

/// The name of a feature's affinity column.
#[must_use]
pub fn name(feature: &str) -> String {
    format!("{feature}:affinity")
}

/// The user's preferences for the values of one field, by value hash.
#[derive(Debug, Clone, Default)]
pub struct Affinities {
    /// Ascending by hash, each hash once.
    by_value: Vec<(u32, f32)>,
}

impl Affinities {
    /// The preferences that speak of a feature: those of the field of its name,
    /// or else, since profiles learn `category` and `tags`, those of `category`
    /// for a categorical and of `tags` for a multi-categorical feature.
    #[must_use]
    pub fn of(preferences: &[Preference], feature: &FeatureSpec) -> Self {
        let strongest = preferences.iter().map(|it| it.score.abs()).filter(|it| it.is_finite()).fold(0.0, f32::max);
        if strongest <= 0.0 {
            return Self::default();
        }
        let learnt = match feature.kind {
            ColumnKind::MultiCategorical => "tags",
            _ => "category",
        };
        let named = preferences.iter().any(|preference| preference.field == feature.name);
        let field = if named { feature.name.as_str() } else { learnt };
        let mut by_value: Vec<(u32, f32)> = preferences
            .iter()
            .filter(|preference| preference.field == field && preference.score.is_finite())
            .map(|preference| (id::value_hash(&preference.value), preference.score / strongest))
            .collect();
        // Stable, and preferences come strongest first: of a hash met twice the
        // stronger stays.
        by_value.sort_by_key(|(hash, _)| *hash);
        by_value.dedup_by_key(|(hash, _)| *hash);
        Self { by_value }
    }

    /// The affinity of one value; 0 when nothing is known, or for none (0).
    #[must_use]
    pub fn one(&self, value: u32) -> f32 {
        match self.by_value.binary_search_by_key(&value, |(hash, _)| *hash) {
            Ok(at) => self.by_value.get(at).map_or(0.0, |(_, affinity)| *affinity),
            Err(_) => 0.0,
        }
    }

    /// The mean affinity of several values; 0 for none.
    #[must_use]
    pub fn many(&self, values: &[u32]) -> f32 {
        if values.is_empty() || self.by_value.is_empty() {
            return 0.0;
        }
        values.iter().map(|value| self.one(*value)).sum::<f32>() / values.len() as f32
    }
}
