//! What is kept of a request.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::codec;

/// A request, its answer, and everything in between.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recording {
    /// Its scenario; empty when it failed before that was known.
    pub scenario_id: String,
    /// The request's clock, in milliseconds since 1970.
    pub at_ms: u64,
    /// From when it is kept no more.
    pub expires_ms: u64,
    /// Why it is kept.
    pub reason: Reason,
    /// What was asked.
    pub asked: Asked,
    /// What was answered.
    pub answer: Answer,
    /// The endpoint that answered.
    pub component: String,
    /// SHA-256 of it, in hexadecimal.
    pub digest: String,
    /// What the endpoint asked of capabilities.
    pub calls: Vec<Call>,
    /// What its stages did, in the order in which they were begun.
    pub stages: Vec<Stage>,
}

/// What a client asked. Its credentials are not kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Unique, if clients make it so: of those that are not, the last counts.
    pub request_id: String,
    /// Empty when none was named.
    pub user_id: String,
    /// `POST`.
    pub method: String,
    /// With the query.
    pub path: String,
    /// Of the body; empty when there was none.
    pub content_type: String,
    /// As it came.
    #[serde(with = "serde_bytes")]
    pub body: Vec<u8>,
}

/// What a client was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Of HTTP.
    pub status: u16,
    /// As it went.
    #[serde(with = "serde_bytes")]
    pub body: Vec<u8>,
    /// Until all of it was there, in microseconds.
    pub elapsed_us: u32,
}

/// Why a request is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It is one of the scenario's share.
    Sample,
    /// A stage of it failed or was late.
    Degraded,
    /// It was not answered as it should have been: its status is 500 or above.
    Failed,
}

impl Reason {
    const ALL: [Self; 3] = [Self::Sample, Self::Degraded, Self::Failed];

    /// The one of this name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sample => "sample",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
        }
    }
}

/// A call of a capability.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// `documents.get`.
    pub name: String,
    /// XXH3 of what was asked.
    pub asked: u64,
    /// What was answered, as bytes.
    #[serde(with = "serde_bytes")]
    pub answer: Vec<u8>,
}

impl Call {
    /// What was answered; none when it was no such thing.
    #[must_use]
    pub fn answer<R: DeserializeOwned>(&self) -> Option<R> {
        codec::value(&self.answer)
    }

    /// As if this had been answered.
    pub fn set_answer(&mut self, answer: &impl Serialize) {
        self.answer = codec::bytes(answer).unwrap_or_default();
    }
}

/// What a stage is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It offers candidates.
    Recall,
    /// It makes the feature table.
    Features,
    /// It scores.
    Rank,
    /// It reorders.
    Rerank,
}

impl Role {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Recall => "recall",
            Self::Features => "features",
            Self::Rank => "rank",
            Self::Rerank => "rerank",
        }
    }
}

/// One call of a stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// What for.
    pub role: Role,
    /// By the name that the scenario's config has.
    pub name: String,
    /// How many of that role and name were called before in the request.
    pub nth: u16,
    /// What became of it.
    pub outcome: Outcome,
    /// What it asked of capabilities.
    pub calls: Vec<Call>,
    /// XXH3 of what it answered.
    pub output: u64,
}

/// What became of a stage call.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// The component that ran; empty when none did.
    pub component: String,
    /// Of the model or of the tenant's component; empty for what is built in.
    pub version: String,
    /// SHA-256 of the component or of the model's file.
    pub digest: String,
    /// How it ended.
    pub status: Status,
    /// Why it is not [`Status::Ok`].
    pub reason: String,
    /// In microseconds.
    pub elapsed_us: u32,
}

/// How a stage call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It answered.
    #[default]
    Ok,
    /// There is no such component or model (yet).
    Unavailable,
    /// A trap, an error or a broken contract.
    Failed,
    /// It was late.
    TimedOut,
}

/// What can be seen of a recording without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Of the request.
    pub request_id: String,
    /// Empty when it was not known.
    pub scenario_id: String,
    /// Empty when none was named.
    pub user_id: String,
    /// The request's clock.
    pub at_ms: u64,
    /// From when it is kept no more.
    pub expires_ms: u64,
    /// Why it is kept.
    pub reason: Reason,
    /// Of the answer.
    pub status: u16,
    /// Of the request, in microseconds.
    pub elapsed_us: u32,
}

impl Recording {
    /// What can be seen without reading it.
    #[must_use]
    pub fn head(&self) -> Head {
        Head {
            request_id: self.asked.request_id.clone(),
            scenario_id: self.scenario_id.clone(),
            user_id: self.asked.user_id.clone(),
            at_ms: self.at_ms,
            expires_ms: self.expires_ms,
            reason: self.reason,
            status: self.answer.status,
            elapsed_us: self.answer.elapsed_us,
        }
    }
}
