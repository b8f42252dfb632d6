//! Sets of slots.
#![allow(clippy::indexing_slicing, reason = "callers stay below the length that they gave")]

use std::sync::Arc;

/// Words of a part, which is what is copied when a set that is shared changes.
const PART: usize = 1024;
/// Bits of a word.
pub(crate) const WORD: usize = u64::BITS as usize;

/// A set of slots below a length.
#[derive(Debug, Clone)]
pub(crate) struct Bits {
    parts: Vec<Arc<[u64; PART]>>,
    count: usize,
}

impl Bits {
    /// Of no slot.
    pub fn none(len: usize) -> Self {
        // One part for all until they differ.
        let part = Arc::new([0; PART]);
        Self { parts: vec![part; len.div_ceil(PART * WORD)], count: 0 }
    }

    /// Of every slot.
    pub fn all(len: usize) -> Self {
        let part = Arc::new([u64::MAX; PART]);
        let mut bits = Self { parts: vec![part; len.div_ceil(PART * WORD)], count: len };
        if let Some(last) = bits.parts.last_mut() {
            let used = len - (len - 1) / (PART * WORD) * (PART * WORD);
            let words = Arc::make_mut(last).iter_mut().enumerate();
            words.for_each(|(at, word)| {
                let used = used.saturating_sub(at * WORD);
                if used < WORD {
                    *word = (1 << used) - 1;
                }
            });
        }
        bits
    }

    /// How many slots are in the set.
    pub fn count(&self) -> usize {
        self.count
    }

    #[inline]
    pub fn contains(&self, slot: usize) -> bool {
        self.word(slot / WORD) >> (slot % WORD) & 1 == 1
    }

    /// Slots `word * WORD..` as the bits of a word, from the lowest.
    #[inline]
    pub fn word(&self, word: usize) -> u64 {
        self.parts[word / PART][word % PART]
    }

    /// Whether `slot` was not in the set before.
    pub fn insert(&mut self, slot: usize) -> bool {
        let new = !self.contains(slot);
        if new {
            Arc::make_mut(&mut self.parts[slot / WORD / PART])[slot / WORD % PART] |= 1 << (slot % WORD);
            self.count += 1;
        }
        new
    }

    /// Takes `slot` out.
    pub fn remove(&mut self, slot: usize) {
        if self.contains(slot) {
            Arc::make_mut(&mut self.parts[slot / WORD / PART])[slot / WORD % PART] &= !(1 << (slot % WORD));
            self.count -= 1;
        }
    }

    /// Makes room for slots below `len`.
    pub fn grow(&mut self, len: usize) {
        let parts = len.div_ceil(PART * WORD);
        if parts > self.parts.len() {
            self.parts.resize(parts, Arc::new([0; PART]));
        }
    }

    /// Bytes of memory.
    pub fn memory_bytes(&self) -> usize {
        self.parts.len() * size_of::<[u64; PART]>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_those_below_the_length() {
        for len in [0, 1, 64, 65, PART * WORD, PART * WORD + 70] {
            let bits = Bits::all(len);
            let words = (0..len.next_multiple_of(PART * WORD) / WORD).map(|word| bits.word(word).count_ones() as usize);
            assert_eq!((bits.count(), words.sum::<usize>()), (len, len));
        }
        let mut bits = Bits::all(10);
        bits.remove(3);
        bits.remove(3);
        assert_eq!((bits.count(), bits.word(0)), (9, 0b11_1111_0111));
    }

    #[test]
    fn a_set_has_what_was_inserted_and_copies_stay_as_they_are() {
        let len = 3 * PART * WORD;
        let mut bits = Bits::none(len);
        let before = bits.clone();
        let slots = [0, 63, 64, PART * WORD, len - 1];
        assert!(slots.iter().all(|slot| bits.insert(*slot)));
        assert!(!bits.insert(63));
        assert_eq!((0..len).filter(|slot| bits.contains(*slot)).collect::<Vec<_>>(), slots);
        assert_eq!((bits.count(), bits.word(0)), (5, 1 | 1 << 63));
        assert!(before.count() == 0 && !before.contains(0));
        bits.grow(len + 1);
        assert!(bits.insert(len) && !before.contains(0));
    }
}
