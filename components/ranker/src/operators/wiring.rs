//! What the wiring of an operator works with: its inputs, its attributes, the graph
//! that grows, and the bounds that every tensor is held to before it is made.

use funnelweb_core::limits;
use tract_hir::{
    internal::*,
    ops::{binary::InferenceBinOp, expandable::Expansion},
    tract_core::{
        broadcast::multi_broadcast,
        ops::{binary::BinMiniOp, cast::cast},
    },
};

use crate::{dense::Layers, proto::NodeProto};

/// One operator that is being wired.
pub struct Wiring<'a> {
    /// The graph so far.
    pub model: &'a mut TypedModel,
    /// The operator.
    pub node: &'a NodeProto,
    /// The version of the standard operators.
    pub opset: i64,
    /// The graph's, for all its plans.
    pub layers: &'a Layers,
    inputs: TVec<Option<OutletId>>,
    prefix: String,
    steps: usize,
}

impl<'a> Wiring<'a> {
    /// Of the operator at this place of the graph.
    #[must_use]
    pub fn new(
        model: &'a mut TypedModel,
        node: &'a NodeProto,
        opset: i64,
        inputs: TVec<Option<OutletId>>,
        place: usize,
        layers: &'a Layers,
    ) -> Self {
        Self { model, node, opset, layers, inputs, prefix: format!("{place}:{}", node.op_type), steps: 0 }
    }

    /// A name for the next step.
    pub fn name(&mut self) -> String {
        self.steps += 1;
        format!("{}.{}", self.prefix, self.steps)
    }

    /// An input that must be there.
    ///
    /// # Errors
    /// When it is not.
    pub fn input(&self, at: usize) -> TractResult<OutletId> {
        self.optional(at).with_context(|| format!("input {at} is missing"))
    }

    /// An input that may be left out.
    #[must_use]
    pub fn optional(&self, at: usize) -> Option<OutletId> {
        self.inputs.get(at).copied().flatten()
    }

    /// All inputs.
    ///
    /// # Errors
    /// When there is none, or one was left out.
    pub fn inputs(&self) -> TractResult<TVec<OutletId>> {
        ensure!(!self.inputs.is_empty(), "there must be an input");
        (0..self.inputs.len()).map(|at| self.input(at)).collect()
    }

    /// A number of the operator's attributes.
    ///
    /// # Errors
    /// When it is something else.
    pub fn float(&self, name: &str, default: f32) -> TractResult<f32> {
        Ok(self.node.float(name)?.unwrap_or(default))
    }

    /// A whole number of the operator's attributes.
    ///
    /// # Errors
    /// When it is something else.
    pub fn int(&self, name: &str, default: i64) -> TractResult<i64> {
        Ok(self.node.int(name)?.unwrap_or(default))
    }

    /// Whole numbers that are an attribute or, in later versions, a constant input.
    ///
    /// # Errors
    /// When the input is not constant.
    pub fn ints(&self, name: &str, input: usize) -> TractResult<Option<Vec<i64>>> {
        if let Some(values) = self.node.ints(name)? {
            return Ok(Some(values.to_vec()));
        }
        let Some(outlet) = self.optional(input) else { return Ok(None) };
        let values = self.constant(outlet).with_context(|| format!("{name} must be constant"))?;
        let values = values.cast_to::<i64>()?;
        Ok(Some(values.try_as_plain_ram()?.as_slice::<i64>()?.to_vec()))
    }

    /// The value of an outlet, if it is known already.
    #[must_use]
    pub fn constant(&self, outlet: OutletId) -> Option<Arc<Tensor>> {
        self.model.outlet_fact(outlet).ok()?.konst.clone()
    }

    /// The dimensions of an outlet.
    ///
    /// # Errors
    /// None here: all are known.
    pub fn shape(&self, outlet: OutletId) -> TractResult<TVec<usize>> {
        let fact = self.model.outlet_fact(outlet)?;
        Ok(fact.shape.as_concrete().context("dimensions must be known")?.into())
    }

    /// A dimension's place: from the end when it is below 0.
    ///
    /// # Errors
    /// When there is none.
    pub fn axis(&self, axis: i64, rank: usize) -> TractResult<usize> {
        let from_start = if axis < 0 { axis + rank as i64 } else { axis };
        let place = usize::try_from(from_start).ok().filter(|place| *place < rank);
        place.with_context(|| format!("axis must be one of {rank} dimensions, got {axis}"))
    }

