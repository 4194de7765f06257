//! x86-64, System V.
//!
//! Two routines leave compiled code; [`raise_routine`] and [`landing_routine`] define them. Both run on top of
//! the frames that they abandon, call a Rust function which decides where execution goes on, and go there:
//!
//! ```text
//!            raise                                  landing after a fault
//!   | wasm frames ...     |                   | wasm frames ...     |
//!   | innermost           | <- exit_fp        | interrupted         | <- fp
//!   | stub (may be gone)  | <- rsp            |                     | <- interrupted rsp
//!   +---------------------+                   | red zone, 128 bytes |
//!   | alignment           |                   +---------------------+
//!   | Resume              | <- rdi: out       | Resume              | <- out
//!   | return address      |                   | return address      |
//!   | land_raise(out)     |                   | land_fault(out, ..) |
//! ```
//!
//! If a pool stack was running, the Rust function is called on the native stack instead, below where the
//! native stack was left.
//!
//! Afterwards rsp, rbp, rip and rax are those of [`Resume`]. All other registers are undefined: what lies
//! there (the exceptional edge of a `try_call`) assumes nothing of them.

use sarsen_abi::vmctx::{Activation, ValRaw, VmFuncRef, offset};
use std::arch::x86_64::__cpuid_count;

/// Where execution goes on after compiled code has been left.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Resume {
    pub(crate) pc: usize,
    pub(crate) sp: usize,
    pub(crate) fp: usize,
    /// What the exceptional edge gets: the exception, or nothing in particular.
    pub(crate) payload: usize,
}

const _: () = assert!(size_of::<Resume>() == 32, "the routines make so much room");

/// Calls a Rust function that writes a [`Resume`] to the stack pointer, and goes there. Begins with an
/// instruction that gives the function's argument.
macro_rules! leave_by {
    ($name:ident, $land:path, $($first:literal),* $(; $($constant:ident = const $value:expr),*)?) => {
        #[unsafe(naked)]
        pub(crate) unsafe extern "C" fn $name() -> ! {
            ::core::arch::naked_asm!(
                $($first,)*
                "call {land}",
                "mov rcx, [rsp + {pc}]",
                "mov rax, [rsp + {payload}]",
                "mov rbp, [rsp + {fp}]",
                "mov rsp, [rsp + {sp}]",
                "jmp rcx",
                land = sym $land,
                pc = const ::core::mem::offset_of!($crate::arch::Resume, pc),
                sp = const ::core::mem::offset_of!($crate::arch::Resume, sp),
                fp = const ::core::mem::offset_of!($crate::arch::Resume, fp),
                payload = const ::core::mem::offset_of!($crate::arch::Resume, payload),
                $($($constant = const $value),*)?
            )
        }
    };
}
pub(crate) use leave_by;

/// Defines `$raise`, which a stub calls with its context after a builtin or a host function failed. It
/// goes to the native stack if it is not there, and calls
/// `$land: unsafe extern "C" fn(out: *mut Resume)`.
macro_rules! raise_routine {
    ($raise:ident => $land:path) => {
        $crate::arch::leave_by!(
            $raise,
            $land,
            "mov rax, [rdi + {store}]",
            "mov rcx, [rax + {current}]",
            "mov rax, [rax + {activation}]",
            "cmp qword ptr [rcx + {parent}], 0",
            "cmovne rsp, [rax + {native_sp}]",
            "and rsp, -16",
            "sub rsp, 32",
            "mov rdi, rsp";
            store = const ::sarsen_abi::vmctx::offset::CONTEXT_STORE,
            activation = const ::sarsen_abi::vmctx::offset::STORE_ACTIVATION,
            current = const ::sarsen_abi::vmctx::offset::STORE_CURRENT_STACK,
            parent = const ::sarsen_abi::vmctx::offset::STACK_PARENT,
            native_sp = const ::sarsen_abi::vmctx::offset::ACTIVATION_NATIVE_SP
        );
    };
}
pub(crate) use raise_routine;

