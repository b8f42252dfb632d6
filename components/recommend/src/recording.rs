//! What becomes of a request afterwards: whether it is kept, and which config is tried on it.

use funnelweb_core::scenario::Config;
use funnelweb_guest::dispatch::{Keep, Recording};

use crate::{capabilities::Capabilities, funnel::Call};

/// Says it, by the scenario's config as it is without experiments.
pub(crate) fn record(host: &impl Capabilities, call: &Call<'_>, scenario_id: &str, config: &Config) {
    if call.revalidates {
        return pass_over(host, scenario_id);
    }
    let said = &config.recording;
    let keep = match (said.keeps(call.seed), said.failures) {
        (true, _) => Keep::Always,
        (false, true) => Keep::IfDegraded,
        (false, false) => Keep::Never,
    };
    let shadow = config.shadow.as_ref().filter(|shadow| shadow.is_tried(call.seed));
    let shadow = shadow.and_then(|shadow| serde_json::to_string(&shadow.config).ok());
    host.record(&Recording { scenario_id: scenario_id.to_owned(), keep, ttl_s: said.ttl_s(), shadow });
}

/// That it is not: nobody asked for it.
pub(crate) fn pass_over(host: &impl Capabilities, scenario_id: &str) {
    let recording = Recording { scenario_id: scenario_id.to_owned(), keep: Keep::Never, ttl_s: 0, shadow: None };
    host.record(&recording);
}
