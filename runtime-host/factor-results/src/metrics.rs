//! What looks for results came to, for Prometheus: of this process, over all tenants.

use std::sync::LazyLock;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

static COUNTS: LazyLock<Counts> = LazyLock::new(Counts::default);

#[derive(Default)]
struct Counts {
    lookups: Family<Lookup, Counter>,
    failures: Family<Failure, Counter>,
    revalidations: Family<Lookup, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Lookup {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failure {
    call: &'static str,
}

/// Has a registry show them.
pub fn register(registry: &mut Registry) {
    registry.register("results_lookups", "Looks for a kept result, by what was found", COUNTS.lookups.clone());
    registry.register("results_failures", "Calls of the store of results that failed", COUNTS.failures.clone());
    registry.register("results_revalidations", "Stale results computed anew", COUNTS.revalidations.clone());
}

/// `hit`, `stale`, `miss`, `collapsed`, `taken` or `unavailable`.
pub(crate) fn looked(outcome: &'static str) {
    COUNTS.lookups.get_or_create(&Lookup { outcome }).inc();
}

/// `get`, `put` or `remove`.
pub(crate) fn failed(call: &'static str) {
    COUNTS.failures.get_or_create(&Failure { call }).inc();
}

/// `done`, `failed`, or `put_off` where as many as may were at work.
pub(crate) fn revalidated(outcome: &'static str) {
    COUNTS.revalidations.get_or_create(&Lookup { outcome }).inc();
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn they_are_shown_under_their_names() {
        let mut registry = Registry::with_prefix("funnelweb");
        register(&mut registry);
        looked("hit");
        failed("get");
        revalidated("done");
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "funnelweb_results_lookups_total{outcome=\"hit\"}",
            "funnelweb_results_failures_total{call=\"get\"}",
            "funnelweb_results_revalidations_total{outcome=\"done\"}",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
    }
}
