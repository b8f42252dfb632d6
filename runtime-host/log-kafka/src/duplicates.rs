//! Which records of a partition were there before.
//!
//! A batch is published again when it is not known whether it was: by a process that
//! completes what another one left, or after Kafka did not answer. Batch and index are
//! then the same, so who reads remembers them for a while, together with what it made of
//! the records:
//!
//! ```
//! use funnelweb_log_kafka::{Added, Duplicates};
//!
//! let (batch, now_ms) = (1_700_000_000_000_u128 << 80, 1_700_000_000_500);
//! let mut duplicates = Duplicates::default();
//! assert!(duplicates.is_new(batch, 0, now_ms) && duplicates.is_new(batch, 2, now_ms));
//! assert!(!duplicates.is_new(batch, 0, now_ms));
//! // Kept in the transaction that keeps what the step made, and the offset.
//! let kept: Vec<Added> = duplicates.take_added();
//! let mut after_a_restart = Duplicates::restore(&kept)?;
//! assert!(!after_a_restart.is_new(batch, 2, now_ms) && after_a_restart.is_new(batch, 1, now_ms));
//! # Ok::<_, funnelweb_log_kafka::Unreadable>(())
//! ```
//!
//! All indexes of a batch are remembered, not only the highest: a producer that gave up
//! on one record may have written a later one.

use std::collections::{BTreeMap, HashMap};

use bincode::{Decode, Encode};
use funnelweb_core::limits;

use crate::behavior::Unreadable;

/// How long a batch is remembered at least, by the log's time, after a record of it came;
/// at most twice as long.
const REMEMBERED_MS: u64 = 3_600_000;
/// Batches that are remembered of a partition, twice: of a log that has more in its time,
/// the older ones are forgotten sooner. They take some 60 bytes each.
const BATCHES: usize = 250_000;
/// Bits of a batch's number below its time.
const RANDOM_BITS: u32 = 80;
/// Of the encoding of [`Added`].
const FORMAT: u8 = 1;

/// The batches of one partition that were there lately.
///
/// The log's time is that of its newest batch, but never ahead of the reader's clock. So
/// an hour is one of the log, also while a day of it is read in a minute; and a batch
/// that was written in part before brokers were away for hours, and in whole afterwards,
/// is remembered.
#[derive(Debug, Clone)]
pub struct Duplicates {
    /// Grows each time that what is older than [`REMEMBERED_MS`] is forgotten.
    generation: u64,
    /// The log's time when the generation began, and the one before it.
    since_ms: u64,
    before_ms: u64,
    /// Those of which a record came in this generation, and in the one before it.
    current: HashMap<u128, Indexes>,
    previous: HashMap<u128, Indexes>,
    /// What is not kept by the reader yet, by generation.
    added: BTreeMap<u64, Step>,
    batches_max: usize,
}

/// What a step adds to [`Duplicates`], to be kept with what else it makes: under the
/// partition, the generation, and whatever else is the step's own, such as its offset.
/// Kept twice it says the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// Once it is below [`Duplicates::oldest`] it may be deleted.
    pub generation: u64,
    /// Some 20 for each batch, and 1 for each of its records.
    pub bytes: Vec<u8>,
}

#[derive(Debug, Clone, Default, PartialEq, Encode, Decode)]
struct Step {
    since_ms: u64,
    indexes: BTreeMap<u128, Vec<u32>>,
}

/// A set of small numbers.
#[derive(Debug, Clone, Default, PartialEq)]
struct Indexes {
    /// Below 64, as most are.
    first: u64,
    rest: Vec<u64>,
}

impl Default for Duplicates {
    fn default() -> Self {
        Self {
            generation: 0,
            since_ms: 0,
            before_ms: 0,
            current: HashMap::new(),
            previous: HashMap::new(),
            added: BTreeMap::new(),
            batches_max: BATCHES,
        }
    }
}

