//! What hosts rely on: a guest that waits can be ended, wherever it waits.

use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// A guest that is ended when its host has let it go on `looks` times.
fn doomed(looks: u32, stdin: Input, stdout: Output) -> Guest {
    let seen = Arc::new(AtomicU32::new(0));
    let configure = |builder: &mut crate::WasiCtxBuilder| {
        builder
            .stdin(stdin)
            .stdout(stdout)
            .interrupt_check(move || {
                if seen.fetch_add(1, Ordering::Relaxed) < looks {
                    Ok(())
                } else {
                    Err(sarsen::Error::msg("time is up"))
                }
            });
    };
    let guest = Guest::with(configure, DirPerms::all(), FilePerms::all());
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, guest.host("fifo"), mode).unwrap();
    guest
}

/// Calls a function on a memory with an iovec of 800,000 bytes and the path `fifo`.
fn assert_ends(
    guest: &mut Guest,
    function: impl FnOnce(&mut crate::WasiCtx, &mut GuestMemory<'_>) -> crate::errno::Outcome,
) {
    let mut memory = vec![0; 1 << 20];
    memory[16384..16388].copy_from_slice(&DATA.to_le_bytes());
    memory[16388..16392].copy_from_slice(&800_000u32.to_le_bytes());
    memory[1024..1028].copy_from_slice(b"fifo");
    match function(&mut guest.ctx, &mut GuestMemory::new(&mut memory)) {
        Err(Failure::Stop(error)) => assert_eq!(error.to_string(), "time is up"),
        other => panic!("not ended: {other:?}"),
    }
}

const IOVEC: GuestIovecs = GuestIovecs {
    start: GuestPtr(16384),
    count: 1,
};
const FIFO: GuestRange = GuestRange {
    start: GuestPtr(1024),
    len: 4,
};

fn file(pipe: impl Into<std::os::fd::OwnedFd>) -> std::fs::File {
    std::fs::File::from(pipe.into())
}

#[test]
fn a_guest_that_reads_from_a_silent_pipe_can_be_ended() {
    let (reader, _writer) = std::io::pipe().unwrap();
    let mut guest = doomed(2, Input::file(file(reader)), Output::null());
    assert_ends(&mut guest, |ctx, memory| {
        fd_read(ctx, memory, 0, IOVEC, GuestPtr(0))
    });
}

#[test]
fn a_guest_that_writes_into_a_full_pipe_can_be_ended() {
    let (_reader, writer) = std::io::pipe().unwrap();
    // The pipe takes a first step.
    let mut guest = doomed(3, Input::null(), Output::file(file(writer)));
    assert_ends(&mut guest, |ctx, memory| {
        fd_write(ctx, memory, 1, IOVEC, GuestPtr(0))
    });
}

#[test]
fn an_interruptible_write_is_whole_when_the_pipe_is_read() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut guest = doomed(u32::MAX, Input::null(), Output::file(file(writer)));
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        std::io::Read::read_to_end(&mut reader, &mut all).unwrap();
        all.len()
    });
    assert_eq!(guest.write(1, &[1; 300_000]), Ok(300_000));
    drop(guest);
    assert_eq!(reader.join().unwrap(), 300_000);
}

#[test]
fn a_guest_that_waits_for_the_peer_of_a_fifo_can_be_ended() {
    let mut guest = doomed(2, Input::null(), Output::null());
    let how = OpenHow {
        rights: Rights::FD_WRITE,
        ..READ
    };
    assert_ends(&mut guest, |ctx, memory| {
        path_open(ctx, memory, ROOT, FIFO, how, GuestPtr(0))
    });
    let mut guest = doomed(2, Input::null(), Output::null());
    let fd = guest.open("fifo", READ).unwrap();
    assert_ends(&mut guest, |ctx, memory| {
        fd_read(ctx, memory, fd, IOVEC, GuestPtr(0))
    });
}

#[test]
fn a_guest_that_generates_random_bytes_can_be_ended() {
    let mut guest = doomed(0, Input::null(), Output::null());
    let all = GuestRange::new(GuestPtr(0), 1 << 20);
    assert_ends(&mut guest, |ctx, memory| {
        crate::random::random_get(ctx, memory, all)
    });
}

#[test]
fn a_sleeping_guest_can_be_ended() {
    let mut guest = doomed(2, Input::null(), Output::null());
    assert_ends(&mut guest, |ctx, memory| {
        let subscription = super::polling::clock(Snapshot::Preview1, 1, u64::MAX, false);
        let target = GuestRange::new(GuestPtr(DATA), 48);
        memory.write_truncated(target, &subscription).unwrap();
        super::polling::poll_at(ctx, memory, Snapshot::Preview1, 1)
    });
}
