//! Changes of an ONNX file as a graph, so that it stays one that is wired and run.

use prost::Message;
use serde_json::Value;

use crate::{
    json,
    proto::{
        AttributeProto, AttributeType, DimensionValue, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
        StringStringEntryProto, TensorProto,
    },
    random::Random,
};

/// Operators that are known to the ranker, and one that is not.
#[rustfmt::skip]
const OPERATORS: [&str; 76] = [
    "Abs", "Add", "And", "BatchNormalization", "Cast", "Ceil", "Clip", "Concat", "Constant", "ConstantOfShape", "Cos",
    "Div", "Dropout", "Elu", "Equal", "Erf", "Exp", "Expand", "Flatten", "Floor", "Gather", "Gemm", "Greater",
    "GreaterOrEqual", "HardSigmoid", "Identity", "IsNaN", "LayerNormalization", "LeakyRelu", "Less", "LessOrEqual",
    "Log", "LogSoftmax", "Loop", "MatMul", "Max", "Mean", "Min", "Mul", "Neg", "Not", "Or", "PRelu", "Pow",
    "Reciprocal", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare",
    "Relu", "Reshape", "Selu", "Shape", "Sigmoid", "Sign", "Sin", "Slice", "Softmax", "Softplus", "Softsign", "Split",
    "Sqrt", "Squeeze", "Sub", "Sum", "Tanh", "Tile", "Transpose", "TreeEnsembleClassifier", "TreeEnsembleRegressor",
    "Unsqueeze", "Where", "Xor",
];

/// Attributes that some operator reads.
const ATTRIBUTES: [(&str, AttributeType); 34] = [
    ("axis", AttributeType::Int),
    ("axes", AttributeType::Ints),
    ("keepdims", AttributeType::Int),
    ("noop_with_empty_axes", AttributeType::Int),
    ("perm", AttributeType::Ints),
    ("to", AttributeType::Int),
    ("value", AttributeType::Tensor),
    ("value_int", AttributeType::Int),
    ("value_ints", AttributeType::Ints),
    ("value_float", AttributeType::Float),
    ("value_floats", AttributeType::Floats),
    ("shape", AttributeType::Ints),
    ("repeats", AttributeType::Ints),
    ("split", AttributeType::Ints),
    ("starts", AttributeType::Ints),
    ("ends", AttributeType::Ints),
    ("steps", AttributeType::Ints),
    ("start", AttributeType::Int),
    ("end", AttributeType::Int),
    ("allowzero", AttributeType::Int),
    ("transA", AttributeType::Int),
    ("transB", AttributeType::Int),
    ("alpha", AttributeType::Float),
    ("beta", AttributeType::Float),
    ("gamma", AttributeType::Float),
    ("min", AttributeType::Float),
    ("max", AttributeType::Float),
    ("epsilon", AttributeType::Float),
    ("training_mode", AttributeType::Int),
    ("n_targets", AttributeType::Int),
    ("base_values", AttributeType::Floats),
    ("base_values_as_tensor", AttributeType::Tensor),
    ("nodes_missing_value_tracks_true", AttributeType::Ints),
    ("classlabels_int64s", AttributeType::Ints),
];

/// Texts of attributes.
const TEXTS: [&str; 12] = [
    "SUM",
    "AVERAGE",
    "NONE",
    "LOGISTIC",
    "BRANCH_LEQ",
    "BRANCH_LT",
    "BRANCH_GTE",
    "BRANCH_GT",
    "BRANCH_EQ",
    "BRANCH_NEQ",
    "LEAF",
    "",
];

const MANIFEST_KEY: &str = "funnelweb.manifest";

/// The file, if it is one.
pub fn read(bytes: &[u8]) -> Option<ModelProto> {
    let model = ModelProto::decode(bytes).ok()?;
    model.graph.is_some().then_some(model)
}

/// The manifest that is in the file.
pub fn manifest(model: &ModelProto) -> Option<&str> {
    model.metadata_props.iter().find(|entry| entry.key == MANIFEST_KEY).map(|entry| entry.value.as_str())
}

/// Puts a manifest into the file.
fn set_manifest(model: &mut ModelProto, manifest: String) {
    model.metadata_props = vec![StringStringEntryProto { key: MANIFEST_KEY.to_owned(), value: manifest }];
}

/// Leaves one golden row: each is scored when a file is loaded.
fn cut_golden(model: &mut ModelProto) {
    let Some(mut value) = manifest(model).and_then(|text| serde_json::from_str::<Value>(text).ok()) else { return };
    if value.pointer("/golden/rows/1").is_some() {
        for list in ["/golden/rows", "/golden/scores"] {
            if let Some(Value::Array(values)) = value.pointer_mut(list) {
                values.truncate(1);
            }
        }
        set_manifest(model, value.to_string());
    }
}

