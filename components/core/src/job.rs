//! Long work for a scenario, by name.

use serde::{Deserialize, Serialize};

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Neighbours of items and of users.
    Similarity,
    /// Vectors of items and users; items' own embeddings.
    Embeddings,
    /// Slates of users who were there lately.
    Precompute,
    /// Profiles, anew from the behaviours.
    Profiles,
    /// An import from a file or URL.
    Sync,
    /// Reports of experiments.
    Experiments,
    /// Recorded requests, run again.
    Replay,
}

impl Kind {
    /// Every kind and its name.
    pub const NAMES: [(&'static str, Self); 7] = [
        ("similarity", Self::Similarity),
        ("embeddings", Self::Embeddings),
        ("precompute", Self::Precompute),
        ("profiles", Self::Profiles),
        ("sync", Self::Sync),
        ("experiments", Self::Experiments),
        ("replay", Self::Replay),
    ];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::NAMES.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    /// The kind of this name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
    }
}

/// What has become of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It waits for its turn.
    Queued,
    /// It is at work.
    Running,
    /// It did what it was for.
    Succeeded,
    /// It did not.
    Failed,
    /// It was told to stop.
    Cancelled,
}

impl State {
    /// Every state and its name.
    pub const NAMES: [(&'static str, Self); 5] = [
        ("queued", Self::Queued),
        ("running", Self::Running),
        ("succeeded", Self::Succeeded),
        ("failed", Self::Failed),
        ("cancelled", Self::Cancelled),
    ];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::NAMES.iter().find(|(_, state)| *state == self).map_or("", |(name, _)| name)
    }

    /// Whether nothing will come of the run any more.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_json() {
        for (name, kind) in Kind::NAMES {
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{name}\""));
            assert_eq!((kind.as_str(), Kind::of(name)), (name, Some(kind)));
        }
        for (name, state) in State::NAMES {
            assert_eq!(serde_json::to_string(&state).unwrap(), format!("\"{name}\""));
            assert_eq!(state.as_str(), name);
        }
        assert_eq!(Kind::of("training"), None);
    }
}
