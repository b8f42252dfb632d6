//! How much a behaviour counts.

/// The weight of a behaviour of `action_weight` that is `age_ms` old: it halves with
/// every half-life,
///
/// ```text
/// w(a, t) = a · 2^(−t / half-life)
/// ```
///
/// Without a half-life (None, or 0) nothing decays. What carries a time in the
/// future counts as of now: its age is 0.
///
/// ```
/// use funnelweb_algorithms::weighting::decayed;
///
/// let day_ms = 86_400_000;
/// assert_eq!(decayed(3.0, 14 * day_ms, Some(7 * day_ms)), 0.75);
/// assert_eq!(decayed(3.0, 14 * day_ms, None), 3.0);
/// ```
#[must_use]
pub fn decayed(action_weight: f32, age_ms: u64, half_life_ms: Option<u64>) -> f32 {
    match half_life_ms {
        Some(half_life_ms) if half_life_ms > 0 => {
            (f64::from(action_weight) * (-(age_ms as f64) / half_life_ms as f64).exp2()) as f32
        }
        _ => action_weight,
    }
}

/// How old something of `at_ms` is at `now_ms`, in milliseconds.
#[must_use]
pub fn age_ms(at_ms: u64, now_ms: u64) -> u64 {
    now_ms.saturating_sub(at_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_of_all_is_finite() {
        assert_eq!(decayed(1.0, u64::MAX, Some(1)), 0.0);
        assert_eq!(decayed(1.0, u64::MAX, Some(0)), 1.0);
        assert_eq!(decayed(-2.0, 10, Some(10)), -1.0);
        assert_eq!(age_ms(20, 10), 0);
    }
}
