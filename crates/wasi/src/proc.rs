//! Ending, and giving way: `proc_exit`, `proc_raise`, `sched_yield`.

use crate::errno::{Errno, Failure, Outcome};
use std::fmt;

/// The error that ends a guest which calls `proc_exit`. Exiting with 0 is one too: whoever calls
/// into a guest finds it with `error.downcast_ref::<I32Exit>()`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct I32Exit(
    /// What the guest passed.
    pub i32,
);

impl I32Exit {
    /// The status for the host's own process: the low 8 bits, as POSIX has it, so that `exit(-1)` is
    /// 255. But a code that is not 0 never becomes success: 256 gives 1.
    pub fn process_status(self) -> u8 {
        match (self.0, self.0 as u8) {
            (0, _) => 0,
            (_, 0) => 1,
            (_, status) => status,
        }
    }
}

impl fmt::Display for I32Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the guest exited with status {}", self.0)
    }
}

impl std::error::Error for I32Exit {}

/// `proc_exit`: ends the guest.
pub(crate) fn proc_exit(code: u32) -> Outcome {
    Err(Failure::Stop(I32Exit(code as i32).into()))
}

/// `proc_raise`: there are no signals.
pub(crate) fn proc_raise(signal: u32) -> Outcome {
    const SIGNALS: u32 = 31;
    Err(if signal < SIGNALS {
        Errno::Notsup
    } else {
        Errno::Inval
    }
    .into())
}

/// `sched_yield`: lets another thread of the host run.
pub(crate) fn sched_yield() -> Outcome {
    std::thread::yield_now();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_never_becomes_success() {
        let status = |code| I32Exit(code).process_status();
        assert_eq!(
            [0, 1, 125, 200, 255, -1].map(status),
            [0, 1, 125, 200, 255, 255]
        );
        assert_eq!([256, i32::MIN].map(status), [1, 1]);
    }
}
