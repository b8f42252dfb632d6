//! The stage's params.

use funnelweb_core::limits;
use funnelweb_guest::{
    params,
    types::{ColumnKind, ParamError, Requirements},
};
use serde::Deserialize;

/// What makes two items alike; weights are 0 to 100 and count relative to each
/// other, 0 switches a part off.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// A field with one value, default `category`.
    pub category_field: String,
    /// A field with several values, default `tags`.
    pub tags_field: String,
    /// The weight of having the same category, default 0.5.
    pub category_weight: f32,
    /// The weight of the tags' overlap, default 0.3.
    pub tags_weight: f32,
    /// The weight of the embeddings' cosine, default 0.2.
    pub embedding_weight: f32,
    /// The positions from the top that are diversified, 1 to 400. Default the
    /// larger of twice the request's count and 50.
    pub window: Option<usize>,
}

const LONGEST_WINDOW: usize = 2 * limits::COUNT as usize;

impl Default for Params {
    fn default() -> Self {
        Self {
            category_field: "category".to_owned(),
            tags_field: "tags".to_owned(),
            category_weight: 0.5,
            tags_weight: 0.3,
            embedding_weight: 0.2,
            window: None,
        }
    }
}

impl Params {
    /// Reads and checks params.
    ///
    /// # Errors
    /// With the JSON pointer of the first one that does not fit.
    pub fn parse(params: &str) -> Result<Self, ParamError> {
        let parsed: Self = params::parse(params)?;
        params::check_field("/category_field", &parsed.category_field)?;
        params::check_field("/tags_field", &parsed.tags_field)?;
        let weights = [
            ("/category_weight", parsed.category_weight),
            ("/tags_weight", parsed.tags_weight),
            ("/embedding_weight", parsed.embedding_weight),
        ];
        for (path, weight) in weights {
            params::check_range(path, weight, 0.0..=100.0)?;
        }
        if weights.iter().all(|(_, weight)| *weight == 0.0) {
            return Err(params::refuse("", "one of the weights must be above 0"));
        }
        if let Some(window) = parsed.window {
            params::check_range("/window", window, 1..=LONGEST_WINDOW)?;
        }
        Ok(parsed)
    }

    /// The columns of the parts that count.
    #[must_use]
    pub fn requirements(&self) -> Requirements {
        let parts = [
            (self.category_weight, self.category_field.as_str(), ColumnKind::Categorical),
            (self.tags_weight, self.tags_field.as_str(), ColumnKind::MultiCategorical),
            (self.embedding_weight, "embedding", ColumnKind::Embedding),
        ];
        Requirements::columns(parts.into_iter().filter(|part| part.0 > 0.0).map(|(_, name, kind)| (name, kind)))
    }

    /// The positions to fill for a request of that count.
    #[must_use]
    pub fn window(&self, count: u32) -> usize {
        self.window.unwrap_or_else(|| (2 * count.min(limits::COUNT) as usize).max(50))
    }
}
