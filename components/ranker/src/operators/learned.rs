//! Operators with parameters that were learned, and what goes with them.

use tract_hir::{
    internal::*,
    ops::{expandable::Expansion, matmul::MatMulInference, nn::Reducer},
    tract_core::{
        broadcast::multi_broadcast,
        ops::{math, nn},
    },
};

use super::{Wiring, wiring::check_shape};
use crate::dense::Dense;

pub fn mat_mul(w: &mut Wiring<'_>) -> TractResult<TVec<OutletId>> {
    let (a, b) = (w.input(0)?, w.input(1)?);
    match dense(w, a, b, false, None)? {
        Some(layer) => w.op(layer, &[a]),
        None => Ok(tvec!(product(w, a, b, MatMulInference::default())?)),
    }
}

/// `alpha · a · b + beta · c`
pub fn gemm(w: &mut Wiring<'_>) -> TractResult<TVec<OutletId>> {
    let (a, b) = (w.input(0)?, w.input(1)?);
    ensure!(w.shape(a)?.len() == 2 && w.shape(b)?.len() == 2, "its inputs must have 2 dimensions");
    let (a_trans, b_trans) = (w.int("transA", 0)? != 0, w.int("transB", 0)? != 0);
    let plain = !a_trans && (w.float("alpha", 1.0)?, w.float("beta", 1.0)?) == (1.0, 1.0);
    let layer = if plain { dense(w, a, b, b_trans, w.optional(2))? } else { None };
    if let Some(layer) = layer {
        return w.op(layer, &[a]);
    }
    let mut sum = product(w, a, b, MatMulInference { a_trans, b_trans, c_trans: false })?;
    sum = scaled(w, sum, "alpha")?;
    if let Some(c) = w.optional(2) {
        let c = scaled(w, c, "beta")?;
        sum = w.pair(Box::new(math::Add), sum, c)?;
    }
    Ok(tvec!(sum))
}

/// The layer that a product with a learned matrix is, where that is the faster way.
fn dense(
    w: &Wiring<'_>,
    input: OutletId,
    matrix: OutletId,
    transposed: bool,
    bias: Option<OutletId>,
) -> TractResult<Option<Dense>> {
    let of_input = w.model.outlet_fact(input)?;
    // Outside the sandbox only in tests, whose products are those of the sandbox then.
    let here = cfg!(any(target_arch = "wasm32", test));
    let Some(matrix) = w.constant(matrix).filter(|_| here) else { return Ok(None) };
    let (&[_, inner], (&[inputs, columns], false) | (&[columns, inputs], true)) =
        (w.shape(input)?.as_slice(), (matrix.shape(), transposed))
    else {
        return Ok(None);
    };
    let floats = of_input.datum_type == f32::datum_type() && matrix.datum_type() == f32::datum_type();
    if !floats || inner != inputs || inputs == 0 || columns == 0 {
        return Ok(None);
    }
    let bias = match bias.map(|bias| w.constant(bias)) {
        None => None,
        // One number per column, the same for all rows.
        Some(Some(bias))
            if matches!(*bias.shape(), [n] | [1, n] if n == columns) && bias.datum_type() == f32::datum_type() =>
        {
            Some(bias)
        }
        Some(_) => return Ok(None),
    };
    w.layers.dense(matrix, transposed, bias).map(Some)
}

fn scaled(w: &mut Wiring<'_>, outlet: OutletId, attribute: &str) -> TractResult<OutletId> {
    match w.float(attribute, 1.0)? {
        1.0 => Ok(outlet),
        factor => {
            let factor = w.add(tensor0(factor))?;
            w.pair(Box::new(math::Mul), outlet, factor)
        }
    }
}

fn product(w: &mut Wiring<'_>, a: OutletId, b: OutletId, op: MatMulInference) -> TractResult<OutletId> {
    let (of_a, of_b) = (w.shape(a)?, w.shape(b)?);
    let types = (w.model.outlet_fact(a)?.datum_type, w.model.outlet_fact(b)?.datum_type);
    ensure!(types == (f32::datum_type(), f32::datum_type()), "its inputs must be float32, not {types:?}");
    ensure!(!of_a.is_empty() && !of_b.is_empty(), "its inputs must have dimensions");
    ensure!(of_a.len() > 1 || of_b.len() > 1, "of its inputs one must be a matrix");
    // A vector counts as one row at the left, as one column at the right.
    let last =
        |shape: &[usize], from_end: usize| shape.len().checked_sub(from_end).and_then(|at| shape.get(at)).copied();
    let (rows, inner) = match of_a.len() {
        1 => (1, last(&of_a, 1)),
        _ if op.a_trans => (last(&of_a, 1).unwrap_or(1), last(&of_a, 2)),
        _ => (last(&of_a, 2).unwrap_or(1), last(&of_a, 1)),
    };
    let (columns, other) = match of_b.len() {
        1 => (1, last(&of_b, 1)),
        _ if op.b_trans => (last(&of_b, 2).unwrap_or(1), last(&of_b, 1)),
        _ => (last(&of_b, 1).unwrap_or(1), last(&of_b, 2)),
    };
    ensure!(inner == other, "{of_a:?} and {of_b:?} do not go together");
    let outer = |shape: &[usize]| TVec::from(shape.get(..shape.len().saturating_sub(2)).unwrap_or_default());
    let mut shape = multi_broadcast(&[outer(&of_a), outer(&of_b)])?;
    shape.extend([rows, columns]);
    check_shape(&shape)?;
    let name = w.name();
    op.wire(&name, w.model, &[a, b])?.first().copied().context("has no output")
}

