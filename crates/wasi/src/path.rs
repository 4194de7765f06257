//! Functions that take a path. A path is resolved below an open directory by cap-std, which refuses
//! whatever would lead out of it: `..`, absolute paths, symbolic links, and races with any of them.
//! Nothing here looks at a path's components to decide what is safe.

use crate::abi::{Fd, FileStat, Snapshot};
use crate::context::WasiCtx;
use crate::descriptor::{Descriptor, FILE_RIGHTS, Kind};
use crate::dir::OpenDir;
use crate::errno::{Errno, Outcome};
use crate::file::{OpenFile, check_time_flags, timestamp_ns};
use crate::flags::{FdFlags, FstFlags, LookupFlags, OpenFlags, Rights};
use crate::memory::{GuestMemory, GuestPtr, GuestRange};
use cap_fs_ext::{DirExt, OpenOptionsFollowExt, OpenOptionsSyncExt, SystemTimeSpec};
use cap_std::fs::{Dir, FileTypeExt, MetadataExt, OpenOptions, OpenOptionsExt};
use rustix::fs::OFlags;
use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// The longest path, as in the kernel.
const PATH_MAX_BYTES: u32 = 4096;

/// A path argument.
fn path<'m>(memory: &'m GuestMemory<'_>, range: GuestRange) -> Result<Cow<'m, Path>, Errno> {
    if range.len >= PATH_MAX_BYTES {
        return Err(Errno::Nametoolong);
    }
    let bytes = memory.bytes(range)?;
    let path = std::str::from_utf8(&bytes).map_err(|_| Errno::Ilseq)?;
    if path.contains('\0') {
        return Err(Errno::Inval);
    }
    Ok(match bytes {
        Cow::Borrowed(bytes) => Cow::Borrowed(Path::new(OsStr::from_bytes(bytes))),
        Cow::Owned(bytes) => Cow::Owned(OsString::from_vec(bytes).into()),
    })
}

/// The path without the slashes at its end. One that is nothing but slashes stays absolute.
fn without_last_slashes(path: &Path) -> &Path {
    let bytes = path.as_os_str().as_bytes();
    let end = bytes
        .iter()
        .rposition(|byte| *byte != b'/')
        .map_or(1, |last| last + 1);
    Path::new(OsStr::from_bytes(&bytes[..end.min(bytes.len())]))
}

/// A directory argument, with the rights that the function needs.
fn dir(ctx: &WasiCtx, fd: Fd, rights: Rights) -> Result<&Dir, Errno> {
    Ok(&ctx.table.get(fd)?.dir(rights)?.dir)
}

/// The arguments of `path_open` that say how to open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OpenHow {
    pub(crate) lookup: LookupFlags,
    pub(crate) open: OpenFlags,
    pub(crate) rights: Rights,
    pub(crate) fd_flags: FdFlags,
}

impl OpenHow {
    fn writes(&self) -> bool {
        self.rights.contains(Rights::FD_WRITE)
    }

    /// What the directory must allow.
    fn needed(&self) -> Rights {
        Rights::PATH_OPEN
            .with_if(
                self.open.contains(OpenFlags::CREAT),
                Rights::PATH_CREATE_FILE,
            )
            .with_if(
                self.open.contains(OpenFlags::TRUNC),
                Rights::PATH_FILESTAT_SET_SIZE,
            )
    }

    /// What it must allow to be inherited.
    fn inherited(&self) -> Rights {
        self.rights.and(Rights::FD_READ.with(Rights::FD_WRITE))
    }

    fn may_be_link_to_directory(&self) -> bool {
        let follows = self.lookup.contains(LookupFlags::SYMLINK_FOLLOW);
        self.open.contains(OpenFlags::DIRECTORY) && follows && !self.writes()
    }

    fn check(&self) -> Result<(), Errno> {
        let on_directory = OpenFlags::CREAT
            .with(OpenFlags::EXCL)
            .with(OpenFlags::TRUNC);
        if self.open.contains(OpenFlags::DIRECTORY) && self.open.intersects(on_directory) {
            return Err(Errno::Inval);
        }
        Ok(())
    }

    /// The system's options. `without_waiting` keeps a FIFO from blocking until it has a peer.
    fn options(&self, without_waiting: bool) -> OpenOptions {
        let create = self.open.contains(OpenFlags::CREAT);
        let truncate = self.open.contains(OpenFlags::TRUNC);
        let mut flags = OFlags::NOCTTY;
        flags.set(OFlags::DIRECTORY, self.open.contains(OpenFlags::DIRECTORY));
        flags.set(OFlags::APPEND, self.fd_flags.contains(FdFlags::APPEND));
        let mut options = OpenOptions::new();
        options
            // The system creates and truncates only what it opens for writing; the guest's rights
            // then say whether it may write.
            .write(self.writes() || create || truncate)
            .read(self.rights.contains(Rights::FD_READ) || !self.writes())
            .truncate(truncate)
            .custom_flags(flags.bits() as i32)
            .sync(self.fd_flags.intersects(FdFlags::SYNC.with(FdFlags::RSYNC)))
            .dsync(self.fd_flags.contains(FdFlags::DSYNC))
            .nonblock(without_waiting || self.fd_flags.contains(FdFlags::NONBLOCK))
            .follow(follow(self.lookup));
        if create && self.open.contains(OpenFlags::EXCL) {
            options.create_new(true);
        } else {
            options.create(create);
        }
        options
    }
}

