//! Files and streams of the operating system: reading, writing, seeking, sizes and times.
//!
//! The guest's offset is the kernel's, so reads and writes are one system call each, straight from
//! and to the guest's memory. What is not a regular file (terminal, pipe, device) can block; how that
//! stays interruptible is decided here and done in `wait.rs`. `NONBLOCK` is kept in [`OpenFile`] and
//! imitated by polling first, because the kernel's flag on an inherited descriptor is shared with
//! other processes.

use crate::abi::{Fd, FileStat, FileType, Snapshot, Whence};
use crate::context::WasiCtx;
use crate::descriptor::Kind;
use crate::errno::{Errno, Failure, Outcome};
use crate::flags::{FdFlags, FstFlags, Rights};
use crate::memory::{GuestIovecs, GuestMemory, GuestPtr};
use crate::own_bytes::WriteBuffers;
use crate::wait::Waiting;
use rustix::event::PollFlags;
use rustix::fs::{FallocateFlags, OFlags, SeekFrom, Timestamps};
use rustix::io::ReadWriteFlags;
use std::fs::File;
use std::io::{IoSlice, IoSliceMut, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd};

/// An open file or stream of the operating system.
pub(crate) struct OpenFile {
    handle: Handle,
    pub(crate) filetype: FileType,
    nonblocking: bool,
}

enum Handle {
    Owned(File),
    Stdin,
    Stdout,
    Stderr,
}

/// A standard stream of the process.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Standard {
    Input,
    Output,
    Error,
}

/// A pipe or terminal that says that it can be written takes this much without blocking.
const UNBLOCKED_WRITE_BYTES: usize = 4096;

impl AsFd for OpenFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.handle {
            Handle::Owned(file) => file.as_fd(),
            Handle::Stdin => rustix::stdio::stdin(),
            Handle::Stdout => rustix::stdio::stdout(),
            Handle::Stderr => rustix::stdio::stderr(),
        }
    }
}

impl OpenFile {
    /// A file that this context owns.
    pub(crate) fn owned(file: File, nonblocking: bool) -> OpenFile {
        OpenFile {
            handle: Handle::Owned(file),
            filetype: FileType::Unknown,
            nonblocking,
        }
        .with_filetype()
    }

    /// One of the process' own streams, which stays open when the guest closes it.
    pub(crate) fn inherited(standard: Standard) -> OpenFile {
        let handle = match standard {
            Standard::Input => Handle::Stdin,
            Standard::Output => Handle::Stdout,
            Standard::Error => Handle::Stderr,
        };
        OpenFile {
            handle,
            filetype: FileType::Unknown,
            nonblocking: false,
        }
        .with_filetype()
    }

    /// A closed stream has no type; using it tells the guest what is wrong.
    fn with_filetype(mut self) -> OpenFile {
        self.filetype = self.stat().map_or(FileType::Unknown, |stat| stat.filetype);
        self
    }

    /// Says what guests should take a standard stream for. C libraries take a character device that
    /// cannot be sought for a terminal, so only a terminal may look like one.
    pub(crate) fn into_standard_stream(mut self) -> OpenFile {
        if self.filetype == FileType::CharacterDevice && !self.as_fd().is_terminal() {
            self.filetype = FileType::Unknown;
        }
        self
    }

    pub(crate) fn is_regular(&self) -> bool {
        self.filetype == FileType::RegularFile
    }

    pub(crate) fn flags(&self) -> Result<FdFlags, Errno> {
        let flags = rustix::fs::fcntl_getfl(self)?;
        Ok(FdFlags::empty()
            .with_if(flags.contains(OFlags::APPEND), FdFlags::APPEND)
            .with_if(flags.contains(OFlags::DSYNC), FdFlags::DSYNC)
            .with_if(
                flags.contains(OFlags::SYNC),
                FdFlags::SYNC.with(FdFlags::RSYNC),
            )
            .with_if(self.nonblocking, FdFlags::NONBLOCK))
    }

    /// Sets `NONBLOCK` and `APPEND`. The others are fixed when a file is opened, and so is `APPEND`
    /// of a stream that other processes share.
    pub(crate) fn set_flags(&mut self, wanted: FdFlags) -> Result<(), Errno> {
        let now = self.flags()?;
        let settable = FdFlags::NONBLOCK.with(match self.handle {
            Handle::Owned(_) => FdFlags::APPEND,
            Handle::Stdin | Handle::Stdout | Handle::Stderr => FdFlags::NONBLOCK,
        });
        if !implied(now.without(settable)).contains(wanted.without(settable)) {
            return Err(Errno::Inval);
        }
        let append = wanted.contains(FdFlags::APPEND);
        if settable.contains(FdFlags::APPEND) && append != now.contains(FdFlags::APPEND) {
            let mut flags = rustix::fs::fcntl_getfl(&*self)?;
            flags.set(OFlags::APPEND, append);
            rustix::fs::fcntl_setfl(&*self, flags)?;
        }
        self.nonblocking = wanted.contains(FdFlags::NONBLOCK);
        Ok(())
    }

