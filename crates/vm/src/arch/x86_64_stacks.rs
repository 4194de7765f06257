//! Switching stacks, on x86-64. [`sarsen_abi::stack`] draws a stack.
//!
//! A switch site is a `try_call` in the `tail` convention: it expects nothing in any register afterwards
//! but the results (rax, rcx, rdx, rsi). So what is saved is the stack pointer, the frame pointer and the return
//! address; and where a stack goes on it is entered by an indirect jump, because a `ret` that belongs to
//! no `call` would be predicted wrong.

use super::{restore_registers, save_registers};
use sarsen_abi::stack::RETURNED;
use sarsen_abi::vmctx::{Activation, offset};

/// Saves the current stack and continues another one: [`sarsen_abi::builtin::BuiltinTable::switch_stack`].
///
/// Arguments: rdi the stack, rsi the store, rdx and rcx what the other side gets; it also gets, in rdx and rsi,
/// what it could load from memory later: its own stack, and the store. A stack that begins is
/// continued in the routine of [`start_routine`], with rdi and rsi as they are here.
macro_rules! switch_routine {
    ($($(#[$doc:meta])* $switch:ident;)*) => {$(
        $(#[$doc])*
        #[unsafe(naked)]
        pub(crate) unsafe extern "C" fn $switch() {
            core::arch::naked_asm!(
                "mov r8, [rsi + {current}]",
                "mov r10, [rdi + {limit}]",
                "pop r9",
                "mov [rsi + {current}], rdi",
                "mov [rsi + {store_limit}], r10",
                "mov [r8 + {pc}], r9",
                "mov [r8 + {sp}], rsp",
                "mov [r8 + {fp}], rbp",
                "mov r9, [rdi + {pc}]",
                "mov rsp, [rdi + {sp}]",
                "mov rbp, [rdi + {fp}]",
                "mov rax, rdx",
                "mov rdx, rdi",
                "jmp r9",
                current = const offset::STORE_CURRENT_STACK,
                store_limit = const offset::STORE_STACK_LIMIT,
                limit = const offset::STACK_LIMIT,
                pc = const offset::STACK_PC,
                sp = const offset::STACK_SP,
                fp = const offset::STACK_FP,
            )
        }
    )*};
}

// Twice the same, so that the processor has two jumps to predict, each of which mostly goes where it
// went last.
switch_routine! {
    /// From a stack to the one that has resumed it, or to another in its place.
    switch_stack;
    /// From a stack to one that it resumes.
    resume_stack;
}

/// Calls a C function on the native stack: [`sarsen_abi::builtin::BuiltinTable::native_call`].
///
/// ```text
///   pool stack                        native stack
///   | return address    |             | where it was left      | <- native_sp
///   | caller's rbp      | <- rbp      | activation, twice      |
///   | rbx, r12 to r15   |             | return address         |
///                                     | the C function's frame |
/// ```
///
/// If the code of an asynchronous call has to wait then, its registers are saved on the pool stack, and
/// the native stack goes on instead, where [`enter_base`] was called. [`answer`] continues the code.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn native_call() {
    core::arch::naked_asm!(
        "push rbp",
        "mov rbp, rsp",
        "mov r10, [rdi + {store}]",
        "mov r10, [r10 + {activation}]",
        "mov rax, [r10 + {callee}]",
        "mov rsp, [r10 + {native_sp}]",
        "and rsp, -16",
        "push r10",
        "push r10",
        "call rax",
        "mov r10, [rsp]",
        "mov r11, [r10 + {suspension}]",
        "mov rsp, rbp",
        "test r11, r11",
        "jnz 3f",
        "2:",
        "pop rbp",
        "ret",
        "3:",
        "cmp qword ptr [r11 + {waits}], 0",
        "je 2b",
        save_registers!(),
        "mov [r11 + {wait_sp}], rsp",
        "mov rcx, [r10 + {native_pc}]",
        "mov rsp, [r10 + {native_sp}]",
        "mov rbp, [r10 + {native_fp}]",
        "jmp rcx",
        suspension = const offset::ACTIVATION_SUSPENSION,
        waits = const offset::SUSPENSION_WAITS,
        wait_sp = const offset::SUSPENSION_SP,
        native_pc = const offset::ACTIVATION_NATIVE_PC,
        native_fp = const offset::ACTIVATION_NATIVE_FP,
        store = const offset::CONTEXT_STORE,
        activation = const offset::STORE_ACTIVATION,
        callee = const offset::ACTIVATION_NATIVE_CALLEE,
        native_sp = const offset::ACTIVATION_NATIVE_SP,
    )
}

/// Leaves the native stack of an activation for one of its pool stacks, and returns when that stack comes
/// back: because the code has ended or waits. Arguments: the activation; where to go on, `sp` and `pc`;
/// what is in rax and rdx there.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn enter_base(
    activation: *mut Activation,
    sp: usize,
    pc: usize,
    first: u64,
    second: u64,
) -> u64 {
    core::arch::naked_asm!(
        "push rbp",
        save_registers!(),
        "sub rsp, 8",
        "lea rax, [rip + 2f]",
        "mov [rdi + {native_pc}], rax",
        "mov [rdi + {native_sp}], rsp",
        "mov [rdi + {native_fp}], rbp",
        "mov r10, rdx",
        "mov rsp, rsi",
        "mov rax, rcx",
        "mov rdx, r8",
        "jmp r10",
        "2:",
        "add rsp, 8",
        restore_registers!(),
        "pop rbp",
        "ret",
        native_pc = const offset::ACTIVATION_NATIVE_PC,
        native_sp = const offset::ACTIVATION_NATIVE_SP,
        native_fp = const offset::ACTIVATION_NATIVE_FP,
    )
}

