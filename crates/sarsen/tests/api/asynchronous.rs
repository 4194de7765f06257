//! Calls that are futures: waiting, cancelling, yielding, and polling from anywhere.

use sarsen::{
    AsyncRequiredError, Caller, Config, Engine, Func, FuncType, Instance, Linker, Module,
    SharedMemory, Store, Trap, TypedFunc, UpdateDeadline, Val, ValType,
};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

/// Wakes a thread that runs one future.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

pub(super) fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Is pending so many times.
pub(super) struct Pending(pub(super) u32);

impl Future for Pending {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.0 == 0 {
            return Poll::Ready(());
        }
        self.0 -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// What there is of something, counted.
#[derive(Clone, Default)]
pub(super) struct Alive(Arc<AtomicUsize>);

impl Alive {
    pub(super) fn one(&self) -> Counted {
        self.0.fetch_add(1, Ordering::SeqCst);
        Counted(self.clone())
    }

    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

pub(super) struct Counted(Alive);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Calls `wait` with each number below its argument, and adds what it returns to a global.
const SUM: &str = r#"(module
    (import "host" "wait" (func $wait (param i32) (result i32)))
    (global $sum (export "sum") (mut i32) (i32.const 0))
    (func (export "run") (param $n i32) (result i32) (local $i i32)
      (loop $next
        (if (i32.lt_u (local.get $i) (local.get $n))
          (then
            (global.set $sum (i32.add (global.get $sum) (call $wait (local.get $i))))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br $next))))
      (global.get $sum)))"#;

/// A store with `SUM`, whose `wait` is pending once for odd numbers and returns ten times its argument.
fn summing(engine: &Engine) -> (Store<Alive>, TypedFunc<i32, i32>) {
    let mut linker = Linker::<Alive>::new(engine);
    linker
        .func_wrap_async("host", "wait", |caller: Caller<'_, Alive>, n: i32| {
            let alive = caller.data().one();
            Box::new(async move {
                Pending((n % 2) as u32).await;
                drop(alive);
                n * 10
            })
        })
        .unwrap();
    let module = Module::new(engine, SUM).unwrap();
    let mut store = Store::new(engine, Alive::default());
    let instance = block_on(linker.instantiate_async(&mut store, &module)).unwrap();
    let run = instance.get_typed_func(&mut store, "run").unwrap();
    (store, run)
}

fn in_use(engine: &Engine) -> usize {
    engine.async_stacks().in_use
}

fn assert_send<F: Send>(future: F) -> F {
    future
}

#[test]
fn ready_and_pending_host_functions_give_their_results() {
    let engine = Engine::default();
    let (mut store, run) = summing(&engine);
    assert_eq!(block_on(run.call_async(&mut store, 10)).unwrap(), 450);
    let mut results = [Val::I32(0)];
    block_on(
        run.func()
            .call_async(&mut store, &[Val::I32(3)], &mut results),
    )
    .unwrap();
    assert_eq!(results[0].i32(), Some(480));
    assert_eq!((store.data().count(), in_use(&engine)), (0, 0));
}

#[test]
fn a_call_that_is_dropped_while_it_waits_leaves_nothing_behind() {
    let engine = Engine::default();
    let (mut store, run) = summing(&engine);
    let alive = store.data().clone();
    for polls in 0..6 {
        {
            let mut call = pin!(run.call_async(&mut store, 10));
            for _ in 0..polls {
                assert!(poll(call.as_mut()).is_pending());
            }
            if polls > 0 {
                assert_eq!((alive.count(), in_use(&engine)), (1, 1));
            }
        }
        assert_eq!((alive.count(), in_use(&engine)), (0, 0));
    }
    let before = block_on(run.call_async(&mut store, 0)).unwrap();
    assert_eq!(
        block_on(run.call_async(&mut store, 4)).unwrap(),
        before + 60
    );
}

