//! The distributions that tests need, from `libm`'s error and gamma functions. A statistics
//! crate would serve as well if it took as many degrees of freedom as an experiment has users.

use std::f64::consts::{PI, SQRT_2};

/// The most terms of a series or continued fraction. Those of the incomplete beta function need
/// about √n, of n users.
const TERMS: u32 = 1_000_000;
/// The relative change at which one has converged: next to the smallest there is.
const CONVERGED: f64 = 4e-16;
/// In place of a zero that would be divided by (Lentz's method).
const TINY: f64 = 1e-300;

/// The standard normal distribution's share above `z`.
pub(crate) fn normal_above(z: f64) -> f64 {
    0.5 * libm::erfc(z / SQRT_2)
}

/// What the share `above` of the standard normal distribution is above.
pub(crate) fn normal_quantile_above(above: f64) -> f64 {
    // Beyond 39 standard deviations a share is below the smallest number.
    bisect(-39.0, 39.0, |z| normal_above(z) > above)
}

/// The share of Student's distribution that is farther from 0 than `t`, on both sides:
/// I_x(ν/2, 1/2) with x = ν / (ν + t²) (Abramowitz and Stegun 26.7.1). That fraction cancels for
/// many degrees of freedom; of those, Hill's transformation to a normal deviate is exact to
/// the last digits (Algorithm 395, CACM 1970).
pub(crate) fn student_beyond(t: f64, degrees: f64) -> f64 {
    let square = t * t;
    if degrees > 1e4 {
        let (a, z2) = (degrees - 0.5, (degrees - 0.5) * (square / degrees).ln_1p());
        let b = 48.0 * a * a;
        let second = (((-0.4 * z2 - 3.3) * z2 - 24.0) * z2 - 85.5) / (0.8 * z2 * z2 + 100.0 + b);
        let z = z2.sqrt() * (1.0 + (second + z2 + 3.0) / b);
        return 2.0 * normal_above(z);
    }
    let sum = degrees + square;
    beta_below(degrees / sum, square / sum, degrees / 2.0, 0.5)
}

/// What the share `beyond` of Student's distribution is farther from 0 than, on both sides.
pub(crate) fn student_quantile_beyond(beyond: f64, degrees: f64) -> f64 {
    let mut high = 1.0;
    while high < 1e100 && student_beyond(high, degrees) > beyond {
        high *= 2.0;
    }
    bisect(if high > 1.0 { high / 2.0 } else { 0.0 }, high, |t| student_beyond(t, degrees) > beyond)
}

/// The share of the χ² distribution above `x`: the incomplete gamma function Q(ν/2, x/2)
/// (Abramowitz and Stegun 26.4.19), by its series or its continued fraction (6.5.29, 6.5.31).
pub(crate) fn chi_square_above(x: f64, degrees: f64) -> f64 {
    let (a, x) = (degrees / 2.0, x / 2.0);
    if x <= 0.0 {
        return 1.0;
    }
    let front = (a * x.ln() - x - libm::lgamma(a)).exp();
    if x < a + 1.0 {
        let (mut term, mut sum, mut at) = (1.0 / a, 1.0 / a, a);
        for _ in 0..TERMS {
            at += 1.0;
            term *= x / at;
            sum += term;
            if term < sum * CONVERGED {
                break;
            }
        }
        return (1.0 - front * sum).max(0.0);
    }
    let mut b = x + 1.0 - a;
    let (mut c, mut d) = (1.0 / TINY, 1.0 / b);
    let mut value = d;
    for term in 1..TERMS {
        let factor = -f64::from(term) * (f64::from(term) - a);
        b += 2.0;
        let step = lentz(factor, b, &mut c, &mut d);
        value *= step;
        if (step - 1.0).abs() < CONVERGED {
            break;
        }
    }
    (front * value).min(1.0)
}

/// The incomplete beta function I_x(a, b), of `x` and of `y` = 1 − x, both as exactly as they
/// are known: the continued fraction of Abramowitz and Stegun 26.5.8, on the side where it
/// converges.
pub(crate) fn beta_below(x: f64, y: f64, a: f64, b: f64) -> f64 {
    if x * (a + b + 2.0) > a + 1.0 {
        return (1.0 - beta_fraction(y, x, b, a)).clamp(0.0, 1.0);
    }
    beta_fraction(x, y, a, b).clamp(0.0, 1.0)
}

