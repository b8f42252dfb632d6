//! Places that items were given in slates, counted in memory and written behind.
//!
//! A slate of twenty is twenty additions under one lock. [`WRITE_AFTER`] later one
//! batch writes what all slates of that time added, each item once; it has a number,
//! so that a batch whose answer was lost can be written again and counts once. Who
//! reads adds what is not written yet ([`Served::pending`]): in one process a place
//! counts from the moment in which it was given. A crash loses what waits.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
    sync::{Arc, Mutex},
    time::Duration,
};

use funnelweb_core::limits;
use funnelweb_tenant_store::{Error, lock};
use tokio::{sync::watch, time::timeout};

/// How long a count waits for others to be written with.
pub const WRITE_AFTER: Duration = Duration::from_millis(200);
/// Between two tries to write a batch.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Time for [`Served::flush`].
const FLUSH_TIME: Duration = Duration::from_secs(5);

/// What is written together.
#[derive(Debug)]
pub struct Batch<I> {
    /// Above those of all batches before.
    pub number: u64,
    /// What each item gets.
    pub counts: HashMap<I, f64>,
}

/// What is counted and not written, of each tenant `K`; `I` names an item.
pub struct Served<K, I> {
    state: Mutex<State<K, I>>,
    /// Whether nobody is to wait for more; each writer holds a receiver.
    hurry: watch::Sender<bool>,
}

/// To be a tenant's writer. [`Served::flush`] waits until it is done.
#[must_use]
pub struct Turn(watch::Receiver<bool>);

struct State<K, I> {
    /// The number of the newest batch.
    last: u64,
    of: HashMap<K, Counts<I>>,
}

/// It is there for as long as a writer is.
struct Counts<I> {
    waiting: HashMap<I, f64>,
    /// Places of items that found no room in `waiting`.
    lost: u64,
    writing: VecDeque<Arc<Batch<I>>>,
}

impl<I> Default for Counts<I> {
    fn default() -> Self {
        Self { waiting: HashMap::new(), lost: 0, writing: VecDeque::new() }
    }
}

impl<K, I> Default for Served<K, I> {
    fn default() -> Self {
        Self { state: Mutex::new(State { last: 0, of: HashMap::new() }), hurry: watch::Sender::new(false) }
    }
}

impl<K: Hash + Eq + Clone, I: Hash + Eq + Clone> Served<K, I> {
    /// Has the numbers of batches to come be above `last`.
    pub fn number_above(&self, last: u64) {
        let mut state = lock(&self.state);
        state.last = state.last.max(last);
    }

    /// Counts one more place for each of these; when there is no writer, the caller is
    /// to start one ([`Served::write_behind`]).
    pub fn add(&self, of: &K, items: impl IntoIterator<Item = I>) -> Option<Turn> {
        let mut state = lock(&self.state);
        let turn = (!state.of.contains_key(of)).then(|| Turn(self.hurry.subscribe()));
        let Counts { waiting, lost, .. } = state.of.entry(of.clone()).or_default();
        for item in items {
            let full = waiting.len() >= limits::SERVED_ITEMS;
            match waiting.get_mut(&item) {
                Some(count) => *count += 1.0,
                None if full => *lost += 1,
                None => {
                    waiting.insert(item, 1.0);
                }
            }
        }
        turn
    }

    /// Makes what waits a batch; all that are not written, in order.
    pub fn take(&self, of: &K) -> Vec<Arc<Batch<I>>> {
        let mut state = lock(&self.state);
        let State { last, of: all } = &mut *state;
        let Some(counts) = all.get_mut(of) else { return Vec::new() };
        if counts.lost > 0 {
            tracing::warn!(
                lost = counts.lost,
                most = limits::SERVED_ITEMS,
                "more items were served than are counted at once"
            );
            counts.lost = 0;
        }
        if !counts.waiting.is_empty() {
            *last += 1;
            let batch = Batch { number: *last, counts: std::mem::take(&mut counts.waiting) };
            counts.writing.push_back(Arc::new(batch));
        }
        counts.writing.iter().cloned().collect()
    }

    /// The batches up to `number` are written, and whoever reads the store finds them.
    pub fn written(&self, of: &K, number: u64) {
        if let Some(counts) = lock(&self.state).of.get_mut(of) {
            counts.writing.retain(|batch| batch.number > number);
        }
    }

    /// What of each of these items is not written, by the number of the batch that has
    /// it or is to have it at least. Of what is written meanwhile the store has more
    /// than stands here, under that number or a higher one.
    pub fn pending<'a>(&self, of: &K, items: impl IntoIterator<Item = &'a I>) -> Vec<Vec<(u64, f64)>>
    where
        I: 'a,
    {
        let state = lock(&self.state);
        let counts = state.of.get(of);
        let of_item = |item: &I| {
            let Some(counts) = counts else { return Vec::new() };
            let writing = counts.writing.iter().filter_map(|batch| Some((batch.number, *batch.counts.get(item)?)));
            writing.chain(counts.waiting.get(item).map(|count| (state.last + 1, *count))).collect()
        };
        items.into_iter().map(of_item).collect()
    }

    /// Forgets what these items wait for.
    pub fn forget<'a>(&self, of: &K, items: impl IntoIterator<Item = &'a I>)
    where
        I: 'a,
    {
        if let Some(counts) = lock(&self.state).of.get_mut(of) {
            items.into_iter().for_each(|item| {
                counts.waiting.remove(item);
            });
        }
    }

    /// Has `write` write batches until nothing waits. One that fails is written again,
    /// with the same number; meanwhile others collect.
    pub async fn write_behind<F>(&self, turn: Turn, of: K, write: impl Fn(Vec<Arc<Batch<I>>>) -> F)
    where
        F: Future<Output = Result<(), Error>>,
    {
        let Turn(mut hurry) = turn;
        while !self.is_done(&of) {
            hurried(&mut hurry, WRITE_AFTER).await;
            let batches = self.take(&of);
            while let Err(error) = write(batches.clone()).await {
                tracing::warn!(%error, "places served are not written yet");
                if *hurry.borrow() {
                    return;
                }
                hurried(&mut hurry, RETRY_AFTER).await;
            }
            if let Some(last) = batches.last() {
                self.written(&of, last.number);
            }
        }
    }

    /// Whether nothing is left; then there is no writer any more.
    fn is_done(&self, of: &K) -> bool {
        let mut state = lock(&self.state);
        let left = state.of.get(of).is_some_and(|counts| !counts.waiting.is_empty() || !counts.writing.is_empty());
        if !left {
            state.of.remove(of);
        }
        !left
    }

    /// Has everything written at once, as far as the store answers: for an orderly end.
    pub async fn flush(&self) {
        self.hurry.send_replace(true);
        if timeout(FLUSH_TIME, self.hurry.closed()).await.is_err() {
            tracing::warn!("places served were not written within {FLUSH_TIME:?}");
        }
    }
}

