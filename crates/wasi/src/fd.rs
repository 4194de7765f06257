//! Functions on descriptors that concern every kind of them: status, rights, renumbering, closing,
//! preopened directories, metadata, syncing. Data goes through `file.rs`, listings through `dir.rs`.

use crate::abi::{Fd, FdStat, FileStat, FileType, Snapshot};
use crate::context::WasiCtx;
use crate::descriptor::Kind;
use crate::errno::{Errno, Outcome};
use crate::file::timestamps;
use crate::flags::{FdFlags, Rights};
use crate::memory::{GuestMemory, GuestPtr, GuestRange};
use crate::path::NewTimes;
use rustix::fs::AtFlags;

/// `fd_close`
pub(crate) fn fd_close(ctx: &mut WasiCtx, fd: Fd) -> Outcome {
    ctx.table.remove(fd)?;
    Ok(())
}

/// `fd_renumber`: makes `to` what `from` was, closing what `to` was.
pub(crate) fn fd_renumber(ctx: &mut WasiCtx, from: Fd, to: Fd) -> Outcome {
    Ok(ctx.table.renumber(from, to)?)
}

/// `fd_fdstat_get`
pub(crate) fn fd_fdstat_get(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: Fd,
    stat_out: GuestPtr,
) -> Outcome {
    let descriptor = ctx.table.get(fd)?;
    let filetype = match &descriptor.kind {
        Kind::File(file) => file.filetype,
        Kind::Dir(_) => FileType::Directory,
        Kind::Source(_) | Kind::Sink(_) => FileType::Unknown,
    };
    let flags = descriptor.flags()?;
    let (rights, inheriting) = (descriptor.rights, descriptor.inheriting);
    Ok(FdStat {
        filetype,
        flags,
        rights,
        inheriting,
    }
    .write(memory, stat_out)?)
}

/// `fd_fdstat_set_flags`
pub(crate) fn fd_fdstat_set_flags(ctx: &mut WasiCtx, fd: Fd, flags: FdFlags) -> Outcome {
    let descriptor = ctx.table.get_mut(fd)?;
    descriptor.require(Rights::FD_FDSTAT_SET_FLAGS)?;
    match &mut descriptor.kind {
        Kind::File(file) => Ok(file.set_flags(flags)?),
        // These never block and have no end to append to.
        Kind::Source(_) | Kind::Sink(_) => Ok(()),
        Kind::Dir(_) => Err(Errno::Badf.into()),
    }
}

/// `fd_fdstat_set_rights`: gives rights up. They cannot be won.
pub(crate) fn fd_fdstat_set_rights(
    ctx: &mut WasiCtx,
    fd: Fd,
    rights: Rights,
    inheriting: Rights,
) -> Outcome {
    let descriptor = ctx.table.get_mut(fd)?;
    if !descriptor.rights.contains(rights) || !descriptor.inheriting.contains(inheriting) {
        return Err(Errno::Perm.into());
    }
    descriptor.rights = rights;
    descriptor.inheriting = inheriting;
    Ok(())
}

/// `fd_filestat_get`
pub(crate) fn fd_filestat_get(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    snapshot: Snapshot,
    fd: Fd,
    stat_out: GuestPtr,
) -> Outcome {
    let descriptor = ctx.table.get(fd)?;
    descriptor.require(Rights::FD_FILESTAT_GET)?;
    let stat = match &descriptor.kind {
        Kind::File(file) => FileStat {
            filetype: file.filetype,
            ..file.stat()?
        },
        Kind::Dir(dir) => dir.stat()?,
        Kind::Source(_) | Kind::Sink(_) => FileStat::of_stream(),
    };
    Ok(stat.write(snapshot, memory, stat_out)?)
}

/// `fd_filestat_set_times`
pub(crate) fn fd_filestat_set_times(ctx: &mut WasiCtx, fd: Fd, times: NewTimes) -> Outcome {
    let descriptor = ctx.table.get(fd)?;
    descriptor.require(Rights::FD_FILESTAT_SET_TIMES)?;
    let NewTimes { atim, mtim, flags } = times;
    let times = timestamps(atim, mtim, flags)?;
    match &descriptor.kind {
        Kind::File(file) => rustix::fs::futimens(file, &times)?,
        // The directory may be open for lookups only, which `futimens` does not take.
        Kind::Dir(dir) => rustix::fs::utimensat(&dir.dir, c".", &times, AtFlags::empty())?,
        Kind::Source(_) | Kind::Sink(_) => return Err(Errno::Inval.into()),
    }
    Ok(())
}

/// `fd_sync`: writes data and metadata to the disk.
pub(crate) fn fd_sync(ctx: &mut WasiCtx, fd: Fd) -> Outcome {
    sync(ctx, fd, Rights::FD_SYNC, |fd| rustix::fs::fsync(fd))
}

/// `fd_datasync`: writes data to the disk, and of the metadata what is needed to find it.
pub(crate) fn fd_datasync(ctx: &mut WasiCtx, fd: Fd) -> Outcome {
    sync(ctx, fd, Rights::FD_DATASYNC, |fd| rustix::fs::fdatasync(fd))
}

fn sync(
    ctx: &mut WasiCtx,
    fd: Fd,
    right: Rights,
    operation: impl Fn(std::os::fd::BorrowedFd<'_>) -> rustix::io::Result<()>,
) -> Outcome {
    use std::os::fd::AsFd;
    let descriptor = ctx.table.get(fd)?;
    descriptor.require(right)?;
    match &descriptor.kind {
        Kind::File(file) => rustix::io::retry_on_intr(|| operation(file.as_fd()))?,
        Kind::Dir(dir) => {
            let dir = dir.open_readable()?;
            rustix::io::retry_on_intr(|| operation(dir.as_fd()))?;
        }
        Kind::Source(_) | Kind::Sink(_) => return Err(Errno::Inval.into()),
    }
    Ok(())
}

/// The name of a preopened directory.
fn preopen_name(ctx: &WasiCtx, fd: Fd) -> Result<&[u8], Errno> {
    match &ctx.table.get(fd)?.kind {
        Kind::Dir(dir) => dir.preopen.as_deref().ok_or(Errno::Badf),
        _ => Err(Errno::Badf),
    }
}

/// `fd_prestat_get`: says how long a preopened directory's name is. Programs ask this of 3, 4, … until
/// they get `badf`.
pub(crate) fn fd_prestat_get(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: Fd,
    prestat_out: GuestPtr,
) -> Outcome {
    // 0 tag:u8 (0: a directory)   4 name length:u32   8 end
    let name_len = preopen_name(ctx, fd)?.len() as u64;
    Ok(memory.write(prestat_out, name_len << 32)?)
}

/// `fd_prestat_dir_name`: answers a preopened directory's name.
pub(crate) fn fd_prestat_dir_name(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: Fd,
    buffer: GuestRange,
) -> Outcome {
    let name = preopen_name(ctx, fd)?;
    if buffer.len < name.len() as u32 {
        return Err(Errno::Nametoolong.into());
    }
    memory.write_truncated(buffer, name)?;
    Ok(())
}
