//! What tenants' components did, for Prometheus: of this process, by tenant. What a single
//! version did, its tenant is told.

use std::sync::LazyLock;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

static CALLS: LazyLock<Family<Call, Counter>> = LazyLock::new(Family::default);
static SECONDS: LazyLock<Family<Of, Counter<f64, std::sync::atomic::AtomicU64>>> = LazyLock::new(Family::default);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    tenant: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    tenant: String,
}

/// Has a registry show them.
pub fn register(registry: &mut Registry) {
    let calls = "Calls of tenants' own components, by how they ended or why they were not made";
    registry.register("component_calls", calls, CALLS.clone());
    let seconds = "Time of processors that tenants' own components took";
    registry.register("component_processor_seconds", seconds, SECONDS.clone());
}

pub(crate) fn count(tenant: &str, outcome: &'static str) {
    CALLS.get_or_create(&Call { tenant: tenant.to_owned(), outcome }).inc();
}

pub(crate) fn took(tenant: &str, seconds: f64) {
    SECONDS.get_or_create(&Of { tenant: tenant.to_owned() }).inc_by(seconds);
}
