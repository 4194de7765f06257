//! The way out of compiled code that cannot go on.
//!
//! A trap ends the whole activation, whatever continuations its code ran on: their stacks are recycled.
//!
//! Three ways lead here (the first two are drawn in `arch/x86_64.rs`): `raise`, after a builtin or a host
//! function has recorded a [`Reason`] in the store; `after_fault`, by which the signal handler leaves; and
//! `throw_on_stack`, where a continuation goes on that is resumed with an exception. All run on the native
//! stack, and the abandoned frames still stand: a backtrace is captured from them. Then execution goes on
//! where an exception is caught, or else at the exceptional edge of the activation's entry stub.
//!
//! # Which faults are traps
//!
//! 1. In the signal handler ([`claim`]): a store runs on this thread, the pc is in compiled code, and
//!    the image's trap table has an entry for it, or the access was to the guard of the stack of the
//!    continuation that runs. Everything else goes to the previous handler.
//! 2. In landing ([`is_guests`]): instructions that can only trap (explicit ones, division), or an
//!    access to an address that the store has reserved, or to the first page: null references, and what
//!    a bounds check that speculation cannot pass has replaced by null. Any other address means that
//!    compiled code's memory safety is broken: abort.

use super::backtrace::Capture;
use super::enter::Stay;
use super::suspend::take_record;
use super::thread;
use super::throw;
use super::walk::{Start, Step, Walk};
use crate::arch::{self, Resume};
use crate::code::{self, CodeAt};
use crate::instance::{Reason, Store};
use crate::os::pages::PAGE_SIZE;
use crate::os::signals::{Claimed, FaultKind};
use crate::stack::recycle_running;
use sarsen_abi::TrapCode;
use sarsen_abi::stack::VmStack;
use sarsen_abi::vmctx::VmStoreCtx;
use std::num::NonZeroU32;
use std::panic::{self, AssertUnwindSafe};
use std::ptr::NonNull;

arch::raise_routine!(raise => land_raise);
arch::landing_routine!(after_fault => land_fault);
arch::throw_routine!(throw_on_stack => land_throw);

/// The first byte of the instruction (`hlt`) that explicit traps are made of.
const EXPLICIT_TRAP: u8 = 0xf4;

/// Whether a fault at `pc` is one that [`land_fault`] deals with, and on which stack. Runs inside the
/// signal handler.
pub(super) fn claim(pc: usize, kind: FaultKind) -> Option<Claimed> {
    // Looked up before the thread's state, because a thread that never ran compiled code may not have
    // that state allocated yet.
    // SAFETY: as in `trap_at`.
    let at = unsafe { code::lookup(pc)? };
    let ctx = thread::running_store();
    if ctx.is_null() {
        return None;
    }
    // SAFETY: compiled code of the store runs, so that it and its activation are alive.
    unsafe {
        if at.code.image().trap_at(at.offset).is_none() && !is_in_guard(ctx, kind) {
            return None;
        }
        Some(if (*(*ctx).current_stack).parent.is_null() {
            Claimed::Here
        } else {
            Claimed::At((*(*ctx).activation).native.sp)
        })
    }
}

/// Whether a fault was an access to the guard of the continuation's stack that runs.
///
/// # Safety
///
/// `ctx` must be the running store.
unsafe fn is_in_guard(ctx: *mut VmStoreCtx, kind: FaultKind) -> bool {
    let FaultKind::Access(address) = kind else {
        return false;
    };
    // SAFETY: the caller's promise.
    unsafe {
        let stack = (*ctx).current_stack;
        !(*stack).parent.is_null() && (*stack).low.wrapping_sub(address + 1) < PAGE_SIZE
    }
}

/// The trap of the instruction at `pc`.
fn trap_at(pc: usize) -> Option<(TrapCode, CodeAt<'static>)> {
    // SAFETY: the thread is executing this code, if it is code, on behalf of a store that keeps it
    // alive; the result is not kept beyond that.
    let at = unsafe { code::lookup(pc)? };
    Some((at.code.image().trap_at(at.offset)?, at))
}

/// Lands after a stub found that a builtin or host function failed.
///
/// # Safety
///
/// Called on the native stack, after a stub has recorded the exit in the activation: by [`raise`], and by
/// what else leaves compiled code.
pub(super) unsafe extern "C" fn land_raise(out: *mut Resume) {
    let ctx = thread::running_store();
    // SAFETY: the activation is linked while its compiled code runs, and its exit was just recorded.
    unsafe {
        let activation = &*(*ctx).activation;
        let start = Start {
            pc: activation.exit_pc,
            fp: activation.exit_fp,
            is_call: true,
        };
        match throw::catch(ctx, start) {
            Some(handler) => out.write(handler),
            None => leave(ctx, start, out),
        }
    }
}

/// Makes a suspended stack go on by throwing an exception, which is given to it as the first word.
///
/// # Safety
///
/// `head` must be the head of a suspended chain that is the caller's, to resume it at once.
pub(super) unsafe fn throw_when_resumed(head: NonNull<VmStack>) {
    let head = head.as_ptr();
    // SAFETY: the caller's promise. The values that it waits for never come, so that there is room for
    // where it waits.
    unsafe {
        (*head).values = std::ptr::with_exposed_provenance_mut((*head).pc);
        (*head).pc = throw_on_stack as *const () as usize;
    }
}

