//! What became of requests that were to be kept, for Prometheus: of this process, over all
//! tenants.

use std::sync::LazyLock;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

static RECORDINGS: LazyLock<Family<Label, Counter>> = LazyLock::new(Family::default);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Label {
    outcome: &'static str,
}

/// Has a registry show them.
pub fn register(registry: &mut Registry) {
    registry.register("recordings", "Requests that were to be recorded, by what became of it", RECORDINGS.clone());
}

/// `kept`, `too_many` waited to be written, or `failed`: too large, or the store does not
/// answer.
pub(crate) fn count(outcome: &'static str, requests: u64) {
    RECORDINGS.get_or_create(&Label { outcome }).inc_by(requests);
}
