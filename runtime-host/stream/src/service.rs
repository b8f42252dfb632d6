//! Following the logs: a tenant's operators run when its log has grown, and when windows
//! come to their end. Tenants take turns, and operators within a tenant's.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use funnelweb_factor_events::store::{AppendOutcome, Effect, Event, Events, HistoryQuery, Position, StoredEvent};
use funnelweb_tenant_store::lock;
use tokio::{sync::Notify, task::JoinSet};

use crate::{
    engine::{Engine, Outcome},
    operator::Operator,
    shards::{Shard, Shards},
    shared::{self, Led},
    store::{Error, MAIN, Place, Progress, StreamStore, Tenant},
};

/// How often it is looked which windows come to their end.
const TICK: Duration = Duration::from_secs(1);
/// Time after which an operator that failed is tried again.
const RETRY_MS: u64 = 5_000;
/// How long it is waited for an operator that does not move.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks at how far they are.
const PAUSE: Duration = Duration::from_millis(10);
/// Time that an operator has in a tenant's turn, before others have theirs.
const TURN: Duration = Duration::from_millis(200);

/// Tenants whose log has grown, and who follows.
#[derive(Default)]
pub struct Grown {
    behind: Mutex<Behind>,
    some: Notify,
    /// The names of the operators that follow; none before it is known who does.
    followers: Mutex<Option<Vec<String>>>,
}

/// Tenants of whose log something may not be taken.
#[derive(Default)]
struct Behind {
    /// Those that nobody has begun with.
    new: HashSet<Tenant>,
    /// Since when.
    since: HashMap<Tenant, Instant>,
}

impl Grown {
    fn add(&self, tenant: &Tenant) {
        let mut behind = lock(&self.behind);
        behind.since.entry(tenant.clone()).or_insert_with(Instant::now);
        if behind.new.insert(tenant.clone()) {
            self.some.notify_one();
        }
    }

    fn take(&self) -> HashSet<Tenant> {
        std::mem::take(&mut lock(&self.behind).new)
    }

    /// Everything that the log had was taken.
    fn taken(&self, tenant: &Tenant) {
        let mut behind = lock(&self.behind);
        if !behind.new.contains(tenant) {
            behind.since.remove(tenant);
        }
    }

    /// Tenants whose operators have not taken everything, and for how long that is so.
    #[must_use]
    pub fn behind(&self) -> BTreeMap<Tenant, Duration> {
        lock(&self.behind).since.iter().map(|(tenant, since)| (tenant.clone(), since.elapsed())).collect()
    }
}

/// A log that is followed: it says when it has grown.
pub struct Watched {
    log: Arc<dyn Events>,
    state: Arc<dyn StreamStore>,
    grown: Arc<Grown>,
    shards: Option<Arc<dyn Shards>>,
}

impl Watched {
    /// `grown` is told of each tenant; `state` is that of those who follow.
    #[must_use]
    pub fn new(log: Arc<dyn Events>, state: Arc<dyn StreamStore>, grown: Arc<Grown>) -> Self {
        Self { log, state, grown, shards: None }
    }

    /// A log that goes on in shards, of which `shards` knows.
    #[must_use]
    pub fn with_shards(self, shards: Arc<dyn Shards>) -> Self {
        Self { shards: Some(shards), ..self }
    }

    /// An operator that has not taken the log up to `end`, or a shard up to its, and how
    /// far it is; none when all have.
    async fn behind(&self, tenant: &Tenant, end: u64, ends: &[Shard]) -> Result<Option<(Place, Progress)>, Error> {
        let operators = lock(&self.grown.followers).clone().unwrap_or_default();
        let end = end.min(self.state.log_until(tenant).await?);
        for operator in operators {
            let main = Place::main(tenant, &operator);
            let progress = self.state.progress(&main).await?;
            let next = progress.next;
            // What is behind may have been deleted.
            let left = if next > end { Vec::new() } else { self.log.read(tenant, next, 1).await? };
            if left.first().is_some_and(|stored| stored.offset <= end) {
                return Ok(Some((main, progress)));
            }
            let taken = if ends.is_empty() { BTreeMap::new() } else { self.state.shards(&main).await? };
            for Shard { shard, end } in ends {
                let progress = taken.get(shard).cloned().unwrap_or_default();
                if progress.next < *end {
                    return Ok(Some((main.at(*shard), progress)));
                }
            }
        }
        Ok(None)
    }

    /// How far shards go, once everything that was accepted is in them.
    async fn ends(&self, tenant: &Tenant) -> Result<Vec<Shard>, Error> {
        let Some(shards) = &self.shards else { return Ok(Vec::new()) };
        let since = Instant::now();
        while self.log.is_unpublished(tenant, Duration::ZERO).await? {
            if since.elapsed() > PATIENCE {
                let rule = format!("behaviours of tenant {tenant} wait to be published");
                return Err(Error::Unavailable(rule));
            }
            tokio::time::sleep(PAUSE).await;
        }
        shards.ends(tenant).await
    }
}

