//! [`LiveMap`]: which words of the old space are live, and where they go when it is compacted.
//!
//! One bit for each 8 bytes, and for each 64 of them (a *block* of 512 bytes) where its first live word
//! goes. All words of a live object are marked, so that a live word's new place is its block's, plus 8
//! bytes for each live word before it in the block.

use crate::arch;
use crate::os::pages::{PAGE_SIZE, Reservation};
use rustix::io;
use sarsen_abi::heap::{ALIGNMENT, FIRST, YOUNG};

/// The size of a block, in bytes.
const BLOCK: u32 = 64 * ALIGNMENT;
const BLOCKS: usize = (YOUNG / BLOCK) as usize;
const BITS_SIZE: usize = BLOCKS * size_of::<u64>();
const PLACES_SIZE: usize = BLOCKS * size_of::<u32>();
/// Up to so many bytes of the tables are cleared by writing zeroes.
const MEMSET_LIMIT: usize = 256 << 10;

/// Which words are live. See the module's page.
#[derive(Debug)]
pub(super) struct LiveMap {
    /// The bits, then the blocks' places; zero between collections.
    pages: Reservation,
    /// The end of the old space, as an offset.
    end: u32,
    /// The number of blocks that hold objects.
    blocks: usize,
}

impl LiveMap {
    pub(super) fn new() -> io::Result<LiveMap> {
        let size = (BITS_SIZE + PLACES_SIZE).next_multiple_of(PAGE_SIZE);
        Ok(LiveMap {
            pages: Reservation::new_zeroed(size)?,
            end: FIRST,
            blocks: 0,
        })
    }

    /// Begins a collection of what lies below `end`. Nothing is live.
    pub(super) fn begin(&mut self, end: u32) {
        assert!((FIRST..=YOUNG).contains(&end));
        self.end = end;
        self.blocks = end.div_ceil(BLOCK) as usize;
    }

    #[inline(always)]
    fn bits(&self) -> &[u64] {
        // SAFETY: a table of so many words, all initialized; writing needs a mutable borrow.
        unsafe { std::slice::from_raw_parts(self.pages.base().cast(), self.blocks) }
    }

    #[inline(always)]
    fn bits_mut(&mut self) -> &mut [u64] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.pages.base().cast(), self.blocks) }
    }

    #[inline(always)]
    fn places(&self) -> &[u32] {
        // SAFETY: as above; the places follow the bits.
        unsafe { std::slice::from_raw_parts(self.pages.ptr_at(BITS_SIZE).cast(), self.blocks) }
    }

    fn places_mut(&mut self) -> &mut [u32] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.pages.ptr_at(BITS_SIZE).cast(), self.blocks) }
    }

    /// Marks the word at `at`; false when it was marked already.
    #[inline(always)]
    pub(super) fn mark(&mut self, at: u32) -> bool {
        let bit = 1 << (at / ALIGNMENT % 64);
        let word = &mut self.bits_mut()[(at / BLOCK) as usize];
        let fresh = *word & bit == 0;
        *word |= bit;
        fresh
    }

    /// Marks `size` bytes at `at`, whole words.
    #[inline(always)]
    pub(super) fn mark_all(&mut self, at: u32, size: u32) {
        let first = at / ALIGNMENT;
        let last = (at + size) / ALIGNMENT - 1;
        let (start, end) = ((first / 64) as usize, (last / 64) as usize);
        let head = u64::MAX << (first % 64);
        let tail = u64::MAX >> (63 - last % 64);
        let bits = self.bits_mut();
        if start == end {
            bits[start] |= head & tail;
        } else {
            bits[start] |= head;
            bits[start + 1..end].fill(u64::MAX);
            bits[end] |= tail;
        }
    }

    /// Whether the word at `at` is marked.
    #[inline(always)]
    pub(super) fn is_live(&self, at: u32) -> bool {
        at < self.end && self.bits()[(at / BLOCK) as usize] >> (at / ALIGNMENT % 64) & 1 != 0
    }

    /// The first live word from `at`.
    #[inline(always)]
    pub(super) fn next_live(&self, at: u32) -> Option<u32> {
        let bits = self.bits();
        let mut block = (at / BLOCK) as usize;
        let mut word = *bits.get(block)? & (u64::MAX << (at / ALIGNMENT % 64));
        while word == 0 {
            block += 1;
            word = *bits.get(block)?;
        }
        Some(block as u32 * BLOCK + word.trailing_zeros() * ALIGNMENT)
    }

    /// Works out where everything goes. Returns the new end of the old space.
    pub(super) fn place(&mut self) -> u32 {
        let mut next = FIRST;
        for block in 0..self.blocks {
            self.places_mut()[block] = next;
            next += arch::count_ones(self.bits()[block]) * ALIGNMENT;
        }
        next
    }

    /// Where the live word at `at` goes.
    #[inline(always)]
    pub(super) fn new_place(&self, at: u32) -> u32 {
        let block = (at / BLOCK) as usize;
        let before = self.bits()[block] & ((1 << (at / ALIGNMENT % 64)) - 1);
        self.places()[block] + arch::count_ones(before) * ALIGNMENT
    }

    /// Where the object at `at` goes, if it is live.
    pub(super) fn fate(&self, at: u32) -> Option<u32> {
        self.is_live(at).then(|| self.new_place(at))
    }

    /// Ends a collection: forgets everything.
    pub(super) fn clear(&mut self) {
        let blocks = self.blocks;
        let bytes = (blocks * size_of::<u64>()).next_multiple_of(PAGE_SIZE);
        let cleared = bytes > MEMSET_LIMIT && {
            let places = (blocks * size_of::<u32>()).next_multiple_of(PAGE_SIZE);
            let places_at = BITS_SIZE / PAGE_SIZE * PAGE_SIZE;
            // SAFETY: ours; nothing that was there is used again.
            unsafe {
                self.pages.decommit(0, bytes.min(places_at)).is_ok()
                    && self.pages.decommit(places_at, places).is_ok()
            }
        };
        if !cleared {
            self.bits_mut().fill(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_words_slide_together_in_order() {
        let mut map = LiveMap::new().unwrap();
        for _ in 0..2 {
            let end = FIRST + (1 << 20);
            map.begin(end);
            let mut random = 12345u32;
            let mut objects = Vec::new();
            let mut at = FIRST;
            loop {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let size = 8 * (1 + (random >> 20) % 200);
                if at + size > end {
                    break;
                }
                if random >> 31 == 0 {
                    assert!(map.mark(at) && !map.mark(at));
                    map.mark_all(at, size);
                    objects.push((at, size));
                }
                at += size;
            }
            let new_end = map.place();
            let (mut expected, mut from) = (FIRST, FIRST);
            for &(at, size) in &objects {
                assert_eq!(map.next_live(from), Some(at));
                for word in (at..at + size).step_by(8) {
                    assert!(map.is_live(word));
                    assert_eq!(map.new_place(word), expected + (word - at));
                }
                expected += size;
                from = at + size;
            }
            assert_eq!((map.next_live(from), new_end), (None, expected));
            map.clear();
            assert!(map.bits().iter().all(|&word| word == 0));
        }
    }
}
