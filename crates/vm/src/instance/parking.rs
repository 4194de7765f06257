//! Threads that wait in a shared memory: parking them, and waking them for an epoch.
//!
//! # Epochs and signal handlers
//!
//! [`Engine::increment_epoch`] may be called from a signal handler, so that it can take no lock and free
//! nothing. Therefore parkers live for ever: a list that only gets longer has them all, and who needs
//! one leases it. There are as many as threads ever waited at once.
//!
//! ```text
//!   PARKERS ──► parker ──► parker ──► parker          never freed
//!                 │ permit: what its thread sleeps on
//!                 │ engine, deadline: which epoch wakes it; 0 is none
//! ```
//!
//! A thread publishes the engine and the deadline, counts itself in the engine, and then looks at the
//! epoch; who advances the epoch looks at the count afterwards. So either the thread sees the new epoch
//! or it is woken.
//!
//! What waits without a thread of its own is woken by an [`Alarm`](super::Alarm) instead.

use super::engine::Engine;
use super::reason::Reason;
use crate::mem::{Expected, Registration, SharedMemory};
use crate::os::park::Permit;
use sarsen_abi::TrapCode;
use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::task::{RawWaker, RawWakerVTable, Waker};
use std::time::{Duration, Instant};

/// How waiting ended. The numbers are what `memory.atomic.wait` returns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum WaitResult {
    /// Somebody notified.
    Ok = 0,
    /// There was another value than expected.
    Mismatch = 1,
    /// The time was up.
    TimedOut = 2,
}

/// What a thread parks with. Lives for ever.
#[derive(Debug)]
struct Parker {
    permit: Permit,
    is_leased: AtomicBool,
    /// The address of the engine whose epoch wakes the thread, or 0.
    engine: AtomicUsize,
    /// The first epoch that does.
    deadline: AtomicU64,
    /// The rest of the list; never changes once this is in it.
    next: Option<&'static Parker>,
}

/// All parkers.
static PARKERS: AtomicPtr<Parker> = AtomicPtr::new(ptr::null_mut());

fn parkers() -> impl Iterator<Item = &'static Parker> {
    // SAFETY: null, or a parker that was leaked.
    let first = unsafe { PARKERS.load(Ordering::Acquire).as_ref() };
    std::iter::successors(first, |parker| parker.next)
}

impl Parker {
    /// A new one, leased, in the list.
    fn leak() -> &'static Parker {
        let parker = Box::leak(Box::new(Parker {
            permit: Permit::new(),
            is_leased: AtomicBool::new(true),
            engine: AtomicUsize::new(0),
            deadline: AtomicU64::new(0),
            next: None,
        }));
        let at: *mut Parker = parker;
        let mut first = PARKERS.load(Ordering::Acquire);
        loop {
            // SAFETY: nobody else knows of it yet; what the list holds lives for ever.
            unsafe { (*at).next = first.as_ref() };
            match PARKERS.compare_exchange_weak(first, at, Ordering::AcqRel, Ordering::Acquire) {
                // SAFETY: leaked, and only shared from now on.
                Ok(_) => return unsafe { &*at },
                Err(other) => first = other,
            }
        }
    }

    fn waker(&'static self) -> Waker {
        const VTABLE: RawWakerVTable = RawWakerVTable::new(
            |data| RawWaker::new(data, &VTABLE),
            wake_parker,
            wake_parker,
            |_| {},
        );
        let data = ptr::from_ref(self).cast();
        // SAFETY: the functions give a permit to a parker, which lives for ever, from any thread.
        unsafe { Waker::from_raw(RawWaker::new(data, &VTABLE)) }
    }
}

/// # Safety
///
/// `data` must be a parker.
unsafe fn wake_parker(data: *const ()) {
    // SAFETY: the caller's promise; parkers live for ever.
    unsafe { &*data.cast::<Parker>() }.permit.give();
}

