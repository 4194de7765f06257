//! An image's bytes where nobody can change them: in a sealed memory file, or a file of ours.
//!
//! Both are mapped readable as a whole, so that tables are searched where they lie; the text is mapped a
//! second time for execution ([`super::space`]), and memories map the data section again for themselves. The file
//! stays open only where memories do: a process may have many modules, but often no more than 1024 open files.

use crate::os::files::only_we_can_write;
use crate::os::pages::{PAGE_SIZE, Protection, Reservation, sealed_memfd};
use rustix::io::{Errno, Result};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

/// A mapped file that does not change.
#[derive(Debug)]
pub(super) struct ImageFile {
    /// Until [`ImageFile::close`].
    file: Option<File>,
    pages: Reservation,
    len: usize,
}

impl ImageFile {
    /// A copy of `bytes` that nobody can change.
    ///
    /// # Errors
    ///
    /// When the system is out of memory, mappings or file descriptors.
    pub(super) fn copy_of(bytes: &[u8]) -> Result<ImageFile> {
        let file = sealed_memfd("sarsen-image", bytes)?;
        // SAFETY: it is sealed.
        unsafe { ImageFile::map(file, bytes.len()) }
    }

    /// The file itself, or `None` when somebody else could change it, or it is empty.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    ///
    /// # Safety
    ///
    /// This process's user and the superuser must not change or truncate the file while it is mapped.
    pub(super) unsafe fn open(file: File) -> Result<Option<ImageFile>> {
        let len = rustix::fs::fstat(&file)?.st_size;
        let len = usize::try_from(len).map_err(|_| Errno::FBIG)?;
        if len == 0 || !only_we_can_write(&file)? {
            return Ok(None);
        }
        // SAFETY: nobody but those that the caller vouches for can change it.
        unsafe { ImageFile::map(file, len) }.map(Some)
    }

    /// # Safety
    ///
    /// The file must not change while it is mapped.
    unsafe fn map(file: File, len: usize) -> Result<ImageFile> {
        let size = len
            .max(1)
            .checked_next_multiple_of(PAGE_SIZE)
            .ok_or(Errno::NOMEM)?;
        let pages = Reservation::new(size)?;
        // SAFETY: the range is ours and unused, and the file does not change.
        unsafe { pages.map_file(0, size, Protection::Read, file.as_fd(), 0)? };
        Ok(ImageFile {
            file: Some(file),
            pages,
            len,
        })
    }

    /// Its bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: the file is mapped readable, has this length, and does not change.
        unsafe { std::slice::from_raw_parts(self.pages.base(), self.len) }
    }

    /// The file, to map parts of it again, unless it is closed. Offsets in it are offsets in
    /// [`ImageFile::bytes`].
    pub(super) fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_ref().map(File::as_fd)
    }

    /// Closes the file, because nothing of it will be mapped again. What is mapped stays.
    pub(super) fn close(&mut self) {
        self.file = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_the_same_bytes_and_cannot_be_written() {
        let bytes: Vec<u8> = (0..10_000).map(|i| i as u8).collect();
        let image = ImageFile::copy_of(&bytes).unwrap();
        assert_eq!(image.bytes(), bytes);
        let mut file = image.file.as_ref().unwrap();
        let error = std::io::Write::write(&mut file, b"x").unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
        // SAFETY: the system chooses an unused range; and it refuses.
        let mapped = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                PAGE_SIZE,
                rustix::mm::ProtFlags::READ | rustix::mm::ProtFlags::WRITE,
                rustix::mm::MapFlags::SHARED,
                image.as_fd().unwrap(),
                0,
            )
        };
        assert_eq!(mapped, Err(Errno::PERM));
    }

    #[test]
    fn an_empty_copy_is_empty() {
        assert!(ImageFile::copy_of(&[]).unwrap().bytes().is_empty());
    }
}
