//! From an ONNX graph to one of tract, for a fixed number of rows: every dimension is
//! then known while it is made, so that it is optimised for it, and nothing in it
//! can be larger than was checked.

use std::collections::{HashMap, HashSet};

use funnelweb_guest::model::LoadError;
use tract_hir::internal::*;

use crate::{
    attributes::tensor,
    dense::Layers,
    manifest::{Element, Input, Kind, Manifest},
    onnx::File,
    operators::{self, Wiring},
    proto::{DataType, Dimension, DimensionValue, GraphProto, NodeProto, ValueInfoProto},
    refusal,
};

/// A graph that has the inputs and the output of its manifest.
pub struct Graph<'a> {
    proto: &'a GraphProto,
    opset: i64,
    manifest: &'a Manifest,
    /// By name; all plans share them.
    constants: HashMap<&'a str, Arc<Tensor>>,
    layers: Layers,
}

impl<'a> Graph<'a> {
    /// Compares a graph with its manifest, and loads its constants.
    ///
    /// # Errors
    /// `input` with the first that differs, `manifest` for another kind of model,
    /// `onnx` for constants that cannot be read.
    pub fn new(file: &'a File, manifest: &'a Manifest) -> Result<Self, LoadError> {
        let proto = file.graph().ok_or_else(|| refusal::onnx("the file has no graph"))?;
        if !operators::OPSETS.contains(&file.opset) {
            let (first, last) = (operators::OPSETS.start(), operators::OPSETS.end());
            let message = format!("the operator set must be {first} to {last}, got {}", file.opset);
            return Err(refusal::onnx(message));
        }
        check_kind(proto, manifest)?;
        check_inputs(proto, manifest)?;
        let constants = proto.initializer.iter().map(|constant| {
            let refuse = |error| refusal::onnx(format!("constant `{}`: {error:#}", constant.name));
            Ok((constant.name.as_str(), tensor(constant).map_err(refuse)?.into_arc_tensor()))
        });
        Ok(Self {
            proto,
            opset: file.opset,
            manifest,
            constants: constants.collect::<Result<_, _>>()?,
            layers: Layers::default(),
        })
    }

    /// Operators in it.
    #[must_use]
    pub fn operators(&self) -> u32 {
        self.proto.node.len() as u32
    }

    /// Bytes of its constants.
    #[must_use]
    pub fn parameter_bytes(&self) -> u64 {
        self.constants.values().map(|tensor| (tensor.len() * tensor.datum_type().size_of()) as u64).sum()
    }

    /// The graph of tract for this number of rows, optimised.
    ///
    /// # Errors
    /// `onnx` with the operator that does not fit, `input` for an output that is no
    /// score per row.
    pub fn plan(&self, rows: usize) -> Result<Arc<TypedRunnableModel>, LoadError> {
        let model = self.wire(rows)?;
        let optimised = model.into_optimized().and_then(|model| model.into_runnable());
        optimised.map_err(|error| refusal::onnx(format!("the graph cannot be run: {error:#}")))
    }

    fn wire(&self, rows: usize) -> Result<TypedModel, LoadError> {
        let mut model = TypedModel::default();
        let mut values: HashMap<&str, OutletId> = HashMap::new();
        for input in &self.manifest.inputs {
            let element = datum_type(input.element);
            let source = model.add_source(input.tensor.clone(), element.fact([rows, input.width]));
            values.insert(&input.tensor, source.map_err(unexpected)?);
        }
        for (name, tensor) in &self.constants {
            let place = format!("constant:{name}");
            values.insert(name, model.add_const(place, tensor.clone()).map_err(unexpected)?);
        }
        let needed = needed(self.proto, &self.manifest.output);
        let nodes = self.proto.node.iter().enumerate();
        for (place, node) in nodes.filter(|(place, _)| needed.contains(place)) {
            let inputs = node.input.iter().map(|name| resolve(node, name, &values)).collect::<Result<_, _>>()?;
            let outputs = operators::wire(Wiring::new(&mut model, node, self.opset, inputs, place, &self.layers))
                .map_err(|error| refusal::onnx(format!("{}: {error:#}", title(node))))?;
            for (name, outlet) in operators::outputs(node).iter().zip(outputs) {
                if values.insert(name, outlet).is_some() && !name.is_empty() {
                    return Err(refusal::onnx(format!("{} makes `{name}`, which there is already", title(node))));
                }
            }
        }
        let output = &self.manifest.output;
        let score = values.get(output.as_str()).copied();
        let score = score.ok_or_else(|| refusal::input(output, format!("the graph makes no `{output}`")))?;
        check_output(output, model.outlet_fact(score).map_err(unexpected)?, rows)?;
        model.select_output_outlets(&[score]).map_err(unexpected)?;
        Ok(model)
    }
}

