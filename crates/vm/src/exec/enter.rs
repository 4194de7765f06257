//! From the host into compiled code, and what comes back.
//!
//! # Stack limits
//!
//! ```text
//!   thread's stack     | host frames        |
//!                      +--------------------+ <- sp at the outermost entry
//!                      | wasm               |  ^
//!                      | host, wasm again   |  | at most max_wasm_stack
//!                      |                    |  v
//!          limit ----> +--------------------+ <- a prologue at or below it traps
//!                      | host_stack_reserve |    room for host functions, builtins,
//!                      |                    |    landing and signal handlers
//!                      +--------------------+ <- the thread's stack ends
//! ```
//!
//! The limit is the highest of: the limit of the activation that this one is nested in; the stack
//! pointer less `max_wasm_stack`; the stack's end plus `host_stack_reserve`. Compiled code compares
//! with it in every prologue that is not a leaf's, exit stubs included, so that a host function always
//! has the reserve to itself.
//!
//! # Cost
//!
//! The path of a call that succeeds is inline, and reads one thread-local variable; it allocates
//! nothing and takes no lock. The budget of a whole typed call is 10 ns. It is spent on stores, some thirty
//! of them: what is kept in a register during a call is one, as the callee keeps no register.

use super::backtrace::Backtrace;
use super::thread;
use crate::arch;
use crate::instance::{Reason, Store};
use sarsen_abi::TrapCode;
use sarsen_abi::builtin::STATUS_OK;
use sarsen_abi::vmctx::{Activation, ValRaw, VmFuncRef, VmStoreCtx};
use std::mem::MaybeUninit;
use std::panic;
use std::ptr::{self, NonNull};

/// Why a call did not return, and where.
#[derive(Debug)]
pub struct Unwound {
    /// Why. Never [`Reason::Panic`], because [`enter()`] resumes panics. An exception is the store's pending
    /// one.
    pub reason: Reason,
    /// Where, unless the store's configuration asks for no backtraces.
    pub backtrace: Option<Box<Backtrace>>,
}

/// An activation, and what `landing` leaves there for [`enter()`].
#[repr(C)]
pub(super) struct Stay {
    /// First, because the store points to it.
    pub(super) activation: Activation,
    /// Written by `landing`; uninitialized until then.
    pub(super) backtrace: MaybeUninit<Option<Box<Backtrace>>>,
}

/// Calls `callee` with arguments from `values`, which holds its results afterwards.
///
/// # Errors
///
/// When compiled code was left before it returned: by a trap or a host function's error. The store is
/// as usable as before.
///
/// # Panics
///
/// Resumes the panic of a host function or upcall that ran inside.
///
/// # Safety
///
/// `store` must be alive, used by this thread alone, and not be borrowed while compiled code runs.
/// `callee` must be a function of it. `values` must be valid for as many values as the function has
/// parameters or results, whichever is more, and hold arguments of the parameters' types.
#[inline]
pub unsafe fn enter(
    store: NonNull<Store>,
    callee: *const VmFuncRef,
    values: *mut ValRaw,
) -> Result<(), Box<Unwound>> {
    // SAFETY: the caller's promise.
    unsafe {
        match quick_stack_limit(store, arch::stack_pointer()) {
            Some(limit) => enter_with(store, limit, callee, values),
            None => enter_slowly(store, callee, values),
        }
    }
}

/// As [`enter()`], where the quick calculation finds no room. On its own, so that nothing of it is left on the
/// path of the others.
///
/// # Safety
///
/// As [`enter()`].
#[cold]
#[inline(never)]
unsafe fn enter_slowly(
    store: NonNull<Store>,
    callee: *const VmFuncRef,
    values: *mut ValRaw,
) -> Result<(), Box<Unwound>> {
    // SAFETY: the caller's promise.
    unsafe {
        let limit = slow_stack_limit(store, arch::stack_pointer())?;
        enter_with(store, limit, callee, values)
    }
}

