//! Switching to a continuation from the host, on x86-64.
//!
//! Like compiled code, the routine here expects nothing in any register when its stack is switched back to,
//! and what is left for good goes on at its edge. But it is called from Rust, and keeps the registers that
//! belong to its caller.

use super::{Resume, switch_stack};
use core::mem::offset_of;
use sarsen_abi::stack::VmStack;
use sarsen_abi::vmctx::{VmStoreCtx, offset};

/// What [`resume_from_host`] reports first when the continuation was left by a trap or an exception. No
/// status is this.
pub(crate) const LEFT: u64 = u64::MAX;

/// The frame pointer of [`resume_from_host`] less its stack pointer during the switch, in bytes.
const HOST_FRAME: usize = 48;

/// Switches to a stack from the host, and returns when it switches back: an activation's beginning, without
/// a function. Writes both words that it is told to `out`. `native` is the stack that this runs on: the
/// activation's native one, or its base.
///
/// ```text
///   | return address   |
///   | caller's rbp     | <- rbp, the native stack's entry_fp
///   | rbx, r12 to r15  |
///   | out              | <- rsp
/// ```
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn resume_from_host(
    stack: *mut VmStack,
    store: *mut VmStoreCtx,
    first: u64,
    out: *mut [u64; 2],
    native: *mut VmStack,
) {
    core::arch::naked_asm!(
        "push rbp",
        "mov rbp, rsp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "push rcx",
        "mov [r8 + {entry_fp}], rbp",
        "xor ecx, ecx",
        "call {switch}",
        "mov rdx, [rbp - {frame}]",
        "mov [rdx], rax",
        "mov [rdx + 8], rcx",
        "lea rsp, [rbp - 40]",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
        entry_fp = const offset_of!(VmStack, entry_fp),
        frame = const HOST_FRAME,
        switch = sym switch_stack,
    )
}

/// Where [`resume_from_host`] goes on when what it has resumed was left for good. `pc` and `fp` are what
/// was saved of its native stack.
pub(crate) fn host_edge(pc: usize, fp: usize) -> Resume {
    Resume {
        pc,
        sp: fp - HOST_FRAME,
        fp,
        payload: LEFT as usize,
    }
}

/// The arguments of [`resume_from_host`].
#[derive(Debug)]
#[repr(C)]
pub(crate) struct ResumeArguments {
    pub(crate) stack: *mut VmStack,
    pub(crate) store: *mut VmStoreCtx,
    pub(crate) first: u64,
    pub(crate) out: *mut [u64; 2],
    pub(crate) native: *mut VmStack,
}

/// Where a base begins, and ends, on which a continuation is resumed: calls [`resume_from_host`], and goes back to
/// the native stack. From `enter_base`: rdi is the activation, rax the [`ResumeArguments`].
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn begin_base_by_resuming() {
    core::arch::naked_asm!(
        "mov rbx, rdi",
        "mov rdi, [rax + {stack}]",
        "mov rsi, [rax + {store}]",
        "mov rdx, [rax + {first}]",
        "mov rcx, [rax + {out}]",
        "mov r8, [rax + {native}]",
        "call {resume}",
        "xor eax, eax",
        "mov rcx, [rbx + {native_pc}]",
        "mov rsp, [rbx + {native_sp}]",
        "mov rbp, [rbx + {native_fp}]",
        "jmp rcx",
        stack = const offset_of!(ResumeArguments, stack),
        store = const offset_of!(ResumeArguments, store),
        first = const offset_of!(ResumeArguments, first),
        out = const offset_of!(ResumeArguments, out),
        native = const offset_of!(ResumeArguments, native),
        resume = sym resume_from_host,
        native_pc = const offset::ACTIVATION_NATIVE_PC,
        native_sp = const offset::ACTIVATION_NATIVE_SP,
        native_fp = const offset::ACTIVATION_NATIVE_FP,
    )
}
