//! Named, versioned bytes of a tenant that never change: what jobs have learned.
//!
//! [`store`] holds the trait, [`check`] what its arguments must be, [`files`] the
//! embedded backend, `conformance` the suite that every backend must pass.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! use funnelweb_blob_store::{FileBlobs, store::*};
//!
//! let folder = tempfile::tempdir().unwrap();
//! let blobs = FileBlobs::new(folder.path())?;
//! let acme = Tenant::new("acme").unwrap();
//! blobs.put(&acme, "learned/feed/factors", 7, "numbers".into()).await?;
//! assert_eq!(blobs.latest(&acme, "learned/feed/factors").await?, Some(7));
//! // Whoever held the job before and comes late is refused.
//! let late = blobs.put(&acme, "learned/feed/factors", 6, "older".into()).await;
//! assert!(matches!(late, Err(Error::Stale { latest: 7, .. })));
//! # Ok::<_, Error>(()) }).unwrap();
//! ```

pub mod check;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod files;
pub mod store;

pub use files::FileBlobs;
