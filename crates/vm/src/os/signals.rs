//! Faults: signals that compiled code raises by what it executes.
//!
//! # How a fault becomes a call
//!
//! ```text
//!   compiled code faults ─► kernel ─► handler, on the thread's alternate stack
//!                                        │
//!            claimed by the runtime? ────┼── no ──► the handler that was there before
//!                                        │ yes
//!                                        ▼
//!       landing routine, on the interrupted stack, with what was interrupted in registers
//! ```
//!
//! The handler does not return: it leaves by a jump, which saves the system call (measured here per
//! fault: 1.85 µs, against 2.47 µs through `sigreturn`). What a `sigreturn` would have restored is
//! taken care of as follows.
//!
//! - The *signal mask* never changed: handlers are installed with `SA_NODEFER` and an empty mask. (So a
//!   process that floods a thread with `kill(SIGSEGV)` nests handlers until the stack for them is
//!   full, which ends it. Whoever may do that may end it anyway.)
//! - The *alternate stack* is free again as soon as the stack pointer has left it; the kernel looks
//!   at the stack pointer, and keeps no flag (`SS_AUTODISARM` is not used; a thread's own alternate
//!   stack that does use it is replaced by ours).
//! - *Control words* of floating point are loaded from the signal frame; values in registers are dead,
//!   because compiled code is abandoned.
//! - *Protection-key rights* are reset by the kernel, and only a `sigreturn` restores them. Where the
//!   processor has them enabled, the handler therefore returns instead of jumping.
//!
//! # Rules inside the handler
//!
//! It runs wherever the program was interrupted, so it may only do what is async-signal-safe: no
//! allocation, no locks, no panics, no thread-local variable with a lazy initializer.
//!
//! # Living with other handlers
//!
//! A signal that the runtime does not claim goes to the handler that was there before ours, as the
//! kernel would have called it: with its mask, its flags and the default actions. A program that
//! installs a handler later must do the same for ours, or WebAssembly traps become crashes.
//!
//! `SIGBUS` is left alone on Linux: it reports truncated files and broken memory, never an access
//! that a guard stops, so no trap begins with it.

use super::pages::{PAGE_SIZE, Protection, Reservation};
use crate::arch;
use std::cell::OnceCell;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// What the processor reported.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FaultKind {
    /// An access to this address, which is not mapped, or not for such an access.
    Access(usize),
    /// A privileged instruction, or an access to an address that no program can have.
    Protection,
    /// An integer division that overflowed or had a divisor of zero.
    Division,
    /// An invalid instruction.
    Instruction,
}

/// Decides whether a fault at this program counter is the runtime's. Called inside the signal handler:
/// see the module's rules.
pub(crate) type Claim = fn(pc: usize, kind: FaultKind) -> Option<Claimed>;

/// Where to land after a fault that is the runtime's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Claimed {
    /// On the stack that was interrupted.
    Here,
    /// On another one, below this address.
    At(usize),
}

/// Where control goes after a claimed fault.
///
/// Called by a jump on the interrupted stack (or another: [`Claimed`]), its stack pointer below the red zone and aligned to 16
/// bytes, with the frame pointer as it was. The C arguments are the interrupted program counter and
/// frame pointer, the kind of fault as [`FaultKind::to_word`], and the address of the access, or zero.
/// Never returns.
pub(crate) type Landing = unsafe extern "C" fn() -> !;

impl FaultKind {
    /// The kind without its address, as a machine word.
    pub(crate) fn to_word(self) -> usize {
        match self {
            FaultKind::Access(_) => 0,
            FaultKind::Protection => 1,
            FaultKind::Division => 2,
            FaultKind::Instruction => 3,
        }
    }

    /// The reverse.
    pub(crate) fn from_word(word: usize, address: usize) -> FaultKind {
        match word {
            0 => FaultKind::Access(address),
            1 => FaultKind::Protection,
            2 => FaultKind::Division,
            _ => FaultKind::Instruction,
        }
    }

    fn address(self) -> usize {
        match self {
            FaultKind::Access(address) => address,
            _ => 0,
        }
    }

    /// What a signal reports, unless some process sent it by hand.
    fn of_signal(signal: libc::c_int, info: &libc::siginfo_t) -> Option<FaultKind> {
        match signal {
            // Zero and less: `kill`, `tgkill`, `sigqueue`.
            _ if info.si_code <= 0 => None,
            libc::SIGSEGV if info.si_code == SI_KERNEL => Some(FaultKind::Protection),
            // SAFETY: the kernel sets the address for this signal and code.
            libc::SIGSEGV => Some(FaultKind::Access(unsafe { info.si_addr() } as usize)),
            libc::SIGFPE => Some(FaultKind::Division),
            libc::SIGILL => Some(FaultKind::Instruction),
            _ => None,
        }
    }
}

/// `si_code` when the processor raised a general protection fault, which has no address.
const SI_KERNEL: libc::c_int = 0x80;

