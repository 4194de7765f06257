//! Open directories, and listing them.
//!
//! A cookie of `fd_readdir` is the kernel's own directory offset. So a listing needs no memory that
//! grows with the directory, any cookie can be resumed at any time, and entries that come and go
//! meanwhile disturb it no more than they disturb a native program.

use crate::abi::{DirEntry, Fd, FileStat, FileType, Rights};
use crate::context::WasiCtx;
use crate::errno::{Errno, Outcome};
use crate::file::file_stat;
use crate::memory::{GuestMemory, GuestPtr, GuestRange};
use cap_std::fs::Dir;
use rustix::fs::{AtFlags, Mode, OFlags, RawDir, SeekFrom};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

/// An open directory.
pub(crate) struct OpenDir {
    /// Every path that a guest gives is resolved through this, which is what confines it.
    pub(crate) dir: Dir,
    /// The name under which a preopened directory is announced to the guest.
    pub(crate) preopen: Option<Box<[u8]>>,
    listing: Option<Listing>,
}

/// A directory open for listing. `dir` itself may be open for lookups only.
struct Listing {
    fd: OwnedFd,
    /// The directory's own inode.
    ino: u64,
}

/// Entries that are asked of the kernel at a time.
const ENTRIES_BYTES: usize = 8192;

impl OpenDir {
    pub(crate) fn new(dir: Dir) -> OpenDir {
        OpenDir {
            dir,
            preopen: None,
            listing: None,
        }
    }

    pub(crate) fn preopened(dir: Dir, guest_path: &[u8]) -> OpenDir {
        OpenDir {
            preopen: Some(guest_path.into()),
            ..OpenDir::new(dir)
        }
    }

    pub(crate) fn stat(&self) -> Result<FileStat, Errno> {
        Ok(file_stat(&rustix::fs::fstat(&self.dir)?))
    }

    /// The same directory opened for reading, as listing and syncing need.
    pub(crate) fn open_readable(&self) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.dir, c".", flags, Mode::empty())?)
    }

    fn listing(&mut self) -> Result<&Listing, Errno> {
        if self.listing.is_none() {
            let fd = self.open_readable()?;
            self.listing = Some(Listing {
                fd,
                ino: self.stat()?.ino,
            });
        }
        self.listing.as_ref().ok_or(Errno::Io)
    }
}

impl Listing {
    /// Fills `buffer` with entries from `cookie` on, the last one perhaps cut short. Returns how many
    /// bytes were filled; fewer than there are means that the directory ended.
    fn read(&self, cookie: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
        rustix::fs::seek(&self.fd, SeekFrom::Start(cookie))?;
        let mut entries = [MaybeUninit::uninit(); ENTRIES_BYTES];
        let mut entries = RawDir::new(&self.fd, &mut entries);
        let mut filled = 0;
        while filled < buffer.len()
            && let Some(entry) = entries.next()
        {
            let entry = entry?;
            let name = entry.file_name();
            let header = DirEntry {
                next: entry.next_entry_cookie(),
                // A guest has no business with what is above its directory.
                ino: if name == c".." { self.ino } else { entry.ino() },
                name_len: name.count_bytes() as u32,
                filetype: self.filetype(name, entry.file_type()),
            };
            filled += copy_prefix(&mut buffer[filled..], &header.to_bytes());
            filled += copy_prefix(&mut buffer[filled..], name.to_bytes());
        }
        Ok(filled)
    }

    /// The type of an entry; some file systems do not tell it in the listing.
    fn filetype(&self, name: &std::ffi::CStr, listed: rustix::fs::FileType) -> FileType {
        if listed != rustix::fs::FileType::Unknown {
            return listed.into();
        }
        // An entry that is gone meanwhile has no type any more.
        rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_or(FileType::Unknown, |stat| file_stat(&stat).filetype)
    }
}

/// Copies what fits; returns how much.
fn copy_prefix(target: &mut [u8], source: &[u8]) -> usize {
    let len = target.len().min(source.len());
    target[..len].copy_from_slice(&source[..len]);
    len
}

/// `fd_readdir`: lists a directory from `cookie` on, 0 being its start.
pub(crate) fn fd_readdir(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: Fd,
    buffer: GuestRange,
    cookie: u64,
    used_out: GuestPtr,
) -> Outcome {
    let dir = ctx.table.get_mut(fd)?.dir_mut(Rights::FD_READDIR)?;
    let used = dir.listing()?.read(cookie, memory.bytes_mut(buffer)?)?;
    Ok(memory.write(used_out, used as u32)?)
}