impl Duplicates {
    /// As it was when the last of these steps was taken; their order does not matter.
    ///
    /// # Errors
    /// When one is of another version of this program.
    pub fn restore<'a>(added: impl IntoIterator<Item = &'a Added>) -> Result<Self, Unreadable> {
        let mut generations: BTreeMap<u64, Vec<Step>> = BTreeMap::new();
        for added in added {
            let step = Step::decode(&added.bytes).ok_or_else(|| Unreadable::new("added: is of another version"))?;
            generations.entry(added.generation).or_default().push(step);
        }
        let Some((generation, last)) = generations.pop_last() else { return Ok(Self::default()) };
        let before = generation.checked_sub(1).and_then(|before| generations.remove(&before)).unwrap_or_default();
        let since_ms = last.first().map_or(0, |step| step.since_ms);
        // Of a generation without a record nothing is known but its end.
        let before_ms = before.first().map_or(since_ms, |step| step.since_ms);
        Ok(Self { generation, since_ms, before_ms, current: whole(last), previous: whole(before), ..Self::default() })
    }

    /// Whether the record is the first with this batch and index, as far as is known; it
    /// is known then. `index` is below [`limits::EVENTS`], as
    /// [`Behavior::decode`](crate::Behavior::decode) sees to, and `now_ms` the reader's
    /// clock.
    ///
    /// When what it was asked for is not kept in the end it has to be restored.
    pub fn is_new(&mut self, batch: u128, index: u32, now_ms: u64) -> bool {
        self.age(u64::try_from(batch >> RANDOM_BITS).unwrap_or(u64::MAX).min(now_ms));
        if !self.current.contains_key(&batch) {
            // One that comes again is remembered for as long as a new one.
            let before = self.previous.remove(&batch).unwrap_or_default();
            before.iter().for_each(|index| self.add(batch, index));
            self.current.insert(batch, before);
        }
        let is_new = self.current.entry(batch).or_default().insert(index);
        if is_new {
            self.add(batch, index);
        }
        is_new
    }

    /// What has come since this was called last: nothing, or the additions to one
    /// generation or two.
    pub fn take_added(&mut self) -> Vec<Added> {
        let added = std::mem::take(&mut self.added);
        added.into_iter().map(|(generation, step)| Added { generation, bytes: step.encode() }).collect()
    }

    /// From when on records are known, by the log's time: those that are older were there
    /// before the oldest of them.
    #[must_use]
    pub fn known_since_ms(&self) -> u64 {
        if self.generation == 0 { 0 } else { self.before_ms }
    }

    /// The oldest generation that is remembered.
    #[must_use]
    pub fn oldest(&self) -> u64 {
        self.generation.saturating_sub(1)
    }

    fn add(&mut self, batch: u128, index: u32) {
        let since_ms = self.since_ms;
        let step = self.added.entry(self.generation).or_insert_with(|| Step { since_ms, ..Step::default() });
        step.indexes.entry(batch).or_default().push(index);
    }

    /// Forgets what is too old at this time of the log.
    fn age(&mut self, time_ms: u64) {
        let is_over = time_ms >= self.since_ms.saturating_add(REMEMBERED_MS);
        if !is_over && self.current.len() < self.batches_max {
            return;
        }
        self.generation += 1;
        self.before_ms = self.since_ms;
        self.since_ms = self.since_ms.max(time_ms);
        self.previous = std::mem::take(&mut self.current);
        self.added = self.added.split_off(&self.oldest());
    }
}

fn whole(steps: Vec<Step>) -> HashMap<u128, Indexes> {
    let mut whole: HashMap<u128, Indexes> = HashMap::new();
    for (batch, indexes) in steps.into_iter().flat_map(|step| step.indexes) {
        let all = whole.entry(batch).or_default();
        for index in indexes {
            all.insert(index);
        }
    }
    whole
}

impl Step {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![FORMAT];
        // A `Vec` takes everything.
        let _ = bincode::encode_into_std_write(self, &mut bytes, bincode::config::standard());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (&FORMAT, rest) = bytes.split_first()? else { return None };
        let (step, _) = bincode::decode_from_slice::<Self, _>(rest, bincode::config::standard()).ok()?;
        let fit = |indexes: &Vec<u32>| indexes.iter().all(|index| (*index as usize) < limits::EVENTS);
        step.indexes.values().all(fit).then_some(step)
    }
}

