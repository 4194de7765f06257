//! [`HostFrame`]: what is left of a host function that has ended by suspending.
//!
//! The function's Rust frame is gone; its exit stub's stands on the stack that is suspended. The record says
//! what the host does when the stack is resumed. [`VmStack::host`] owns it for as long as the stack is
//! suspended: who resumes the stack takes it, and a stack that is recycled instead puts it aside, to be
//! dropped where the host's code may run.

use super::stacks::Stacks;
use crate::os::panics;
use sarsen_abi::stack::VmStack;
use sarsen_abi::vmctx::{ValRaw, VmHostCtx, VmStoreCtx};
use std::any::Any;
use std::fmt;
use std::ptr::{self, NonNull};

/// What a host function does that was suspended, when it is resumed.
pub trait OnResume: Send {
    /// Does what a host function's `call` does ([`VmHostCtx::call`]), with the arguments of the resume.
    ///
    /// # Safety
    ///
    /// `host` must be the function's context, which compiled code waits for; `args` must hold values of the
    /// tag's results, and `results` have room for the function's.
    unsafe fn resume(
        self: Box<Self>,
        host: NonNull<VmHostCtx>,
        args: *const ValRaw,
        results: *mut ValRaw,
    ) -> u64;
}

/// What is left of a host function. See the module's page.
pub(crate) struct HostFrame {
    /// The return address and the frame pointer of the frame that has called the function.
    pub(crate) caller: (usize, usize),
    /// The values that come with the tag, until they are read.
    pub(crate) payload: Box<[ValRaw]>,
    /// Where the arguments of the resume go, if anybody is to see them.
    pub(crate) args: Box<[ValRaw]>,
    /// What then happens; otherwise the arguments are the function's results.
    pub(crate) on_resume: Option<Box<dyn OnResume>>,
}

impl HostFrame {
    /// Gives the record to a stack, which is being suspended.
    ///
    /// # Safety
    ///
    /// The stack must be the caller's, and have none.
    pub(crate) unsafe fn give_to(self: Box<Self>, stack: *mut VmStack) {
        // SAFETY: the caller's promise.
        unsafe {
            debug_assert!((*stack).host.is_null(), "a stack has one innermost frame");
            (*stack).host = Box::into_raw(self).cast();
        }
    }

    /// Takes the record of a stack, if a host function has suspended there.
    ///
    /// # Safety
    ///
    /// The stack must be the caller's.
    pub(crate) unsafe fn take_from(stack: *mut VmStack) -> Option<Box<HostFrame>> {
        // SAFETY: the caller's promise; only `give_to` writes anything but null.
        unsafe {
            let frame = std::mem::replace(&mut (*stack).host, ptr::null_mut());
            (!frame.is_null()).then(|| Box::from_raw(frame.cast()))
        }
    }
}

impl fmt::Debug for HostFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostFrame")
            .field("caller", &self.caller)
            .finish_non_exhaustive()
    }
}

/// Where the innermost frame of a suspended stack goes on: a return address in compiled code, and the frame
/// pointer.
///
/// # Safety
///
/// The stack must be suspended, or a parent.
pub(super) unsafe fn innermost(stack: *mut VmStack) -> (usize, usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let frame: *const HostFrame = (*stack).host.cast();
        match frame.as_ref() {
            Some(frame) => frame.caller,
            None => ((*stack).pc, (*stack).fp),
        }
    }
}

/// Puts the record of a stack aside that is being recycled.
///
/// # Safety
///
/// The stack must be one of this store's, and suspended; `Stacks` must not be borrowed.
pub(super) unsafe fn put_aside(ctx: *mut VmStoreCtx, stack: *mut VmStack) {
    // SAFETY: the caller's promise; a store with stacks has `Stacks`.
    unsafe {
        if let Some(frame) = HostFrame::take_from(stack) {
            (*Stacks::of(ctx)).dead.push(*frame);
        }
    }
}

/// Records of stacks that were recycled.
#[must_use]
#[derive(Default, Debug)]
pub(crate) struct DeadFrames(Vec<HostFrame>);

impl DeadFrames {
    fn push(&mut self, frame: HostFrame) {
        self.0.push(frame);
    }

    /// The records that the stacks in this table still have.
    ///
    /// # Safety
    ///
    /// The stacks must not be used any more.
    pub(super) unsafe fn extend_from(&mut self, stacks: impl Iterator<Item = *mut VmStack>) {
        // SAFETY: the caller's promise.
        let left = stacks.filter_map(|stack| unsafe { HostFrame::take_from(stack) });
        self.0.extend(left.map(|frame| *frame));
    }

    /// Drops them. Returns the first panic of what was dropped, after all was.
    pub(crate) fn drop_all(self) -> Result<(), Box<dyn Any + Send>> {
        panics::drop_each(self.0)
    }
}
