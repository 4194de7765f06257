//! Signal handlers of the embedding program, beside ours: theirs get what is theirs, whether they were
//! installed before or after, and traps stay traps.
//!
//! Handlers are a process's own, so each case runs in a process of its own: this binary again.

use sarsen::{Engine, Instance, Module, Store, Trap, TypedFunc};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

const CASE: &str = "SARSEN_SIGNAL_CASE";
const FINE: i32 = 42;

fn run(case: &str) -> ExitStatus {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "in_a_process_of_its_own",
            "--exact",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(CASE, case)
        .output()
        .unwrap();
    print!("{}", String::from_utf8_lossy(&output.stdout));
    print!("{}", String::from_utf8_lossy(&output.stderr));
    output.status
}

#[test]
fn in_a_process_of_its_own() {
    let Ok(case) = std::env::var(CASE) else {
        return;
    };
    match case.as_str() {
        "host_fault" => {
            traps(10);
            touch(0x18);
        }
        "handler_before" => {
            install(libc::SIGSEGV, their_handler, 0);
            traps(10);
            assert_eq!(CALLS.load(Ordering::Relaxed), 0);
            touch(0x18);
        }
        "handler_after" => {
            traps(10);
            install(
                libc::SIGSEGV,
                passes_on,
                libc::SA_ONSTACK | libc::SA_NODEFER,
            );
            traps(10);
            assert!(CALLS.load(Ordering::Relaxed) >= 10);
        }
        "segv_sent" => {
            install(libc::SIGSEGV, counts, libc::SA_ONSTACK);
            while_running(libc::SIGSEGV);
        }
        "profiler" => {
            install(libc::SIGPROF, counts, libc::SA_ONSTACK | libc::SA_RESTART);
            profile();
        }
        "host_overflow" => {
            traps(1);
            println!("{}", overflow_the_stack(1));
        }
        _ => unreachable!("no case {case}"),
    }
    std::process::exit(FINE);
}

#[test]
fn a_fault_of_the_host_ends_the_process_as_without_us() {
    assert_eq!(run("host_fault").signal(), Some(libc::SIGSEGV));
}

#[test]
fn a_stack_overflow_of_the_host_is_reported_as_without_us() {
    assert_eq!(run("host_overflow").signal(), Some(libc::SIGABRT));
}

#[test]
fn a_handler_installed_before_gets_the_hosts_faults_and_no_traps() {
    assert_eq!(run("handler_before").code(), Some(FINE));
}

#[test]
fn a_handler_installed_afterwards_may_pass_traps_on_to_ours() {
    assert_eq!(run("handler_after").code(), Some(FINE));
}

#[test]
fn a_segv_sent_while_webassembly_runs_is_not_a_trap() {
    assert_eq!(run("segv_sent").code(), Some(FINE));
}

#[test]
fn traps_survive_a_profiler_that_interrupts_everything() {
    assert_eq!(run("profiler").code(), Some(FINE));
}

const WAT: &str = r#"(module
    (memory 1)
    (func (export "load") (param i32) (drop (i32.load (local.get 0))))
    (func (export "spin") (param i64) (result i64)
        (local i64)
        (loop $l
            (local.set 1 (i64.xor (i64.mul (local.get 1) (i64.const 31)) (local.get 0)))
            (br_if $l (i64.ne (i64.const 0)
                (local.tee 0 (i64.sub (local.get 0) (i64.const 1))))))
        (local.get 1))
    (func (export "unreachable") unreachable))"#;

struct Guest {
    store: Store<()>,
    load: TypedFunc<i32, ()>,
    spin: TypedFunc<i64, i64>,
    unreachable: TypedFunc<(), ()>,
}

fn guest() -> Guest {
    let engine = Engine::default();
    let module = Module::new(&engine, WAT).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    Guest {
        load: instance.get_typed_func(&mut store, "load").unwrap(),
        spin: instance.get_typed_func(&mut store, "spin").unwrap(),
        unreachable: instance.get_typed_func(&mut store, "unreachable").unwrap(),
        store,
    }
}

