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
use crate::os::panics;
use crate::os::park::Permit;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::mem;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread;

/// What the thread sleeps on.
static PERMIT: Permit = Permit::new();

static ALARMS: Mutex<Alarms> = Mutex::new(Alarms {
    next: 0,
    started: false,
    engines: BTreeMap::new(),
});

#[derive(Debug)]
struct Alarms {
    /// The number that the next one gets.
    next: u64,
    started: bool,
    /// By address.
    engines: BTreeMap<usize, OfEngine>,
}

/// The deadline, and a number that makes it unique.
type Key = (u64, u64);

/// The alarms of an engine that has some.
#[derive(Debug)]
struct OfEngine {
    engine: Arc<Engine>,
    wakers: BTreeMap<Key, Waker>,
}

/// [`Engine::alarm`] when there is none.
pub(super) const NONE: u64 = u64::MAX;

fn lock() -> MutexGuard<'static, Alarms> {
    ALARMS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl OfEngine {
    /// Notes which epoch is the first that wakes one of these.
    fn note_first(&self) {
        let first = self.wakers.keys().next();
        let first = first.map_or(NONE, |&(deadline, _)| deadline);
        self.engine.alarm.store(first, Ordering::SeqCst);
    }

    /// Takes those whose deadline has come.
    fn take_due(&mut self) -> BTreeMap<Key, Waker> {
        let next = self.engine.epoch().saturating_add(1);
        let later = self.wakers.split_off(&(next, 0));
        mem::replace(&mut self.wakers, later)
    }
}

/// Wakes a waker at an epoch, once, unless it is dropped before.
#[derive(Debug)]
pub(crate) struct Alarm {
    /// The engine's address.
    engine: usize,
    key: Key,
}

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
        let alarm = Alarm {
            engine: Arc::as_ptr(engine).addr(),
            key: (deadline, alarms.next),
        };
        alarms.next += 1;
        let of_engine = alarms.engines.entry(alarm.engine);
        let of_engine = of_engine.or_insert_with(|| OfEngine {
            engine: Arc::clone(engine),
            wakers: BTreeMap::new(),
        });
        of_engine.wakers.insert(alarm.key, waker);
        of_engine.note_first();
        if engine.epoch() >= deadline {
            PERMIT.give();
        }
        Ok(alarm)
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let mut alarms = lock();
        let Entry::Occupied(mut of_engine) = alarms.engines.entry(self.engine) else {
            return;
        };
        // None when it was woken, and at its engine's address there is another one, maybe.
        let waker = of_engine.get_mut().wakers.remove(&self.key);
        of_engine.get().note_first();
        let is_last = of_engine.get().wakers.is_empty();
        let engine = is_last.then(|| of_engine.remove());
        drop(alarms);
        // A waker may do anything as it is dropped: not under the lock.
        drop((waker, engine));
    }
}

/// Tells the thread that an alarm may be due. Async-signal-safe.
pub(super) fn ring() {
    PERMIT.give();
}

fn run() {
    loop {
        PERMIT.take(None);
        let mut due = Vec::new();
        let mut alarms = lock();
        for of_engine in alarms.engines.values_mut() {
            due.extend(of_engine.take_due().into_values());
            of_engine.note_first();
        }
        let is_done = |_: &usize, of_engine: &mut OfEngine| of_engine.wakers.is_empty();
        let done: Vec<_> = alarms.engines.extract_if(.., is_done).collect();
        drop(alarms);
        for waker in due {
            // A waker that panics has not been woken; nobody is to tell.
            panics::contain(|| waker.wake());
        }
        drop(done);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::engine;
    use super::*;
    use crate::os::panics::testing::PanicsWhenWoken;
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

    #[test]
    fn a_waker_that_panics_stops_no_other_alarm() {
        let engine = engine();
        let (waker, told) = wakers();
        let deadline = engine.epoch();
        let _first = Alarm::set(&engine, deadline, PanicsWhenWoken::waker()).unwrap();
        let _second = Alarm::set(&engine, deadline, waker(1)).unwrap();
        assert_eq!(told.recv(), Ok(1));
    }
}
