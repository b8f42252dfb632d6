//! Handles as tenants' components see them: their low 53 bits, so that every language can
//! hold them in a number. What a component is given in a call it can give back; they are
//! told apart within the call only.

use funnelweb_core::handles::HandleMap;

const MASK: u64 = (1 << 53) - 1;

/// A handle as a component sees it.
#[must_use]
pub(crate) fn narrow(handle: u64) -> u64 {
    handle & MASK
}

/// Handles as a component sees them.
#[must_use]
pub(crate) fn all_narrow(handles: &[u64]) -> Vec<u64> {
    handles.iter().map(|handle| narrow(*handle)).collect()
}

/// What a component was given in a call.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known(HandleMap<u64>);

impl Known {
    /// Of these.
    pub(crate) fn of(handles: &[u64]) -> Self {
        let mut map = HandleMap::with_capacity_and_hasher(handles.len(), Default::default());
        map.extend(handles.iter().map(|handle| (narrow(*handle), *handle)));
        Self(map)
    }

    /// Gives further ones, as a component sees them.
    pub(crate) fn give(&mut self, handles: &[u64]) -> Vec<u64> {
        self.0.extend(handles.iter().map(|handle| (narrow(*handle), *handle)));
        all_narrow(handles)
    }

    /// The handle that a component means; none when it was not given it.
    pub(crate) fn wide(&self, narrow: u64) -> Option<u64> {
        self.0.get(&narrow).copied()
    }

    /// The handles that a component means. One that it was not given stays as it is, and is
    /// no item's.
    pub(crate) fn all_wide(&self, narrow: &[u64]) -> Vec<u64> {
        narrow.iter().map(|handle| self.wide(*handle).unwrap_or(*handle)).collect()
    }

    /// The same, of an answer.
    ///
    /// # Errors
    /// The place of the first that it was not given.
    pub(crate) fn answered(&self, narrow: &[u64]) -> Result<Vec<u64>, usize> {
        narrow.iter().enumerate().map(|(at, handle)| self.wide(*handle).ok_or(at)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_can_be_given_back() {
        let handles = [u64::MAX, 1 << 60, 7, 12_345_678_901_234_567_890];
        let mut known = Known::of(&handles[..2]);
        let seen = known.give(&handles[2..]);
        assert!(seen.iter().all(|handle| *handle as f64 as u64 == *handle), "exact as a float: {seen:?}");
        assert_eq!(known.answered(&all_narrow(&handles)), Ok(handles.to_vec()));
        assert_eq!(known.answered(&[seen[0], 8]), Err(1));
        assert_eq!(known.all_wide(&[seen[1], 8]), [handles[3], 8]);
    }
}