/// The operators that the score is made by, by place. Converters leave others beside
/// them, such as what makes labels of probabilities.
fn needed(proto: &GraphProto, output: &str) -> HashSet<usize> {
    let (mut values, mut places) = (HashSet::from([output]), HashSet::new());
    for (place, node) in proto.node.iter().enumerate().rev() {
        if node.output.iter().any(|name| values.contains(name.as_str())) {
            values.extend(node.input.iter().map(String::as_str));
            places.insert(place);
        }
    }
    places
}

fn unexpected(error: TractError) -> LoadError {
    refusal::onnx(format!("{error:#}"))
}

/// How an operator is called in what its author reads.
fn title(node: &NodeProto) -> String {
    let name = node.output.first().filter(|_| node.name.is_empty()).unwrap_or(&node.name);
    format!("operator {} `{name}`", operators::full_name(node))
}

/// The value that an operator reads; none where it leaves one out.
fn resolve(node: &NodeProto, name: &str, values: &HashMap<&str, OutletId>) -> Result<Option<OutletId>, LoadError> {
    match values.get(name) {
        Some(outlet) => Ok(Some(*outlet)),
        None if name.is_empty() => Ok(None),
        None => Err(refusal::onnx(format!(
            "{} reads `{name}`, which no operator before it makes: it is missing, or the graph has a cycle",
            title(node)
        ))),
    }
}

fn check_kind(proto: &GraphProto, manifest: &Manifest) -> Result<(), LoadError> {
    let ensembles = proto.node.iter().filter(|node| node.op_type.starts_with("TreeEnsemble")).count();
    if (manifest.kind == Kind::Lightgbm) == (ensembles == 1) {
        return Ok(());
    }
    let message =
        format!("a lightgbm model has one tree ensemble, and no other kind has one; this one has {ensembles}");
    Err(refusal::manifest("/kind", message))
}

/// The inputs of a graph are those of its manifest, in the same order. (Constants
/// may stand among a graph's inputs in old files.)
fn check_inputs(proto: &GraphProto, manifest: &Manifest) -> Result<(), LoadError> {
    let constant = |name: &str| proto.initializer.iter().any(|tensor| tensor.name == name);
    let mut given = proto.input.iter().filter(|input| !constant(&input.name));
    for input in &manifest.inputs {
        match given.next() {
            Some(info) => check_input(info, input)?,
            None => return Err(refusal::input(&input.tensor, format!("the graph has no input `{}`", input.tensor))),
        }
    }
    given.next().map_or(Ok(()), |extra| {
        Err(refusal::input(&extra.name, format!("the graph has an input `{}` that the manifest lacks", extra.name)))
    })
}

fn check_input(info: &ValueInfoProto, input: &Input) -> Result<(), LoadError> {
    let name = &input.tensor;
    let refuse = |message: String| Err(refusal::input(name, message));
    if info.name != *name {
        return refuse(format!("the manifest's input `{name}` is `{}` in the graph", info.name));
    }
    let Some(tensor) = info.r#type.as_ref().and_then(|of| of.tensor_type.as_ref()) else {
        return refuse(format!("input `{name}` is no tensor"));
    };
    let element = match input.element {
        Element::Float32 => DataType::Float,
        Element::Int64 => DataType::Int64,
    };
    if tensor.elem_type != element as i32 {
        let got =
            DataType::try_from(tensor.elem_type).map_or_else(|_| "another type".to_owned(), |of| format!("{of:?}"));
        return refuse(format!("input `{name}` must be {element:?}, got {got}"));
    }
    let fixed = |dim: &Dimension| match dim.value {
        Some(DimensionValue::DimValue(value)) => Some(value),
        _ => None,
    };
    match tensor.shape.as_ref().map(|shape| shape.dim.as_slice()) {
        Some([rows, _]) if fixed(rows).is_some() => {
            refuse(format!("input `{name}` has a fixed number of rows; it must be free"))
        }
        Some([_, width]) if fixed(width).is_some_and(|width| width != input.width as i64) => {
            let got = fixed(width).unwrap_or_default();
            refuse(format!("input `{name}` has {got} cells per row, the manifest's columns make {}", input.width))
        }
        Some([_, _]) | None => Ok(()),
        Some(dims) => refuse(format!("input `{name}` must have 2 dimensions, got {}", dims.len())),
    }
}

fn check_output(name: &str, fact: &TypedFact, rows: usize) -> Result<(), LoadError> {
    let shape = fact.shape.as_concrete();
    if fact.datum_type == f32::datum_type() && shape.is_some_and(|shape| matches!(shape, [n] | [n, 1] if *n == rows)) {
        return Ok(());
    }
    let message = format!(
        "output `{name}` must be one float32 per row; for {rows} rows it is {:?} of {:?}",
        shape.unwrap_or_default(),
        fact.datum_type
    );
    Err(refusal::input(name, message))
}

/// The cells of an input, as tract calls them.
#[must_use]
pub fn datum_type(element: Element) -> DatumType {
    match element {
        Element::Float32 => f32::datum_type(),
        Element::Int64 => i64::datum_type(),
    }
}
