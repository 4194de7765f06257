//! What a thread knows of the compiled code that runs on it.
//!
//! Two words, read by [`super::enter()`] on every call and by the signal handler: plain cells without a
//! lazy initializer and without a destructor, so that both may.

use crate::os::{signals, stack_bounds};
use sarsen_abi::vmctx::VmStoreCtx;
use std::cell::Cell;
use std::ops::Range;
use std::ptr;

/// What this thread knows.
pub(super) struct Thread {
    /// The store whose compiled code was entered last, and not yet left, on this thread; or null.
    pub(super) store: Cell<*mut VmStoreCtx>,
    /// The lowest usable address of the native stack; or [`UNPREPARED`], which is above any stack
    /// pointer, so that the first entry takes the slow path.
    pub(super) stack_low: Cell<usize>,
}

/// [`Thread::stack_low`] of a thread that has not been prepared for compiled code.
pub(super) const UNPREPARED: usize = isize::MAX as usize;

thread_local! {
    static THREAD: Thread = const {
        Thread { store: Cell::new(ptr::null_mut()), stack_low: Cell::new(UNPREPARED) }
    };
}

/// This thread's state: valid on this thread, for as long as it runs, because it has no destructor.
#[inline(always)]
pub(super) fn this() -> *const Thread {
    // The closure is kept small, or the compiler calls it out of line.
    THREAD.with(ptr::from_ref)
}

/// The store that runs on this thread, or null.
#[inline(always)]
pub(super) fn running_store() -> *mut VmStoreCtx {
    THREAD.with(|thread| thread.store.get())
}

/// Prepares this thread for compiled code, and the process with its first thread: signal handlers, an
/// alternate stack, the bounds of the native stack.
#[cold]
pub(super) fn prepare() {
    signals::install(super::landing::claim, super::landing::after_fault);
    signals::ensure_alternate_stack();
    let low = native_stack().map_or(0, |stack| stack.start);
    THREAD.with(|thread| thread.stack_low.set(low));
}

/// The bounds of this thread's native stack, if the system tells.
pub(super) fn native_stack() -> Option<Range<usize>> {
    thread_local! {
        static BOUNDS: Cell<Option<Option<(usize, usize)>>> = const { Cell::new(None) };
    }
    let bounds = BOUNDS.get().unwrap_or_else(|| {
        let bounds = stack_bounds::native_stack().map(|stack| (stack.start, stack.end));
        BOUNDS.set(Some(bounds));
        bounds
    });
    bounds.map(|(low, high)| low..high)
}
