//! The works that learn from a scenario's behaviours: from the event log to what
//! `learned` and `vectors` serve.
//!
//! | work | makes |
//! |---|---|
//! | [`similarity`](fn@similarity) | neighbours of items and of users, histories |
//! | [`embeddings`](fn@embeddings) | vectors of items and users (implicit ALS); brings items' own vectors in step |
//! | [`profiles`](fn@profiles) | users' profiles, anew from the log |
//! | [`precompute`](fn@precompute) | slates of users who were there lately, by a [`Funnel`] |
//!
//! Each takes a [`Target`], params ([`SimilarityParams`], …) and somebody who
//! [follows](Follow) it, and gives a JSON object that says what came of it. A work that
//! fails or is stopped changes nothing of what is served; one that finds nothing to
//! learn from succeeds, says so, and has nothing served. What it writes carries the
//! target's version, and a later run's is not written over.

mod active;
mod blobs;
mod checkpoint;
mod context;
mod embeddings;
mod follow;
pub mod limits;
mod log;
mod own_vectors;
mod params;
mod precompute;
mod profiles;
mod similarity;

pub use context::{Context, Error, Target};
pub use embeddings::embeddings;
pub use follow::Follow;
pub use params::{EmbeddingsParams, ParamError, PrecomputeParams, ProfilesParams, SimilarityParams};
pub use precompute::{Ask, Funnel, Made, precompute};
pub use profiles::profiles;
pub use similarity::similarity;