/// Waits, unless nobody is to wait.
async fn hurried(hurry: &mut watch::Receiver<bool>, time: Duration) {
    // Its sender lives as long as the writers do.
    let _ = timeout(time, hurry.wait_for(|hurry| *hurry)).await;
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    type Counted = Served<u8, &'static str>;

    fn pending(served: &Counted, item: &'static str) -> f64 {
        served.pending(&1, [&item]).remove(0).iter().map(|(_, count)| count).sum()
    }

    fn sum(batches: &[Arc<Batch<&'static str>>], item: &str) -> f64 {
        batches.iter().filter_map(|batch| batch.counts.get(item)).sum()
    }

    #[test]
    fn what_is_added_is_pending_until_it_is_written() {
        let served = Counted::default();
        served.number_above(7);
        assert!(served.add(&1, ["a", "b", "a"]).is_some());
        assert!(served.add(&1, ["b"]).is_none(), "one writer is enough");
        assert_eq!((pending(&served, "a"), pending(&served, "b"), pending(&served, "c")), (2.0, 2.0, 0.0));
        assert_eq!(served.pending(&1, [&"a"]), [[(8, 2.0)]]);
        let batches = served.take(&1);
        assert_eq!((batches.len(), batches[0].number, sum(&batches, "a")), (1, 8, 2.0));
        let _ = served.add(&1, ["a"]);
        assert_eq!(served.pending(&1, [&"a"]), [[(8, 2.0), (9, 1.0)]]);
        // Not written: it is taken again, as it was.
        let again = served.take(&1);
        assert!(Arc::ptr_eq(&again[0], &batches[0]));
        assert_eq!((again.len(), again[1].number), (2, 9));
        served.written(&1, 8);
        assert_eq!(pending(&served, "a"), 1.0);
        served.written(&1, 9);
        assert!(served.is_done(&1) && served.take(&1).is_empty());
    }

    #[test]
    fn tenants_are_apart_and_what_is_forgotten_is_not_written() {
        let served = Counted::default();
        let _ = (served.add(&1, ["a", "b"]), served.add(&2, ["a"]));
        served.forget(&1, [&"a"]);
        let of = |tenant| sum(&served.take(&tenant), "a");
        assert_eq!((of(1), of(2)), (0.0, 1.0));
    }

    #[test]
    fn as_many_items_wait_as_may() {
        let served = Served::<u8, usize>::default();
        let _ = served.add(&1, 0..=limits::SERVED_ITEMS);
        let _ = served.add(&1, 0..=limits::SERVED_ITEMS);
        let batches = served.take(&1);
        assert_eq!((batches[0].counts.len(), batches[0].counts[&0]), (limits::SERVED_ITEMS, 2.0));
    }

    #[tokio::test]
    async fn a_batch_that_fails_is_written_again_and_others_collect() {
        let served = Arc::new(Counted::default());
        let turn = served.add(&1, ["a"]).unwrap();
        let tries = Mutex::new(Vec::new());
        let write = |batches: Vec<Arc<Batch<&'static str>>>| {
            let mut tries = lock(&tries);
            tries.push(batches.iter().map(|batch| (batch.number, sum(&batches, "a"))).collect::<Vec<_>>());
            let fails = tries.len() == 1;
            assert!(served.add(&1, ["a"]).is_none(), "the writer is there");
            if tries.len() == 3 {
                served.forget(&1, [&"a"]);
            }
            async move { if fails { Err(Error::Unavailable("gone".into())) } else { Ok(()) } }
        };
        served.write_behind(turn, 1, write).await;
        assert_eq!(*lock(&tries), [vec![(1, 1.0)], vec![(1, 1.0)], vec![(2, 2.0)]]);
        assert_eq!(pending(&served, "a"), 0.0);
    }

    #[tokio::test]
    async fn an_orderly_end_waits_for_nothing_but_the_writing() {
        let served = Arc::new(Counted::default());
        let written = Arc::new(Mutex::new(0.0));
        let turn = served.add(&1, ["a"]).unwrap();
        let (writer, sums) = (served.clone(), written.clone());
        tokio::spawn(async move {
            let write = |batches: Vec<Arc<Batch<&'static str>>>| {
                *lock(&sums) += sum(&batches, "a");
                std::future::ready(Ok(()))
            };
            writer.write_behind(turn, 1, write).await;
        });
        let start = Instant::now();
        served.flush().await;
        assert_eq!(*lock(&written), 1.0);
        assert!(start.elapsed() < WRITE_AFTER, "{:?}", start.elapsed());
    }
}
