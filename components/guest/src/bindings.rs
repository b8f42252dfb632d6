//! The bindings of every world, generated once. Types are shared: a
//! `request-context` is the same Rust type in every role.

// Generated code: its documentation is the WIT's.
#![allow(missing_docs, reason = "generated")]
#![allow(unsafe_code, reason = "the canonical ABI is generated as unsafe code")]
#![allow(clippy::all, clippy::allow_attributes_without_reason, reason = "generated")]
#![allow(unused_qualifications, reason = "generated")]
#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::panic, reason = "generated")]

/// The imports that endpoints and stages share.
pub mod endpoint {
    wit_bindgen::generate!({
        path: ["../../wit/pipeline", "../../wit/capabilities", "../../wit/stream", "../../wit/worlds"],
        world: "funnelweb:worlds/endpoint",
        generate_all,
    });
}

/// The world of recall channels.
pub mod recall_stage {
    wit_bindgen::generate!({
        path: ["../../wit/pipeline", "../../wit/capabilities", "../../wit/stream", "../../wit/worlds"],
        world: "funnelweb:worlds/recall-stage",
        with: {
            "funnelweb:pipeline/types@0.1.0": super::endpoint::funnelweb::pipeline::types,
            "funnelweb:capabilities/errors@0.1.0": super::endpoint::funnelweb::capabilities::errors,
            "funnelweb:capabilities/documents@0.1.0": super::endpoint::funnelweb::capabilities::documents,
            "funnelweb:capabilities/live@0.1.0": super::endpoint::funnelweb::capabilities::live,
            "funnelweb:capabilities/vectors@0.1.0": super::endpoint::funnelweb::capabilities::vectors,
            "funnelweb:capabilities/learned@0.1.0": super::endpoint::funnelweb::capabilities::learned,
        },
        pub_export_macro: true,
    });
}

/// The world of the feature stage.
pub mod features_stage {
    wit_bindgen::generate!({
        path: ["../../wit/pipeline", "../../wit/capabilities", "../../wit/stream", "../../wit/worlds"],
        world: "funnelweb:worlds/features-stage",
        with: {
            "funnelweb:pipeline/types@0.1.0": super::endpoint::funnelweb::pipeline::types,
            "funnelweb:capabilities/errors@0.1.0": super::endpoint::funnelweb::capabilities::errors,
            "funnelweb:capabilities/documents@0.1.0": super::endpoint::funnelweb::capabilities::documents,
            "funnelweb:capabilities/live@0.1.0": super::endpoint::funnelweb::capabilities::live,
        },
        pub_export_macro: true,
    });
}

/// The world of rankers.
pub mod rank_stage {
    wit_bindgen::generate!({
        path: ["../../wit/pipeline", "../../wit/capabilities", "../../wit/stream", "../../wit/worlds"],
        world: "funnelweb:worlds/rank-stage",
        with: { "funnelweb:pipeline/types@0.1.0": super::endpoint::funnelweb::pipeline::types },
        pub_export_macro: true,
    });
}

/// What rankers that run a model export beside [`rank_stage`].
pub mod model_load {
    wit_bindgen::generate!({
        path: ["../../wit/pipeline", "../../wit/capabilities", "../../wit/stream", "../../wit/worlds"],
        world: "funnelweb:worlds/model-load",
        with: { "funnelweb:pipeline/types@0.1.0": super::endpoint::funnelweb::pipeline::types },
        pub_export_macro: true,
    });
}

/// The world of rerank rules.
pub mod rerank_stage {
    wit_bindgen::generate!({
        path: ["../../wit/pipeline", "../../wit/capabilities", "../../wit/stream", "../../wit/worlds"],
        world: "funnelweb:worlds/rerank-stage",
        with: { "funnelweb:pipeline/types@0.1.0": super::endpoint::funnelweb::pipeline::types },
        pub_export_macro: true,
    });
}

/// The world of stream operators.
pub mod aggregate_stage {
    wit_bindgen::generate!({
        path: ["../../wit/pipeline", "../../wit/capabilities", "../../wit/stream", "../../wit/worlds"],
        world: "funnelweb:worlds/aggregate-stage",
        pub_export_macro: true,
    });
}
