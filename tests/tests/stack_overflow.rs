//! Stack overflow: a trap at any depth, on any thread, with enough stack left for the host.

use sarsen::{
    AsContextMut, Caller, Config, Engine, Func, Instance, Linker, Module, Store, Trap, TypedFunc,
};

const RECURSION: &str = r#"
    (module
        (func $f (export "forever") (result i64)
            (i64.add (call $f) (i64.const 1)))
        (func $g (export "large_frames") (param i64) (result i64)
            (local i64 i64 i64 i64 i64 i64 i64 i64 i64 i64)
            (local.set 1 (i64.mul (local.get 0) (local.get 0)))
            (local.set 2 (i64.mul (local.get 1) (local.get 0)))
            (local.set 3 (i64.mul (local.get 2) (local.get 1)))
            (local.set 4 (i64.mul (local.get 3) (local.get 2)))
            (local.set 5 (i64.mul (local.get 4) (local.get 3)))
            (local.set 6 (i64.mul (local.get 5) (local.get 4)))
            (local.set 7 (i64.mul (local.get 6) (local.get 5)))
            (local.set 8 (call $g (i64.add (local.get 0) (i64.const 1))))
            (i64.xor (local.get 8) (i64.xor (local.get 7) (i64.xor (local.get 6)
                (i64.xor (local.get 5) (i64.xor (local.get 4) (i64.xor (local.get 3)
                    (i64.xor (local.get 2) (local.get 1)))))))))
        (func (export "indirectly") (result i64)
            (call_indirect (result i64) (i32.const 0)))
        (table funcref (elem $f))
        (func (export "fine") (result i64) (i64.const 7)))
"#;

fn overflows(store: &mut Store<()>, instance: &Instance) {
    let error = match instance.get_typed_func::<(), i64>(&mut *store, "forever") {
        Ok(f) => f.call(&mut *store, ()).unwrap_err(),
        Err(error) => panic!("{error:?}"),
    };
    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::StackOverflow));
    let g: TypedFunc<i64, i64> = instance
        .get_typed_func(&mut *store, "large_frames")
        .unwrap();
    let error = g.call(&mut *store, 1).unwrap_err();
    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::StackOverflow));
    let h: TypedFunc<(), i64> = instance.get_typed_func(&mut *store, "indirectly").unwrap();
    let error = h.call(&mut *store, ()).unwrap_err();
    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::StackOverflow));
    let fine: TypedFunc<(), i64> = instance.get_typed_func(&mut *store, "fine").unwrap();
    assert_eq!(fine.call(&mut *store, ()).unwrap(), 7);
}

fn recursion(config: &Config) -> (Store<()>, Instance) {
    let engine = Engine::new(config).unwrap();
    let module = Module::new(&engine, RECURSION).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    (store, instance)
}

#[test]
fn endless_recursion_traps_again_and_again() {
    let (mut store, instance) = recursion(&Config::new());
    for _ in 0..20 {
        overflows(&mut store, &instance);
    }
}

#[test]
fn endless_recursion_traps_on_threads_with_stacks_of_any_size() {
    for stack_size in [320 << 10, 400 << 10, 600 << 10, 1 << 20, 16 << 20] {
        let (mut store, instance) = recursion(Config::new().max_wasm_stack(8 << 20));
        let builder = std::thread::Builder::new().stack_size(stack_size);
        let thread = builder.spawn(move || overflows(&mut store, &instance));
        thread.unwrap().join().unwrap();
    }
}

#[test]
fn a_thread_whose_stack_is_smaller_than_the_reserve_traps_at_once() {
    let (mut store, instance) = recursion(&Config::new());
    let builder = std::thread::Builder::new().stack_size(128 << 10);
    let thread = builder.spawn(move || {
        for _ in 0..3 {
            let f = instance
                .get_typed_func::<(), i64>(&mut store, "fine")
                .unwrap();
            let error = f.call(&mut store, ()).unwrap_err();
            assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::StackOverflow));
        }
        (store, instance)
    });
    let (mut store, instance) = thread.unwrap().join().unwrap();
    overflows(&mut store, &instance);
}

/// How much stack is left below a local variable of this thread, in bytes.
fn stack_left() -> usize {
    let local = 0u8;
    let here = &raw const local as usize;
    // SAFETY: reads the bounds of this thread's stack.
    unsafe {
        let mut attributes = std::mem::MaybeUninit::uninit();
        assert_eq!(
            libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()),
            0
        );
        let (mut low, mut len) = (std::ptr::null_mut(), 0);
        libc::pthread_attr_getstack(attributes.as_ptr(), &mut low, &mut len);
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        here - low as usize
    }
}

/// Calls `then` with no more than this many bytes of stack left.
fn with_stack_left<R>(bytes: usize, then: &mut dyn FnMut() -> R) -> R {
    let block = std::hint::black_box([0u8; 256]);
    if stack_left() <= bytes {
        return then();
    }
    let result = with_stack_left(bytes, then);
    std::hint::black_box(block);
    result
}

