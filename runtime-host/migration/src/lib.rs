//! Moving a tenant from store to store, and keeping copies of embedded stores.
//!
//! [`export`] writes everything that a tenant has to a file of lines
//! ([`format`](mod@format)); [`import`] puts it into other stores, reads it back
//! from there and compares. Both go through the traits of the stores, so it makes
//! no difference what stands behind them, and hold a page of it in memory at a
//! time.
//!
//! [`backup`] copies the files of a data directory while they are served, and
//! [`restore`] puts them into another one. A backup is faster and exact to the
//! byte; an export moves between backends and versions.

mod backup;
mod error;
mod export;
pub mod format;
mod import;
mod progress;
mod reader;
mod records;
mod stores;
mod sums;
mod verify;

pub use backup::{BackupReport, backup, restore};
pub use error::Error;
pub use export::{Exported, export};
pub use import::{Imported, import};
pub use progress::{Progress, Show};
pub use reader::header;
pub use stores::TenantStores;
pub use sums::{Sum, Sums};
pub use verify::Compared;
