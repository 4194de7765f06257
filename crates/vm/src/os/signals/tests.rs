//! Signals change the whole process, and wrong handling ends it: each test runs in a process of its own,
//! which is this test binary, started again with only [`in_a_process_of_its_own`] to run.

use super::*;
use crate::arch::{self, Resume};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::sync::atomic::AtomicU32;

const CASE: &str = "SARSEN_SIGNAL_CASE";

/// Runs the case with this name in a process of its own.
fn run(case: &str) -> ExitStatus {
    let this_binary = std::env::current_exe().unwrap();
    let test = concat!(module_path!(), "::in_a_process_of_its_own");
    let test = test.split_once("::").unwrap().1;
    let output = Command::new(this_binary)
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(CASE, case)
        .output()
        .unwrap();
    print!("{}", String::from_utf8_lossy(&output.stdout));
    print!("{}", String::from_utf8_lossy(&output.stderr));
    output.status
}

/// The code with which a case ends the process when everything was as it should be.
const FINE: i32 = 42;

fn assert_fine(case: &str) {
    assert_eq!(run(case).code(), Some(FINE), "{case}");
}

fn assert_killed(case: &str, signal: i32) {
    assert_eq!(run(case).signal(), Some(signal), "{case}");
}

#[test]
fn in_a_process_of_its_own() {
    let Ok(case) = std::env::var(CASE) else {
        return;
    };
    // SAFETY: the process has nothing to lose.
    unsafe {
        match case.as_str() {
            "default_fault" => {
                set(libc::SIGSEGV, libc::SIG_DFL, 0);
                install_claiming_nothing();
                touch_null();
            }
            "default_sent" => {
                set(libc::SIGSEGV, libc::SIG_DFL, 0);
                install_claiming_nothing();
                libc::raise(libc::SIGSEGV);
            }
            "ignored_fault" => {
                set(libc::SIGSEGV, libc::SIG_IGN, 0);
                install_claiming_nothing();
                touch_null();
            }
            "ignored_sent" => {
                set(libc::SIGSEGV, libc::SIG_IGN, 0);
                install_claiming_nothing();
                libc::raise(libc::SIGSEGV);
                libc::_exit(FINE);
            }
            "rust_runtime" => {
                install_claiming_nothing();
                touch_null();
            }
            "with_info" => {
                let handler = previous_with_info as *const () as usize;
                set(libc::SIGSEGV, handler, libc::SA_SIGINFO);
                install_claiming_nothing();
                touch_null();
            }
            "without_info" => {
                set(libc::SIGFPE, previous_without_info as *const () as usize, 0);
                install_claiming_nothing();
                libc::raise(libc::SIGFPE);
                assert!(!is_blocked(libc::SIGFPE), "the mask is restored");
                assert_eq!(CALLS.load(Ordering::Relaxed), 1);
                libc::raise(libc::SIGFPE);
                assert_eq!(CALLS.load(Ordering::Relaxed), 2);
                libc::_exit(FINE);
            }
            "once" => {
                let handler = previous_without_info as *const () as usize;
                set(libc::SIGFPE, handler, libc::SA_RESETHAND | libc::SA_NODEFER);
                install_claiming_nothing();
                libc::raise(libc::SIGFPE);
                assert_eq!(CALLS.load(Ordering::Relaxed), 1);
                libc::raise(libc::SIGFPE);
            }
            "host_stack_overflow" => {
                install_claiming_nothing();
                ensure_alternate_stack();
                println!("{}", overflow_the_stack(1));
            }
            "claimed_by_jump" => faults_land(true),
            "claimed_by_return" => faults_land(false),
            _ => unreachable!("no case {case}"),
        }
        libc::_exit(1);
    }
}

#[test]
fn an_unclaimed_fault_gets_the_default_action() {
    assert_killed("default_fault", libc::SIGSEGV);
}

#[test]
fn a_signal_that_was_sent_gets_the_default_action() {
    assert_killed("default_sent", libc::SIGSEGV);
}

#[test]
fn a_fault_cannot_be_ignored_but_a_sent_signal_can() {
    assert_killed("ignored_fault", libc::SIGSEGV);
    assert_fine("ignored_sent");
}

#[test]
fn rusts_own_handler_still_ends_the_process() {
    assert_killed("rust_runtime", libc::SIGSEGV);
}

