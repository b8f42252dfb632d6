//! What became of events that are published, for Prometheus: of this process, over all
//! tenants.

use std::sync::LazyLock;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

static EVENTS: LazyLock<Family<Outcome, Counter>> = LazyLock::new(Family::default);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// Has a registry show them.
pub fn register(registry: &mut Registry) {
    let help = "Events that were published, wait to be (deferred), or cannot be since they are too large (refused)";
    registry.register("events_published", help, EVENTS.clone());
}

pub(crate) fn published(published: usize, refused: usize) {
    count("published", published);
    count("refused", refused);
}

pub(crate) fn deferred(events: usize) {
    count("deferred", events);
}

fn count(outcome: &'static str, events: usize) {
    EVENTS.get_or_create(&Outcome { outcome }).inc_by(events as u64);
}
