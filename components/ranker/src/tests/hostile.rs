//! Files that somebody made to do harm, or that are broken.

use funnelweb_core::limits;
use funnelweb_guest::model::LoadRule;
use prost::Message;
use sha2::{Digest, Sha256};

use super::*;
use crate::{
    manifest::{hex, schema_hash},
    proto::{
        AttributeProto, AttributeType, DimensionValue, GraphProto, ModelProto, NodeProto, StringStringEntryProto,
        TensorProto, TensorType,
    },
};

/// A small model to break.
fn sound() -> ModelProto {
    ModelProto::decode(&*fixture("deepfm.onnx")).unwrap()
}

/// What is said of a file that was changed.
fn refused(change: impl FnOnce(&mut ModelProto)) -> LoadError {
    let mut proto = sound();
    change(&mut proto);
    load(&proto).map(|_| ()).expect_err("a broken file was taken")
}

fn load(proto: &ModelProto) -> Result<Model, LoadError> {
    Model::load("", proto.encode_to_vec())
}

fn graph(proto: &mut ModelProto) -> &mut GraphProto {
    proto.graph.as_mut().unwrap()
}

fn node(op: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: op.to_owned(),
        input: inputs.iter().map(|&input| input.to_owned()).collect(),
        output: vec![output.to_owned()],
        ..NodeProto::default()
    }
}

fn ints(name: &str, values: &[i64]) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        data_type: 7,
        dims: vec![values.len() as i64],
        int64_data: values.to_vec(),
        ..TensorProto::default()
    }
}

/// Adds operators between the last one, whose output is then `each`, and the score.
fn appended(proto: &mut ModelProto, nodes: Vec<NodeProto>, constants: Vec<TensorProto>) {
    let graph = graph(proto);
    graph.initializer.extend(constants);
    graph.node.last_mut().unwrap().output[0] = "each".to_owned();
    graph.node.extend(nodes);
    let last = graph.node.last().unwrap().output[0].clone();
    graph.node.push(node("Sum", &["each", &last], "score"));
}

fn assert_onnx(error: &LoadError, says: &str) {
    assert!(matches!(error.rule, LoadRule::Onnx), "{error:?}");
    assert!(error.message.contains(says), "{}", error.message);
}

#[test]
fn a_file_that_was_cut_off_is_refused() {
    for name in ["lightgbm.onnx", "deepfm.onnx", "wide_deep.onnx"] {
        let whole = fixture(name);
        for part in 0..50 {
            let cut = &whole[..whole.len() * part / 50];
            assert!(Model::load("", cut.to_vec()).is_err(), "{name} cut to {} bytes", cut.len());
        }
    }
}

#[test]
fn bytes_that_were_changed_never_end_in_a_panic() {
    let whole = fixture("lightgbm.onnx");
    for at in (0..whole.len()).step_by(97) {
        let mut changed = whole.clone();
        changed[at] ^= 0x55;
        // Whether it is still a model is up to the byte.
        drop(Model::load("", changed));
    }
}

#[test]
fn lengths_that_cannot_be_are_refused() {
    // Field 7 (the graph) of 2 GB, of 2^63 bytes, and of a length that never ends.
    for length in [&[0xff, 0xff, 0xff, 0xff, 0x07][..], &[0xff; 9], &[0xff; 40]] {
        let mut bytes = vec![0x3a];
        bytes.extend(length);
        bytes.extend([0; 64]);
        assert_onnx(&Model::load("", bytes).map(|_| ()).unwrap_err(), "not ONNX");
    }
    assert_onnx(&Model::load("", Vec::new()).map(|_| ()).unwrap_err(), "no graph");
    assert_onnx(&Model::load("", b"not a model at all".to_vec()).map(|_| ()).unwrap_err(), "not ONNX");
}

#[test]
fn a_file_may_have_so_many_bytes() {
    let error = Model::load("", vec![0; limits::MODEL_BYTES + 1]).map(|_| ()).unwrap_err();
    assert_onnx(&error, &format!("at most {} bytes", limits::MODEL_BYTES));
}

#[test]
fn a_cycle_is_refused() {
    let error = refused(|proto| {
        appended(proto, vec![node("Add", &["each", "b"], "a"), node("Relu", &["a"], "b")], vec![]);
    });
    assert_onnx(&error, "operator Add `a` reads `b`, which no operator before it makes");
}

