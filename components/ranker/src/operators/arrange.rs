//! Operators that pick cells, or bring several to one.

use tract_hir::{
    internal::*,
    ops::{array, expandable::Expansion, nn::Reducer},
    tract_core::ops::array::{Gather, Slice},
};

use super::{Wiring, wiring::check_shape};
use crate::embedding::{Embedding, check_places};

pub fn concat(w: &mut Wiring<'_>) -> TractResult<TVec<OutletId>> {
    let (inputs, name) = (w.inputs()?, w.name());
    let shapes = inputs.iter().map(|input| w.shape(*input)).collect::<TractResult<Vec<_>>>()?;
    let first = shapes.first().context("there must be an input")?;
    let axis = w.axis(w.node.int("axis")?.context("has no axis")?, first.len())?;
    let others = |shape: &TVec<usize>| {
        shape.iter().enumerate().filter(|(at, _)| *at != axis).map(|(_, dim)| *dim).collect::<Vec<_>>()
    };
    for shape in &shapes {
        let fits = shape.len() == first.len() && others(shape) == others(first);
        ensure!(fits, "{first:?} and {shape:?} differ beside dimension {axis}");
    }
    let sum = shapes.iter().filter_map(|shape| shape.get(axis)).fold(0_usize, |sum, dim| sum.saturating_add(*dim));
    check_shape(&first.iter().enumerate().map(|(at, dim)| if at == axis { sum } else { *dim }).collect::<Vec<_>>())?;
    array::Concat::new(axis as i64).wire(&name, w.model, &inputs)
}

/// Rows of a table by their places, which are checked in each run: a vocabulary may
/// be longer than the table.
pub fn gather(w: &mut Wiring<'_>) -> TractResult<TVec<OutletId>> {
    let (table, places) = (w.input(0)?, w.input(1)?);
    let shape = w.shape(table)?;
    let axis = w.axis(w.int("axis", 0)?, shape.len())?;
    let rows = shape.get(axis).map_or(0, |rows| *rows as i64);
    let places = w.cast(places, i64::datum_type())?;
    let name = w.node.input.first().cloned().unwrap_or_default();
    if let Some(table) = w.constant(table).filter(|table| Embedding::fits(table, axis)) {
        return w.op(Embedding { table, name }, &[places]);
    }
    let places = w.one(Places { rows, table: name }, &[places])?;
    w.op(Gather::new(axis), &[table, places])
}

/// Hands places on that are in a table.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Places {
    rows: i64,
    table: String,
}

impl Op for Places {
    fn name(&self) -> StaticName {
        "Places".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Places {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        for places in &inputs {
            check_places(places.try_as_plain_ram()?.as_slice::<i64>()?, self.rows, &self.table)?;
        }
        Ok(inputs)
    }
}

impl TypedOp for Places {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(inputs.iter().map(|fact| fact.without_value()).collect())
    }
}

/// Starts, ends, axes and steps are attributes up to version 9, inputs since.
pub fn slice(w: &mut Wiring<'_>) -> TractResult<TVec<OutletId>> {
    let mut input = w.input(0)?;
    let shape = w.shape(input)?;
    let starts = w.ints("starts", 1)?.context("has no starts")?;
    let ends = w.ints("ends", 2)?.context("has no ends")?;
    let axes = w.ints("axes", 3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = w.ints("steps", 4)?.unwrap_or_else(|| vec![1; starts.len()]);
    ensure!(steps.iter().all(|step| *step == 1), "steps must be 1");
    ensure!(ends.len() == starts.len() && axes.len() == starts.len(), "starts, ends and axes differ in length");
    for ((start, end), axis) in starts.into_iter().zip(ends).zip(axes) {
        let axis = w.axis(axis, shape.len())?;
        let dim = shape.get(axis).map_or(0, |dim| *dim as i64);
        let place = |at: i64| (if at < 0 { at.saturating_add(dim) } else { at }).clamp(0, dim);
        ensure!(place(start) < place(end), "{start}..{end} of dimension {axis} is empty");
        if (place(start), place(end)) != (0, dim) {
            input = w.one(Slice::new(axis, place(start) as usize, place(end) as usize), &[input])?;
        }
    }
    Ok(tvec!(input))
}

/// Into parts of these lengths, or into equal ones of which the last may be shorter.
pub fn split(w: &mut Wiring<'_>) -> TractResult<TVec<OutletId>> {
    let input = w.input(0)?;
    let shape = w.shape(input)?;
    let axis = w.axis(w.int("axis", 0)?, shape.len())?;
    let (whole, parts) = (shape.get(axis).copied().unwrap_or(0), w.node.output.len());
    let lengths = match w.ints("split", 1)? {
        Some(lengths) => lengths,
        None => vec![whole.div_ceil(parts.max(1)) as i64; parts],
    };
    ensure!(lengths.len() == parts, "split must have one length per output");
    let (mut outputs, mut start) = (tvec!(), 0_usize);
    for length in lengths {
        let length = usize::try_from(length).ok().filter(|length| *length > 0).context("a part must not be empty")?;
        let end = start.saturating_add(length).min(whole);
        ensure!(start < end, "the parts are longer than dimension {axis}");
        outputs.push(w.one(Slice::new(axis, start, end), &[input])?);
        start = end;
    }
    ensure!(start == whole, "the parts are shorter than dimension {axis}");
    Ok(outputs)
}

/// Without axes, over all dimensions.
pub fn reduce(w: &mut Wiring<'_>, reducer: Reducer) -> TractResult<TVec<OutletId>> {
    let input = w.input(0)?;
    let rank = w.shape(input)?.len();
    let axes = w.ints("axes", 1)?.unwrap_or_default();
    if axes.is_empty() && w.int("noop_with_empty_axes", 0)? != 0 {
        return Ok(tvec!(input));
    }
    let mut axes = axes.iter().map(|axis| w.axis(*axis, rank)).collect::<TractResult<TVec<_>>>()?;
    if axes.is_empty() {
        axes = (0..rank).collect();
    }
    axes.sort_unstable();
    axes.dedup();
    w.some(input, &axes)?;
    let name = w.name();
    let mut reduced = reducer.wire(axes.clone(), &name, w.model, input)?;
    if w.int("keepdims", 1)? == 0 {
        for axis in axes.into_iter().rev() {
            reduced = w.one(AxisOp::Rm(axis), &[reduced])?;
        }
    }
    Ok(tvec!(reduced))
}