fn follow(lookup: LookupFlags) -> cap_fs_ext::FollowSymlinks {
    if lookup.contains(LookupFlags::SYMLINK_FOLLOW) {
        cap_fs_ext::FollowSymlinks::Yes
    } else {
        cap_fs_ext::FollowSymlinks::No
    }
}

/// `path_open`: opens or creates a file, or opens a directory.
pub(crate) fn path_open(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: Fd,
    path_range: GuestRange,
    how: OpenHow,
    fd_out: GuestPtr,
) -> Outcome {
    how.check()?;
    ctx.table.check_room()?;
    // An open descriptor whose number cannot be told would be lost.
    memory.check_writable(fd_out, 4)?;
    let parent = ctx.table.get(fd)?;
    let parent_dir = parent.dir(how.needed())?;
    if !parent.inheriting.contains(how.inherited()) {
        return Err(Errno::Perm.into());
    }
    let path = path(memory, path_range)?;
    let opened = open(ctx, &parent_dir.dir, &path, how)?;
    let descriptor = new_descriptor(parent, opened, how)?;
    let fd = ctx.table.insert(descriptor)?;
    Ok(memory.write(fd_out, fd)?)
}

/// Opens `path`. Where the host must be able to end the guest, nothing here blocks: a FIFO that has
/// no reader yet is tried again until it has.
fn open(ctx: &WasiCtx, parent: &Dir, path: &Path, how: OpenHow) -> Outcome<std::fs::File> {
    let interruptible = ctx.waiting.is_interruptible();
    let options = how.options(interruptible || !ctx.waiting.allowed);
    loop {
        let error = match parent.open_with(path, &options) {
            Ok(file) => return Ok(file.into_std()),
            Err(error) => Errno::from(error),
        };
        match error {
            Errno::Intr => ctx.waiting.check()?,
            Errno::Nxio if interruptible && is_fifo(parent, path, how.lookup) => {
                ctx.waiting.pause()?;
            }
            // Where the system resolves no path below a directory by itself (Linux before 5.6, and sandboxes
            // that refuse `openat2`), cap-std opens part by part, and takes a link for what is no directory.
            Errno::Notdir if how.may_be_link_to_directory() => {
                return Ok(parent.open_dir(path)?.into_std_file());
            }
            error => return Err(error.into()),
        }
    }
}

fn is_fifo(parent: &Dir, path: &Path, lookup: LookupFlags) -> bool {
    metadata(parent, path, lookup).is_ok_and(|metadata| metadata.file_type().is_fifo())
}

/// The descriptor for what `path_open` opened, with what rights its parent leaves it.
fn new_descriptor(
    parent: &Descriptor,
    file: std::fs::File,
    how: OpenHow,
) -> Result<Descriptor, Errno> {
    if file.metadata()?.is_dir() {
        // A directory hands its own rights down: they come from the preopened one.
        let rights = parent.rights.and(parent.inheriting);
        let kind = Kind::Dir(OpenDir::new(Dir::from_std_file(file)));
        return Ok(Descriptor {
            kind,
            rights,
            inheriting: parent.inheriting,
        });
    }
    let nonblocking = how.fd_flags.contains(FdFlags::NONBLOCK);
    let file = OpenFile::owned(file, nonblocking);
    let not_asked = Rights::FD_READ.with(Rights::FD_WRITE).without(how.rights);
    let rights = FILE_RIGHTS.and(parent.inheriting).without(not_asked);
    Ok(Descriptor::leaf(Kind::File(file), rights))
}

/// `path_create_directory`
pub(crate) fn path_create_directory(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: Fd,
    path_range: GuestRange,
) -> Outcome {
    let dir = dir(ctx, fd, Rights::PATH_CREATE_DIRECTORY)?;
    Ok(dir.create_dir(&path(memory, path_range)?)?)
}

/// `path_remove_directory`. As in POSIX the path may end in slashes, which cap-std does not take here.
pub(crate) fn path_remove_directory(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: Fd,
    path_range: GuestRange,
) -> Outcome {
    let dir = dir(ctx, fd, Rights::PATH_REMOVE_DIRECTORY)?;
    Ok(dir.remove_dir(without_last_slashes(&path(memory, path_range)?))?)
}

/// `path_unlink_file`: removes a file or a symbolic link.
pub(crate) fn path_unlink_file(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: Fd,
    path_range: GuestRange,
) -> Outcome {
    let dir = dir(ctx, fd, Rights::PATH_UNLINK_FILE)?;
    Ok(dir.remove_file_or_symlink(&path(memory, path_range)?)?)
}