    /// Checks that there are cells along these dimensions: tract divides by their number.
    ///
    /// # Errors
    /// With the shape when there are none.
    pub fn some(&self, outlet: OutletId, axes: &[usize]) -> TractResult<()> {
        let shape = self.shape(outlet)?;
        ensure!(axes.iter().all(|axis| shape.get(*axis) != Some(&0)), "of {shape:?} no cells are left to reduce");
        Ok(())
    }

    /// Adds a constant.
    ///
    /// # Errors
    /// None here: its name is new.
    pub fn add(&mut self, tensor: Tensor) -> TractResult<OutletId> {
        let name = self.name();
        self.model.add_const(name, tensor)
    }

    /// Wires an operator of tract.
    ///
    /// # Errors
    /// When its inputs do not fit, or an output is too large.
    pub fn op(&mut self, op: impl Into<Box<dyn TypedOp>>, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let op = op.into();
        let name = self.name();
        let facts = inputs.iter().map(|input| self.model.outlet_fact(*input)).collect::<TractResult<TVec<_>>>()?;
        for fact in op.output_facts(&facts)? {
            check_shape(fact.shape.as_concrete().context("dimensions must be known")?)?;
        }
        drop(facts);
        self.model.wire_node(name, op, inputs)
    }

    /// Wires an operator of tract with one output.
    ///
    /// # Errors
    /// As [`Self::op`].
    pub fn one(&mut self, op: impl Into<Box<dyn TypedOp>>, inputs: &[OutletId]) -> TractResult<OutletId> {
        self.op(op, inputs)?.first().copied().context("has no output")
    }

    /// An outlet as this type.
    ///
    /// # Errors
    /// When it cannot be.
    pub fn cast(&mut self, outlet: OutletId, to: DatumType) -> TractResult<OutletId> {
        if self.model.outlet_fact(outlet)?.datum_type == to {
            return Ok(outlet);
        }
        self.one(cast(to), &[outlet])
    }

    /// The operator of two inputs.
    ///
    /// # Errors
    /// As [`Self::pair`].
    pub fn binary(&mut self, op: Box<dyn BinMiniOp>) -> TractResult<TVec<OutletId>> {
        let (a, b) = (self.input(0)?, self.input(1)?);
        Ok(tvec!(self.pair(op, a, b)?))
    }

    /// An operator of two outlets, which are brought to one shape.
    ///
    /// # Errors
    /// When they cannot be, or it is too large.
    pub fn pair(&mut self, op: Box<dyn BinMiniOp>, a: OutletId, b: OutletId) -> TractResult<OutletId> {
        self.together(&[a, b])?;
        let name = self.name();
        let outputs = InferenceBinOp(op).wire(&name, self.model, &[a, b])?;
        outputs.first().copied().context("has no output")
    }

    /// Checks that outlets can be brought to one shape.
    ///
    /// # Errors
    /// When they cannot be, or it is too large.
    pub fn together(&self, outlets: &[OutletId]) -> TractResult<()> {
        let shapes = outlets.iter().map(|outlet| self.shape(*outlet)).collect::<TractResult<Vec<_>>>()?;
        check_shape(&multi_broadcast(&shapes).with_context(|| format!("{shapes:?} do not go together"))?)
    }
}

/// Refuses a tensor that is too large, before it is made.
///
/// # Errors
/// With the limit.
pub fn check_shape(shape: &[usize]) -> TractResult<()> {
    ensure!(
        shape.len() <= limits::MODEL_TENSOR_DIMENSIONS,
        "a tensor may have at most {} dimensions, got {}",
        limits::MODEL_TENSOR_DIMENSIONS,
        shape.len()
    );
    // Of the widest type, so that it holds for all. A dimension of 0 counts as 1: beside
    // it the others still make the strides.
    let bytes = shape.iter().try_fold(size_of::<i64>(), |bytes, dim| bytes.checked_mul((*dim).max(1)));
    ensure!(
        bytes.is_some_and(|bytes| bytes <= limits::MODEL_TENSOR_BYTES),
        "a tensor may have at most {} bytes, not those of {shape:?}",
        limits::MODEL_TENSOR_BYTES
    );
    Ok(())
}

/// Dimensions that were written in the model.
///
/// # Errors
/// When one is below 0, or the tensor would be too large.
pub fn dimensions(written: &[i64]) -> TractResult<TVec<usize>> {
    let shape: Option<TVec<usize>> = written.iter().map(|dim| usize::try_from(*dim).ok()).collect();
    let shape = shape.with_context(|| format!("dimensions must be at least 0, got {written:?}"))?;
    check_shape(&shape)?;
    Ok(shape)
}
