//! Asking an operator, and finding out which events it cannot take.

use std::collections::{BTreeMap, HashMap};

use funnelweb_core::limits;

use crate::{
    operator::{Aggregated, Batch, Change, Failure, Metric, Operator},
    store::Series,
};

/// Events of a pane as an operator takes them, with what is not told to it.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    /// Which pane it is within the step.
    pub(crate) pane: usize,
    pub(crate) batch: Batch,
    /// Of each of its events.
    pub(crate) offsets: Vec<u64>,
}

/// What became of groups.
#[derive(Debug, Default)]
pub(crate) struct Evaluated {
    /// By pane: its accumulator.
    pub(crate) accumulators: HashMap<usize, Vec<u8>>,
    pub(crate) counts: BTreeMap<Series, f64>,
    /// Offsets of events that were passed over, and why.
    pub(crate) dead: Vec<(u64, String)>,
}

/// Adds events to their panes. An operator that fails is asked again with fewer events
/// at a time, until those are found that it fails with.
///
/// # Errors
/// When it fails without events: then nothing of it is the events' fault.
pub(crate) async fn evaluate(operator: &dyn Operator, groups: Vec<Group>) -> Result<Evaluated, Failure> {
    let mut done = Evaluated::default();
    let mut waiting = vec![groups];
    while let Some(mut groups) = waiting.pop() {
        for group in &mut groups {
            if let Some(accumulator) = done.accumulators.get(&group.pane) {
                group.batch.accumulator = Some(accumulator.clone());
            }
        }
        match add(operator, &groups).await {
            Ok(added) => {
                for (group, (accumulator, counts)) in groups.iter().zip(added) {
                    done.accumulators.insert(group.pane, accumulator);
                    counts.into_iter().for_each(|(series, amount)| *done.counts.entry(series).or_default() += amount);
                }
            }
            Err(failure) => match halves(groups) {
                Ok((first, second)) => waiting.extend([second, first]),
                Err(offset) => {
                    operator.add(&[]).await?;
                    done.dead.extend(offset.map(|offset| (offset, failure.0)));
                }
            },
        }
    }
    done.counts.retain(|_, amount| *amount != 0.0);
    Ok(done)
}

type Added = (Vec<u8>, BTreeMap<Series, f64>);

/// The new accumulator of each group, and what its counters get.
async fn add(operator: &dyn Operator, groups: &[Group]) -> Result<Vec<Added>, Failure> {
    let batches: Vec<Batch> = groups.iter().map(|group| group.batch.clone()).collect();
    let accumulators = operator.add(&batches).await?;
    check_count("add", accumulators.len(), batches.len())?;
    accumulators.iter().try_for_each(|accumulator| check_accumulator(accumulator))?;
    let pane = |batch: &Batch, accumulator: &Vec<u8>| Aggregated {
        key: batch.key.clone(),
        span: batch.pane,
        accumulator: accumulator.clone(),
    };
    let mut panes: Vec<Aggregated> =
        batches.iter().zip(&accumulators).map(|(batch, accumulator)| pane(batch, accumulator)).collect();
    let before = batches.iter().filter_map(|batch| Some(pane(batch, batch.accumulator.as_ref()?)));
    panes.extend(before);
    let changes = operator.changes(&panes).await?;
    check_count("changes", changes.len(), panes.len())?;
    let mut counts = changes.iter().map(|changes| counts_of(changes)).collect::<Result<Vec<_>, _>>()?.into_iter();
    let mut added: Vec<Added> = accumulators.into_iter().zip(counts.by_ref()).collect();
    let grown = added.iter_mut().zip(&batches).filter(|(_, batch)| batch.accumulator.is_some());
    for ((_, ((_, now), _)), before) in grown.enumerate().zip(counts) {
        for (series, amount) in before {
            *now.entry(series).or_default() -= amount;
        }
    }
    match added.iter().flat_map(|(_, counts)| counts).find(|(_, amount)| **amount < 0.0) {
        Some((series, _)) => Err(Failure::contract(format!("changes: metric `{}` falls", series.name))),
        None => Ok(added),
    }
}

/// Halves of groups, or of the events of one; of one event its offset.
fn halves(mut groups: Vec<Group>) -> Result<(Vec<Group>, Vec<Group>), Option<u64>> {
    if groups.len() > 1 {
        let second = groups.split_off(groups.len() / 2);
        return Ok((groups, second));
    }
    let Some(mut group) = groups.pop() else { return Err(None) };
    let middle = group.offsets.len() / 2;
    if middle == 0 {
        return Err(group.offsets.first().copied());
    }
    let offsets = group.offsets.split_off(middle);
    let events = group.batch.events.split_off(middle);
    // It takes the accumulator of the first half.
    let second = Group {
        pane: group.pane,
        batch: Batch { events, key: group.batch.key.clone(), ..group.batch.clone() },
        offsets,
    };
    Ok((vec![group], vec![second]))
}

fn counts_of(changes: &[Change]) -> Result<BTreeMap<Series, f64>, Failure> {
    if changes.len() > limits::STREAM_CHANGES {
        let rule = format!("changes: at most {} a pane, got {}", limits::STREAM_CHANGES, changes.len());
        return Err(Failure::contract(rule));
    }
    let mut counts = BTreeMap::new();
    for Change::Metric(metric) in changes {
        *counts.entry(series(metric)?).or_default() += metric.amount;
    }
    Ok(counts)
}

/// The counter that a metric is about.
fn series(metric: &Metric) -> Result<Series, Failure> {
    let Metric { name, labels, amount } = metric;
    let plain = |name: &str| {
        (1..=limits::METRIC_NAME_BYTES).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    let refuse = |rule: String| Err(Failure::contract(format!("metric `{name}`: {rule}")));
    if !plain(name) || !name.ends_with("_total") {
        return refuse(format!("its name must be up to {} of a-z and _, ending in _total", limits::METRIC_NAME_BYTES));
    }
    // False for NaN too.
    if !(0.0..=limits::METRIC_AMOUNT).contains(amount) {
        return refuse(format!("its amount must be 0 to {}, got {amount}", limits::METRIC_AMOUNT));
    }
    if labels.len() > limits::METRIC_LABELS {
        return refuse(format!("at most {} labels, got {}", limits::METRIC_LABELS, labels.len()));
    }
    let mut labels = labels.clone();
    labels.sort();
    let twice = labels.windows(2).any(|pair| matches!(pair, [(one, _), (other, _)] if one == other));
    // Scrapers keep names that begin with `__` to themselves; the tenant is ours.
    let own = |label: &str| label == "tenant" || label.starts_with("__");
    if twice || labels.iter().any(|(label, value)| !plain(label) || own(label) || value.len() > limits::ID_BYTES) {
        return refuse(format!("labels must be different, of a-z and _, of values up to {} bytes", limits::ID_BYTES));
    }
    Ok(Series { name: name.clone(), labels })
}

pub(crate) fn check_accumulator(accumulator: &[u8]) -> Result<(), Failure> {
    let (bytes, most) = (accumulator.len(), limits::STREAM_ACCUMULATOR_BYTES);
    if bytes <= most {
        return Ok(());
    }
    Err(Failure::contract(format!("an accumulator may have {most} bytes, got {bytes}")))
}

pub(crate) fn check_count(call: &str, got: usize, expected: usize) -> Result<(), Failure> {
    if got == expected {
        return Ok(());
    }
    Err(Failure::contract(format!("{call} must answer for each of {expected}, got {got}")))
}
