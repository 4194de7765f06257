//! The guest's memory as WASI functions see it: every pointer and length that a guest passes is a
//! [`GuestPtr`] or [`GuestRange`], a claim that nobody has checked yet. The only way from a claim to
//! bytes is through [`GuestMemory`], which checks it against the memory's size: what lies outside is
//! [`Errno::Fault`], never a panic.
//!
//! What a guest alone uses is accessed in place ([`OwnBytes`]). A shared memory, which the guest's other
//! threads write meanwhile, is copied in and out ([`StagedBytes`]). So a caller either gets a copy, or
//! gives a closure that is shown bytes and tells how many it used.

use crate::errno::{Errno, Outcome};
use crate::own_bytes::OwnBytes;
use crate::staged_bytes::{STAGED_MAX_BYTES, StagedBytes};
use sarsen::SharedMemory;
use smallvec::{SmallVec, smallvec};
use std::borrow::Cow;
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

/// Buffers that are in bounds and not empty.
pub(crate) type Ranges = SmallVec<[GuestRange; 8]>;

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

    /// The first `len` bytes, and the rest.
    fn split_at(self, len: u32) -> Result<(GuestRange, GuestRange), Errno> {
        let first = GuestRange { len, ..self };
        let rest = GuestRange::new(self.start.add(len)?, self.len - len);
        Ok((first, rest))
    }

    pub(crate) fn end(self) -> u64 {
        u64::from(self.start.0) + u64::from(self.len)
    }
}

/// The guest's linear memory during one call.
pub(crate) struct GuestMemory<'a> {
    bytes: Bytes<'a>,
}

enum Bytes<'a> {
    /// Nobody else uses it during the call.
    Own(OwnBytes<'a>),
    /// Other threads write it at any time, also during the call.
    Shared(StagedBytes),
}

impl<'a> GuestMemory<'a> {
    pub(crate) fn new(bytes: &'a mut [u8]) -> GuestMemory<'a> {
        GuestMemory {
            bytes: Bytes::Own(OwnBytes::new(bytes)),
        }
    }

    pub(crate) fn new_shared(memory: SharedMemory) -> GuestMemory<'a> {
        GuestMemory {
            bytes: Bytes::Shared(StagedBytes::new(memory)),
        }
    }

