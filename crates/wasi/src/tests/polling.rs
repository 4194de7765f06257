//! What language runtimes rely on when they sleep and wait for descriptors.

use super::*;
use crate::context::WasiCtx;
use crate::errno::Outcome;
use crate::memory::GuestValue;
use crate::poll::poll_oneoff;

const EVENTS: u32 = 200_000;

/// A subscription to a clock, its `userdata` 7.
pub(super) fn clock(snapshot: Snapshot, id: u32, timeout: u64, absolute: bool) -> Vec<u8> {
    let (size, at) = if snapshot == Snapshot::Preview1 {
        (48, 16)
    } else {
        (56, 24)
    };
    let mut bytes = vec![0; size];
    7u64.store(&mut bytes);
    id.store(&mut bytes[at..]);
    timeout.store(&mut bytes[at + 8..]);
    u16::from(absolute).store(&mut bytes[at + 24..]);
    bytes
}

/// A subscription to a descriptor, its `userdata` the descriptor.
fn descriptor(tag: u8, fd: u32) -> Vec<u8> {
    let mut bytes = vec![0; 48];
    u64::from(fd).store(&mut bytes);
    bytes[8] = tag;
    fd.store(&mut bytes[16..]);
    bytes
}

fn read(fd: u32) -> Vec<u8> {
    descriptor(1, fd)
}

fn write(fd: u32) -> Vec<u8> {
    descriptor(2, fd)
}

fn sleep(time: Duration) -> Vec<u8> {
    clock(Snapshot::Preview1, 1, time.as_nanos() as u64, false)
}

pub(super) fn poll_at(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    snapshot: Snapshot,
    count: u32,
) -> Outcome {
    let (subscriptions, events) = (GuestPtr(DATA), GuestPtr(EVENTS));
    poll_oneoff(
        ctx,
        memory,
        snapshot,
        subscriptions,
        events,
        count,
        GuestPtr(0),
    )
}

/// Of each event: userdata, error, type, bytes, flags.
type Seen = (u64, u16, u8, u64, u16);

fn poll(guest: &mut Guest, subscriptions: &[Vec<u8>]) -> Result<Vec<Seen>, Errno> {
    guest.put(DATA, &subscriptions.concat());
    let count = subscriptions.len() as u32;
    guest.call(|ctx, memory| poll_at(ctx, memory, Snapshot::Preview1, count))?;
    let event = |index: u32| {
        let at = EVENTS + 32 * index;
        let (error, kind) = (guest.get(at + 8), guest.get(at + 10));
        (
            guest.get(at),
            error,
            kind,
            guest.get(at + 16),
            guest.get(at + 24),
        )
    };
    Ok((0..guest.get(0)).map(event).collect())
}

const CLOCK: Seen = (7, 0, 0, 0, 0);

#[test]
fn no_subscriptions_and_absurdly_many_are_refused() {
    let mut guest = Guest::new();
    for count in [0, 4097, u32::MAX] {
        let result = guest.call(|ctx, memory| poll_at(ctx, memory, Snapshot::Preview1, count));
        assert_eq!(result, Err(Errno::Inval));
    }
}

#[test]
fn sleeping_takes_at_least_the_time() {
    let mut guest = Guest::new();
    let time = Duration::from_millis(20);
    let start = Instant::now();
    assert_eq!(poll(&mut guest, &[sleep(time)]), Ok(vec![CLOCK]));
    assert!(start.elapsed() >= time);
}

#[test]
fn absolute_times_are_of_the_clock_that_is_named() {
    let mut guest = Guest::new();
    for id in [0, 1] {
        guest
            .call(|ctx, memory| crate::clock::clock_time_get(ctx, memory, id, GuestPtr(0)))
            .unwrap();
        let now: u64 = guest.get(0);
        let start = Instant::now();
        let soon = clock(Snapshot::Preview1, id, now + 20_000_000, true);
        assert_eq!(poll(&mut guest, &[soon]), Ok(vec![CLOCK]));
        assert!(start.elapsed() >= Duration::from_millis(10));
        let past = clock(Snapshot::Preview1, id, now - 1, true);
        assert_eq!(poll(&mut guest, &[past]), Ok(vec![CLOCK]));
    }
}

