//! [`Permit`]: what a sleeping thread sleeps on.
//!
//! At most one permit is held for the thread. [`Permit::take`] sleeps until there is one, and
//! [`Permit::give`] gives one; giving is async-signal-safe, and makes a system call only when the thread
//! sleeps.

use rustix::thread::futex::{self, Timespec};
use std::hint;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

const NONE: u32 = 0;
const GIVEN: u32 = 1;
const ASLEEP: u32 = 2;

/// How often a thread looks before it sleeps: a few microseconds, less than what sleeping and being
/// woken cost, within which a partner on another core usually answers.
const LOOKS: u32 = 100;

/// A permit to go on, for one thread.
#[derive(Debug)]
pub(crate) struct Permit(AtomicU32);

impl Permit {
    /// No permit yet.
    pub(crate) const fn new() -> Permit {
        Permit(AtomicU32::new(NONE))
    }

    /// Gives a permit; a second one is lost. What happened before is seen by who takes it.
    pub(crate) fn give(&self) {
        if self.0.swap(GIVEN, Ordering::SeqCst) == ASLEEP {
            // A failure could only mean that the address is bad.
            let _ = futex::wake(&self.0, futex::Flags::PRIVATE, 1);
        }
    }

    /// Takes the permit. Waits for it until `until`, if that is given; may return earlier, too.
    ///
    /// One thread at a time.
    pub(crate) fn take(&self, until: Option<Instant>) {
        for _ in 0..LOOKS {
            if self.0.load(Ordering::Relaxed) == GIVEN {
                break;
            }
            hint::spin_loop();
        }
        let asleep = self
            .0
            .compare_exchange(NONE, ASLEEP, Ordering::SeqCst, Ordering::SeqCst);
        if asleep.is_ok() {
            self.sleep(until);
        }
        self.0.swap(NONE, Ordering::SeqCst);
    }

    fn sleep(&self, until: Option<Instant>) {
        let timeout = match until {
            None => None,
            Some(until) => {
                let left = until.saturating_duration_since(Instant::now());
                // What does not fit is longer than anybody waits.
                Timespec::try_from(left).ok()
            }
        };
        // Woken, timed out, interrupted by a signal, or given a permit meanwhile: the caller looks.
        let _ = futex::wait(&self.0, futex::Flags::PRIVATE, ASLEEP, timeout.as_ref());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::thread;
    use std::time::Duration;

    #[test]
    fn a_permit_that_is_given_first_is_not_lost() {
        let permit = Permit::new();
        permit.give();
        permit.give();
        permit.take(None);
        let now = Instant::now();
        permit.take(Some(now + Duration::from_millis(5)));
        assert!(
            now.elapsed() >= Duration::from_millis(4),
            "two were given, one is kept"
        );
    }

    #[test]
    fn a_sleeping_thread_goes_on_when_it_is_given_one() {
        let [here, there] = [(); 2].map(|()| Arc::new(Permit::new()));
        let other = thread::spawn({
            let (here, there) = (here.clone(), there.clone());
            move || {
                for _ in 0..1000 {
                    there.take(None);
                    here.give();
                }
            }
        });
        for _ in 0..1000 {
            there.give();
            here.take(None);
        }
        other.join().unwrap();
    }
}
