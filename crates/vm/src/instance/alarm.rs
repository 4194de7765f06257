//! [`Alarm`]: a waker that an epoch wakes, for what waits without a thread of its own.
//!
//! A waker may do anything, but [`Engine::increment_epoch`] may be called from a signal handler. So a thread
//! of the process, started when the first alarm is set, wakes them; an epoch only gives it a permit, if
//! it is one that some alarm of the engine waits for:
//!
//! ```text
//!   increment_epoch: epoch += 1; engine.alarm <= epoch? ──► PERMIT ──► thread: wakes those that are due
//!   Alarm::set:      engine.alarm = the first deadline;  epoch >= deadline? ──► wakes at once
//! ```
//!
//! All four operations are sequentially consistent, so that one of the two sees what the other has written.

use super::engine::Engine;
use crate::os::park::Permit;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread;

/// What the thread sleeps on.
static PERMIT: Permit = Permit::new();

static ALARMS: Mutex<Alarms> = Mutex::new(Alarms {
    next: 0,
    started: false,
    set: Vec::new(),
});

#[derive(Debug)]
struct Alarms {
    /// The number that the next one gets.
    next: u64,
    started: bool,
    set: Vec<Set>,
}

#[derive(Debug)]
struct Set {
    number: u64,
    engine: Arc<Engine>,
    deadline: u64,
    waker: Waker,
}

impl Set {
    fn is_due(&self) -> bool {
        self.engine.epoch() >= self.deadline
    }
}

/// [`Engine::alarm`] when there is none.
pub(super) const NONE: u64 = u64::MAX;

fn lock() -> MutexGuard<'static, Alarms> {
    ALARMS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Alarms {
    /// Notes which epoch of an engine is the first that wakes one of these.
    fn note_first(&self, engine: &Arc<Engine>) {
        let of_engine = (self.set.iter()).filter(|set| Arc::ptr_eq(&set.engine, engine));
        let first = of_engine.map(|set| set.deadline).min();
        engine.alarm.store(first.unwrap_or(NONE), Ordering::SeqCst);
    }
}

/// Wakes a waker at an epoch, once, unless it is dropped before.
#[derive(Debug)]
pub(crate) struct Alarm(u64);

impl Alarm {
    /// Wakes `waker` when the epoch of `engine` is `deadline` or later; at once if it is already.
    ///
    /// # Errors
    ///
    /// When the system has no thread for it.
    pub(crate) fn set(engine: &Arc<Engine>, deadline: u64, waker: Waker) -> std::io::Result<Alarm> {
        let mut alarms = lock();
        if !alarms.started {
            let builder = thread::Builder::new().name("sarsen-epoch".to_owned());
            builder.spawn(run)?;
            alarms.started = true;
        }
        let number = alarms.next;
        alarms.next += 1;
        alarms.set.push(Set {
            number,
            engine: Arc::clone(engine),
            deadline,
            waker,
        });
        alarms.note_first(engine);
        if engine.epoch() >= deadline {
            PERMIT.give();
        }
        Ok(Alarm(number))
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let mut alarms = lock();
        let Some(at) = alarms.set.iter().position(|set| set.number == self.0) else {
            return;
        };
        let set = alarms.set.swap_remove(at);
        alarms.note_first(&set.engine);
        drop(alarms);
        // A waker may do anything as it is dropped: not under the lock.
        drop(set);
    }
}

/// Tells the thread that an alarm may be due. Async-signal-safe.
pub(super) fn ring() {
    PERMIT.give();
}

fn run() {
    loop {
        PERMIT.take(None);
        let mut alarms = lock();
        let due: Vec<Set> = alarms.set.extract_if(.., |set| set.is_due()).collect();
        for set in &due {
            alarms.note_first(&set.engine);
        }
        drop(alarms);
        for set in due {
            // A waker that panics has not been woken; nobody is to tell.
            let _ = panic::catch_unwind(AssertUnwindSafe(|| {
                set.waker.wake_by_ref();
                drop(set);
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::engine;
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::task::Wake;

    struct Told(Mutex<Sender<u32>>, u32);

    impl Wake for Told {
        fn wake(self: Arc<Self>) {
            self.0.lock().unwrap().send(self.1).unwrap();
        }
    }

    fn wakers() -> (impl Fn(u32) -> Waker, Receiver<u32>) {
        let (tell, told) = channel();
        let waker = move |number| Waker::from(Arc::new(Told(Mutex::new(tell.clone()), number)));
        (waker, told)
    }

    #[test]
    fn an_epoch_wakes_what_waits_for_it_or_an_earlier_one_and_nothing_else() {
        let (engine, other) = (engine(), engine());
        let (waker, told) = wakers();
        let start = engine.epoch();
        let set = |engine, ticks, number| Alarm::set(engine, start + ticks, waker(number)).unwrap();
        let _late = set(&engine, 4, 9);
        let _first = set(&engine, 2, 1);
        let _elsewhere = set(&other, 3, 8);
        drop(set(&engine, 1, 7));
        engine.increment_epoch();
        engine.increment_epoch();
        assert_eq!(told.recv(), Ok(1));
        let _past = set(&engine, 0, 2);
        assert_eq!(told.recv(), Ok(2));
        other.increment_epoch();
        assert_eq!(engine.alarm.load(Ordering::SeqCst), start + 4);
        drop(_late);
        assert_eq!(engine.alarm.load(Ordering::SeqCst), NONE);
        assert!(told.try_recv().is_err(), "nothing else was woken");
    }
}
