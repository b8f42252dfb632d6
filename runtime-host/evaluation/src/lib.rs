//! How good recommendations are, before they go live: what is learned from and what
//! is asked for ([`split`]), what slates are worth ([`metrics`]), how sure that is
//! ([`bootstrap`]), what must be beaten ([`baseline`]), and a [`report`].
//!
//! Nothing here recommends: a caller gives slates, as `funnelweb evaluate` does from
//! the real funnel. Users and items are numbers, by the [`Names`] of the [`Data`].
//!
//! ```
//! use funnelweb_evaluation::{
//!     Catalogue, Data, Features, baseline,
//!     bootstrap, metrics::{Cuts, Metric},
//!     report::{Report, Run, RunKind, Subject},
//!     split::{self, Kind},
//! };
//!
//! let mut data = Data::default();
//! for (user, item, at_ms) in [("ann", "tea", 1), ("ann", "cup", 2), ("bob", "cup", 1), ("bob", "tea", 3)] {
//!     data.push(user, item, at_ms, 1.0);
//! }
//! let config = split::Config { kind: Kind::LeaveLastOut, min_history: 1, seed: 42 };
//! let split = split::split(&data, &config)?;
//! let catalogue = Catalogue::new(&data, &split.train, Features::default());
//! let cuts = Cuts::new(&[10])?;
//! let subject = Subject {
//!     title: "shop", split_title: "leave last out", split: &split, users: data.users.len(),
//!     events: data.events.len(), catalogue: &catalogue, cuts: &cuts, bootstrap: bootstrap::Config::default(),
//! };
//! let slates = baseline::popularity(&split, &catalogue, cuts.longest());
//! let run = Run { name: "popular".into(), kind: RunKind::Baseline, slates, latency: None, trouble: vec![] };
//! let report = Report::new(&subject, vec![run], &[])?;
//! assert_eq!(report.measured("popular", Metric::Recall, 10).unwrap().mean, 1.0);
//! # Ok::<(), funnelweb_evaluation::Error>(())
//! ```

pub mod baseline;
pub mod bootstrap;
mod catalogue;
mod data;
mod draw;
mod error;
pub mod limits;
pub mod metrics;
mod read;
pub mod report;
pub mod split;

pub use catalogue::{Catalogue, Features};
pub use data::{Data, Event, Names};
pub use error::{Error, Result};
pub use read::Material;