#[test]
fn an_overflow_of_a_host_stack_is_reported_by_rusts_own_handler() {
    assert_killed("host_stack_overflow", libc::SIGABRT);
}

#[test]
fn a_previous_handler_gets_its_arguments_and_its_mask() {
    assert_fine("with_info");
    assert_fine("without_info");
}

#[test]
fn a_handler_that_asked_to_be_called_once_is_called_once() {
    assert_killed("once", libc::SIGFPE);
}

#[test]
fn claimed_faults_land_again_and_again_with_control_words_and_mask_intact() {
    assert_fine("claimed_by_jump");
    assert_fine("claimed_by_return");
}

fn set(signal: i32, handler: usize, flags: i32) {
    // SAFETY: all zeroes is an action; handlers here match their flags.
    unsafe {
        let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
        action.sa_sigaction = handler;
        action.sa_flags = flags;
        libc::sigaddset(&mut action.sa_mask, libc::SIGUSR1);
        assert_eq!(libc::sigaction(signal, &action, ptr::null_mut()), 0);
    }
}

fn install_claiming_nothing() {
    unsafe extern "C" fn never() -> ! {
        unreachable!("nothing is claimed")
    }
    install(|_, _| None, never);
}

unsafe fn touch_null() {
    // SAFETY: faults, which is what the caller wants.
    unsafe { std::arch::asm!("mov {0}, qword ptr [{0}]", in(reg) 0x18usize) };
}

#[expect(unconditional_recursion, reason = "it is to overflow")]
fn overflow_the_stack(n: u64) -> u64 {
    let page = std::hint::black_box([n; 512]);
    overflow_the_stack(n + 1) + page[7]
}

fn is_blocked(signal: i32) -> bool {
    // SAFETY: only reads the mask.
    unsafe {
        let mut mask = MaybeUninit::<libc::sigset_t>::zeroed().assume_init();
        libc::pthread_sigmask(libc::SIG_BLOCK, ptr::null(), &mut mask);
        libc::sigismember(&mask, signal) == 1
    }
}

static CALLS: AtomicU32 = AtomicU32::new(0);

extern "C" fn previous_with_info(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    assert_eq!(signal, libc::SIGSEGV);
    // SAFETY: passed on as the kernel did.
    unsafe {
        assert_eq!((*info).si_addr() as usize, 0x18);
        assert_ne!(arch::Registers::of(&*context.cast()).pc, 0);
        assert!(is_blocked(libc::SIGSEGV) && is_blocked(libc::SIGUSR1));
        libc::_exit(FINE);
    }
}

extern "C" fn previous_without_info(signal: libc::c_int) {
    assert_eq!(signal, libc::SIGFPE);
    assert!(is_blocked(libc::SIGUSR1));
    CALLS.fetch_add(1, Ordering::Relaxed);
}

arch::landing_routine!(landing => land_fault);

/// Where the faulting code is and where it is resumed; set by [`fault`].
static FAULT_PC: AtomicUsize = AtomicUsize::new(0);
static RESUME: [AtomicUsize; 3] = [const { AtomicUsize::new(0) }; 3];

unsafe extern "C" fn land_fault(
    pc: usize,
    fp: usize,
    kind: usize,
    address: usize,
    out: *mut Resume,
) {
    assert_eq!(pc, FAULT_PC.load(Ordering::Relaxed));
    let [resume_pc, resume_sp, resume_fp] = [0, 1, 2].map(|i| RESUME[i].load(Ordering::Relaxed));
    assert_eq!(fp, resume_fp);
    assert!((out as usize) < resume_sp - 128, "above the red zone");
    let kind = FaultKind::from_word(kind, address);
    let expected = [
        FaultKind::Protection,
        FaultKind::Access(0x10),
        FaultKind::Division,
    ];
    let call = CALLS.load(Ordering::Relaxed) as usize;
    assert_eq!(kind, expected[call % 3]);
    for signal in SIGNALS {
        assert!(!is_blocked(signal));
    }
    // SAFETY: as `leaving_routines` says.
    unsafe {
        out.write(Resume {
            pc: resume_pc,
            sp: resume_sp,
            fp: resume_fp,
            payload: 0,
        })
    };
}

