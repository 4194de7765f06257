//! Tests of what programs rely on: offsets, flags, listings, times, renaming, waiting. One test is one
//! promise; those about paths that lead outside are in `sandbox.rs`.

use crate::abi::Snapshot;
use crate::descriptor::{DirPerms, FilePerms};
use crate::errno::{Errno, Failure};
use crate::fd::*;
use crate::file::*;
use crate::flags::{FdFlags, FstFlags, OpenFlags, Rights};
use crate::memory::{GuestIovecs, GuestMemory, GuestPtr, GuestRange};
use crate::path::*;
use crate::stdio::{CapturedOutput, Input, Output};
use guest::*;
use std::time::{Duration, Instant};

/// A guest whose streams are these, with its directory.
fn piped(stdin: Input, stdout: Output) -> Guest {
    let configure = |builder: &mut crate::WasiCtxBuilder| {
        builder.stdin(stdin).stdout(stdout);
    };
    Guest::with(configure, DirPerms::all(), FilePerms::all())
}

fn fdstat(guest: &mut Guest, fd: u32) -> (u8, u16, u64) {
    guest
        .call(|ctx, memory| fd_fdstat_get(ctx, memory, fd, GuestPtr(0)))
        .unwrap();
    (guest.get(0), guest.get(2), guest.get(8))
}

mod files;
mod guest;
mod interruption;
mod listings;
mod paths;
mod polling;
mod sandbox;
mod streams;
