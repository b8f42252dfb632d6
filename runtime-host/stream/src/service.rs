//! Following the logs: a tenant's operators run when its log has grown, and when windows
//! come to their end. Tenants take turns, and operators within a tenant's.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use funnelweb_factor_events::store::Events;
use funnelweb_tenant_store::lock;
use tokio::task::JoinSet;

use crate::{
    engine::{Engine, Outcome},
    operator::Operator,
    shards::Shards,
    shared::{self, Led},
    store::{StreamStore, Tenant},
    watched::Grown,
};

/// How often it is looked which windows come to their end.
const TICK: Duration = Duration::from_secs(1);
/// Time after which an operator that failed is tried again.
const RETRY_MS: u64 = 5_000;
/// Time that an operator has in a tenant's turn, before others have theirs.
const TURN: Duration = Duration::from_millis(200);

/// All operators over all logs.
pub struct Streams {
    engine: Engine,
    operators: Vec<Arc<dyn Operator>>,
    grown: Arc<Grown>,
    led: Led,
    /// Operators that failed with a tenant's log, and until when they are not asked.
    wait: Mutex<HashMap<(Tenant, String), u64>>,
}

/// What a tenant's turn came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// There is more to do.
    Now,
    /// There will be then, in milliseconds since 1970.
    At(u64),
    /// When the log grows.
    Rests,
}

/// How a tenant's turn ended.
struct Turn {
    next: Next,
    /// Whether an operator has more of the log to take, or could not.
    left: bool,
}

/// Tenants whose turn comes, first come, first served.
#[derive(Default)]
struct Line {
    order: VecDeque<Tenant>,
    waiting: HashSet<Tenant>,
    busy: HashSet<Tenant>,
}

impl Line {
    fn add(&mut self, tenant: Tenant) {
        if self.waiting.insert(tenant.clone()) {
            self.order.push_back(tenant);
        }
    }

    /// The first that nobody is at.
    fn next(&mut self) -> Option<Tenant> {
        let place = self.order.iter().position(|tenant| !self.busy.contains(tenant))?;
        let tenant = self.order.remove(place)?;
        self.waiting.remove(&tenant);
        self.busy.insert(tenant.clone());
        Some(tenant)
    }
}

impl Streams {
    /// Operators over a log that tells `grown`.
    #[must_use]
    pub fn new(
        log: Arc<dyn Events>,
        store: Arc<dyn StreamStore>,
        operators: Vec<Arc<dyn Operator>>,
        grown: Arc<Grown>,
    ) -> Self {
        let led = Led::new(Arc::clone(&store));
        Self { engine: Engine::new(log, store), operators, grown, led, wait: Mutex::default() }
    }

    /// Operators over logs that go on in shards, of which `shards` knows. Whoever reads
    /// those has the [engine](Streams::engine) take them.
    #[must_use]
    pub fn with_shards(self, shards: Arc<dyn Shards>) -> Self {
        Self { engine: self.engine.with_shards(shards), ..self }
    }

    /// What makes steps.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The operators.
    #[must_use]
    pub fn operators(&self) -> &[Arc<dyn Operator>] {
        &self.operators
    }

    /// Looks whether windows of the tenant have come to their end.
    pub fn look_at(&self, tenant: &Tenant) {
        self.grown.add(tenant);
    }