/// The signals that are handled.
const SIGNALS: [libc::c_int; 3] = [libc::SIGSEGV, libc::SIGILL, libc::SIGFPE];

/// The handler that was there before ours.
struct Previous {
    action: libc::sigaction,
    /// It asked to be called once only (`SA_RESETHAND`), and was.
    spent: AtomicBool,
}

/// All that a handler needs, in one place that is written once, before any handler is installed.
struct Handlers {
    claim: Claim,
    landing: Landing,
    leave_by_jump: bool,
    previous: [Previous; SIGNALS.len()],
}

/// Written once by [`install`]; a handler reads it without waiting.
static HANDLERS: OnceLock<Handlers> = OnceLock::new();

/// Installs the process's handlers, unless that has been done.
///
/// # Panics
///
/// Panics when the system refuses, which it does for no valid signal.
pub(crate) fn install(claim: Claim, landing: Landing) {
    HANDLERS.get_or_init(|| Handlers {
        claim,
        landing,
        leave_by_jump: !arch::has_protection_keys(),
        previous: SIGNALS.map(|signal| Previous {
            action: current_action(signal),
            spent: AtomicBool::new(false),
        }),
    });
    static INSTALL: std::sync::Once = std::sync::Once::new();
    INSTALL.call_once(|| SIGNALS.into_iter().for_each(set_handler));
}

fn current_action(signal: libc::c_int) -> libc::sigaction {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: only reads the current action.
    let result = unsafe { libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) };
    assert_eq!(result, 0, "reading a signal's action failed");
    // SAFETY: the call wrote it.
    unsafe { action.assume_init() }
}

fn set_handler(signal: libc::c_int) {
    // SAFETY: all zeroes is an action: the default one, with an empty mask.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = handle as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
    // SAFETY: `handle` has the signature that SA_SIGINFO asks for and keeps the rules of handlers.
    let result = unsafe { libc::sigaction(signal, &action, ptr::null_mut()) };
    assert_eq!(result, 0, "installing a signal handler failed");
}

/// The handler of all signals.
unsafe extern "C" fn handle(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    let Some(handlers) = HANDLERS.get() else {
        return;
    };
    let context = context.cast::<libc::ucontext_t>();
    // SAFETY: the kernel passes both to a handler with SA_SIGINFO.
    let (kind, registers) = unsafe {
        (
            FaultKind::of_signal(signal, &*info),
            arch::Registers::of(&*context),
        )
    };
    if let Some(kind) = kind {
        let arch::Registers { pc, sp, fp } = registers;
        if let Some(claimed) = (handlers.claim)(pc, kind) {
            let sp = match claimed {
                Claimed::Here => sp,
                Claimed::At(sp) => sp,
            };
            let call = arch::LandingCall {
                landing: handlers.landing,
                sp: arch::below_red_zone(sp),
                fp,
                arguments: [pc, fp, kind.to_word(), kind.address()],
            };
            // SAFETY: compiled code was interrupted, which the runtime abandons; all of its stack
            // below the red zone is free.
            unsafe {
                if handlers.leave_by_jump {
                    call.jump_from_handler(&*context);
                }
                call.set_as_return_of_handler(&mut *context);
            }
            return;
        }
    }
    let index = SIGNALS.iter().position(|&s| s == signal);
    if let Some(previous) = index.and_then(|index| handlers.previous.get(index)) {
        // SAFETY: these are the handler's own arguments.
        unsafe { previous.call(signal, info, context.cast()) };
    }
}

impl Previous {
    /// Does what the kernel would have done without our handler.
    ///
    /// # Safety
    ///
    /// Called inside the handler of `signal`, with its arguments.
    unsafe fn call(
        &self,
        signal: libc::c_int,
        info: *mut libc::siginfo_t,
        context: *mut libc::c_void,
    ) {
        // SAFETY: the kernel's, as the caller promises.
        let sent_by_hand = unsafe { (*info).si_code <= 0 };
        let action = &self.action;
        let once = action.sa_flags & libc::SA_RESETHAND != 0;
        let spent = once && self.spent.swap(true, Ordering::Relaxed);
        match action.sa_sigaction {
            // A fault cannot be ignored: the instruction would only fault again.
            libc::SIG_IGN if sent_by_hand => {}
            libc::SIG_IGN | libc::SIG_DFL => default_action(signal, sent_by_hand),
            _ if spent => default_action(signal, sent_by_hand),
            function => {
                block_mask_of(action, signal);
                // SAFETY: the program installed this function as a handler with these flags. The mask
                // that is blocked now ends with our own return.
                unsafe {
                    if action.sa_flags & libc::SA_SIGINFO != 0 {
                        let function: extern "C" fn(
                            libc::c_int,
                            *mut libc::siginfo_t,
                            *mut libc::c_void,
                        ) = std::mem::transmute(function);
                        function(signal, info, context);
                    } else {
                        let function: extern "C" fn(libc::c_int) = std::mem::transmute(function);
                        function(signal);
                    }
                }
            }
        }
    }
}