#[test]
fn a_store_that_is_polled_on_alternating_threads_goes_on() {
    let engine = Engine::default();
    let (mut store, run) = summing(&engine);
    let mut call = Box::pin(assert_send(run.call_async(&mut store, 9)));
    let mut threads = 0;
    let result = loop {
        threads += 1;
        let polled = if threads % 2 == 0 {
            poll(call.as_mut())
        } else {
            let call = &mut call;
            thread::scope(|scope| scope.spawn(move || poll(call.as_mut())).join().unwrap())
        };
        if let Poll::Ready(result) = polled {
            break result.unwrap();
        }
    };
    assert_eq!((result, threads), (360, 5));
}

#[test]
fn traps_after_a_wait_on_another_thread_are_traps() {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module
             (import "host" "wait" (func $wait))
             (memory 1)
             (func $deep (result i32) (i32.add (call $deep) (i32.const 1)))
             (func (export "trap") (param i32)
               (call $wait)
               (if (i32.eqz (local.get 0)) (then unreachable))
               (if (i32.eq (local.get 0) (i32.const 1))
                 (then (drop (i32.load (i32.const -1)))))
               (if (i32.eq (local.get 0) (i32.const 2))
                 (then (drop (call $deep))))
               (call $wait)))"#,
    )
    .unwrap();
    let mut linker = Linker::<()>::new(&engine);
    linker
        .func_wrap_async("host", "wait", |_, (): ()| Box::new(Pending(1)))
        .unwrap();
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let trap = instance
        .get_typed_func::<i32, ()>(&mut store, "trap")
        .unwrap();
    let expected = [
        Trap::Unreachable,
        Trap::MemoryOutOfBounds,
        Trap::StackOverflow,
    ];
    for round in 0..3 {
        for (which, expected) in (0..).zip(expected) {
            let mut call = Box::pin(trap.call_async(&mut store, which));
            assert!(poll(call.as_mut()).is_pending());
            let result = thread::scope(|scope| {
                let polled = scope.spawn(|| poll(call.as_mut())).join().unwrap();
                let Poll::Ready(result) = polled else {
                    panic!("round {round}: it waits")
                };
                result
            });
            drop(call);
            let error = result.unwrap_err();
            assert_eq!(error.downcast_ref::<Trap>(), Some(&expected));
            assert!(error.downcast_ref::<sarsen::WasmBacktrace>().is_some());
            assert_eq!(in_use(&engine), 0);
        }
        block_on(trap.call_async(&mut store, 3)).unwrap();
    }
}

#[test]
fn errors_and_panics_of_futures_leave_by_the_call() {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let fail = Func::wrap_async(&mut store, |_, (pending, panic): (i32, i32)| {
        Box::new(async move {
            Pending(pending as u32).await;
            assert!(panic == 0, "a future panics");
            Err::<(), _>(sarsen::format_err!("a future fails"))
        })
    });
    let module = Module::new(
        &engine,
        r#"(module
             (import "" "" (func $fail (param i32 i32)))
             (func (export "run") (param i32 i32)
               (call $fail (local.get 0) (local.get 1)) unreachable))"#,
    )
    .unwrap();
    let instance = Instance::new(&mut store, &module, &[fail.into()]).unwrap();
    let run = instance
        .get_typed_func::<(i32, i32), ()>(&mut store, "run")
        .unwrap();
    for pending in [0, 1, 5] {
        let error = block_on(run.call_async(&mut store, (pending, 0))).unwrap_err();
        assert_eq!(error.root_cause().to_string(), "a future fails");
        let call = || block_on(run.call_async(&mut store, (pending, 1)));
        let payload = catch_unwind(AssertUnwindSafe(call)).unwrap_err();
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"a future panics"));
        assert_eq!(in_use(&engine), 0);
    }
}

