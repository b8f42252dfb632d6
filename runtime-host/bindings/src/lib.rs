//! The host's side of the WIT packages, generated once, so that every crate of
//! the host speaks of the same Rust types and a value that one component
//! returned reaches another without a conversion.
//!
//! * [`capabilities`], [`dispatch`]: traits the host implements for components.
//! * [`stages`]: typed handles on what stage components export.
//! * [`contract`]: what they promise beyond their types.
//! * [`parts`]: what of a request a stage is given.

pub mod contract;
pub mod parts;
mod personal;
mod recorded;

pub use recorded::Recorded;

/// Shapes shared by all stages.
pub use generated::endpoint::funnelweb::pipeline::types;

/// What components import of the stores.
pub mod capabilities {
    pub use super::generated::endpoint::funnelweb::capabilities::{
        components, documents, errors, events, jobs, learned, live, models, recordings, results, vectors,
    };
}

/// What tenants' own components import.
pub mod tenant {
    pub use super::generated::tenant_recall::funnelweb::tenant::{catalogue, values};
}

/// What `recommend` imports to run stages.
pub use generated::endpoint::funnelweb::pipeline::dispatch;

/// What the host keeps of an upload of a model.
#[derive(Default)]
pub struct ModelUpload {
    /// Where it goes.
    pub scenario_id: String,
    /// Empty when it stands in the ONNX file.
    pub manifest: String,
    /// The ONNX file, as far as it has come.
    pub onnx: Vec<u8>,
}

/// What the host keeps of an upload of a component, as far as it has come.
#[derive(Default)]
pub struct ComponentUpload(pub Vec<u8>);

/// Names a claim to a result; the capability has it.
pub struct ResultClaim;

/// What the host keeps of one request while its stages run.
pub struct Funnel {
    /// As `recommend` gave it.
    pub context: std::sync::Arc<types::RequestContext>,
    /// As the feature stage made it; none before.
    pub table: Option<dispatch::FeatureTable>,
    /// The features that the scenario declares, by their full names.
    pub declared: Vec<(String, types::ColumnKind)>,
    /// What components of the tenant's own may see.
    pub allowance: dispatch::Allowance,
    /// What is recorded of it to certify components with, if it is.
    pub recorded: Option<Box<Recorded>>,
    /// When it began.
    pub began: std::time::Instant,
    /// The time that stages had for it so far, summed over all their calls, in microseconds.
    pub cost_us: u32,
}

impl Funnel {
    /// Adds what a call of a stage took.
    pub fn spend(&mut self, report: &dispatch::StageReport) {
        self.cost_us = self.cost_us.saturating_add(report.elapsed_us);
    }
}

/// What stage components export.
pub mod stages {
    pub use super::generated::aggregate_stage::{AggregateStage, AggregateStagePre};
    pub use super::generated::features_stage::{FeaturesStage, FeaturesStagePre};
    pub use super::generated::model_stage::{ModelStage, ModelStagePre};
    pub use super::generated::rank_stage::{RankStage, RankStagePre};
    pub use super::generated::recall_stage::{RecallStage, RecallStagePre};
    pub use super::generated::rerank_stage::{RerankStage, RerankStagePre};

    /// The shapes of the recall role.
    pub use super::generated::recall_stage::exports::funnelweb::pipeline::recall;

    /// The shapes of the feature role: those that dispatch shares with it.
    pub use super::generated::features_stage::exports::funnelweb::pipeline::features;

    /// The shapes of the rank role.
    pub use super::generated::rank_stage::exports::funnelweb::pipeline::rank;

    /// The shapes of what a ranker is given its model with. Once it has it, it is a
    /// ranker like any other: a [`RankStage`].
    pub use super::generated::model_stage::exports::funnelweb::pipeline::model;

    /// The shapes of the stream role.
    pub use super::generated::aggregate_stage::exports::funnelweb::stream::aggregate;

    /// The shapes of the rerank role.
    pub use super::generated::rerank_stage::exports::funnelweb::pipeline::rerank;
}

/// What components import of Spin.
pub mod spin {
    pub use super::generated::spin_key_value::spin::key_value::key_value;
    pub use super::generated::spin_redis::spin::redis::redis;
    pub use super::generated::spin_variables::spin::variables::variables;
}

/// What components import of `wasi:keyvalue`.
pub mod wasi_keyvalue {
    pub use super::generated::wasi_keyvalue::wasi::keyvalue::{atomics, batch, store};
}