/// Where a base begins, and ends: calls its function's entry stub, and goes back to the native stack with
/// the stub's status. From [`enter_base`]: rdi is the activation, rax the base.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn begin_base() {
    core::arch::naked_asm!(
        "push rdi",
        "push rdi",
        "mov rdi, rax",
        "mov rsi, [rax + {func}]",
        "mov rdx, [rax + {buffer}]",
        "call [rsi + {entry}]",
        "pop rbx",
        "mov rcx, [rbx + {native_pc}]",
        "mov rsp, [rbx + {native_sp}]",
        "mov rbp, [rbx + {native_fp}]",
        "jmp rcx",
        func = const offset::STACK_FUNC,
        buffer = const offset::STACK_BUFFER,
        entry = const offset::FUNCREF_ENTRY,
        native_pc = const offset::ACTIVATION_NATIVE_PC,
        native_sp = const offset::ACTIVATION_NATIVE_SP,
        native_fp = const offset::ACTIVATION_NATIVE_FP,
    )
}

/// Where code goes on that waits in [`native_call`]: returns rax and rdx to the stub. From [`enter_base`].
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn answer() {
    core::arch::naked_asm!(restore_registers!(), "pop rbp", "ret",)
}

/// Where a stack begins, and ends: calls its function's entry stub, puts the stack on the store's list of
/// free ones, and goes on in its parent. When there are too many free stacks then,
/// `trim: unsafe extern "C" fn(store: *mut VmStoreCtx)` is called first, on the native stack; it must leave
/// the one that was put on the list last.
macro_rules! start_routine {
    ($start:ident => $trim:path) => {
        #[unsafe(naked)]
        pub(crate) unsafe extern "C" fn $start() -> ! {
            use ::sarsen_abi::vmctx::offset;
            ::core::arch::naked_asm!(
                "push rsi",
                "push rdi",
                "mov rsi, [rdi + {func}]",
                "mov rdx, [rdi + {buffer}]",
                "call [rsi + {entry}]",
                "pop rbx",
                "pop r12",
                "mov r13, [rbx + {parent}]",
                "mov rax, [r12 + {free}]",
                "mov [rbx + {next}], rax",
                "mov [r12 + {free}], rbx",
                "mov rax, [r12 + {count}]",
                "inc rax",
                "mov [r12 + {count}], rax",
                "cmp rax, [r12 + {most}]",
                "ja 3f",
                "2:",
                "mov rax, [r13 + {limit}]",
                "mov [r12 + {current}], r13",
                "mov [r12 + {store_limit}], rax",
                "mov r8, [r13 + {pc}]",
                "mov rsp, [r13 + {sp}]",
                "mov rbp, [r13 + {fp}]",
                "mov rcx, [rbx + {buffer}]",
                "mov eax, {returned}",
                "mov rdx, r13",
                "mov rsi, r12",
                "jmp r8",
                "3:",
                "mov rax, [r12 + {activation}]",
                "mov rsp, [rax + {native_sp}]",
                "and rsp, -16",
                "mov rdi, r12",
                "call {trim}",
                "jmp 2b",
                trim = sym $trim,
                func = const offset::STACK_FUNC,
                buffer = const offset::STACK_BUFFER,
                entry = const offset::FUNCREF_ENTRY,
                parent = const offset::STACK_PARENT,
                next = const offset::STACK_NEXT_FREE,
                free = const offset::STORE_FREE_STACKS,
                count = const offset::STORE_FREE_COUNT,
                most = const offset::STORE_FREE_LIMIT,
                current = const offset::STORE_CURRENT_STACK,
                store_limit = const offset::STORE_STACK_LIMIT,
                activation = const offset::STORE_ACTIVATION,
                native_sp = const offset::ACTIVATION_NATIVE_SP,
                limit = const offset::STACK_LIMIT,
                pc = const offset::STACK_PC,
                sp = const offset::STACK_SP,
                fp = const offset::STACK_FP,
                returned = const ::sarsen_abi::stack::RETURNED,
            )
        }
    };
}
pub(crate) use start_routine;

/// Defines `$throw`, where a suspended stack goes on that is to get an exception instead of values. What
/// switched there gave the exception as the first word; the stack's `values` are the place where it was
/// suspended. Makes that place the activation's exit, and calls
/// `$land: unsafe extern "C" fn(out: *mut Resume, exception: u64)` on the native stack.
macro_rules! throw_routine {
    ($throw:ident => $land:path) => {
        $crate::arch::leave_by!(
            $throw,
            $land,
            "mov rcx, [rsi + {activation}]",
            "mov rdx, [rdi + {values}]",
            "mov [rcx + {exit_pc}], rdx",
            "mov [rcx + {exit_fp}], rbp",
            "mov rsp, [rcx + {native_sp}]",
            "and rsp, -16",
            "sub rsp, 32",
            "mov rdi, rsp",
            "mov rsi, rax";
            activation = const ::sarsen_abi::vmctx::offset::STORE_ACTIVATION,
            values = const ::sarsen_abi::vmctx::offset::STACK_VALUES,
            exit_pc = const ::sarsen_abi::vmctx::offset::ACTIVATION_EXIT_PC,
            exit_fp = const ::sarsen_abi::vmctx::offset::ACTIVATION_EXIT_FP,
            native_sp = const ::sarsen_abi::vmctx::offset::ACTIVATION_NATIVE_SP
        );
    };
}
pub(crate) use throw_routine;

const _: () = assert!(RETURNED == u32::MAX);
