//! The table of all WASI functions: name and wasm parameters of each, and the function that it is.
//! Both snapshots come from the same table; the few functions that differ take the [`Snapshot`].
//!
//! Here a call's raw integers become typed claims ([`GuestPtr`], flags), and its [`Outcome`] becomes
//! the errno that wasm gets or the error that ends the guest. Nothing else is decided here.

use crate::abi::Snapshot;
use crate::args_environ::{args_get, args_sizes_get, environ_get, environ_sizes_get};
use crate::clock::{clock_res_get, clock_time_get};
use crate::context::WasiCtx;
use crate::dir::fd_readdir;
use crate::errno::{Errno, Failure, Outcome};
use crate::fd::{
    fd_close, fd_datasync, fd_fdstat_get, fd_fdstat_set_flags, fd_fdstat_set_rights,
    fd_filestat_get, fd_filestat_set_times, fd_prestat_dir_name, fd_prestat_get, fd_renumber,
    fd_sync,
};
use crate::file::{
    fd_advise, fd_allocate, fd_filestat_set_size, fd_pread, fd_pwrite, fd_read, fd_seek, fd_tell,
    fd_write,
};
use crate::flags::{FdFlags, FstFlags, LookupFlags, OpenFlags, Rights};
use crate::memory::{GuestIovecs, GuestMemory, GuestPtr, GuestRange};
use crate::path::{
    NewTimes, OpenHow, path_create_directory, path_filestat_get, path_filestat_set_times,
    path_link, path_open, path_readlink, path_remove_directory, path_rename, path_symlink,
    path_unlink_file,
};
use crate::poll::poll_oneoff;
use crate::proc::{proc_exit, proc_raise, sched_yield};
use crate::random::random_get;
use crate::sock::not_a_socket;
use sarsen::{Caller, Extern, Linker};

/// Defines every function of `wasi_snapshot_preview1` and `wasi_unstable` in `linker`. `get` finds
/// the context in a store's data.
///
/// The functions read and write the memory that the calling module exports as `memory`, which may be a
/// shared one: then they copy what they read and write, so that the guest's other threads cannot change
/// it meanwhile.
///
/// # Errors
///
/// If the linker already has one of the functions and forbids shadowing.
pub fn add_to_linker<T: 'static>(
    linker: &mut Linker<T>,
    get: impl Fn(&mut T) -> &mut WasiCtx + Send + Sync + Copy + 'static,
) -> sarsen::Result<()> {
    let modules = [
        ("wasi_snapshot_preview1", Snapshot::Preview1),
        ("wasi_unstable", Snapshot::Unstable),
    ];
    for (module, snapshot) in modules {
        define_with_memory(linker, module, snapshot, get)?;
        define_with_path(linker, module, snapshot, get)?;
        define_without_memory(linker, module, snapshot, get)?;
    }
    Ok(())
}

/// The wasm type that carries an unsigned integer.
macro_rules! wasm_type {
    (u32) => {
        i32
    };
    (u64) => {
        i64
    };
}

/// Defines each `name(parameters) by closure;` with `call` as the way into the closure.
macro_rules! define {
    ($linker:ident, $module:ident, $call:ident, $get:ident;
     $($name:ident($($param:ident: $type:ident),*) by $body:expr;)*) => {$(
        $linker.func_wrap(
            $module,
            stringify!($name),
            move |mut caller: Caller<'_, T>, $($param: wasm_type!($type)),*| -> sarsen::Result<i32> {
                $(let $param = $param as $type;)*
                $call(&mut caller, $get, $body)
            },
        )?;
    )*};
}

