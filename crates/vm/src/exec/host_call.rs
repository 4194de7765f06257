//! From compiled code into the host: what a host function's `call` does around the host's own code.

use crate::instance::{Reason, Store};
use sarsen_abi::builtin::{STATUS_OK, STATUS_RAISE};
use sarsen_abi::vmctx::VmHostCtx;
use std::panic::{self, AssertUnwindSafe};
use std::ptr::NonNull;

/// Runs `body`, the host's part of a [`VmHostCtx::call`], and returns what that function must return.
/// An error or a panic of `body` ends the stay in compiled code: it comes out of
/// [`enter()`](super::enter()).
///
/// # Safety
///
/// `host` must be what compiled code has just passed, and the caller must return the status to it at
/// once.
#[inline(always)]
pub unsafe fn host_call(
    host: NonNull<VmHostCtx>,
    body: impl FnOnce() -> Result<(), Reason>,
) -> u64 {
    // SAFETY: the context of a host function points to its store, which is alive while it runs.
    let ended = unsafe {
        let store = Store::from_ctx(host.as_ref().context.store);
        caught(NonNull::new_unchecked(store), body)
    };
    ended.map_or_else(|status| status, |()| STATUS_OK)
}

/// Runs what may fail, on behalf of a store's compiled code. A failure is recorded in the store, and becomes the
/// status to return.
///
/// # Safety
///
/// `store` must be alive, and not borrowed when `body` has ended.
#[inline(always)]
pub(super) unsafe fn caught<R>(
    store: NonNull<Store>,
    body: impl FnOnce() -> Result<R, Reason>,
) -> Result<R, u64> {
    // Whatever `body` leaves half done belongs to the host, who gets the panic back.
    let reason = match panic::catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(reason)) => reason,
        Err(payload) => Reason::Panic(payload),
    };
    // SAFETY: the caller's promise.
    Err(unsafe { fail(store.as_ptr(), reason) })
}

/// Records why compiled code is to be left.
///
/// # Safety
///
/// `store` must be alive and not borrowed.
#[cold]
#[inline(never)]
pub(super) unsafe fn fail(store: *mut Store, reason: Reason) -> u64 {
    // SAFETY: the caller's promise.
    unsafe { (*store).set_pending(reason) };
    STATUS_RAISE
}