/// Defines `$landing`, an [`crate::os::signals::Landing`], which calls
/// `$land: unsafe extern "C" fn(pc, fp, kind, address: usize, out: *mut Resume)`.
macro_rules! landing_routine {
    ($landing:ident => $land:path) => {
        $crate::arch::leave_by!($landing, $land, "sub rsp, 32", "mov r8, rsp");
    };
}
pub(crate) use landing_routine;

/// Pushes all registers that C keeps, but for rbp.
macro_rules! save_registers {
    () => {
        "push rbx\n push r12\n push r13\n push r14\n push r15"
    };
}
pub(crate) use save_registers;

/// Pops what [`save_registers`] has pushed.
macro_rules! restore_registers {
    () => {
        "pop r15\n pop r14\n pop r13\n pop r12\n pop rbx"
    };
}
pub(crate) use restore_registers;

/// Calls a function's entry stub ([`VmFuncRef::entry`]). As that keeps no registers, the compiler saves those
/// that the caller needs, and no more.
///
/// # Safety
///
/// `callee` must be alive and of the store whose innermost activation `activation` is; `values` must hold its
/// arguments, and have room for its results.
#[inline(always)]
pub(crate) unsafe fn call_entry(
    activation: *mut Activation,
    callee: *const VmFuncRef,
    values: *mut ValRaw,
) -> u64 {
    let status;
    // SAFETY: a call with the arguments and clobbers of the stub's signature; the rest is the caller's promise.
    unsafe {
        std::arch::asm!(
            // Reserved by the compiler. The stack is to be aligned.
            "push rbx",
            "sub rsp, 8",
            "call [rsi + {entry}]",
            "add rsp, 8",
            "pop rbx",
            entry = const offset::FUNCREF_ENTRY,
            inout("rdi") activation => _,
            inout("rsi") callee => _,
            inout("rdx") values => _,
            lateout("rax") status,
            out("r12") _,
            out("r13") _,
            out("r14") _,
            out("r15") _,
            clobber_abi("sysv64"),
        );
    }
    status
}

/// The stack pointer, a little below that of the caller.
#[inline(always)]
pub(crate) fn stack_pointer() -> usize {
    let sp;
    // SAFETY: only reads a register.
    unsafe {
        std::arch::asm!("mov {}, rsp", out(reg) sp, options(nomem, nostack, preserves_flags));
    }
    sp
}

/// Copies `len` bytes, which may overlap, as fast as the system's `memmove`.
///
/// Rust does not see the accesses: other threads may write what is read, and read what is written, at
/// the same time, as WebAssembly allows in a shared memory. Then which bytes are seen is not said.
///
/// # Safety
///
/// Both ranges must be accessible, and no reference to what is written may be in use.
#[inline]
pub(crate) unsafe fn copy_bytes(to: *mut u8, from: *const u8, len: usize) {
    // SAFETY: a call with the arguments and clobbers of its C signature; the caller's promise.
    unsafe {
        std::arch::asm!(
            "call {memmove}",
            memmove = in(reg) libc::memmove as *const (),
            inout("rdi") to => _,
            inout("rsi") from => _,
            inout("rdx") len => _,
            clobber_abi("C"),
        );
    }
}

/// Sets `len` bytes to `value`, as fast as the system's `memset`. As for [`copy_bytes`], other threads
/// may access them at the same time.
///
/// # Safety
///
/// The range must be accessible, and no reference to it may be in use.
#[inline]
pub(crate) unsafe fn fill_bytes(to: *mut u8, value: u8, len: usize) {
    // SAFETY: as in `copy_bytes`.
    unsafe {
        std::arch::asm!(
            "call {memset}",
            memset = in(reg) libc::memset as *const (),
            inout("rdi") to => _,
            inout("esi") u32::from(value) => _,
            inout("rdx") len => _,
            clobber_abi("C"),
        );
    }
}

