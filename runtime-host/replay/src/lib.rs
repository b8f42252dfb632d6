//! How the slates that a change makes differ from those that were shown: [`Comparison`] takes
//! requests that were run again, each with both of its slates, and [`Report`] says what they
//! come to.
//!
//! | what | how |
//! |---|---|
//! | overlap | the items that both slates have, as a share of the longer one |
//! | rank correlation | Kendall's τ of the items that both have (Biometrika 1938) |
//! | diversity | of all pairs of a slate's items, the share that are of different categories (intra-list diversity; Ziegler et al., WWW 2005) |
//! | latency | of both, run again one after the other with the same data |
//! | CTR | of the change by inverse propensity, see [`examination`] |
//!
//! ```
//! use funnelweb_replay::{Compared, Comparison, Slate};
//!
//! let slate = |items: [&str; 3]| Slate {
//!     items: items.map(str::to_owned).to_vec(),
//!     categories: vec![Some("news".to_owned()), Some("sport".to_owned()), None],
//!     elapsed_us: 2000,
//! };
//! let mut comparison = Comparison::default();
//! for user in 0..50 {
//!     comparison.add(&Compared {
//!         user_id: format!("u{user}"),
//!         then: slate(["a", "b", "c"]),
//!         now: slate(["b", "a", "d"]),
//!         clicked: vec![false, user % 2 == 0, false],
//!     })?;
//! }
//! let report = comparison.report()?;
//! assert_eq!((report.requests, report.same_slates), (50, 0));
//! assert!((report.overlap.unwrap().value - 2.0 / 3.0).abs() < 1e-9);
//! // What was clicked in the second place is looked at more often in the first.
//! let ctr = report.ctr.unwrap();
//! assert!(ctr.now.value > ctr.then.value);
//! # Ok::<(), funnelweb_experiment_statistics::Error>(())
//! ```

mod compare;
mod report;

pub use compare::{Compared, Comparison, Slate, examination};
pub use report::{Both, Ctr, Latency, Measured, Report};
