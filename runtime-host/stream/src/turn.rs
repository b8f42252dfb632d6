//! A step that is being made: what events add to panes, and what windows say.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use funnelweb_core::limits;
use funnelweb_factor_events::store::{Event, Events, StoredEvent};

use crate::{
    engine::{IDLE_MS, SOON_MS, StepError},
    evaluate::{Group, alive, check_accumulator, check_count, evaluate},
    operator::{self, Aggregated, Batch, Failure, Field, Message, Operator, Output, show},
    own,
    shards::{Shard, Shards},
    store::{DeadLetter, Due, Error, Pane, Panes, Place, Progress, Series, Step, StreamStore},
    window::Windows,
};

/// How far a log is behind the clock.
pub(crate) struct Behind {
    /// Windows fire that have ended by then.
    pub(crate) watermark_ms: u64,
    /// Nothing from before then is waited for.
    pub(crate) rest_ms: u64,
    /// When to look again, since something of it is still on its way.
    pub(crate) again_ms: Option<u64>,
}

/// A step that is being made.
pub(crate) struct Turn<'a> {
    pub(crate) store: &'a dyn StreamStore,
    pub(crate) place: Place,
    pub(crate) operator: &'a dyn Operator,
    pub(crate) windows: Windows,
    pub(crate) before: Progress,
    /// How far windows are: the main place.
    pub(crate) fired: Progress,
    /// Windows up to then may fire while the step is made.
    pub(crate) may_fire_ms: u64,
}

/// What windows said.
#[derive(Default)]
struct Said {
    messages: Vec<Message>,
    dead: Vec<DeadLetter>,
}

