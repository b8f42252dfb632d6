//! What stages did, for Prometheus: of this process, over all tenants.

use std::{sync::LazyLock, time::Duration};

use funnelweb_bindings::dispatch::StageStatus;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

static CALLS: LazyLock<Calls> = LazyLock::new(|| Calls {
    calls: Family::default(),
    seconds: Family::new_with_constructor(|| Histogram::new(exponential_buckets(50e-6, 2.0, 13))),
});

struct Calls {
    calls: Family<Call, Counter>,
    seconds: Family<Component, Histogram>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    component: String,
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Component {
    component: String,
}

/// Has a registry show them.
pub fn register(registry: &mut Registry) {
    registry.register("stage_calls", "Calls of stages, by how they ended", CALLS.calls.clone());
    registry.register("stage_seconds", "How long calls of stages took", CALLS.seconds.clone());
}

/// Counts a call. Of a stage that there is not, the component is empty: its name is
/// whatever a config says.
pub(crate) fn count(component: &str, status: StageStatus, elapsed: Duration) {
    let status = match status {
        StageStatus::Ok => "ok",
        StageStatus::Failed => "failed",
        StageStatus::TimedOut => "timed_out",
        StageStatus::Unavailable => "unavailable",
    };
    CALLS.calls.get_or_create(&Call { component: component.to_owned(), status }).inc();
    CALLS.seconds.get_or_create(&Component { component: component.to_owned() }).observe(elapsed.as_secs_f64());
}