#[test]
fn a_name_that_is_made_twice_is_refused() {
    assert_onnx(&refused(|proto| appended(proto, vec![node("Relu", &["each"], "each")], vec![])), "already");
}

#[test]
fn unknown_operators_are_listed() {
    let error = refused(|proto| {
        let mut own = node("Score", &["each"], "a");
        own.domain = "com.acme".to_owned();
        appended(
            proto,
            vec![own, node("Loop", &["a"], "b"), node("If", &["b"], "c"), node("Loop", &["c"], "d")],
            vec![],
        );
    });
    let LoadRule::Operator(names) = &error.rule else { panic!("{error:?}") };
    assert_eq!(names, &["If", "Loop", "com.acme.Score"]);
    assert_eq!(error.message, "these operators are not supported: If, Loop, com.acme.Score");
    for name in ["Scan", "RandomNormal", "Multinomial", "NonZero", "Conv"] {
        let error = refused(|proto| appended(proto, vec![node(name, &["each"], "a")], vec![]));
        assert!(matches!(error.rule, LoadRule::Operator(_)), "{name}: {error:?}");
    }
}

#[test]
fn data_in_another_file_is_refused() {
    let entry = StringStringEntryProto { key: "location".to_owned(), value: "/etc/passwd".to_owned() };
    let error = refused(|proto| {
        let tensor = &mut graph(proto).initializer[0];
        tensor.data_location = 1;
        tensor.external_data = vec![entry];
    });
    assert_onnx(&error, "is in another file");
}

#[test]
fn tensors_that_are_too_large_are_refused() {
    let huge = [1 << 20, 1 << 17];
    let error = refused(|proto| {
        let shape = ints("huge", &huge);
        appended(proto, vec![node("ConstantOfShape", &["huge"], "a"), node("ReduceSum", &["a"], "b")], vec![shape]);
    });
    assert_onnx(
        &error,
        &format!("operator ConstantOfShape `a`: a tensor may have at most {}", limits::MODEL_TENSOR_BYTES),
    );
    for op in ["Expand", "Tile"] {
        let error = refused(|proto| {
            appended(proto, vec![node(op, &["each", "huge"], "a")], vec![ints("huge", &huge)]);
        });
        assert_onnx(&error, &limits::MODEL_TENSOR_BYTES.to_string());
    }
    // Small constants whose product is large.
    let error = refused(|proto| {
        let mut wide = ints("wide", &[1; 40_000]);
        wide.dims = vec![1, 40_000];
        let mut high = ints("high", &[1; 40_000]);
        high.dims = vec![40_000, 1];
        appended(proto, vec![node("Mul", &["wide", "high"], "a")], vec![wide, high]);
    });
    assert_onnx(&error, "operator Mul `a`");
    // A constant that says to be larger than it is.
    let error = refused(|proto| graph(proto).initializer[0].dims = vec![1 << 40, 1 << 40]);
    assert_onnx(&error, "dimensions that cannot be");
    let error = refused(|proto| graph(proto).initializer[0].dims = vec![-1]);
    assert_onnx(&error, "dimensions that cannot be");
    let error = refused(|proto| graph(proto).initializer[0].dims = vec![1; limits::MODEL_TENSOR_DIMENSIONS + 1]);
    assert_onnx(&error, "at most 8 dimensions");
}

#[test]
fn a_graph_may_have_so_many_operators() {
    let chain = |length: usize| (0..length).map(|at| node("Identity", &["each"], &format!("a{at}"))).collect();
    let sound = graph(&mut sound()).node.len();
    let error = refused(|proto| appended(proto, chain(limits::MODEL_OPERATORS - sound), vec![]));
    assert_onnx(&error, &format!("at most {} operators, got {}", limits::MODEL_OPERATORS, limits::MODEL_OPERATORS + 1));
    let constants = (0..=limits::MODEL_OPERATORS).map(|at| ints(&format!("c{at}"), &[1])).collect();
    assert_onnx(&refused(|proto| appended(proto, vec![], constants)), "constants");
}

