//! Asking an operator, and finding out which events it cannot take.

use std::collections::{BTreeMap, HashMap};

use funnelweb_core::limits;
use funnelweb_factor_events::store::Change;

use crate::{
    operator::{Aggregated, Batch, Failure, Operator, Span},
    store::Series,
    sums::{Added, Sums},
};

/// Events of a pane as an operator takes them, with what is not told to it.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    /// Which pane it is within the step.
    pub(crate) pane: usize,
    pub(crate) batch: Batch,
    /// Of what the pane had before.
    pub(crate) before: Option<Vec<u8>>,
    /// Of each of its events.
    pub(crate) offsets: Vec<u64>,
}

/// What became of groups.
#[derive(Debug, Default)]
pub(crate) struct Evaluated {
    /// By pane: its accumulator.
    pub(crate) accumulators: HashMap<usize, Vec<u8>>,
    pub(crate) counts: BTreeMap<Series, f64>,
    pub(crate) changes: Vec<Change>,
    /// Offsets of events that were passed over, and why.
    pub(crate) dead: Vec<(u64, String)>,
    /// Panes that were begun anew, and why.
    pub(crate) unreadable: Vec<(Vec<String>, Span, Failure)>,
}

impl Evaluated {
    fn take(&mut self, pane: usize, (accumulator, added): (Vec<u8>, Added)) {
        self.accumulators.insert(pane, accumulator);
        for (series, amount) in added.counts {
            *self.counts.entry(series).or_default() += amount;
        }
        self.changes.extend(added.changes);
    }

    /// Heat in the order of time, and a scenario's under one half-life, the newest: a list
    /// has but one, and to change it costs every member.
    fn heat_in_order(&mut self) {
        let at = |change: &Change| if let Change::Heat { at_ms, .. } = change { *at_ms } else { 0 };
        self.changes.sort_by_key(at);
        let mut newest: HashMap<String, u32> = HashMap::new();
        for change in self.changes.iter_mut().rev() {
            if let Change::Heat { scenario_id, half_life_s, .. } = change {
                *half_life_s = *newest.entry(scenario_id.clone()).or_insert(*half_life_s);
            }
        }
    }
}

/// Adds events to their panes. An operator that fails is asked again with fewer events
/// at a time, until those are found that it fails with. After
/// [`Operator::failures`], those that are left are passed over together.
///
/// # Errors
/// When it fails without events, or could not be asked: then nothing is the events'
/// fault.
pub(crate) async fn evaluate(operator: &dyn Operator, groups: Vec<Group>) -> Result<Evaluated, Failure> {
    let mut done = Evaluated::default();
    let mut waiting = vec![groups];
    let mut failures = 0;
    while let Some(mut groups) = waiting.pop() {
        for group in &mut groups {
            if let Some(accumulator) = done.accumulators.get(&group.pane) {
                group.before = Some(accumulator.clone());
            }
        }
        match add(operator, &groups).await {
            Ok(added) => {
                groups.iter().zip(added).for_each(|(group, added)| done.take(group.pane, added));
            }
            Err(failure) => {
                alive(operator, &failure).await?;
                failures += 1;
                if failures > operator.failures() {
                    let offsets = groups.into_iter().flat_map(|group| group.offsets);
                    done.dead.extend(offsets.map(|offset| (offset, failure.to_string())));
                    continue;
                }
                match halves(groups) {
                    Ok((first, second)) => waiting.extend([second, first]),
                    Err(Some(mut group)) => {
                        match once_more(operator, &group, failure.clone()).await {
                            Ok(added) => {
                                added.into_iter().for_each(|added| done.take(group.pane, added));
                            }
                            Err(failure @ Failure::Host(_)) => return Err(failure),
                            Err(_) if is_unreadable(operator, &mut group).await? => {
                                // What it kept before it cannot read: the pane begins anew, and
                                // the counters have what it said.
                                done.unreadable.push((group.batch.key.clone(), group.batch.pane, failure));
                                done.accumulators.remove(&group.pane);
                                waiting.push(vec![group]);
                            }
                            Err(failure) => {
                                done.dead.extend(group.offsets.iter().map(|offset| (*offset, failure.to_string())));
                            }
                        }
                    }
                    Err(None) => {}
                }
            }
        }
    }
    done.heat_in_order();
    Ok(done)
}

/// Whether an operator answers at all, after it failed.
///
/// # Errors
/// When it does not, or was not to blame.
pub(crate) async fn alive(operator: &dyn Operator, failure: &Failure) -> Result<(), Failure> {
    if matches!(failure, Failure::Host(_)) {
        return Err(failure.clone());
    }
    operator.aggregate(&[]).await?;
    operator.changes(&[]).await?;
    operator.merge(&[]).await?;
    operator.summary(&[]).await?;
    Ok(())
}

