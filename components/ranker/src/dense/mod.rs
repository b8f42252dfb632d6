//! Products with learned matrices, of which a network is mostly made, as an operator of
//! tract. In the sandbox it takes half the time of tract's own, which wants more
//! registers than there are; outside, tract's are the faster ones. Each row is computed
//! in the same way, wherever in a tile it stands.

mod kernel;

use std::cell::RefCell;

use tract_hir::internal::*;

use kernel::{Lanes, WIDTH};

/// The weights of a layer, in panels of columns.
#[derive(Debug)]
pub struct Weights {
    inputs: usize,
    columns: usize,
    /// By panel, then by input.
    panels: Vec<Lanes>,
    /// By panel.
    bias: Vec<Lanes>,
}

impl Weights {
    /// Of a matrix with a row per input, or a column per input if `transposed`; without a
    /// bias, sums begin with 0.
    ///
    /// # Errors
    /// When it is no matrix of `float32`, is empty, or the bias is not one number, or one
    /// per column.
    fn new(matrix: &Tensor, transposed: bool, bias: Option<&Tensor>) -> TractResult<Self> {
        let (inputs, columns) = match (matrix.shape(), transposed) {
            (&[inputs, columns], false) | (&[columns, inputs], true) => (inputs, columns),
            (shape, _) => bail!("a matrix has 2 dimensions, got {shape:?}"),
        };
        ensure!(inputs > 0 && columns > 0, "a matrix of {inputs} by {columns} is empty");
        let cells = matrix.try_as_plain_ram()?;
        let cells = cells.as_slice::<f32>()?;
        let weight = |input: usize, column: usize| {
            let at = if transposed { column * inputs + input } else { input * columns + column };
            cells.get(at).copied().filter(|_| column < columns).unwrap_or(0.0)
        };
        let starts = (0..columns).step_by(WIDTH);
        let mut panels = Vec::with_capacity(starts.len() * inputs);
        for from in starts.clone() {
            panels.extend((0..inputs).map(|input| -> Lanes { std::array::from_fn(|lane| weight(input, from + lane)) }));
        }
        let bias = bias.map(|bias| bias.cast_to::<f32>()).transpose()?;
        let bias = bias.as_ref().map(|bias| bias.try_as_plain_ram()).transpose()?;
        let bias = bias.as_ref().map(|bias| bias.as_slice::<f32>()).transpose()?.unwrap_or(&[0.0]);
        ensure!(bias.len() == 1 || bias.len() == columns, "a bias of {} for {columns} columns", bias.len());
        let of = |column: usize| bias.get(if bias.len() == 1 { 0 } else { column }).copied().unwrap_or(0.0);
        let bias = starts.map(|from| std::array::from_fn(|lane| of(from + lane))).collect();
        Ok(Self { inputs, columns, panels, bias })
    }

    /// Rows of `inputs` cells to rows of `columns` cells.
    fn apply(&self, cells: &[f32], outputs: &mut [f32]) {
        let panels = self.panels.chunks_exact(self.inputs).zip(&self.bias);
        for ((panel, bias), from) in panels.zip((0..).step_by(WIDTH)) {
            let columns = from..self.columns.min(from + WIDTH);
            let pairs = cells.chunks(2 * self.inputs).zip(outputs.chunks_mut(2 * self.columns));
            for (cells, outputs) in pairs {
                let (mut one, mut two) = (*bias, *bias);
                // A last row that is alone goes with itself.
                let (first, second) = cells.split_at(self.inputs);
                let second = if second.is_empty() { first } else { second };
                kernel::add_products([first, second], panel, [&mut one, &mut two]);
                for (row, sums) in outputs.chunks_exact_mut(self.columns).zip([one, two]) {
                    let row = row.get_mut(columns.clone()).unwrap_or_default();
                    row.iter_mut().zip(sums).for_each(|(cell, sum)| *cell = sum);
                }
            }
        }
    }
}

/// The weights of a graph's layers, which its plans share.
#[derive(Debug, Default)]
pub struct Layers(RefCell<Vec<Layer>>);

#[derive(Debug)]
struct Layer {
    matrix: Arc<Tensor>,
    transposed: bool,
    bias: Option<Arc<Tensor>>,
    weights: Arc<Weights>,
}

impl Layers {
    /// The operator for a matrix and a bias, which are as for [`Weights::new`].
    ///
    /// # Errors
    /// As there.
    pub fn dense(&self, matrix: Arc<Tensor>, transposed: bool, bias: Option<Arc<Tensor>>) -> TractResult<Dense> {
        let same = |layer: &&Layer| {
            Arc::ptr_eq(&layer.matrix, &matrix)
                && layer.transposed == transposed
                && match (&layer.bias, &bias) {
                    (Some(one), Some(other)) => Arc::ptr_eq(one, other),
                    (one, other) => one.is_none() && other.is_none(),
                }
        };
        if let Some(layer) = self.0.borrow().iter().find(same) {
            return Ok(Dense(layer.weights.clone()));
        }
        let weights = Arc::new(Weights::new(&matrix, transposed, bias.as_deref())?);
        self.0.borrow_mut().push(Layer { matrix, transposed, bias, weights: weights.clone() });
        Ok(Dense(weights))
    }
}

