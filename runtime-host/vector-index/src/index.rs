//! An index in memory.

use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::{
    Error, Filter, Space,
    error::Result,
    limits::{GRAPH_FROM, MAX_CHANGES, MAX_K, MAX_VECTORS},
    parallel,
    rows::{Query, Rows},
    state::Current,
};

/// Changes that are made while a query cannot begin.
const AT_ONCE: usize = 512;

/// A vector that a query found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// Whose vector.
    pub handle: u64,
    /// The inner product with the query, or the cosine of the angle.
    pub score: f32,
}

/// A change of an index.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// The handle's vector is this one from now on.
    Upsert {
        /// Whose vector.
        handle: u64,
        /// Of the index's dimension.
        vector: Vec<f32>,
    },
    /// The handle has no vector from now on.
    Delete {
        /// Whose vector.
        handle: u64,
    },
}

/// How an index is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// From so many vectors on there is a graph; the default is where it begins to pay.
    pub graph_from: usize,
    /// Threads that build it; the default is one for each processor.
    pub threads: usize,
}

impl Default for Plan {
    fn default() -> Self {
        Self { graph_from: GRAPH_FROM, threads: parallel::all_threads() }
    }
}

/// An index in memory: any number of threads may query it while others change it and
/// one rebuilds it.
///
/// A query reads the state of the moment at which it begins, and nothing makes it wait
/// but the few microseconds in which changes are put in place.
#[derive(Debug)]
pub struct Index {
    space: Space,
    pub(crate) plan: Plan,
    current: RwLock<Current>,
    pub(crate) rebuilding: Mutex<()>,
}

/// Changes whose vectors were checked.
pub(crate) struct Checked<'a> {
    changes: &'a [Change],
    /// The vectors, in order.
    rows: Rows,
}

impl Index {
    /// An empty index.
    #[must_use]
    pub fn new(space: Space, plan: Plan) -> Self {
        Self::with(space, plan, Current::new(space, None))
    }

    pub(crate) fn with(space: Space, plan: Plan, current: Current) -> Self {
        Self { space, plan, current: RwLock::new(current), rebuilding: Mutex::default() }
    }

    /// What its vectors have in common.
    #[must_use]
    pub fn space(&self) -> Space {
        self.space
    }

    /// Makes all `changes`, in order; a query may see some of them and not yet others.
    ///
    /// # Errors
    /// [`Error::Change`] when a vector cannot be kept, [`Error::Changes`] or
    /// [`Error::Full`] beyond a limit; nothing is changed then.
    pub fn apply(&self, changes: &[Change]) -> Result<()> {
        let checked = self.check(changes)?;
        self.make(&checked);
        Ok(())
    }

    pub(crate) fn check<'a>(&self, changes: &'a [Change]) -> Result<Checked<'a>> {
        if changes.len() > MAX_CHANGES {
            return Err(Error::Changes { got: changes.len() });
        }
        let mut rows = Rows::new(self.space);
        for change in changes {
            if let Change::Upsert { handle, vector } = change {
                let length = self.space.check(vector).map_err(|error| Error::Change { handle: *handle, error })?;
                rows.push(*handle, vector, length);
            }
        }
        if self.len() + rows.len() > MAX_VECTORS {
            return Err(Error::Full);
        }
        Ok(Checked { changes, rows })
    }

    pub(crate) fn make(&self, checked: &Checked<'_>) {
        let mut slot = 0;
        for changes in checked.changes.chunks(AT_ONCE) {
            let mut current = self.write();
            for change in changes {
                match change {
                    Change::Upsert { .. } => {
                        current.put(&checked.rows, slot);
                        slot += 1;
                    }
                    Change::Delete { handle } => {
                        current.remove(*handle);
                    }
                }
            }
        }
    }

    /// The vector of a handle.
    #[must_use]
    pub fn get(&self, handle: u64) -> Option<Vec<f32>> {
        self.read().find(handle).map(|(rows, slot)| rows.vector(slot).to_vec())
    }

    /// How many vectors there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.read().state.len()
    }

    /// Whether there is no vector.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory that the index takes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.read().memory_bytes()
    }

    /// The `k` vectors most similar to `vector` that `filter` allows, the best first and
    /// equals by handle; fewer when there are not as many. Below
    /// [`graph_from`](Plan::graph_from) vectors, and where a filter leaves few, they are
    /// the best for certain.
    ///
    /// # Errors
    /// [`Error::Vector`] when `vector` cannot be compared, [`Error::K`] when `k` is 0 or
    /// above [`MAX_K`].
    pub fn query(&self, vector: &[f32], k: usize, filter: Option<&Filter>) -> Result<Vec<Hit>> {
        if !(1..=MAX_K).contains(&k) {
            return Err(Error::K { got: k });
        }
        let length = self.space.check(vector)?;
        let query = Query::new(self.space, vector, length);
        let state = self.read().state.clone();
        Ok(state.query(&query, k, filter))
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Current> {
        self.current.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Current> {
        self.current.write().unwrap_or_else(PoisonError::into_inner)
    }
}
