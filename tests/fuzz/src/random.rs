//! Choices that one seed makes: libFuzzer repeats a mutation by its seed.

/// A generator of numbers (SplitMix64).
pub struct Random(u64);

impl Random {
    /// From libFuzzer's seed.
    pub fn new(seed: u32) -> Self {
        Self(u64::from(seed))
    }

    /// Any number.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below a number; 0 when that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.bits() % end.max(1) as u64) as usize
    }

    /// True once in so many times.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of several.
    pub fn of<'a, T>(&mut self, several: &'a [T]) -> &'a T {
        &several[self.below(several.len())]
    }

    /// The place of one of several; none when there is none.
    pub fn place<T>(&mut self, several: &[T]) -> Option<usize> {
        (!several.is_empty()).then(|| self.below(several.len()))
    }

    /// A whole number: mostly a small one, else one at a border.
    pub fn int(&mut self) -> i64 {
        const BORDERS: [i64; 20] = [
            i64::MIN,
            i64::MIN + 1,
            i64::MAX,
            i64::MAX - 1,
            1 << 62,
            1 << 61,
            1 << 32,
            1 << 31,
            (1 << 31) - 1,
            -(1 << 31),
            1 << 24,
            1 << 20,
            65_536,
            4096,
            512,
            256,
            65,
            64,
            63,
            16,
        ];
        if self.one_in(4) { *self.of(&BORDERS) } else { self.below(14) as i64 - 4 }
    }

    /// A number: mostly a small one, else one at a border, or any bits.
    pub fn float(&mut self) -> f32 {
        const BORDERS: [f32; 12] = [
            f32::NAN,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::MAX,
            f32::MIN,
            f32::MIN_POSITIVE,
            1e-45,
            -0.0,
            9.223_372e18,
            -9.223_372e18,
            2_147_483_648.0,
            1e20,
        ];
        match self.below(8) {
            0 | 1 => *self.of(&BORDERS),
            2 => f32::from_bits(self.bits() as u32),
            _ => (self.below(33) as f32 - 16.0) / 8.0,
        }
    }
}