/// One layer: `[rows, inputs]` to `[rows, columns]`, both `float32`.
#[derive(Debug, Clone)]
pub struct Dense(Arc<Weights>);

impl PartialEq for Dense {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Dense {}

impl Op for Dense {
    fn name(&self) -> StaticName {
        "Dense".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Dense {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = args_1!(inputs);
        let rows = match *input.shape() {
            [rows, inputs] if inputs == self.0.inputs => rows,
            ref shape => bail!("a layer of {} inputs is given {shape:?}", self.0.inputs),
        };
        let mut outputs = Tensor::zero::<f32>(&[rows, self.0.columns])?;
        let cells = input.try_as_plain_ram()?;
        self.0.apply(cells.as_slice::<f32>()?, outputs.try_as_plain_ram_mut()?.as_slice_mut::<f32>()?);
        Ok(tvec!(outputs.into_tvalue()))
    }
}

impl TypedOp for Dense {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let fact = inputs.first().context("a layer has one input")?;
        ensure!(fact.datum_type == f32::datum_type(), "a layer reads float32, not {:?}", fact.datum_type);
        let rows = match fact.shape.dims() {
            [rows, inputs] if *inputs == self.0.inputs.to_dim() => rows.clone(),
            shape => bail!("a layer of {} inputs is given {shape:?}", self.0.inputs),
        };
        Ok(tvec!(f32::fact([rows, self.0.columns.to_dim()])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whole numbers, so that no order of additions rounds.
    fn cells(shape: &[usize], seed: usize) -> Arc<Tensor> {
        let count: usize = shape.iter().product();
        let cells: Vec<f32> = (0..count).map(|at| ((at * 7 + seed * 11) % 13) as f32 - 6.0).collect();
        tensor1(&cells).into_shape(shape).unwrap().into_arc_tensor()
    }

    fn of(tensor: &Tensor) -> Vec<f32> {
        tensor.try_as_plain_ram().unwrap().as_slice::<f32>().unwrap().to_vec()
    }

    fn evaluated(layer: &Dense, input: &Arc<Tensor>) -> Vec<f32> {
        let context = EvalContext::out_of_plan();
        of(&layer.eval(&context, tvec!(input.clone().into_tvalue())).unwrap()[0])
    }

    #[test]
    fn a_layer_is_the_product_and_the_bias() {
        for (rows, inputs, columns) in [(1, 1, 1), (2, 3, 16), (3, 16, 17), (8, 40, 8), (5, 33, 50), (64, 7, 31)] {
            let (input, bias) = (cells(&[rows, inputs], 1), cells(&[1, columns], 2));
            for (transposed, shape) in [(false, [inputs, columns]), (true, [columns, inputs])] {
                let matrix = cells(&shape, 3);
                let layer = Layers::default().dense(matrix.clone(), transposed, Some(bias.clone())).unwrap();
                let (of_input, of_matrix, of_bias) = (of(&input), of(&matrix), of(&bias));
                let expected = (0..rows * columns).map(|at| {
                    let (row, column) = (at / columns, at % columns);
                    let weight =
                        |k| if transposed { of_matrix[column * inputs + k] } else { of_matrix[k * columns + column] };
                    of_bias[column] + (0..inputs).map(|k| of_input[row * inputs + k] * weight(k)).sum::<f32>()
                });
                assert_eq!(evaluated(&layer, &input), expected.collect::<Vec<f32>>(), "{rows} {inputs} {columns}");
            }
        }
    }

    #[test]
    fn plans_share_what_they_multiply_with() {
        let (layers, matrix, bias) = (Layers::default(), cells(&[3, 16], 1), cells(&[16], 2));
        let of = |matrix: &Arc<Tensor>, bias: Option<&Arc<Tensor>>| {
            layers.dense(matrix.clone(), false, bias.cloned()).unwrap()
        };
        assert_eq!(of(&matrix, Some(&bias)), of(&matrix, Some(&bias)));
        assert_ne!(of(&matrix, Some(&bias)), of(&matrix, None));
        assert_eq!(of(&matrix, None), of(&matrix, None));
        assert_ne!(of(&cells(&[3, 16], 1), None), of(&matrix, None));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let layers = Layers::default();
        let refused = |matrix: &[usize], bias: &[usize]| {
            layers.dense(cells(matrix, 1), false, Some(cells(bias, 1))).unwrap_err().to_string()
        };
        assert_eq!(refused(&[3], &[1]), "a matrix has 2 dimensions, got [3]");
        assert_eq!(refused(&[0, 3], &[3]), "a matrix of 0 by 3 is empty");
        assert_eq!(refused(&[2, 3], &[2]), "a bias of 2 for 3 columns");
        let layer = layers.dense(cells(&[2, 3], 1), false, None).unwrap();
        let of = |shape: [usize; 2]| layer.output_facts(&[&f32::fact(shape)]).map(|facts| facts[0].shape.to_tvec());
        assert_eq!(of([5, 2]).unwrap(), tvec![5.to_dim(), 3.to_dim()]);
        assert!(of([5, 3]).is_err());
    }
}