fn define_with_memory<T: 'static>(
    linker: &mut Linker<T>,
    module: &str,
    snapshot: Snapshot,
    get: impl Fn(&mut T) -> &mut WasiCtx + Send + Sync + Copy + 'static,
) -> sarsen::Result<()> {
    define! { linker, module, call_with_memory, get;
        args_get(pointers: u32, strings: u32) by
            |c, m| args_get(c, m, GuestPtr(pointers), GuestPtr(strings));
        args_sizes_get(count: u32, bytes: u32) by
            |c, m| args_sizes_get(c, m, GuestPtr(count), GuestPtr(bytes));
        environ_get(pointers: u32, strings: u32) by
            |c, m| environ_get(c, m, GuestPtr(pointers), GuestPtr(strings));
        environ_sizes_get(count: u32, bytes: u32) by
            |c, m| environ_sizes_get(c, m, GuestPtr(count), GuestPtr(bytes));
        clock_res_get(id: u32, out: u32) by
            |c, m| clock_res_get(c, m, id, GuestPtr(out));
        clock_time_get(id: u32, _precision: u64, out: u32) by
            |c, m| clock_time_get(c, m, id, GuestPtr(out));
        fd_fdstat_get(fd: u32, out: u32) by
            |c, m| fd_fdstat_get(c, m, fd, GuestPtr(out));
        fd_filestat_get(fd: u32, out: u32) by
            |c, m| fd_filestat_get(c, m, snapshot, fd, GuestPtr(out));
        fd_pread(fd: u32, iovecs: u32, count: u32, offset: u64, out: u32) by
            |c, m| fd_pread(c, m, fd, buffers(iovecs, count), offset, GuestPtr(out));
        fd_prestat_get(fd: u32, out: u32) by
            |c, m| fd_prestat_get(c, m, fd, GuestPtr(out));
        fd_prestat_dir_name(fd: u32, name: u32, len: u32) by
            |c, m| fd_prestat_dir_name(c, m, fd, range(name, len));
        fd_pwrite(fd: u32, iovecs: u32, count: u32, offset: u64, out: u32) by
            |c, m| fd_pwrite(c, m, fd, buffers(iovecs, count), offset, GuestPtr(out));
        fd_read(fd: u32, iovecs: u32, count: u32, out: u32) by
            |c, m| fd_read(c, m, fd, buffers(iovecs, count), GuestPtr(out));
        fd_readdir(fd: u32, entries: u32, len: u32, cookie: u64, out: u32) by
            |c, m| fd_readdir(c, m, fd, range(entries, len), cookie, GuestPtr(out));
        fd_seek(fd: u32, offset: u64, whence: u32, out: u32) by
            |c, m| fd_seek(c, m, snapshot, fd, offset as i64, whence, GuestPtr(out));
        fd_tell(fd: u32, out: u32) by
            |c, m| fd_tell(c, m, fd, GuestPtr(out));
        fd_write(fd: u32, iovecs: u32, count: u32, out: u32) by
            |c, m| fd_write(c, m, fd, buffers(iovecs, count), GuestPtr(out));
        poll_oneoff(subscriptions: u32, events: u32, count: u32, out: u32) by |c, m| {
            poll_oneoff(
                c, m, snapshot, GuestPtr(subscriptions), GuestPtr(events), count, GuestPtr(out),
            )
        };
        random_get(bytes: u32, len: u32) by
            |c, m| random_get(c, m, range(bytes, len));
    }
    Ok(())
}

fn define_with_path<T: 'static>(
    linker: &mut Linker<T>,
    module: &str,
    snapshot: Snapshot,
    get: impl Fn(&mut T) -> &mut WasiCtx + Send + Sync + Copy + 'static,
) -> sarsen::Result<()> {
    define! { linker, module, call_with_memory, get;
        path_create_directory(fd: u32, path: u32, len: u32) by
            |c, m| path_create_directory(c, m, fd, range(path, len));
        path_filestat_get(fd: u32, lookup: u32, path: u32, len: u32, out: u32) by |c, m| {
            let lookup = lookup_flags(lookup)?;
            path_filestat_get(c, m, snapshot, fd, lookup, range(path, len), GuestPtr(out))
        };
        path_filestat_set_times(
            fd: u32, lookup: u32, path: u32, len: u32, atim: u64, mtim: u64, flags: u32
        ) by |c, m| {
            let times = new_times(atim, mtim, flags)?;
            path_filestat_set_times(c, m, fd, lookup_flags(lookup)?, range(path, len), times)
        };
        path_link(
            old_fd: u32, lookup: u32, old: u32, old_len: u32, new_fd: u32, new: u32, new_len: u32
        ) by |c, m| {
            let (old, new) = (range(old, old_len), range(new, new_len));
            path_link(c, m, old_fd, lookup_flags(lookup)?, old, new_fd, new)
        };
        path_open(
            fd: u32, lookup: u32, path: u32, len: u32, open: u32, rights: u64, _inheriting: u64,
            fd_flags: u32, out: u32
        ) by |c, m| {
            let how = OpenHow {
                lookup: lookup_flags(lookup)?,
                open: OpenFlags::decode(u64::from(open))?,
                rights: Rights::decode_known(rights),
                fd_flags: FdFlags::decode(u64::from(fd_flags))?,
            };
            path_open(c, m, fd, range(path, len), how, GuestPtr(out))
        };
        path_readlink(fd: u32, path: u32, len: u32, target: u32, target_len: u32, out: u32) by
            |c, m| {
                let target = range(target, target_len);
                path_readlink(c, m, fd, range(path, len), target, GuestPtr(out))
            };
        path_remove_directory(fd: u32, path: u32, len: u32) by
            |c, m| path_remove_directory(c, m, fd, range(path, len));
        path_rename(
            old_fd: u32, old: u32, old_len: u32, new_fd: u32, new: u32, new_len: u32
        ) by |c, m| path_rename(c, m, old_fd, range(old, old_len), new_fd, range(new, new_len));
        path_symlink(target: u32, target_len: u32, fd: u32, path: u32, len: u32) by
            |c, m| path_symlink(c, m, range(target, target_len), fd, range(path, len));
        path_unlink_file(fd: u32, path: u32, len: u32) by
            |c, m| path_unlink_file(c, m, fd, range(path, len));
    }
    Ok(())
}

