//! The ONNX operators that rankers are made of, each wired as tract's own. A list of
//! what is known, not of what is refused: loops, branches, random numbers, and files
//! are not on it, and what is not on it is not linked into the component either.

mod arrange;
mod combine;
mod learned;
mod shape;
mod wiring;

use tract_hir::{
    internal::*,
    ops::{
        activations::{Clip, Elu, HardSigmoid, Selu, Softplus, Softsign},
        element_wise::ElementWiseOp as Unary,
        expandable::Expansion,
        nn::Reducer,
    },
    tract_core::ops::{element_wise::ElementWiseOp, logic, math, nn},
};

use crate::{
    proto::NodeProto,
    trees::{self, Trees},
};
pub use wiring::Wiring;

/// Versions of the standard operators that are read.
pub const OPSETS: std::ops::RangeInclusive<i64> = 7..=21;

/// Wires one operator, and returns its outputs.
type Wire = fn(&mut Wiring<'_>) -> TractResult<TVec<OutletId>>;

/// The domain of trees.
const ML: &str = "ai.onnx.ml";

/// Whether an operator is on the list.
#[must_use]
pub fn known(node: &NodeProto) -> bool {
    find(node).is_some()
}

/// An operator's name, with its domain where that is not the standard's.
#[must_use]
pub fn full_name(node: &NodeProto) -> String {
    match node.domain.as_str() {
        "" | "ai.onnx" => node.op_type.clone(),
        domain => format!("{domain}.{}", node.op_type),
    }
}

/// The outputs of an operator that are made: of a tree classifier the probabilities,
/// not the label.
#[must_use]
pub fn outputs(node: &NodeProto) -> &[String] {
    let labels = usize::from(node.domain == ML && node.op_type == "TreeEnsembleClassifier");
    node.output.get(labels..).unwrap_or_default()
}

/// Wires an operator.
///
/// # Errors
/// In terms of the operator's inputs and attributes.
pub fn wire(mut wiring: Wiring<'_>) -> TractResult<TVec<OutletId>> {
    let wire = find(wiring.node).context("is not supported")?;
    wire(&mut wiring)
}

fn find(node: &NodeProto) -> Option<Wire> {
    let name = node.op_type.as_str();
    match node.domain.as_str() {
        "" | "ai.onnx" => standard(name),
        ML => of_trees(name),
        _ => None,
    }
}

fn of_trees(name: &str) -> Option<Wire> {
    Some(match name {
        "TreeEnsembleRegressor" => |w| ensemble(w, trees::regressor),
        "TreeEnsembleClassifier" => |w| ensemble(w, trees::classifier),
        _ => return None,
    })
}

fn ensemble(w: &mut Wiring<'_>, read: fn(&NodeProto) -> TractResult<trees::Ensemble>) -> TractResult<TVec<OutletId>> {
    let ensemble = read(w.node)?;
    let input = w.input(0)?;
    let cells = w.cast(input, f32::datum_type())?;
    w.op(Trees(Arc::new(ensemble)), &[cells])
}

fn standard(name: &str) -> Option<Wire> {
    Some(match name {
        "Abs" => |w| unary(w, math::abs()),
        "Add" => |w| w.binary(Box::new(math::Add)),
        "And" => |w| w.binary(Box::new(logic::And)),
        "BatchNormalization" => learned::batch_normalization,
        "Cast" => shape::cast,
        "Ceil" => |w| unary(w, math::ceil()),
        "Clip" => combine::clip,
        "Concat" => arrange::concat,
        "Constant" => shape::constant,
        "ConstantOfShape" => shape::constant_of_shape,
        "Cos" => |w| unary(w, math::cos()),
        "Div" => combine::div,
        "Dropout" => learned::dropout,
        "Elu" => |w| activation(w, |w| Ok(Elu(w.float("alpha", 1.0)?))),
        "Equal" => |w| w.binary(Box::new(logic::CompEq)),
        "Erf" => |w| unary(w, math::erf()),
        "Exp" => |w| unary(w, math::exp()),
        "Expand" => shape::expand,
        "Flatten" => shape::flatten,
        "Floor" => |w| unary(w, math::floor()),
        "Gather" => arrange::gather,
        "Gemm" => learned::gemm,
        "Greater" => |w| w.binary(Box::new(logic::CompGT)),
        "GreaterOrEqual" => |w| w.binary(Box::new(logic::CompGTE)),
        "HardSigmoid" => |w| activation(w, |w| Ok(HardSigmoid(w.float("alpha", 0.2)?, w.float("beta", 0.5)?))),
        "Identity" => |w| Ok(tvec!(w.input(0)?)),
        "IsNaN" => |w| unary(w, math::is_nan()),
        "LayerNormalization" => learned::layer_normalization,
        "LeakyRelu" => |w| {
            let alpha = w.float("alpha", 0.01)?;
            unary(w, nn::leaky_relu(alpha))
        },
        "Less" => |w| w.binary(Box::new(logic::CompLT)),
        "LessOrEqual" => |w| w.binary(Box::new(logic::CompLTE)),
        "Log" => |w| unary(w, math::ln()),
        "LogSoftmax" => |w| {
            let likely = learned::softmax(w)?;
            w.op(math::ln(), &likely)
        },
        "MatMul" => learned::mat_mul,
        "Max" => |w| combine::fold(w, || Box::new(math::Max)),
        "Mean" => combine::mean,
        "Min" => |w| combine::fold(w, || Box::new(math::Min)),
        "Mul" => |w| w.binary(Box::new(math::Mul)),
        "Neg" => |w| unary(w, math::neg()),
        "Not" => |w| unary(w, logic::not()),
        "Or" => |w| w.binary(Box::new(logic::Or)),
        "Pow" => combine::pow,
        "PRelu" => combine::parametric_relu,
        "Reciprocal" => |w| unary(w, math::recip()),
        "ReduceL2" => |w| arrange::reduce(w, Reducer::L2),
        "ReduceMax" => |w| arrange::reduce(w, Reducer::Max),
        "ReduceMean" => |w| arrange::reduce(w, Reducer::Mean),
        "ReduceMin" => |w| arrange::reduce(w, Reducer::Min),
        "ReduceProd" => |w| arrange::reduce(w, Reducer::Prod),
        "ReduceSum" => |w| arrange::reduce(w, Reducer::Sum),
        "ReduceSumSquare" => |w| arrange::reduce(w, Reducer::SumSquare),
        "Relu" => |w| activation(w, |_| Ok(Clip::new(Some(0.0), None))),
        "Reshape" => shape::reshape,
        "Selu" => |w| activation(w, |w| Ok(Selu(w.float("alpha", 1.673_263_2)?, w.float("gamma", 1.050_701)?))),
        "Shape" => shape::shape,
        "Sigmoid" => |w| unary(w, nn::sigmoid()),
        "Sign" => |w| unary(w, math::sign()),
        "Sin" => |w| unary(w, math::sin()),
        "Slice" => arrange::slice,
        "Softmax" => learned::softmax,
        "Softplus" => |w| activation(w, |_| Ok(Softplus)),
        "Softsign" => |w| activation(w, |_| Ok(Softsign)),
        "Split" => arrange::split,
        "Sqrt" => |w| unary(w, math::sqrt()),
        "Squeeze" => shape::squeeze,
        "Sub" => |w| w.binary(Box::new(math::Sub)),
        "Sum" => |w| combine::fold(w, || Box::new(math::Add)),
        "Tanh" => |w| unary(w, math::tanh()),
        "Tile" => shape::tile,
        "Transpose" => shape::transpose,
        "Unsqueeze" => shape::unsqueeze,
        "Where" => combine::choose,
        "Xor" => |w| w.binary(Box::new(logic::Xor)),
        _ => return None,
    })
}

fn unary(w: &mut Wiring<'_>, op: ElementWiseOp) -> TractResult<TVec<OutletId>> {
    let (input, name) = (w.input(0)?, w.name());
    Unary(op.0).wire(&name, w.model, &[input])
}

fn activation<A: Expansion>(
    w: &mut Wiring<'_>,
    make: fn(&Wiring<'_>) -> TractResult<A>,
) -> TractResult<TVec<OutletId>> {
    let (input, name) = (w.input(0)?, w.name());
    make(w)?.wire(&name, w.model, &[input])
}
