//! Operators of several inputs, cell by cell.

use tract_hir::{
    internal::*,
    ops::{activations, expandable::Expansion, logic::Iff},
    tract_core::ops::{binary::BinMiniOp, logic, math},
};

use super::Wiring;

/// The same operator from the first input to the last.
pub fn fold(w: &mut Wiring<'_>, op: fn() -> Box<dyn BinMiniOp>) -> TractResult<TVec<OutletId>> {
    let inputs = w.inputs()?;
    let mut all = w.input(0)?;
    for input in inputs.iter().skip(1) {
        all = w.pair(op(), all, *input)?;
    }
    Ok(tvec!(all))
}

/// Whole numbers only by a constant, so that it is known not to be 0: by that, tract
/// would end the instance.
pub fn div(w: &mut Wiring<'_>) -> TractResult<TVec<OutletId>> {
    let whole = |outlet| TractResult::Ok(w.model.outlet_fact(outlet)?.datum_type.is_integer());
    let divisor = w.input(1)?;
    if whole(w.input(0)?)? && whole(divisor)? {
        let cells = w.constant(divisor).context("whole numbers are divided by a constant only")?;
        let cells = cells.cast_to::<i64>()?;
        ensure!(!cells.try_as_plain_ram()?.as_slice::<i64>()?.contains(&0), "whole numbers are not divided by 0");
    }
    w.binary(Box::new(math::Div))
}

pub fn mean(w: &mut Wiring<'_>) -> TractResult<TVec<OutletId>> {
    let count = w.inputs()?.len();
    let sum = fold(w, || Box::new(math::Add))?;
    let sum = sum.first().copied().context("there must be an input")?;
    let count = w.add(tensor0(count as f32))?;
    Ok(tvec!(w.pair(Box::new(math::Div), sum, count)?))
}

/// Bounds are attributes up to version 10, inputs since.
pub fn clip(w: &mut Wiring<'_>) -> TractResult<TVec<OutletId>> {
    let input = w.input(0)?;
    if w.opset < 11 {
        let (low, high) = (w.node.float("min")?, w.node.float("max")?);
        let name = w.name();
        return activations::Clip::new(low, high).wire(&name, w.model, &[input]);
    }
    let bounds: [(_, Box<dyn BinMiniOp>); 2] =
        [(w.optional(1), Box::new(math::Max)), (w.optional(2), Box::new(math::Min))];
    let mut clipped = input;
    for (bound, op) in bounds {
        if let Some(bound) = bound {
            clipped = w.pair(op, clipped, bound)?;
        }
    }
    Ok(tvec!(clipped))
}

/// The result has the type of the base.
pub fn pow(w: &mut Wiring<'_>) -> TractResult<TVec<OutletId>> {
    let (base, exponent) = (w.input(0)?, w.input(1)?);
    let of_base = w.model.outlet_fact(base)?.datum_type;
    let exponent = w.cast(exponent, of_base)?;
    Ok(tvec!(w.pair(Box::new(math::Pow), base, exponent)?))
}

/// A slope of its own below 0.
pub fn parametric_relu(w: &mut Wiring<'_>) -> TractResult<TVec<OutletId>> {
    let (input, slope) = (w.input(0)?, w.input(1)?);
    let zero = w.add(tensor0(0.0_f32))?;
    let below = w.pair(Box::new(math::Mul), input, slope)?;
    let positive = w.pair(Box::new(logic::CompGT), input, zero)?;
    choice(w, &[positive, input, below])
}

pub fn choose(w: &mut Wiring<'_>) -> TractResult<TVec<OutletId>> {
    let inputs = [w.input(0)?, w.input(1)?, w.input(2)?];
    choice(w, &inputs)
}

fn choice(w: &mut Wiring<'_>, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
    w.together(inputs)?;
    let name = w.name();
    Iff.wire(&name, w.model, inputs)
}