#[test]
fn inputs_and_output_must_be_those_of_the_manifest() {
    let named = |error: LoadError| match error.rule {
        LoadRule::Input(name) => (name, error.message),
        rule => panic!("{rule:?}: {}", error.message),
    };
    let (name, message) = named(refused(|proto| graph(proto).input[0].name = "other".to_owned()));
    assert_eq!((name.as_str(), message.as_str()), ("ids", "the manifest's input `ids` is `other` in the graph"));
    let (_, message) = named(refused(|proto| set_element(proto, 1)));
    assert_eq!(message, "input `ids` must be Int64, got Float");
    let (_, message) = named(refused(|proto| set_dim(proto, 1, 5)));
    assert_eq!(message, "input `ids` has 5 cells per row, the manifest's columns make 4");
    let (_, message) = named(refused(|proto| set_dim(proto, 0, 64)));
    assert!(message.contains("fixed number of rows"), "{message}");
    let (name, _) = named(refused(|proto| {
        let mut extra = graph(proto).input[0].clone();
        extra.name = "extra".to_owned();
        graph(proto).input.push(extra);
    }));
    assert_eq!(name, "extra");
    let (_, message) = named(refused(|proto| graph(proto).input.clear()));
    assert_eq!(message, "the graph has no input `ids`");
    // The score summed over all rows.
    let (name, message) = named(refused(|proto| {
        let graph = graph(proto);
        graph.node.last_mut().unwrap().output[0] = "each".to_owned();
        graph.node.push(node("ReduceSum", &["each"], "score"));
    }));
    assert_eq!(name, "score");
    assert!(message.contains("one float32 per row"), "{message}");
}

fn tensor_type(proto: &mut ModelProto) -> &mut TensorType {
    graph(proto).input[0].r#type.as_mut().unwrap().tensor_type.as_mut().unwrap()
}

fn set_element(proto: &mut ModelProto, element: i32) {
    tensor_type(proto).elem_type = element;
}

fn set_dim(proto: &mut ModelProto, at: usize, value: i64) {
    let shape = tensor_type(proto).shape.as_mut().unwrap();
    shape.dim[at].value = Some(DimensionValue::DimValue(value));
}

#[test]
fn a_place_outside_of_its_table_is_an_error_of_the_request() {
    // The golden rows have places up to 84; the table loses all but its first rows.
    let error = refused(|proto| {
        let graph = graph(proto);
        let table = graph.initializer.iter_mut().find(|tensor| tensor.dims == [84, 4]).unwrap();
        table.dims = vec![3, 4];
        table.raw_data.truncate(48);
    });
    assert_onnx(&error, "which has 3 rows");
}

#[test]
fn the_operator_set_is_one_that_is_known() {
    for version in [0, 6, 22] {
        assert_onnx(&refused(|proto| proto.opset_import[0].version = version), "must be 7 to 21");
    }
}

/// Changes the manifest in the file.
fn with_manifest(proto: &mut ModelProto, change: impl FnOnce(&mut serde_json::Value)) {
    let entry = &mut proto.metadata_props[0];
    let mut manifest = serde_json::from_str(&entry.value).unwrap();
    change(&mut manifest);
    entry.value = manifest.to_string();
}

#[test]
fn golden_rows_must_be_reproduced() {
    let error = refused(|proto| with_manifest(proto, |manifest| manifest["golden"]["scores"][3] = 0.1.into()));
    let LoadRule::Golden(mismatch) = &error.rule else { panic!("{error:?}") };
    assert_eq!((mismatch.row, mismatch.expected), (3, 0.1));
    assert!(error.message.starts_with("golden row 3 scores 0."), "{}", error.message);
    assert!(error.message.ends_with("the manifest says 0.1"), "{}", error.message);
}

#[test]
fn scores_must_be_finite() {
    let error = refused(|proto| {
        let graph = graph(proto);
        graph.node.last_mut().unwrap().output[0] = "each".to_owned();
        graph.node.push(node("Sub", &["each", "each"], "zero"));
        graph.node.push(node("Log", &["zero"], "score"));
    });
    assert!(matches!(error.rule, LoadRule::NotFinite(0)), "{error:?}");
    assert_eq!(error.message, "golden row 0 scores -inf");
}

#[test]
fn a_kind_is_what_it_says() {
    let error = refused(|proto| with_manifest(proto, |manifest| manifest["kind"] = "lightgbm".into()));
    assert!(matches!(&error.rule, LoadRule::Manifest(path) if path == "/kind"), "{error:?}");
}

