//! [`OwnBytes`]: a guest's memory that nobody else uses during a call. Buffers are slices of the memory
//! itself, so that data moves between guest and kernel without a copy of ours.
//!
//! Buffers that a read fills may overlap (only a hostile or broken guest does that): then just the first
//! ones that do not overlap are used, which is a short read.

use crate::errno::Errno;
use crate::memory::{GuestRange, Ranges};
use smallvec::SmallVec;
use std::io::{IoSlice, IoSliceMut};

/// Buffers of one vectored read.
type ReadBuffers<'a> = SmallVec<[IoSliceMut<'a>; 8]>;

/// Buffers of one vectored write. Programs pass one or two, nearly always.
pub(crate) type WriteBuffers<'a> = SmallVec<[IoSlice<'a>; 8]>;

/// A guest's memory, borrowed exclusively.
pub(crate) struct OwnBytes<'a>(&'a mut [u8]);

impl<'a> OwnBytes<'a> {
    pub(crate) fn new(bytes: &'a mut [u8]) -> Self {
        OwnBytes(bytes)
    }

    /// The bytes of `range`.
    pub(crate) fn get(&self, range: GuestRange) -> Result<&[u8], Errno> {
        self.0.get(as_indices(range)).ok_or(Errno::Fault)
    }

    /// The bytes of `range`, writable.
    pub(crate) fn get_mut(&mut self, range: GuestRange) -> Result<&mut [u8], Errno> {
        self.0.get_mut(as_indices(range)).ok_or(Errno::Fault)
    }

    /// The buffers, to be written from.
    pub(crate) fn buffers(&self, ranges: &[GuestRange]) -> Result<WriteBuffers<'_>, Errno> {
        ranges
            .iter()
            .map(|&range| Ok(IoSlice::new(self.get(range)?)))
            .collect()
    }

    /// The buffers, which are in bounds, to be read into, in the guest's order.
    pub(crate) fn buffers_mut(&mut self, mut ranges: Ranges) -> Result<ReadBuffers<'_>, Errno> {
        ranges.truncate(first_overlap(&ranges));
        if ranges.is_sorted_by_key(|range| range.start.0) {
            return Ok(self.split_ascending(ranges).collect());
        }
        let mut order: SmallVec<[usize; 8]> = (0..ranges.len()).collect();
        order.sort_unstable_by_key(|&index| ranges[index].start.0);
        let sorted = order.iter().map(|&index| ranges[index]).collect();
        let mut buffers: SmallVec<[_; 8]> = order
            .into_iter()
            .zip(self.split_ascending(sorted))
            .collect();
        buffers.sort_unstable_by_key(|(index, _)| *index);
        Ok(buffers.into_iter().map(|(_, buffer)| buffer).collect())
    }

    /// The slices of `ranges`, which are in bounds, in ascending order and do not overlap.
    fn split_ascending(&mut self, ranges: Ranges) -> impl Iterator<Item = IoSliceMut<'_>> {
        let mut rest: &mut [u8] = self.0;
        let mut position = 0;
        ranges.into_iter().map(move |range| {
            let indices = as_indices(range);
            let (_, tail) = std::mem::take(&mut rest).split_at_mut(indices.start - position);
            let (buffer, tail) = tail.split_at_mut(indices.len());
            rest = tail;
            position = indices.end;
            IoSliceMut::new(buffer)
        })
    }
}

fn as_indices(range: GuestRange) -> std::ops::Range<usize> {
    range.start.0 as usize..range.end() as usize
}

/// How many of `ranges` there are before the first that overlaps an earlier one.
fn first_overlap(ranges: &[GuestRange]) -> usize {
    // Nearly always the buffers follow each other; only then is there nothing to search.
    if ranges.is_sorted_by(|one, next| one.end() <= u64::from(next.start.0)) {
        return ranges.len();
    }
    let overlaps = |one: &GuestRange, other: &GuestRange| {
        u64::from(one.start.0) < other.end() && u64::from(other.start.0) < one.end()
    };
    (0..ranges.len())
        .find(|&index| {
            ranges[..index]
                .iter()
                .any(|earlier| overlaps(earlier, &ranges[index]))
        })
        .unwrap_or(ranges.len())
}
