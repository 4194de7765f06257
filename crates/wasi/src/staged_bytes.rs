//! [`StagedBytes`]: a guest's shared memory. Its other threads may write it at any time, so there are no
//! slices of it: whatever a call takes is copied first, and looked at in the copy only; what a call gives
//! is put together in a buffer of ours, of which just the bytes that were filled are copied back.
//!
//! One call transfers at most [`STAGED_MAX_BYTES`], which is all that a guest can make us allocate: more is
//! a short read or write.

use crate::errno::{Errno, Outcome};
use crate::memory::GuestRange;
use sarsen::SharedMemory;
use std::io::{IoSlice, IoSliceMut};

/// The most bytes that one vectored read or write transfers.
pub(crate) const STAGED_MAX_BYTES: u32 = 1 << 20;

/// A guest's memory that other threads use, too.
pub(crate) struct StagedBytes(SharedMemory);

impl StagedBytes {
    pub(crate) fn new(memory: SharedMemory) -> Self {
        StagedBytes(memory)
    }

    /// Fails unless `range` is in bounds. It stays so: memories do not shrink.
    pub(crate) fn check(&self, range: GuestRange) -> Result<(), Errno> {
        if range.end() <= self.0.data_size() as u64 {
            Ok(())
        } else {
            Err(Errno::Fault)
        }
    }

    /// A copy of the bytes of `range`.
    pub(crate) fn copy(&self, range: GuestRange) -> Result<Vec<u8>, Errno> {
        self.check(range)?;
        let mut bytes = vec![0; range.len as usize];
        self.copy_to(range, &mut bytes)?;
        Ok(bytes)
    }

    fn copy_to(&self, range: GuestRange, bytes: &mut [u8]) -> Result<(), Errno> {
        let read = self.0.read(u64::from(range.start.0), bytes);
        read.map_err(|_| Errno::Fault)
    }

    /// Writes `bytes` to the beginning of `range`, which must be in bounds as a whole.
    pub(crate) fn write(&self, range: GuestRange, bytes: &[u8]) -> Result<(), Errno> {
        debug_assert!(bytes.len() <= range.len as usize);
        self.check(range)?;
        let written = self.0.write(u64::from(range.start.0), bytes);
        written.map_err(|_| Errno::Fault)
    }

    /// See [`crate::memory::GuestMemory::write_with`].
    pub(crate) fn write_with(
        &self,
        target: GuestRange,
        fill: impl FnOnce(&mut [u8]) -> Outcome<usize>,
    ) -> Outcome<usize> {
        self.check(target)?;
        // The system gives the pages of a large buffer only as they are touched.
        let mut staged = vec![0; target.len as usize];
        let filled = fill(&mut staged)?;
        self.write(target, &staged[..filled])?;
        Ok(filled)
    }

    /// See [`crate::memory::GuestMemory::gather`]; `ranges` are in bounds.
    pub(crate) fn gather(
        &self,
        ranges: &[GuestRange],
        write: impl FnOnce(&[IoSlice<'_>]) -> Outcome<usize>,
    ) -> Outcome<usize> {
        let mut staged = vec![0; total(ranges)];
        let mut rest = &mut staged[..];
        for &range in ranges {
            let (bytes, more) = rest.split_at_mut(range.len as usize);
            self.copy_to(range, bytes)?;
            rest = more;
        }
        if staged.is_empty() {
            return write(&[]);
        }
        write(&[IoSlice::new(&staged)])
    }

    /// See [`crate::memory::GuestMemory::scatter`]; `ranges` are in bounds.
    pub(crate) fn scatter(
        &self,
        ranges: &[GuestRange],
        read: impl FnOnce(&mut [IoSliceMut<'_>]) -> Outcome<usize>,
    ) -> Outcome<usize> {
        let mut staged = vec![0; total(ranges)];
        let filled = if staged.is_empty() {
            read(&mut [])?
        } else {
            read(&mut [IoSliceMut::new(&mut staged)])?
        };
        let mut rest = &staged[..filled];
        for &range in ranges {
            let (bytes, more) = rest.split_at(rest.len().min(range.len as usize));
            self.write(range, bytes)?;
            rest = more;
        }
        Ok(filled)
    }
}

fn total(ranges: &[GuestRange]) -> usize {
    ranges.iter().map(|range| range.len as usize).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::GuestPtr;
    use sarsen::{Engine, MemoryType};

    fn range(start: u32, len: u32) -> GuestRange {
        GuestRange::new(GuestPtr(start), len)
    }

    fn staged() -> StagedBytes {
        let ty = MemoryType::shared(1, 1);
        let memory = SharedMemory::new(&Engine::default(), ty).unwrap();
        memory.write(0, b"0123456789").unwrap();
        StagedBytes::new(memory)
    }

    #[test]
    fn only_what_was_filled_is_written_back() {
        let bytes = staged();
        let filled = bytes.scatter(&[range(1, 2), range(5, 4)], |buffers| {
            buffers[0][..4].copy_from_slice(b"abcd");
            // Another thread writes meanwhile to what is not filled.
            bytes.write(range(7, 1), b"!").unwrap();
            Ok(4)
        });
        assert_eq!(filled.ok(), Some(4));
        assert_eq!(bytes.copy(range(0, 10)).unwrap(), b"0ab34cd!89");
        let filled = bytes.write_with(range(0, 10), |buffer| {
            buffer[0] = b'x';
            Ok(1)
        });
        assert_eq!(filled.ok(), Some(1));
        assert_eq!(bytes.copy(range(0, 10)).unwrap(), b"xab34cd!89");
    }

    #[test]
    fn what_is_gathered_does_not_change_afterwards() {
        let bytes = staged();
        let written = bytes.gather(&[range(8, 2), range(0, 3)], |buffers| {
            bytes.write(range(8, 2), b"??").unwrap();
            assert_eq!(&*buffers[0], b"89012");
            Ok(5)
        });
        assert_eq!(written.ok(), Some(5));
    }

    #[test]
    fn ranges_outside_are_faults() {
        let bytes = staged();
        assert_eq!(bytes.check(range(65_536, 0)), Ok(()));
        for outside in [range(65_535, 2), range(u32::MAX, u32::MAX)] {
            assert_eq!(bytes.check(outside), Err(Errno::Fault));
            assert_eq!(bytes.copy(outside), Err(Errno::Fault));
            assert_eq!(bytes.write(outside, b""), Err(Errno::Fault));
            assert!(bytes.write_with(outside, |_| Ok(0)).is_err());
        }
    }
}