/// Changes a file at a few places.
pub fn mutate(model: &mut ModelProto, random: &mut Random) {
    cut_golden(model);
    loop {
        match random.below(40) {
            0 => set_opset(model, random),
            1 => mutate_manifest(model, random),
            2 => mutate_input(model, random),
            _ => {
                if let Some(graph) = &mut model.graph {
                    mutate_graph(graph, random);
                }
            }
        }
        if random.one_in(2) {
            break;
        }
    }
}

/// Takes operators and constants of one file over into another.
pub fn cross(model: &mut ModelProto, other: &ModelProto, random: &mut Random) {
    let (Some(graph), Some(other)) = (&mut model.graph, &other.graph) else { return };
    let Some(from) = random.place(&other.node) else { return };
    let to = (from + 1 + random.below(4)).min(other.node.len());
    let mut at = random.below(graph.node.len() + 1);
    let suffix = format!("_{:x}", random.bits() as u16);
    let made: Vec<&String> = other.node[from..to].iter().flat_map(|node| &node.output).collect();
    for node in &other.node[from..to] {
        let mut node = node.clone();
        for name in &mut node.input {
            if made.contains(&&*name) {
                name.push_str(&suffix);
            } else if let Some(constant) = other.initializer.iter().find(|constant| constant.name == *name) {
                let mut constant = constant.clone();
                constant.name.push_str(&suffix);
                name.push_str(&suffix);
                graph.initializer.push(constant);
            } else {
                *name = available(graph, at, random);
            }
        }
        node.output.iter_mut().for_each(|name| name.push_str(&suffix));
        graph.node.insert(at, node);
        at += 1;
    }
    use_of(graph, at - 1, random);
}

fn set_opset(model: &mut ModelProto, random: &mut Random) {
    let version = 6 + random.below(17) as i64;
    match model.opset_import.iter_mut().find(|set| set.domain.is_empty()) {
        Some(set) => set.version = version,
        None => model.opset_import.push(OperatorSetIdProto { domain: String::new(), version }),
    }
}

fn mutate_manifest(model: &mut ModelProto, random: &mut Random) {
    let Some(mut value) = manifest(model).and_then(|text| serde_json::from_str(text).ok()) else { return };
    json::mutate(&mut value, random);
    set_manifest(model, value.to_string());
}

fn mutate_input(model: &mut ModelProto, random: &mut Random) {
    let Some(graph) = &mut model.graph else { return };
    let Some(at) = random.place(&graph.input) else { return };
    let Some(tensor) = graph.input[at].r#type.as_mut().and_then(|of| of.tensor_type.as_mut()) else { return };
    match random.below(3) {
        0 => tensor.elem_type = *random.of(&[0, 1, 6, 7, 9, 11]),
        1 => tensor.shape = None,
        _ => {
            let dims = tensor.shape.as_mut().map(|shape| &mut shape.dim);
            if let Some(dim) = dims.and_then(|dims| dims.last_mut()) {
                dim.value = Some(DimensionValue::DimValue(random.int()));
            }
        }
    }
}

fn mutate_graph(graph: &mut GraphProto, random: &mut Random) {
    match random.below(14) {
        0 => {
            if let Some(at) = random.place(&graph.node) {
                rename(&mut graph.node[at], random);
            }
        }
        1 | 2 => rewire(graph, random),
        3 => remove(graph, random),
        4 => {
            let (Some(one), Some(other)) = (random.place(&graph.node), random.place(&graph.node)) else { return };
            graph.node.swap(one, other);
        }
        5 | 6 => insert(graph, random),
        7 | 8 => {
            let Some(at) = random.place(&graph.node) else { return };
            let attributes = &mut graph.node[at].attribute;
            if let Some(at) = random.place(attributes) {
                mutate_attribute(&mut attributes[at], random);
            }
        }
        9 => {
            if let Some(at) = random.place(&graph.node) {
                add_attribute(&mut graph.node[at], random);
            }
        }
        10 | 11 => {
            if let Some(at) = random.place(&graph.initializer) {
                mutate_tensor(&mut graph.initializer[at], random);
            }
        }
        12 => {
            let Some(at) = random.place(&graph.node) else { return };
            let name = add_constant(graph, random);
            let inputs = &mut graph.node[at].input;
            match random.place(inputs) {
                Some(at) if !random.one_in(4) => inputs[at] = name,
                _ => inputs.push(name),
            }
        }
        _ => {
            if let Some(at) = random.place(&graph.node) {
                use_of(graph, at, random);
            }
        }
    }
}

fn rename(node: &mut NodeProto, random: &mut Random) {
    node.op_type = (*random.of(&OPERATORS)).to_owned();
    node.domain = if node.op_type.starts_with("Tree") { "ai.onnx.ml" } else { "" }.to_owned();
}