#[test]
fn a_future_of_a_host_function_can_call_asynchronously_again() {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module
             (import "host" "nest" (func $nest (param i32) (result i32)))
             (func (export "run") (param i32) (result i32)
               (i32.add (call $nest (local.get 0)) (i32.const 1))))"#,
    )
    .unwrap();
    let mut linker = Linker::<Alive>::new(&engine);
    linker
        .func_wrap_async("host", "nest", |mut caller: Caller<'_, Alive>, n: i32| {
            Box::new(async move {
                let _alive = caller.data().one();
                Pending(1).await;
                if n == 0 {
                    return Ok(100);
                }
                let run = caller.get_export("run").unwrap().into_func().unwrap();
                let run = run.typed::<i32, i32>(&caller)?;
                let inner = run.call_async(&mut caller, n - 1).await?;
                caller.gc(None)?;
                Pending(1).await;
                Ok::<i32, sarsen::Error>(inner)
            })
        })
        .unwrap();
    let mut store = Store::new(&engine, Alive::default());
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let run = instance
        .get_typed_func::<i32, i32>(&mut store, "run")
        .unwrap();
    assert_eq!(block_on(run.call_async(&mut store, 5)).unwrap(), 106);
    // Dropped at every point.
    let alive = store.data().clone();
    for polls in 0..12 {
        let mut call = Box::pin(run.call_async(&mut store, 5));
        for _ in 0..polls {
            if poll(call.as_mut()).is_ready() {
                break;
            }
        }
        drop(call);
        assert_eq!((alive.count(), in_use(&engine)), (0, 0), "after {polls}");
    }
    assert_eq!(block_on(run.call_async(&mut store, 1)).unwrap(), 102);
}

#[test]
fn an_async_host_function_in_a_synchronous_call_is_an_error() {
    let engine = Engine::default();
    let (mut store, run) = summing(&engine);
    let error = run.call(&mut store, 1).unwrap_err();
    assert!(
        error.downcast_ref::<AsyncRequiredError>().is_some(),
        "{error:?}"
    );
    // Also where a host function of an asynchronous call makes it.
    let outer = Func::wrap(&mut store, move |mut caller: Caller<'_, Alive>| {
        run.call(&mut caller, 1)
    });
    let outer = outer.typed::<(), i32>(&store).unwrap();
    let error = block_on(outer.call_async(&mut store, ())).unwrap_err();
    assert!(
        error.downcast_ref::<AsyncRequiredError>().is_some(),
        "{error:?}"
    );
    assert_eq!(block_on(run.call_async(&mut store, 3)).unwrap(), 30);
}

#[test]
fn values_whose_types_are_known_at_run_time_are_kept_while_it_waits() {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let ty = FuncType::new(&engine, [ValType::I32, ValType::I64], [ValType::I64]);
    let add = Func::new_async(&mut store, ty, |_, params, results| {
        Box::new(async move {
            Pending(2).await;
            results[0] = Val::I64(i64::from(params[0].unwrap_i32()) + params[1].unwrap_i64());
            Ok(())
        })
    });
    let add = add.typed::<(i32, i64), i64>(&store).unwrap();
    assert_eq!(block_on(add.call_async(&mut store, (2, 3))).unwrap(), 5);
    let mut call = Box::pin(add.call_async(&mut store, (2, 3)));
    assert!(poll(call.as_mut()).is_pending());
    drop(call);
    assert_eq!(in_use(&engine), 0);
}

const SPIN: &str = r#"(module
    (func (export "spin") (param $n i32)
      (loop $next
        (local.set $n (i32.sub (local.get $n) (i32.const 1)))
        (br_if $next (local.get $n)))))"#;

fn spinning(config: &Config) -> (Engine, Store<()>, TypedFunc<i32, ()>) {
    let engine = Engine::new(config).unwrap();
    let (mut store, instance) = super::instance_in(&engine, SPIN);
    let spin = instance.get_typed_func(&mut store, "spin").unwrap();
    (engine, store, spin)
}

