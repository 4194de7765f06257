//! Host functions that suspend.
//!
//! A host function suspends by ending: its `call` fails with [`Reason::Suspend`], and when no Rust frame of it is
//! left, the stack of the exit stub that has called it is suspended as by `suspend`. The frame that the routine
//! `host_failed` has made there is the innermost then, and a record ([`HostFrame`]) says what happens when the
//! stack is resumed.
//!
//! ```text
//!   exit stub ── call ──► host: Err(Suspend)
//!      └─ host_failed ── land ──► suspends: goes on where the tag is handled
//!                                    ...
//!         resumed ── resume ──► on_resume, on the native stack: results, an error, or suspends once more
//!      ◄─ returns to the stub, with the results in its values
//! ```

use super::landing::land_raise;
use super::thread;
use crate::arch::{self, HostCallFrame, HostLeft, Resume};
use crate::instance::{HostSuspension, Reason, Store};
use crate::stack::HostFrame;
use sarsen_abi::builtin::STATUS_OK;
use sarsen_abi::stack::VmStack;
use sarsen_abi::vmctx::{ValRaw, VmStoreCtx};
use smallvec::SmallVec;
use std::panic::{self, AssertUnwindSafe};
use std::ptr::NonNull;

arch::host_routines!(host_failed, failed_again, host_resumed => land, resume);

/// Lands after a host function has failed or suspended.
///
/// # Safety
///
/// Called by [`host_failed`], on the native stack, with the frame that it has made.
unsafe extern "C" fn land(out: *mut HostLeft, frame: *mut HostCallFrame) {
    let ctx = thread::running_store();
    // SAFETY: the running store is alive, and its compiled code waits in the call of a host function.
    unsafe {
        let store = Store::from_ctx(ctx);
        match (*store).take_pending() {
            Some(Reason::Suspend(suspension)) => {
                let suspended = AssertUnwindSafe(|| suspend(ctx, frame, *suspension));
                match panic::catch_unwind(suspended).unwrap_or_else(|p| Err(Reason::Panic(p))) {
                    Ok(left) => return out.write(left),
                    Err(reason) => (*store).set_pending(reason),
                }
            }
            Some(reason) => (*store).set_pending(reason),
            None => {}
        }
        land_raise(&raw mut (*out).resume);
    }
}

/// Suspends the running stack up to a handler of the tag, which goes on.
///
/// # Errors
///
/// When nobody handles the tag in this activation, or there is no room for the continuation.
///
/// # Safety
///
/// As [`land`]; execution must go on as the result says.
unsafe fn suspend(
    ctx: *mut VmStoreCtx,
    frame: *mut HostCallFrame,
    suspension: HostSuspension,
) -> Result<HostLeft, Reason> {
    let HostSuspension {
        tag,
        mut payload,
        references,
        arguments,
        on_resume,
    } = suspension;
    // SAFETY: the running store, whose compiled code waits.
    let store = unsafe { &mut *Store::from_ctx(ctx) };
    let (outermost, clause) = store.find_handler(tag.as_ptr().cast_const().cast(), false)?;
    let mut held: SmallVec<[u32; 4]> = (references.iter())
        .map(|&at| payload[at].get_externref())
        .collect();
    // SAFETY: only a pool stack has a handler; it is left here.
    let cont = unsafe { store.suspend_running(outermost, &mut held)? };
    for (at, reference) in references.into_iter().zip(held) {
        payload[at] = ValRaw::externref(reference);
    }
    let mut args: Box<[ValRaw]> = match on_resume {
        Some(_) => vec![ValRaw::default(); arguments].into(),
        None => Box::default(),
    };
    // SAFETY: the current stack and its parents are alive, and this one is left; the frame pointer of the exit
    // stub leads to that of its caller and the return address.
    unsafe {
        let current: *mut VmStack = (*ctx).current_stack;
        (*current).values = match on_resume {
            Some(_) => args.as_mut_ptr(),
            None => (*frame).values,
        };
        (*current).sp = frame.addr();
        (*current).fp = frame.addr();
        (*current).pc = host_resumed as *const () as usize;
        let stub: *const usize = std::ptr::with_exposed_provenance((*frame).fp);
        let record = Box::new(HostFrame {
            caller: (stub.add(1).read(), stub.read()),
            payload,
            args,
            on_resume,
        });
        let values = record.payload.as_ptr();
        record.give_to(current);

        let parent = (*outermost.as_ptr()).parent;
        (*ctx).current_stack = parent;
        (*ctx).stack_limit = (*parent).stack_limit;
        Ok(HostLeft {
            resume: Resume {
                pc: (*parent).pc,
                sp: (*parent).sp,
                fp: (*parent).fp,
                payload: (cont.get() as usize) << 32 | clause as usize,
            },
            second: values.expose_provenance(),
            stack: parent.expose_provenance(),
            store: ctx.expose_provenance(),
            reserved: 0,
        })
    }
}

/// Goes on with a host function that has suspended, in the place of which `frame` stands. Gives a status.
///
/// # Safety
///
/// Called by [`host_resumed`], on the native stack, when the frame's stack was switched to and the arguments
/// are where it wanted them.
unsafe extern "C" fn resume(frame: *mut HostCallFrame) -> u64 {
    let ctx = thread::running_store();
    // SAFETY: the running store, whose compiled code waits. What was written to the stack's `values` is in the
    // record, or in the stub's values already.
    unsafe {
        let record = take_record(ctx).expect("what suspends in a host function leaves a record");
        match record.on_resume {
            None => STATUS_OK,
            Some(on_resume) => {
                let host = NonNull::new_unchecked((*frame).host);
                on_resume.resume(host, record.args.as_ptr(), (*frame).values)
            }
        }
    }
}

/// Takes what a host function has left on the running stack. Its caller's frame is where compiled code is then.
///
/// # Safety
///
/// `ctx` must be the running store, whose current stack was just switched to.
pub(super) unsafe fn take_record(ctx: *mut VmStoreCtx) -> Option<Box<HostFrame>> {
    // SAFETY: the caller's promise.
    unsafe {
        let record = HostFrame::take_from((*ctx).current_stack)?;
        let activation = (*ctx).activation;
        ((*activation).exit_pc, (*activation).exit_fp) = record.caller;
        Some(record)
    }
}
