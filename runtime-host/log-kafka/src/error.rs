//! What can go wrong, in the three kinds of all stores and one of our own.

use funnelweb_factor_events::store;
use rdkafka::{error::KafkaError, types::RDKafkaErrorCode as Code};

/// Why the log did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The call or a setting is wrong; the text names it and the rule.
    #[error("{0}")]
    Invalid(String),
    /// A record of more than a megabyte, which is not sent, however often it is tried.
    #[error("{0}")]
    TooLarge(String),
    /// No broker answered in time or at all. What was to be written may be written all
    /// the same.
    #[error("{0}")]
    Unavailable(String),
    /// The cluster does not let us.
    #[error("{0}")]
    Denied(String),
}

impl Error {
    /// [`Error::Invalid`] about `name`.
    pub(crate) fn invalid(name: impl std::fmt::Display, rule: impl std::fmt::Display) -> Self {
        Self::Invalid(format!("{name}: {rule}"))
    }

    /// What the client says of `what`.
    pub(crate) fn of(what: impl std::fmt::Display, error: &KafkaError) -> Self {
        Self::with_code(error.rdkafka_error_code(), format!("{what}: {error}"))
    }

    /// Of the kind that goes with the code.
    pub(crate) fn with_code(code: Option<Code>, text: String) -> Self {
        match code {
            Some(code) if is_denial(code) => Self::Denied(text),
            Some(
                Code::InvalidConfig
                | Code::InvalidPartitions
                | Code::InvalidReplicationFactor
                | Code::InvalidRecord
                | Code::InvalidTopic
                | Code::MessageSizeTooLarge
                | Code::PolicyViolation
                | Code::UnknownTopic
                | Code::UnknownTopicOrPartition,
            ) => Self::Invalid(text),
            _ => Self::Unavailable(text),
        }
    }
}

impl From<Error> for store::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Invalid(text) | Error::TooLarge(text) => Self::Invalid(format!("kafka: {text}")),
            Error::Unavailable(text) => Self::Unavailable(format!("kafka: {text}")),
            Error::Denied(text) => Self::Denied(format!("kafka: {text}")),
        }
    }
}

/// Whether somebody has to change who we are or what we may.
pub(crate) fn is_denial(code: Code) -> bool {
    matches!(
        code,
        Code::Authentication
            | Code::ClusterAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::SaslAuthenticationFailed
            | Code::TopicAuthorizationFailed
    )
}
