//! The guest's memory as WASI functions see it: every pointer and length that a guest passes is a
//! [`GuestPtr`] or [`GuestRange`], a claim that nobody has checked yet. The only way from a claim to
//! bytes is through [`GuestMemory`], which checks it against the memory's size: what lies outside is
//! [`Errno::Fault`], never a panic.
//!
//! Vectored reads and writes get slices of the guest's memory itself, so that data moves between
//! guest and kernel without a copy of ours. Buffers that a read fills may overlap (only a hostile or
//! broken guest does that): then just the first ones that do not overlap are used, which is a short
//! read.

use crate::errno::Errno;
use smallvec::SmallVec;
use std::io::{IoSlice, IoSliceMut};

/// An address in the guest's memory, not checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct GuestPtr(pub(crate) u32);

/// A range of the guest's memory, not checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct GuestRange {
    pub(crate) start: GuestPtr,
    pub(crate) len: u32,
}

/// An array of `count` iovecs (address and length, 4 bytes each) in the guest's memory, not checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GuestIovecs {
    pub(crate) start: GuestPtr,
    pub(crate) count: u32,
}

/// The most buffers that one call uses; the rest makes it a short read or write, as in the kernel.
const IOVECS_MAX: u32 = 1024;

/// The most bytes that one call transfers, as in the kernel. Keeps sums in `u32`.
const TRANSFER_MAX_BYTES: u32 = 0x7fff_f000;

const IOVEC_BYTES: u32 = 8;

/// Buffers of one vectored write. Programs pass one or two, nearly always.
pub(crate) type WriteBuffers<'a> = SmallVec<[IoSlice<'a>; 8]>;

/// Buffers of one vectored read.
pub(crate) type ReadBuffers<'a> = SmallVec<[IoSliceMut<'a>; 8]>;

type Ranges = SmallVec<[GuestRange; 8]>;

/// A fixed-size value in the guest's memory: little-endian, laid out as in C. No alignment is asked.
pub(crate) trait GuestValue: Sized {
    /// Size in the guest's memory.
    const BYTES: u32;

    /// Reads the value from its `BYTES` bytes.
    fn load(bytes: &[u8]) -> Self;

    /// Writes the value to its `BYTES` bytes, padding included.
    fn store(&self, bytes: &mut [u8]);
}

macro_rules! guest_integers {
    ($($int:ident)*) => {$(
        impl GuestValue for $int {
            const BYTES: u32 = size_of::<$int>() as u32;

            fn load(bytes: &[u8]) -> $int {
                let mut value = [0; size_of::<$int>()];
                value.copy_from_slice(&bytes[..size_of::<$int>()]);
                $int::from_le_bytes(value)
            }

            fn store(&self, bytes: &mut [u8]) {
                bytes[..size_of::<$int>()].copy_from_slice(&self.to_le_bytes());
            }
        }
    )*};
}

guest_integers!(u8 u16 u32 u64);

impl GuestPtr {
    /// The pointer `bytes` further, unless that is outside every 32-bit memory.
    pub(crate) fn add(self, bytes: u32) -> Result<GuestPtr, Errno> {
        self.0.checked_add(bytes).map(GuestPtr).ok_or(Errno::Fault)
    }

    /// The pointer to element `index` of an array of `T`.
    pub(crate) fn element<T: GuestValue>(self, index: u32) -> Result<GuestPtr, Errno> {
        self.add(index.checked_mul(T::BYTES).ok_or(Errno::Fault)?)
    }
}

impl GuestRange {
    pub(crate) fn new(start: GuestPtr, len: u32) -> GuestRange {
        GuestRange { start, len }
    }

    fn end(self) -> u64 {
        u64::from(self.start.0) + u64::from(self.len)
    }
}

/// The guest's linear memory during one call.
pub(crate) struct GuestMemory<'a> {
    bytes: &'a mut [u8],
}