/// Makes the default action happen: at once for a signal that was sent, else when the instruction
/// faults again after the handler's return.
fn default_action(signal: libc::c_int, sent_by_hand: bool) {
    // SAFETY: both are async-signal-safe, and no handler of ours is needed while the process dies.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        if sent_by_hand {
            libc::raise(signal);
        }
    }
}

/// Blocks what the kernel blocks while it runs the handler of `action`.
fn block_mask_of(action: &libc::sigaction, signal: libc::c_int) {
    let mut mask = action.sa_mask;
    // SAFETY: async-signal-safe, on a mask of our own.
    unsafe {
        if action.sa_flags & libc::SA_NODEFER == 0 {
            libc::sigaddset(&mut mask, signal);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, &mask, ptr::null_mut());
    }
}

/// The least size of an alternate stack that handlers are run on, in bytes. The kernel's frame takes
/// up to 11 KiB of it (with AMX state), and a handler that we pass a signal on to may symbolize.
const ALTERNATE_STACK_SIZE: usize = 64 << 10;

/// An alternate stack of ours. Lives as long as its thread.
///
/// ```text
///   guard page | stack, growing down          |
///   ^ pages    ^ ss_sp           ss_sp+ss_size^
/// ```
struct AlternateStack {
    pages: Reservation,
    previous: libc::stack_t,
}

/// Gives this thread an alternate stack of at least [`ALTERNATE_STACK_SIZE`], unless it has one. What
/// was there before is restored when the thread ends.
///
/// Does nothing when the system refuses, or when the thread is ending already: then handlers run on
/// the interrupted stack. Compiled code always leaves room for them on a thread's own, but not on one of the pool.
pub(crate) fn ensure_alternate_stack() {
    thread_local! {
        static STACK: OnceCell<Option<AlternateStack>> = const { OnceCell::new() };
    }
    // An error means that the thread's variables are being destroyed.
    let _ = STACK.try_with(|stack| {
        stack.get_or_init(AlternateStack::install);
    });
}

impl AlternateStack {
    fn install() -> Option<AlternateStack> {
        let previous = current_alternate_stack()?;
        let unsuitable = libc::SS_DISABLE | SS_AUTODISARM;
        if previous.ss_flags & unsuitable == 0 && previous.ss_size >= ALTERNATE_STACK_SIZE {
            return None;
        }
        let size = size();
        let pages = Reservation::new(PAGE_SIZE + size).ok()?;
        // SAFETY: nobody uses these pages yet.
        unsafe { pages.protect(PAGE_SIZE, size, Protection::ReadWrite).ok()? };
        let stack = libc::stack_t {
            ss_sp: pages.ptr_at(PAGE_SIZE).cast(),
            ss_flags: 0,
            ss_size: size,
        };
        // SAFETY: the pages stay mapped for as long as they are this thread's alternate stack.
        let result = unsafe { libc::sigaltstack(&stack, ptr::null_mut()) };
        (result == 0).then_some(AlternateStack { pages, previous })
    }
}

/// `SS_AUTODISARM` of `linux/signal.h`: the kernel disables the stack while it is used.
const SS_AUTODISARM: libc::c_int = 1 << 31;

/// The size of alternate stacks, in bytes.
fn size() -> usize {
    static SIZE: AtomicUsize = AtomicUsize::new(0);
    let mut size = SIZE.load(Ordering::Relaxed);
    if size == 0 {
        // SAFETY: only reads the auxiliary vector; zero when the kernel does not say.
        let frame = unsafe { libc::getauxval(libc::AT_MINSIGSTKSZ) } as usize;
        size = ALTERNATE_STACK_SIZE
            .max(4 * frame)
            .next_multiple_of(PAGE_SIZE);
        SIZE.store(size, Ordering::Relaxed);
    }
    size
}

fn current_alternate_stack() -> Option<libc::stack_t> {
    let mut stack = MaybeUninit::<libc::stack_t>::uninit();
    // SAFETY: only reads the current one; initializes it when it returns zero.
    unsafe {
        (libc::sigaltstack(ptr::null(), stack.as_mut_ptr()) == 0).then(|| stack.assume_init())
    }
}

impl Drop for AlternateStack {
    fn drop(&mut self) {
        let ours: *mut libc::c_void = self.pages.ptr_at(PAGE_SIZE).cast();
        match current_alternate_stack() {
            // Somebody else set or disabled it in the meantime, as Rust's own runtime does at the
            // end of a thread: the one before ours may be gone, too.
            Some(current) if current.ss_sp != ours => {}
            _ => {
                // SAFETY: ours ends here. The one before was not disabled by its owner, because ours
                // still stands in its place, so it is still valid.
                unsafe { libc::sigaltstack(&self.previous, ptr::null_mut()) };
            }
        }
    }
}

#[cfg(test)]
mod tests;
