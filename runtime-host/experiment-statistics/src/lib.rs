//! What an experiment says, and how surely: numbers of groups to a report's estimates, intervals
//! and decisions. Nothing here knows a store or a clock.
//!
//! | question | answer |
//! |---|---|
//! | what is a metric in a group | [`Moments::mean`], [`Pair::ratio`] |
//! | how much better is it, read once at the end | [`Comparison::once`] |
//! | the same, read every day | [`Comparison::anytime`] with an [`Anytime`] |
//! | did groups get their users | [`mismatch`] |
//! | how many users does it take, how many days | [`Plan`], [`Users::days_left`] |
//! | is something harmed | [`Guardrail`] |
//! | of several groups or metrics, which differ | [`holm`] |
//! | which of two rankers do users prefer in one slate | [`Interleaved`] |
//! | what would another ranker have come to | [`Counterfactual`] |
//!
//! ```
//! use funnelweb_experiment_statistics::{Alpha, Anytime, Comparison, Look, Pair, Plan, Power, Side};
//!
//! // Clicks and impressions of each user so far.
//! let (mut control, mut treatment) = (Pair::default(), Pair::default());
//! for user in 0..4000_u32 {
//!     let impressions = 10.0 + f64::from(user % 7);
//!     control.add(f64::from(user % 3), impressions)?;
//!     treatment.add(f64::from(user % 4), impressions)?;
//! }
//! let (control, treatment) = (control.ratio()?, treatment.ratio()?);
//!
//! // Before the experiment: the least difference of interest is 0.02, which takes so many users.
//! let (alpha, power) = (Alpha::new(0.05)?, Power::new(0.8)?);
//! let plan = Plan { effect: 0.02, alpha, power, look: Look::Anytime };
//! let side = Side { variance_per_user: control.variance_per_user(), share: 0.5 };
//! assert!(plan.users(side, side)?.control < 4000);
//! let rule = Anytime::for_effect(alpha, power, plan.effect)?;
//!
//! // Each day, with the p-value of the day before.
//! let comparison = Comparison::new(treatment, control)?;
//! let reading = comparison.anytime(&rule, 1.0)?;
//! assert!(reading.p_value < 0.05 && reading.difference.low > 0.0);
//! assert!((comparison.lift().unwrap() - 0.5).abs() < 0.01);
//! # Ok::<(), funnelweb_experiment_statistics::Error>(())
//! ```
//!
//! Where a formula has no answer there is an [`Error`], or none: no number that is given out is
//! NaN. Numbers are those of SciPy and statsmodels: `tests/oracle.py` computes them and says how
//! it is run, `tests/oracle.rs` compares. Error rates and coverage are simulated in
//! `tests/simulation.rs`.

mod comparison;
mod counterfactual;
mod error;
mod estimate;
mod guardrail;
mod interleaving;
mod level;
pub mod limits;
pub mod mismatch;
mod moments;
mod multiple;
mod plan;
mod sequential;
mod special;

pub use comparison::{Comparison, Reading};
pub use counterfactual::{Counterfactual, Impression, Weights};
pub use error::{Error, Result};
pub use estimate::{Estimate, Interval};
pub use guardrail::{Better, Guardrail, Judgement, Verdict};
pub use interleaving::{Interleaved, Preference, SignTest};
pub use level::{Alpha, Power};
pub use moments::{Moments, Pair};
pub use multiple::holm;
pub use plan::{Look, Plan, Side, Users};
pub use sequential::Anytime;
