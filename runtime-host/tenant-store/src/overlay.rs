//! Changes that are committed but not yet written to the tables they change.
//!
//! A change of many small things all over a file is cheap when it is written
//! down as one row of a journal, and a thousand of them are cheaper applied
//! together than one by one. Until a part applies its journal
//! ([`crate::Part::settle`]) readers need what stands in it: it is kept here,
//! under the journal's sequence number.
//!
//! A reader asks the overlay first and takes its snapshot of the file then. What
//! it was given and the snapshot has already ([`settled`]) it passes over; what
//! the snapshot lacks it was given: an overlay drops a change only after the
//! transaction that applied it is committed.

use std::{
    borrow::Borrow,
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, MutexGuard},
};

use rusqlite::{Connection, params};

use crate::{Error, lock};

/// Changes by key, in order, each with its sequence number.
pub struct Overlay<K, V>(Mutex<HashMap<u64, Layer<K, V>>>);

/// The changes of one file.
struct Layer<K, V> {
    last: u64,
    changes: HashMap<K, Vec<(u64, V)>>,
}

impl<K, V> Default for Layer<K, V> {
    fn default() -> Self {
        Self { last: 0, changes: HashMap::new() }
    }
}

impl<K, V> Default for Overlay<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Hash + Eq, V: Clone> Overlay<K, V> {
    fn layers(&self) -> MutexGuard<'_, HashMap<u64, Layer<K, V>>> {
        lock(&self.0)
    }

    /// Adds the changes of a committed transaction to those of `file`; `seq` is
    /// above all numbers before.
    pub fn add(&self, file: u64, seq: u64, changes: impl IntoIterator<Item = (K, V)>) {
        let mut layers = self.layers();
        let layer = layers.entry(file).or_default();
        layer.last = seq;
        for (key, change) in changes {
            layer.changes.entry(key).or_default().push((seq, change));
        }
    }

    /// The last number that was added, 0 for none; and the changes of each key.
    pub fn get<'a, Q>(&self, file: u64, keys: impl IntoIterator<Item = &'a Q>) -> (u64, Vec<Vec<(u64, V)>>)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized + 'a,
    {
        let layers = self.layers();
        let layer = layers.get(&file);
        let of = |key| layer.and_then(|layer| layer.changes.get(key)).cloned().unwrap_or_default();
        (layer.map_or(0, |layer| layer.last), keys.into_iter().map(of).collect())
    }

    /// Whether `file` has no changes here.
    pub fn is_empty(&self, file: u64) -> bool {
        self.layers().get(&file).is_none_or(|layer| layer.changes.is_empty())
    }

    /// Drops the changes up to `seq`: the tables have them, and that is
    /// committed.
    pub fn settle(&self, file: u64, seq: u64) {
        let mut layers = self.layers();
        let Some(layer) = layers.get_mut(&file) else { return };
        if layer.last <= seq {
            // Memory of the largest burst is given back, too.
            layer.changes = HashMap::new();
            return;
        }
        layer.changes.retain(|_, changes| {
            changes.retain(|(at, _)| *at > seq);
            !changes.is_empty()
        });
    }

    /// Forgets a file that is closed.
    pub fn close(&self, file: u64) {
        self.layers().remove(&file);
    }
}

/// The sequence number up to which the tables of this snapshot have everything.
///
/// # Errors
/// `unavailable` when the file cannot be read.
pub fn settled(connection: &Connection) -> Result<u64, Error> {
    let mut select = connection.prepare_cached("SELECT seq FROM settled")?;
    Ok(select.query_row([], |row| row.get::<_, i64>(0))?.cast_unsigned())
}

/// Sets what [`settled`] tells.
///
/// # Errors
/// `unavailable` when the file cannot be written.
pub fn set_settled(connection: &Connection, seq: u64) -> Result<(), Error> {
    connection.prepare_cached("UPDATE settled SET seq = ?")?.execute(params![seq.cast_signed()])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_settled_is_dropped_and_the_rest_kept() {
        let overlay = Overlay::<String, u32>::default();
        let of = |file, key: &str| overlay.get(file, [key]).1.remove(0);
        assert!(overlay.is_empty(1));
        overlay.add(1, 5, [("a".to_owned(), 1), ("b".to_owned(), 2)]);
        overlay.add(1, 6, [("a".to_owned(), 3)]);
        overlay.add(2, 1, [("a".to_owned(), 9)]);
        assert_eq!(of(1, "a"), [(5, 1), (6, 3)]);
        overlay.settle(1, 5);
        assert_eq!((of(1, "a"), of(1, "b")), (vec![(6, 3)], vec![]));
        overlay.settle(1, 6);
        assert!(overlay.is_empty(1));
        assert_eq!(overlay.get(1, ["a"]).0, 6);
        overlay.close(2);
        assert_eq!(overlay.get(2, ["a"]), (0, vec![vec![]]));
    }
}
