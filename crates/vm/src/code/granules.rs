//! Which granules of the text range are free: an allocator of ranges of numbers.
//!
//! First fit, lowest first, so that the pages of the lookup table that are touched stay few. Free ranges
//! never touch each other: what is given back is joined with its neighbours.

use std::collections::BTreeMap;
use std::ops::Range;

/// The free granules.
#[derive(Debug)]
pub(super) struct Granules {
    /// Start and end of each free range.
    free: BTreeMap<u32, u32>,
}

impl Granules {
    /// All of `0..count` are free.
    pub(super) fn new(count: u32) -> Self {
        Granules {
            free: BTreeMap::from([(0, count)]),
        }
    }

    /// Takes `count` (at least 1) adjacent granules.
    pub(super) fn allocate(&mut self, count: u32) -> Option<Range<u32>> {
        assert!(count > 0);
        let (&start, &end) = self
            .free
            .iter()
            .find(|&(start, end)| end - start >= count)?;
        self.free.remove(&start);
        if start + count < end {
            self.free.insert(start + count, end);
        }
        Some(start..start + count)
    }

    /// Gives granules back, which were allocated as this range.
    ///
    /// # Panics
    ///
    /// Panics when one of them is free already.
    pub(super) fn release(&mut self, range: Range<u32>) {
        let Range { mut start, mut end } = range;
        if let Some((&before, &before_end)) = self.free.range(..end).next_back() {
            assert!(before_end <= start, "granules are released once");
            if before_end == start {
                start = before;
            }
        }
        if let Some(after_end) = self.free.remove(&end) {
            end = after_end;
        }
        self.free.insert(start, end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_never_overlap_and_everything_comes_back() {
        const COUNT: u32 = 64;
        let mut granules = Granules::new(COUNT);
        let mut taken = [false; COUNT as usize];
        let mut ranges: Vec<Range<u32>> = Vec::new();
        let mut seed = 1u32;
        for _ in 0..5000 {
            seed = seed.wrapping_mul(1664525).wrapping_add(1013904223);
            let number = seed >> 16;
            if number.is_multiple_of(2) {
                let count = 1 + number / 2 % 9;
                let Some(range) = granules.allocate(count) else {
                    let longest = taken.split(|&t| t).map(<[bool]>::len).max();
                    assert!(
                        longest < Some(count as usize),
                        "room for {count}: {taken:?}"
                    );
                    continue;
                };
                assert_eq!(range.len(), count as usize);
                for granule in range.clone() {
                    assert!(!std::mem::replace(&mut taken[granule as usize], true));
                }
                ranges.push(range);
            } else if !ranges.is_empty() {
                let range = ranges.swap_remove(number as usize / 2 % ranges.len());
                range
                    .clone()
                    .for_each(|granule| taken[granule as usize] = false);
                granules.release(range);
            }
        }
        ranges.into_iter().for_each(|range| granules.release(range));
        assert_eq!(granules.allocate(COUNT), Some(0..COUNT));
        assert_eq!(granules.allocate(1), None);
    }

    #[test]
    #[should_panic(expected = "released once")]
    fn a_range_that_is_released_twice_is_noticed() {
        let mut granules = Granules::new(8);
        let range = granules.allocate(2).unwrap();
        granules.release(range.clone());
        granules.release(range);
    }
}
