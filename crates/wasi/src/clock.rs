//! Clocks: the system's, or those that an embedder puts in their place to make a guest's run
//! reproducible. Waiting for a clock is in `poll.rs`.

use crate::abi::ClockId;
use crate::context::WasiCtx;
use crate::errno::{Errno, Outcome};
use crate::memory::{GuestMemory, GuestPtr};
use std::time::{Duration, Instant, SystemTime};

/// A clock that a guest reads.
pub trait HostClock: Send {
    /// The time since the clock's epoch: 1970 for the wall clock, any moment for the monotonic one,
    /// which must never go back.
    fn now(&mut self) -> Duration;

    /// The smallest difference between two times; not zero.
    fn resolution(&self) -> Duration;
}

/// A guest's clocks.
pub(crate) struct Clocks {
    pub(crate) wall: Box<dyn HostClock>,
    pub(crate) monotonic: Box<dyn HostClock>,
    /// Whether the CPU-time clocks tell the monotonic time, so that a reproducible run stays so.
    pub(crate) cpu_time_is_monotonic: bool,
}

impl Clocks {
    pub(crate) fn system() -> Clocks {
        Clocks {
            wall: Box::new(SystemWallClock),
            monotonic: Box::new(SystemMonotonicClock {
                start: Instant::now(),
            }),
            cpu_time_is_monotonic: false,
        }
    }

    /// The time of clock `id`.
    pub(crate) fn now(&mut self, id: ClockId) -> Duration {
        match id {
            ClockId::Realtime => self.wall.now(),
            ClockId::ProcessCpuTime if !self.cpu_time_is_monotonic => {
                cpu_time(rustix::time::ClockId::ProcessCPUTime)
            }
            ClockId::ThreadCpuTime if !self.cpu_time_is_monotonic => {
                cpu_time(rustix::time::ClockId::ThreadCPUTime)
            }
            ClockId::Monotonic | ClockId::ProcessCpuTime | ClockId::ThreadCpuTime => {
                self.monotonic.now()
            }
        }
    }

    fn resolution(&self, id: ClockId) -> Duration {
        match id {
            ClockId::Realtime => self.wall.resolution(),
            ClockId::Monotonic | ClockId::ProcessCpuTime | ClockId::ThreadCpuTime => {
                self.monotonic.resolution()
            }
        }
    }
}

fn cpu_time(id: rustix::time::ClockId) -> Duration {
    from_timespec(rustix::time::clock_gettime(id))
}

fn from_timespec(time: rustix::time::Timespec) -> Duration {
    Duration::try_from(time).unwrap_or_default()
}

struct SystemWallClock;

impl HostClock for SystemWallClock {
    fn now(&mut self) -> Duration {
        // A system clock set before 1970 has no WASI time.
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
    }

    fn resolution(&self) -> Duration {
        from_timespec(rustix::time::clock_getres(rustix::time::ClockId::Realtime))
    }
}

/// Counts from the context's creation: how long the machine runs is none of a guest's business.
struct SystemMonotonicClock {
    start: Instant,
}

impl HostClock for SystemMonotonicClock {
    fn now(&mut self) -> Duration {
        // Some runtimes take 0 for a broken clock.
        self.start.elapsed() + Duration::from_nanos(1)
    }

    fn resolution(&self) -> Duration {
        from_timespec(rustix::time::clock_getres(rustix::time::ClockId::Monotonic))
    }
}

/// A time in WASI's unit; it lasts until the year 2554.
pub(crate) fn nanoseconds(time: Duration) -> Result<u64, Errno> {
    u64::try_from(time.as_nanos()).map_err(|_| Errno::Overflow)
}

/// `clock_res_get`: answers a clock's resolution.
pub(crate) fn clock_res_get(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    id: u32,
    resolution_out: GuestPtr,
) -> Outcome {
    let resolution = ctx.clocks.resolution(ClockId::decode(id)?);
    Ok(memory.write(resolution_out, nanoseconds(resolution)?)?)
}

/// `clock_time_get`: answers a clock's time. It is always as precise as can be.
pub(crate) fn clock_time_get(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    id: u32,
    time_out: GuestPtr,
) -> Outcome {
    let now = ctx.clocks.now(ClockId::decode(id)?);
    Ok(memory.write(time_out, nanoseconds(now)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed;

    impl HostClock for Fixed {
        fn now(&mut self) -> Duration {
            Duration::from_secs(7)
        }
        fn resolution(&self) -> Duration {
            Duration::from_secs(1)
        }
    }

    #[test]
    fn with_a_monotonic_clock_of_the_embedder_no_clock_but_the_wall_clock_is_the_systems() {
        let mut clocks = Clocks {
            monotonic: Box::new(Fixed),
            cpu_time_is_monotonic: true,
            ..Clocks::system()
        };
        for id in [
            ClockId::Monotonic,
            ClockId::ProcessCpuTime,
            ClockId::ThreadCpuTime,
        ] {
            assert_eq!(clocks.now(id), Duration::from_secs(7));
        }
        assert!(clocks.now(ClockId::Realtime) > Duration::from_secs(1_000_000_000));
    }

    #[test]
    fn the_monotonic_clock_is_never_zero_and_never_goes_back() {
        let mut clocks = Clocks::system();
        let first = clocks.now(ClockId::Monotonic);
        assert!(first > Duration::ZERO);
        assert!(clocks.now(ClockId::Monotonic) >= first);
        assert!(clocks.resolution(ClockId::ThreadCpuTime) > Duration::ZERO);
    }

    #[test]
    fn a_time_after_the_last_one_is_an_overflow() {
        assert_eq!(nanoseconds(Duration::MAX), Err(Errno::Overflow));
    }
}
