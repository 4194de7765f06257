//! Finding who catches an exception.
//!
//! An exception is thrown by a builtin, or by a host function that returns it; both leave by
//! [`super::landing::raise`]. The frames of the innermost activation are searched, innermost first, for a
//! call with a handler that takes the exception's tag. There execution goes on, with the exception in a
//! register. The frames passed are compiled code's alone, and need no cleaning up; the host function that
//! entered the activation, and whatever it was called by, gets the exception as an error instead.
//!
//! The search goes on from a continuation's stack to its parent's, at the frame that has resumed it. Those
//! passed as a whole are recycled.
//!
//! No collection can happen between the throw and the handler's first instructions, so that the bare
//! reference stays true.
//!
//! # Cost
//!
//! What the image says of a return address is remembered in the store, so that passing a frame takes a few
//! nanoseconds.

use super::walk::{Frame, Start, Step, Walk};
use crate::arch::Resume;
use crate::instance::{CallHandlers, Catches, CaughtAt, Instance, Reason, Store};
use crate::os::panics;
use crate::stack::recycle_running;
use sarsen_abi::vmctx::{VmCtxHeader, VmStoreCtx, VmTag};

/// Finds the handler of the exception for which compiled code is being left, if that is why and if there is
/// one. The reason is taken then.
///
/// # Safety
///
/// `ctx` must be the running store, and `start` the innermost frame of its innermost activation.
pub(super) unsafe fn catch(ctx: *mut VmStoreCtx, start: Start) -> Option<Resume> {
    // SAFETY: the store is alive, and its compiled code waits.
    let store = unsafe { &mut *Store::from_ctx(ctx) };
    let Some(&Reason::Exception { exception, .. }) = store.pending() else {
        return None;
    };
    let exception = exception.get();
    let tag = match store.heap_mut().exn_tag_id(exception) {
        Ok(tag) => tag,
        Err(code) => {
            let reason = store.take_pending();
            panics::contain(|| drop(reason));
            store.set_pending(Reason::Trap(code));
            return None;
        }
    };
    // SAFETY: the caller's promise.
    let mut walk = unsafe { Walk::from_start(ctx, start) };
    while let Some(Step::Wasm(frame)) = walk.next() {
        let pc = frame.pc();
        let Some(call) = store.handlers.get(pc, || look_up(&frame)) else {
            continue;
        };
        let sp = frame.fp() - call.frame_offset;
        // SAFETY: the frame stands, and keeps its vmctx there.
        let found = unsafe { find(call, sp, tag) };
        if let Some(pc) = found {
            // The error of the host function that threw it is of no use any more.
            let reason = store.take_pending();
            if let Some(Reason::Exception {
                error: Some(error), ..
            }) = reason
            {
                panics::contain(|| drop(error));
            }
            // SAFETY: what stands on the stacks before that of the frame is abandoned, and we are on the
            // native stack.
            unsafe { recycle_running(ctx, walk.stack()) };
            return Some(Resume {
                pc,
                sp,
                fp: frame.fp(),
                payload: exception as usize,
            });
        }
    }
    None
}

/// Where the handler is that takes exceptions with this tag.
///
/// # Safety
///
/// `sp` must be the stack pointer of a frame that stands in this call.
unsafe fn find(call: &CallHandlers, sp: usize, tag: u32) -> Option<usize> {
    // SAFETY: the caller's promise; tags are in the vmctx where the layout says.
    let is_tag = |handler: &&CaughtAt| unsafe {
        let vmctx = || ((sp + call.context) as *const *const u8).read();
        let theirs: *const VmTag = match handler.catches {
            Catches::All => return true,
            Catches::Defined(at) => vmctx().add(at as usize).cast(),
            Catches::Imported(at) => vmctx().add(at as usize).cast::<*const VmTag>().read(),
        };
        (*theirs).id == tag
    };
    call.handlers.iter().find(is_tag).map(|handler| handler.pc)
}

/// What the image says of the call that a frame is in.
#[cold]
fn look_up(frame: &Frame<'_>) -> Option<CallHandlers> {
    let at = frame.code();
    let handlers = at.code.image().handlers_at(at.offset)?;
    let place = handlers.frame();
    let frame_offset = place.frame_offset as usize;
    let context = place.context.unwrap_or(0) as usize;
    let sp = frame.fp() - frame_offset;
    // Where the tags are is the same in every instance of the module.
    let instance = || {
        // SAFETY: the frame stands, and keeps its vmctx where the image says.
        unsafe {
            let vmctx = ((sp + context) as *const *mut VmCtxHeader).read();
            Instance::from_vmctx(vmctx)
        }
    };
    let handlers = handlers.filter_map(|handler| {
        let catches = match handler.tag {
            Some(tag) => instance().tag_place(tag)?,
            None => Catches::All,
        };
        let pc = at.code.ptr_at(handler.landing) as usize;
        Some(CaughtAt { catches, pc })
    });
    Some(CallHandlers {
        frame_offset,
        context,
        handlers: handlers.collect(),
    })
}
