//! What components are written with: the bindings of their worlds, one module a
//! role, and the few helpers that more than one of them needs.
//!
//! A stage implements its role's `Guest` and exports it; the same type can be
//! called natively, which is how its logic is tested and benchmarked:
//!
//! ```text
//! use funnelweb_guest::rerank::{Guest, RerankRequest, Reranked};
//! struct Stage;
//! impl Guest for Stage { … }
//! funnelweb_guest::export_rerank!(Stage);
//! ```

pub mod bindings;
#[cfg(any(test, feature = "fixtures"))]
pub mod fixtures;
#[cfg(feature = "fold-in")]
pub mod fold_in;
pub use funnelweb_core::handles;
#[cfg(feature = "http")]
pub mod http;
mod job;
mod lists;
pub mod order;
pub mod params;
pub mod places;
pub mod profile;
pub mod random;
mod recalled;
pub mod seeds;
pub mod table;

pub use bindings::endpoint::funnelweb::{
    capabilities::{components, documents, errors, events, jobs, learned, live, models, recordings, results, vectors},
    pipeline::{dispatch, types},
};

/// The recall role.
pub mod recall {
    pub use crate::bindings::recall_stage::exports::funnelweb::pipeline::recall::{Guest, RecallRequest, Recalled};
}

/// The feature role.
pub mod features {
    pub use crate::bindings::features_stage::exports::funnelweb::pipeline::features::{
        FeatureTable, FeaturesRequest, Guest,
    };
}

/// The rank role.
pub mod rank {
    pub use crate::bindings::rank_stage::exports::funnelweb::pipeline::rank::{Guest, RankRequest};
}

/// What a ranker that runs a model has beside the rank role.
pub mod model {
    pub use crate::bindings::model_load::exports::funnelweb::pipeline::model::{
        GoldenMismatch, Guest, LoadError, LoadRule, Loaded, ModelFeature,
    };
}

/// The rerank role.
pub mod rerank {
    pub use crate::bindings::rerank_stage::exports::funnelweb::pipeline::rerank::{Guest, RerankRequest, Reranked};
}

/// The stream role.
pub mod aggregate {
    pub use crate::bindings::aggregate_stage::exports::funnelweb::stream::aggregate::{
        Aggregated, Batch, Change, Count, Declaration, Event, Field, Guest, Heat, Message, Metric, Output, Signal,
        Span, Taste, Topic, Window,
    };
}

/// Exports a type as a recall channel. Nothing outside Wasm, so that the
/// symbols of several stages can meet in one native program.
#[macro_export]
macro_rules! export_recall {
    ($stage:ident) => {
        #[cfg(target_arch = "wasm32")]
        $crate::bindings::recall_stage::export!($stage with_types_in $crate::bindings::recall_stage);
    };
}

/// Exports a type as the feature stage; see [`export_recall`].
#[macro_export]
macro_rules! export_features {
    ($stage:ident) => {
        #[cfg(target_arch = "wasm32")]
        $crate::bindings::features_stage::export!($stage with_types_in $crate::bindings::features_stage);
    };
}

/// Exports a type as a ranker; see [`export_recall`].
#[macro_export]
macro_rules! export_rank {
    ($stage:ident) => {
        #[cfg(target_arch = "wasm32")]
        $crate::bindings::rank_stage::export!($stage with_types_in $crate::bindings::rank_stage);
    };
}

/// Exports a type as a ranker that is given a model; see [`export_recall`].
#[macro_export]
macro_rules! export_model {
    ($stage:ident) => {
        $crate::export_rank!($stage);
        #[cfg(target_arch = "wasm32")]
        $crate::bindings::model_load::export!($stage with_types_in $crate::bindings::model_load);
    };
}

/// Exports a type as a rerank rule; see [`export_recall`].
#[macro_export]
macro_rules! export_rerank {
    ($stage:ident) => {
        #[cfg(target_arch = "wasm32")]
        $crate::bindings::rerank_stage::export!($stage with_types_in $crate::bindings::rerank_stage);
    };
}

/// Exports a type as a stream operator; see [`export_recall`].
#[macro_export]
macro_rules! export_aggregate {
    ($stage:ident) => {
        #[cfg(target_arch = "wasm32")]
        $crate::bindings::aggregate_stage::export!($stage with_types_in $crate::bindings::aggregate_stage);
    };
}