/// Has an operator read, or make, something else.
fn rewire(graph: &mut GraphProto, random: &mut Random) {
    let Some(at) = random.place(&graph.node) else { return };
    let name = available(graph, at, random);
    let node = &mut graph.node[at];
    match (random.below(8), random.place(&node.input)) {
        (0, _) | (_, None) => node.input.push(name),
        (1, Some(input)) => drop(node.input.remove(input)),
        (2, Some(input)) => node.input[input] = String::new(),
        (3, _) => node.output.push(format!("o{:x}", random.bits() as u16)),
        (4, Some(input)) => {
            let name = node.input[input].clone();
            node.input.extend(std::iter::repeat_n(name, *random.of(&[1, 8, 60])));
        }
        (_, Some(input)) => node.input[input] = name,
    }
}

/// Takes an operator out: what read its output reads its input.
fn remove(graph: &mut GraphProto, random: &mut Random) {
    let Some(at) = random.place(&graph.node) else { return };
    let node = graph.node.remove(at);
    let input = node.input.first().cloned().unwrap_or_default();
    let names = graph.node.iter_mut().flat_map(|node| &mut node.input);
    names.filter(|name| node.output.contains(name)).for_each(|name| name.clone_from(&input));
}

/// A value that an operator at this place may read.
fn available(graph: &GraphProto, at: usize, random: &mut Random) -> String {
    let made = graph.node.iter().take(at).flat_map(|node| &node.output);
    let constants = graph.initializer.iter().map(|constant| &constant.name);
    let names: Vec<&String> = graph.input.iter().map(|input| &input.name).chain(constants).chain(made).collect();
    random.place(&names).map(|at| names[at].clone()).unwrap_or_default()
}

/// A new operator somewhere, whose output is read.
fn insert(graph: &mut GraphProto, random: &mut Random) {
    let at = random.below(graph.node.len() + 1);
    let mut node = NodeProto { output: vec![format!("i{:x}", random.bits() as u32)], ..NodeProto::default() };
    rename(&mut node, random);
    for place in 0..1 + random.below(3) {
        let constant = place > 0 && random.one_in(2);
        node.input.push(if constant { add_constant(graph, random) } else { available(graph, at, random) });
    }
    while random.one_in(2) {
        add_attribute(&mut node, random);
    }
    graph.node.insert(at, node);
    use_of(graph, at, random);
}

/// Has the output of an operator be read: by one after it, or by the score itself, to
/// which its cells are added as one number.
fn use_of(graph: &mut GraphProto, at: usize, random: &mut Random) {
    let Some(name) = graph.node[at].output.first().cloned() else { return };
    let after = graph.node.len() - at - 1;
    if after > 0 && random.one_in(2) {
        let inputs = &mut graph.node[at + 1 + random.below(after)].input;
        if let Some(input) = random.place(inputs) {
            inputs[input] = name;
        }
        return;
    }
    let Some(last) = graph.node.last_mut().and_then(|node| node.output.last_mut()) else { return };
    if name == *last {
        return;
    }
    let suffix = format!("_{:x}", random.bits() as u32);
    let (each, numbers, one) = (format!("each{suffix}"), format!("numbers{suffix}"), format!("one{suffix}"));
    let score = std::mem::replace(last, each.clone());
    let node = |op: &str, inputs: &[&str], output: &str| NodeProto {
        op_type: op.to_owned(),
        input: inputs.iter().map(|&name| name.to_owned()).collect(),
        output: vec![output.to_owned()],
        ..NodeProto::default()
    };
    let int = |name: &str, value| AttributeProto {
        name: name.to_owned(),
        i: value,
        r#type: AttributeType::Int as i32,
        ..AttributeProto::default()
    };
    let mut cast = node("Cast", &[&name], &numbers);
    cast.attribute.push(int("to", 1));
    let reducer: &&str = random.of(&["ReduceSum", "ReduceMax", "ReduceMean"]);
    let mut reduced = node(reducer, &[&numbers], &one);
    reduced.attribute.push(int("keepdims", 0));
    graph.node.extend([cast, reduced, node("Sum", &[&each, &one], &score)]);
}

