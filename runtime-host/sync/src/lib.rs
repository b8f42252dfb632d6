//! The job `sync`: imports into a scenario what its tenant keeps elsewhere, by a
//! schedule or when somebody asks.
//!
//! The operator says what may be read at all ([`SyncSettings`]): files of a folder, of
//! which each tenant has a part of its own, and URLs. A scenario's config says which
//! sources its job has. Lines are read and converted as those of `funnelweb import`
//! are, and taken by the [`Intake`], which is the application's own endpoints.
//!
//! ```json
//! {"jobs": {"sync": {
//!    "schedule": "15 3 * * *",
//!    "params": {"sources": [
//!      {"from": "catalogue.ndjson.gz", "kind": "items"},
//!      {"from": "https://exports.example.com/acme/clicks.csv", "kind": "behaviors"},
//!      {"from": "ratings.csv", "mapping": "movielens-ratings"}]}}}}
//! ```
//!
//! A source that is as it was when a run succeeded last is passed over: a file of the
//! same length and time, or else the same content; a document of which the server says
//! so (`ETag`, `Last-Modified`), or else the same content. What a source was like is in
//! the run's outcome, among those that are remembered. `force` imports it all the same.
//!
//! Importing a row twice changes nothing: an item takes its own place, and an event
//! without an `event_id` is given one that is made of what the row says, wherever it
//! stands. So a log may grow, or lose its oldest rows, between two runs; rows that say
//! the same are one event, and to have them count apart they need an `event_id`.
//!
//! Lines that are refused are counted and the first of them shown. A source that cannot
//! be read is told of and does not keep the others from being imported; a run fails
//! when every source does. What may pass (the network, a server that is busy) has the
//! run be tried again, without the sources that are done, and from where the import of
//! a source stood.

mod address;
mod fetch;
mod folder;
mod known;
mod params;
mod report;
mod settings;
mod urls;
mod work;

pub use settings::SyncSettings;
pub use work::{Intake, SyncWork};
