//! Learned vectors by their places, as an operator of tract. Its own copies row by row
//! with a call out of the sandbox for each.

use tract_hir::internal::*;

/// A table of vectors: places to `[.., width]`.
#[derive(Debug, Clone)]
pub struct Embedding {
    /// `[rows, width]` of `float32`.
    pub table: Arc<Tensor>,
    /// What the graph calls it.
    pub name: String,
}

impl Embedding {
    /// Whether rows of this dimension are vectors of a table.
    #[must_use]
    pub fn fits(table: &Tensor, axis: usize) -> bool {
        axis == 0 && table.datum_type() == f32::datum_type() && matches!(table.shape(), [_, width] if *width > 0)
    }

    fn width(&self) -> usize {
        self.table.shape().last().copied().unwrap_or(0)
    }
}

impl PartialEq for Embedding {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.table, &other.table)
    }
}

impl Eq for Embedding {}

/// Checks that places are in a table; those below 0 count from its end.
///
/// # Errors
/// With the first that is not.
pub fn check_places(places: &[i64], rows: i64, table: &str) -> TractResult<()> {
    match places.iter().find(|place| !(-rows..rows).contains(place)) {
        Some(place) => bail!("place {place} is not in `{table}`, which has {rows} rows"),
        None => Ok(()),
    }
}

/// Copies a row per place. Of the usual widths, the length is known when it is compiled.
fn copy(table: &[f32], places: &[i64], width: usize, outputs: &mut [f32]) {
    fn rows<const WIDTH: usize>(table: &[f32], places: &[i64], outputs: &mut [f32]) {
        let (table, _) = table.as_chunks::<WIDTH>();
        for (place, output) in places.iter().zip(outputs.as_chunks_mut::<WIDTH>().0) {
            if let Some(row) = table.get(at(*place, table.len())) {
                *output = *row;
            }
        }
    }
    match width {
        1 => rows::<1>(table, places, outputs),
        4 => rows::<4>(table, places, outputs),
        8 => rows::<8>(table, places, outputs),
        16 => rows::<16>(table, places, outputs),
        32 => rows::<32>(table, places, outputs),
        _ => {
            let count = table.len() / width;
            for (place, output) in places.iter().zip(outputs.chunks_exact_mut(width)) {
                let from = at(*place, count) * width;
                if let Some(row) = table.get(from..from + width) {
                    output.copy_from_slice(row);
                }
            }
        }
    }
}

fn at(place: i64, rows: usize) -> usize {
    (if place < 0 { place + rows as i64 } else { place }) as usize
}

impl Op for Embedding {
    fn name(&self) -> StaticName {
        "Embedding".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Embedding {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = args_1!(inputs);
        let (cells, width) = (input.try_as_plain_ram()?, self.width());
        let places = cells.as_slice::<i64>()?;
        let table = self.table.try_as_plain_ram()?;
        let table = table.as_slice::<f32>()?;
        check_places(places, (table.len() / width.max(1)) as i64, &self.name)?;
        let mut shape: TVec<usize> = input.shape().into();
        shape.push(width);
        let mut outputs = Tensor::zero::<f32>(&shape)?;
        copy(table, places, width, outputs.try_as_plain_ram_mut()?.as_slice_mut::<f32>()?);
        Ok(tvec!(outputs.into_tvalue()))
    }
}

impl TypedOp for Embedding {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let fact = inputs.first().context("a table is asked for places")?;
        ensure!(fact.datum_type == i64::datum_type(), "places are whole numbers, not {:?}", fact.datum_type);
        let mut shape: TVec<TDim> = fact.shape.to_tvec();
        shape.push(self.width().to_dim());
        Ok(tvec!(f32::fact(shape)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_of_any_width_are_copied_by_place() {
        for width in [1, 3, 4, 8, 16, 17, 32] {
            let cells: Vec<f32> = (0..5 * width).map(|at| at as f32).collect();
            let table = tensor1(&cells).into_shape(&[5, width]).unwrap().into_arc_tensor();
            assert!(Embedding::fits(&table, 0) && !Embedding::fits(&table, 1));
            let table = Embedding { table, name: "t".to_owned() };
            let eval = |places: &[i64]| table.eval(&EvalContext::out_of_plan(), tvec!(tensor1(places).into_tvalue()));
            let outputs = eval(&[4, 0, -5, -1]).unwrap();
            assert_eq!(outputs[0].shape(), [4, width]);
            let expected: Vec<f32> =
                [4, 0, 0, 4].iter().flat_map(|row| &cells[row * width..][..width]).copied().collect();
            assert_eq!(outputs[0].try_as_plain_ram().unwrap().as_slice::<f32>().unwrap(), expected);
            for outside in [5, -6, i64::MIN] {
                let error = eval(&[0, outside]).unwrap_err().to_string();
                assert_eq!(error, format!("place {outside} is not in `t`, which has 5 rows"));
            }
        }
    }
}
