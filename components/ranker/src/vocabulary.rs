//! From a value's hash to its place in a column's vocabulary.
//!
//! An open-addressed table, at most half full: hashes are spread evenly already, so
//! their low bits are the slot, and a look-up reads one cache line.

/// A column's values by hash.
#[derive(Debug, Clone)]
pub struct Vocabulary {
    /// `(hash, 1 + place)`; a power of two of them. Hash 0 is an empty slot.
    slots: Vec<(u32, u32)>,
}

impl Vocabulary {
    /// A table of these hashes in the order of their places. Of two values with the
    /// same hash, which no feature table can tell apart, the first has it.
    #[must_use]
    pub fn new(hashes: &[u32]) -> Self {
        let mut table = Self { slots: vec![(0, 0); (2 * hashes.len()).next_power_of_two()] };
        for (hash, place) in hashes.iter().zip(1..) {
            let free =
                table.walk(*hash).find(|at| table.slots.get(*at).is_some_and(|slot| slot.0 == 0 || slot.0 == *hash));
            if let Some(slot) = free.and_then(|at| table.slots.get_mut(at)).filter(|slot| slot.0 == 0) {
                *slot = (*hash, place);
            }
        }
        table
    }

    /// 1 + the place of a value; 0 for one that is missing or not there.
    #[must_use]
    pub fn place(&self, hash: u32) -> u32 {
        if hash == 0 {
            return 0;
        }
        for at in self.walk(hash) {
            match self.slots.get(at) {
                Some(&(other, place)) if other == hash => return place,
                Some(&(other, _)) if other != 0 => {}
                _ => return 0,
            }
        }
        0
    }

    /// The slots where a hash may be, in order.
    fn walk(&self, hash: u32) -> impl Iterator<Item = usize> + use<> {
        let mask = self.slots.len() - 1;
        (0..=mask).map(move |step| (hash as usize + step) & mask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_their_places_and_others_none() {
        let table = Vocabulary::new(&[8, 16, 24, 7]);
        assert_eq!([8, 16, 24, 7].map(|hash| table.place(hash)), [1, 2, 3, 4]);
        assert_eq!([0, 9, 32, u32::MAX].map(|hash| table.place(hash)), [0, 0, 0, 0]);
        assert_eq!(Vocabulary::new(&[]).place(5), 0);
    }

    #[test]
    fn of_equal_hashes_the_first_counts() {
        let table = Vocabulary::new(&[5, 6, 5]);
        assert_eq!([5, 6].map(|hash| table.place(hash)), [1, 2]);
    }

    #[test]
    fn a_large_table_finds_everything() {
        let hashes: Vec<u32> = (1..=100_000_u32).map(|at| at.wrapping_mul(2_654_435_761)).collect();
        let table = Vocabulary::new(&hashes);
        assert!(hashes.iter().zip(1..).all(|(hash, place)| table.place(*hash) == place));
    }
}
