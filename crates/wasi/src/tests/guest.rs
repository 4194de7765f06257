//! A pretended guest for tests: a context and a memory without an engine. It calls WASI functions as
//! a program would, by putting arguments into its memory and reading results from there.
//!
//! ```text
//! 0 results   1024 first path   8192 second path   65536 data   1 MiB end
//! ```

use crate::abi::{Fd, Snapshot};
use crate::context::{WasiCtx, WasiCtxBuilder};
use crate::descriptor::{DirPerms, FilePerms};
use crate::errno::{Errno, Failure, Outcome};
use crate::flags::{FdFlags, LookupFlags, OpenFlags, Rights};
use crate::memory::{GuestIovecs, GuestMemory, GuestPtr, GuestRange, GuestValue};
use crate::path::{OpenHow, path_open};
use crate::{dir, file, path};
use std::path::{Path, PathBuf};

const OLD_PATH: u32 = 1024;
const NEW_PATH: u32 = 8192;
const IOVEC: u32 = 16384;
pub(crate) const DATA: u32 = 65536;
const MEMORY_BYTES: u32 = 1 << 20;

/// The descriptor of the preopened directory.
pub(crate) const ROOT: Fd = 3;

pub(crate) const FOLLOW: LookupFlags = LookupFlags::SYMLINK_FOLLOW;
pub(crate) const NO_FOLLOW: LookupFlags = LookupFlags::empty();

/// How to open a file for reading and writing, following links.
pub(crate) const READ_WRITE: OpenHow = OpenHow {
    lookup: FOLLOW,
    open: OpenFlags::empty(),
    rights: Rights::FD_READ.with(Rights::FD_WRITE),
    fd_flags: FdFlags::empty(),
};

pub(crate) const READ: OpenHow = OpenHow {
    rights: Rights::FD_READ,
    ..READ_WRITE
};

pub(crate) const CREATE: OpenHow = OpenHow {
    open: OpenFlags::CREAT,
    ..READ_WRITE
};

pub(crate) struct Guest {
    pub(crate) ctx: WasiCtx,
    memory: Vec<u8>,
    /// Holds `inside`, the directory that the guest has, and what it must not reach.
    scratch: tempfile::TempDir,
}

impl Guest {
    /// A guest with a directory that it may do everything in.
    pub(crate) fn new() -> Guest {
        Guest::with(|_| {}, DirPerms::all(), FilePerms::all())
    }

    /// A guest with a directory, after `configure`.
    pub(crate) fn with(
        configure: impl FnOnce(&mut WasiCtxBuilder),
        dir_perms: DirPerms,
        file_perms: FilePerms,
    ) -> Guest {
        let scratch = tempfile::tempdir().unwrap();
        let inside = scratch.path().join("inside");
        std::fs::create_dir(&inside).unwrap();
        let mut builder = WasiCtx::builder();
        builder
            .preopened_dir(inside, "/", dir_perms, file_perms)
            .unwrap();
        configure(&mut builder);
        Guest {
            ctx: builder.build(),
            memory: vec![0; MEMORY_BYTES as usize],
            scratch,
        }
    }

    /// The host's path of something in the guest's directory.
    pub(crate) fn host(&self, path: &str) -> PathBuf {
        self.scratch.path().join("inside").join(path)
    }

    /// The host's path of something beside the guest's directory.
    pub(crate) fn outside(&self, path: &str) -> PathBuf {
        self.scratch.path().join(path)
    }

    /// Makes a file in the guest's directory, by the host.
    pub(crate) fn host_file(&self, path: &str, contents: &str) {
        std::fs::write(self.host(path), contents).unwrap();
    }

    /// Makes a symbolic link in the guest's directory, by the host: any target goes.
    pub(crate) fn host_link(&self, path: &str, target: impl AsRef<Path>) {
        std::os::unix::fs::symlink(target, self.host(path)).unwrap();
    }

