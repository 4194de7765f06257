//! The price of a trap with a captured backtrace, beside the bare fault of the same kind.
//!
//! A bare fault is a signal whose handler steps over the faulting instruction; what the kernel and the
//! hypervisor charge for it is not ours to change. Run it without `RUST_BACKTRACE`: with it, every
//! error also captures the host's own backtrace, which costs more than the trap.

use divan::Bencher;
use sarsen::{Engine, Instance, Module, Store, TypedFunc};

/// Recurses to depth 10, then stops in one of several ways. (A table's range is checked by the builtin
/// that fills it, a memory's by compiled code, which faults.)
const MODULE: &str = r#"(module
  (memory 1)
  (table 1 funcref)
  (type $t (func))
  (func $deep (param $depth i32) (param $how i32)
    (if (local.get $depth)
      (then
        (call $deep (i32.sub (local.get $depth) (i32.const 1)) (local.get $how))
        (return)))
    (if (i32.eq (local.get $how) (i32.const 0)) (then (unreachable)))
    (if (i32.eq (local.get $how) (i32.const 1)) (then (drop (i32.load (i32.const 70000)))))
    (if (i32.eq (local.get $how) (i32.const 2))
      (then (drop (i32.div_u (local.get $how) (i32.const 0)))))
    (if (i32.eq (local.get $how) (i32.const 3))
      (then (table.fill (i32.const 70000) (ref.null func) (i32.const 1)))))
  (func (export "trap") (param $how i32)
    (call $deep (i32.const 9) (local.get $how))))"#;

fn trap(bencher: Bencher<'_, '_>, how: i32) {
    let engine = Engine::default();
    let module = Module::new(&engine, MODULE).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let run: TypedFunc<i32, ()> = instance.get_typed_func(&mut store, "trap").unwrap();
    bencher.bench_local(move || run.call(&mut store, how).unwrap_err());
}

#[divan::bench(sample_size = 200)]
fn unreachable(bencher: Bencher<'_, '_>) {
    trap(bencher, 0);
}

#[divan::bench(sample_size = 200)]
fn memory_access(bencher: Bencher<'_, '_>) {
    trap(bencher, 1);
}

#[divan::bench(sample_size = 200)]
fn division(bencher: Bencher<'_, '_>) {
    trap(bencher, 2);
}

#[divan::bench(sample_size = 200)]
fn builtin(bencher: Bencher<'_, '_>) {
    trap(bencher, 3);
}

/// What a fault costs by itself on this machine.
mod bare {
    use divan::Bencher;

    /// A guard page is read; the handler returns to the next instruction.
    #[divan::bench(sample_size = 200)]
    fn guard_page(bencher: Bencher<'_, '_>) {
        let _installed = super::bare_fault::install();
        bencher.bench_local(super::bare_fault::read_guard);
    }

    /// `hlt`, a privileged instruction.
    #[divan::bench(sample_size = 200)]
    fn halt(bencher: Bencher<'_, '_>) {
        let _installed = super::bare_fault::install();
        bencher.bench_local(super::bare_fault::halt);
    }
}

/// Faults of our own, stepped over by a handler of our own.
mod bare_fault {
    use core::arch::asm;

    extern "C" fn step_over(
        _signal: libc::c_int,
        _info: *mut libc::siginfo_t,
        context: *mut libc::c_void,
    ) {
        // SAFETY: the kernel passes a valid `ucontext_t` to a handler with `SA_SIGINFO`. Both
        // faulting instructions below leave the address to go on at in rdx.
        unsafe {
            let context = &mut *context.cast::<libc::ucontext_t>();
            let registers = &mut context.uc_mcontext.gregs;
            registers[libc::REG_RIP as usize] = registers[libc::REG_RDX as usize];
        }
    }

    /// While it lives, faults are stepped over; then the handler before is back.
    pub(super) struct Installed(libc::sigaction);

    pub(super) fn install() -> Installed {
        // SAFETY: the handler touches only its context, and while it is installed nothing but the two
        // functions below faults.
        unsafe {
            let mut action: libc::sigaction = core::mem::zeroed();
            let mut before: libc::sigaction = core::mem::zeroed();
            action.sa_sigaction = step_over as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER;
            assert_eq!(libc::sigaction(libc::SIGSEGV, &action, &mut before), 0);
            Installed(before)
        }
    }

    impl Drop for Installed {
        fn drop(&mut self) {
            // SAFETY: this is what `sigaction` returned.
            unsafe {
                libc::sigaction(libc::SIGSEGV, &self.0, core::ptr::null_mut());
            }
        }
    }

    pub(super) fn read_guard() {
        // SAFETY: address 0 is never mapped; the handler goes on at the label.
        unsafe {
            asm!("lea rdx, [rip + 2f]", "mov al, byte ptr [0]", "2:", out("rax") _, out("rdx") _);
        }
    }

    pub(super) fn halt() {
        // SAFETY: `hlt` faults outside the kernel; the handler goes on at the label.
        unsafe {
            asm!("lea rdx, [rip + 2f]", "hlt", "2:", out("rdx") _);
        }
    }
}

fn main() {
    divan::main();
}