#[test]
fn entering_at_any_depth_of_the_host_traps_or_works_but_never_crashes() {
    let (mut store, instance) = recursion(&Config::new());
    let work = move || {
        let fine = instance
            .get_typed_func::<(), i64>(&mut store, "fine")
            .unwrap();
        let forever = instance
            .get_typed_func::<(), i64>(&mut store, "forever")
            .unwrap();
        let mut outcomes = Vec::new();
        for kib in (64..900).step_by(32) {
            with_stack_left(kib << 10, &mut || {
                let error = forever.call(&mut store, ()).unwrap_err();
                assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::StackOverflow));
                let fine = fine.call(&mut store, ());
                if let Err(error) = &fine {
                    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::StackOverflow));
                }
                outcomes.push(fine.is_ok());
            });
        }
        // Where it works, it works with any more stack.
        assert!(outcomes.is_sorted());
        assert_eq!(
            (outcomes.first(), outcomes.last()),
            (Some(&false), Some(&true))
        );
    };
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(work);
    thread.unwrap().join().unwrap();
}

#[test]
fn a_host_function_always_has_the_reserve_to_itself() {
    let reserve = 512 << 10;
    let thread = std::thread::Builder::new()
        .stack_size(4 << 20)
        .spawn(move || {
            let mut config = Config::new();
            config.max_wasm_stack(64 << 20).host_stack_reserve(reserve);
            let engine = Engine::new(&config).unwrap();
            let module = Module::new(
                &engine,
                r#"(module
                (import "host" "check" (func $check))
                (func $f (export "f") (call $check) (call $f) (call $check)))"#,
            )
            .unwrap();
            let mut linker = Linker::new(&engine);
            linker
                .func_wrap(
                    "host",
                    "check",
                    move |mut caller: Caller<'_, (u64, usize)>| {
                        let left = stack_left();
                        assert!(left + (16 << 10) >= reserve, "{left} bytes left");
                        let data = caller.data_mut();
                        data.0 += 1;
                        data.1 = data.1.min(left);
                    },
                )
                .unwrap();
            let mut store = Store::new(&engine, (0, usize::MAX));
            let instance = linker.instantiate(&mut store, &module).unwrap();
            let f = instance.get_typed_func::<(), ()>(&mut store, "f").unwrap();
            let error = f.call(&mut store, ()).unwrap_err();
            assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::StackOverflow));
            let (calls, least) = *store.data();
            assert!(calls > 1000);
            // It came near.
            assert!(least < reserve + (64 << 10), "{least}");
        });
    thread.unwrap().join().unwrap();
}

#[test]
fn recursion_through_the_host_traps_within_the_budget_of_the_outermost_entry() {
    let mut config = Config::new();
    config.max_wasm_stack(256 << 10);
    let engine = Engine::new(&config).unwrap();
    let module = Module::new(
        &engine,
        r#"(module
            (import "host" "again" (func $again))
            (func (export "f") (call $again)))"#,
    )
    .unwrap();
    let mut linker = Linker::new(&engine);
    linker
        .func_wrap("host", "again", |mut caller: Caller<'_, u32>| {
            *caller.data_mut() += 1;
            let f = caller.get_export("f").unwrap().into_func().unwrap();
            let f = f.typed::<(), ()>(&caller).unwrap();
            f.call(&mut caller, ())
        })
        .unwrap();
    let mut store = Store::new(&engine, 0);
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let f = instance.get_typed_func::<(), ()>(&mut store, "f").unwrap();
    for _ in 0..3 {
        *store.data_mut() = 0;
        let error = f.call(&mut store, ()).unwrap_err();
        assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::StackOverflow));
        let depth = *store.data();
        assert!((20..5000).contains(&depth), "{depth}");
    }
}

#[test]
fn a_host_function_may_go_on_in_another_thread() {
    let engine = Engine::default();
    let module = Module::new(&engine, RECURSION).unwrap();
    let mut store = Store::new(&engine, None::<Instance>);
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    *store.data_mut() = Some(instance);
    let elsewhere = Func::wrap(&mut store, |mut caller: Caller<'_, Option<Instance>>| {
        let instance = caller.data().unwrap();
        let mut store = caller.as_context_mut();
        for stack_size in [1 << 20, 8 << 20] {
            let store = &mut store;
            std::thread::scope(|scope| {
                let work = move || {
                    let fine = instance.get_typed_func::<(), i64>(&mut *store, "fine");
                    assert_eq!(fine.unwrap().call(&mut *store, ()).unwrap(), 7);
                    let forever = instance.get_typed_func::<(), i64>(&mut *store, "forever");
                    let error = forever.unwrap().call(&mut *store, ()).unwrap_err();
                    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::StackOverflow));
                };
                let builder = std::thread::Builder::new().stack_size(stack_size);
                builder.spawn_scoped(scope, work).unwrap().join().unwrap();
            });
        }
    });
    let wat = r#"(module (import "" "" (func $elsewhere)) (func (export "f") (call $elsewhere)))"#;
    let module = Module::new(&engine, wat).unwrap();
    let instance = Instance::new(&mut store, &module, &[elsewhere.into()]).unwrap();
    let f = instance.get_typed_func::<(), ()>(&mut store, "f").unwrap();
    f.call(&mut store, ()).unwrap();
}

