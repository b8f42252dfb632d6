//! The metrics, each a function of what is kept of users.

use funnelweb_experiment_statistics::{Error, Estimate, Moments, Pair};

use crate::users::{User, Users};

/// The metrics of a report, in order. All are over users, who were assigned: what one of them
/// does is not independent of what the same one does next.
///
/// | name | what |
/// |---|---|
/// | `ctr` | clicks by impressions; where no client reports impressions, by items served |
/// | `watch_time` | seconds a watch |
/// | `conversion_rate` | the share of users who converted (`purchase`, `buy`, `order`, `conversion`) |
/// | `revenue` | of a user, when any was given |
pub const METRICS: [&str; 4] = ["ctr", "watch_time", "conversion_rate", "revenue"];

/// The value of a metric in a group; `reported` says whether clients report impressions.
pub(crate) fn estimate(metric: &str, users: &Users, group: usize, reported: bool) -> Result<Estimate, Error> {
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
        "ctr" if reported => ratio(|user| (user.clicks.into(), user.impressions.into())),
        "ctr" => ratio(|user| (user.clicks.into(), user.served.into())),
        "watch_time" => ratio(|user| (user.watched_s, user.watches.into())),
        "conversion_rate" => mean(|user| if user.conversions > 0 { 1.0 } else { 0.0 }),
        _ if !users.has_revenue() => Err(Error::NoDenominator),
        _ => mean(|user| user.revenue),
    }
}
