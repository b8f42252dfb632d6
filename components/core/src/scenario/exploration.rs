//! Places in the slate for items that nobody can judge yet.

use serde::{Deserialize, Serialize};

use super::{Strategy, check_range, config};
use crate::error::ApiError;

/// Exploration: so many of a slate's places go to what the recall channel
/// [`CHANNEL`](Self::CHANNEL) offers, whatever the ranker makes of it.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Exploration {
    /// Which part of the places, on average over requests: 0 to 0.5; none unless said
    /// otherwise. The first place is never one of them for a user of whom something
    /// is known.
    pub share: f32,
    /// For whom; all unless said otherwise.
    pub users: ExploringUsers,
}

/// For whom there is exploration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExploringUsers {
    /// All.
    #[default]
    All,
    /// Those of whom neither preferences nor recent items are known.
    New,
}

impl Exploration {
    /// The recall channel that says what to explore.
    pub const CHANNEL: &'static str = "explore";

    pub(super) fn check(&self, strategies: &[Strategy]) -> Result<(), ApiError> {
        check_range("config.exploration.share", self.share, 0.0, 0.5)?;
        if self.share > 0.0 && !strategies.iter().any(|strategy| strategy.name == Self::CHANNEL) {
            return Err(config("config.exploration.share", "needs the recall strategy `explore`"));
        }
        Ok(())
    }
}
