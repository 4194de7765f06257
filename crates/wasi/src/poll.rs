//! `poll_oneoff`: waits until a clock reaches a time or a descriptor can be read or written. Language
//! runtimes sleep with it, and schedulers (Go's) live on it.
//!
//! Subscriptions fall into three groups: those that are ready (or wrong) at once, those that the
//! system's `poll` waits for, and clocks, of which the earliest is the wait's deadline. Errors of one
//! subscription are events, they do not fail the call.

use crate::abi::{Awaited, ClockId, Event, Fd, Snapshot, Subscription};
use crate::clock::Clocks;
use crate::context::WasiCtx;
use crate::descriptor::Kind;
use crate::errno::{Errno, Outcome};
use crate::flags::{EventRwFlags, Rights};
use crate::memory::{GuestMemory, GuestPtr};
use crate::table::DescriptorTable;
use rustix::event::{PollFd, PollFlags};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// The most subscriptions in one call: twice what a guest can have open, and clocks.
const SUBSCRIPTIONS_MAX: u32 = 4096;

/// What one subscription waits for, found once before waiting.
enum Wait<'a> {
    /// Nothing: this is the event.
    Ready(Event),
    /// The system says when.
    System {
        fd: BorrowedFd<'a>,
        readiness: PollFlags,
    },
    /// The time comes. `None` is too far away to be a time.
    Deadline(Option<Instant>),
}

/// `poll_oneoff`: waits until at least one of `count` subscriptions has an event, and answers all
/// events there are.
pub(crate) fn poll_oneoff(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    snapshot: Snapshot,
    subscriptions: GuestPtr,
    events: GuestPtr,
    count: u32,
    events_out: GuestPtr,
) -> Outcome {
    if count == 0 || count > SUBSCRIPTIONS_MAX {
        return Err(Errno::Inval.into());
    }
    memory.check_writable(events, count * Event::BYTES)?;
    memory.check_writable(events_out, 4)?;
    let start = Instant::now();
    let mut waits = Vec::new();
    for index in 0..count {
        let subscription = Subscription::read(snapshot, memory, subscriptions, index)?;
        let wait = classify(&ctx.table, &mut ctx.clocks, start, &subscription)
            .unwrap_or_else(|errno| Wait::Ready(subscription.event(Err(errno))));
        waits.push((subscription, wait));
    }
    let readiness = wait(ctx, &waits)?;
    let now = Instant::now();
    let mut written = 0;
    for ((subscription, wait), flags) in waits.iter().zip(readiness) {
        if let Some(event) = event(subscription, wait, flags, now) {
            event.write(memory, events, written)?;
            written += 1;
        }
    }
    Ok(memory.write(events_out, written)?)
}

fn classify<'a>(
    table: &'a DescriptorTable,
    clocks: &mut Clocks,
    start: Instant,
    subscription: &Subscription,
) -> Result<Wait<'a>, Errno> {
    match subscription.awaited {
        Awaited::Clock {
            id,
            timeout_ns,
            absolute,
        } => {
            let rest = rest(clocks, id, timeout_ns, absolute)?;
            Ok(Wait::Deadline(start.checked_add(rest)))
        }
        Awaited::Read(fd) => classify_fd(table, fd, Rights::FD_READ, subscription),
        Awaited::Write(fd) => classify_fd(table, fd, Rights::FD_WRITE, subscription),
        Awaited::Invalid(errno) => Err(errno),
    }
}

/// How long until clock `id` reaches the time. A clock of the embedder's is taken to run as fast as
/// the real one from here on: a wait ends, even if that clock stands still.
fn rest(
    clocks: &mut Clocks,
    id: ClockId,
    timeout_ns: u64,
    absolute: bool,
) -> Result<Duration, Errno> {
    if matches!(id, ClockId::ProcessCpuTime | ClockId::ThreadCpuTime) {
        return Err(Errno::Notsup);
    }
    let timeout = Duration::from_nanos(timeout_ns);
    Ok(if absolute {
        timeout.saturating_sub(clocks.now(id))
    } else {
        timeout
    })
}