impl<'a> GuestMemory<'a> {
    pub(crate) fn new(bytes: &'a mut [u8]) -> GuestMemory<'a> {
        GuestMemory { bytes }
    }

    /// The bytes of `range`.
    pub(crate) fn bytes(&self, range: GuestRange) -> Result<&[u8], Errno> {
        self.bytes.get(as_indices(range)).ok_or(Errno::Fault)
    }

    /// The bytes of `range`, writable.
    pub(crate) fn bytes_mut(&mut self, range: GuestRange) -> Result<&mut [u8], Errno> {
        self.bytes.get_mut(as_indices(range)).ok_or(Errno::Fault)
    }

    /// Reads the value at `ptr`.
    pub(crate) fn read<T: GuestValue>(&self, ptr: GuestPtr) -> Result<T, Errno> {
        Ok(T::load(self.bytes(GuestRange::new(ptr, T::BYTES))?))
    }

    /// Writes `value` at `ptr`.
    pub(crate) fn write<T: GuestValue>(&mut self, ptr: GuestPtr, value: T) -> Result<(), Errno> {
        value.store(self.bytes_mut(GuestRange::new(ptr, T::BYTES))?);
        Ok(())
    }

    /// Writes as many of `source`'s bytes as fit into `target`; returns how many.
    pub(crate) fn write_truncated(
        &mut self,
        target: GuestRange,
        source: &[u8],
    ) -> Result<u32, Errno> {
        let target = self.bytes_mut(target)?;
        let len = target.len().min(source.len());
        target[..len].copy_from_slice(&source[..len]);
        Ok(len as u32)
    }

    /// Fails unless a value of `bytes` bytes can be written at `ptr`: for functions whose effect could
    /// not be taken back when their result has nowhere to go.
    pub(crate) fn check_writable(&mut self, ptr: GuestPtr, bytes: u32) -> Result<(), Errno> {
        self.bytes_mut(GuestRange::new(ptr, bytes)).map(|_| ())
    }

    /// The buffers that `iovecs` names, to be written from. Empty ones are left out.
    pub(crate) fn buffers(&self, iovecs: GuestIovecs) -> Result<WriteBuffers<'_>, Errno> {
        self.ranges(iovecs)?
            .into_iter()
            .map(|range| Ok(IoSlice::new(self.bytes(range)?)))
            .collect()
    }

    /// The buffers that `iovecs` names, to be read into, in the guest's order. Empty ones are left out.
    pub(crate) fn buffers_mut(&mut self, iovecs: GuestIovecs) -> Result<ReadBuffers<'_>, Errno> {
        let mut ranges = self.ranges(iovecs)?;
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
        let mut rest: &mut [u8] = self.bytes;
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

