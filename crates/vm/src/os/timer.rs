//! A thread that wakes wakers at given times, for the whole process; started when it is first used.
//!
//! For waits of tasks that have no thread of their own to sleep on.

use super::panics;
use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread;
use std::time::Instant;

/// When, and a number that makes it unique.
type Key = (Instant, u64);

#[derive(Debug, Default)]
struct Timers {
    next: u64,
    started: bool,
    wakers: BTreeMap<Key, Waker>,
}

static TIMERS: Mutex<Timers> = Mutex::new(Timers {
    next: 0,
    started: false,
    wakers: BTreeMap::new(),
});
static CHANGED: Condvar = Condvar::new();

fn lock() -> MutexGuard<'static, Timers> {
    TIMERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Wakes a waker at a time, unless it is dropped before.
#[derive(Debug)]
pub(crate) struct Timer(Key);

impl Timer {
    /// # Errors
    ///
    /// When the system has no thread for it.
    pub(crate) fn new(at: Instant, waker: Waker) -> std::io::Result<Timer> {
        let mut timers = lock();
        if !timers.started {
            let builder = thread::Builder::new().name("sarsen-timer".to_owned());
            builder.spawn(run)?;
            timers.started = true;
        }
        let key = (at, timers.next);
        timers.next += 1;
        timers.wakers.insert(key, waker);
        if timers.wakers.keys().next() == Some(&key) {
            CHANGED.notify_one();
        }
        Ok(Timer(key))
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // A waker may do anything as it is dropped: not under the lock.
        let waker = lock().wakers.remove(&self.0);
        drop(waker);
    }
}

fn run() {
    let mut timers = lock();
    loop {
        let now = Instant::now();
        let first = timers.wakers.first_key_value().map(|(&key, _)| key);
        timers = match first {
            Some(key) if key.0 <= now => {
                let waker = timers.wakers.remove(&key);
                drop(timers);
                if let Some(waker) = waker {
                    // A waker that panics has not been woken; nobody is to tell.
                    panics::contain(|| waker.wake());
                }
                lock()
            }
            Some((at, _)) => {
                let waited = CHANGED.wait_timeout(timers, at - now);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
            None => CHANGED.wait(timers).unwrap_or_else(PoisonError::into_inner),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::panics::testing::PanicsWhenWoken;
    use std::sync::Arc;
    use std::sync::mpsc::{Sender, channel};
    use std::task::Wake;

    struct Tells(Mutex<Sender<()>>);

    impl Wake for Tells {
        fn wake(self: Arc<Self>) {
            self.0.lock().unwrap().send(()).unwrap();
        }
    }

    #[test]
    fn a_waker_that_panics_stops_no_other_timer() {
        let (tell, told) = channel();
        let now = Instant::now();
        let _first = Timer::new(now, PanicsWhenWoken::waker()).unwrap();
        let waker = Waker::from(Arc::new(Tells(Mutex::new(tell))));
        let _second = Timer::new(now, waker).unwrap();
        told.recv().unwrap();
    }
}