/// Executes an instruction that faults, of a kind that depends on `n`, and returns after its landing.
#[unsafe(naked)]
unsafe extern "C" fn fault(n: u32, fault_pc: *const AtomicUsize, resume: *const AtomicUsize) {
    std::arch::naked_asm!(
        "push rbp",
        "mov rbp, rsp",
        "mov r8, rdx",
        "lea rax, [rip + 9f]",
        "mov [r8], rax",
        "mov [r8 + 8], rsp",
        "mov [r8 + 16], rbp",
        "cmp edi, 1",
        "je 2f",
        "ja 3f",
        "lea rax, [rip + 1f]",
        "mov [rsi], rax",
        "1: hlt",
        "2: lea rax, [rip + 1f]",
        "mov [rsi], rax",
        "xor eax, eax",
        "1: mov eax, [rax + 0x10]",
        "3: lea rax, [rip + 1f]",
        "mov [rsi], rax",
        "xor edx, edx",
        "xor eax, eax",
        "xor ecx, ecx",
        "1: div ecx",
        "9: pop rbp",
        "ret",
    )
}

fn control_words() -> (u32, u16) {
    let (mut mxcsr, mut control) = (0u32, 0u16);
    // SAFETY: only reads the control words.
    unsafe {
        std::arch::asm!("stmxcsr [{}]", "fnstcw [{}]", in(reg) &mut mxcsr, in(reg) &mut control);
    }
    (mxcsr & 0xffc0, control)
}

/// Faults many times, on several threads, and sees each land.
fn faults_land(by_jump: bool) {
    HANDLERS.get_or_init(|| Handlers {
        claim: |pc, _| (pc == FAULT_PC.load(Ordering::Relaxed)).then_some(Claimed::Here),
        landing,
        leave_by_jump: by_jump,
        previous: SIGNALS.map(|signal| Previous {
            action: current_action(signal),
            spent: AtomicBool::new(false),
        }),
    });
    install(|_, _| None, landing);
    // Round up and flush to zero; extended precision, round down: not what a handler begins with.
    let (mxcsr, control) = (0xdf80u32, 0x077fu16);
    let faulting = move || {
        ensure_alternate_stack();
        // SAFETY: changes only this thread's floating point, which the test does not use.
        unsafe { std::arch::asm!("ldmxcsr [{}]", "fldcw [{}]", in(reg) &mxcsr, in(reg) &control) };
        for n in 0..300 {
            CALLS.store(n, Ordering::Relaxed);
            // SAFETY: claimed above, and resumed after the fault.
            unsafe { fault(n % 3, &FAULT_PC, RESUME.as_ptr()) };
            assert_eq!(control_words(), (mxcsr & 0xffc0, control));
        }
    };
    for _ in 0..3 {
        std::thread::spawn(faulting).join().unwrap();
    }
    // SAFETY: ends the process at once.
    unsafe { libc::_exit(FINE) };
}

#[test]
fn an_alternate_stack_is_installed_where_there_is_a_smaller_one_and_restored_afterwards() {
    std::thread::spawn(|| {
        let before = current_alternate_stack().unwrap();
        assert!(before.ss_size < ALTERNATE_STACK_SIZE, "Rust's own is small");
        let ours = AlternateStack::install().unwrap();
        let current = current_alternate_stack().unwrap();
        assert_eq!(current.ss_sp, ours.pages.ptr_at(PAGE_SIZE).cast());
        assert!(current.ss_size >= ALTERNATE_STACK_SIZE);
        assert!(AlternateStack::install().is_none(), "large enough now");
        drop(ours);
        assert_eq!(current_alternate_stack().unwrap().ss_sp, before.ss_sp);
    })
    .join()
    .unwrap();
}

#[test]
fn an_alternate_stack_that_replaced_ours_is_left_alone() {
    std::thread::spawn(|| {
        let ours = AlternateStack::install().unwrap();
        let disabled = libc::stack_t {
            ss_sp: ptr::null_mut(),
            ss_flags: libc::SS_DISABLE,
            ss_size: 0,
        };
        // SAFETY: no handler needs the stack here.
        assert_eq!(unsafe { libc::sigaltstack(&disabled, ptr::null_mut()) }, 0);
        drop(ours);
        assert_ne!(
            current_alternate_stack().unwrap().ss_flags & libc::SS_DISABLE,
            0
        );
    })
    .join()
    .unwrap();
}
