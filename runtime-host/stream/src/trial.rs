//! Trying an operator out before it follows a log: whether it answers, whether its answers
//! are what [`Operator`] promises, and whether what it adds does not depend on how the log
//! is cut into steps.

use std::collections::BTreeMap;

use funnelweb_core::limits;

use crate::{
    evaluate::{check_accumulator, check_count},
    operator::{Aggregated, Batch, Event, Failure, Operator, Output, Span, key},
    sums::Sums,
    turn::messages,
    window::Windows,
};

/// Differences of sums that are no differences, by their size: sums of other orders.
const ROUNDING: f64 = 1e-6;
/// Steps that fail after which it is clear that it does not pass.
const ENOUGH: usize = 5;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trial {
    /// Steps that were made.
    pub steps: usize,
    /// Why calls had no answer.
    pub failed: Vec<String>,
    /// Which promises were broken.
    pub broken: Vec<String>,
    /// Steps whose answers were others when they were repeated.
    pub differing: usize,
    /// What other sums come of the same events, where they are added in two parts.
    pub other_sums: Vec<String>,
}

/// Gives an operator events in steps of so many, each step twice, and once more in halves.
pub async fn try_out(operator: &dyn Operator, events: &[Event], a_step: usize) -> Trial {
    let mut trial = Trial::default();
    let windows = match Windows::new(operator.declaration()) {
        Ok(windows) => windows,
        Err(rule) => {
            trial.broken.push(rule);
            return trial;
        }
    };
    for events in events.chunks(a_step.clamp(1, limits::STREAM_EVENTS as usize)) {
        let batches = batches(operator, &windows, events);
        trial.steps += 1;
        let (first, again) = (step(operator, &windows, &batches).await, step(operator, &windows, &batches).await);
        match (first, again) {
            (Ok(first), Ok(again)) => {
                trial.differing += usize::from(first.answers != again.answers);
                match first.sums_in_parts(operator, &batches).await {
                    Ok(other) => trial.other_sums.extend(other),
                    Err(failed) => trial.fail(failed),
                }
            }
            (first, again) => [first.err(), again.err()].into_iter().flatten().for_each(|failed| trial.fail(failed)),
        }
        if trial.failed.len() + trial.broken.len() >= ENOUGH {
            break;
        }
    }
    trial
}

impl Trial {
    fn fail(&mut self, failed: Failed) {
        match failed {
            Failed::NoAnswer(reason) => self.failed.push(reason),
            Failed::Broken(rule) => self.broken.push(rule),
        }
    }
}

/// What was wrong with a step.
enum Failed {
    NoAnswer(String),
    Broken(String),
}

/// Why a call has no answer.
impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        Self::NoAnswer(failure.to_string())
    }
}

fn broken(failure: Failure) -> Failed {
    Failed::Broken(failure.to_string())
}

/// A step as it is compared.
struct Stepped {
    /// All answers, as text.
    answers: String,
    sums: Vec<BTreeMap<String, f64>>,
}

/// The events in the panes of their keys.
fn batches(operator: &dyn Operator, windows: &Windows, events: &[Event]) -> Vec<Batch> {
    let mut batches: BTreeMap<(Vec<String>, u64), Vec<Event>> = BTreeMap::new();
    for event in events {
        let of = (key(&operator.declaration().key, event), windows.floor(event.timestamp_ms));
        batches.entry(of).or_default().push(event.clone());
    }
    let batch = |((key, from_ms), events)| Batch { key, pane: windows.pane(from_ms), events };
    batches.into_iter().map(batch).collect()
}

