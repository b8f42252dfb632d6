//! The large part of an index: rows that do not change, with a graph over them.

use std::sync::{
    Mutex, PoisonError,
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

    fn lock_scratch(&self) -> std::sync::MutexGuard<'_, Vec<Scratch>> {
        self.scratch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of memory.
    pub fn memory_bytes(&self) -> usize {
        let scratch: usize = self.lock_scratch().iter().map(Scratch::memory_bytes).sum();
        self.rows.memory_bytes() + self.graph.memory_bytes() + self.directory.memory_bytes() + scratch
    }
}
