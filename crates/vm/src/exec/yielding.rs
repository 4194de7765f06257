//! Builtins that end the poll of an asynchronous call instead of going on, or of blocking the thread.
//!
//! Each function here may leave a job with the call: then what it returns is ignored, and the job's
//! answer is what the builtin returns.

use super::asynchronous::{Answer, Job, can_wait, wait_for, with_context};
use super::host_call::caught;
use crate::instance::{Alarm, Instance, Reason, Store, WaitResult};
use crate::mem::{Expected, Registration};
use crate::os::timer::Timer;
use sarsen_abi::MemoryIndex;
use sarsen_abi::builtin::STATUS_OK;
use std::io;
use std::mem;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

/// Goes on with the next poll.
struct Yield<F>(F);

impl<F: FnMut() -> Answer + Send> Job for Yield<F> {
    fn poll(&mut self, _: &mut Context<'_>) -> Poll<Answer> {
        Poll::Ready((self.0)())
    }
}

/// Asks for the next poll, which gets its answer from `answer`.
///
/// # Safety
///
/// As [`wait_for`].
unsafe fn yield_once(store: NonNull<Store>, answer: impl FnMut() -> Answer + Send + 'static) {
    // SAFETY: the caller's promise.
    unsafe {
        with_context(store, |context| context.waker().wake_by_ref());
        wait_for(store, Box::new(Yield(answer)));
    }
}

/// A pointer to the store of a call, which is used where the call is polled.
struct TheStore(NonNull<Store>);

// SAFETY: a job goes where its store goes.
unsafe impl Send for TheStore {}

/// Yields; the answer is the deadline in `ticks` from then.
///
/// # Safety
///
/// Called by a builtin that returns a deadline and may fail.
pub(super) unsafe fn until_next_epoch(instance: &Instance, ticks: u64) -> u64 {
    let store = TheStore(instance.store());
    let renew = move || {
        let store = &store;
        let mut store = store.0;
        // SAFETY: the store is alive while its call is polled, and its compiled code waits.
        unsafe { store.as_mut() }.renew_epoch_deadline(ticks)
    };
    // SAFETY: the caller's promise; the store is alive.
    unsafe {
        if !can_wait(instance.store()) {
            return renew();
        }
        yield_once(instance.store(), move || [renew(), STATUS_OK]);
    }
    0
}

/// Yields, if the code was called asynchronously.
///
/// # Safety
///
/// Called by a builtin that returns nothing and may fail.
pub(super) unsafe fn after_fuel(instance: &Instance) {
    // SAFETY: the caller's promise; the store is alive.
    unsafe {
        let store = instance.store();
        if can_wait(store) {
            yield_once(store, || [STATUS_OK, 0]);
        }
    }
}

/// The waker of whoever polls a wait last.
#[derive(Debug)]
struct Latest(Mutex<Waker>);

impl Latest {
    fn set(&self, waker: &Waker) {
        let mut waker = waker.clone();
        let mut latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        mem::swap(&mut *latest, &mut waker);
        // The old one may do anything as it is dropped, even wake: not under the lock.
        drop(latest);
    }
}

impl Wake for Latest {
    fn wake(self: Arc<Self>) {
        let waker = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        waker.wake();
    }
}

/// The deadline that a wait does not sleep through.
struct Deadline {
    store: TheStore,
    epoch: u64,
    waker: Waker,
    alarm: Option<Alarm>,
}

impl Deadline {
    /// Of a call's store; `None` when it has none. `waker` is woken when it has passed.
    ///
    /// # Errors
    ///
    /// When the system has no thread for it.
    ///
    /// # Safety
    ///
    /// The store must be alive whenever the result is used.
    unsafe fn of(store: NonNull<Store>, waker: Waker) -> io::Result<Option<Deadline>> {
        // SAFETY: the caller's promise.
        let Some(epoch) = unsafe { store.as_ref() }.epoch_deadline() else {
            return Ok(None);
        };
        let mut deadline = Deadline {
            store: TheStore(store),
            epoch,
            waker,
            alarm: None,
        };
        deadline.set_alarm()?;
        Ok(Some(deadline))
    }

