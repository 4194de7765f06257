//! Pages of memory: reserving address space, making parts of it accessible, mapping files.
//!
//! A [`Reservation`] owns a range of address space, inaccessible at first, and gives it back when
//! dropped. What is done inside it (making pages accessible, mapping a file over them) is up to its
//! owner; the `unsafe` functions here say what the owner must guarantee. All offsets and lengths are
//! in bytes and multiples of [`PAGE_SIZE`]; the functions assert it.
//!
//! Callers: `code` (text), `mem` (memories, tables, vmctx blocks), `stack`, `os::signals` (alternate stacks).

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io;
use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags};
use std::fs::File;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr::{self, NonNull};

/// The size of a page, in bytes. Images are laid out for it
/// ([`sarsen_abi::module::IMAGE_PAGE_SIZE`]); x86-64 has no other base page size.
pub(crate) const PAGE_SIZE: usize = sarsen_abi::module::IMAGE_PAGE_SIZE as usize;

/// What may be done with pages. Never both writable and executable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Protection {
    /// Nothing: any access faults.
    None,
    /// Reading.
    Read,
    /// Reading and writing.
    ReadWrite,
    /// Reading and executing.
    ReadExecute,
}

impl Protection {
    fn map_flags(self) -> ProtFlags {
        match self {
            Protection::None => ProtFlags::empty(),
            Protection::Read => ProtFlags::READ,
            Protection::ReadWrite => ProtFlags::READ | ProtFlags::WRITE,
            Protection::ReadExecute => ProtFlags::READ | ProtFlags::EXEC,
        }
    }

    fn protect_flags(self) -> MprotectFlags {
        match self {
            Protection::None => MprotectFlags::empty(),
            Protection::Read => MprotectFlags::READ,
            Protection::ReadWrite => MprotectFlags::READ | MprotectFlags::WRITE,
            Protection::ReadExecute => MprotectFlags::READ | MprotectFlags::EXEC,
        }
    }
}

/// A range of address space that belongs to its owner alone. Unmapped when dropped, with everything
/// that was mapped inside it.
#[derive(Debug)]
pub(crate) struct Reservation {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: a range of addresses belongs to no thread; what is stored there is its users' business.
unsafe impl Send for Reservation {}
// SAFETY: as above; shared access gives out addresses only.
unsafe impl Sync for Reservation {}

impl Reservation {
    /// Reserves `len` bytes of inaccessible address space, which commit no memory.
    ///
    /// # Errors
    ///
    /// When the system has no such range left, or refuses another mapping.
    pub(crate) fn new(len: usize) -> io::Result<Reservation> {
        Reservation::map(0, len, Protection::None)
    }

    /// Maps `len` zero bytes, readable and writable; memory is committed as it is touched.
    ///
    /// # Errors
    ///
    /// As [`Reservation::new`].
    pub(crate) fn new_zeroed(len: usize) -> io::Result<Reservation> {
        Reservation::map(0, len, Protection::ReadWrite)
    }

    /// Maps `len` bytes, at `wish` if it is not 0 and they are unused there.
    fn map(wish: usize, len: usize, protection: Protection) -> io::Result<Reservation> {
        assert!(len > 0 && len.is_multiple_of(PAGE_SIZE));
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        let protection = protection.map_flags();
        // SAFETY: the system chooses an unused range, so nothing existing changes.
        let base = unsafe {
            let wish = ptr::without_provenance_mut(wish);
            rustix::mm::mmap_anonymous(wish, len, protection, flags)?
        };
        let base = NonNull::new(base.cast()).expect("a mapping never begins at null");
        Ok(Reservation { base, len })
    }

    /// Reserves `len` bytes that begin at a multiple of `alignment` (a power of two, at least a
    /// page): at `wish`, a multiple of a page, or soon after, if they are unused there; anywhere otherwise.
    ///
    /// # Errors
    ///
    /// As [`Reservation::new`].
    pub(crate) fn new_aligned(
        wish: usize,
        len: usize,
        alignment: usize,
    ) -> io::Result<Reservation> {
        assert!(alignment.is_power_of_two() && alignment >= PAGE_SIZE);
        let room = len.checked_add(alignment).ok_or(io::Errno::NOMEM)?;
        let whole = Reservation::map(wish, room, Protection::None)?;
        let start = whole.start();
        let aligned = start.next_multiple_of(alignment);
        let base = whole.ptr_at(aligned - start);
        let end = aligned + len;
        let tail = start + whole.len - end;
        let end_ptr = whole.ptr_at(end - start);
        std::mem::forget(whole);
        // SAFETY: both parts are ours, unused, and outside what is returned.
        unsafe {
            if aligned > start {
                unmap(ptr::with_exposed_provenance_mut(start), aligned - start);
            }
            if tail > 0 {
                unmap(end_ptr, tail);
            }
        }
        let base = NonNull::new(base).expect("a mapping never begins at null");
        Ok(Reservation { base, len })
    }