    /// Calls a function; an errno is the result, anything else a failed test.
    pub(crate) fn call(
        &mut self,
        function: impl FnOnce(&mut WasiCtx, &mut GuestMemory<'_>) -> Outcome,
    ) -> Result<(), Errno> {
        match function(&mut self.ctx, &mut GuestMemory::new(&mut self.memory)) {
            Ok(()) => Ok(()),
            Err(Failure::Errno(errno)) => Err(errno),
            Err(Failure::Stop(error)) => panic!("the guest ended: {error}"),
        }
    }

    /// Calls a function that takes a path.
    pub(crate) fn path_call(
        &mut self,
        path: &str,
        function: impl FnOnce(&mut WasiCtx, &mut GuestMemory<'_>, GuestRange) -> Outcome,
    ) -> Result<(), Errno> {
        let path = self.put(OLD_PATH, path.as_bytes());
        self.call(|ctx, memory| function(ctx, memory, path))
    }

    /// Calls a function that takes two paths.
    pub(crate) fn paths_call(
        &mut self,
        (old, new): (&str, &str),
        function: impl FnOnce(&mut WasiCtx, &mut GuestMemory<'_>, GuestRange, GuestRange) -> Outcome,
    ) -> Result<(), Errno> {
        let old = self.put(OLD_PATH, old.as_bytes());
        let new = self.put(NEW_PATH, new.as_bytes());
        self.call(|ctx, memory| function(ctx, memory, old, new))
    }

    /// Puts bytes into the memory.
    pub(crate) fn put(&mut self, at: u32, bytes: &[u8]) -> GuestRange {
        self.memory[at as usize..][..bytes.len()].copy_from_slice(bytes);
        GuestRange::new(GuestPtr(at), bytes.len() as u32)
    }

    /// The value at `at`.
    pub(crate) fn get<T: GuestValue>(&self, at: u32) -> T {
        T::load(&self.memory[at as usize..])
    }

    pub(crate) fn bytes(&self, at: u32, len: u32) -> &[u8] {
        &self.memory[at as usize..][..len as usize]
    }

    pub(crate) fn open(&mut self, path: &str, how: OpenHow) -> Result<Fd, Errno> {
        self.open_at(ROOT, path, how)
    }

    pub(crate) fn open_at(&mut self, fd: Fd, path: &str, how: OpenHow) -> Result<Fd, Errno> {
        self.path_call(path, |ctx, memory, path| {
            path_open(ctx, memory, fd, path, how, GuestPtr(0))
        })?;
        Ok(self.get(0))
    }

    /// Reads a whole file by its path.
    pub(crate) fn read_file(&mut self, path: &str) -> Result<String, Errno> {
        let fd = self.open(path, READ)?;
        let text = self.read(fd, 4096)?;
        Ok(String::from_utf8(text).unwrap())
    }

    /// The iovec of one buffer in the data.
    fn iovec(&mut self, len: u32) -> GuestIovecs {
        self.put(IOVEC, &DATA.to_le_bytes());
        self.put(IOVEC + 4, &len.to_le_bytes());
        GuestIovecs {
            start: GuestPtr(IOVEC),
            count: 1,
        }
    }

    pub(crate) fn read(&mut self, fd: Fd, len: u32) -> Result<Vec<u8>, Errno> {
        let iovec = self.iovec(len);
        self.call(|ctx, memory| file::fd_read(ctx, memory, fd, iovec, GuestPtr(0)))?;
        Ok(self.bytes(DATA, self.get(0)).to_vec())
    }

    pub(crate) fn pread(&mut self, fd: Fd, len: u32, offset: u64) -> Result<Vec<u8>, Errno> {
        let iovec = self.iovec(len);
        self.call(|ctx, memory| file::fd_pread(ctx, memory, fd, iovec, offset, GuestPtr(0)))?;
        Ok(self.bytes(DATA, self.get(0)).to_vec())
    }

    pub(crate) fn write(&mut self, fd: Fd, bytes: &[u8]) -> Result<u32, Errno> {
        self.put(DATA, bytes);
        let iovec = self.iovec(bytes.len() as u32);
        self.call(|ctx, memory| file::fd_write(ctx, memory, fd, iovec, GuestPtr(0)))?;
        Ok(self.get(0))
    }

    pub(crate) fn pwrite(&mut self, fd: Fd, bytes: &[u8], offset: u64) -> Result<u32, Errno> {
        self.put(DATA, bytes);
        let iovec = self.iovec(bytes.len() as u32);
        self.call(|ctx, memory| file::fd_pwrite(ctx, memory, fd, iovec, offset, GuestPtr(0)))?;
        Ok(self.get(0))
    }

    /// Seeks as preview 1 numbers `whence`.
    pub(crate) fn seek(&mut self, fd: Fd, offset: i64, whence: u32) -> Result<u64, Errno> {
        let snapshot = Snapshot::Preview1;
        self.call(|ctx, memory| {
            file::fd_seek(ctx, memory, snapshot, fd, offset, whence, GuestPtr(0))
        })?;
        Ok(self.get(0))
    }

    /// The file type of what `path` names.
    pub(crate) fn stat(&mut self, path: &str, lookup: LookupFlags) -> Result<u8, Errno> {
        let snapshot = Snapshot::Preview1;
        self.path_call(path, |ctx, memory, path| {
            path::path_filestat_get(ctx, memory, snapshot, ROOT, lookup, path, GuestPtr(0))
        })?;
        Ok(self.get(16))
    }

    /// Lists from `cookie` into a buffer of `len` bytes; returns the bytes.
    pub(crate) fn readdir(&mut self, fd: Fd, len: u32, cookie: u64) -> Result<Vec<u8>, Errno> {
        let buffer = GuestRange::new(GuestPtr(DATA), len);
        self.call(|ctx, memory| dir::fd_readdir(ctx, memory, fd, buffer, cookie, GuestPtr(0)))?;
        Ok(self.bytes(DATA, self.get(0)).to_vec())
    }

    /// All names in a directory, as a C library lists them with a buffer of `len` bytes.
    pub(crate) fn list(&mut self, fd: Fd, len: u32) -> Vec<String> {
        let mut names = Vec::new();
        let mut cookie = 0;
        loop {
            let bytes = self.readdir(fd, len, cookie).unwrap();
            let mut rest = &bytes[..];
            while rest.len() >= 24 {
                let name_len = u32::load(&rest[16..]) as usize;
                let Some(name) = rest.get(24..24 + name_len) else {
                    break;
                };
                names.push(String::from_utf8(name.to_vec()).unwrap());
                cookie = u64::load(rest);
                rest = &rest[24 + name_len..];
            }
            if bytes.len() < len as usize {
                names.sort();
                return names;
            }
        }
    }
}