#[allow(missing_docs, unused_qualifications, reason = "generated; its documentation is the WIT's")]
#[allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::panic, reason = "generated")]
mod generated {
    pub mod endpoint {
        wasmtime::component::bindgen!({
            path: ["../../wit/pipeline", "../../wit/capabilities", "../../wit/stream", "../../wit/worlds"],
            world: "funnelweb:worlds/endpoint",
            // What a request was given is recorded.
            additional_derives: [serde::Serialize, serde::Deserialize],
            imports: {
                "funnelweb:pipeline/dispatch": async | trappable,
                "funnelweb:capabilities/models": async | trappable,
                "funnelweb:capabilities/components": async | trappable,
                "funnelweb:capabilities/results": async | trappable,
                default: async,
            },
            with: {
                "funnelweb:pipeline/dispatch.funnel": crate::Funnel,
                "funnelweb:capabilities/results.claim": crate::ResultClaim,
                "funnelweb:capabilities/models.upload": crate::ModelUpload,
                "funnelweb:capabilities/components.upload": crate::ComponentUpload,
            },
        });
    }

    pub mod tenant_recall {
        wasmtime::component::bindgen!({
            path: ["../../wit/pipeline", "../../wit/stream", "../../wit/tenant"],
            world: "funnelweb:tenant/recall",
            // What a channel was given is recorded.
            additional_derives: [serde::Serialize, serde::Deserialize],
            imports: {
                "funnelweb:tenant/values": async | trappable,
                default: async,
            },
            exports: { default: async },
            with: { "funnelweb:pipeline/types": super::endpoint::funnelweb::pipeline::types },
        });
    }

    pub mod recall_stage {
        wasmtime::component::bindgen!({
            path: ["../../wit/pipeline", "../../wit/capabilities", "../../wit/stream", "../../wit/worlds"],
            world: "funnelweb:worlds/recall-stage",
            exports: { default: async },
            with: {
                "funnelweb:pipeline/types": super::endpoint::funnelweb::pipeline::types,
                "funnelweb:capabilities": super::endpoint::funnelweb::capabilities,
            },
        });
    }

    pub mod features_stage {
        wasmtime::component::bindgen!({
            path: ["../../wit/pipeline", "../../wit/capabilities", "../../wit/stream", "../../wit/worlds"],
            world: "funnelweb:worlds/features-stage",
            exports: { default: async },
            with: {
                "funnelweb:pipeline/types": super::endpoint::funnelweb::pipeline::types,
                "funnelweb:capabilities": super::endpoint::funnelweb::capabilities,
            },
        });
    }

    pub mod rank_stage {
        wasmtime::component::bindgen!({
            path: ["../../wit/pipeline", "../../wit/capabilities", "../../wit/stream", "../../wit/worlds"],
            world: "funnelweb:worlds/rank-stage",
            exports: { default: async },
            with: { "funnelweb:pipeline/types": super::endpoint::funnelweb::pipeline::types },
        });
    }

    pub mod model_stage {
        wasmtime::component::bindgen!({
            path: ["../../wit/pipeline", "../../wit/capabilities", "../../wit/stream", "../../wit/worlds"],
            world: "funnelweb:worlds/model-stage",
            exports: { default: async },
            with: { "funnelweb:pipeline/types": super::endpoint::funnelweb::pipeline::types },
        });
    }

    pub mod rerank_stage {
        wasmtime::component::bindgen!({
            path: ["../../wit/pipeline", "../../wit/capabilities", "../../wit/stream", "../../wit/worlds"],
            world: "funnelweb:worlds/rerank-stage",
            exports: { default: async },
            with: { "funnelweb:pipeline/types": super::endpoint::funnelweb::pipeline::types },
        });
    }

    pub mod aggregate_stage {
        wasmtime::component::bindgen!({
            path: ["../../wit/pipeline", "../../wit/capabilities", "../../wit/stream", "../../wit/worlds"],
            world: "funnelweb:worlds/aggregate-stage",
            exports: { default: async },
        });
    }

    pub mod spin_key_value {
        wasmtime::component::bindgen!({
            path: "../../wit/deps/spin-key-value@3.0.0",
            inline: "
                package funnelweb:spin-key-value;
                world imports { import spin:key-value/key-value@3.0.0; }
            ",
            imports: {
                "spin:key-value/key-value.[drop]store": async | store,
                default: async | store | trappable,
            },
        });
    }

    pub mod spin_redis {
        wasmtime::component::bindgen!({
            path: "../../wit/deps/spin-redis@3.0.0",
            inline: "
                package funnelweb:spin-redis;
                world imports { import spin:redis/redis@3.0.0; }
            ",
            imports: {
                "spin:redis/redis.[drop]connection": async | store,
                default: async | store | trappable,
            },
        });
    }

    pub mod spin_variables {
        wasmtime::component::bindgen!({
            path: "../../wit/deps/spin-variables@3.0.0",
            inline: "
                package funnelweb:spin-variables;
                world imports { import spin:variables/variables@3.0.0; }
            ",
        });
    }

    pub mod wasi_keyvalue {
        wasmtime::component::bindgen!({
            path: "../../wit/deps/wasi-keyvalue@0.2.0-draft2",
            world: "wasi:keyvalue/imports",
            imports: { default: async | trappable },
        });
    }
}