    /// Reads the iovecs, checks that each is in bounds, and bounds their number and sum.
    fn ranges(&self, iovecs: GuestIovecs) -> Result<Ranges, Errno> {
        let count = iovecs.count.min(IOVECS_MAX);
        let table = self.bytes(GuestRange::new(iovecs.start, count * IOVEC_BYTES))?;
        let mut ranges = Ranges::new();
        let mut room = TRANSFER_MAX_BYTES;
        for iovec in table.chunks_exact(IOVEC_BYTES as usize) {
            let start = GuestPtr(u32::load(&iovec[..4]));
            let range = GuestRange::new(start, u32::load(&iovec[4..]));
            self.bytes(range)?;
            let len = range.len.min(room);
            room -= len;
            if len > 0 {
                ranges.push(GuestRange { len, ..range });
            }
        }
        Ok(ranges)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A memory of 64 bytes, byte n having the value n, after `iovecs` were written at its start.
    fn memory(iovecs: &[(u32, u32)]) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..64).collect();
        for (index, (start, len)) in iovecs.iter().enumerate() {
            start.store(&mut bytes[index * 8..]);
            len.store(&mut bytes[index * 8 + 4..]);
        }
        bytes
    }

    fn iovecs(count: u32) -> GuestIovecs {
        GuestIovecs {
            start: GuestPtr(0),
            count,
        }
    }

    fn read_lengths(list: &[(u32, u32)]) -> Result<Vec<usize>, Errno> {
        let mut bytes = memory(list);
        let mut memory = GuestMemory::new(&mut bytes);
        let buffers = memory.buffers_mut(iovecs(list.len() as u32))?;
        Ok(buffers.iter().map(|buffer| buffer.len()).collect())
    }

    #[test]
    fn ranges_that_end_outside_or_wrap_around_are_faults() {
        let mut bytes = memory(&[]);
        let mut memory = GuestMemory::new(&mut bytes);
        let range = |start, len| GuestRange::new(GuestPtr(start), len);
        assert_eq!(memory.bytes(range(60, 4)).map(<[u8]>::len), Ok(4));
        assert_eq!(memory.bytes(range(64, 0)).map(<[u8]>::len), Ok(0));
        assert_eq!(memory.bytes(range(61, 4)), Err(Errno::Fault));
        assert_eq!(memory.bytes(range(65, 0)), Err(Errno::Fault));
        assert_eq!(memory.bytes(range(u32::MAX, u32::MAX)), Err(Errno::Fault));
        assert_eq!(memory.bytes_mut(range(1, u32::MAX)), Err(Errno::Fault));
        assert_eq!(memory.read::<u64>(GuestPtr(57)), Err(Errno::Fault));
        assert_eq!(memory.write(GuestPtr(u32::MAX), 0u32), Err(Errno::Fault));
        assert_eq!(GuestPtr(8).element::<u64>(u32::MAX), Err(Errno::Fault));
        assert_eq!(GuestPtr(u32::MAX).add(1), Err(Errno::Fault));
    }

    #[test]
    fn values_are_little_endian_and_need_no_alignment() {
        let mut bytes = memory(&[]);
        let mut memory = GuestMemory::new(&mut bytes);
        assert_eq!(memory.read::<u32>(GuestPtr(1)), Ok(0x0403_0201));
        memory.write(GuestPtr(3), 0x0102_0304_0506_0708u64).unwrap();
        assert_eq!(memory.read::<u8>(GuestPtr(3)), Ok(8));
    }

    #[test]
    fn a_huge_count_of_iovecs_outside_the_memory_is_a_fault() {
        let mut bytes = memory(&[]);
        let memory = GuestMemory::new(&mut bytes);
        assert_eq!(memory.buffers(iovecs(u32::MAX)).err(), Some(Errno::Fault));
    }

    #[test]
    fn more_iovecs_than_the_kernel_takes_become_a_short_transfer() {
        let mut bytes = vec![0; 65536];
        for index in 0..2000 {
            1u32.store(&mut bytes[index * 8 + 4..]);
        }
        let memory = GuestMemory::new(&mut bytes);
        assert_eq!(
            memory.buffers(iovecs(2000)).unwrap().len(),
            IOVECS_MAX as usize
        );
    }

    #[test]
    fn an_iovec_outside_the_memory_is_a_fault_even_after_good_ones() {
        assert_eq!(read_lengths(&[(32, 4), (60, 5)]), Err(Errno::Fault));
        assert_eq!(read_lengths(&[(u32::MAX, 2)]), Err(Errno::Fault));
    }

    #[test]
    fn empty_iovecs_are_left_out() {
        assert_eq!(read_lengths(&[(64, 0), (32, 4), (32, 0)]), Ok(vec![4]));
    }

    #[test]
    fn buffers_in_any_order_are_filled_in_the_guests_order() {
        let mut bytes = memory(&[(48, 2), (32, 3), (40, 4)]);
        let mut memory = GuestMemory::new(&mut bytes);
        let buffers = memory.buffers_mut(iovecs(3)).unwrap();
        let firsts: Vec<u8> = buffers.iter().map(|buffer| buffer[0]).collect();
        assert_eq!(firsts, [48, 32, 40]);
    }

    #[test]
    fn overlapping_read_buffers_shorten_the_read() {
        assert_eq!(read_lengths(&[(32, 8), (36, 8)]), Ok(vec![8]));
        assert_eq!(read_lengths(&[(48, 8), (32, 8), (47, 2)]), Ok(vec![8, 8]));
        assert_eq!(read_lengths(&[(32, 8), (40, 8), (32, 8)]), Ok(vec![8, 8]));
    }

    #[test]
    fn overlapping_write_buffers_are_all_written() {
        let mut bytes = memory(&[(32, 8), (36, 8)]);
        let memory = GuestMemory::new(&mut bytes);
        assert_eq!(memory.buffers(iovecs(2)).unwrap().len(), 2);
    }

    #[test]
    fn strings_are_cut_to_the_guests_buffer() {
        let mut bytes = memory(&[]);
        let mut memory = GuestMemory::new(&mut bytes);
        let target = GuestRange::new(GuestPtr(61), 3);
        assert_eq!(memory.write_truncated(target, b"hello"), Ok(3));
        assert_eq!(&bytes[60..], b"\x3chel");
    }
}