fn classify_fd<'a>(
    table: &'a DescriptorTable,
    fd: Fd,
    right: Rights,
    subscription: &Subscription,
) -> Result<Wait<'a>, Errno> {
    let descriptor = table.get(fd)?;
    descriptor.require(right)?;
    descriptor.require(Rights::POLL_FD_READWRITE)?;
    let readiness = if right == Rights::FD_READ {
        PollFlags::IN
    } else {
        PollFlags::OUT
    };
    match &descriptor.kind {
        // A regular file is always ready; at its end, so is the news that it ended.
        Kind::File(file) if file.is_regular() => {
            let available = if right == Rights::FD_READ {
                file.rest_bytes()?
            } else {
                1
            };
            Ok(Wait::Ready(
                subscription.event(Ok((available, EventRwFlags::empty()))),
            ))
        }
        Kind::File(file) => Ok(Wait::System {
            fd: file.as_fd(),
            readiness,
        }),
        Kind::Source(source) => Ok(Wait::Ready(subscription.event(Ok(
            match source.available_bytes() {
                Some(available) => (available, EventRwFlags::empty()),
                None => (0, EventRwFlags::HANGUP),
            },
        )))),
        Kind::Sink(_) => Ok(Wait::Ready(
            subscription.event(Ok((1, EventRwFlags::empty()))),
        )),
        Kind::Dir(_) => Err(Errno::Badf),
    }
}

/// Waits until one of `waits` has an event. Returns what the system says of each.
fn wait(ctx: &WasiCtx, waits: &[(Subscription, Wait<'_>)]) -> Outcome<Vec<PollFlags>> {
    let mut deadline = None;
    let mut fds = Vec::new();
    for (_, wait) in waits {
        match wait {
            Wait::Ready(_) => deadline = Some(Instant::now()),
            Wait::System { fd, readiness } => fds.push(PollFd::from_borrowed_fd(*fd, *readiness)),
            Wait::Deadline(None) => {}
            Wait::Deadline(Some(time)) => {
                deadline = Some(deadline.map_or(*time, |earlier: Instant| earlier.min(*time)));
            }
        }
    }
    ctx.waiting.poll(&mut fds, deadline)?;
    let mut polled = fds.iter().map(PollFd::revents);
    Ok(waits
        .iter()
        .map(|(_, wait)| match wait {
            Wait::System { .. } => polled.next().unwrap_or(PollFlags::empty()),
            Wait::Ready(_) | Wait::Deadline(_) => PollFlags::empty(),
        })
        .collect())
}

/// The event of a subscription, if it has one by now.
fn event(
    subscription: &Subscription,
    wait: &Wait<'_>,
    flags: PollFlags,
    now: Instant,
) -> Option<Event> {
    match wait {
        Wait::Ready(event) => Some(*event),
        Wait::Deadline(time) => time
            .is_some_and(|time| time <= now)
            .then(|| subscription.event(Ok((0, EventRwFlags::empty())))),
        Wait::System { .. } if flags.is_empty() => None,
        Wait::System { fd, readiness } => {
            Some(subscription.event(system_result(*fd, *readiness, flags)))
        }
    }
}

/// What the system's answer means. An error or hangup lets the guest go on to read or write, which
/// then says what happened.
fn system_result(
    fd: BorrowedFd<'_>,
    readiness: PollFlags,
    flags: PollFlags,
) -> Result<(u64, EventRwFlags), Errno> {
    if flags.contains(PollFlags::NVAL) {
        return Err(Errno::Badf);
    }
    let hung_up = flags.intersects(PollFlags::HUP | PollFlags::ERR);
    let flags = EventRwFlags::empty().with_if(hung_up, EventRwFlags::HANGUP);
    let available = match readiness {
        PollFlags::IN => rustix::io::ioctl_fionread(fd).unwrap_or(1),
        _ => 1,
    };
    Ok((available, flags))
}

impl Subscription {
    /// The event that answers this.
    fn event(&self, result: Result<(u64, EventRwFlags), Errno>) -> Event {
        let (available_bytes, flags) = result.unwrap_or((0, EventRwFlags::empty()));
        let Subscription {
            userdata,
            event_type,
            ..
        } = *self;
        Event {
            userdata,
            error: result.err(),
            event_type,
            available_bytes,
            flags,
        }
    }
}
