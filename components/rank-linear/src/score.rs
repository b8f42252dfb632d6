//! The weighted sum, one column after the other.

use funnelweb_guest::{
    rank::RankRequest,
    table::Numeric,
    types::{ColumnKind, StageError, StageErrorCode},
};

use crate::params::Params;

/// One score per candidate, -1 to 1.
///
/// # Errors
/// `invalid-input` for params that do not fit, or a table that has not one row
/// per candidate.
pub fn rank(request: &RankRequest) -> Result<Vec<f32>, StageError> {
    let params = Params::parse(&request.params)?;
    let count = request.candidates.handles.len();
    if request.items.rows as usize != count {
        let message = format!("{count} candidates, {} rows of features", request.items.rows);
        return Err(StageError { code: StageErrorCode::InvalidInput, message });
    }
    let mut sum = Sum { scores: vec![0.0; count], weights: 0.0 };
    let table = &request.items;
    for feature in &request.item_features {
        let weight = params.weights.get(&feature.name).copied().unwrap_or(feature.weight);
        match feature.kind {
            ColumnKind::Numeric => sum.min_max(table.numeric_column(&feature.name), weight),
            ColumnKind::Timestamp => {
                sum.fresh(table.numeric_column(&feature.name), weight, params.half_life_hours);
            }
            ColumnKind::Categorical | ColumnKind::MultiCategorical => {
                sum.add(table.numeric_column(&format!("{}:affinity", feature.name)), weight, |cell| cell);
            }
            // A vector has no order.
            ColumnKind::Embedding => {}
        }
    }
    for (name, weight) in &params.weights {
        if !request.item_features.iter().any(|feature| feature.name == *name) {
            sum.min_max(table.numeric_column(name), *weight);
        }
    }
    sum.min_max(table.numeric_column("recall:score"), params.recall_weight);
    Ok(sum.finish())
}

struct Sum {
    scores: Vec<f32>,
    /// Σ |w|
    weights: f32,
}

impl Sum {
    /// Adds `weight · x(cell)` of every row; a missing cell gets the mean `x`. A
    /// column that is not there adds nothing and counts nothing.
    fn add(&mut self, column: Option<Numeric<'_>>, weight: f32, x: impl Fn(f32) -> f32) {
        let Some(column) = column else { return };
        if !weight.is_finite() || weight == 0.0 {
            return;
        }
        let (mut total, mut present) = (0.0_f64, 0_u32);
        for row in 0..self.scores.len() {
            let cell = column.get(row);
            if cell.is_finite() {
                total += f64::from(x(cell));
                present += 1;
            }
        }
        let mean = if present == 0 { 0.5 } else { (total / f64::from(present)) as f32 };
        for (row, score) in self.scores.iter_mut().enumerate() {
            let cell = column.get(row);
            *score += weight * if cell.is_finite() { x(cell) } else { mean };
        }
        self.weights += weight.abs();
    }

    fn min_max(&mut self, column: Option<Numeric<'_>>, weight: f32) {
        let Some(column) = column else { return };
        let (mut least, mut most) = (f32::INFINITY, f32::NEG_INFINITY);
        for cell in (0..self.scores.len()).map(|row| column.get(row)).filter(|cell| cell.is_finite()) {
            // Not `min` and `max`, whose care for NaN is a function call in Wasm.
            if cell < least {
                least = cell;
            }
            if cell > most {
                most = cell;
            }
        }
        // In f64: the range of finite f32s may overflow an f32.
        let (least, range) = (f64::from(least), f64::from(most) - f64::from(least));
        if range > 0.0 {
            self.add(Some(column), weight, |cell| ((f64::from(cell) - least) / range) as f32);
        } else {
            self.add(Some(column), weight, |_| 0.5);
        }
    }

    fn fresh(&mut self, column: Option<Numeric<'_>>, weight: f32, half_life_hours: f32) {
        self.add(column, weight, |age_hours| (-age_hours.max(0.0) / half_life_hours).exp2());
    }

    fn finish(mut self) -> Vec<f32> {
        if self.weights > 0.0 {
            for score in &mut self.scores {
                *score /= self.weights;
            }
        }
        self.scores
    }
}