/// `path_filestat_get`
pub(crate) fn path_filestat_get(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    snapshot: Snapshot,
    fd: Fd,
    lookup: LookupFlags,
    path_range: GuestRange,
    stat_out: GuestPtr,
) -> Outcome {
    let dir = dir(ctx, fd, Rights::PATH_FILESTAT_GET)?;
    let metadata = metadata(dir, &path(memory, path_range)?, lookup)?;
    let stat = FileStat {
        dev: metadata.dev(),
        ino: metadata.ino(),
        filetype: rustix::fs::FileType::from_raw_mode(metadata.mode()).into(),
        nlink: metadata.nlink(),
        size: metadata.size(),
        atim: timestamp_ns(metadata.atime(), metadata.atime_nsec()),
        mtim: timestamp_ns(metadata.mtime(), metadata.mtime_nsec()),
        ctim: timestamp_ns(metadata.ctime(), metadata.ctime_nsec()),
    };
    Ok(stat.write(snapshot, memory, stat_out)?)
}

fn metadata(dir: &Dir, path: &Path, lookup: LookupFlags) -> std::io::Result<cap_std::fs::Metadata> {
    if lookup.contains(LookupFlags::SYMLINK_FOLLOW) {
        dir.metadata(path)
    } else {
        dir.symlink_metadata(path)
    }
}

/// The arguments of functions that set a file's times, in nanoseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewTimes {
    pub(crate) atim: u64,
    pub(crate) mtim: u64,
    pub(crate) flags: FstFlags,
}

impl NewTimes {
    /// The time to set, if any.
    fn time(&self, value_ns: u64, set: FstFlags, now: FstFlags) -> Option<SystemTimeSpec> {
        if self.flags.contains(now) {
            Some(SystemTimeSpec::SymbolicNow)
        } else {
            let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(value_ns);
            let absolute = SystemTimeSpec::Absolute(cap_std::time::SystemTime::from_std(time));
            self.flags.contains(set).then_some(absolute)
        }
    }
}

/// `path_filestat_set_times`
pub(crate) fn path_filestat_set_times(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: Fd,
    lookup: LookupFlags,
    path_range: GuestRange,
    times: NewTimes,
) -> Outcome {
    check_time_flags(times.flags)?;
    let dir = dir(ctx, fd, Rights::PATH_FILESTAT_SET_TIMES)?;
    let path = path(memory, path_range)?;
    let atime = times.time(times.atim, FstFlags::ATIM, FstFlags::ATIM_NOW);
    let mtime = times.time(times.mtim, FstFlags::MTIM, FstFlags::MTIM_NOW);
    if lookup.contains(LookupFlags::SYMLINK_FOLLOW) {
        dir.set_times(path, atime, mtime)?;
    } else {
        dir.set_symlink_times(path, atime, mtime)?;
    }
    Ok(())
}

/// `path_link`: creates a hard link. The old path's last link is never followed.
pub(crate) fn path_link(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    old_fd: Fd,
    old_lookup: LookupFlags,
    old_range: GuestRange,
    new_fd: Fd,
    new_range: GuestRange,
) -> Outcome {
    if old_lookup.contains(LookupFlags::SYMLINK_FOLLOW) {
        return Err(Errno::Inval.into());
    }
    let old_dir = dir(ctx, old_fd, Rights::PATH_LINK_SOURCE)?;
    let new_dir = dir(ctx, new_fd, Rights::PATH_LINK_TARGET)?;
    Ok(old_dir.hard_link(
        &path(memory, old_range)?,
        new_dir,
        &path(memory, new_range)?,
    )?)
}

/// `path_rename`
pub(crate) fn path_rename(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    old_fd: Fd,
    old_range: GuestRange,
    new_fd: Fd,
    new_range: GuestRange,
) -> Outcome {
    let old_dir = dir(ctx, old_fd, Rights::PATH_RENAME_SOURCE)?;
    let new_dir = dir(ctx, new_fd, Rights::PATH_RENAME_TARGET)?;
    Ok(old_dir.rename(
        &path(memory, old_range)?,
        new_dir,
        &path(memory, new_range)?,
    )?)
}

/// `path_symlink`: creates a symbolic link. One to an absolute path is refused: a host program that
/// follows it would be led out of the directory.
pub(crate) fn path_symlink(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    target_range: GuestRange,
    fd: Fd,
    path_range: GuestRange,
) -> Outcome {
    let dir = dir(ctx, fd, Rights::PATH_SYMLINK)?;
    Ok(DirExt::symlink(
        dir,
        &path(memory, target_range)?,
        &path(memory, path_range)?,
    )?)
}

/// `path_readlink`: answers a symbolic link's target, cut to the buffer's length. A target that is an
/// absolute path is of the host, and refused.
pub(crate) fn path_readlink(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: Fd,
    path_range: GuestRange,
    buffer: GuestRange,
    used_out: GuestPtr,
) -> Outcome {
    let dir = dir(ctx, fd, Rights::PATH_READLINK)?;
    let target = dir.read_link(&path(memory, path_range)?)?;
    let used = memory.write_truncated(buffer, target.as_os_str().as_encoded_bytes())?;
    Ok(memory.write(used_out, used)?)
}