/// The use of a parker by one wait.
struct Lease(&'static Parker);

thread_local! {
    /// The parker that the thread used last.
    static LAST: Cell<Option<Lease>> = const { Cell::new(None) };
}

impl Lease {
    fn new() -> Lease {
        // Gone while the thread ends; then there is none to reuse.
        let last = LAST.try_with(Cell::take).ok().flatten();
        last.unwrap_or_else(|| {
            let free = parkers().find(|parker| {
                let leased = parker.is_leased.compare_exchange(
                    false,
                    true,
                    Ordering::AcqRel,
                    Ordering::Relaxed,
                );
                leased.is_ok()
            });
            Lease(free.unwrap_or_else(Parker::leak))
        })
    }

    /// Keeps it for the thread's next wait.
    fn keep(self) {
        let this = ManuallyDrop::new(self);
        let kept = LAST.try_with(|last| last.replace(Some(Lease(this.0))));
        if kept.is_err() {
            drop(Lease(this.0));
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.is_leased.store(false, Ordering::Release);
    }
}

/// Whose epoch ends a wait, and what to do then.
pub(super) struct EpochWatch<'a> {
    pub(super) engine: &'a Engine,
    /// The first epoch that the wait must not sleep through.
    pub(super) deadline: u64,
    /// Asks for a new deadline, or for the reason to stop.
    pub(super) renew: &'a mut dyn FnMut() -> Result<u64, Reason>,
}

/// Wakes those who do not want to sleep through `epoch` of this engine. Async-signal-safe.
pub(super) fn wake_for_epoch(engine: &Engine, epoch: u64) {
    let engine = ptr::from_ref(engine).addr();
    for parker in parkers() {
        if parker.engine.load(Ordering::SeqCst) == engine
            && epoch >= parker.deadline.load(Ordering::SeqCst)
        {
            parker.permit.give();
        }
    }
}

/// While it lives, an epoch wakes the parker's thread.
struct Listening<'a> {
    parker: &'static Parker,
    engine: &'a Engine,
}

impl<'a> Listening<'a> {
    fn new(parker: &'static Parker, watch: &EpochWatch<'a>) -> Self {
        parker.deadline.store(watch.deadline, Ordering::SeqCst);
        let engine = watch.engine;
        parker
            .engine
            .store(ptr::from_ref(engine).addr(), Ordering::SeqCst);
        engine.parked.fetch_add(1, Ordering::SeqCst);
        Listening { parker, engine }
    }
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        self.engine.parked.fetch_sub(1, Ordering::SeqCst);
        self.parker.engine.store(0, Ordering::SeqCst);
    }
}

/// `memory.atomic.wait`: blocks the thread until somebody notifies at `address`, or for `timeout`.
/// Forever without a timeout.
///
/// # Errors
///
/// The trap that waiting there is, or the reason why the epoch ends it.
pub(super) fn wait(
    memory: &SharedMemory,
    address: u64,
    expected: Expected,
    timeout: Option<Duration>,
    mut watch: Option<EpochWatch<'_>>,
) -> Result<WaitResult, Reason> {
    // What does not fit is longer than anybody waits.
    let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let lease = Lease::new();
    let waker = lease.0.waker();
    let Some(registration) = memory.register(address, expected, waker)? else {
        lease.keep();
        return Ok(WaitResult::Mismatch);
    };
    let result = sleep(lease.0, registration, until, watch.as_mut());
    lease.keep();
    result
}

fn sleep(
    parker: &'static Parker,
    registration: Registration<'_>,
    until: Option<Instant>,
    mut watch: Option<&mut EpochWatch<'_>>,
) -> Result<WaitResult, Reason> {
    let mut listening = watch.as_deref().map(|watch| Listening::new(parker, watch));
    loop {
        if registration.is_notified() {
            return Ok(WaitResult::Ok);
        }
        if until.is_some_and(|until| Instant::now() >= until) {
            return Ok(match registration.cancel() {
                true => WaitResult::Ok,
                false => WaitResult::TimedOut,
            });
        }
        if let Some(watch) = watch.as_deref_mut()
            && watch.engine.epoch() >= watch.deadline
        {
            // The embedder may run whatever it likes meanwhile, also what waits.
            drop(listening.take());
            watch.deadline = (watch.renew)()?;
            listening = Some(Listening::new(parker, watch));
            continue;
        }
        parker.permit.take(until);
    }
}

