//! What users were shown, joined with what they did with it: the log that rankers are
//! trained from, as Parquet (`models/README.md` at the root describes it).
//!
//! A behaviour belongs to the latest slate before it that showed the item to the user,
//! if it came within the window: to exactly one, and where it names a request
//! (`extra.request_id`), to that one's slate or to none. The rows are split by time, whole
//! requests, and no part knows what happened in the next one's time.
//!
//! The exposure log is read twice and the behaviours once, page by page. In between, an
//! export holds 24 bytes for each item that was shown and each behaviour of one, and about
//! 40 for each request: 1 to 2 GB for 2,000,000 slates of 20 items, the most that a log
//! keeps. Features pass through; at most a row group of them is held.
//!
//! ```
//! # use funnelweb_training_export::{Error, Options, Report, Sources};
//! # async fn work(from: Sources<'_>, scenario: funnelweb_core::scenario::Scenario) -> Result<(), Error> {
//! let options = Options { only_seen: true, ..Options::new(scenario.scenario_id, scenario.config.behaviors) };
//! let now_ms = 1_767_225_600_000;
//! let report = funnelweb_training_export::export(from, &options, "log.parquet".as_ref(), now_ms, &mut |_| {}).await?;
//! assert_eq!(report.items - report.rows, report.left_out.total());
//! # Ok(())
//! # }
//! ```

mod columns;
mod error;
mod export;
mod join;
pub mod limits;
mod options;
mod report;
mod split;
mod table;

pub use error::Error;
pub use export::{Progress, Show, Sources, export};
pub use options::{Actions, Clicks, Options, Shares};
pub use report::{BehaviorsReport, LeftOut, PartReport, Report};

#[cfg(test)]
mod tests;