/// Up to version 12 over all dimensions from the axis, since over one.
pub fn softmax(w: &mut Wiring<'_>) -> TractResult<TVec<OutletId>> {
    let input = w.input(0)?;
    let rank = w.shape(input)?.len();
    let axis = w.axis(w.int("axis", if w.opset < 13 { 1 } else { -1 })?, rank)?;
    let axes = if w.opset < 13 { (axis..rank).collect() } else { tvec!(axis) };
    w.op(nn::Softmax { axes, ..nn::Softmax::default() }, &[input])
}

/// As in inference: the input as it is.
pub fn dropout(w: &mut Wiring<'_>) -> TractResult<TVec<OutletId>> {
    let training =
        w.optional(2).map(|outlet| w.constant(outlet).context("training_mode must be constant")).transpose()?;
    if let Some(flag) = training {
        // tract reads a cell where there is none.
        ensure!(flag.len() == 1, "training_mode must be one flag, got {}", flag.len());
        ensure!(!flag.cast_to_scalar::<bool>()?, "training_mode must be false");
    }
    ensure!(w.node.output.len() < 2, "its mask is not supported");
    Ok(tvec!(w.input(0)?))
}

/// A factor and a term per channel, the second dimension.
pub fn batch_normalization(w: &mut Wiring<'_>) -> TractResult<TVec<OutletId>> {
    ensure!(w.int("training_mode", 0)? == 0, "training_mode must be 0");
    let input = w.input(0)?;
    let shape = w.shape(input)?;
    let channels = *shape.get(1).context("its input must have 2 dimensions or more")?;
    let epsilon = w.float("epsilon", 1e-5)?;
    let [scale, bias, mean, variance] = [1, 2, 3, 4].map(|at| parameter(w, at, channels));
    let (scale, bias, mean, variance) = (scale?, bias?, mean?, variance?);
    let factor: Vec<f32> = scale.iter().zip(variance).map(|(scale, of)| scale / (of + epsilon).sqrt()).collect();
    let term: Vec<f32> =
        bias.iter().zip(mean).zip(&factor).map(|((bias, mean), factor)| bias - mean * factor).collect();
    let mut wide: TVec<usize> = tvec!(1; shape.len());
    if let Some(dim) = wide.get_mut(1) {
        *dim = channels;
    }
    let factor = w.add(tensor1(&factor).into_shape(&wide)?)?;
    let term = w.add(tensor1(&term).into_shape(&wide)?)?;
    let product = w.pair(Box::new(math::Mul), input, factor)?;
    Ok(tvec!(w.pair(Box::new(math::Add), product, term)?))
}

/// A constant input of so many numbers.
fn parameter(w: &Wiring<'_>, at: usize, length: usize) -> TractResult<Vec<f32>> {
    let tensor = w.constant(w.input(at)?).with_context(|| format!("input {at} must be constant"))?;
    let values = tensor.cast_to::<f32>()?.try_as_plain_ram()?.as_slice::<f32>()?.to_vec();
    ensure!(values.len() == length, "input {at} must have {length} numbers, got {}", values.len());
    Ok(values)
}

/// Every row to mean 0 and variance 1, then a factor and a term per cell.
pub fn layer_normalization(w: &mut Wiring<'_>) -> TractResult<TVec<OutletId>> {
    ensure!(w.node.output.len() == 1, "its mean and deviation are not supported");
    let (input, scale) = (w.input(0)?, w.input(1)?);
    let rank = w.shape(input)?.len();
    let axes: TVec<usize> = (w.axis(w.int("axis", -1)?, rank)?..rank).collect();
    w.some(input, &axes)?;
    let epsilon = w.float("epsilon", 1e-5)?;
    let epsilon = w.add(tensor0(epsilon))?;
    let name = w.name();
    let mean = Reducer::Mean.wire(axes.clone(), &name, w.model, input)?;
    let centred = w.pair(Box::new(math::Sub), input, mean)?;
    let squares = w.one(math::square(), &[centred])?;
    let name = w.name();
    let variance = Reducer::Mean.wire(axes, &name, w.model, squares)?;
    let variance = w.pair(Box::new(math::Add), variance, epsilon)?;
    let deviation = w.one(math::sqrt(), &[variance])?;
    let normal = w.pair(Box::new(math::Div), centred, deviation)?;
    let mut output = w.pair(Box::new(math::Mul), normal, scale)?;
    if let Some(bias) = w.optional(2) {
        output = w.pair(Box::new(math::Add), output, bias)?;
    }
    Ok(tvec!(output))
}
