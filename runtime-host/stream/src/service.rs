//! Following the logs: operators run when a tenant's log has grown, and when windows come
//! to their end. Tenants take turns, and operators within a tenant's. What tenants bring has
//! turns apart from the application's, and fewer of them at once.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use funnelweb_factor_events::store::Events;
use funnelweb_tenant_store::lock;
use tokio::task::JoinSet;

use crate::{
    engine::{Engine, Outcome, SOON_MS},
    operator::Operator,
    own::{self, Own, OwnOperators},
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
    own: Option<Arc<dyn OwnOperators>>,
    grown: Arc<Grown>,
    led: Led,
    /// Operators that failed with a tenant's log, and until when they are not asked.
    wait: Mutex<HashMap<(Tenant, String), u64>>,
}

/// Whose operators have a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Side {
    /// The application's.
    Application,
    /// The tenant's own.
    Own,
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
struct Line {
    /// How many may have theirs at once.
    places: usize,
    order: VecDeque<Tenant>,
    waiting: HashSet<Tenant>,
    busy: HashSet<Tenant>,
    /// Those that wait for a time, in milliseconds since 1970.
    later: HashMap<Tenant, u64>,
}

impl Line {
    fn new(places: usize) -> Self {
        Self { places, order: VecDeque::new(), waiting: HashSet::new(), busy: HashSet::new(), later: HashMap::new() }
    }

    fn add(&mut self, tenant: Tenant) {
        if self.waiting.insert(tenant.clone()) {
            self.order.push_back(tenant);
        }
    }

    /// Those whose time has come.
    fn wake(&mut self, now_ms: u64) {
        let woken: Vec<Tenant> = self.later.extract_if(|_, at_ms| *at_ms <= now_ms).map(|(tenant, _)| tenant).collect();
        woken.into_iter().for_each(|tenant| self.add(tenant));
    }

    /// The first that nobody is at, if there is a place.
    fn next(&mut self) -> Option<Tenant> {
        if self.busy.len() >= self.places {
            return None;
        }
        let place = self.order.iter().position(|tenant| !self.busy.contains(tenant))?;
        let tenant = self.order.remove(place)?;
        self.waiting.remove(&tenant);
        self.later.remove(&tenant);
        self.busy.insert(tenant.clone());
        Some(tenant)
    }

    /// Its turn is over.
    fn done(&mut self, tenant: Tenant, next: Next) {
        self.busy.remove(&tenant);
        match next {
            Next::Now => self.add(tenant),
            Next::At(at_ms) => drop(self.later.insert(tenant, at_ms)),
            Next::Rests => {}
        }
    }
}

/// The lines of both sides.
struct Lines {
    application: Line,
    own: Line,
}

impl Lines {
    fn of(&mut self, side: Side) -> &mut Line {
        match side {
            Side::Application => &mut self.application,
            Side::Own => &mut self.own,
        }
    }

    fn next(&mut self) -> Option<(Tenant, Side)> {
        let application = self.application.next().map(|tenant| (tenant, Side::Application));
        application.or_else(|| Some((self.own.next()?, Side::Own)))
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
        Self { engine: Engine::new(log, store), operators, own: None, grown, led, wait: Mutex::default() }
    }

    /// Has tenants' own operators follow their logs, too.
    #[must_use]
    pub fn with_own(self, own: Arc<dyn OwnOperators>) -> Self {
        Self { own: Some(own), ..self }
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

    /// Follows the logs until it is dropped. As many tenants at once as there are cores, and
    /// half as many with operators of their own. Where other processes do so too, each tenant
    /// is followed by one of them at a time.
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
        let mut lines = Lines { application: Line::new(at_once), own: Line::new(at_once.div_ceil(2)) };
        let mut turns = JoinSet::new();
        let mut of_turns: HashMap<tokio::task::Id, (Tenant, Side)> = HashMap::new();
        let mut tick = tokio::time::interval(if self.store().is_shared() { shared::TICK } else { TICK });
        loop {
            for tenant in self.grown.take() {
                if self.own.is_some() {
                    lines.own.add(tenant.clone());
                }
                lines.application.add(tenant);
            }
            while let Some((tenant, side)) = lines.next() {
                let (this, of) = (Arc::clone(&self), tenant.clone());
                let turn = turns.spawn(async move {
                    match side {
                        Side::Application => this.turn(of).await,
                        Side::Own => this.own_turn(&of).await,
                    }
                });
                of_turns.insert(turn.id(), (tenant, side));
            }
            tokio::select! {
                () = self.grown.grows() => {}
                _ = tick.tick() => {
                    let now_ms = now_ms();
                    lines.application.wake(now_ms);
                    lines.own.wake(now_ms);
                }
                Some(done) = turns.join_next_with_id() => {
                    let (id, turn) = match done {
                        Ok((id, turn)) => (id, Some(turn)),
                        Err(error) => (error.id(), None),
                    };
                    let Some((tenant, side)) = of_turns.remove(&id) else { continue };
                    let turn = turn.unwrap_or_else(|| {
                        // It panicked, and said so.
                        self.led.rest(&tenant, side);
                        Turn { next: Next::At(now_ms() + RETRY_MS), left: true }
                    });
                    let line = lines.of(side);
                    // On tenants' own nobody waits.
                    if side == Side::Application && !turn.left && !line.waiting.contains(&tenant) {
                        self.grown.taken(&tenant);
                    }
                    line.done(tenant.clone(), turn.next);
                    // Where others have logs grow, the application's are who looks.
                    if side == Side::Application && self.own.is_some() && self.store().is_shared() {
                        lines.own.add(tenant);
                    }
                }
            }
        }
    }