#[test]
fn an_epoch_ends_the_poll_and_the_next_goes_on() {
    let (engine, mut store, spin) = spinning(Config::new().epoch_interruption(true));
    store.epoch_deadline_async_yield_and_update(1);
    store.set_epoch_deadline(1);
    {
        let mut call = pin!(spin.call_async(&mut store, 1000));
        engine.increment_epoch();
        assert!(poll(call.as_mut()).is_pending());
        engine.increment_epoch();
        // The next deadline is counted from when it goes on.
        assert!(poll(call.as_mut()).is_ready());
    }
    engine.increment_epoch();
    {
        let mut call = pin!(spin.call_async(&mut store, 0));
        assert!(
            poll(call.as_mut()).is_pending(),
            "dropped before it goes on"
        );
        assert_eq!(in_use(&engine), 1);
    }
    assert_eq!(in_use(&engine), 0);
    engine.increment_epoch();
    let error = spin.call(&mut store, 10).unwrap_err();
    assert!(error.downcast_ref::<AsyncRequiredError>().is_some());
    store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Interrupt));
    let error = block_on(spin.call_async(&mut store, 10)).unwrap_err();
    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::Interrupt));
    assert_eq!(in_use(&engine), 0);
}

#[test]
fn fuel_ends_the_poll_at_each_interval() {
    let (_, mut store, spin) = spinning(Config::new().consume_fuel(true));
    store.set_fuel(10_000).unwrap();
    store.fuel_async_yield_interval(Some(100)).unwrap();
    let mut polls = 0;
    {
        let mut call = pin!(spin.call_async(&mut store, 1000));
        while poll(call.as_mut()).is_pending() {
            polls += 1;
        }
    }
    let used = 10_000 - store.get_fuel().unwrap();
    assert!(
        (used / 120..=used / 100).contains(&polls),
        "{polls} polls, {used} fuel"
    );
    let error = block_on(spin.call_async(&mut store, 1_000_000)).unwrap_err();
    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::OutOfFuel));
    assert!(store.fuel_async_yield_interval(Some(0)).is_err());
    store.fuel_async_yield_interval(None).unwrap();
    store.set_fuel(10_000).unwrap();
    assert!(poll(pin!(spin.call_async(&mut store, 100))).is_ready());
}

const WAIT: &str = r#"(module
    (import "" "memory" (memory 1 1 shared))
    (func (export "wait") (param i64) (result i32)
      (memory.atomic.wait32 (i32.const 8) (i32.const 0) (local.get 0))))"#;

#[test]
fn a_wait_in_a_shared_memory_blocks_no_thread() {
    let engine = Engine::default();
    let module = Module::new(&engine, WAIT).unwrap();
    let ty = *module.imports().next().unwrap().ty().memory().unwrap();
    let memory = SharedMemory::new(&engine, ty).unwrap();
    let mut stores: Vec<_> = (0..3)
        .map(|_| {
            let mut store = Store::new(&engine, ());
            let instance = Instance::new(&mut store, &module, &[memory.clone().into()]).unwrap();
            let wait = instance
                .get_typed_func::<i64, i32>(&mut store, "wait")
                .unwrap();
            (store, wait)
        })
        .collect();
    let mut calls: Vec<_> = stores
        .iter_mut()
        .map(|(store, wait)| Box::pin(assert_send(wait.call_async(store, -1))))
        .collect();
    for call in &mut calls {
        assert!(poll(call.as_mut()).is_pending());
    }
    assert_eq!(in_use(&engine), 3);
    drop(calls.remove(0));
    assert_eq!(memory.atomic_notify(8, 5).unwrap(), 2);
    for call in &mut calls {
        let Poll::Ready(result) = poll(call.as_mut()) else {
            panic!("notified, but it waits");
        };
        assert_eq!(result.unwrap(), 0);
    }
    drop(calls);
    let (store, wait) = &mut stores[0];
    assert_eq!(
        block_on(wait.call_async(&mut *store, 1_000_000)).unwrap(),
        2
    );
    assert_eq!(block_on(wait.call_async(store, 0)).unwrap(), 2);
    assert_eq!(in_use(&engine), 0);
}