/// The registers that matter of what a signal interrupted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registers {
    pub(crate) pc: usize,
    pub(crate) sp: usize,
    pub(crate) fp: usize,
}

impl Registers {
    /// The registers in a signal handler's third argument.
    pub(crate) fn of(context: &libc::ucontext_t) -> Registers {
        let registers = &context.uc_mcontext.gregs;
        Registers {
            pc: registers[libc::REG_RIP as usize] as usize,
            sp: registers[libc::REG_RSP as usize] as usize,
            fp: registers[libc::REG_RBP as usize] as usize,
        }
    }
}

/// The highest address at or below which everything on the stack with this stack pointer is free,
/// aligned to 16 bytes.
pub(crate) fn below_red_zone(sp: usize) -> usize {
    sp.wrapping_sub(128) & !15
}

/// Whether the processor's protection keys are enabled (`OSPKE`). Then signal delivery resets their
/// rights register.
pub(crate) fn has_protection_keys() -> bool {
    let leaves = __cpuid_count(0, 0).eax;
    leaves >= 7 && __cpuid_count(7, 0).ecx & (1 << 4) != 0
}

/// A call of a landing routine out of a signal handler.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LandingCall {
    /// The routine.
    pub(crate) landing: unsafe extern "C" fn() -> !,
    /// Its stack pointer, aligned to 16 bytes.
    pub(crate) sp: usize,
    /// Its frame pointer.
    pub(crate) fp: usize,
    /// Its arguments.
    pub(crate) arguments: [usize; 4],
}

impl LandingCall {
    /// Leaves the handler and goes to the landing routine, with the interrupted floating point control
    /// words.
    ///
    /// # Safety
    ///
    /// Called in a signal handler whose third argument is `context`, and of which nothing needs to be
    /// dropped; the stack below `self.sp` must be free for the landing routine.
    pub(crate) unsafe fn jump_from_handler(&self, context: &libc::ucontext_t) -> ! {
        let floating_point = context.uc_mcontext.fpregs;
        let [pc, fp, kind, address] = self.arguments;
        // The kernel leaves the pointer null only for a thread that never used floating point.
        // SAFETY: the kernel's signal frame is valid inside the handler. What follows reads only
        // registers.
        unsafe {
            if let Some(floating_point) = floating_point.as_ref() {
                std::arch::asm!(
                    "ldmxcsr [{mxcsr}]",
                    "fldcw [{control}]",
                    mxcsr = in(reg) &floating_point.mxcsr,
                    control = in(reg) &floating_point.cwd,
                    options(readonly, nostack, preserves_flags),
                );
            }
            std::arch::asm!(
                "mov rsp, r9",
                "mov rbp, r10",
                "jmp r11",
                in("r9") self.sp,
                in("r10") self.fp,
                in("r11") self.landing,
                in("rdi") pc,
                in("rsi") fp,
                in("rdx") kind,
                in("rcx") address,
                options(noreturn),
            )
        }
    }

    /// Makes the handler's return go to the landing routine.
    ///
    /// # Safety
    ///
    /// As [`LandingCall::jump_from_handler`], and the handler must then return.
    pub(crate) unsafe fn set_as_return_of_handler(&self, context: &mut libc::ucontext_t) {
        let registers = &mut context.uc_mcontext.gregs;
        let mut set = |register: libc::c_int, value: usize| {
            registers[register as usize] = value as libc::greg_t;
        };
        let [pc, fp, kind, address] = self.arguments;
        set(libc::REG_RIP, self.landing as usize);
        set(libc::REG_RSP, self.sp);
        set(libc::REG_RBP, self.fp);
        set(libc::REG_RDI, pc);
        set(libc::REG_RSI, fp);
        set(libc::REG_RDX, kind);
        set(libc::REG_RCX, address);
    }
}