/// Everything that the engine asks of a step's panes, and of windows of one of them each.
async fn step(operator: &dyn Operator, windows: &Windows, batches: &[Batch]) -> Result<Stepped, Failed> {
    let accumulators = aggregate(operator, batches).await?;
    let sums = changes(operator, batches, &accumulators).await?;
    let window = |(batch, accumulator): (&Batch, &Vec<u8>)| Aggregated {
        key: batch.key.clone(),
        span: Span { to_ms: batch.pane.from_ms.saturating_add(windows.size_ms), ..batch.pane },
        accumulator: accumulator.clone(),
    };
    let all: Vec<Aggregated> = batches.iter().zip(&accumulators).map(window).collect();
    let outputs: Vec<Vec<Output>> = operator.summary(&all).await?;
    check_count("summary", outputs.len(), all.len()).map_err(broken)?;
    let said = outputs.into_iter().map(messages).collect::<Result<Vec<_>, _>>().map_err(broken)?;
    Ok(Stepped { answers: format!("{accumulators:?} {sums:?} {said:?}"), sums })
}

async fn aggregate(operator: &dyn Operator, batches: &[Batch]) -> Result<Vec<Vec<u8>>, Failed> {
    let accumulators = operator.aggregate(batches).await?;
    check_count("aggregate", accumulators.len(), batches.len()).map_err(broken)?;
    accumulators.iter().try_for_each(|accumulator| check_accumulator(accumulator)).map_err(broken)?;
    Ok(accumulators)
}

/// What each of these panes adds.
async fn changes(
    operator: &dyn Operator,
    batches: &[Batch],
    accumulators: &[Vec<u8>],
) -> Result<Vec<BTreeMap<String, f64>>, Failed> {
    let pane = |(batch, accumulator): (&Batch, &Vec<u8>)| Aggregated {
        key: batch.key.clone(),
        span: batch.pane,
        accumulator: accumulator.clone(),
    };
    let panes: Vec<Aggregated> = batches.iter().zip(accumulators).map(pane).collect();
    let changes = operator.changes(&panes).await?;
    check_count("changes", changes.len(), panes.len()).map_err(broken)?;
    let amounts = |(changes, pane): (_, &Aggregated)| {
        let sums = Sums::new(changes)?;
        let amounts = sums.amounts();
        // Says what is wrong with them.
        sums.added(pane.span).map(|_| amounts)
    };
    changes.into_iter().zip(&panes).map(amounts).collect::<Result<_, Failure>>().map_err(broken)
}

impl Stepped {
    /// Which sums are others when the events of each pane come in two parts.
    async fn sums_in_parts(&self, operator: &dyn Operator, batches: &[Batch]) -> Result<Vec<String>, Failed> {
        let part = |second: bool| {
            let half = move |batch: &Batch| {
                let (one, other) = batch.events.split_at(batch.events.len().div_ceil(2));
                Batch { events: if second { other.to_vec() } else { one.to_vec() }, ..batch.clone() }
            };
            let halves = batches.iter().filter(|batch| batch.events.len() > 1).map(half);
            halves.collect::<Vec<_>>()
        };
        let (first, second) = (part(false), part(true));
        if first.is_empty() {
            return Ok(Vec::new());
        }
        let (one, other) = (aggregate(operator, &first).await?, aggregate(operator, &second).await?);
        let parts: Vec<Vec<Vec<u8>>> =
            one.iter().zip(&other).map(|(one, other)| vec![one.clone(), other.clone()]).collect();
        let merged = operator.merge(&parts).await?;
        check_count("merge", merged.len(), parts.len()).map_err(broken)?;
        merged.iter().try_for_each(|accumulator| check_accumulator(accumulator)).map_err(broken)?;
        let whole = self.sums.iter().zip(batches).filter(|(_, batch)| batch.events.len() > 1).map(|(sums, _)| sums);
        let merged = changes(operator, &first, &merged).await?;
        let (one, other) = (changes(operator, &first, &one).await?, changes(operator, &second, &other).await?);
        let mut differences = Vec::new();
        for (((whole, merged), one), other) in whole.zip(&merged).zip(one).zip(&other) {
            let mut parts = one;
            other.iter().for_each(|(name, amount)| *parts.entry(name.clone()).or_default() += amount);
            differences.extend(difference("in two steps", whole, &parts));
            differences.extend(difference("merged", whole, merged));
        }
        Ok(differences)
    }
}

