//! The vectors of one space, and those most similar to a given one.
//!
//! ```
//! use funnelweb_vector_index::{Change, Filter, Index, Metric, Plan, Space};
//!
//! let index = Index::new(Space::new(2, Metric::InnerProduct)?, Plan::default());
//! let vectors = [(7, vec![1.0, 0.0]), (8, vec![0.0, 1.0]), (9, vec![2.0, 2.0])];
//! index.apply(&vectors.map(|(handle, vector)| Change::Upsert { handle, vector }))?;
//! let best = index.query(&[1.0, 0.1], 2, None)?;
//! assert_eq!(best.iter().map(|hit| hit.handle).collect::<Vec<_>>(), [9, 7]);
//! let but_nine = Filter::except([9].into_iter().collect());
//! assert_eq!(index.query(&[1.0, 0.1], 1, Some(&but_nine))?[0].handle, 7);
//! # Ok::<_, funnelweb_vector_index::Error>(())
//! ```

mod base;
mod bits;
mod codec;
mod directory;
mod disk;
mod error;
mod file;
mod filter;
mod fresh;
mod graph;
mod index;
mod kernels;
pub mod limits;
mod log;
mod parallel;
mod rebuild;
mod rows;
mod scan;
mod sieve;
mod space;
mod state;
mod store;

pub use error::{Error, VectorError};
pub use filter::Filter;
pub use index::{Change, Hit, Index, Plan};
pub use space::{Metric, Space};
pub use store::{Opened, Store};