/// Asks again when there was no answer in time: it may have been bad luck.
async fn once_more(operator: &dyn Operator, group: &Group, failure: Failure) -> Result<Vec<(Vec<u8>, Added)>, Failure> {
    match failure {
        Failure::Late(_) => add(operator, std::slice::from_ref(group)).await,
        failure => Err(failure),
    }
}

/// Whether it is what the pane had before that the operator fails with; then the group
/// has nothing before any more.
async fn is_unreadable(operator: &dyn Operator, group: &mut Group) -> Result<bool, Failure> {
    let Some(before) = group.before.take() else { return Ok(false) };
    match operator.merge(&[vec![before.clone(), before.clone()]]).await {
        Err(Failure::Guest(_)) => Ok(true),
        Err(failure @ Failure::Host(_)) => Err(failure),
        Ok(_) | Err(Failure::Late(_)) => {
            group.before = Some(before);
            Ok(false)
        }
    }
}

/// The new accumulator of each group, and what is added by its events.
async fn add(operator: &dyn Operator, groups: &[Group]) -> Result<Vec<(Vec<u8>, Added)>, Failure> {
    let batches: Vec<Batch> = groups.iter().map(|group| group.batch.clone()).collect();
    let accumulators = operator.aggregate(&batches).await?;
    check_count("aggregate", accumulators.len(), batches.len())?;
    accumulators.iter().try_for_each(|accumulator| check_accumulator(accumulator))?;
    let new = |(batch, accumulator): (Batch, &Vec<u8>)| Aggregated {
        key: batch.key,
        span: batch.pane,
        accumulator: accumulator.clone(),
    };
    let new: Vec<Aggregated> = batches.into_iter().zip(&accumulators).map(new).collect();
    let changes = operator.changes(&new).await?;
    check_count("changes", changes.len(), new.len())?;
    let added = changes.into_iter().zip(&new).map(|(changes, new)| Sums::new(changes)?.added(new.span));
    let added = added.collect::<Result<Vec<_>, Failure>>()?;
    let accumulators = merge(operator, groups, accumulators).await?;
    Ok(accumulators.into_iter().zip(added).collect())
}

/// What panes have with these.
async fn merge(operator: &dyn Operator, groups: &[Group], mut new: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, Failure> {
    let parts = groups.iter().zip(&new).filter_map(|(group, new)| Some(vec![group.before.clone()?, new.clone()]));
    let parts: Vec<Vec<Vec<u8>>> = parts.collect();
    if parts.is_empty() {
        return Ok(new);
    }
    let merged = operator.merge(&parts).await?;
    check_count("merge", merged.len(), parts.len())?;
    merged.iter().try_for_each(|accumulator| check_accumulator(accumulator))?;
    let grown = groups.iter().zip(&mut new).filter(|(group, _)| group.before.is_some());
    grown.zip(merged).for_each(|((_, new), merged)| *new = merged);
    Ok(new)
}

/// Halves of groups, or of the events of one; one of a single event as it is.
fn halves(mut groups: Vec<Group>) -> Result<(Vec<Group>, Vec<Group>), Option<Group>> {
    if groups.len() > 1 {
        let second = groups.split_off(groups.len() / 2);
        return Ok((groups, second));
    }
    let Some(mut group) = groups.pop() else { return Err(None) };
    let middle = group.offsets.len() / 2;
    if middle == 0 {
        return Err(Some(group));
    }
    let offsets = group.offsets.split_off(middle);
    let events = group.batch.events.split_off(middle);
    // It comes after what the first half makes.
    let (batch, before) = (Batch { events, ..group.batch.clone() }, group.before.clone());
    let second = Group { pane: group.pane, batch, before, offsets };
    Ok((vec![group], vec![second]))
}

pub(crate) fn check_accumulator(accumulator: &[u8]) -> Result<(), Failure> {
    let (bytes, most) = (accumulator.len(), limits::STREAM_ACCUMULATOR_BYTES);
    if bytes <= most {
        return Ok(());
    }
    Err(Failure::guest(format!("an accumulator may have {most} bytes, got {bytes}")))
}

pub(crate) fn check_count(call: &str, got: usize, expected: usize) -> Result<(), Failure> {
    if got == expected {
        return Ok(());
    }
    Err(Failure::guest(format!("{call} must answer for each of {expected}, got {got}")))
}