/// The first amount that is another.
fn difference(how: &str, whole: &BTreeMap<String, f64>, other: &BTreeMap<String, f64>) -> Option<String> {
    let of = |sums: &BTreeMap<String, f64>, name: &String| sums.get(name).copied().unwrap_or_default();
    let differs = |name: &&String| {
        let (one, other) = (of(whole, name), of(other, name));
        (one - other).abs() > ROUNDING * one.abs().max(other.abs()).max(1.0)
    };
    let name = whole.keys().chain(other.keys()).find(differs)?;
    Some(format!("{name}: {} at once, {} {how}", of(whole, name), of(other, name)))
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::operator::{Change, Count, Declaration, Field, Window};

    /// Adds what `amount` makes of a number of events.
    struct Adding {
        declaration: Declaration,
        amount: fn(u64) -> f64,
    }

    #[async_trait]
    impl Operator for Adding {
        fn name(&self) -> &str {
            "adding"
        }

        fn declaration(&self) -> &Declaration {
            &self.declaration
        }

        async fn aggregate(&self, batches: &[Batch]) -> Result<Vec<Vec<u8>>, Failure> {
            Ok(batches.iter().map(|batch| (batch.events.len() as u64).to_le_bytes().to_vec()).collect())
        }

        async fn merge(&self, parts: &[Vec<Vec<u8>>]) -> Result<Vec<Vec<u8>>, Failure> {
            let read = |part: &Vec<u8>| u64::from_le_bytes(part.as_slice().try_into().unwrap());
            Ok(parts.iter().map(|parts| parts.iter().map(read).sum::<u64>().to_le_bytes().to_vec()).collect())
        }

        async fn changes(&self, panes: &[Aggregated]) -> Result<Vec<Vec<Change>>, Failure> {
            let one = |pane: &Aggregated| {
                let count = u64::from_le_bytes(pane.accumulator.as_slice().try_into().unwrap());
                let item_id = pane.key.first().cloned().unwrap_or_default();
                vec![Change::Count(Count { item_id, field: "seen_count".to_owned(), amount: (self.amount)(count) })]
            };
            Ok(panes.iter().map(one).collect())
        }

        async fn summary(&self, windows: &[Aggregated]) -> Result<Vec<Vec<Output>>, Failure> {
            Ok(windows.iter().map(|_| Vec::new()).collect())
        }
    }

    fn adding(amount: fn(u64) -> f64, slide_ms: u64) -> Adding {
        let window = Window { size_ms: 60_000, slide_ms };
        Adding { declaration: Declaration { key: vec![Field::Item], window, allowed_lateness_ms: 0 }, amount }
    }

    fn events(count: u64) -> Vec<Event> {
        let event = |at| Event {
            event_id: format!("e{at}"),
            scenario_id: "feed".to_owned(),
            user_id: "ann".to_owned(),
            item_id: format!("i{}", at % 3),
            action_type: "view".to_owned(),
            timestamp_ms: 1_767_225_600_000 + at * 500,
            group: String::new(),
            completion_rate: None,
            watch_duration: None,
            signal: None,
        };
        (0..count).map(event).collect()
    }

    #[tokio::test]
    async fn sums_pass() {
        let trial = try_out(&adding(|count| count as f64 / 3.0, 1000), &events(100), 30).await;
        assert_eq!(trial, Trial { steps: 4, ..Trial::default() });
    }

    #[tokio::test]
    async fn what_is_no_sum_does_not() {
        let trial = try_out(&adding(|count| (count as f64).sqrt(), 60_000), &events(100), 100).await;
        assert!(trial.other_sums[0].starts_with("count seen_count of i0: "), "{trial:?}");
    }

    #[tokio::test]
    async fn what_cannot_be_declared_or_added_does_not() {
        let trial = try_out(&adding(|count| count as f64, 7), &events(2), 1).await;
        assert!(trial.steps == 0 && trial.broken[0].starts_with("window.slide-ms"), "{trial:?}");
        let trial = try_out(&adding(|_| f64::NAN, 1000), &events(100), 1).await;
        assert_eq!(trial.broken.len(), ENOUGH + 1, "{trial:?}");
    }
}
