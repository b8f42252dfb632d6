//! The ONNX file: decoded, and refused for what no graph of a ranker has, before
//! anything is made of it.

use funnelweb_core::limits;
use funnelweb_guest::model::LoadError;
use prost::{Message, bytes::Bytes};

use crate::{
    operators,
    proto::{GraphProto, ModelProto, NodeProto, TensorProto},
    refusal,
};

/// The key of the manifest among the file's `metadata_props`.
const MANIFEST_KEY: &str = "funnelweb.manifest";

/// A decoded file whose graph has operators and constants that can be taken.
pub struct File {
    /// All of it.
    proto: ModelProto,
    /// The version of the standard operators.
    pub opset: i64,
}

impl File {
    /// Decodes a file and looks its parts over.
    ///
    /// # Errors
    /// `onnx` for what cannot be read, `operator` for operators that are not known.
    pub fn read(bytes: Bytes) -> Result<Self, LoadError> {
        if bytes.len() > limits::MODEL_BYTES {
            let message = format!("the file may have at most {} bytes, got {}", limits::MODEL_BYTES, bytes.len());
            return Err(refusal::onnx(message));
        }
        let proto = ModelProto::decode(bytes)
            .map_err(|error| refusal::onnx(format!("the file is not ONNX, or not all of it: {error}")))?;
        let opset = proto.opset_import.iter().find(|set| matches!(set.domain.as_str(), "" | "ai.onnx"));
        let opset = opset.map_or(0, |set| set.version);
        let graph = proto.graph.as_ref().ok_or_else(|| refusal::onnx("the file has no graph"))?;
        check(graph)?;
        Ok(Self { proto, opset })
    }

    /// The manifest in the file's `metadata_props`.
    #[must_use]
    pub fn manifest(&self) -> Option<&str> {
        let props = &self.proto.metadata_props;
        props.iter().find(|entry| entry.key == MANIFEST_KEY).map(|entry| entry.value.as_str())
    }

    /// The graph.
    #[must_use]
    pub fn graph(&self) -> Option<&GraphProto> {
        self.proto.graph.as_ref()
    }
}

fn check(graph: &GraphProto) -> Result<(), LoadError> {
    for (what, got) in [("operators", graph.node.len()), ("constants", graph.initializer.len())] {
        if got > limits::MODEL_OPERATORS {
            let message = format!("a graph may have at most {} {what}, got {got}", limits::MODEL_OPERATORS);
            return Err(refusal::onnx(message));
        }
    }
    let mut unknown: Vec<String> =
        graph.node.iter().filter(|node| !operators::known(node)).map(operators::full_name).collect();
    unknown.sort_unstable();
    unknown.dedup();
    if !unknown.is_empty() {
        return Err(refusal::operators(unknown));
    }
    graph.initializer.iter().chain(graph.node.iter().flat_map(tensors)).try_for_each(check_tensor)
}

/// The tensors among an operator's attributes.
fn tensors(node: &NodeProto) -> impl Iterator<Item = &TensorProto> {
    node.attribute.iter().filter_map(|attribute| attribute.t.as_ref())
}

/// Refuses a tensor that is elsewhere, or that says to be larger than it can be here.
fn check_tensor(tensor: &TensorProto) -> Result<(), LoadError> {
    let name = &tensor.name;
    if tensor.data_location != 0 || !tensor.external_data.is_empty() {
        return Err(refusal::onnx(format!("constant `{name}` is in another file; all data must be in this one")));
    }
    if tensor.dims.len() > limits::MODEL_TENSOR_DIMENSIONS {
        let most = limits::MODEL_TENSOR_DIMENSIONS;
        return Err(refusal::onnx(format!(
            "constant `{name}` may have at most {most} dimensions, got {}",
            tensor.dims.len()
        )));
    }
    // A dimension of 0 counts as 1: beside it the others still make the strides.
    let mut dims = tensor.dims.iter().map(|dim| usize::try_from(*dim).ok());
    let volume = dims.try_fold(1_usize, |volume, dim| volume.checked_mul(dim?.max(1)));
    if volume.is_none_or(|volume| volume > limits::MODEL_TENSOR_BYTES) {
        return Err(refusal::onnx(format!("constant `{name}` has dimensions that cannot be: {:?}", tensor.dims)));
    }
    Ok(())
}