/// Calls `work` on a stack of its own, as a library of coroutines does. `work` must not unwind.
fn on_another_stack<F: FnMut()>(bytes: usize, mut work: F) {
    extern "C" fn trampoline<F: FnMut()>(work: *mut F) {
        // SAFETY: passed below, and alive until the switch back.
        unsafe { (*work)() }
    }
    #[unsafe(naked)]
    unsafe extern "C" fn switch(top: *mut u8, function: *const u8, argument: *mut u8) {
        std::arch::naked_asm!(
            "push rbp",
            "mov rbp, rsp",
            "mov rsp, rdi",
            "mov rdi, rdx",
            "call rsi",
            "mov rsp, rbp",
            "pop rbp",
            "ret",
        )
    }
    let mut stack = vec![0u128; bytes / 16];
    let top = stack.as_mut_ptr_range().end.cast();
    let function = trampoline::<F> as *const u8;
    // SAFETY: the stack is aligned, ours, and large enough for what runs on it.
    unsafe { switch(top, function, (&raw mut work).cast()) };
}

#[test]
fn a_host_may_enter_on_a_stack_that_it_has_made_itself() {
    let (mut store, instance) = recursion(&Config::new());
    overflows(&mut store, &instance);
    // Twice `max_wasm_stack`: the reserve is the host's own business there.
    on_another_stack(1 << 20, || overflows(&mut store, &instance));
    overflows(&mut store, &instance);
}

#[test]
fn a_host_function_may_enter_again_on_a_stack_that_it_has_made_itself() {
    let engine = Engine::default();
    let module = Module::new(&engine, RECURSION).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let elsewhere = Func::wrap(&mut store, move |mut caller: Caller<'_, ()>| {
        on_another_stack(1 << 20, || {
            let fine = instance
                .get_typed_func::<(), i64>(&mut caller, "fine")
                .unwrap();
            assert_eq!(fine.call(&mut caller, ()).unwrap(), 7);
            let forever = instance
                .get_typed_func::<(), i64>(&mut caller, "forever")
                .unwrap();
            let error = forever.call(&mut caller, ()).unwrap_err();
            assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::StackOverflow));
        });
    });
    let wat = r#"(module (import "" "" (func $elsewhere)) (func (export "f") (call $elsewhere)))"#;
    let module = Module::new(&engine, wat).unwrap();
    let instance = Instance::new(&mut store, &module, &[elsewhere.into()]).unwrap();
    let f = instance.get_typed_func::<(), ()>(&mut store, "f").unwrap();
    f.call(&mut store, ()).unwrap();
}

#[test]
fn the_smallest_reserve_suffices_for_traps_and_builtins() {
    let mut config = Config::new();
    config.max_wasm_stack(64 << 20).host_stack_reserve(16 << 10);
    config.compiler_inlining(false);
    let engine = Engine::new(&config).unwrap();
    let wat = r#"(module
        (memory 1)
        (table 1 funcref)
        (func $f (export "builtins") (result i32)
            (i32.add (memory.grow (i32.const 0)) (table.grow (ref.null func) (i32.const 0)))
            (i32.add (call $f)))
        (func $g (export "failing") (param i32) (result i32)
            (if (i32.eqz (local.get 0)) (then (table.fill (i32.const 9) (ref.null func) (i32.const 9))))
            (i32.add (call $g (i32.sub (local.get 0) (i32.const 1))) (i32.const 1))))"#;
    let module = Module::new(&engine, wat).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let work = move || {
        let f = instance
            .get_typed_func::<(), i32>(&mut store, "builtins")
            .unwrap();
        let error = f.call(&mut store, ()).unwrap_err();
        assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::StackOverflow));
        let g = instance
            .get_typed_func::<i32, i32>(&mut store, "failing")
            .unwrap();
        // From where the builtin's own failure is told to where it is not reached any more.
        for depth in (0..).step_by(101) {
            let error = g.call(&mut store, depth).unwrap_err();
            match *error.downcast_ref::<Trap>().unwrap() {
                Trap::TableOutOfBounds => {}
                Trap::StackOverflow => break,
                other => panic!("{other} at {depth}"),
            }
        }
    };
    let thread = std::thread::Builder::new()
        .stack_size(256 << 10)
        .spawn(work);
    thread.unwrap().join().unwrap();
}