    /// Has all operators go on with a tenant's log, side by side, each for a while, if it
    /// is ours to follow.
    async fn turn(self: Arc<Self>, tenant: Tenant) -> Turn {
        if let Some((later, another)) = self.led.wait(&tenant, Side::Application).await {
            return Turn { next: later, left: !another };
        }
        let mut at_once = JoinSet::new();
        for operator in &self.operators {
            let (this, operator, tenant) = (Arc::clone(&self), Arc::clone(operator), tenant.clone());
            at_once.spawn(async move { this.go_on(&this.engine, operator.as_ref(), &tenant).await });
        }
        let mut all = All::default();
        while let Some(went) = at_once.join_next().await {
            // One that panicked said so.
            all.add(went.unwrap_or_else(|_| (0, Went::Wrong(now_ms() + RETRY_MS))));
        }
        let next = self.led.after(&tenant, Side::Application, all.steps, all.next(), all.failed).await;
        Turn { next, left: all.more || all.failed }
    }

    /// Has a tenant's own operators go on with its log, one after the other.
    async fn own_turn(&self, tenant: &Tenant) -> Turn {
        let Some(own) = &self.own else { return Turn { next: Next::Rests, left: false } };
        let Own { operators, waits } = match own.of(tenant).await {
            Ok(own) => own,
            Err(error) => {
                tracing::warn!(tenant = tenant.as_str(), %error, "it cannot be told which operators a tenant has");
                return Turn { next: Next::At(now_ms() + RETRY_MS), left: true };
            }
        };
        if operators.is_empty() && !waits {
            self.led.rest(tenant, Side::Own);
            return Turn { next: Next::Rests, left: false };
        }
        if let Some((later, _)) = self.led.wait(tenant, Side::Own).await {
            return Turn { next: later, left: true };
        }
        // Of shards they know nothing.
        let engine = self.engine.clone().whole();
        let mut all = All::default();
        for operator in operators {
            all.add(self.go_on(&engine, operator.as_ref(), tenant).await);
        }
        if waits {
            all.add((0, Went::ToTheEnd(Some(now_ms() + SOON_MS))));
        }
        // One that fails holds nobody's lease.
        let next = self.led.after(tenant, Side::Own, all.steps, all.next(), false).await;
        Turn { next, left: all.more || all.failed || waits }
    }
}

/// What the operators of a turn came to, together.
#[derive(Default)]
struct All {
    steps: usize,
    more: bool,
    failed: bool,
    at_ms: Option<u64>,
}

impl All {
    fn add(&mut self, (steps, went): (usize, Went)) {
        self.steps += steps;
        let at_ms = match went {
            Went::On => {
                self.more = true;
                None
            }
            Went::ToTheEnd(until) => until,
            Went::Wrong(until) => {
                self.failed = true;
                Some(until)
            }
        };
        self.at_ms = at_ms.into_iter().chain(self.at_ms).min();
    }

    fn next(&self) -> Next {
        if self.more { Next::Now } else { self.at_ms.map_or(Next::Rests, Next::At) }
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
    async fn go_on(&self, engine: &Engine, operator: &dyn Operator, tenant: &Tenant) -> (usize, Went) {
        let place = (tenant.clone(), operator.name().to_owned());
        let waits_until = lock(&self.wait).get(&place).copied();
        if let Some(until) = waits_until.filter(|until| *until > now_ms()) {
            return (0, Went::Wrong(until));
        }
        let begin = Instant::now();
        let mut steps = 0;
        loop {
            match engine.step(tenant, operator, now_ms()).await {
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
                    // What becomes of its own, the tenant is told where it asks for it.
                    if own::component(operator.name()).is_some() {
                        tracing::debug!(tenant = tenant.as_str(), %error, "a tenant's operator waits");
                    } else {
                        tracing::warn!(tenant = tenant.as_str(), %error, "an operator waits");
                    }
                    let until = now_ms() + RETRY_MS;
                    let mut wait = lock(&self.wait);
                    // Of those that are gone nothing is left.
                    wait.retain(|_, until| now_ms() < until.saturating_add(RETRY_MS));
                    wait.insert(place, until);
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
        let mut line = Line::new(2);
        for name in ["a", "b", "a"] {
            line.add(tenant(name));
        }
        assert_eq!(line.next(), Some(tenant("a")));
        // It has more to do already: behind the others, and when its turn is over.
        line.add(tenant("a"));
        assert_eq!((line.next(), line.next()), (Some(tenant("b")), None));
        line.add(tenant("c"));
        line.done(tenant("a"), Next::Rests);
        assert_eq!((line.next(), line.next()), (Some(tenant("a")), None), "there are two places");
        line.done(tenant("b"), Next::At(7));
        assert_eq!((line.next(), line.next()), (Some(tenant("c")), None));
        line.done(tenant("c"), Next::Rests);
        line.wake(6);
        assert_eq!(line.next(), None);
        line.wake(7);
        assert_eq!(line.next(), Some(tenant("b")));
    }
}