/// What the share `below` of the beta distribution is below.
pub(crate) fn beta_quantile(below: f64, a: f64, b: f64) -> f64 {
    bisect(0.0, 1.0, |x| beta_below(x, 1.0 - x, a, b) < below)
}

fn beta_fraction(x: f64, y: f64, a: f64, b: f64) -> f64 {
    let mut c = 1.0;
    // 1 − (a + b) x / (a + 1), of which `y` knows more.
    let mut d = 1.0 / nonzero((1.0 + a * y - b * x) / (a + 1.0));
    let mut value = d;
    for term in 1..TERMS {
        let m = f64::from(term);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        value *= lentz(even, 1.0, &mut c, &mut d);
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let step = lentz(odd, 1.0, &mut c, &mut d);
        value *= step;
        if (step - 1.0).abs() < CONVERGED {
            break;
        }
    }
    beta_front(x, y, a, b) * value / a
}

/// x^a y^b / B(a, b) in the form of Loader ("Fast and accurate computation of binomial
/// probabilities", 2000), which does not subtract logarithms of large factorials.
fn beta_front(x: f64, y: f64, a: f64, b: f64) -> f64 {
    let sum = a + b;
    // x (a + b) / a is 1 at the mean: how far from it.
    let off = b * x - a * y;
    let power = |times: f64, of: f64, off: f64| {
        let far = off / times;
        times * if far.abs() < 0.5 { far.ln_1p() } else { (of * sum / times).ln() }
    };
    let errors = stirling_error(sum) - stirling_error(a) - stirling_error(b);
    (a * b / (2.0 * PI * sum)).sqrt() * (power(a, x, off) + power(b, y, -off) + errors).exp()
}

/// By how much ln Γ(z) exceeds Stirling's (z − ½) ln z − z + ½ ln 2π (Abramowitz and Stegun
/// 6.1.41), of `z` above 0.
pub(crate) fn stirling_error(z: f64) -> f64 {
    if z < 16.0 {
        return libm::lgamma(z) - ((z - 0.5) * z.ln() - z + 0.5 * (2.0 * PI).ln());
    }
    let square = 1.0 / (z * z);
    let series = [1.0 / 1188.0, -1.0 / 1680.0, 1.0 / 1260.0, -1.0 / 360.0, 1.0 / 12.0];
    series.into_iter().fold(0.0, |sum, term| sum * square + term) / z
}

/// (1 + x) ln(1 + x) − x, of `x` from −1.
pub(crate) fn entropy_excess(x: f64) -> f64 {
    if x <= -1.0 {
        return 1.0;
    }
    if x.abs() > 0.05 {
        return (1.0 + x) * x.ln_1p() - x;
    }
    // Σ (−x)^k / (k (k − 1)) from k = 2: the rest is below a rounding at 0.05.
    (2..14).rev().fold(0.0, |sum, k| 1.0 / f64::from(k * (k - 1)) - x * sum) * x * x
}

/// One step of a continued fraction by the method of Lentz, as modified by Thompson and Barnett
/// (1986): what its value is multiplied by.
fn lentz(numerator: f64, denominator: f64, c: &mut f64, d: &mut f64) -> f64 {
    *d = 1.0 / nonzero(denominator + numerator * *d);
    *c = nonzero(denominator + numerator / *c);
    *c * *d
}

fn nonzero(value: f64) -> f64 {
    if value.abs() < TINY { TINY } else { value }
}

/// Where `before` stops to hold, to the last bit.
pub(crate) fn bisect(mut low: f64, mut high: f64, before: impl Fn(f64) -> bool) -> f64 {
    // As many as lead from 1 to the smallest number.
    for _ in 0..1100 {
        let middle = low + (high - low) / 2.0;
        if middle <= low || middle >= high {
            break;
        }
        if before(middle) { low = middle } else { high = middle }
    }
    low + (high - low) / 2.0
}

#[cfg(test)]
mod tests;
