//! Operators that make constants, change a type, or change how cells lie.

use tract_hir::{
    internal::*,
    ops::{array, expandable::Expansion},
    tract_core::{
        broadcast::multi_broadcast,
        ops::array::{MultiBroadcastTo, Tile},
    },
};

use crate::attributes::datum_type;

use super::{
    Wiring,
    wiring::{check_shape, dimensions},
};

pub fn constant(w: &mut Wiring<'_>) -> TractResult<TVec<OutletId>> {
    let node = w.node;
    let tensor = if let Some(tensor) = node.tensor("value")? {
        tensor
    } else if let Some(value) = node.float("value_float")? {
        tensor0(value)
    } else if let Some(value) = node.int("value_int")? {
        tensor0(value)
    } else if let Some(values) = node.floats("value_floats")? {
        tensor1(values)
    } else if let Some(values) = node.ints("value_ints")? {
        tensor1(values)
    } else {
        bail!("must have a value of numbers");
    };
    Ok(tvec!(w.add(tensor)?))
}

pub fn constant_of_shape(w: &mut Wiring<'_>) -> TractResult<TVec<OutletId>> {
    let value = w.node.tensor("value")?.unwrap_or_else(|| tensor1(&[0.0_f32]));
    ensure!(value.len() == 1, "value must be one number");
    let shape = dimensions(&w.ints("shape", 0)?.context("has no shape")?)?;
    let value = w.add(value.into_shape(&[])?)?;
    w.op(MultiBroadcastTo::new(shape.iter().map(|dim| dim.to_dim()).collect::<TVec<_>>().into()), &[value])
}

pub fn cast(w: &mut Wiring<'_>) -> TractResult<TVec<OutletId>> {
    let to = datum_type(w.node.int("to")?.context("has no type")?)?;
    let input = w.input(0)?;
    Ok(tvec!(w.cast(input, to)?))
}

/// Known at once, since the number of rows is.
pub fn shape(w: &mut Wiring<'_>) -> TractResult<TVec<OutletId>> {
    let shape = w.shape(w.input(0)?)?;
    let rank = shape.len() as i64;
    let place = |at: i64| (if at < 0 { at + rank } else { at }).clamp(0, rank) as usize;
    let (start, end) = (place(w.int("start", 0)?), place(w.int("end", rank)?));
    let dims: Vec<i64> = shape.get(start..end).unwrap_or_default().iter().map(|dim| *dim as i64).collect();
    Ok(tvec!(w.add(tensor1(&dims))?))
}

pub fn expand(w: &mut Wiring<'_>) -> TractResult<TVec<OutletId>> {
    let input = w.input(0)?;
    let wanted = dimensions(&w.ints("shape", 1)?.context("has no shape")?)?;
    let shape = multi_broadcast(&[w.shape(input)?, wanted])?;
    check_shape(&shape)?;
    let mut wide = input;
    for _ in w.shape(input)?.len()..shape.len() {
        wide = w.one(AxisOp::Add(0), &[wide])?;
    }
    w.op(MultiBroadcastTo::new(shape.iter().map(|dim| dim.to_dim()).collect::<TVec<_>>().into()), &[wide])
}

pub fn tile(w: &mut Wiring<'_>) -> TractResult<TVec<OutletId>> {
    let input = w.input(0)?;
    let shape = w.shape(input)?;
    let repeats = dimensions(&w.ints("repeats", 1)?.context("has no repeats")?)?;
    ensure!(repeats.len() == shape.len(), "repeats must be one per dimension");
    check_shape(&shape.iter().zip(&repeats).map(|(dim, times)| dim.saturating_mul(*times)).collect::<TVec<_>>())?;
    w.op(Tile::new(repeats.iter().map(|times| times.to_dim()).collect()), &[input])
}

pub fn reshape(w: &mut Wiring<'_>) -> TractResult<TVec<OutletId>> {
    let (input, shape, name) = (w.input(0)?, w.input(1)?, w.name());
    let (whole, allowzero) = (w.shape(input)?, w.int("allowzero", 0)? != 0);
    let wanted = w.ints("shape", 1)?.unwrap_or_default();
    // -1 is what is left for it; 0 is the input's dimension.
    let dims = wanted.iter().enumerate().map(|(at, dim)| match usize::try_from(*dim) {
        Ok(0) if !allowzero => whole.get(at).copied().unwrap_or(0),
        Ok(dim) => dim,
        Err(_) => 1,
    });
    check_shape(&dims.collect::<TVec<_>>())?;
    array::Reshape::new(allowzero).wire(&name, w.model, &[input, shape])
}

pub fn flatten(w: &mut Wiring<'_>) -> TractResult<TVec<OutletId>> {
    let (input, name) = (w.input(0)?, w.name());
    let rank = w.shape(input)?.len();
    let axis = match w.int("axis", 1)? {
        axis if axis == rank as i64 => axis,
        axis => w.axis(axis, rank)? as i64,
    };
    array::Flatten::new(axis).wire(&name, w.model, &[input])
}

pub fn transpose(w: &mut Wiring<'_>) -> TractResult<TVec<OutletId>> {
    let (input, name) = (w.input(0)?, w.name());
    let rank = w.shape(input)?.len();
    let order = w.ints("perm", usize::MAX)?;
    let order: TVec<usize> = match order {
        Some(order) => order.iter().map(|axis| w.axis(*axis, rank)).collect::<TractResult<_>>()?,
        None => (0..rank).rev().collect(),
    };
    let mut sorted = order.clone();
    sorted.sort_unstable();
    ensure!(sorted.iter().copied().eq(0..rank), "perm must name each of {rank} dimensions once");
    array::PermuteAxes::new(Some(order)).wire(&name, w.model, &[input])
}

/// Without axes, all dimensions of 1.
pub fn squeeze(w: &mut Wiring<'_>) -> TractResult<TVec<OutletId>> {
    let mut input = w.input(0)?;
    let shape = w.shape(input)?;
    let mut axes: Vec<usize> = match w.ints("axes", 1)? {
        Some(axes) => axes.iter().map(|axis| w.axis(*axis, shape.len())).collect::<TractResult<_>>()?,
        None => (0..shape.len()).filter(|axis| shape.get(*axis) == Some(&1)).collect(),
    };
    axes.sort_unstable();
    axes.dedup();
    for axis in axes.into_iter().rev() {
        ensure!(shape.get(axis) == Some(&1), "dimension {axis} of {shape:?} is not 1");
        input = w.one(AxisOp::Rm(axis), &[input])?;
    }
    Ok(tvec!(input))
}

pub fn unsqueeze(w: &mut Wiring<'_>) -> TractResult<TVec<OutletId>> {
    let mut input = w.input(0)?;
    let axes = w.ints("axes", 1)?.context("has no axes")?;
    let rank = w.shape(input)?.len() + axes.len();
    let mut axes = axes.iter().map(|axis| w.axis(*axis, rank)).collect::<TractResult<Vec<_>>>()?;
    axes.sort_unstable();
    ensure!(axes.is_sorted_by(|one, other| one < other), "axes must differ");
    for axis in axes {
        input = w.one(AxisOp::Add(axis), &[input])?;
    }
    Ok(tvec!(input))
}
