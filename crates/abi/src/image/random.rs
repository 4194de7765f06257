//! Reproducible numbers for the tests of this folder's tables.

/// A linear congruential generator (Knuth's MMIX constants), of which the high bits are used.
pub(super) struct Random(u64);

impl Random {
    /// The sequence with this seed.
    pub(super) fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// A number below `limit`.
    pub(super) fn below(&mut self, limit: u32) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (((self.0 >> 32) * u64::from(limit)) >> 32) as u32
    }
}
