//! Learning from who did something with what: factors of users and items,
//! neighbours, and what to recommend by them.
//!
//! The data are [`Interactions`], a sparse matrix of users × items whose weights say
//! how much each behaviour counts ([`weighting`]). From it are learned
//!
//! - [`als`]: a vector for every user and item (implicit ALS), and with [`FoldIn`]
//!   one for somebody new, at request time;
//! - [`knn`], [`rp3beta`]: for every item, or user, the [`Neighbours`] most like it;
//! - [`ease`]: weights between all items of a catalogue that is not too large.
//!
//! [`recommend`] turns a history and any of these into the best items, without what
//! was seen already.
//!
//! Results depend on data, configuration and seed alone, not on the number of
//! threads or on the order of equal scores; they are finite whatever the data, or
//! an [`Error`] says why there are none. (Machines whose vector instructions differ
//! round differently.) Training runs on threads of its own and takes the memory of
//! the matrix twice, and of what it makes.
//!
//! ```
//! use funnelweb_algorithms::{Interactions, knn, recommend};
//!
//! let clicks = Interactions::from_triples(3, 4, [
//!     (0, 0, 1.0), (0, 1, 1.0), (1, 0, 1.0), (1, 1, 1.0), (1, 2, 1.0), (2, 3, 1.0),
//! ])?;
//! let neighbours = knn::items(&clicks, &knn::Config::default())?;
//! let (ids, weights) = clicks.row(0);
//! assert_eq!(recommend::from_neighbours(&neighbours, ids, weights, ids, 10)?.ids, [2]);
//! # Ok::<(), funnelweb_algorithms::Error>(())
//! ```

#[cfg(feature = "train")]
pub mod als;
mod cholesky;
#[cfg(feature = "train")]
pub mod ease;
mod error;
pub mod fold_in;
mod interactions;
#[cfg(feature = "train")]
pub mod knn;
mod lanes;
pub mod limits;
mod neighbours;
mod objective;
#[cfg(feature = "train")]
mod pairs;
pub mod recommend;
#[cfg(feature = "train")]
pub mod rp3beta;
#[cfg(feature = "train")]
mod threads;
mod top;
#[cfg(feature = "train")]
pub mod watch;
pub mod weighting;

pub use error::{Error, Result};
pub use fold_in::FoldIn;
pub use interactions::Interactions;
pub use neighbours::Neighbours;
pub use objective::Objective;
pub use top::Ranked;