    /// The first byte.
    #[inline]
    pub(crate) fn base(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    /// The first address.
    pub(crate) fn start(&self) -> usize {
        self.base.as_ptr().expose_provenance()
    }

    /// All of its addresses.
    pub(crate) fn addresses(&self) -> Range<usize> {
        let start = self.base.as_ptr().addr();
        start..start + self.len
    }

    /// Whether `address` lies inside.
    pub(crate) fn contains(&self, address: usize) -> bool {
        address.wrapping_sub(self.start()) < self.len
    }

    /// The byte at `offset`, which may also be the end.
    ///
    /// # Panics
    ///
    /// Panics when `offset` lies past the end.
    pub(crate) fn ptr_at(&self, offset: usize) -> *mut u8 {
        assert!(offset <= self.len);
        // SAFETY: within or one past the mapping.
        unsafe { self.base.as_ptr().add(offset) }
    }

    /// The same for a range, which is checked to consist of whole pages inside.
    fn range(&self, offset: usize, len: usize) -> *mut u8 {
        assert!(offset.is_multiple_of(PAGE_SIZE) && len.is_multiple_of(PAGE_SIZE));
        assert!(offset.checked_add(len).is_some_and(|end| end <= self.len));
        self.ptr_at(offset)
    }

    /// Sets what may be done with `len` bytes at `offset`. Pages never touched before read as zero.
    ///
    /// # Errors
    ///
    /// When the system is out of memory or of mappings.
    ///
    /// # Safety
    ///
    /// No reference to these bytes may exist that the new protection forbids to use; what runs there
    /// must stay executable as long as it runs.
    pub(crate) unsafe fn protect(
        &self,
        offset: usize,
        len: usize,
        protection: Protection,
    ) -> io::Result<()> {
        if len == 0 {
            return Ok(());
        }
        let at = self.range(offset, len);
        // SAFETY: inside our mapping; the caller vouches for the users of these bytes.
        unsafe { rustix::mm::mprotect(at.cast(), len, protection.protect_flags()) }
    }

    /// Gives the memory of `len` bytes at `offset` back (`MADV_DONTNEED`). The protection stays. Then
    /// anonymous pages read as zero, and private file pages as the file.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    ///
    /// # Safety
    ///
    /// Nobody may rely on the bytes keeping their values.
    pub(crate) unsafe fn decommit(&self, offset: usize, len: usize) -> io::Result<()> {
        if len == 0 {
            return Ok(());
        }
        let at = self.range(offset, len);
        // SAFETY: inside our mapping; the caller vouches for the users of these bytes.
        unsafe { rustix::mm::madvise(at.cast(), len, Advice::LinuxDontNeed) }
    }

    /// Asks the system not to use huge pages, where each would commit memory for many that are small.
    /// Only a hint: errors do not matter.
    pub(crate) fn use_small_pages(&self) {
        // SAFETY: our own mapping, whose contents do not change.
        let _ = unsafe {
            rustix::mm::madvise(self.base.as_ptr().cast(), self.len, Advice::LinuxNoHugepage)
        };
    }

    /// Makes `count` ranges of `len` bytes, the first at `offset` and each `stride` bytes after the one before,
    /// inaccessible for as long as the reservation lives; if possible with one system call, and without
    /// splitting the mapping, of which the system allows a limited number only. Giving back memory
    /// ([`decommit_at`]) leaves them inaccessible.
    ///
    /// # Errors
    ///
    /// When the system is out of memory or of mappings.
    ///
    /// # Safety
    ///
    /// Nobody may use these bytes.
    pub(crate) unsafe fn guard(
        &self,
        offset: usize,
        len: usize,
        stride: usize,
        count: usize,
    ) -> io::Result<()> {
        /// Linux 6.13 and later.
        const MADV_GUARD_INSTALL: libc::c_int = 102;
        /// `PIDFD_SELF_THREAD`, Linux 6.14 and later. (The number for the whole process has changed since.)
        const SELF: libc::c_int = -10000;
        let ranges: Vec<libc::iovec> = (0..count)
            .map(|i| libc::iovec {
                iov_base: self.range(offset + i * stride, len).cast(),
                iov_len: len,
            })
            .collect();
        // SAFETY: inside our mapping, and nobody uses these bytes.
        let done = unsafe {
            libc::syscall(
                libc::SYS_process_madvise,
                SELF,
                ranges.as_ptr(),
                ranges.len(),
                MADV_GUARD_INSTALL,
                0,
            )
        };
        // A range that has a guard already may get it again.
        let done = usize::try_from(done).unwrap_or(0) / len;
        for (i, range) in ranges.iter().enumerate().skip(done) {
            // SAFETY: as above.
            if unsafe { libc::madvise(range.iov_base, len, MADV_GUARD_INSTALL) } != 0 {
                // SAFETY: as above.
                unsafe { self.protect(offset + i * stride, len, Protection::None)? };
            }
        }
        Ok(())
    }

    /// Replaces `len` bytes at `offset` by fresh, zero pages with `protection`, whatever was mapped
    /// there.
    ///
    /// # Errors
    ///
    /// When the system is out of memory or of mappings; then the range may be left unmapped, and the
    /// reservation must not be used further.
    ///
    /// # Safety
    ///
    /// As for [`Reservation::decommit`] and [`Reservation::protect`].
    pub(crate) unsafe fn map_zeroes(
        &self,
        offset: usize,
        len: usize,
        protection: Protection,
    ) -> io::Result<()> {
        if len == 0 {
            return Ok(());
        }
        let at = self.range(offset, len);
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED;
        // SAFETY: replaces only pages of our own; the caller vouches for their users.
        unsafe { rustix::mm::mmap_anonymous(at.cast(), len, protection.map_flags(), flags)? };
        Ok(())
    }

    /// Maps `len` bytes of `file` from `file_offset` privately (copy-on-write) over the bytes at
    /// `offset`. Bytes past the file's end are zero up to the end of its last page; touching pages
    /// beyond that raises `SIGBUS`.
    ///
    /// # Errors
    ///
    /// When the file cannot be mapped so, or the system is out of mappings; then the range may be
    /// left unmapped.
    ///
    /// # Safety
    ///
    /// As for [`Reservation::decommit`] and [`Reservation::protect`]. If the bytes are read through
    /// references or executed, nobody may change or truncate the file while it is mapped; see
    /// [`sealed_memfd`].
    pub(crate) unsafe fn map_file(
        &self,
        offset: usize,
        len: usize,
        protection: Protection,
        file: BorrowedFd<'_>,
        file_offset: u64,
    ) -> io::Result<()> {
        if len == 0 {
            return Ok(());
        }
        assert!(file_offset.is_multiple_of(PAGE_SIZE as u64));
        let at = self.range(offset, len);
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED;
        // SAFETY: replaces only pages of our own; the caller vouches for their users and the file.
        unsafe {
            rustix::mm::mmap(
                at.cast(),
                len,
                protection.map_flags(),
                flags,
                file,
                file_offset,
            )?;
        }
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // SAFETY: the range is ours, and its owner is done with it.
        unsafe { unmap(self.base.as_ptr(), self.len) }
    }
}

/// Unmaps a range.
///
/// # Safety
///
/// The range must be a mapping (or a part of one) that the caller owns and nobody uses any more.
unsafe fn unmap(base: *mut u8, len: usize) {
    // SAFETY: the caller's promise.
    let result = unsafe { rustix::mm::munmap(base.cast(), len) };
    // The only error that is not a bug is running out of mappings, when a range is split; the
    // address space is then lost, and nothing else.
    debug_assert!(result.is_ok(), "munmap failed: {result:?}");
}

/// Gives the memory of a range of pages back, as [`Reservation::decommit`], wherever it is; returns whether
/// the system has taken it. Guards in the range stay.
///
/// # Safety
///
/// The pages must be in a reservation that is alive, and nobody may rely on the bytes keeping their values.
pub(crate) unsafe fn decommit_at(start: usize, len: usize) -> bool {
    assert!(start.is_multiple_of(PAGE_SIZE) && len.is_multiple_of(PAGE_SIZE));
    let at = ptr::with_exposed_provenance_mut(start);
    // SAFETY: the caller's promise.
    unsafe { rustix::mm::madvise(at, len, Advice::LinuxDontNeed).is_ok() }
}

/// A file in memory with these contents, sealed: nobody can ever write, grow, shrink or unseal it.
///
/// # Errors
///
/// When the system is out of memory or file descriptors.
pub(crate) fn sealed_memfd(name: &str, contents: &[u8]) -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Kernels before 6.3 do not know this flag, and need none: nothing is executable there unless
    // a system setting says so.
    let file = match rustix::fs::memfd_create(name, flags | MemfdFlags::EXEC) {
        Err(io::Errno::INVAL) => rustix::fs::memfd_create(name, flags)?,
        other => other?,
    };
    write_all(file.as_fd(), contents)?;
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&file, seals)?;
    Ok(File::from(file))
}