impl Indexes {
    /// Whether it was not there.
    fn insert(&mut self, index: u32) -> bool {
        let (place, bit) = ((index / 64) as usize, 1_u64 << (index % 64));
        let word = match place.checked_sub(1) {
            None => &mut self.first,
            Some(place) => {
                if self.rest.len() <= place {
                    self.rest.resize(place + 1, 0);
                }
                let Some(word) = self.rest.get_mut(place) else { return true };
                word
            }
        };
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    fn iter(&self) -> impl Iterator<Item = u32> {
        let words = std::iter::once(&self.first).chain(&self.rest);
        (0..).zip(words).flat_map(|(place, word)| {
            (0..64).filter(move |bit| word & (1 << bit) != 0).map(move |bit| 64 * place + bit)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    const START_MS: u64 = 1_700_000_000_000;

    fn batch(at_ms: u64, random: u32) -> u128 {
        u128::from(at_ms) << RANDOM_BITS | u128::from(random)
    }

    /// What a reader keeps in its store.
    #[derive(Debug, Default)]
    struct Kept {
        added: Vec<Added>,
        next: usize,
        seen: HashSet<(u128, u32)>,
    }

    /// A delivery of a part of a batch, or of all of it, once more perhaps.
    #[derive(Debug, Clone)]
    struct Delivery {
        batch: u32,
        skip: usize,
        take: usize,
    }

    fn deliveries() -> impl Strategy<Value = Vec<Delivery>> {
        let part = prop_oneof![3 => Just((0, 1000)), 1 => (0_usize..5, 0_usize..5)];
        vec((0_u32..12, part).prop_map(|(batch, (skip, take))| Delivery { batch, skip, take }), 1..40)
    }

    /// Records of all deliveries, each in its order and all of them mixed by `turns`.
    fn mixed(deliveries: &[Delivery], batches: &[Vec<u32>], turns: &[usize]) -> Vec<(u32, u32)> {
        let mut queues: Vec<Vec<(u32, u32)>> = Vec::new();
        for Delivery { batch, skip, take } in deliveries {
            let part = batches[*batch as usize].iter().skip(*skip).take(*take);
            queues.push(part.map(|index| (*batch, *index)).rev().collect());
        }
        let mut records = Vec::new();
        let mut turns = turns.iter().cycle();
        while !queues.is_empty() {
            // Some deliveries are on their way at once, the others wait for their ends.
            let at = turns.next().unwrap() % queues.len().min(4);
            match queues[at].pop() {
                Some(record) => records.push(record),
                None => drop(queues.remove(at)),
            }
        }
        records
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn as_a_set_of_everything_tells_it_also_when_readers_die(
            deliveries in deliveries(),
            batches in vec(proptest::collection::btree_set(0_u32..1000, 0..8), 12),
            turns in vec(0_usize..4, 1..50),
            steps in vec((1_usize..9, proptest::bool::weighted(0.2)), 1..20),
            turned in 0_usize..100,
        ) {
            let batches: Vec<Vec<u32>> = batches.into_iter().map(|batch| batch.into_iter().collect()).collect();
            let records = mixed(&deliveries, &batches, &turns);
            let (mut kept, mut duplicates, mut died) = (Kept::default(), Duplicates::default(), false);
            let mut steps = steps.iter().cycle();
            while kept.next < records.len() {
                let (count, dies) = *steps.next().unwrap();
                let step = &records[kept.next..(kept.next + count).min(records.len())];
                let mut seen = kept.seen.clone();
                for (number, index) in step {
                    let batch = batch(START_MS + u64::from(*number) * 1000, *number);
                    prop_assert_eq!(duplicates.is_new(batch, *index, START_MS + 60_000), seen.insert((batch, *index)));
                }
                died = dies && !died;
                if died {
                    // Nothing of the step was kept; and what was has no order in a store.
                    let turned = turned % kept.added.len().max(1);
                    kept.added.rotate_left(turned);
                    duplicates = Duplicates::restore(&kept.added).unwrap();
                    continue;
                }
                kept.added.extend(duplicates.take_added());
                kept.seen = seen;
                kept.next += step.len();
            }
        }

        #[test]
        fn what_came_within_the_hour_is_known_and_nothing_new_is_ever_lost(
            records in vec((0_u64..40, 0_u64..30_000_000, 0_u32..3), 1..200),
            restart in 1_usize..20,
        ) {
            let (mut duplicates, mut kept) = (Duplicates::default(), Vec::new());
            let mut ever = HashSet::new();
            // Of each batch, when a record came last, and those that came without a pause
            // of an hour since.
            let mut known: HashMap<u128, (u64, HashSet<u32>)> = HashMap::new();
            let (mut log_ms, mut at_ms) = (0, START_MS);
            for (at, (late, step_ms, index)) in records.into_iter().enumerate() {
                // The log goes on, by hours now and then; batches come late.
                at_ms += step_ms / 20;
                let batch = batch((at_ms - late * 600_000) / 3_000_000 * 3_000_000, 7);
                log_ms = log_ms.max((batch >> RANDOM_BITS) as u64);
                let is_new = duplicates.is_new(batch, index, at_ms);
                let (touched_ms, indexes) = known.entry(batch).or_default();
                if log_ms - *touched_ms >= REMEMBERED_MS {
                    indexes.clear();
                }
                *touched_ms = log_ms;
                prop_assert!(is_new || ever.contains(&(batch, index)), "one is lost");
                prop_assert!(!is_new || !indexes.contains(&index), "one is counted twice");
                indexes.insert(index);
                ever.insert((batch, index));
                kept.extend(duplicates.take_added());
                if at % restart == 0 {
                    kept.retain(|added: &Added| added.generation >= duplicates.oldest());
                    duplicates = Duplicates::restore(&kept).unwrap();
                }
            }
        }
    }

    #[test]
    fn a_batch_is_known_over_hours_without_records() {
        let mut duplicates = Duplicates::default();
        let old = batch(START_MS, 1);
        assert!(duplicates.is_new(old, 0, START_MS));
        // Brokers were away for a day; the newest is there before the rest of the old one.
        let now_ms = START_MS + 24 * REMEMBERED_MS;
        assert!(duplicates.is_new(batch(now_ms, 2), 0, now_ms));
        assert!(!duplicates.is_new(old, 0, now_ms) && duplicates.is_new(old, 1, now_ms));
        // A clock that is wrong does not move the log's.
        assert!(duplicates.is_new(batch(now_ms * 2, 3), 0, now_ms));
        assert_eq!((duplicates.generation, duplicates.since_ms), (2, now_ms));
    }

    #[test]
    fn it_is_known_since_when_records_are() {
        let (mut duplicates, mut kept) = (Duplicates::default(), Vec::new());
        assert_eq!(duplicates.known_since_ms(), 0);
        // Everything that there was, and then an hour or two.
        for (hour, expected) in [(0, 0), (1, START_MS), (2, START_MS + REMEMBERED_MS)] {
            let now_ms = START_MS + hour * REMEMBERED_MS;
            assert!(duplicates.is_new(batch(now_ms, 1), 0, now_ms));
            kept.extend(duplicates.take_added());
            kept.retain(|added: &Added| added.generation >= duplicates.oldest());
            assert_eq!(duplicates.known_since_ms(), expected);
            let restored = Duplicates::restore(&kept).unwrap();
            // Of the first hour it is known again since its first record, which is as much.
            assert_eq!(restored.known_since_ms(), expected.max(START_MS));
        }
    }

    #[test]
    fn memory_is_bounded_and_so_is_what_is_kept() {
        let mut duplicates = Duplicates { batches_max: 10, ..Duplicates::default() };
        let mut kept = Vec::new();
        for number in 0..1000 {
            assert!(duplicates.is_new(batch(START_MS, number), 999, START_MS));
            kept.extend(duplicates.take_added());
            kept.retain(|added: &Added| added.generation >= duplicates.oldest());
            assert!(duplicates.current.len() <= 10 && duplicates.previous.len() <= 10 && kept.len() <= 20);
            assert!((kept.last().unwrap().bytes.len()) < 40);
        }
        assert!(!duplicates.is_new(batch(START_MS, 995), 999, START_MS));
        assert!(duplicates.take_added().is_empty() || duplicates.current.len() < 10);
    }

    #[test]
    fn what_another_version_has_kept_is_refused() {
        let restore = |bytes: &[u8]| Duplicates::restore(&[Added { generation: 1, bytes: bytes.to_vec() }]);
        assert!(restore(&[2, 0, 0]).is_err() && restore(&[]).is_err() && restore(&[1]).is_err());
        let far = Step { since_ms: 0, indexes: BTreeMap::from([(1, vec![u32::MAX])]) };
        assert!(restore(&far.encode()).is_err());
        assert_eq!(Duplicates::restore(&[]).unwrap().generation, 0);
    }
}
