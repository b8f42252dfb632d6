//! Tree ensembles as an operator of tract: the graph around them stays tract's own,
//! whose operator for trees was measured 1,000 times slower than this one.

mod evaluate;
mod read;

use tract_hir::internal::*;

pub use evaluate::{Aggregate, Ensemble, Node, PostTransform};
pub use read::{classifier, regressor};

/// One ensemble: `[rows, features]` to `[rows, targets]`, both `float32`.
#[derive(Debug, Clone)]
pub struct Trees(pub Arc<Ensemble>);

impl PartialEq for Trees {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Trees {}

impl Op for Trees {
    fn name(&self) -> StaticName {
        "Trees".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Trees {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = args_1!(inputs);
        let (rows, width) = match *input.shape() {
            [rows, width] if width > self.0.last_feature => (rows, width),
            ref shape => bail!("trees that read feature {} are given {shape:?}", self.0.last_feature),
        };
        let mut scores = Tensor::zero::<f32>(&[rows, self.0.targets])?;
        let cells = input.try_as_plain_ram()?;
        self.0.score(cells.as_slice::<f32>()?, width, scores.try_as_plain_ram_mut()?.as_slice_mut::<f32>()?);
        Ok(tvec!(scores.into_tvalue()))
    }
}

impl TypedOp for Trees {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let fact = inputs.first().context("trees have one input")?;
        let width = fact.shape.get(1).and_then(|width| width.to_usize().ok()).filter(|_| fact.rank() == 2);
        ensure!(fact.datum_type == f32::datum_type(), "trees read float32, not {:?}", fact.datum_type);
        ensure!(
            width.is_some_and(|width| width > self.0.last_feature),
            "the trees read feature {}, their input has {} per row",
            self.0.last_feature,
            width.unwrap_or(0)
        );
        let rows = fact.shape.first().cloned().context("trees have one input")?;
        Ok(tvec!(f32::fact([rows, self.0.targets.to_dim()])))
    }
}
