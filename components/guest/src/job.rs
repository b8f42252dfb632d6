//! Kinds and states of jobs, in and out of the border.

use funnelweb_core::job::{Kind, State};

use crate::jobs as wit;

impl From<Kind> for wit::Kind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Similarity => Self::Similarity,
            Kind::Embeddings => Self::Embeddings,
            Kind::Precompute => Self::Precompute,
            Kind::Profiles => Self::Profiles,
            Kind::Sync => Self::Sync,
            Kind::Experiments => Self::Experiments,
            Kind::Replay => Self::Replay,
        }
    }
}

impl From<wit::Kind> for Kind {
    fn from(kind: wit::Kind) -> Self {
        match kind {
            wit::Kind::Similarity => Self::Similarity,
            wit::Kind::Embeddings => Self::Embeddings,
            wit::Kind::Precompute => Self::Precompute,
            wit::Kind::Profiles => Self::Profiles,
            wit::Kind::Sync => Self::Sync,
            wit::Kind::Experiments => Self::Experiments,
            wit::Kind::Replay => Self::Replay,
        }
    }
}

impl From<State> for wit::State {
    fn from(state: State) -> Self {
        match state {
            State::Queued => Self::Queued,
            State::Running => Self::Running,
            State::Succeeded => Self::Succeeded,
            State::Failed => Self::Failed,
            State::Cancelled => Self::Cancelled,
        }
    }
}

impl From<wit::State> for State {
    fn from(state: wit::State) -> Self {
        match state {
            wit::State::Queued => Self::Queued,
            wit::State::Running => Self::Running,
            wit::State::Succeeded => Self::Succeeded,
            wit::State::Failed => Self::Failed,
            wit::State::Cancelled => Self::Cancelled,
        }
    }
}
