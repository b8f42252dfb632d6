//! What keeps one tenant's components from taking what others need.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use funnelweb_core::limits;
use funnelweb_tenant_store::lock;

/// The time of processors that one tenant's components may take: a token bucket. What is
/// spent is known only afterwards, so that it may be overdrawn by what is under way.
#[derive(Debug)]
pub struct Budget {
    /// Seconds of a processor, a second.
    rate: f64,
    state: Mutex<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    /// Seconds; below 0 when it is overdrawn.
    level: f64,
    at: Instant,
}

impl Budget {
    /// A full one, which gains so much of a processor's time a second.
    #[must_use]
    pub fn new(a_second: Duration, now: Instant) -> Self {
        let rate = a_second.as_secs_f64();
        Self { rate, state: Mutex::new(Bucket { level: Self::most(rate), at: now }) }
    }

    fn most(rate: f64) -> f64 {
        rate * f64::from(limits::TENANT_COMPONENT_BURST)
    }

    /// Whether anything is left.
    #[must_use]
    pub fn has(&self, now: Instant) -> bool {
        self.level(&mut lock(&self.state), now) > 0.0
    }

    /// Takes what a call took; no more is owed than may be saved up.
    pub fn spend(&self, took: Duration, now: Instant) {
        let mut bucket = lock(&self.state);
        self.level(&mut bucket, now);
        bucket.level = (bucket.level - took.as_secs_f64()).max(-Self::most(self.rate));
    }

    fn level(&self, bucket: &mut Bucket, now: Instant) -> f64 {
        let gained = now.saturating_duration_since(bucket.at).as_secs_f64() * self.rate;
        bucket.level = (bucket.level + gained).min(Self::most(self.rate));
        bucket.at = bucket.at.max(now);
        bucket.level
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spent_comes_back_with_time() {
        let start = Instant::now();
        let after = |ms: u64| start + Duration::from_millis(ms);
        let budget = Budget::new(limits::TENANT_COMPONENT_TIME, start);
        let burst = limits::TENANT_COMPONENT_TIME * limits::TENANT_COMPONENT_BURST;
        assert!(budget.has(start));
        budget.spend(burst, start);
        assert!(!budget.has(start));
        assert!(budget.has(after(10)));
        budget.spend(limits::TENANT_COMPONENT_TIME, after(10));
        assert!(!budget.has(after(900)) && budget.has(after(1200)), "overdrawn by almost a second's");
        // Nothing is saved up beyond the burst.
        budget.spend(burst, after(3_600_000));
        assert!(!budget.has(after(3_600_000)));
    }

    #[test]
    fn it_is_never_exceeded_by_more_than_what_is_under_way() {
        let start = Instant::now();
        let budget = Budget::new(Duration::from_millis(100), start);
        let (mut now, mut spent) = (start, Duration::ZERO);
        while now < start + Duration::from_secs(100) {
            if budget.has(now) {
                budget.spend(Duration::from_millis(50), now);
                spent += Duration::from_millis(50);
            }
            now += Duration::from_millis(1);
        }
        let most = Duration::from_millis(100) * (100 + limits::TENANT_COMPONENT_BURST) + Duration::from_millis(50);
        assert!(spent <= most && spent > most - Duration::from_millis(200), "{spent:?}");
    }
}