/// Throws an exception where a continuation was suspended that has just been switched to.
///
/// # Safety
///
/// Called by [`throw_on_stack`], which has recorded that place as the activation's exit.
unsafe extern "C" fn land_throw(out: *mut Resume, exception: u64) {
    let ctx = thread::running_store();
    let exception = NonZeroU32::new(exception as u32).expect("compiled code has checked for null");
    let mut reason = Reason::Exception {
        exception,
        error: None,
    };
    // SAFETY: the store is alive, and its compiled code waits.
    unsafe {
        // The exception is thrown where a host function was called, which is not asked any more.
        if let Some(record) = take_record(ctx)
            && let Err(payload) = panic::catch_unwind(AssertUnwindSafe(|| drop(record)))
        {
            reason = Reason::Panic(payload);
        }
        (*Store::from_ctx(ctx)).set_pending(reason);
        land_raise(out);
    }
}

/// Lands after a fault that was claimed.
///
/// # Safety
///
/// Called by [`after_fault`] on the stack that was interrupted at `pc`.
unsafe extern "C" fn land_fault(
    pc: usize,
    fp: usize,
    kind: usize,
    address: usize,
    out: *mut Resume,
) {
    let ctx = thread::running_store();
    let kind = FaultKind::from_word(kind, address);
    // SAFETY: the running store is alive, and the compiled code that it ran is abandoned.
    unsafe {
        let store = Store::from_ctx(ctx);
        let in_guard = is_in_guard(ctx, kind);
        let trap = if in_guard {
            TrapCode::StackOverflow
        } else {
            trap_at(pc).expect("the handler has claimed this fault").0
        };
        if !in_guard && !is_guests(&*store, pc, kind) {
            abort(pc, kind, trap);
        }
        (*store).set_pending(Reason::Trap(trap));
        leave(
            ctx,
            Start {
                pc,
                fp,
                is_call: false,
            },
            out,
        );
    }
}

/// Whether a fault at `pc` is something that a guest can cause.
fn is_guests(store: &Store, pc: usize, kind: FaultKind) -> bool {
    match kind {
        FaultKind::Division | FaultKind::Instruction => true,
        // SAFETY: the pc is in compiled code that is mapped and alive.
        FaultKind::Protection => unsafe { (pc as *const u8).read() == EXPLICIT_TRAP },
        FaultKind::Access(address) => address < PAGE_SIZE || store.owns_address(address),
    }
}

/// Ends the process, because compiled code touched what it never may.
#[cold]
fn abort(pc: usize, kind: FaultKind, trap: TrapCode) -> ! {
    eprintln!(
        "sarsen: compiled code at {pc:#x} faulted ({kind:x?}) where only the trap \"{trap}\" is \
         expected, outside of its store's memory. This is a bug in the runtime or the compiler; \
         the process cannot be trusted any more."
    );
    std::process::abort()
}

/// Captures a backtrace if one is wanted, and finds where execution goes on.
///
/// # Safety
///
/// `ctx` must be the running store, `start` its innermost frame; `out` must be valid for writing.
unsafe fn leave(ctx: *mut VmStoreCtx, start: Start, out: *mut Resume) {
    // SAFETY: the caller's promise: nothing else uses the store now, and its frames still stand.
    unsafe {
        let store = Store::from_ctx(ctx);
        let limits = (*store).config().backtrace;
        let wanted = !matches!((*store).pending(), Some(Reason::Panic(_)));
        let mut capture = Capture::new(limits).filter(|_| wanted);
        let mut entry = None;
        for step in Walk::from_start(ctx, start) {
            match step {
                Step::Wasm(frame) => {
                    if let Some(capture) = &mut capture {
                        capture.push(&frame);
                    }
                }
                Step::Entry { pc, fp } => {
                    entry.get_or_insert((pc, fp));
                    if capture.is_none() {
                        break;
                    }
                }
            }
        }
        let (pc, fp) = entry.expect("every activation has an entry frame");
        let activation = (*ctx).activation;
        let base = match (*activation).suspension.as_ref() {
            Some(suspension) => suspension.base,
            None => &raw mut (*activation).native,
        };
        recycle_running(ctx, base);
        let stay = activation.cast::<Stay>();
        (*stay).backtrace.write(capture.map(Capture::finish));
        out.write(exceptional_edge(pc, fp));
    }
}

/// Where an entry stub goes on when its call did not return. `pc` is the return address of that call.
///
/// # Safety
///
/// `pc` and `fp` must be those of an entry stub's frame that still stands.
unsafe fn exceptional_edge(pc: usize, fp: usize) -> Resume {
    // SAFETY: an entry stub belongs to code that the running store keeps alive.
    let Some(at) = (unsafe { code::lookup(pc) }) else {
        // The host has resumed a continuation, without any stub.
        return arch::host_edge(pc, fp);
    };
    let mut handlers = at
        .code
        .image()
        .handlers_at(at.offset)
        .expect("an entry stub's call has a handler");
    let frame_offset = handlers.frame().frame_offset;
    let handler = handlers.next().expect("it has one handler");
    Resume {
        pc: at.code.ptr_at(handler.landing) as usize,
        sp: fp - frame_offset as usize,
        fp,
        payload: 0,
    }
}
