//! Host functions that fail or suspend, on x86-64.
//!
//! Compiled code that has called a host function expects the registers that belong to a caller. So what suspends
//! in a host function's place saves them on its stack, where an ordinary switch site has none to save.

use super::Resume;
use sarsen_abi::vmctx::{ValRaw, VmHostCtx};

/// What `host_failed` leaves on the stack of the exit stub that has called it.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct HostCallFrame {
    /// The stub's values: the function's results.
    pub(crate) values: *mut ValRaw,
    /// The function's context.
    pub(crate) host: *mut VmHostCtx,
    /// r15, r14, r13, r12, rbx.
    pub(crate) saved: [usize; 5],
    /// The stub's frame pointer.
    pub(crate) fp: usize,
    /// Where it goes on in the stub.
    pub(crate) return_to: usize,
}

/// Where execution goes on after a host function has failed or suspended.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct HostLeft {
    pub(crate) resume: Resume,
    /// What a stack is told second that is switched to, itself, and the store.
    pub(crate) second: usize,
    pub(crate) stack: usize,
    pub(crate) store: usize,
    pub(crate) reserved: usize,
}

const _: () = assert!(
    size_of::<HostLeft>() == 64,
    "the routine makes so much room"
);

/// Defines the routines for host functions that fail or suspend.
///
/// - `$failed` is [`sarsen_abi::builtin::BuiltinTable::host_failed`]. On the native stack it calls
///   `$land: unsafe extern "C" fn(out: *mut HostLeft, frame: *mut HostCallFrame)`, which decides where execution
///   goes on: at a handler, or on another stack.
/// - `$resumed` is where a stack goes on that was suspended there, with the frame as its stack pointer. On the
///   native stack it calls `$resume: unsafe extern "C" fn(frame: *mut HostCallFrame) -> u64`. When that gives zero,
///   the results are there, and `$failed` returns to its stub; otherwise the function has failed or suspended once
///   more.
macro_rules! host_routines {
    ($failed:ident, $again:ident, $resumed:ident => $land:path, $resume:path) => {
        #[unsafe(naked)]
        pub(crate) unsafe extern "C" fn $failed() {
            ::core::arch::naked_asm!(
                "push rbp",
                "push rbx",
                "push r12",
                "push r13",
                "push r14",
                "push r15",
                "push rdi",
                "push rsi",
                "mov rbx, rsp",
                "jmp {again}",
                again = sym $again,
            )
        }

        /// A host function has failed or suspended, whose frame is in rbx.
        #[unsafe(naked)]
        unsafe extern "C" fn $again() {
            use ::sarsen_abi::vmctx::offset;
            use $crate::arch::{HostCallFrame, HostLeft, Resume};
            ::core::arch::naked_asm!(
                "mov rdi, [rbx + {host}]",
                "mov rax, [rdi + {store}]",
                "mov rcx, [rax + {current}]",
                "mov rax, [rax + {activation}]",
                "cmp qword ptr [rcx + {parent}], 0",
                "cmovne rsp, [rax + {native_sp}]",
                "and rsp, -16",
                "sub rsp, 64",
                "mov rdi, rsp",
                "mov rsi, rbx",
                "call {land}",
                "mov r8, [rsp + {pc}]",
                "mov rax, [rsp + {payload}]",
                "mov rcx, [rsp + {second}]",
                "mov rdx, [rsp + {stack}]",
                "mov rsi, [rsp + {to_store}]",
                "mov rbp, [rsp + {fp}]",
                "mov rsp, [rsp + {sp}]",
                "jmp r8",
                land = sym $land,
                host = const ::core::mem::offset_of!(HostCallFrame, host),
                store = const offset::CONTEXT_STORE,
                current = const offset::STORE_CURRENT_STACK,
                activation = const offset::STORE_ACTIVATION,
                parent = const offset::STACK_PARENT,
                native_sp = const offset::ACTIVATION_NATIVE_SP,
                pc = const ::core::mem::offset_of!(Resume, pc),
                sp = const ::core::mem::offset_of!(Resume, sp),
                fp = const ::core::mem::offset_of!(Resume, fp),
                payload = const ::core::mem::offset_of!(Resume, payload),
                second = const ::core::mem::offset_of!(HostLeft, second),
                stack = const ::core::mem::offset_of!(HostLeft, stack),
                to_store = const ::core::mem::offset_of!(HostLeft, store),
            )
        }

        #[unsafe(naked)]
        pub(crate) unsafe extern "C" fn $resumed() {
            use ::sarsen_abi::vmctx::offset;
            ::core::arch::naked_asm!(
                "mov rbx, rsp",
                "mov rax, [rsi + {activation}]",
                "mov rsp, [rax + {native_sp}]",
                "and rsp, -16",
                "mov rdi, rbx",
                "call {resume}",
                "mov rsp, rbx",
                "test rax, rax",
                "jne {again}",
                "add rsp, 16",
                "pop r15",
                "pop r14",
                "pop r13",
                "pop r12",
                "pop rbx",
                "pop rbp",
                "ret",
                resume = sym $resume,
                again = sym $again,
                activation = const offset::STORE_ACTIVATION,
                native_sp = const offset::ACTIVATION_NATIVE_SP,
            )
        }
    };
}
pub(crate) use host_routines;