#[test]
fn a_manifest_stands_in_the_file_or_beside_it_and_says_which_file() {
    let mut proto = sound();
    let manifest = proto.metadata_props[0].value.clone();
    proto.metadata_props.clear();
    let onnx = proto.encode_to_vec();
    let path = |manifest: &str| match Model::load(manifest, onnx.clone()).map(|_| ()).unwrap_err().rule {
        LoadRule::Manifest(path) => path,
        rule => panic!("{rule:?}"),
    };
    assert_eq!(path(""), "");
    assert_eq!(path(&manifest), "/onnx_sha256");
    let mut value: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    value["onnx_sha256"] = "0".repeat(64).into();
    assert_eq!(path(&value.to_string()), "/onnx_sha256");
    value["onnx_sha256"] = hex(&Sha256::digest(&onnx)).into();
    let model = Model::load(&value.to_string(), onnx).unwrap();
    assert_eq!(model.loaded().name, "deepfm");
    assert_eq!(model.loaded().schema_hash, schema_hash(&model.loaded().features));
}

#[test]
fn trees_that_are_none_are_refused() {
    let refused = |change: fn(&mut Vec<AttributeProto>)| {
        let mut proto = ModelProto::decode(&*fixture("lightgbm.onnx")).unwrap();
        change(&mut graph(&mut proto).node[0].attribute);
        let error = load(&proto).map(|_| ()).unwrap_err();
        assert!(matches!(error.rule, LoadRule::Onnx), "{error:?}");
        error.message
    };
    fn of<'a>(attributes: &'a mut [AttributeProto], name: &str) -> &'a mut AttributeProto {
        attributes.iter_mut().find(|attribute| attribute.name == name).unwrap()
    }
    // The first branch leads back to itself.
    let message = refused(|all| of(all, "nodes_truenodeids").ints[0] = 0);
    assert!(message.contains("node 0 of tree 0 leads back to itself"), "{message}");
    let message = refused(|all| of(all, "nodes_truenodeids").ints[0] = 1_000_000);
    assert!(message.contains("tree 0 has no node 1000000"), "{message}");
    let message = refused(|all| of(all, "nodes_featureids").ints[0] = 20);
    assert!(message.contains("the trees read feature 20, their input has 20 per row"), "{message}");
    let message = refused(|all| of(all, "nodes_featureids").ints[0] = -1);
    assert!(message.contains("nodes_featureids must be 0"), "{message}");
    let message = refused(|all| of(all, "nodes_values").floats.truncate(3));
    assert!(message.contains("nodes_values must have"), "{message}");
    let message = refused(|all| of(all, "target_ids").ints[0] = 1);
    assert!(message.contains("target_ids must be 0 to 0"), "{message}");
    let message = refused(|all| of(all, "target_nodeids").ints[0] = 0);
    assert!(message.contains("node 0 of tree 0 has a weight and is no leaf"), "{message}");
    let message = refused(|all| of(all, "nodes_modes").strings[0] = (&b"BRANCH_MEMBER"[..]).into());
    assert!(message.contains("nodes_modes may not be BRANCH_MEMBER"), "{message}");
    let message = refused(|all| of(all, "post_transform").s = (&b"PROBIT"[..]).into());
    assert!(message.contains("post_transform must be NONE or LOGISTIC"), "{message}");
    let message = refused(|all| of(all, "n_targets").i = limits::MODEL_TREE_TARGETS as i64 + 1);
    assert!(message.contains("n_targets must be 1 to 16, got 17"), "{message}");
    let message = refused(|all| of(all, "n_targets").r#type = AttributeType::Float as i32);
    assert!(message.contains("n_targets"), "{message}");
}