#[test]
fn clocks_that_cannot_be_waited_for_are_events_with_errors() {
    let mut guest = Guest::new();
    let of = |id| clock(Snapshot::Preview1, id, 0, false);
    let events = poll(&mut guest, &[of(2), of(9)]).unwrap();
    let errors: Vec<u16> = events.iter().map(|event| event.1).collect();
    assert_eq!(errors, [Errno::Notsup as u16, Errno::Inval as u16]);
}

#[test]
fn the_older_snapshot_has_its_own_layout() {
    let mut guest = Guest::new();
    guest.put(DATA, &clock(Snapshot::Unstable, 1, 1, false));
    guest
        .call(|ctx, memory| poll_at(ctx, memory, Snapshot::Unstable, 1))
        .unwrap();
    assert_eq!((guest.get::<u32>(0), guest.get::<u64>(EVENTS)), (1, 7));
}

#[test]
fn what_is_ready_is_told_without_waiting_for_the_rest() {
    let mut guest = piped(Input::bytes("abc"), Output::null());
    guest.host_file("file", "hello");
    let fd = guest.open("file", READ_WRITE).unwrap();
    let hour = sleep(Duration::from_secs(3600));
    let events = poll(
        &mut guest,
        &[
            hour,
            read(0),
            write(1),
            read(fd),
            write(fd),
            read(99),
            read(ROOT),
        ],
    );
    let fd = u64::from(fd);
    let badf = Errno::Badf as u16;
    let expected = [
        (0, 0, 1, 3, 0),
        (1, 0, 2, 1, 0),
        (fd, 0, 1, 5, 0),
        (fd, 0, 2, 1, 0),
        (99, badf, 1, 0, 0),
        (u64::from(ROOT), badf, 1, 0, 0),
    ];
    assert_eq!(events.unwrap(), expected);
}

#[test]
fn a_pipe_wakes_the_guest_before_its_clock() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let file = std::fs::File::from(std::os::fd::OwnedFd::from(reader));
    let mut guest = piped(Input::file(file), Output::null());
    let short = sleep(Duration::from_millis(5));
    assert_eq!(poll(&mut guest, &[read(0), short]), Ok(vec![CLOCK]));
    let hour = sleep(Duration::from_secs(3600));
    let writer = std::thread::spawn(move || {
        std::io::Write::write_all(&mut writer, b"four").unwrap();
        writer
    });
    assert_eq!(
        poll(&mut guest, &[hour.clone(), read(0)]),
        Ok(vec![(0, 0, 1, 4, 0)])
    );
    guest.read(0, 10).unwrap();
    drop(writer.join().unwrap());
    assert_eq!(
        poll(&mut guest, &[hour, read(0)]),
        Ok(vec![(0, 0, 1, 0, 1)])
    );
}

#[test]
fn a_guest_that_may_not_wait_is_told_to_try_again() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let file = std::fs::File::from(std::os::fd::OwnedFd::from(reader));
    let configure = |builder: &mut crate::WasiCtxBuilder| {
        builder.stdin(Input::file(file)).allow_blocking(false);
    };
    let mut guest = Guest::with(configure, DirPerms::all(), FilePerms::all());
    let hour = sleep(Duration::from_secs(3600));
    assert_eq!(guest.read(0, 1), Err(Errno::Again));
    assert_eq!(
        poll(&mut guest, &[read(0), hour.clone()]),
        Err(Errno::Again)
    );
    assert_eq!(poll(&mut guest, &[sleep(Duration::ZERO)]), Ok(vec![CLOCK]));
    std::io::Write::write_all(&mut writer, b"x").unwrap();
    assert_eq!(poll(&mut guest, &[read(0), hour]).unwrap().len(), 1);
    assert_eq!(guest.read(0, 1).unwrap(), b"x");
}

#[test]
fn a_sleep_ends_though_the_embedders_clock_stands_still() {
    struct Still;
    impl crate::HostClock for Still {
        fn now(&mut self) -> Duration {
            Duration::from_secs(1)
        }
        fn resolution(&self) -> Duration {
            Duration::from_nanos(1)
        }
    }
    let configure = |builder: &mut crate::WasiCtxBuilder| {
        builder.monotonic_clock(Still);
    };
    let mut guest = Guest::with(configure, DirPerms::all(), FilePerms::all());
    let soon = clock(Snapshot::Preview1, 1, 1_000_000_001, true);
    assert_eq!(poll(&mut guest, &[soon]), Ok(vec![CLOCK]));
}