    fn set_alarm(&mut self) -> io::Result<()> {
        // SAFETY: the store is alive.
        let engine = unsafe { self.store.0.as_ref() }.engine();
        self.alarm = Some(Alarm::set(engine, self.epoch, self.waker.clone())?);
        Ok(())
    }

    /// Asks for a new one if it has passed.
    ///
    /// # Errors
    ///
    /// The status, when the call is to end.
    fn renew(&mut self) -> Result<(), u64> {
        let mut store = self.store.0;
        // SAFETY: the store is alive while its call is polled, and its compiled code waits: nobody else refers to
        // it while the embedder is asked.
        unsafe {
            if store.as_ref().engine().epoch() < self.epoch {
                return Ok(());
            }
            self.epoch = caught(store, || store.as_mut().new_epoch_of_wait())?;
        }
        self.set_alarm().expect("its thread runs");
        Ok(())
    }
}

/// A wait for a notification in a shared memory.
struct Wait {
    registration: Option<Registration<'static>>,
    until: Option<Instant>,
    latest: Arc<Latest>,
    _timer: Option<Timer>,
    deadline: Option<Deadline>,
}

impl Job for Wait {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Answer> {
        self.latest.set(context.waker());
        let registration = self
            .registration
            .as_ref()
            .expect("polled until it is ready");
        let is_over = self.until.is_some_and(|until| Instant::now() >= until);
        if !registration.is_notified() && !is_over {
            // Whoever waits has yielded, so that no more than a new deadline is asked for.
            return match self.deadline.as_mut().map_or(Ok(()), Deadline::renew) {
                Ok(()) => Poll::Pending,
                Err(status) => Poll::Ready([0, status]),
            };
        }
        let registration = self.registration.take().expect("just seen");
        let result = if registration.cancel() {
            WaitResult::Ok
        } else {
            WaitResult::TimedOut
        };
        Poll::Ready([result as u64, STATUS_OK])
    }
}

/// `memory.atomic.wait32` and `wait64`: blocks the thread, or leaves a job with an asynchronous call.
///
/// # Errors
///
/// As [`Instance::atomic_wait`].
///
/// # Safety
///
/// Called by a builtin that returns the result and may fail.
pub(super) unsafe fn atomic_wait(
    instance: &Instance,
    place: (MemoryIndex, u64, u64),
    expected: Expected,
    timeout: i64,
) -> Result<u32, Reason> {
    let store = instance.store();
    // SAFETY: the store of an instance whose code runs is alive.
    let waker = unsafe { with_context(store, |context| context.waker().clone()) };
    let Some(waker) = waker else {
        let (memory, index, offset) = place;
        return instance.atomic_wait(memory, index, offset, expected, timeout);
    };
    let latest = Arc::new(Latest(Mutex::new(waker)));
    let waker = Waker::from(Arc::clone(&latest));
    let Some((registration, until)) =
        instance.atomic_register(place, expected, timeout, waker.clone())?
    else {
        return Ok(WaitResult::Mismatch as u32);
    };
    // SAFETY: a job is dropped before its store.
    let deadline = unsafe { Deadline::of(store, waker.clone()) };
    let timer = until.map(|until| Timer::new(until, waker)).transpose();
    let (Ok(deadline), Ok(timer)) = (deadline, timer) else {
        // No thread to wake it: this one sleeps.
        drop(registration);
        let (memory, index, offset) = place;
        return instance.atomic_wait(memory, index, offset, expected, timeout);
    };
    // SAFETY: the memory lives as long as the instance, and that as long as the store.
    let registration =
        unsafe { mem::transmute::<Registration<'_>, Registration<'static>>(registration) };
    let wait = Wait {
        registration: Some(registration),
        until,
        latest,
        _timer: timer,
        deadline,
    };
    // SAFETY: the caller's promise; the answer is the result and a status.
    unsafe { wait_for(store, Box::new(wait)) };
    Ok(0)
}