impl Turn<'_> {
    fn name(&self) -> &str {
        self.operator.name()
    }

    fn broken(&self, failure: Failure) -> StepError {
        StepError::Operator { operator: self.name().to_owned(), failure }
    }

    /// By the events so far.
    pub(crate) fn watermark(&self) -> u64 {
        self.before.watermark()
    }

    /// Has windows of shards fire, or says when it can.
    pub(crate) async fn fire_all(
        &self,
        shards: &dyn Shards,
        log: &dyn Events,
        now_ms: u64,
    ) -> Result<Result<Step, Option<u64>>, StepError> {
        // No event is from after the clock, so that no shard need be asked.
        if let Some(end) = self.next_end().await?.filter(|end| *end > now_ms) {
            return Ok(Err(Some(end)));
        }
        self.rest(self.behind(shards, log, now_ms).await?).await
    }

    /// How far the shards are behind.
    async fn behind(&self, shards: &dyn Shards, log: &dyn Events, now_ms: u64) -> Result<Behind, Error> {
        let tenant = &self.place.tenant;
        // What waits to be in a shard is in none yet: then the clock says nothing.
        let mut waits = log.is_unpublished(tenant, limits::STREAM_OUT_OF_ORDER).await?;
        let rest_ms = if waits { 0 } else { now_ms.saturating_sub(IDLE_MS) };
        // Of a log without shards nothing is waited for.
        let mut watermark_ms = u64::MAX;
        // Before: what is appended meanwhile is newer.
        let ends = shards.ends(tenant).await?;
        let taken = self.store.shards(&self.place).await?;
        if ends.len() < taken.len() {
            let rule = format!("{} shards of tenant {tenant}'s log are known, {} were", ends.len(), taken.len());
            return Err(Error::Unavailable(rule));
        }
        for Shard { shard, end } in ends {
            let progress = taken.get(&shard).cloned().unwrap_or_default();
            let is_behind = progress.next < end;
            waits |= is_behind;
            let own_ms = progress.watermark();
            watermark_ms = watermark_ms.min(if is_behind { own_ms } else { own_ms.max(rest_ms) });
        }
        let watermark_ms = if watermark_ms == u64::MAX { rest_ms } else { watermark_ms };
        let again_ms = waits.then_some(now_ms + SOON_MS);
        Ok(Behind { watermark_ms, rest_ms: rest_ms.min(watermark_ms), again_ms })
    }

    /// Adds events of the log.
    pub(crate) async fn take(&self, stored: &[StoredEvent], now_ms: u64) -> Result<Step, StepError> {
        let watermark_ms = self.watermark().max(self.fired.fired_ms);
        // Late ones apart: their panes are gone.
        let mut panes: BTreeMap<(Pane, bool), (Vec<operator::Event>, Vec<u64>)> = BTreeMap::new();
        let mut newest_ms = self.before.newest_ms;
        let mut late = 0.0;
        for one in stored {
            let event = operator::event(one);
            let from_ms = self.windows.pane(event.timestamp_ms).from_ms;
            let is_late = self.windows.is_over(from_ms, watermark_ms);
            let misses_one = self.windows.ends(from_ms).any(|end| self.windows.has_closed(end, watermark_ms));
            late += f64::from(u8::from(misses_one));
            // Nobody's clock makes others' events late.
            newest_ms = newest_ms.max(event.timestamp_ms.min(now_ms));
            let key = operator::key(&self.operator.declaration().key, &event);
            let (events, offsets) = panes.entry((Pane { key, from_ms }, is_late)).or_default();
            events.push(event);
            offsets.push(one.offset);
        }
        let kept: Vec<Pane> = panes.keys().filter(|(_, late)| !late).map(|(pane, _)| pane.clone()).collect();
        let known = self.store.accumulators(&self.place, kept.clone()).await?;
        let mut known: HashMap<Pane, Vec<u8>> =
            kept.into_iter().zip(known).filter_map(|(pane, accumulator)| Some((pane, accumulator?))).collect();
        let mut groups = Vec::with_capacity(panes.len());
        let mut places = Vec::with_capacity(panes.len());
        for ((pane, is_late), (events, offsets)) in panes {
            let before = if is_late { None } else { known.remove(&pane) };
            let batch = Batch { key: pane.key.clone(), pane: self.windows.pane(pane.from_ms), events };
            groups.push(Group { pane: places.len(), batch, before, offsets });
            places.push((pane, is_late));
        }
        let done = evaluate(self.operator, groups).await.map_err(|failure| self.broken(failure))?;
        let mut put = Vec::new();
        for (place, accumulator) in done.accumulators {
            if let Some((pane, false)) = places.get(place) {
                put.push((pane.clone(), accumulator));
            }
        }
        put.sort_by(|one, other| one.0.cmp(&other.0));
        let mut due = BTreeSet::new();
        for (pane, _) in &put {
            let open = self.windows.ends(pane.from_ms).filter(|end| !self.windows.has_closed(*end, watermark_ms));
            let fired = open.filter(|end| *end <= self.may_fire_ms || self.has_fired(*end, &pane.key));
            due.extend(fired.map(|end| (pane.key.clone(), end)));
        }
        let dead = done.dead.into_iter().map(|(offset, reason)| dead_event(stored, offset, reason));
        let panes = done.unreadable.iter().map(|(key, span, failure)| self.dead_window(key, *span, failure));
        let dead: Vec<DeadLetter> = dead.chain(panes).collect();
        let mut counts: Vec<(Series, f64)> = done.counts.into_iter().collect();
        counts.extend((late > 0.0).then(|| (self.own("late_events"), late)));
        counts.extend(self.count_dead(&dead));
        let next = stored.last().map_or(self.before.next, |last| last.offset.saturating_add(1));
        let progress = Progress { next, newest_ms, ..self.before.clone() };
        let (due, changes) = (due.into_iter().collect(), done.changes);
        Ok(Step { progress, put, counts, changes, due, dead, ..Step::default() })
    }

    pub(crate) fn count_dead(&self, dead: &[DeadLetter]) -> Option<(Series, f64)> {
        (!dead.is_empty()).then(|| (self.own("dead_letters"), dead.len() as f64))
    }

    /// Has those windows speak again that did and got an event since.
    pub(crate) async fn again(&self) -> Result<Option<Step>, StepError> {
        let due = self.store.due(&self.place, self.windows.size_ms, self.before.fired_ms).await?;
        if due.is_empty() {
            return Ok(None);
        }
        // Of one that has closed, panes may be gone: what came to it was late after all.
        let is_open = |due: &Due| !self.windows.has_closed(due.window.1, self.before.fired_ms);
        let open = due.iter().filter(|(due, _)| is_open(due)).map(|(due, panes)| (due.window.1, panes.clone()));
        let (ends, panes): (Vec<u64>, Vec<Panes>) = open.unzip();
        let spoke = due.into_iter().map(|(due, _)| due).collect();
        let Said { messages, dead } = self.say(panes, &ends).await?;
        let counts = self.count_dead(&dead).into_iter().collect();
        Ok(Some(Step { progress: self.before.clone(), spoke, counts, messages, dead, ..Step::default() }))
    }

    fn has_fired(&self, end_ms: u64, key: &[String]) -> bool {
        let is_firing = |(end, last): &(u64, Vec<String>)| end_ms < *end || end_ms == *end && key <= last.as_slice();
        end_ms <= self.fired.fired_ms || self.fired.firing.as_ref().is_some_and(is_firing)
    }

    /// The end of the next windows that have something to say.
    async fn next_end(&self) -> Result<Option<u64>, Error> {
        if let Some((end, _)) = &self.before.firing {
            return Ok(Some(*end));
        }
        let fired_ms = self.before.fired_ms;
        let first = self.store.first_pane(&self.place, self.windows.unfired_from(fired_ms)).await?;
        Ok(first.map(|first| self.windows.next_end(fired_ms, first)))
    }

    /// Has windows fire whose end has passed; none when no end has.
    pub(crate) async fn fire(&self, watermark_ms: u64) -> Result<Option<Step>, StepError> {
        let Some(end) = self.next_end().await?.filter(|end| *end <= watermark_ms) else { return Ok(None) };
        let after = self.before.firing.as_ref().map(|(_, key)| key.clone());
        // Before their panes, so that those have what is marked.
        let mut spoke = self.store.marks(&self.place, end, after.clone()).await?;
        let (panes, more) = self.store.panes(&self.place, self.windows.panes(end), after).await?;
        let last = panes.last().filter(|_| more).map(|(key, _)| (end, key.clone()));
        spoke.retain(|due| last.as_ref().is_none_or(|(_, key)| due.window.0 <= *key));
        let ends = vec![end; panes.len()];
        let Said { messages, dead } = self.say(panes, &ends).await?;
        let fired_ms = if last.is_some() { self.before.fired_ms } else { end };
        Ok(Some(Step {
            progress: Progress { fired_ms, firing: last, ..self.before.clone() },
            drop_before_ms: self.windows.over_before(fired_ms),
            spoke,
            counts: self.count_dead(&dead).into_iter().collect(),
            messages,
            dead,
            ..Step::default()
        }))
    }

    /// What there is to do beside taking events: windows whose end has passed, and panes
    /// that the clock has made late; or else when there will be something.
    pub(crate) async fn rest(&self, behind: Behind) -> Result<Result<Step, Option<u64>>, StepError> {
        let Behind { watermark_ms, rest_ms, again_ms } = behind;
        if let Some(step) = self.fire(watermark_ms).await? {
            return Ok(Ok(step));
        }
        // What is waited for may come long before, or long after.
        let at = |ms: u64| Ok(Err(Some(again_ms.unwrap_or(ms))));
        if let Some(end) = self.next_end().await? {
            return at(end.saturating_add(IDLE_MS));
        }
        // All windows have spoken; their panes wait for what comes late.
        let Some(first) = self.store.first_pane(&self.place, 0).await? else { return Ok(Err(None)) };
        let fired_ms = self.windows.floor(rest_ms);
        if self.windows.is_over(first, fired_ms) {
            let progress = Progress { fired_ms: fired_ms.max(self.before.fired_ms), ..self.before.clone() };
            return Ok(Ok(Step { progress, drop_before_ms: self.windows.over_before(fired_ms), ..Step::default() }));
        }
        let over_ms = first.saturating_add(self.windows.size_ms).saturating_add(self.windows.lateness_ms);
        at(over_ms.saturating_add(IDLE_MS).saturating_add(self.windows.slide_ms))
    }

    /// What windows say. Those that cannot be summed up are passed over, one by one.
    ///
    /// # Errors
    /// When the operator cannot sum up anything, or could not be asked.
    async fn say(&self, panes: Vec<Panes>, ends: &[u64]) -> Result<Said, StepError> {
        let spans = ends.iter().map(|end| self.windows.window(*end));
        let windows: Vec<_> = panes.into_iter().zip(spans).filter(|((_, panes), _)| !panes.is_empty()).collect();
        let mut said = Said::default();
        match self.summed(&windows).await {
            Ok(messages) => said.messages = messages,
            Err(failure) => {
                alive(self.operator, &failure).await.map_err(|failure| self.broken(failure))?;
                let mut failures = 0;
                for window in &windows {
                    if failures > self.operator.failures() {
                        said.dead.push(self.dead_window(&window.0.0, window.1, &failure));
                        continue;
                    }
                    let mut summed = self.summed(std::slice::from_ref(window)).await;
                    if let Err(Failure::Late(_)) = summed {
                        summed = self.summed(std::slice::from_ref(window)).await;
                    }
                    match summed {
                        Ok(messages) => said.messages.extend(messages),
                        Err(failure @ Failure::Host(_)) => return Err(self.broken(failure)),
                        Err(failure) => {
                            failures += 1;
                            said.dead.push(self.dead_window(&window.0.0, window.1, &failure));
                        }
                    }
                }
            }
        }
        Ok(said)
    }

    fn dead_window(&self, key: &[String], span: operator::Span, failure: &Failure) -> DeadLetter {
        let fields = &self.operator.declaration().key;
        let part = |wanted: fn(&Field) -> bool| {
            let place = fields.iter().position(wanted);
            place.and_then(|place| key.get(place)).cloned().unwrap_or_default()
        };
        DeadLetter {
            offset: 0,
            scenario_id: part(|field| matches!(field, Field::Scenario)),
            user_id: part(|field| matches!(field, Field::User)),
            reason: failure.to_string(),
            about: format!("{}, {}", key.join(" "), show(span)),
        }
    }

    async fn summed(&self, windows: &[(Panes, operator::Span)]) -> Result<Vec<Message>, Failure> {
        let mut all = Vec::with_capacity(windows.len());
        let several: Vec<Vec<Vec<u8>>> = windows
            .iter()
            .filter(|((_, panes), _)| panes.len() > 1)
            .map(|((_, panes), _)| panes.iter().map(|(_, accumulator)| accumulator.clone()).collect())
            .collect();
        let merged = if several.is_empty() { Vec::new() } else { self.operator.merge(&several).await? };
        check_count("merge", merged.len(), several.len())?;
        let mut merged = merged.into_iter();
        for ((key, panes), span) in windows {
            let accumulator = match panes.as_slice() {
                [(_, only)] => Some(only.clone()),
                _ => merged.next(),
            };
            let accumulator = accumulator.unwrap_or_default();
            check_accumulator(&accumulator)?;
            all.push(Aggregated { key: key.clone(), span: *span, accumulator });
        }
        if all.is_empty() {
            return Ok(Vec::new());
        }
        let outputs = self.operator.summary(&all).await?;
        check_count("summary", outputs.len(), all.len())?;
        let messages = outputs.into_iter().map(messages).collect::<Result<Vec<_>, _>>()?;
        Ok(messages.into_iter().flatten().collect())
    }

    /// A counter of the engine's own.
    fn own(&self, what: &str) -> Series {
        let (name, operator) = match own::component(self.name()) {
            Some(component) => (format!("{}stream_{what}_total", own::METRICS), component),
            None => (format!("stream_{what}_total"), self.name()),
        };
        Series { name, labels: vec![("operator".to_owned(), operator.to_owned())] }
    }
}