fn define_without_memory<T: 'static>(
    linker: &mut Linker<T>,
    module: &str,
    snapshot: Snapshot,
    get: impl Fn(&mut T) -> &mut WasiCtx + Send + Sync + Copy + 'static,
) -> sarsen::Result<()> {
    define! { linker, module, call, get;
        fd_advise(fd: u32, offset: u64, len: u64, advice: u32) by
            |c| fd_advise(c, fd, offset, len, advice);
        fd_allocate(fd: u32, offset: u64, len: u64) by |c| fd_allocate(c, fd, offset, len);
        fd_close(fd: u32) by |c| fd_close(c, fd);
        fd_datasync(fd: u32) by |c| fd_datasync(c, fd);
        fd_fdstat_set_flags(fd: u32, flags: u32) by
            |c| fd_fdstat_set_flags(c, fd, FdFlags::decode(u64::from(flags))?);
        fd_fdstat_set_rights(fd: u32, rights: u64, inheriting: u64) by |c| {
            fd_fdstat_set_rights(c, fd, Rights::decode(rights)?, Rights::decode(inheriting)?)
        };
        fd_filestat_set_size(fd: u32, size: u64) by |c| fd_filestat_set_size(c, fd, size);
        fd_filestat_set_times(fd: u32, atim: u64, mtim: u64, flags: u32) by
            |c| fd_filestat_set_times(c, fd, new_times(atim, mtim, flags)?);
        fd_renumber(from: u32, to: u32) by |c| fd_renumber(c, from, to);
        fd_sync(fd: u32) by |c| fd_sync(c, fd);
        proc_raise(signal: u32) by |_| proc_raise(signal);
        sched_yield() by |_| sched_yield();
        sock_recv(
            fd: u32, _iovecs: u32, _count: u32, _flags: u32, _read: u32, _read_flags: u32
        ) by |c| not_a_socket(c, fd);
        sock_send(fd: u32, _iovecs: u32, _count: u32, _flags: u32, _written: u32) by
            |c| not_a_socket(c, fd);
        sock_shutdown(fd: u32, _how: u32) by |c| not_a_socket(c, fd);
    }
    if snapshot == Snapshot::Preview1 {
        define! { linker, module, call, get;
            sock_accept(fd: u32, _flags: u32, _out: u32) by |c| not_a_socket(c, fd);
        }
    }
    linker.func_wrap(module, "proc_exit", |code: i32| -> sarsen::Result<()> {
        result(proc_exit(code as u32)).map(|_| ())
    })?;
    Ok(())
}

fn range(start: u32, len: u32) -> GuestRange {
    GuestRange::new(GuestPtr(start), len)
}

fn buffers(start: u32, count: u32) -> GuestIovecs {
    GuestIovecs {
        start: GuestPtr(start),
        count,
    }
}

fn lookup_flags(bits: u32) -> Result<LookupFlags, Errno> {
    LookupFlags::decode(u64::from(bits))
}

fn new_times(atim: u64, mtim: u64, flags: u32) -> Result<NewTimes, Errno> {
    Ok(NewTimes {
        atim,
        mtim,
        flags: FstFlags::decode(u64::from(flags))?,
    })
}

/// Runs a function that needs no memory.
fn call<T: 'static>(
    caller: &mut Caller<'_, T>,
    get: impl Fn(&mut T) -> &mut WasiCtx,
    body: impl FnOnce(&mut WasiCtx) -> Outcome,
) -> sarsen::Result<i32> {
    result(body(get(caller.data_mut())))
}

/// Runs a function on the caller's memory.
fn call_with_memory<T: 'static>(
    caller: &mut Caller<'_, T>,
    get: impl Fn(&mut T) -> &mut WasiCtx,
    body: impl FnOnce(&mut WasiCtx, &mut GuestMemory<'_>) -> Outcome,
) -> sarsen::Result<i32> {
    let memory = match caller.get_export("memory") {
        Some(Extern::Memory(memory)) => memory,
        Some(Extern::SharedMemory(memory)) => {
            let context = get(caller.data_mut());
            return result(body(context, &mut GuestMemory::new_shared(memory)));
        }
        Some(_) => anyhow::bail!("a module that uses WASI exports 'memory', but it is no memory"),
        None => anyhow::bail!("a module that uses WASI must export its memory as 'memory'"),
    };
    let (bytes, data) = memory.data_and_store_mut(caller);
    result(body(get(data), &mut GuestMemory::new(bytes)))
}

/// The errno that wasm gets, 0 being success, or the error that ends the guest.
fn result(outcome: Outcome) -> sarsen::Result<i32> {
    match outcome {
        Ok(()) => Ok(0),
        Err(Failure::Errno(errno)) => Ok(errno as i32),
        Err(Failure::Stop(error)) => Err(error),
    }
}