#[test]
fn whole_numbers_are_divided_by_a_constant_that_is_not_0() {
    let divided = |by: &str| {
        let mut proto = sound();
        let constants = vec![ints("some", &[3, 0, 1]), ints("less", &[-1]), ints("lowest", &[i64::MIN])];
        let mut cast = node("Cast", &["b"], "c");
        let float = AttributeProto {
            name: "to".to_owned(),
            i: 1,
            r#type: AttributeType::Int as i32,
            ..AttributeProto::default()
        };
        cast.attribute.push(float);
        appended(&mut proto, vec![node("Div", &["lowest", by], "a"), node("ReduceMax", &["a"], "b"), cast], constants);
        load(&proto)
    };
    assert_onnx(&divided("some").err().unwrap(), "whole numbers are not divided by 0");
    assert_onnx(&divided("ids").err().unwrap(), "whole numbers are divided by a constant only");
    // That is 2^63, which there is not: it wraps around, and the score is another.
    assert!(matches!(divided("less").err().unwrap().rule, LoadRule::Golden(_)));
}

#[test]
fn what_has_no_cells_is_not_reduced() {
    for op in ["ReduceMean", "ReduceSum", "ReduceMax", "ReduceL2"] {
        let error = refused(|proto| {
            let shape = ints("shape", &[3, 0]);
            appended(proto, vec![node("ConstantOfShape", &["shape"], "a"), node(op, &["a"], "b")], vec![shape]);
        });
        assert_onnx(&error, "no cells are left");
    }
    let error = refused(|proto| {
        let nodes = vec![
            node("ConstantOfShape", &["shape"], "a"),
            node("LayerNormalization", &["a", "a"], "b"),
            node("ReduceSum", &["b"], "c"),
        ];
        appended(proto, nodes, vec![ints("shape", &[3, 0])]);
    });
    assert_onnx(&error, "operator LayerNormalization `b`");
}

#[test]
fn a_tensor_of_no_cells_is_not_large_beside_them() {
    let error = refused(|proto| {
        let mut none = ints("none", &[]);
        none.dims = vec![0, 1 << 62, 1 << 62];
        appended(proto, vec![node("Shape", &["none"], "a"), node("ReduceMax", &["a"], "b")], vec![none]);
    });
    assert_onnx(&error, "dimensions that cannot be");
    for shape in [[0, 1 << 62], [1 << 62, 0]] {
        let error = refused(|proto| {
            let nodes = vec![
                node("ConstantOfShape", &["empty"], "a"),
                node("Reshape", &["a", "large"], "b"),
                node("Expand", &["b", "one"], "c"),
                node("Shape", &["c"], "d"),
                node("ReduceMax", &["d"], "e"),
            ];
            appended(proto, nodes, vec![ints("empty", &[8, 0]), ints("large", &shape), ints("one", &[1])]);
        });
        assert_onnx(&error, "operator Reshape `b`: a tensor may have at most");
    }
}

#[test]
fn a_flag_is_one_cell() {
    let error = refused(|proto| {
        appended(proto, vec![node("Dropout", &["each", "", "flag"], "a")], vec![ints("flag", &[])]);
    });
    assert_onnx(&error, "training_mode must be one flag, got 0");
}

#[test]
fn a_refusal_does_not_grow_with_the_file() {
    let long = "n".repeat(100_000);
    let short = |error: LoadError| {
        assert!(error.message.len() <= limits::MODEL_MESSAGE_BYTES, "{} bytes", error.message.len());
        match error.rule {
            LoadRule::Manifest(text) | LoadRule::Input(text) => assert!(text.len() <= limits::MODEL_MESSAGE_BYTES),
            LoadRule::Operator(names) => assert!(names.len() <= limits::MODEL_MESSAGE_NAMES),
            LoadRule::Onnx | LoadRule::Golden(_) | LoadRule::NotFinite(_) => {}
        }
    };
    short(refused(|proto| graph(proto).input[0].name.clone_from(&long)));
    short(refused(|proto| graph(proto).node[0].input[0].clone_from(&long)));
    let many = refused(|proto| {
        let unknown = (0..20).map(|at| node(&format!("Unknown{at}"), &["each"], &format!("a{at}"))).collect();
        appended(proto, unknown, vec![]);
    });
    assert!(many.message.ends_with(", and 4 more"), "{}", many.message);
    short(refused(|proto| {
        let unknown = (0..1000).map(|at| node(&format!("{at}{long}"), &["each"], &format!("a{at}"))).collect();
        appended(proto, unknown, vec![]);
    }));
    short(refused(|proto| with_manifest(proto, |manifest| manifest[&long] = 1.into())));
    short(refused(|proto| with_manifest(proto, |manifest| manifest["output"]["tensor"] = long.clone().into())));
}
