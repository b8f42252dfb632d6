//! Brings items and behaviours into a running server: from NDJSON, CSV or TSV
//! files by a column [`Mapping`], or from the demo's simulator.
//!
//! An import streams: a file of any size is read once, in bounded memory, and sent
//! in chunks of lines. A line that is wrong is reported with its number and the
//! import goes on. It can be cut off at any moment and taken up again: after each
//! acknowledged chunk a small state file says how far it is, and whatever was
//! under way is sent again without counting twice.
//!
//! ```no_run
//! use funnelweb_import::{Bar, Client, Options, run};
//!
//! let client = Client::new("http://127.0.0.1:3000", "shop")?;
//! let options = Options { mapping: Some("movielens-100k-items".to_owned()), ..Options::new("u.item", "films") };
//! let mut bar = Bar::default();
//! let report = run(&client, &options, &mut |progress| bar.show(progress))?;
//! assert_eq!(report.batch.failed, 0);
//! # Ok::<(), funnelweb_import::Error>(())
//! ```

mod client;
mod components;
mod convert;
mod demo;
mod error;
mod jobs;
mod mapping;
mod progress;
mod read;
mod reader;
mod run;
mod source;
mod state;

pub use client::{Batch, CHUNK_BYTES, CHUNK_LINES, Client, LineError, Retry};
pub use components::Canary;
pub use demo::{Loaded, Visited, load as load_demo, load_model as load_demo_model, visit as visit_demo};
pub use error::Error;
pub use jobs::{Run, follow};
pub use mapping::{Kind, Mapping, PlainFormat, SHIPPED};
pub use progress::{Bar, Progress, Unit};
pub use read::{Line, read};
pub use run::{Begun, EventIds, Import, OnDuplicate, Options, Report, Sink, Told, run};
pub use source::{AnyFiles, Files};
pub use state::State;

/// What a call of this crate comes to.
pub type Result<T, E = Error> = std::result::Result<T, E>;