#[test]
fn many_stores_wait_at_once_on_one_thread() {
    let engine = Engine::default();
    let mut stores: Vec<_> = (0..200).map(|_| summing(&engine)).collect();
    let mut calls: Vec<_> = stores
        .iter_mut()
        .map(|(store, run)| Some(Box::pin(run.call_async(store, 10))))
        .collect();
    let mut most = 0;
    while calls.iter().any(Option::is_some) {
        for call in &mut calls {
            if let Some(running) = call
                && let Poll::Ready(result) = poll(running.as_mut())
            {
                assert_eq!(result.unwrap(), 450);
                *call = None;
            }
        }
        most = most.max(in_use(&engine));
    }
    assert_eq!((most, in_use(&engine)), (200, 0));
}

#[test]
fn references_in_frames_that_wait_are_found_by_the_collector() {
    let mut config = Config::new();
    config.wasm_gc(true).gc_zeal(std::num::NonZeroU32::new(1));
    let engine = Engine::new(&config).unwrap();
    let module = Module::new(
        &engine,
        r#"(module
             (type $box (struct (field i32)))
             (import "host" "wait" (func $wait))
             (func (export "run") (param i32) (result i32) (local $b (ref null $box))
               (local.set $b (struct.new $box (local.get 0)))
               (call $wait)
               (drop (struct.new $box (i32.const 7)))
               (struct.get $box 0 (local.get $b))))"#,
    )
    .unwrap();
    let mut linker = Linker::<()>::new(&engine);
    linker
        .func_wrap_async("host", "wait", |mut caller: Caller<'_, ()>, (): ()| {
            Box::new(async move {
                caller.gc(None)?;
                Pending(1).await;
                caller.gc(None)?;
                Ok::<(), sarsen::Error>(())
            })
        })
        .unwrap();
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let run = instance
        .get_typed_func::<i32, i32>(&mut store, "run")
        .unwrap();
    for n in 0..10 {
        assert_eq!(block_on(run.call_async(&mut store, n)).unwrap(), n);
    }
}

#[test]
fn a_continuation_waits_and_is_dropped_with_the_call() {
    let mut config = Config::new();
    config.wasm_stack_switching(true).wasm_exceptions(true);
    let engine = Engine::new(&config).unwrap();
    let module = Module::new(
        &engine,
        r#"(module
             (type $f (func)) (type $k (cont $f))
             (import "host" "wait" (func $wait))
             (tag $yield)
             (global $steps (mut i32) (i32.const 0))
             (elem declare func $body)
             (func $body
               (call $wait)
               (suspend $yield)
               (call $wait))
             (func (export "run") (result i32) (local $c (ref null $k))
               (local.set $c (cont.new $k (ref.func $body)))
               (block $done
                 (loop $again
                   (global.set $steps (i32.add (global.get $steps) (i32.const 1)))
                   (block $suspended (result (ref $k))
                     (resume $k (on $yield $suspended) (local.get $c))
                     (br $done))
                   (local.set $c)
                   (call $wait)
                   (br $again)))
               (global.get $steps)))"#,
    )
    .unwrap();
    let mut linker = Linker::<()>::new(&engine);
    linker
        .func_wrap_async("host", "wait", |_, (): ()| Box::new(Pending(1)))
        .unwrap();
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let run = instance
        .get_typed_func::<(), i32>(&mut store, "run")
        .unwrap();
    assert_eq!(block_on(run.call_async(&mut store, ())).unwrap(), 2);
    for polls in 1..4 {
        let mut call = Box::pin(run.call_async(&mut store, ()));
        for _ in 0..polls {
            assert!(poll(call.as_mut()).is_pending());
        }
        drop(call);
        assert_eq!(in_use(&engine), 0);
        store.gc(None).unwrap();
    }
    let mut call = Box::pin(run.call_async(&mut store, ()));
    for _ in 0..3 {
        assert!(poll(call.as_mut()).is_pending());
    }
    assert!(poll(call.as_mut()).is_ready());
}
