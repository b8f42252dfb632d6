//! What implicit ALS minimises.

use crate::error::{Result, check};

/// The weights of the terms of the loss of implicit ALS,
///
/// ```text
/// L = Σ over observed (u, i) of w_ui (x_u·y_i − 1)²
///   + α₀ Σ over all (u, i) of (x_u·y_i)²
///   + Σ_u λ_u |x_u|² + Σ_i λ_i |y_i|²,      λ_u = λ (|u| + α₀ n)^ν
/// ```
///
/// with |u| the sum of the weights of a user's history, n the number of items (and
/// the same for an item with its users), as in Rendle, Krichene, Zhang and Koren,
/// "Revisiting the Performance of iALS on Item Recommendation Benchmarks" (RecSys
/// 2022, arXiv:2110.14037), equations 1 to 5. There w is 1; here the weights of a
/// matrix are divided by their mean, so that a setting means the same whatever
/// units the weights are in.
///
/// The paper's advice for tuning (its section 3.4): α₀ and λ matter most and go
/// together; ν = 1 nearly always wins over 0, which is what most libraries do. Between
/// them lies more: on LastFM of the comparison ν = ½ finds more than either. λ is to
/// grow as ν falls, to 0.1 to 0.3 at ½, since the histories' part in it shrinks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Objective {
    /// α₀, the weight of a pair that was not observed; above 0. The shorter the
    /// histories the smaller. What regularises a short history most is λ α₀ n: with
    /// it far above 1 the vectors shrink to nothing.
    pub unobserved_weight: f32,
    /// λ; above 0. 0.001 to 0.03 at ν = 1, ten times that at ½.
    pub regularisation: f32,
    /// ν, 0 to 1: how much more those with long histories are regularised.
    pub regularisation_exponent: f32,
}

impl Default for Objective {
    /// α₀ = 0.01, λ = 0.01, ν = 1: never far from the best on the sets of the
    /// comparison, whose histories are short as those of most tenants are. The paper,
    /// on three sets of long histories, found α₀ of 0.1 to 1 with λ of 0.001 to 0.003.
    fn default() -> Self {
        Self { unobserved_weight: 0.01, regularisation: 0.01, regularisation_exponent: 1.0 }
    }
}

impl Objective {
    /// Refuses what is out of range.
    pub(crate) fn check(&self) -> Result<()> {
        let positive = |value: f32| (1e-9..=1e9).contains(&value);
        let (weight, lambda) = (self.unobserved_weight, self.regularisation);
        check("unobserved_weight", "1e-9 to 1e9", weight.into(), positive(weight))?;
        check("regularisation", "1e-9 to 1e9", lambda.into(), positive(lambda))?;
        let exponent = self.regularisation_exponent;
        check("regularisation_exponent", "0 to 1", exponent.into(), (0.0..=1.0).contains(&exponent))
    }

    /// λ_u of a history whose weights sum to `history`, among `others` rows.
    #[inline]
    pub(crate) fn strength(&self, history: f32, others: u32) -> f32 {
        let mass = f64::from(history) + f64::from(self.unobserved_weight) * f64::from(others);
        let strength = f64::from(self.regularisation) * mass.powf(self.regularisation_exponent.into());
        // A system needs something on its diagonal, also when there is nobody else.
        strength.max(1e-9) as f32
    }
}