/// What a window says, checked.
pub(crate) fn messages(outputs: Vec<Output>) -> Result<Vec<Message>, Failure> {
    if outputs.len() > limits::STREAM_OUTPUTS {
        let rule = format!("summary: at most {} a window, got {}", limits::STREAM_OUTPUTS, outputs.len());
        return Err(Failure::guest(rule));
    }
    let checked = |Output::Publish(message)| check_message(&message).map(|()| message);
    outputs.into_iter().map(checked).collect()
}

fn check_message(message: &Message) -> Result<(), Failure> {
    let (bytes, most) = (message.key.len() + message.body.len(), limits::STREAM_MESSAGE_BYTES);
    if bytes > most {
        return Err(Failure::guest(format!("a message may have {most} bytes, got {bytes}")));
    }
    let object = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&message.body);
    object.map(drop).map_err(|error| Failure::guest(format!("a message's body must be a JSON object: {error}")))
}

fn dead_event(stored: &[StoredEvent], offset: u64, reason: String) -> DeadLetter {
    let event = stored.iter().find(|one| one.offset == offset).map(|one| &one.event);
    let text = |of: fn(&Event) -> &String| event.map(of).cloned().unwrap_or_default();
    DeadLetter {
        offset,
        scenario_id: text(|event| &event.scenario_id),
        user_id: text(|event| &event.user_id),
        reason,
        about: text(|event| &event.event_id),
    }
}
