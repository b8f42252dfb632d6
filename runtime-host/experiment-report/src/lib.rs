//! From what users of an experiment were shown and did to what it says.
//!
//! [`Users`] takes slates and behaviours and keeps a few numbers of each user; [`Report::new`]
//! makes of them the metrics of each group, how each group differs from the control, what the
//! guardrails say, whether groups got their users, and how many days are left. What makes it valid
//! to look every day ([`Looks`]: the width of the intervals, fixed at the first look, and the
//! p-values of the look before) is the caller's to keep from one look to the next, and so is how
//! it went ([`History`]).
//!
//! [`Drafts`] and [`Preferences`] are the same of an interleaving, whose users each prefer one of
//! two rankings.
//!
//! ```
//! use funnelweb_core::experiment::Metric;
//! use funnelweb_experiment_report::{Act, GroupPlan, Looks, Plan, Report, Users};
//!
//! let group = |group_id: &str| GroupPlan { group_id: group_id.to_owned(), traffic_ratio: 0.5 };
//! let plan = Plan { groups: vec![group("control"), group("treatment")], control: 0, ..Plan::default() };
//! let mut users = Users::new(&plan)?;
//! for user in 0..2000_u32 {
//!     let name = format!("u{user}");
//!     users.shown(&name, user as usize % 2, 1000, 10);
//!     let clicks = if user % 2 == 0 { user % 3 } else { user % 4 };
//!     (0..clicks).for_each(|_| users.did(&name, 2000, &Act::click()));
//! }
//! let mut looks = Looks::default();
//! let report = Report::new(&plan, &users, 1.0, &mut looks)?;
//! let ctr = report.comparisons.iter().find(|of| of.metric == Metric::Ctr).unwrap();
//! assert!(ctr.p_value.unwrap() < 0.05 && ctr.lift.unwrap() > 0.0);
//! # Ok::<(), funnelweb_experiment_report::Error>(())
//! ```

mod compared;
mod groups;
mod guarded;
mod history;
mod interleaved;
mod looks;
mod metric;
mod report;
mod spread;
mod users;

pub use compared::Compared;
pub use groups::{Counted, GroupReport, Measured, Timed};
pub use guarded::{Guarded, Said};
pub use history::{History, Lifted, Shared};
pub use interleaved::{CREDITS, DraftLooks, Drafted, Drafts, Once, Preferences, Preferred, Rankings, Team};
pub use looks::{Looks, Mismatched};
pub use report::Report;
pub use spread::Spread;
pub use users::{Act, GroupPlan, Plan, Users};

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The experiment cannot be reported on.
    #[error("{0}")]
    Plan(String),
    /// A number is outside its range.
    #[error(transparent)]
    Statistics(#[from] funnelweb_experiment_statistics::Error),
}
