//! The large part of an index: rows that do not change, with a graph over them.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use crate::{
    Hit,
    bits::{Bits, WORD},
    directory::{Directory, mix},
    filter::Allowed,
    graph::{Graph, Scratch},
    limits::{ROWS_PER_NODE, breadth},
    rows::{Query, Rows},
    scan::scan,
    sieve::Sieve,
};

/// Rows that do not change, with a graph over them.
#[derive(Debug)]
pub(crate) struct Base {
    id: u64,
    rows: Rows,
    graph: Graph,
    /// How many rows there were when the graph was last built from nothing.
    built: usize,
    directory: Directory,
    scratch: Mutex<Vec<Scratch>>,
}

impl Base {
    /// Of rows with a graph over all of them. `dead` has the slots of handles that are
    /// not, or no longer, in the base.
    pub fn new(rows: Rows, graph: Graph, built: usize, dead: &Bits) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            directory: Directory::new(rows.handles(), |slot| !dead.contains(slot)),
            rows,
            graph,
            built,
            scratch: Mutex::default(),
        }
    }

    /// Builds a graph over `rows`, which come in the order of [`Base::order`].
    pub fn build(rows: Rows, threads: usize) -> Self {
        let mut graph = Graph::new();
        graph.extend(&rows, threads);
        let (built, dead) = (rows.len(), Bits::none(rows.len()));
        Self::new(rows, graph, built, &dead)
    }

    /// This base with more rows at the end, all those in `dead` staying where they are.
    pub fn extended<'a>(
        &self,
        dead: &Bits,
        more: impl ExactSizeIterator<Item = (&'a Rows, usize)>,
        threads: usize,
    ) -> (Self, Bits) {
        let (mut graph, mut dead) = (self.graph.clone(), dead.clone());
        let mut rows = Rows::with_capacity(self.rows.space(), self.rows.len() + more.len());
        rows.append(&self.rows);
        more.for_each(|(other, slot)| rows.push_row(other, slot));
        dead.grow(rows.len());
        graph.extend(&rows, threads);
        (Self::new(rows, graph, self.built, &dead), dead)
    }

    /// By what rows are to be sorted before a graph is built: as good as random.
    pub fn order(handle: u64) -> u64 {
        mix(handle)
    }

    /// Different for every base of this process.
    pub fn id(&self) -> u64 {
        self.id
    }

    pub fn rows(&self) -> &Rows {
        &self.rows
    }

    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    pub fn built(&self) -> usize {
        self.built
    }

    /// The slot of a handle, which may have died since.
    pub fn find(&self, handle: u64) -> Option<usize> {
        self.directory.find(self.rows.handles(), handle)
    }

    /// About the best `k` of the rows that are not in `dead` and are in `allowed`.
    pub fn best(&self, query: &Query, k: usize, dead: &Bits, allowed: Option<&Allowed>) -> Vec<Hit> {
        let len = self.rows.len();
        let candidates = allowed.map_or(len, |allowed| allowed.slots.count());
        let live = (len - dead.count()) as f64 / len.max(1) as f64;
        // So many nodes are looked for that enough of them are candidates.
        let breadth = breadth(k) as f64 * len as f64 / (candidates as f64 * live).max(1.0);
        if breadth * ROWS_PER_NODE < candidates as f64 {
            let hits = self.walk(query, breadth as usize, dead, allowed);
            if hits.len() >= k {
                return hits;
            }
        }
        self.scan(query, k, dead, allowed)
    }

    fn walk(&self, query: &Query, breadth: usize, dead: &Bits, allowed: Option<&Allowed>) -> Vec<Hit> {
        let mut scratch = self.lock_scratch().pop().unwrap_or_default();
        let found = self.graph.search(&self.rows, &query.codes, breadth, &mut scratch);
        let slots = found.map(|node| node as usize);
        let slots = slots.filter(|slot| !dead.contains(*slot) && allowed.is_none_or(|it| it.slots.contains(*slot)));
        let hits = slots.map(|slot| self.hit(slot, query)).collect();
        self.lock_scratch().push(scratch);
        hits
    }

    fn scan(&self, query: &Query, k: usize, dead: &Bits, allowed: Option<&Allowed>) -> Vec<Hit> {
        let mut sieve = Sieve::new(k, f32::NEG_INFINITY);
        let mask = |word| !dead.word(word) & allowed.map_or(u64::MAX, |allowed| allowed.slots.word(word));
        scan(&self.rows, 0, query, &mut sieve, |word| mask(word) & self.used(word), |_| true);
        sieve.finish().map(|slot| self.hit(slot as usize, query)).collect()
    }

    /// The bits of a word that stand for rows.
    fn used(&self, word: usize) -> u64 {
        let rows = self.rows.len() - word * WORD;
        if rows < WORD { (1 << rows) - 1 } else { u64::MAX }
    }

    fn hit(&self, slot: usize, query: &Query) -> Hit {
        Hit { handle: self.rows.handle(slot), score: self.rows.score(slot, query) }
    }

    fn lock_scratch(&self) -> MutexGuard<'_, Vec<Scratch>> {
        self.scratch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of memory.
    pub fn memory_bytes(&self) -> usize {
        let scratch: usize = self.lock_scratch().iter().map(Scratch::memory_bytes).sum();
        self.rows.memory_bytes() + self.graph.memory_bytes() + self.directory.memory_bytes() + scratch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Filter, Metric, Space};

    const ROWS: usize = 2000;
    const DIMENSION: usize = 12;

    fn numbers(seed: usize) -> Vec<f32> {
        (0..DIMENSION).map(|at| mix((seed * DIMENSION + at) as u64) as i64 as f32 / i64::MAX as f32).collect()
    }

    /// Vectors of which some are ten times longer than others.
    fn rows(space: Space, seeds: std::ops::Range<usize>) -> Rows {
        let mut rows = Rows::new(space);
        for seed in seeds {
            let length = 1.0 + (seed % 10) as f32;
            let vector: Vec<f32> = numbers(seed).into_iter().map(|number| number * length).collect();
            rows.push(seed as u64, &vector, space.check(&vector).unwrap());
        }
        rows
    }

    fn query(space: Space, seed: usize) -> Query {
        let vector = numbers(seed);
        Query::new(space, &vector, space.check(&vector).unwrap())
    }

    /// The part of the best ten that a walk finds, which gives nothing dead or forbidden.
    fn recall(base: &Base, dead: &Bits, allowed: Option<&Allowed>, breadth: usize) -> f64 {
        let mut found = 0;
        for seed in 10_000..10_030 {
            let query = query(base.rows.space(), seed);
            let walked = base.walk(&query, breadth, dead, allowed);
            for hit in &walked {
                let slot = base.find(hit.handle).unwrap();
                assert!(!dead.contains(slot) && allowed.is_none_or(|allowed| allowed.slots.contains(slot)));
                assert_eq!(hit.score, base.rows.score(slot, &query));
            }
            let mut best = base.scan(&query, 10, dead, allowed);
            best.sort_unstable_by(|a, b| b.score.total_cmp(&a.score));
            found += best.iter().take(10).filter(|hit| walked.contains(hit)).count();
        }
        found as f64 / 300.0
    }

    #[test]
    fn a_walk_finds_most_of_the_best_and_nothing_else() {
        for metric in [Metric::InnerProduct, Metric::Cosine] {
            let space = Space::new(DIMENSION, metric).unwrap();
            let base = Base::build(rows(space, 0..ROWS), 2);
            let mut dead = Bits::none(ROWS);
            assert!(recall(&base, &dead, None, 100) > 0.95);
            (0..ROWS).step_by(3).for_each(|slot| assert!(dead.insert(slot)));
            let allowed = Filter::only((0..ROWS as u64 / 2).collect()).allowed(&base);
            assert!(recall(&base, &dead, Some(&allowed), 300) > 0.95);
            let allowed = Filter::except((0..ROWS as u64 / 2).collect()).allowed(&base);
            assert!(recall(&base, &dead, Some(&allowed), 300) > 0.95);
        }
    }

    #[test]
    fn what_is_inserted_later_is_found_and_what_died_stays_dead() {
        let space = Space::new(DIMENSION, Metric::InnerProduct).unwrap();
        let base = Base::build(rows(space, 0..ROWS), 2);
        let mut dead = Bits::none(ROWS);
        dead.insert(7);
        let more = rows(space, ROWS..ROWS + 500);
        let (base, dead) = base.extended(&dead, (0..more.len()).map(|slot| (&more, slot)), 2);
        assert_eq!((base.rows.len(), base.graph.len(), dead.count()), (ROWS + 500, ROWS + 500, 1));
        assert_eq!((base.find(7), base.find(2400)), (None, Some(2400)));
        assert!(recall(&base, &dead, None, 100) > 0.95);
    }

    #[test]
    fn the_graph_is_the_same_for_any_number_of_threads() {
        let space = Space::new(DIMENSION, Metric::InnerProduct).unwrap();
        let layers = |threads| {
            let base = Base::build(rows(space, 0..ROWS), threads);
            base.graph.layers().map(<[u32]>::to_vec).collect::<Vec<_>>()
        };
        let one = layers(1);
        assert_eq!(one.iter().map(Vec::len).collect::<Vec<_>>(), [ROWS * 32, ROWS / 16 * 16, ROWS / 256 * 16]);
        assert_eq!(layers(3), one);
        assert!(Graph::from_layers(one.clone(), ROWS).is_some());
        assert!(Graph::from_layers(one.clone(), ROWS - 1).is_none());
        let mut wild = one;
        wild[1][0] = ROWS as u32 - 1;
        assert!(Graph::from_layers(wild, ROWS).is_none());
    }
}