impl Guest {
    fn trap(&mut self) {
        let error = self.load.call(&mut self.store, -1).unwrap_err();
        assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::MemoryOutOfBounds));
        let error = self.unreachable.call(&mut self.store, ()).unwrap_err();
        assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::Unreachable));
    }
}

fn traps(count: u32) {
    let mut guest = guest();
    for _ in 0..count {
        guest.trap();
    }
}

type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);

/// The handler that was there before [`install`].
static PREVIOUS: AtomicUsize = AtomicUsize::new(0);

fn install(signal: libc::c_int, handler: Handler, flags: libc::c_int) {
    // SAFETY: the handlers here match SA_SIGINFO.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = flags | libc::SA_SIGINFO;
        let mut previous: libc::sigaction = std::mem::zeroed();
        assert_eq!(libc::sigaction(signal, &action, &mut previous), 0);
        PREVIOUS.store(previous.sa_sigaction, Ordering::Relaxed);
    }
}

static CALLS: AtomicU32 = AtomicU32::new(0);

extern "C" fn their_handler(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    _context: *mut libc::c_void,
) {
    // SAFETY: the kernel's.
    let address = unsafe { (*info).si_addr() } as usize;
    let fine = signal == libc::SIGSEGV && address == 0x18;
    // SAFETY: ends the process.
    unsafe { libc::_exit(if fine { FINE } else { 1 }) }
}

extern "C" fn counts(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    CALLS.fetch_add(1, Ordering::Relaxed);
}

extern "C" fn passes_on(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    CALLS.fetch_add(1, Ordering::Relaxed);
    // SAFETY: sarsen's handler, which was there before and has three parameters.
    unsafe {
        let previous: Handler = std::mem::transmute(PREVIOUS.load(Ordering::Relaxed));
        previous(signal, info, context);
    }
}

fn touch(address: usize) {
    // SAFETY: faults, which is the point.
    unsafe { ptr::with_exposed_provenance::<u64>(std::hint::black_box(address)).read_volatile() };
}

#[expect(unconditional_recursion, reason = "it is to overflow")]
fn overflow_the_stack(n: u64) -> u64 {
    let page = std::hint::black_box([n; 512]);
    overflow_the_stack(n + 1) + page[7]
}

/// Sends `signal` to a thread that runs WebAssembly, until its handler has been called often.
fn while_running(signal: libc::c_int) {
    let mut guest = guest();
    let done = AtomicBool::new(false);
    // SAFETY: only asks which thread this is.
    let this = unsafe { libc::pthread_self() };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                // Not a flood, which would nest handlers until their stack is full.
                std::thread::sleep(Duration::from_micros(100));
                // SAFETY: this scope ends before that thread does.
                unsafe { libc::pthread_kill(this, signal) };
            }
        });
        let expected = guest.spin.call(&mut guest.store, 1000).unwrap();
        while CALLS.load(Ordering::Relaxed) < 100 {
            assert_eq!(guest.spin.call(&mut guest.store, 1000).unwrap(), expected);
            guest.trap();
        }
        done.store(true, Ordering::Relaxed);
    });
}

/// Runs and traps while a timer interrupts this thread every 50 microseconds.
fn profile() {
    let interval = libc::timeval {
        tv_sec: 0,
        tv_usec: 50,
    };
    let timer = libc::itimerval {
        it_interval: interval,
        it_value: interval,
    };
    // SAFETY: the handler is installed.
    unsafe {
        assert_eq!(
            libc::setitimer(libc::ITIMER_PROF, &timer, ptr::null_mut()),
            0
        )
    };
    let mut guest = guest();
    let expected = guest.spin.call(&mut guest.store, 10_000).unwrap();
    // The timer may tick more slowly than asked.
    while CALLS.load(Ordering::Relaxed) < 100 {
        assert_eq!(guest.spin.call(&mut guest.store, 10_000).unwrap(), expected);
        for _ in 0..100 {
            guest.trap();
        }
    }
}