fn add_attribute(node: &mut NodeProto, random: &mut Random) {
    let &(name, of) = random.of(&ATTRIBUTES);
    let mut attribute = AttributeProto { name: name.to_owned(), r#type: of as i32, ..AttributeProto::default() };
    match of {
        AttributeType::Float => attribute.f = random.float(),
        AttributeType::Floats => attribute.floats = (0..random.below(5)).map(|_| random.float()).collect(),
        AttributeType::Ints => attribute.ints = (0..random.below(5)).map(|_| random.int()).collect(),
        AttributeType::Tensor => attribute.t = Some(any_tensor(String::new(), random)),
        _ => attribute.i = if name == "to" { *random.of(&[1, 6, 7, 9, 11]) } else { random.int() },
    }
    node.attribute.retain(|other| other.name != name);
    node.attribute.push(attribute);
}

fn mutate_attribute(attribute: &mut AttributeProto, random: &mut Random) {
    match AttributeType::try_from(attribute.r#type) {
        _ if random.one_in(16) => attribute.r#type = random.below(10) as i32,
        Ok(AttributeType::Float) => attribute.f = random.float(),
        Ok(AttributeType::Floats) => mutate_list(&mut attribute.floats, Random::float, random),
        Ok(AttributeType::Ints) => mutate_list(&mut attribute.ints, Random::int, random),
        Ok(AttributeType::Tensor) => mutate_tensor(attribute.t.get_or_insert_default(), random),
        Ok(AttributeType::String) => attribute.s = random.of(&TEXTS).as_bytes().into(),
        Ok(AttributeType::Strings) => {
            mutate_list(&mut attribute.strings, |random| random.of(&TEXTS).as_bytes().into(), random);
        }
        _ => attribute.i = random.int(),
    }
}

fn mutate_list<T: Clone>(list: &mut Vec<T>, any: fn(&mut Random) -> T, random: &mut Random) {
    let Some(at) = random.place(list) else {
        list.push(any(random));
        return;
    };
    match random.below(10) {
        0 => drop(list.remove(at)),
        1 => list.insert(at, any(random)),
        2 => list.swap(0, at),
        3 | 4 => list[at] = list[random.below(list.len())].clone(),
        _ => list[at] = any(random),
    }
}

fn add_constant(graph: &mut GraphProto, random: &mut Random) -> String {
    let name = format!("c{:x}", random.bits() as u32);
    graph.initializer.push(any_tensor(name.clone(), random));
    name
}

fn mutate_tensor(tensor: &mut TensorProto, random: &mut Random) {
    let cells = tensor.dims.iter().fold(1_i64, |cells, dim| cells.saturating_mul(*dim));
    match random.below(8) {
        0 => *tensor = any_tensor(tensor.name.clone(), random),
        1 => mutate_list(&mut tensor.dims, Random::int, random),
        2 => tensor.data_type = *random.of(&[0, 1, 6, 7, 9, 11]),
        // As many cells, in other dimensions.
        3 => tensor.dims = vec![cells],
        4 => tensor.dims.insert(random.below(tensor.dims.len() + 1), 1),
        5 => tensor.dims.reverse(),
        _ => mutate_cells(tensor, random),
    }
}

fn mutate_cells(tensor: &mut TensorProto, random: &mut Random) {
    let mut raw = tensor.raw_data.to_vec();
    let cell = match tensor.data_type {
        1 => random.float().to_le_bytes().to_vec(),
        11 => f64::from(random.float()).to_le_bytes().to_vec(),
        6 => (random.int() as i32).to_le_bytes().to_vec(),
        7 => random.int().to_le_bytes().to_vec(),
        _ => vec![random.bits() as u8],
    };
    let places = raw.len() / cell.len();
    if places > 0 {
        let at = random.below(places) * cell.len();
        raw[at..at + cell.len()].copy_from_slice(&cell);
        tensor.raw_data = raw.into();
    } else if tensor.data_type == 1 {
        mutate_list(&mut tensor.float_data, Random::float, random);
    } else if tensor.data_type == 7 {
        mutate_list(&mut tensor.int64_data, Random::int, random);
    }
}

/// A constant that is sound by itself.
fn any_tensor(name: String, random: &mut Random) -> TensorProto {
    let mut dims: Vec<i64> = (0..random.below(4)).map(|_| *random.of(&[0, 1, 1, 1, 2, 3, 4, 6, 8, 64])).collect();
    let mut cells = dims.iter().product::<i64>() as usize;
    if cells > 1024 {
        (dims, cells) = (vec![1024], 1024);
    }
    let mut tensor = TensorProto { name, dims, ..TensorProto::default() };
    match random.below(8) {
        0..=2 => {
            tensor.data_type = 1;
            tensor.float_data = (0..cells).map(|_| random.float()).collect();
        }
        3 => {
            tensor.data_type = 11;
            tensor.double_data = (0..cells).map(|_| f64::from(random.float())).collect();
        }
        4 => {
            tensor.data_type = *random.of(&[6, 9]);
            tensor.int32_data = (0..cells).map(|_| random.int() as i32).collect();
        }
        _ => {
            tensor.data_type = 7;
            tensor.int64_data = (0..cells).map(|_| random.int()).collect();
        }
    }
    tensor
}
