//! The best of many rows by bounds of their scores.

/// A row that may be among the best.
#[derive(Debug, Clone, Copy)]
struct Found {
    least: f32,
    most: f32,
    slot: u32,
}

/// Keeps the rows of which it is not certain that `k` others are better.
#[derive(Debug)]
pub(crate) struct Sieve {
    k: usize,
    /// `k` rows have at least this score; or, before there are as many, none is too bad.
    floor: f32,
    found: Vec<Found>,
    /// So many found are sorted out.
    full: usize,
}

impl Sieve {
    /// Rows kept above `k` before the worse ones are sorted out.
    const SPARE: usize = 512;

    /// `floor` is a score that `k` rows elsewhere reach.
    pub fn new(k: usize, floor: f32) -> Self {
        let full = 2 * k + Self::SPARE;
        Self { k, floor, found: Vec::with_capacity(full), full }
    }

    /// Whether a row whose score is at most `most` is of interest.
    #[inline]
    pub fn admits(&self, most: f32) -> bool {
        most >= self.floor
    }

    /// A row that [`Sieve::admits`]; its score is `score`, give or take `slack`.
    pub fn put(&mut self, slot: u32, score: f32, slack: f32) {
        self.found.push(Found { least: score - slack, most: score + slack, slot });
        if self.found.len() >= self.full {
            self.tighten();
            // What is too close to tell apart stays, and is not gone through each time.
            self.full = self.full.max(2 * self.found.len());
        }
    }

    fn tighten(&mut self) {
        if self.found.len() > self.k {
            let (_, kth, _) = self.found.select_nth_unstable_by(self.k - 1, |a, b| b.least.total_cmp(&a.least));
            self.floor = self.floor.max(kth.least);
        }
        self.found.retain(|found| found.most >= self.floor);
    }

    /// The slots of all rows that may be among the best `k`.
    pub fn finish(mut self) -> impl Iterator<Item = u32> {
        self.tighten();
        self.found.into_iter().map(|found| found.slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sifted(k: usize, floor: f32, rows: impl Iterator<Item = (f32, f32)>) -> Vec<u32> {
        let mut sieve = Sieve::new(k, floor);
        for (slot, (score, slack)) in rows.enumerate() {
            if sieve.admits(score + slack) {
                sieve.put(slot as u32, score, slack);
            }
        }
        let mut slots: Vec<u32> = sieve.finish().collect();
        slots.sort_unstable();
        slots
    }

    #[test]
    fn what_is_certainly_worse_is_left_out() {
        // The third may be better than the second, the fourth cannot.
        let rows = [(5.0, 0.5), (3.0, 0.5), (2.2, 0.5), (1.8, 0.5)];
        assert_eq!(sifted(2, f32::NEG_INFINITY, rows.into_iter()), [0, 1, 2]);
        assert_eq!(sifted(2, 4.0, rows.into_iter()), [0]);
    }

    #[test]
    fn nothing_is_lost_however_many_there_are() {
        let count = 10_000;
        let rising = sifted(10, f32::NEG_INFINITY, (0..count).map(|at| (at as f32, 0.1)));
        assert_eq!(rising, (count - 10..count).collect::<Vec<_>>());
        let equal = sifted(10, f32::NEG_INFINITY, (0..count).map(|_| (1.0, 0.0)));
        assert_eq!(equal.len(), count as usize);
    }
}
