//! Random numbers that follow from the request's seed, so that a request can be
//! run again.

/// SplitMix64 (Steele, Lea, Flood: *Fast Splittable Pseudorandom Number
/// Generators*, OOPSLA 2014): small, and good from any seed.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The numbers that belong to `seed` and `stream`: the same every time, and
    /// another sequence for another stream.
    #[must_use]
    pub fn new(seed: u64, stream: u64) -> Self {
        Self(seed ^ Self(stream).next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Uniform in [0, 1).
    pub fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform in 0 to `bound` − 1; 0 for a bound of 0.
    pub fn below(&mut self, bound: usize) -> usize {
        ((self.uniform() * bound as f64) as usize).min(bound.saturating_sub(1))
    }

    /// Normal with mean 0 and variance 1 (Box and Muller 1958).
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Gamma of `shape`, at least 1, and scale 1 (Marsaglia, Tsang: *A Simple
    /// Method for Generating Gamma Variables*, TOMS 2000).
    fn gamma(&mut self, shape: f64) -> f64 {
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        // One try in twenty fails, so these do not.
        for _ in 0..64 {
            let normal = self.normal();
            let v = (1.0 + c * normal).powi(3);
            if v > 0.0 && (1.0 - self.uniform()).ln() < 0.5 * normal * normal + d * (1.0 - v + v.ln()) {
                return d * v;
            }
        }
        d
    }

    /// Beta of `alpha` and `beta`, each at least 1; in (0, 1).
    pub fn beta(&mut self, alpha: f64, beta: f64) -> f64 {
        let (one, other) = (self.gamma(alpha.max(1.0)), self.gamma(beta.max(1.0)));
        (one / (one + other)).clamp(f64::MIN_POSITIVE, 1.0 - f64::EPSILON)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_the_published_one() {
        // The first outputs of the reference implementation for the seed 1234567.
        let mut random = Random(1_234_567);
        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn streams_differ_and_repeat() {
        let first = |seed, stream| Random::new(seed, stream).uniform();
        assert_eq!(first(1, 2), first(1, 2));
        assert_ne!(first(1, 2), first(1, 3));
        assert_ne!(first(1, 2), first(2, 2));
        assert_eq!(Random::new(1, 1).below(0), 0);
        assert!((0..1000).all(|stream| Random::new(7, stream).below(3) < 3));
    }

    #[test]
    fn beta_has_its_mean_and_variance() {
        for (alpha, beta) in [(1.0, 1.0), (3.0, 98.0), (40.0, 20.0)] {
            let draws: Vec<f64> = (0..20_000).map(|stream| Random::new(9, stream).beta(alpha, beta)).collect();
            assert!(draws.iter().all(|draw| *draw > 0.0 && *draw < 1.0));
            let mean = draws.iter().sum::<f64>() / draws.len() as f64;
            let variance = draws.iter().map(|draw| (draw - mean).powi(2)).sum::<f64>() / draws.len() as f64;
            let sum: f64 = alpha + beta;
            let expected = alpha * beta / (sum * sum * (sum + 1.0));
            assert!((mean - alpha / sum).abs() < 4.0 * (expected / 20_000.0).sqrt(), "{alpha} {beta}: {mean}");
            assert!((variance / expected - 1.0).abs() < 0.1, "{alpha} {beta}: {variance}");
        }
    }
}
