//! Where the vector of a handle is.

/// No slot.
const FREE: u32 = u32::MAX;

/// The slots of handles that do not change: an open table, at most half full, of four
/// bytes a place; the handles themselves are those of the rows.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    places: Vec<u32>,
}

impl Directory {
    /// Of the handles whose slots `has`, each of which is there once.
    pub fn new(handles: &[u64], has: impl Fn(usize) -> bool) -> Self {
        let mut directory = Self { places: vec![FREE; (2 * handles.len()).next_power_of_two()] };
        for (slot, handle) in handles.iter().enumerate().filter(|(slot, _)| has(*slot)) {
            let mut place = directory.first(*handle);
            while let Some(taken) = directory.places.get(place).filter(|taken| **taken != FREE) {
                debug_assert_ne!(handles.get(*taken as usize), Some(handle));
                place = directory.next(place);
            }
            if let Some(free) = directory.places.get_mut(place) {
                *free = slot as u32;
            }
        }
        directory
    }

    /// The slot of `handle` in the rows of `handles`.
    pub fn find(&self, handles: &[u64], handle: u64) -> Option<usize> {
        let mut place = self.first(handle);
        loop {
            let slot = *self.places.get(place).filter(|slot| **slot != FREE)? as usize;
            if handles.get(slot) == Some(&handle) {
                return Some(slot);
            }
            place = self.next(place);
        }
    }

    /// Bytes of memory.
    pub fn memory_bytes(&self) -> usize {
        self.places.capacity() * size_of::<u32>()
    }

    fn first(&self, handle: u64) -> usize {
        mix(handle) as usize & self.places.len().wrapping_sub(1)
    }

    fn next(&self, place: usize) -> usize {
        (place + 1) & self.places.len().wrapping_sub(1)
    }
}

/// A number that looks random and is the same for the same handle (the finaliser of
/// SplitMix64; Steele et al., 2014).
pub(crate) fn mix(handle: u64) -> u64 {
    let mixed = handle.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_are_found_at_their_slots() {
        assert_eq!(Directory::default().find(&[], 7), None);
        let handles: Vec<u64> = (0..1000).map(|at| at << 40).collect();
        let directory = Directory::new(&handles, |slot| slot != 5);
        for (slot, handle) in handles.iter().enumerate() {
            assert_eq!(directory.find(&handles, *handle), (slot != 5).then_some(slot));
        }
        assert_eq!(directory.find(&handles, 1), None);
    }
}
