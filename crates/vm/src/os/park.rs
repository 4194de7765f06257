//! [`Permit`]: what a sleeping thread sleeps on.
//!
//! At most one permit is held for the thread. [`Permit::take`] sleeps until there is one, and
//! [`Permit::give`] gives one; giving is async-signal-safe, and makes a system call only when the thread
//! sleeps.

use rustix::thread::futex::{self, Timespec};
use std::hint;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const NONE: u32 = 0;
const GIVEN: u32 = 1;
const ASLEEP: u32 = 2;

/// A permit to go on, for one thread.
#[derive(Debug)]
pub(crate) struct Permit {
    state: AtomicU32,
    /// A [`Patience`], of the thread that takes.
    patience: AtomicU32,
}

/// How often a thread looks before it sleeps, which is learned from how long it has slept.
///
/// To sleep and to be woken takes many microseconds, within which a partner on another core has usually
/// answered; and when both sleep each time, neither ever answers within what the other looks. So who was woken
/// soon looks twice as long the next time. When the longest look was in vain there is no core where the partner
/// could run meanwhile: then it is left for a while.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Patience {
    looks: u16,
    /// How many sleeps are to follow before anything is tried again.
    calm: u16,
}

impl Patience {
    /// A look takes 25 to 50 ns: some microseconds.
    const LEAST: Patience = Patience {
        looks: 100,
        calm: 0,
    };
    const MOST_LOOKS: u16 = 1600;
    const LONGEST_CALM: u16 = 64;
    /// What is slept less than this might have been looked away.
    const SOON: Duration = Duration::from_micros(50);

    const fn to_bits(self) -> u32 {
        (self.calm as u32) << 16 | self.looks as u32
    }

    const fn from_bits(bits: u32) -> Patience {
        Patience {
            looks: bits as u16,
            calm: (bits >> 16) as u16,
        }
    }

    /// What to do next, when looking was in vain this time.
    fn after(self, slept: Duration) -> Patience {
        match self {
            Patience { calm: 1.., .. } => Patience {
                calm: self.calm - 1,
                ..Patience::LEAST
            },
            Patience {
                looks: Patience::MOST_LOOKS..,
                ..
            } => Patience {
                calm: Patience::LONGEST_CALM,
                ..Patience::LEAST
            },
            _ if slept < Patience::SOON => Patience {
                looks: self.looks * 2,
                ..self
            },
            _ => Patience::LEAST,
        }
    }
}

impl Permit {
    /// No permit yet.
    pub(crate) const fn new() -> Permit {
        Permit {
            state: AtomicU32::new(NONE),
            patience: AtomicU32::new(Patience::LEAST.to_bits()),
        }
    }

    /// Gives a permit; a second one is lost. What happened before is seen by who takes it.
    pub(crate) fn give(&self) {
        if self.state.swap(GIVEN, Ordering::SeqCst) == ASLEEP {
            // A failure could only mean that the address is bad.
            let _ = futex::wake(&self.state, futex::Flags::PRIVATE, 1);
        }
    }

    /// Takes the permit. Waits for it until `until`, if that is given; may return earlier, too.
    ///
    /// One thread at a time.
    pub(crate) fn take(&self, until: Option<Instant>) {
        let patience = Patience::from_bits(self.patience.load(Ordering::Relaxed));
        for _ in 0..patience.looks {
            if self.state.load(Ordering::Relaxed) == GIVEN {
                break;
            }
            hint::spin_loop();
        }
        let asleep = self
            .state
            .compare_exchange(NONE, ASLEEP, Ordering::SeqCst, Ordering::SeqCst);
        if asleep.is_ok() {
            let began = Instant::now();
            self.sleep(until);
            let next = patience.after(began.elapsed());
            self.patience.store(next.to_bits(), Ordering::Relaxed);
        }
        self.state.swap(NONE, Ordering::SeqCst);
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
        let _ = futex::wait(&self.state, futex::Flags::PRIVATE, ASLEEP, timeout.as_ref());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::thread;

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

    #[test]
    fn who_is_woken_soon_looks_longer_but_not_for_ever() {
        let soon = Duration::from_micros(10);
        let mut patience = Patience::LEAST;
        for looks in [200, 400, 800, 1600] {
            patience = patience.after(soon);
            assert_eq!(patience, Patience { looks, calm: 0 });
            assert_eq!(Patience::from_bits(patience.to_bits()), patience);
        }
        for calm in (0..=Patience::LONGEST_CALM).rev() {
            patience = patience.after(soon);
            assert_eq!(patience, Patience { looks: 100, calm });
            assert_eq!(Patience::from_bits(patience.to_bits()), patience);
        }
        patience = patience.after(soon);
        assert_eq!(patience.looks, 200, "it is tried again");
        assert_eq!(patience.after(Duration::from_secs(1)), Patience::LEAST);
    }
}
