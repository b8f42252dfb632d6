//! The `vectors` capability: per scenario and space one vector a handle, and those most
//! similar to a given one.
//!
//! [`store`] holds the trait, [`embedded`] the backend in this process, `conformance`
//! the suite that every backend must pass. [`WithEmbeddings`] keeps the space
//! `embedding` in step with the items of a document store.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! use funnelweb_factor_vectors::{EmbeddedVectors, store::*};
//!
//! let folder = tempfile::tempdir().unwrap();
//! let vectors = EmbeddedVectors::new(folder.path());
//! let acme = Tenant::new("acme").unwrap();
//! vectors.create(&acme, "feed", "embedding", 2, Metric::Cosine).await?;
//! vectors.upsert(&acme, "feed", "embedding", vec![7, 8], vec![1.0, 0.0, 0.0, 1.0]).await?;
//! let hits = vectors.query(&acme, "feed", "embedding", vec![3.0, 1.0], 1, Filter::All).await?;
//! assert_eq!(hits.handles, [7]);
//! # Ok::<_, Error>(()) }).unwrap();
//! ```

pub mod check;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod embedded;
mod embeddings;
#[cfg(feature = "host")]
pub mod host;
pub mod store;

pub use embedded::EmbeddedVectors;
pub use embeddings::{EMBEDDING, WithEmbeddings};