    /// Reads at the offset.
    pub(crate) fn read(&self, waiting: &Waiting, buffers: &mut [IoSliceMut<'_>]) -> Outcome<usize> {
        self.transfer(waiting, PollFlags::IN, |file| {
            rustix::io::readv(file, buffers)
        })
    }

    /// Writes at the offset, or at the end in append mode.
    pub(crate) fn write(&self, waiting: &Waiting, buffers: &[IoSlice<'_>]) -> Outcome<usize> {
        if self.is_regular() || !waiting.is_interruptible() {
            return self.transfer(waiting, PollFlags::OUT, |file| {
                rustix::io::writev(file, buffers)
            });
        }
        self.write_interruptibly(waiting, buffers)
    }

    /// Writes all to a stream, step by step so that none can block for good: a guest whose reader has
    /// stalled can be ended.
    fn write_interruptibly(&self, waiting: &Waiting, buffers: &[IoSlice<'_>]) -> Outcome<usize> {
        let mut rest = WriteBuffers::from(buffers);
        let mut rest = &mut rest[..];
        let mut written = 0;
        while !rest.is_empty() {
            let step = self.transfer(waiting, PollFlags::OUT, |file| {
                write_without_blocking(file, rest)
            });
            match step {
                Ok(0) => break,
                Ok(count) => {
                    written += count;
                    IoSlice::advance_slices(&mut rest, count);
                }
                // What was written counts; the error comes again at the next write.
                Err(Failure::Errno(_)) if written > 0 => break,
                Err(failure) => return Err(failure),
            }
        }
        Ok(written)
    }

    /// Does `operation` once it need not block, or at once where blocking is what the guest wants
    /// and nothing has to end it.
    fn transfer(
        &self,
        waiting: &Waiting,
        readiness: PollFlags,
        mut operation: impl FnMut(&OpenFile) -> rustix::io::Result<usize>,
    ) -> Outcome<usize> {
        let must_poll = self.nonblocking || !waiting.allowed || waiting.is_interruptible();
        let mut poll_first = must_poll && !self.is_regular();
        loop {
            if poll_first {
                waiting.until_ready(self.as_fd(), readiness, self.nonblocking)?;
            }
            match operation(self) {
                Ok(count) => return Ok(count),
                Err(rustix::io::Errno::INTR) => waiting.check()?,
                // Someone else made the stream non-blocking: that is not what the guest asked for.
                Err(rustix::io::Errno::AGAIN) if !self.nonblocking => poll_first = true,
                Err(error) => return Err(error.into()),
            }
        }
    }

    pub(crate) fn seek(&self, offset: i64, whence: Whence) -> Result<u64, Errno> {
        let position = match whence {
            Whence::Set => SeekFrom::Start(u64::try_from(offset).map_err(|_| Errno::Inval)?),
            Whence::Current => SeekFrom::Current(offset),
            Whence::End => SeekFrom::End(offset),
        };
        Ok(rustix::fs::seek(self, position)?)
    }

    pub(crate) fn stat(&self) -> Result<FileStat, Errno> {
        Ok(file_stat(&rustix::fs::fstat(self)?))
    }

    /// Bytes between the offset and the end of a regular file.
    pub(crate) fn rest_bytes(&self) -> Result<u64, Errno> {
        Ok(self.stat()?.size.saturating_sub(rustix::fs::tell(self)?))
    }
}

/// Writes what a stream takes without blocking, at least some of it if it said that it is ready.
fn write_without_blocking(file: &OpenFile, buffers: &[IoSlice<'_>]) -> rustix::io::Result<usize> {
    const AT_OFFSET: u64 = u64::MAX;
    match rustix::io::pwritev2(file, buffers, AT_OFFSET, ReadWriteFlags::NOWAIT) {
        // Terminals, and pipes of older kernels.
        Err(rustix::io::Errno::NOTSUP) => {
            let first = buffers.first().map_or(&[][..], |buffer| buffer);
            rustix::io::write(file, &first[..first.len().min(UNBLOCKED_WRITE_BYTES)])
        }
        result => result,
    }
}

/// `SYNC` includes what `DSYNC` and `RSYNC` promise.
fn implied(flags: FdFlags) -> FdFlags {
    flags.with_if(
        flags.contains(FdFlags::SYNC),
        FdFlags::DSYNC.with(FdFlags::RSYNC),
    )
}

/// What the kernel says of a file, as WASI says it.
pub(crate) fn file_stat(stat: &rustix::fs::Stat) -> FileStat {
    FileStat {
        dev: stat.st_dev,
        ino: stat.st_ino,
        filetype: rustix::fs::FileType::from_raw_mode(stat.st_mode).into(),
        nlink: stat.st_nlink,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        atim: timestamp_ns(stat.st_atime, stat.st_atime_nsec as i64),
        mtim: timestamp_ns(stat.st_mtime, stat.st_mtime_nsec as i64),
        ctim: timestamp_ns(stat.st_ctime, stat.st_ctime_nsec as i64),
    }
}

/// Times before 1970 and after 2554 do not fit; they become the nearest that does.
pub(crate) fn timestamp_ns(seconds: i64, nanoseconds: i64) -> u64 {
    let total = i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
    u64::try_from(total.max(0)).unwrap_or(u64::MAX)
}

/// Checks that `flags` asks for at most one way to set each time.
pub(crate) fn check_time_flags(flags: FstFlags) -> Result<(), Errno> {
    let contradicts = flags.contains(FstFlags::ATIM.with(FstFlags::ATIM_NOW))
        || flags.contains(FstFlags::MTIM.with(FstFlags::MTIM_NOW));
    if contradicts {
        Err(Errno::Inval)
    } else {
        Ok(())
    }
}

/// The times for `utimensat` and its like.
pub(crate) fn timestamps(atim: u64, mtim: u64, flags: FstFlags) -> Result<Timestamps, Errno> {
    check_time_flags(flags)?;
    let time = |value_ns: u64, set, now| {
        let special = |nanoseconds| rustix::fs::Timespec {
            tv_sec: 0,
            tv_nsec: nanoseconds,
        };
        if flags.contains(now) {
            special(rustix::fs::UTIME_NOW)
        } else if flags.contains(set) {
            rustix::fs::Timespec {
                tv_sec: (value_ns / 1_000_000_000) as i64,
                tv_nsec: (value_ns % 1_000_000_000) as _,
            }
        } else {
            special(rustix::fs::UTIME_OMIT)
        }
    };
    Ok(Timestamps {
        last_access: time(atim, FstFlags::ATIM, FstFlags::ATIM_NOW),
        last_modification: time(mtim, FstFlags::MTIM, FstFlags::MTIM_NOW),
    })
}

/// `fd_read`: reads at the offset.
pub(crate) fn fd_read(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: Fd,
    iovecs: GuestIovecs,
    read_out: GuestPtr,
) -> Outcome {
    let descriptor = ctx.table.get_mut(fd)?;
    descriptor.require(Rights::FD_READ)?;
    let read = memory.scatter(iovecs, |buffers| match &mut descriptor.kind {
        Kind::File(file) => file.read(&ctx.waiting, buffers),
        Kind::Source(source) => Ok(source.read(buffers)?),
        Kind::Dir(_) | Kind::Sink(_) => Err(Errno::Badf.into()),
    })?;
    Ok(memory.write(read_out, read as u32)?)
}

/// `fd_write`: writes at the offset, or at the end in append mode.
pub(crate) fn fd_write(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: Fd,
    iovecs: GuestIovecs,
    written_out: GuestPtr,
) -> Outcome {
    let descriptor = ctx.table.get_mut(fd)?;
    descriptor.require(Rights::FD_WRITE)?;
    let written = memory.gather(iovecs, |buffers| match &mut descriptor.kind {
        Kind::File(file) => file.write(&ctx.waiting, buffers),
        Kind::Sink(sink) => Ok(sink.write(buffers)?),
        Kind::Dir(_) | Kind::Source(_) => Err(Errno::Badf.into()),
    })?;
    Ok(memory.write(written_out, written as u32)?)
}

/// `fd_pread`: reads at `offset` and leaves the descriptor's offset alone.
pub(crate) fn fd_pread(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: Fd,
    iovecs: GuestIovecs,
    offset: u64,
    read_out: GuestPtr,
) -> Outcome {
    let file = ctx
        .table
        .get_mut(fd)?
        .file(Rights::FD_READ.with(Rights::FD_SEEK))?;
    let read = memory.scatter(iovecs, |buffers| {
        let read = || rustix::io::preadv(&*file, buffers, offset);
        Ok(rustix::io::retry_on_intr(read)?)
    })?;
    Ok(memory.write(read_out, read as u32)?)
}

/// `fd_pwrite`: writes at `offset` and leaves the descriptor's offset alone.
pub(crate) fn fd_pwrite(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: Fd,
    iovecs: GuestIovecs,
    offset: u64,
    written_out: GuestPtr,
) -> Outcome {
    let file = ctx
        .table
        .get_mut(fd)?
        .file(Rights::FD_WRITE.with(Rights::FD_SEEK))?;
    let written = memory.gather(iovecs, |buffers| {
        let write = || rustix::io::pwritev(&*file, buffers, offset);
        Ok(rustix::io::retry_on_intr(write)?)
    })?;
    Ok(memory.write(written_out, written as u32)?)
}

/// `fd_seek`: moves the offset.
pub(crate) fn fd_seek(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    snapshot: Snapshot,
    fd: Fd,
    offset: i64,
    whence: u32,
    offset_out: GuestPtr,
) -> Outcome {
    let whence = Whence::decode(snapshot, whence)?;
    let stays = whence == Whence::Current && offset == 0;
    let right = if stays {
        Rights::FD_TELL
    } else {
        Rights::FD_SEEK
    };
    let position = ctx.table.get_mut(fd)?.file(right)?.seek(offset, whence)?;
    Ok(memory.write(offset_out, position)?)
}

/// `fd_tell`: answers the offset.
pub(crate) fn fd_tell(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: Fd,
    offset_out: GuestPtr,
) -> Outcome {
    let position = ctx
        .table
        .get_mut(fd)?
        .file(Rights::FD_TELL)?
        .seek(0, Whence::Current)?;
    Ok(memory.write(offset_out, position)?)
}

/// `fd_allocate`: reserves space in a file, which grows if it must.
pub(crate) fn fd_allocate(ctx: &mut WasiCtx, fd: Fd, offset: u64, len: u64) -> Outcome {
    let file = ctx.table.get_mut(fd)?.file(Rights::FD_ALLOCATE)?;
    let result = rustix::io::retry_on_intr(|| {
        rustix::fs::fallocate(&*file, FallocateFlags::empty(), offset, len)
    });
    Ok(result?)
}

/// `fd_advise`: says how the guest is going to use a part of a file.
pub(crate) fn fd_advise(ctx: &mut WasiCtx, fd: Fd, offset: u64, len: u64, advice: u32) -> Outcome {
    use rustix::fs::Advice::{DontNeed, NoReuse, Normal, Random, Sequential, WillNeed};
    let advices = [Normal, Sequential, Random, WillNeed, DontNeed, NoReuse];
    let advice = *advices.get(advice as usize).ok_or(Errno::Inval)?;
    let file = ctx.table.get_mut(fd)?.file(Rights::FD_ADVISE)?;
    let len = std::num::NonZeroU64::new(len);
    Ok(rustix::fs::fadvise(&*file, offset, len, advice)?)
}

/// `fd_filestat_set_size`: cuts a file, or grows it with zeros.
pub(crate) fn fd_filestat_set_size(ctx: &mut WasiCtx, fd: Fd, size: u64) -> Outcome {
    let file = ctx.table.get_mut(fd)?.file(Rights::FD_FILESTAT_SET_SIZE)?;
    Ok(rustix::io::retry_on_intr(|| {
        rustix::fs::ftruncate(&*file, size)
    })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_outside_the_range_become_the_nearest_inside() {
        assert_eq!(timestamp_ns(1, 5), 1_000_000_005);
        assert_eq!(timestamp_ns(-1, 999), 0);
        assert_eq!(timestamp_ns(i64::MAX, 0), u64::MAX);
    }

    #[test]
    fn a_time_cannot_be_set_to_a_value_and_to_now() {
        assert!(timestamps(0, 0, FstFlags::ATIM.with(FstFlags::MTIM_NOW)).is_ok());
        let both = FstFlags::MTIM.with(FstFlags::MTIM_NOW);
        assert_eq!(timestamps(0, 0, both).err(), Some(Errno::Inval));
    }

    #[test]
    fn the_last_time_that_wasi_can_say_can_be_set() {
        let times = timestamps(u64::MAX, 0, FstFlags::ATIM).unwrap();
        assert_eq!(times.last_access.tv_sec, 18_446_744_073);
    }
}