/// As [`enter()`], with this stack limit.
///
/// # Safety
///
/// As [`enter()`] and [`activate`].
#[inline(always)]
unsafe fn enter_with(
    store: NonNull<Store>,
    limit: usize,
    callee: *const VmFuncRef,
    values: *mut ValRaw,
) -> Result<(), Box<Unwound>> {
    // SAFETY: the caller's promise. `callee` is a function of this store, so that its code is alive; its entry
    // stub gets back whatever happens.
    unsafe {
        activate(store, limit, |activation| {
            arch::call_entry(activation, callee, values)
        })
    }
}

/// The stack limit of an activation that begins here.
///
/// # Errors
///
/// When there is no room on the stack.
///
/// # Safety
///
/// As [`enter()`].
#[inline(always)]
pub(super) unsafe fn stack_limit(store: NonNull<Store>) -> Result<usize, Box<Unwound>> {
    // SAFETY: the caller's promise.
    unsafe {
        let sp = arch::stack_pointer();
        match quick_stack_limit(store, sp) {
            Some(limit) => Ok(limit),
            None => slow_stack_limit(store, sp),
        }
    }
}

/// As [`stack_limit`], of an activation that begins at `sp`; `None` when it needs a better look: because
/// this thread was never prepared, because the stack is another one than that of the outer activation, or
/// because there is no room.
///
/// # Safety
///
/// As [`enter()`].
#[inline(always)]
unsafe fn quick_stack_limit(store: NonNull<Store>, sp: usize) -> Option<usize> {
    // SAFETY: this thread's own, used on this thread only.
    let thread = unsafe { &*thread::this() };
    // SAFETY: the store is alive and ours to use.
    let (inherited, config) = unsafe { (inherited_limit(store), store.as_ref().config()) };
    // Where there is less stack than may be used, the first wraps round to above the stack pointer. The
    // second cannot: both are at most `isize::MAX`.
    let limit = inherited
        .max(sp.wrapping_sub(config.max_wasm_stack))
        .max(thread.stack_low.get() + config.host_stack_reserve);
    (sp > limit).then_some(limit)
}

/// The stack limit of the activation that one of this store will be nested in.
///
/// # Safety
///
/// As [`enter()`].
#[inline(always)]
unsafe fn inherited_limit(store: NonNull<Store>) -> usize {
    // SAFETY: the store is alive and ours to use; linked activations are alive.
    unsafe {
        let previous = (*store.as_ref().ctx()).activation;
        // What no compiled code runs in has no limit to inherit. Where some runs, a continuation's stack
        // may be the current one, while we are on the native stack.
        if previous.is_null() {
            0
        } else {
            (*previous).native.stack_limit
        }
    }
}

/// Runs compiled code in an activation of its own.
///
/// # Errors
///
/// As [`enter()`].
///
/// # Safety
///
/// As [`enter()`]; `limit` must come from [`stack_limit`], called by the caller or near it. `run` must enter compiled
/// code with the activation that it gets, and return [`STATUS_OK`] or, when `landing` has been there, another status.
#[inline(always)]
pub(super) unsafe fn activate(
    store: NonNull<Store>,
    limit: usize,
    run: impl FnOnce(*mut Activation) -> u64,
) -> Result<(), Box<Unwound>> {
    // SAFETY: the store is alive, and the borrow ends here.
    let ctx = unsafe { store.as_ref().ctx() };
    // SAFETY: this thread's own, used on this thread only.
    let thread = unsafe { &*thread::this() };
    let mut stay = MaybeUninit::<Stay>::uninit();
    let stay = stay.as_mut_ptr();
    // SAFETY: the activation is linked exactly as long as `stay` lives. Compiled code gets back here
    // whatever happens: nothing unwinds or jumps over this frame.
    let status = unsafe {
        let activation = &raw mut (*stay).activation;
        // Of the native stack's block, no more than this is ever read before it is written.
        (*activation).native.parent = ptr::null_mut();
        (*activation).native.first_tag = ptr::null();
        (*activation).native.stack_limit = limit;
        (*activation).suspension = ptr::null_mut();
        (*activation).previous = (*ctx).activation;
        (*activation).previous_stack = (*ctx).current_stack;
        (*ctx).activation = activation;
        (*ctx).current_stack = activation.cast();
        (*ctx).stack_limit = limit;
        let outer = thread.store.replace(ctx);
        let status = run(activation);
        thread.store.set(outer);
        // Where nothing is below, a constant: what is read need not be waited for.
        if (*activation).previous.is_null() {
            (*ctx).activation = ptr::null_mut();
        } else {
            leave_to_previous(ctx, activation);
        }
        status
    };
    if status == STATUS_OK {
        return Ok(());
    }
    // SAFETY: the context is that of `store`, which need not be kept for this. The stub returned another status,
    // so `landing` has been there and has written the backtrace.
    let (store, backtrace) = unsafe {
        let store = NonNull::new_unchecked(Store::from_ctx(ctx));
        (store, (*stay).backtrace.assume_init_read())
    };
    Err(unwound(store, backtrace))
}

