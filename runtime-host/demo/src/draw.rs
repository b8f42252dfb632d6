//! Random draws that are the same on every platform and in every version.
//!
//! The generator is xoshiro256++ (Blackman and Vigna, "Scrambled linear
//! pseudorandom number generators", 2021), whose output `rand_xoshiro` promises
//! to keep. The distributions are written out here, over `libm`'s portable
//! functions: those of a general crate may change with its version, those of the
//! platform's C library with the platform. A golden test pins the result.

use rand_core::{Rng, SeedableRng};
use rand_xoshiro::{SplitMix64, Xoshiro256PlusPlus};

/// What a sequence of draws is for. Sequences of different purposes, seeds or
/// indices are independent, so that item 70,000 needs no item before it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    Permutation = 1,
    Item = 2,
    Embedding = 3,
    User = 4,
    Session = 5,
    Visit = 6,
}

/// A sequence of draws.
pub(crate) struct Draws(Xoshiro256PlusPlus);

impl Draws {
    pub(crate) fn new(seed: u64, purpose: Purpose, index: u64) -> Self {
        // SplitMix64 spreads the seed, so that seeds 1 and 2 share nothing.
        let mut spread = SplitMix64::seed_from_u64(seed ^ ((purpose as u64) << 56));
        Self(Xoshiro256PlusPlus::seed_from_u64(spread.next_u64() ^ index))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in [0, 1), with 53 bits.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform in `low..high`.
    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Uniform in 0..n; 0 when `n` is 0. Multiply and shift (Lemire 2019)
    /// without its rejection: the bias is below n / 2³².
    pub(crate) fn below(&mut self, n: u32) -> u32 {
        (((self.next() >> 32) * u64::from(n)) >> 32) as u32
    }

    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// One of a list; the default of an empty one.
    pub(crate) fn pick<T: Copy + Default>(&mut self, list: &[T]) -> T {
        let at = self.below(list.len() as u32) as usize;
        list.get(at).copied().unwrap_or_default()
    }

    /// Mean 0, variance 1 (Box and Muller 1958, one of the pair).
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * libm::log(1.0 - self.unit())).sqrt();
        radius * libm::cos(std::f64::consts::TAU * self.unit())
    }

    /// Gumbel noise: the largest of `score + gumbel()` is a draw from the
    /// softmax of the scores.
    pub(crate) fn gumbel(&mut self) -> f64 {
        -libm::log(-libm::log(self.unit().max(1e-12)))
    }

    /// Gamma with scale 1 (Marsaglia and Tsang 2000; for a shape below 1, drawn
    /// at shape + 1 and multiplied by U^(1/shape)).
    fn gamma(&mut self, shape: f64) -> f64 {
        let boost = if shape < 1.0 { libm::pow(1.0 - self.unit(), 1.0 / shape) } else { 1.0 };
        let d = if shape < 1.0 { shape + 1.0 } else { shape } - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = 1.0 + c * x;
            if v <= 0.0 {
                continue;
            }
            let v = v * v * v;
            if libm::log(1.0 - self.unit()) < 0.5 * x * x + d - d * v + d * libm::log(v) {
                return boost * d * v;
            }
        }
    }

    /// A symmetric Dirichlet draw, divided by its largest entry: in (0, 1], 1
    /// for what is liked best. A small `alpha` gives few, strong likings.
    pub(crate) fn taste(&mut self, alpha: f64, entries: usize) -> Vec<f64> {
        let mut taste: Vec<f64> = (0..entries).map(|_| self.gamma(alpha)).collect();
        let most = taste.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        taste.iter_mut().for_each(|value| *value /= most);
        taste
    }

    /// A rank in 0..n with P(rank) falling as 1 / (rank + 1.5): Zipf's law with
    /// exponent 1, by inversion and so in constant time and memory.
    pub(crate) fn zipf(&mut self, n: u32) -> u32 {
        let rank = libm::exp(self.unit() * libm::log(f64::from(n) + 1.0)) - 1.0;
        (rank as u32).min(n.saturating_sub(1))
    }
}

/// 1 / (1 + e⁻ˣ).
pub(crate) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-x))
}

/// To a fraction of 1 / `steps`: data as people write it, and nothing in it that
/// hangs on the last bit of a float.
pub(crate) fn rounded(value: f64, steps: f64) -> f64 {
    // Adding zero makes of -0 a 0.
    (value * steps).round() / steps + 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(draws: usize, mut draw: impl FnMut() -> f64) -> f64 {
        (0..draws).map(|_| draw()).sum::<f64>() / draws as f64
    }

    #[test]
    fn the_distributions_have_their_moments() {
        let mut draws = Draws::new(7, Purpose::Item, 0);
        assert!((mean(20_000, || draws.unit()) - 0.5).abs() < 0.01);
        assert!(mean(20_000, || draws.normal()).abs() < 0.03);
        assert!((mean(20_000, || draws.normal().powi(2)) - 1.0).abs() < 0.05);
        for shape in [0.3, 1.0, 4.0] {
            assert!((mean(20_000, || draws.gamma(shape)) - shape).abs() < 0.05 * (1.0 + shape));
        }
        assert!((mean(20_000, || f64::from(draws.below(10))) - 4.5).abs() < 0.1);
        let head = mean(20_000, || f64::from(u8::from(draws.zipf(1000) == 0)));
        assert!((head - 2.0_f64.ln() / 1001.0_f64.ln()).abs() < 0.01, "{head}");
    }

    #[test]
    fn nothing_is_out_of_range() {
        let mut draws = Draws::new(0, Purpose::User, 1);
        assert_eq!(draws.below(0), 0);
        assert_eq!(draws.zipf(0), 0);
        assert_eq!(draws.pick::<&str>(&[]), "");
        assert!((0..1000).all(|_| draws.zipf(3) < 3 && draws.below(3) < 3));
        let taste = draws.taste(0.2, 12);
        assert!(taste.iter().all(|value| (0.0..=1.0).contains(value)));
        assert!(taste.contains(&1.0));
    }
}
