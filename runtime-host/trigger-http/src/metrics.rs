//! Requests, for Prometheus.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

/// Requests by component.
#[derive(Clone)]
pub struct Requests {
    requests: Family<Answered, Counter>,
    seconds: Family<Component, Histogram>,
    at_work: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    component: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Component {
    component: String,
}

/// A request that is answered; until it is dropped it is at work.
pub(crate) struct AtWork<'a>(&'a Requests);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.at_work.dec();
    }
}

impl Default for Requests {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(exponential_buckets(250e-6, 2.0, 15))),
            at_work: Gauge::default(),
        }
    }
}

impl Requests {
    /// Has a registry show them.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("http_requests", "Requests, by component and status", self.requests.clone());
        registry.register("http_request_seconds", "How long requests took", self.seconds.clone());
        registry.register("http_requests_at_work", "Requests that are being answered", self.at_work.clone());
    }

    pub(crate) fn begin(&self) -> AtWork<'_> {
        self.at_work.inc();
        AtWork(self)
    }

    /// Counts an answer; `component` is empty where no route led.
    pub(crate) fn count(&self, component: &str, status: u16, elapsed: Duration) {
        self.requests.get_or_create(&Answered { component: component.to_owned(), status }).inc();
        self.seconds.get_or_create(&Component { component: component.to_owned() }).observe(elapsed.as_secs_f64());
    }
}