    /// The state.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn StreamStore> {
        self.engine.store()
    }

    /// Marks all logs as grown: some have, while nobody followed.
    pub async fn mark_all(&self) {
        match self.store().tenants().await {
            Ok(tenants) => tenants.iter().for_each(|tenant| self.grown.add(tenant)),
            Err(error) => tracing::error!(%error, "logs that grew before are followed when they grow again"),
        }
    }

    /// Follows the logs until it is dropped. As many tenants at once as there are cores.
    /// Where other processes do so too, each tenant is followed by one of them at a time.
    pub async fn follow(self: Arc<Self>) {
        let look = async {
            loop {
                let abandoned = self.led.abandoned().await;
                abandoned.iter().for_each(|tenant| self.grown.add(tenant));
            }
        };
        tokio::select! {
            () = Arc::clone(&self).follow_all() => {}
            () = look => {}
        }
    }

    async fn follow_all(self: Arc<Self>) {
        self.grown.followed_by(self.operators.iter().map(|operator| operator.name().to_owned()).collect());
        let at_once = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let mut line = Line::default();
        let mut later: HashMap<Tenant, u64> = HashMap::new();
        let mut turns = JoinSet::new();
        let mut of_turns: HashMap<tokio::task::Id, Tenant> = HashMap::new();
        let mut tick = tokio::time::interval(if self.store().is_shared() { shared::TICK } else { TICK });
        loop {
            self.grown.take().into_iter().for_each(|tenant| line.add(tenant));
            while turns.len() < at_once
                && let Some(tenant) = line.next()
            {
                later.remove(&tenant);
                let (this, of) = (Arc::clone(&self), tenant.clone());
                let turn = turns.spawn(async move { this.turn(of).await });
                of_turns.insert(turn.id(), tenant);
            }
            tokio::select! {
                () = self.grown.grows() => {}
                _ = tick.tick() => {
                    let now = now_ms();
                    later.extract_if(|_, at_ms| *at_ms <= now).for_each(|(tenant, _)| line.add(tenant));
                }
                Some(done) = turns.join_next_with_id() => {
                    let (id, turn) = match done {
                        Ok((id, turn)) => (id, turn),
                        // It panicked, and said so.
                        Err(error) => (error.id(), Turn { next: Next::At(now_ms() + RETRY_MS), left: true }),
                    };
                    let Some(tenant) = of_turns.remove(&id) else { continue };
                    line.busy.remove(&tenant);
                    if !turn.left && !line.waiting.contains(&tenant) {
                        self.grown.taken(&tenant);
                    }
                    match turn.next {
                        Next::Now => line.add(tenant),
                        Next::At(at_ms) => drop(later.insert(tenant, at_ms)),
                        Next::Rests => {}
                    }
                }
            }
        }
    }

    /// Has all operators go on with a tenant's log, side by side, each for a while, if it
    /// is ours to follow.
    async fn turn(self: Arc<Self>, tenant: Tenant) -> Turn {
        if let Some((later, another)) = self.led.wait(&tenant).await {
            return Turn { next: later, left: !another };
        }
        let mut at_once = JoinSet::new();
        for operator in &self.operators {
            let (this, operator, tenant) = (Arc::clone(&self), Arc::clone(operator), tenant.clone());
            at_once.spawn(async move { this.go_on(operator.as_ref(), &tenant).await });
        }
        let (mut more, mut failed, mut at_ms, mut steps) = (false, false, None, 0);
        while let Some(went) = at_once.join_next().await {
            // One that panicked said so.
            let (made, went) = went.unwrap_or_else(|_| (0, Went::Wrong(now_ms() + RETRY_MS)));
            steps += made;
            match went {
                Went::On => more = true,
                Went::ToTheEnd(until) => at_ms = until.into_iter().chain(at_ms).min(),
                Went::Wrong(until) => {
                    failed = true;
                    at_ms = Some(until).into_iter().chain(at_ms).min();
                }
            }
        }
        let next = if more { Next::Now } else { at_ms.map_or(Next::Rests, Next::At) };
        let next = if failed { next } else { self.led.after(&tenant, steps, next).await };
        Turn { next, left: more || failed }
    }
}

/// What an operator's part of a turn came to.
enum Went {
    /// Its time is over, and there is more to do.
    On,
    /// There is nothing to do, before then.
    ToTheEnd(Option<u64>),
    /// It failed, and is not asked before then.
    Wrong(u64),
}

impl Streams {
    /// Has an operator make steps for a while; how many. One that failed waits, whatever
    /// comes meanwhile.
    async fn go_on(&self, operator: &dyn Operator, tenant: &Tenant) -> (usize, Went) {
        let place = (tenant.clone(), operator.name().to_owned());
        let waits_until = lock(&self.wait).get(&place).copied();
        if let Some(until) = waits_until.filter(|until| *until > now_ms()) {
            return (0, Went::Wrong(until));
        }
        let begin = Instant::now();
        let mut steps = 0;
        loop {
            match self.engine.step(tenant, operator, now_ms()).await {
                Ok(Outcome::Advanced) => {
                    steps += 1;
                    if begin.elapsed() > TURN {
                        return (steps, Went::On);
                    }
                }
                Ok(Outcome::Rests(until)) => {
                    lock(&self.wait).remove(&place);
                    return (steps, Went::ToTheEnd(until));
                }
                Err(error) => {
                    tracing::warn!(tenant = tenant.as_str(), %error, "an operator waits");
                    let until = now_ms() + RETRY_MS;
                    lock(&self.wait).insert(place, until);
                    return (steps, Went::Wrong(until));
                }
            }
        }
    }
}

pub(crate) fn now_ms() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_take_turns_and_one_at_a_time() {
        let tenant = |name: &str| Tenant::new(name).unwrap();
        let mut line = Line::default();
        for name in ["a", "b", "a"] {
            line.add(tenant(name));
        }
        assert_eq!(line.next(), Some(tenant("a")));
        // It has more to do already: behind the others, and when its turn is over.
        line.add(tenant("a"));
        assert_eq!((line.next(), line.next()), (Some(tenant("b")), None));
        line.add(tenant("c"));
        line.busy.remove(&tenant("a"));
        assert_eq!((line.next(), line.next()), (Some(tenant("a")), Some(tenant("c"))));
    }
}