fn write_all(file: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(file, bytes) {
            Ok(0) => return Err(io::Errno::IO),
            Ok(written) => bytes = &bytes[written..],
            Err(io::Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn committed_pages_are_zero_and_decommitted_pages_are_zero_again() {
        let pages = Reservation::new(64 * PAGE_SIZE).unwrap();
        // SAFETY: nobody else uses this reservation.
        unsafe {
            pages
                .protect(PAGE_SIZE, PAGE_SIZE, Protection::ReadWrite)
                .unwrap();
            let byte = pages.ptr_at(PAGE_SIZE + 7);
            assert_eq!(byte.read(), 0);
            byte.write(42);
            assert_eq!(byte.read(), 42);
            pages.decommit(PAGE_SIZE, PAGE_SIZE).unwrap();
            assert_eq!(byte.read(), 0);
        }
    }

    #[test]
    fn aligned_reservations_are_aligned_and_whole() {
        for alignment in [PAGE_SIZE, 1 << 16, 1 << 21] {
            let pages = Reservation::new_aligned(0, 3 << 16, alignment).unwrap();
            assert!(pages.start().is_multiple_of(alignment));
            // SAFETY: nobody else uses this reservation.
            unsafe {
                pages.protect(0, pages.len, Protection::ReadWrite).unwrap();
                pages.ptr_at(0).write(1);
                pages.ptr_at(pages.len - 1).write(1);
            }
        }
    }

    /// The system stops at pages that are locked in memory, and says how far it came.
    #[test]
    fn every_range_is_guarded_also_those_after_one_that_the_system_refuses() {
        const STRIDE: usize = 3 * PAGE_SIZE;
        const COUNT: usize = 8;
        let is_readable = |address: *const u8| {
            // SAFETY: the system writes the one byte of the second argument, or says that it cannot read it.
            unsafe {
                let mut pipe = [0; 2];
                assert_eq!(libc::pipe(pipe.as_mut_ptr()), 0);
                let written = libc::write(pipe[1], address.cast(), 1);
                for end in pipe {
                    libc::close(end);
                }
                written == 1
            }
        };
        for locked in [&[3][..], &[0], &[7], &[2, 3, 5]] {
            let pages = Reservation::new_zeroed(COUNT * STRIDE).unwrap();
            // SAFETY: nobody else uses this reservation.
            unsafe {
                for range in locked {
                    let at = pages.ptr_at(range * STRIDE);
                    assert_eq!(libc::mlock(at.cast(), PAGE_SIZE), 0);
                }
                pages.guard(0, PAGE_SIZE, STRIDE, COUNT).unwrap();
            }
            for page in 0..3 * COUNT {
                let readable = is_readable(pages.ptr_at(page * PAGE_SIZE));
                assert_eq!(readable, page % 3 != 0, "page {page}, locked {locked:?}");
            }
        }
    }

    #[test]
    fn private_mappings_of_a_sealed_file_do_not_see_each_other() {
        let mut contents = vec![7u8; 2 * PAGE_SIZE];
        contents[PAGE_SIZE] = 9;
        let file = sealed_memfd("test", &contents).unwrap();
        let pages = Reservation::new(4 * PAGE_SIZE).unwrap();
        // SAFETY: nobody else uses this reservation, and the file is sealed.
        unsafe {
            for offset in [0, 2 * PAGE_SIZE] {
                let fd = file.as_fd();
                let len = PAGE_SIZE;
                let at = PAGE_SIZE as u64;
                pages
                    .map_file(offset, len, Protection::ReadWrite, fd, at)
                    .unwrap();
            }
            assert_eq!(pages.ptr_at(0).read(), 9);
            pages.ptr_at(0).write(1);
            assert_eq!(pages.ptr_at(2 * PAGE_SIZE).read(), 9);
            pages.decommit(0, PAGE_SIZE).unwrap();
            assert_eq!(pages.ptr_at(0).read(), 9);
            pages.map_zeroes(0, PAGE_SIZE, Protection::Read).unwrap();
            assert_eq!(pages.ptr_at(0).read(), 0);
        }
    }

    #[test]
    fn a_sealed_file_cannot_be_changed() {
        let file = sealed_memfd("test", &[1, 2, 3]).unwrap();
        assert_eq!(rustix::io::write(&file, &[4]), Err(io::Errno::PERM));
        assert_eq!(rustix::fs::ftruncate(&file, 1), Err(io::Errno::PERM));
        assert_eq!(rustix::fs::ftruncate(&file, 100), Err(io::Errno::PERM));
        assert_eq!(
            rustix::fs::fcntl_add_seals(&file, SealFlags::empty()),
            Err(io::Errno::PERM)
        );
    }
}
