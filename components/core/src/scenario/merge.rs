//! How the answers of the recall channels become one list.

use serde::{Deserialize, Serialize};

use super::config;
use crate::error::ApiError;

/// The merge of the channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Merge {
    /// `rrf` unless said otherwise.
    pub method: MergeMethod,
    /// With `rrf`: how little the first places stand out, 1 to 1000; see
    /// [`Merge::DEFAULT_K`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub k: Option<u32>,
    /// With `score`: how the scores of a channel are made comparable with those of
    /// others; `min_max` unless said otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub normalization: Option<Normalization>,
}

/// What is merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MergeMethod {
    /// Places: weighted reciprocal rank fusion.
    #[default]
    Rrf,
    /// Scores: their weighted sum, normalised by channel.
    Score,
}

/// How the scores of one channel are normalised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalization {
    /// The lowest to 0, the highest to 1.
    #[default]
    MinMax,
    /// The mean to 0.5, z standard deviations above it to 1 / (1 + e^-z).
    ZScore,
    /// The lowest to 0, and all together to 1.
    Sum,
}

impl Merge {
    /// What `k` is unless said otherwise.
    pub const DEFAULT_K: u32 = 60;

    pub(super) fn check(&self) -> Result<(), ApiError> {
        let path = |field: &str| format!("config.recall.merge.{field}");
        match (self.k, self.method) {
            (Some(_), MergeMethod::Score) => return Err(config(path("k"), "is for the method `rrf`")),
            (Some(k), MergeMethod::Rrf) if !(1..=1000).contains(&k) => {
                return Err(config(path("k"), format!("must be 1 to 1000, got {k}")));
            }
            _ => {}
        }
        if self.normalization.is_some() && self.method == MergeMethod::Rrf {
            return Err(config(path("normalization"), "is for the method `score`"));
        }
        Ok(())
    }
}
