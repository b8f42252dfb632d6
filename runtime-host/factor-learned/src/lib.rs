//! The `learned` capability: neighbours, histories, factor models and slates made ahead,
//! as of the last job that succeeded.
//!
//! [`store`] holds the trait, [`Similarity`], [`Factors`] and [`Slates`] are what jobs
//! write as blobs ([`names`]), [`LearnedModels`] serves them, without the users who were
//! deleted since.
//!
//! ```
//! use funnelweb_core::id::handle;
//! use funnelweb_factor_learned::{Handles, Similarity, Table, store::Relation};
//!
//! let mut handles = vec![handle("song_1"), handle("song_2")];
//! handles.sort();
//! let alike = Table { offsets: vec![0, 1, 2], ids: vec![1, 0], scores: vec![0.5, 0.5] };
//! let nobody = Handles::default();
//! let learned = Similarity::new(Handles::new(handles)?, nobody, alike, Table::empty(0), Table::empty(0))?;
//! let lists = Similarity::decode(&learned.encode())?.related(Relation::SimilarItems, &[handle("song_1")], 10);
//! assert_eq!((lists.handles, lists.scores), (vec![handle("song_2")], vec![0.5]));
//! # Ok::<_, funnelweb_factor_learned::format::Error>(())
//! ```

pub mod check;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod factors;
pub mod format;
mod gone;
mod handles;
#[cfg(feature = "host")]
pub mod host;
mod models;
pub mod names;
mod shelf;
mod similarity;
mod slates;
pub mod store;
mod table;

pub use factors::Factors;
pub use handles::Handles;
pub use models::LearnedModels;
pub use similarity::{Similarity, longest_lists};
pub use slates::{Gathered, Slates};
pub use table::Table;