/// Makes the activation below `activation` the innermost again, if there is one, on the stack where it was left.
///
/// What it needs is read again, and not kept: whatever lives in a register during a call has to be saved for
/// it.
///
/// # Safety
///
/// `activation` must be the innermost of the store, and nothing stand on its stacks any more.
#[inline(always)]
pub(super) unsafe fn leave_to_previous(ctx: *mut VmStoreCtx, activation: *const Activation) {
    // SAFETY: the caller's promise; the stack of a linked activation is alive.
    unsafe {
        let previous = (*activation).previous;
        (*ctx).activation = previous;
        // Without one, the stack and its limit mean nothing.
        if !previous.is_null() {
            let stack = (*activation).previous_stack;
            (*ctx).current_stack = stack;
            (*ctx).stack_limit = (*stack).stack_limit;
        }
    }
}

/// As [`stack_limit`], of an activation that begins at `sp`, whatever the thread and the stack are.
///
/// # Safety
///
/// As [`enter()`].
#[cold]
#[inline(never)]
unsafe fn slow_stack_limit(store: NonNull<Store>, sp: usize) -> Result<usize, Box<Unwound>> {
    thread::prepare();
    // SAFETY: the store is alive and ours to use.
    let (inherited, config) = unsafe { (inherited_limit(store), store.as_ref().config()) };
    let own = sp.saturating_sub(config.max_wasm_stack);
    // A limit inherited from another stack means nothing: a host function may go on in another thread,
    // or on a stack that it has made itself (a coroutine's, say).
    let limit = match thread::native_stack() {
        Some(stack) if stack.contains(&sp) => {
            let inherited = Some(inherited).filter(|limit| stack.contains(limit));
            own.max(stack.start.saturating_add(config.host_stack_reserve))
                .max(inherited.unwrap_or(0))
        }
        // The bounds of this stack are unknown: the host must leave enough room.
        _ => own,
    };
    if sp > limit {
        return Ok(limit);
    }
    let reason = Reason::Trap(TrapCode::StackOverflow);
    Err(Box::new(Unwound {
        reason,
        backtrace: None,
    }))
}

/// What the host gets of a call that did not return.
#[cold]
#[inline(never)]
pub(super) fn unwound(
    mut store: NonNull<Store>,
    backtrace: Option<Box<Backtrace>>,
) -> Box<Unwound> {
    // SAFETY: no compiled code of this store runs now.
    let reason = unsafe { store.as_mut().take_pending() };
    match reason.expect("compiled code is left for a reason that the store holds") {
        Reason::Panic(payload) => panic::resume_unwind(payload),
        Reason::Exception { exception, error } => {
            // SAFETY: as above. Nothing was allocated since the exception was thrown.
            unsafe { store.as_mut().set_pending_exception(exception) };
            let reason = Reason::Exception { exception, error };
            Box::new(Unwound { reason, backtrace })
        }
        reason => Box::new(Unwound { reason, backtrace }),
    }
}
