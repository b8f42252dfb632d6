//! What one user was shown in one scenario, in memory.

use std::collections::BTreeMap;

use funnelweb_core::{handles::HandleMap, limits};

/// Items shown by one call, and until when they count.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    pub(crate) expires_ms: u64,
    pub(crate) handles: Vec<u64>,
}

/// Members with their expiry, in the order in which they were last added.
#[derive(Debug, Default)]
pub(crate) struct ExposureSet {
    members: HandleMap<(u64, u64)>,
    order: BTreeMap<u64, u64>,
    added: u64,
    /// Rows of the store that the set was made of; and how many are too many.
    pub(crate) rows: usize,
    pub(crate) compact_at: usize,
}

impl ExposureSet {
    /// Adds members, or moves their expiry to that of this call; the oldest go
    /// when there are more than [`limits::EXPOSURES`].
    pub(crate) fn add(&mut self, shown: &Shown) {
        self.rows += 1;
        for &handle in &shown.handles {
            self.added += 1;
            if let Some((_, place)) = self.members.insert(handle, (shown.expires_ms, self.added)) {
                self.order.remove(&place);
            }
            self.order.insert(self.added, handle);
        }
        while self.members.len() > limits::EXPOSURES {
            let Some((_, oldest)) = self.order.pop_first() else { break };
            self.members.remove(&oldest);
        }
    }

    /// Forgets the oldest as far as they have expired.
    pub(crate) fn prune(&mut self, now_ms: u64) {
        while let Some(oldest) = self.order.first_entry() {
            match self.members.get(oldest.get()) {
                Some((expires_ms, _)) if *expires_ms > now_ms => break,
                _ => self.members.remove(&oldest.remove()),
            };
        }
    }

    /// Those that have not expired, in the order in which they were last added.
    pub(crate) fn alive(&self, now_ms: u64) -> impl Iterator<Item = (u64, u64)> {
        let expiry = |handle: &u64| self.members.get(handle).map(|(expires_ms, _)| *expires_ms);
        self.order
            .values()
            .filter_map(move |handle| Some((*handle, expiry(handle)?)))
            .filter(move |(_, expires_ms)| *expires_ms > now_ms)
    }

    /// Those that have not expired, in no order.
    pub(crate) fn handles(&self, now_ms: u64) -> impl Iterator<Item = u64> {
        self.members.iter().filter(move |(_, (expires_ms, _))| *expires_ms > now_ms).map(|(handle, _)| *handle)
    }

    /// Bytes in memory, roughly: an entry of the map and one of the tree.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.members.capacity() * 25 + self.order.len() * 24
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alive(set: &ExposureSet, now_ms: u64) -> Vec<u64> {
        set.alive(now_ms).map(|(handle, _)| handle).collect()
    }

    #[test]
    fn a_member_lives_from_when_it_was_last_added() {
        let mut set = ExposureSet::default();
        set.add(&Shown { expires_ms: 10, handles: vec![1, 2] });
        set.add(&Shown { expires_ms: 20, handles: vec![1] });
        assert_eq!(alive(&set, 9), [2, 1]);
        assert_eq!(alive(&set, 10), [1]);
        assert!(alive(&set, 20).is_empty());
        set.prune(10);
        assert_eq!((alive(&set, 0), set.members.len()), (vec![1], 1));
    }

    #[test]
    fn the_oldest_go_first() {
        let mut set = ExposureSet::default();
        let all: Vec<u64> = (0..=limits::EXPOSURES as u64).collect();
        set.add(&Shown { expires_ms: 10, handles: all });
        assert_eq!(alive(&set, 0).len(), limits::EXPOSURES);
        assert_eq!(alive(&set, 0).first(), Some(&1));
    }
}
