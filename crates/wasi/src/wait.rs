//! Waiting: the one place where a WASI function lets time pass.
//!
//! A guest that waits must still end when its host wants it to. An embedder gives a check
//! ([`crate::WasiCtxBuilder::interrupt_check`]); whatever waits calls it before and then every
//! [`SLICE`], and ends the guest with the check's error. Without a check, waiting is one system call.

use crate::errno::{Errno, Failure, Outcome};
use rustix::event::{PollFd, PollFlags, Timespec};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// The longest time between two calls of the check.
const SLICE: Duration = Duration::from_millis(50);

/// Decides whether a waiting guest goes on waiting.
pub(crate) type InterruptCheck = Box<dyn Fn() -> sarsen::Result<()> + Send + Sync>;

/// Whether and how this context's functions wait.
pub(crate) struct Waiting {
    pub(crate) allowed: bool,
    pub(crate) check: Option<InterruptCheck>,
}

impl Waiting {
    /// Fails if the host wants the guest to end.
    pub(crate) fn check(&self) -> Outcome {
        match &self.check {
            Some(check) => check().map_err(Failure::Stop),
            None => Ok(()),
        }
    }

    /// Whether a system call that blocks must be avoided, because nothing could end it.
    pub(crate) fn is_interruptible(&self) -> bool {
        self.check.is_some()
    }

    /// Waits until one of `fds` is ready or `deadline` is past; no deadline means forever. Returns
    /// whether one is ready, or the errno `again` if this context may not wait.
    pub(crate) fn poll(&self, fds: &mut [PollFd<'_>], deadline: Option<Instant>) -> Outcome<bool> {
        loop {
            self.check()?;
            let rest = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let wait = match (self.allowed, self.is_interruptible()) {
                (false, _) => Some(Duration::ZERO),
                (true, false) => rest,
                (true, true) => Some(rest.map_or(SLICE, |rest| rest.min(SLICE))),
            };
            match poll_once(fds, wait) {
                Ok(0) if rest == Some(Duration::ZERO) => return Ok(false),
                Ok(0) if !self.allowed => return Err(Errno::Again.into()),
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return Ok(true),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits a moment before something that cannot be waited for is tried again.
    pub(crate) fn pause(&self) -> Outcome {
        self.poll(&mut [], Some(Instant::now() + SLICE)).map(|_| ())
    }

    /// Waits until `fd` can be read or written, whichever `flags` says. A guest that asked for a
    /// non-blocking descriptor gets the errno `again` instead of waiting.
    pub(crate) fn until_ready(
        &self,
        fd: BorrowedFd<'_>,
        flags: PollFlags,
        nonblocking: bool,
    ) -> Outcome {
        let deadline = nonblocking.then(Instant::now);
        match self.poll(&mut [PollFd::from_borrowed_fd(fd, flags)], deadline)? {
            true => Ok(()),
            false => Err(Errno::Again.into()),
        }
    }
}

/// `poll(2)` with nanoseconds; a time too long for the system is forever.
fn poll_once(fds: &mut [PollFd<'_>], wait: Option<Duration>) -> rustix::io::Result<usize> {
    let timeout = wait.and_then(|wait| Timespec::try_from(wait).ok());
    rustix::event::poll(fds, timeout.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn waiting(allowed: bool) -> Waiting {
        Waiting {
            allowed,
            check: None,
        }
    }

    #[test]
    fn a_deadline_in_the_past_does_not_wait() {
        assert!(!waiting(true).poll(&mut [], Some(Instant::now())).unwrap());
        assert!(!waiting(false).poll(&mut [], Some(Instant::now())).unwrap());
    }

    #[test]
    fn a_context_that_may_not_wait_answers_again() {
        let Err(Failure::Errno(Errno::Again)) = waiting(false).poll(&mut [], None) else {
            panic!("waited");
        };
    }

    #[test]
    fn waiting_forever_ends_when_the_host_wants_it() {
        let calls = AtomicU32::new(0);
        let calls = std::sync::Arc::new(calls);
        let seen = calls.clone();
        let check = move || match seen.fetch_add(1, Ordering::Relaxed) {
            0 | 1 => Ok(()),
            _ => Err(sarsen::Error::msg("enough")),
        };
        let waiting = Waiting {
            allowed: true,
            check: Some(Box::new(check)),
        };
        let Err(Failure::Stop(error)) = waiting.poll(&mut [], None) else {
            panic!("not interrupted");
        };
        assert_eq!(error.to_string(), "enough");
        assert_eq!(calls.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn a_ready_descriptor_ends_the_wait() {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(writer);
        let fd = std::os::fd::AsFd::as_fd(&reader);
        waiting(true).until_ready(fd, PollFlags::IN, false).unwrap();
    }

    #[test]
    fn a_nonblocking_descriptor_that_is_not_ready_answers_again() {
        let (reader, _writer) = std::io::pipe().unwrap();
        let fd = std::os::fd::AsFd::as_fd(&reader);
        let Err(Failure::Errno(Errno::Again)) = waiting(true).until_ready(fd, PollFlags::IN, true)
        else {
            panic!("waited");
        };
    }
}