#[async_trait]
impl Events for Watched {
    async fn append(
        &self,
        tenant: &Tenant,
        events: Vec<Event>,
        effects: Vec<Vec<Effect>>,
    ) -> Result<Vec<AppendOutcome>, Error> {
        let (log, grown, of) = (Arc::clone(&self.log), Arc::clone(&self.grown), tenant.clone());
        // To its end even when nobody waits for it any more: what is written is followed.
        let append = tokio::spawn(async move {
            let outcomes = log.append(&of, events, effects).await;
            // One that failed may have been written.
            if !matches!(&outcomes, Ok(outcomes) if !outcomes.contains(&AppendOutcome::Accepted)) {
                grown.add(&of);
            }
            outcomes
        });
        append.await.map_err(|error| Error::Unavailable(format!("appending was abandoned: {error}")))?
    }

    async fn history(&self, tenant: &Tenant, query: HistoryQuery) -> Result<Vec<StoredEvent>, Error> {
        self.log.history(tenant, query).await
    }

    async fn read(&self, tenant: &Tenant, offset: u64, limit: u32) -> Result<Vec<StoredEvent>, Error> {
        self.log.read(tenant, offset, limit).await
    }

    async fn is_on_its_way(&self, tenant: &Tenant, until: u64) -> Result<bool, Error> {
        self.log.is_on_its_way(tenant, until).await
    }

    async fn is_unpublished(&self, tenant: &Tenant, since: Duration) -> Result<bool, Error> {
        self.log.is_unpublished(tenant, since).await
    }

    /// What an operator has not taken is kept, and everything before it is known who follows.
    async fn expire(&self, tenant: &Tenant, before_ms: u64, below: u64) -> Result<u64, Error> {
        let Some(operators) = lock(&self.grown.followers).clone() else { return Ok(0) };
        let mut below = below;
        for operator in operators {
            below = below.min(self.state.progress(&Place::main(tenant, &operator)).await?.next);
        }
        self.log.expire(tenant, before_ms, below).await
    }

    async fn settle(&self, tenant: &Tenant) -> Result<(), Error> {
        let end = self.log.last_offset(tenant).await?;
        let ends = self.ends(tenant).await?;
        let (mut since, mut last) = (Instant::now(), None);
        while let Some(behind) = self.behind(tenant, end, &ends).await? {
            if last.as_ref() != Some(&behind) {
                (since, last) = (Instant::now(), Some(behind));
            } else if since.elapsed() > PATIENCE {
                let (Place { operator, shard, .. }, Progress { next, .. }) = behind;
                let end = ends.iter().find(|other| other.shard == shard).map_or(end, |other| other.end);
                let of = if shard == MAIN { String::new() } else { format!(", shard {shard}") };
                let rule =
                    format!("operator `{operator}` is at {next} of tenant {tenant}'s log{of}, which ends at {end}");
                return Err(Error::Unavailable(rule));
            }
            tokio::time::sleep(PAUSE).await;
        }
        self.log.settle(tenant).await
    }

    async fn positions(&self, tenant: &Tenant) -> Result<Option<Vec<Position>>, Error> {
        let mut positions = self.state.positions(tenant).await?;
        if self.shards.is_some() {
            let (until, last) = (self.state.log_until(tenant).await?, self.log.last_offset(tenant).await?);
            // Shards have what comes after it, and were taken to their ends.
            for position in positions.iter_mut().filter(|position| position.next.max(1) > until) {
                position.next = last.saturating_add(1);
            }
        }
        Ok(Some(positions))
    }

    async fn restore_positions(&self, tenant: &Tenant, positions: Option<Vec<Position>>) -> Result<(), Error> {
        let to = match positions {
            Some(positions) => Ok(positions),
            // Everything that is there has changed what it changes.
            None => Err(self.log.last_offset(tenant).await?.saturating_add(1)),
        };
        self.state.set_positions(tenant, to).await
    }

    async fn restore(&self, tenant: &Tenant, events: Vec<StoredEvent>) -> Result<(), Error> {
        self.log.restore(tenant, events).await?;
        self.grown.add(tenant);
        Ok(())
    }

    async fn last_offset(&self, tenant: &Tenant) -> Result<u64, Error> {
        self.log.last_offset(tenant).await
    }

    async fn raise_last_offset(&self, tenant: &Tenant, offset: u64) -> Result<(), Error> {
        self.log.raise_last_offset(tenant, offset).await
    }
}

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
        *lock(&self.grown.followers) = Some(self.operators.iter().map(|operator| operator.name().to_owned()).collect());
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
                () = self.grown.some.notified() => {}
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