/// Waiting by the host, without a store: no epoch ends it.
impl SharedMemory {
    /// Blocks the thread while there is what is expected at `address`, until somebody notifies there,
    /// or for `timeout`; forever without one.
    ///
    /// # Errors
    ///
    /// [`TrapCode::HeapMisaligned`] or [`TrapCode::MemoryOutOfBounds`].
    pub fn wait(
        &self,
        address: u64,
        expected: Expected,
        timeout: Option<Duration>,
    ) -> Result<WaitResult, TrapCode> {
        wait(self, address, expected, timeout, None).map_err(|reason| match reason {
            Reason::Trap(code) => code,
            other => unreachable!("nobody was asked: {other:?}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::engine;
    use super::*;
    use sarsen_abi::types::{IndexType, MemoryType};
    use std::sync::Arc;
    use std::thread;

    fn shared(engine: &Arc<Engine>) -> SharedMemory {
        let ty = MemoryType {
            index: IndexType::I32,
            shared: true,
            minimum: 1,
            maximum: Some(4),
            page_size_log2: 16,
        };
        SharedMemory::new(engine.slots(), ty, None).unwrap()
    }

    #[test]
    fn an_epoch_wakes_who_waits_and_the_answer_decides() {
        let engine = engine();
        let memory = shared(&engine);
        let start = engine.epoch();
        let waiting = thread::spawn({
            let (engine, memory) = (engine.clone(), memory.clone());
            move || {
                let mut asked = 0;
                let mut renew = || {
                    asked += 1;
                    match asked {
                        1 => Ok(start + 3),
                        _ => Err(Reason::Trap(TrapCode::Interrupt)),
                    }
                };
                let watch = EpochWatch {
                    engine: &engine,
                    deadline: start + 1,
                    renew: &mut renew,
                };
                let result = wait(&memory, 0, Expected::I32(0), None, Some(watch));
                (result, asked)
            }
        });
        while !waiting.is_finished() {
            engine.increment_epoch();
            thread::yield_now();
        }
        let (result, asked) = waiting.join().unwrap();
        assert!(matches!(result, Err(Reason::Trap(TrapCode::Interrupt))));
        assert_eq!(asked, 2);
        assert_eq!(engine.parked.load(Ordering::SeqCst), 0);
        assert_eq!(memory.notify(0, u32::MAX), Ok(0), "nobody is left behind");
    }

    #[test]
    fn a_wait_ends_by_mismatch_or_timeout_or_notification() {
        let engine = engine();
        let memory = shared(&engine);
        let wait = |value, timeout| memory.wait(8, Expected::I64(value), timeout);
        assert_eq!(wait(1, None), Ok(WaitResult::Mismatch));
        assert_eq!(wait(0, Some(Duration::ZERO)), Ok(WaitResult::TimedOut));
        let short = Some(Duration::from_millis(1));
        assert_eq!(wait(0, short), Ok(WaitResult::TimedOut));
        thread::scope(|scope| {
            let waiting = scope.spawn(|| wait(0, Some(Duration::MAX)));
            while memory.notify(8, 1) == Ok(0) {
                thread::yield_now();
            }
            assert_eq!(waiting.join().unwrap(), Ok(WaitResult::Ok));
        });
        assert_eq!(
            memory.wait(4, Expected::I64(0), None),
            Err(TrapCode::HeapMisaligned)
        );
        assert_eq!(
            memory.wait(u64::MAX - 3, Expected::I32(0), None),
            Err(TrapCode::MemoryOutOfBounds)
        );
        assert_eq!(
            memory.wait(65536, Expected::I32(0), None),
            Err(TrapCode::MemoryOutOfBounds)
        );
    }

    #[test]
    fn parkers_are_used_again() {
        let engine = engine();
        let memory = shared(&engine);
        let wait = || {
            memory
                .wait(0, Expected::I32(0), Some(Duration::ZERO))
                .unwrap()
        };
        thread::scope(|scope| scope.spawn(wait).join().unwrap());
        let before = parkers().count();
        for _ in 0..100 {
            thread::scope(|scope| scope.spawn(wait).join().unwrap());
        }
        // Tests that run meanwhile may add some.
        assert!(parkers().count() < before + 50);
    }
}
