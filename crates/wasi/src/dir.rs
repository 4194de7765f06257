//! Open directories, and listing them.
//!
//! A cookie of `fd_readdir` counts entries, and [`Places`] knows where in the directory it is. So a
//! listing is read piece by piece, never held; and a guest that removes what it has listed, while it
//! lists, meets every entry once, as a native program does.

use crate::abi::{DirEntry, Fd, FileStat, FileType};
use crate::context::WasiCtx;
use crate::errno::{Errno, Outcome};
use crate::file::file_stat;
use crate::flags::Rights;
use crate::memory::{GuestMemory, GuestPtr, GuestRange};
use crate::wait::Waiting;
use cap_std::fs::Dir;
use rustix::fs::{AtFlags, Mode, OFlags, RawDir, SeekFrom};
use std::ffi::CStr;
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
    places: Places,
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

    fn listing(&mut self) -> Result<&mut Listing, Errno> {
        let listing = match self.listing.take() {
            Some(listing) => listing,
            None => Listing {
                fd: self.open_readable()?,
                ino: self.stat()?.ino,
                places: Places::default(),
            },
        };
        Ok(self.listing.insert(listing))
    }
}

/// Where the entries of a listing are, in the kernel's offsets.
///
/// A cookie counts the entries before it. C libraries keep one in a `long` of 32 bits (`telldir`),
/// which the kernel's own offsets, being hashes on some file systems, do not fit.
#[derive(Default)]
struct Places {
    /// Element `n` is the place of the cookie `(n + 1) * CHECKPOINT_ENTRIES`.
    checkpoints: Vec<u64>,
    /// The last few cookies with their places. A guest goes on at one of these, exactly, whatever was
    /// removed meanwhile; for any other one, entries are counted from a checkpoint on.
    recent: [(u64, u64); 4],
}

/// Entries between two places that are kept: memory is an eighth of a byte for each.
const CHECKPOINT_ENTRIES: u64 = 64;

impl Places {
    /// Keeps the place of a cookie.
    fn note(&mut self, cookie: u64, place: u64) {
        self.recent.rotate_right(1);
        self.recent[0] = (cookie, place);
        if cookie == (self.checkpoints.len() as u64 + 1) * CHECKPOINT_ENTRIES {
            self.checkpoints.push(place);
        }
    }

    /// The nearest cookie that is not after this one and whose place is known, with its place.
    fn nearest(&self, cookie: u64) -> (u64, u64) {
        if let Some(found) = self.recent.iter().find(|(known, _)| *known == cookie) {
            return *found;
        }
        let checkpoints = (self.checkpoints.len() as u64).min(cookie / CHECKPOINT_ENTRIES);
        match checkpoints.checked_sub(1) {
            Some(last) => (
                checkpoints * CHECKPOINT_ENTRIES,
                self.checkpoints[last as usize],
            ),
            None => (0, 0),
        }
    }
}

impl Listing {
    /// Fills `buffer` with entries from `cookie` on, the last one perhaps cut short. Returns how many
    /// bytes were filled; fewer than there are means that the directory ended.
    fn read(&mut self, waiting: &Waiting, cookie: u64, buffer: &mut [u8]) -> Outcome<usize> {
        if cookie == 0 {
            self.places = Places::default();
        }
        let (mut index, place) = self.places.nearest(cookie);
        rustix::fs::seek(&self.fd, SeekFrom::Start(place))?;
        let mut entries = [MaybeUninit::uninit(); ENTRIES_BYTES];
        let mut entries = RawDir::new(&self.fd, &mut entries);
        let mut filled = 0;
        while filled < buffer.len() {
            if entries.is_buffer_empty() {
                waiting.check()?;
            }
            let Some(entry) = entries.next() else { break };
            let entry = entry?;
            if index >= cookie {
                let header = DirEntry {
                    next: index + 1,
                    // A guest has no business with what is above its directory.
                    ino: if entry.file_name() == c".." {
                        self.ino
                    } else {
                        entry.ino()
                    },
                    name_len: entry.file_name().count_bytes() as u32,
                    filetype: filetype(&self.fd, entry.file_name(), entry.file_type()),
                };
                filled += copy_prefix(&mut buffer[filled..], &header.to_bytes());
                filled += copy_prefix(&mut buffer[filled..], entry.file_name().to_bytes());
            }
            index += 1;
            self.places.note(index, entry.next_entry_cookie());
        }
        Ok(filled)
    }
}

/// The type of an entry of `dir`; some file systems do not tell it in the listing.
fn filetype(dir: &OwnedFd, name: &CStr, listed: rustix::fs::FileType) -> FileType {
    if listed != rustix::fs::FileType::Unknown {
        return listed.into();
    }
    // An entry that is gone meanwhile has no type any more.
    rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
        .map_or(FileType::Unknown, |stat| file_stat(&stat).filetype)
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
    let listing = dir.listing()?;
    let read = |buffer: &mut [u8]| listing.read(&ctx.waiting, cookie, buffer);
    let used = memory.write_with(buffer, read)?;
    Ok(memory.write(used_out, used as u32)?)
}
