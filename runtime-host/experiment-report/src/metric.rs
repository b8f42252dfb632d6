//! The metrics, each a function of what is kept of users.

use funnelweb_core::experiment::Metric;
use funnelweb_experiment_statistics::{Error, Estimate, Moments, Pair};

use crate::users::{User, Users};

/// The value of a metric in a group; `reported` says whether clients report impressions. All are
/// over users, who were assigned: what one of them does is not independent of what the same one
/// does next, and neither are two slates of one.
pub(crate) fn estimate(metric: Metric, users: &Users, group: usize, reported: bool) -> Result<Estimate, Error> {
    let ratio = |of: fn(&User) -> (f64, f64)| {
        let mut pair = Pair::default();
        for user in users.of(group) {
            let (x, y) = of(user);
            pair.add(x, y)?;
        }
        pair.ratio()
    };
    let mean = |of: fn(&User) -> f64| {
        let mut moments = Moments::default();
        users.of(group).try_for_each(|user| moments.add(of(user)))?;
        moments.mean()
    };
    match metric {
        Metric::Ctr if reported => ratio(|user| (user.clicks.into(), user.impressions.into())),
        Metric::Ctr => ratio(|user| (user.clicks.into(), user.served.into())),
        Metric::WatchTime => ratio(|user| (user.watched_s, user.watches.into())),
        Metric::ConversionRate => mean(|user| if user.conversions > 0 { 1.0 } else { 0.0 }),
        Metric::Revenue if !users.has_revenue() => Err(Error::NoDenominator),
        Metric::Revenue => mean(|user| user.revenue),
        Metric::LatencyMs => ratio(|user| (user.elapsed_us as f64 / 1000.0, user.timed.into())),
        Metric::CostMs => ratio(|user| (user.cost_us as f64 / 1000.0, user.timed.into())),
    }
}
