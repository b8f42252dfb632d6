//! Handles in ascending order, found by their upper bits.

use funnelweb_core::handles::Handle;

use crate::format::Error;

/// More upper bits than these would take more memory than the handles.
const MOST_BITS: u32 = 24;

/// Handles in ascending order, each once; the place of one is its id.
///
/// They are hashes, spread evenly over all numbers: of the 2^b parts that their b
/// upper bits make, with b the logarithm of their number, most hold one or two.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Handles {
    sorted: Vec<Handle>,
    /// Where each part begins, and where the last one ends.
    parts: Vec<u32>,
    bits: u32,
}

impl Handles {
    /// From handles that ascend.
    ///
    /// # Errors
    /// When they do not, or are more than a u32 counts.
    pub fn new(sorted: Vec<Handle>) -> Result<Self, Error> {
        let ascending = sorted.iter().zip(sorted.iter().skip(1)).fold(true, |all, (a, b)| all & (a < b));
        let count = u32::try_from(sorted.len()).ok().filter(|_| ascending).ok_or(Error::Parts("its handles"))?;
        let bits = count.checked_ilog2().unwrap_or(0).min(MOST_BITS);
        let mut parts = Vec::with_capacity((1 << bits) + 1);
        for (id, &handle) in (0..).zip(&sorted) {
            while parts.len() <= part(handle, bits) {
                parts.push(id);
            }
        }
        parts.resize((1 << bits) + 1, count);
        Ok(Self { sorted, parts, bits })
    }

    /// The id of a handle.
    #[must_use]
    pub fn id(&self, handle: Handle) -> Option<u32> {
        let part = part(handle, self.bits);
        let start = *self.parts.get(part)?;
        let end = *self.parts.get(part + 1)?;
        let found = self.sorted.get(start as usize..end as usize)?.binary_search(&handle).ok()?;
        Some(start + found as u32)
    }

    /// All of them, ascending.
    #[must_use]
    pub fn all(&self) -> &[Handle] {
        &self.sorted
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        8 * self.sorted.len() + 4 * self.parts.len()
    }
}

fn part(handle: Handle, bits: u32) -> usize {
    handle.checked_shr(u64::BITS - bits).unwrap_or(0) as usize
}

#[cfg(test)]
mod tests {
    use proptest::{collection::btree_set, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn each_is_found_and_no_other(even in btree_set(any::<u64>(), 0..200), near in btree_set(0_u64..999, 0..200)) {
            // Spread evenly, or all together.
            for sorted in [even, near] {
                let sorted: Vec<u64> = sorted.into_iter().collect();
                let handles = Handles::new(sorted.clone()).unwrap();
                for probe in sorted.iter().flat_map(|handle| [*handle, handle.wrapping_add(1), handle.wrapping_sub(1)]) {
                    prop_assert_eq!(handles.id(probe).map(|id| id as usize), sorted.binary_search(&probe).ok());
                }
            }
        }
    }

    #[test]
    fn what_does_not_ascend_is_refused() {
        assert!(Handles::new(vec![1, 1]).is_err());
        assert!(Handles::new(vec![2, 1]).is_err());
        assert_eq!(Handles::new(Vec::new()).unwrap().id(0), None);
        assert_eq!(Handles::new(vec![0, u64::MAX]).unwrap().id(u64::MAX), Some(1));
    }
}
