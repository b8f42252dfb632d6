//! The funnel that makes slates ahead of time.

use serde::{Deserialize, Serialize};

use super::{Config, Exploration, Features, Jobs, Rank, Recall, Rerank};
use crate::error::ApiError;

/// Parts of a config that stand in for the scenario's own when slates are made ahead:
/// a heavy funnel for the job, while the scenario serves with a light one that has the
/// channel [`CHANNEL`](Self::CHANNEL). Each is taken whole.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Offline {
    /// In place of `config.features`.
    pub features: Option<Features>,
    /// In place of `config.recall`.
    pub recall: Option<Recall>,
    /// In place of `config.rank`.
    pub rank: Option<Rank>,
    /// In place of `config.rerank`.
    pub rerank: Option<Rerank>,
}

impl Offline {
    /// The recall channel that offers the slates.
    pub const CHANNEL: &'static str = "precomputed";

    /// Checks every rule that needs no stage.
    ///
    /// # Errors
    /// The first that is broken, with the path it would have in a scenario.
    pub fn check(&self) -> Result<(), ApiError> {
        self.features.as_ref().map_or(Ok(()), Features::check)?;
        self.recall.as_ref().map_or(Ok(()), Recall::check)?;
        self.rank.as_ref().map_or(Ok(()), Rank::check)?;
        self.rerank.as_ref().map_or(Ok(()), Rerank::check)
    }

    /// The config of the offline funnel. The slates themselves are no channel of it, nor
    /// is what exists to be drawn anew for every request; none when no channel is left.
    #[must_use]
    pub fn over(self, config: Config) -> Option<Config> {
        let mut offline = Config {
            features: self.features.unwrap_or(config.features),
            recall: self.recall.unwrap_or(config.recall),
            rank: self.rank.unwrap_or(config.rank),
            rerank: self.rerank.unwrap_or(config.rerank),
            exploration: Exploration::default(),
            jobs: Jobs::default(),
            ..config
        };
        let strategies = &mut offline.recall.strategies;
        strategies.retain(|strategy| ![Self::CHANNEL, Exploration::CHANNEL].contains(&strategy.name.as_str()));
        (!strategies.is_empty()).then_some(offline)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn config(strategies: Value) -> Config {
        serde_json::from_value(json!({
            "recall": {"strategies": strategies}, "rank": {"model": "deepfm"}, "exposure": {"enabled": false},
            "exploration": {"share": 0.1}, "jobs": {"precompute": {"schedule": "0 3 * * *"}}
        }))
        .unwrap()
    }

    fn names(config: &Config) -> Vec<&str> {
        config.recall.strategies.iter().map(|strategy| strategy.name.as_str()).collect()
    }

    #[test]
    fn the_scenario_s_own_funnel_without_slates_and_exploration() {
        let all = json!([{"name": "latest"}, {"name": "precomputed"}, {"name": "explore"}, {"name": "hot_items"}]);
        let offline = Offline::default().over(config(all)).unwrap();
        assert_eq!(names(&offline), ["latest", "hot_items"]);
        assert_eq!((offline.exploration.share, offline.jobs, offline.exposure.enabled), (0.0, Jobs::default(), false));
        let fed_by_itself = json!([{"name": "precomputed"}, {"name": "explore"}]);
        assert_eq!(Offline::default().over(config(fed_by_itself)), None);
    }

    #[test]
    fn a_part_is_taken_whole() {
        let offline: Offline = serde_json::from_value(
            json!({"recall": {"strategies": [{"name": "item_cf"}]}, "rank": {"model": "linear"}}),
        )
        .unwrap();
        offline.check().unwrap();
        let offline = offline.over(config(json!([{"name": "precomputed"}]))).unwrap();
        assert_eq!((names(&offline), offline.rank.model.as_str()), (vec!["item_cf"], "linear"));
    }

    #[test]
    fn what_is_wrong_has_its_path() {
        let field = |offline: Value| {
            let offline: Offline = serde_json::from_value(offline).unwrap();
            offline.check().unwrap_err().field.unwrap()
        };
        assert_eq!(field(json!({"recall": {"strategies": []}})), "config.recall.strategies");
        assert_eq!(
            field(json!({"recall": {"strategies": [{"name": "latest", "limit": 0}]}})),
            "config.recall.strategies[0].limit"
        );
        assert_eq!(field(json!({"rank": {"model": ""}})), "config.rank.model");
        assert_eq!(field(json!({"rerank": {"rules": [{"name": "r", "weight": 2}]}})), "config.rerank.rules[0].weight");
        let feature = json!({"name": "f", "type": "numeric", "weight": 1e9});
        assert_eq!(field(json!({"features": {"item_features": [feature]}})), "config.features.item_features[0].weight");
    }
}