    /// The bytes of `range`, which the caller has found to be short: they may be a copy.
    pub(crate) fn bytes(&self, range: GuestRange) -> Result<Cow<'_, [u8]>, Errno> {
        match &self.bytes {
            Bytes::Own(bytes) => Ok(Cow::Borrowed(bytes.get(range)?)),
            Bytes::Shared(bytes) => Ok(Cow::Owned(bytes.copy(range)?)),
        }
    }

    /// Reads the value at `ptr`.
    pub(crate) fn read<T: GuestValue>(&self, ptr: GuestPtr) -> Result<T, Errno> {
        Ok(T::load(&self.bytes(GuestRange::new(ptr, T::BYTES))?))
    }

    /// Writes `value` at `ptr`.
    pub(crate) fn write<T: GuestValue>(&mut self, ptr: GuestPtr, value: T) -> Result<(), Errno> {
        let range = GuestRange::new(ptr, T::BYTES);
        match &mut self.bytes {
            Bytes::Own(bytes) => value.store(bytes.get_mut(range)?),
            Bytes::Shared(bytes) => {
                let mut staged: SmallVec<[u8; 64]> = smallvec![0; T::BYTES as usize];
                value.store(&mut staged);
                bytes.write(range, &staged)?;
            }
        }
        Ok(())
    }

    /// Writes as many of `source`'s bytes as fit into `target`; returns how many.
    pub(crate) fn write_truncated(
        &mut self,
        target: GuestRange,
        source: &[u8],
    ) -> Result<u32, Errno> {
        let len = source.len().min(target.len as usize);
        let source = &source[..len];
        match &mut self.bytes {
            Bytes::Own(bytes) => bytes.get_mut(target)?[..len].copy_from_slice(source),
            Bytes::Shared(bytes) => bytes.write(target, source)?,
        }
        Ok(len as u32)
    }

    /// Fails unless a value of `bytes` bytes can be written at `ptr`: for functions whose effect could
    /// not be taken back when their result has nowhere to go.
    pub(crate) fn check_writable(&self, ptr: GuestPtr, bytes: u32) -> Result<(), Errno> {
        self.check(GuestRange::new(ptr, bytes))
    }

    fn check(&self, range: GuestRange) -> Result<(), Errno> {
        match &self.bytes {
            Bytes::Own(bytes) => bytes.get(range).map(|_| ()),
            Bytes::Shared(bytes) => bytes.check(range),
        }
    }

    /// Lets `fill` write to the beginning of `target`; it returns how much it wrote, and so does this.
    pub(crate) fn write_with(
        &mut self,
        target: GuestRange,
        fill: impl FnOnce(&mut [u8]) -> Outcome<usize>,
    ) -> Outcome<usize> {
        match &mut self.bytes {
            Bytes::Own(bytes) => fill(bytes.get_mut(target)?),
            Bytes::Shared(bytes) => bytes.write_with(target, fill),
        }
    }

    /// Lets `fill` write all of `target`, in pieces of at most `piece` bytes.
    pub(crate) fn write_pieces(
        &mut self,
        target: GuestRange,
        piece: u32,
        mut fill: impl FnMut(&mut [u8]) -> Outcome,
    ) -> Outcome {
        self.check(target)?;
        let mut rest = target;
        while rest.len > 0 {
            let (first, more) = rest.split_at(piece.min(rest.len))?;
            self.write_with(first, |bytes| fill(bytes).map(|()| bytes.len()))?;
            rest = more;
        }
        Ok(())
    }

    /// Lets `write` take bytes from the buffers that `iovecs` names, empty ones left out; it returns how
    /// many it took, and so does this.
    pub(crate) fn gather(
        &self,
        iovecs: GuestIovecs,
        write: impl FnOnce(&[IoSlice<'_>]) -> Outcome<usize>,
    ) -> Outcome<usize> {
        let ranges = self.ranges(iovecs)?;
        match &self.bytes {
            Bytes::Own(bytes) => write(&bytes.buffers(&ranges)?),
            Bytes::Shared(bytes) => bytes.gather(&ranges, write),
        }
    }

    /// Lets `read` fill the buffers that `iovecs` names, empty ones left out, in the guest's order; it
    /// returns how many bytes it filled, and so does this.
    pub(crate) fn scatter(
        &mut self,
        iovecs: GuestIovecs,
        read: impl FnOnce(&mut [IoSliceMut<'_>]) -> Outcome<usize>,
    ) -> Outcome<usize> {
        let ranges = self.ranges(iovecs)?;
        match &mut self.bytes {
            Bytes::Own(bytes) => read(&mut bytes.buffers_mut(ranges)?),
            Bytes::Shared(bytes) => bytes.scatter(&ranges, read),
        }
    }

    /// Reads the iovecs, checks that each is in bounds, and bounds their number and sum.
    fn ranges(&self, iovecs: GuestIovecs) -> Result<Ranges, Errno> {
        let count = iovecs.count.min(IOVECS_MAX);
        let table = self.bytes(GuestRange::new(iovecs.start, count * IOVEC_BYTES))?;
        let mut ranges = Ranges::new();
        let mut room = match self.bytes {
            Bytes::Own(_) => TRANSFER_MAX_BYTES,
            Bytes::Shared(_) => STAGED_MAX_BYTES,
        };
        for iovec in table.chunks_exact(IOVEC_BYTES as usize) {
            let start = GuestPtr(u32::load(&iovec[..4]));
            let range = GuestRange::new(start, u32::load(&iovec[4..]));
            self.check(range)?;
            let len = range.len.min(room);
            room -= len;
            if len > 0 {
                ranges.push(GuestRange { len, ..range });
            }
        }
        Ok(ranges)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errno::Failure;

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

    /// The errno of what does not end the guest.
    fn errno<T>(outcome: Outcome<T>) -> Result<T, Errno> {
        outcome.map_err(|failure| match failure {
            Failure::Errno(errno) => errno,
            Failure::Stop(error) => panic!("{error}"),
        })
    }

    fn read_lengths(list: &[(u32, u32)]) -> Result<Vec<usize>, Errno> {
        let mut bytes = memory(list);
        let mut memory = GuestMemory::new(&mut bytes);
        let mut lengths = Vec::new();
        let read = memory.scatter(iovecs(list.len() as u32), |buffers| {
            lengths.extend(buffers.iter().map(|buffer| buffer.len()));
            Ok(0)
        });
        errno(read.map(|_| lengths))
    }

    #[test]
    fn ranges_that_end_outside_or_wrap_around_are_faults() {
        let mut bytes = memory(&[]);
        let mut memory = GuestMemory::new(&mut bytes);
        let len = |bytes: Result<Cow<'_, [u8]>, _>| bytes.map(|bytes| bytes.len());
        let range = |start, len| GuestRange::new(GuestPtr(start), len);
        assert_eq!(len(memory.bytes(range(60, 4))), Ok(4));
        assert_eq!(len(memory.bytes(range(64, 0))), Ok(0));
        assert_eq!(memory.bytes(range(61, 4)), Err(Errno::Fault));
        assert_eq!(memory.bytes(range(65, 0)), Err(Errno::Fault));
        assert_eq!(memory.bytes(range(u32::MAX, u32::MAX)), Err(Errno::Fault));
        let wrapped = memory.write_truncated(range(1, u32::MAX), b"no");
        assert_eq!(wrapped, Err(Errno::Fault));
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
        let written = memory.gather(iovecs(u32::MAX), |_| Ok(0));
        assert_eq!(errno(written), Err(Errno::Fault));
    }

    #[test]
    fn more_iovecs_than_the_kernel_takes_become_a_short_transfer() {
        let mut bytes = vec![0; 65536];
        for index in 0..2000 {
            1u32.store(&mut bytes[index * 8 + 4..]);
        }
        let memory = GuestMemory::new(&mut bytes);
        let written = memory.gather(iovecs(2000), |buffers| Ok(buffers.len()));
        assert_eq!(errno(written), Ok(IOVECS_MAX as usize));
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
        let read = memory.scatter(iovecs(3), |buffers| {
            let firsts: Vec<u8> = buffers.iter().map(|buffer| buffer[0]).collect();
            assert_eq!(firsts, [48, 32, 40]);
            Ok(0)
        });
        assert_eq!(errno(read), Ok(0));
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
        let written = memory.gather(iovecs(2), |buffers| Ok(buffers.len()));
        assert_eq!(errno(written), Ok(2));
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
