//! Futures of calls that are forgotten: never polled again, and never dropped.

use super::asynchronous::{Alive, Pending, block_on, poll};
use sarsen::{
    Caller, Config, Engine, ExternRef, Func, Instance, Linker, Module, SharedMemory, Store,
    StoreLimits, StoreLimitsBuilder, TypedFunc,
};
use std::future::Future;
use std::mem;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Waits with objects in its frames: in itself, or in two continuations, one in the other.
const GUEST: &str = r#"(module
    (import "host" "wait" (func $wait (param i32) (result i32)))
    (type $box (struct (field i32)))
    (type $f (func (param i32) (result i32))) (type $k (cont $f))
    (elem declare func $plain $middle)
    (func $plain (export "plain") (type $f)
        (local $box (ref null $box))
        (local.set $box (struct.new $box (local.get 0)))
        (i32.add (call $wait (local.get 0)) (struct.get $box 0 (local.get $box))))
    (func $middle (type $f)
        (local $box (ref null $box))
        (local.set $box (struct.new $box (local.get 0)))
        (i32.add
            (resume $k (local.get 0) (cont.new $k (ref.func $plain)))
            (struct.get $box 0 (local.get $box))))
    (func (export "nested") (type $f)
        (resume $k (local.get 0) (cont.new $k (ref.func $middle))))
    (func (export "churn") (param i32)
        (loop $next
            (drop (struct.new $box (local.get 0)))
            (br_if $next (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))"#;

struct State {
    alive: Alive,
    limits: StoreLimits,
}

struct Guest {
    engine: Engine,
    alive: Alive,
    store: Store<State>,
    instance: Instance,
}

fn engines() -> [Engine; 2] {
    [None, NonZeroU32::new(1)].map(|zeal| {
        let mut config = Config::new();
        config.wasm_stack_switching(true).gc_zeal(zeal);
        Engine::new(&config).unwrap()
    })
}

impl Guest {
    /// Whose `wait` is pending twice, and then gives its argument.
    fn new(engine: &Engine) -> Guest {
        let mut linker = Linker::<State>::new(engine);
        linker
            .func_wrap_async("host", "wait", |mut caller: Caller<'_, State>, n: i32| {
                let alive = caller.data().alive.one();
                Box::new(async move {
                    Pending(1).await;
                    caller.gc(None)?;
                    Pending(1).await;
                    drop(alive);
                    Ok::<i32, sarsen::Error>(n)
                })
            })
            .unwrap();
        let module = Module::new(engine, GUEST).unwrap();
        let alive = Alive::default();
        let limits = StoreLimitsBuilder::new().stacks(4).build();
        let state = State {
            alive: alive.clone(),
            limits,
        };
        let mut store = Store::new(engine, state);
        store.limiter(|state| &mut state.limits);
        let instance = linker.instantiate(&mut store, &module).unwrap();
        Guest {
            engine: engine.clone(),
            alive,
            store,
            instance,
        }
    }

    fn func(&mut self, name: &str) -> TypedFunc<i32, i32> {
        let func = self.instance.get_typed_func(&mut self.store, name);
        func.unwrap()
    }

    fn forget(&mut self, name: &str, polls: u32) {
        let func = self.func(name);
        let mut call = Box::pin(func.call_async(&mut self.store, 7));
        for _ in 0..polls {
            assert!(poll(call.as_mut()).is_pending());
        }
        mem::forget(call);
    }

    /// How many stacks of the engine are in use: for asynchronous calls, and for continuations.
    fn stacks(&self) -> (usize, usize) {
        let [calls, continuations] = [
            self.engine.async_stacks(),
            self.engine.continuation_stacks(),
        ];
        (calls.in_use, continuations.in_use)
    }
}

/// What a function gives when nobody forgets it, and how many continuations wait in it.
const CASES: [(&str, i32, usize); 2] = [("plain", 14, 0), ("nested", 21, 2)];

#[test]
fn all_stacks_come_back_with_the_store() {
    for (engine, (name, _, conts)) in engines().iter().flat_map(|it| CASES.map(|case| (it, case))) {
        for polls in 0..3 {
            let mut guest = Guest::new(engine);
            guest.forget(name, polls);
            let begun = usize::from(polls > 0);
            assert_eq!(guest.stacks(), (begun, begun * conts));
            assert_eq!(guest.alive.count(), begun, "nothing of it is dropped");
            drop(guest.store);
            let (calls, continuations) = (engine.async_stacks(), engine.continuation_stacks());
            assert_eq!((calls.in_use, continuations.in_use), (0, 0));
        }
    }
}

#[test]
fn the_store_is_as_usable_as_before_and_the_next_call_recycles_the_stacks() {
    for (engine, (name, result, conts)) in
        engines().iter().flat_map(|it| CASES.map(|case| (it, case)))
    {
        let mut guest = Guest::new(engine);
        let churn = guest
            .instance
            .get_typed_func::<i32, ()>(&mut guest.store, "churn")
            .unwrap();
        let func = guest.func(name);
        // The limiter allows no more than four stacks.
        for round in 1..10 {
            guest.forget(name, 1 + round % 2);
            assert_eq!(guest.stacks().0, 1);
            churn.call(&mut guest.store, 100).unwrap();
            guest.store.gc(None).unwrap();
            assert_eq!(guest.stacks(), (1, conts));
        }
        for _ in 0..3 {
            assert_eq!(
                block_on(func.call_async(&mut guest.store, 7)).unwrap(),
                result
            );
            assert_eq!(guest.stacks().0, 0);
            assert_eq!(guest.store.continuation_stacks(), 0);
        }
        assert_eq!(guest.alive.count(), 9);
    }
}

#[test]
fn what_only_its_frames_refer_to_is_collected() {
    for engine in engines() {
        let module = r#"(module
            (import "" "wait" (func $wait))
            (func (export "f") (param externref) (result externref) (call $wait) (local.get 0)))"#;
        let module = Module::new(&engine, module).unwrap();
        let mut linker = Linker::<()>::new(&engine);
        linker
            .func_wrap_async("", "wait", |_, (): ()| Box::new(Pending(5)))
            .unwrap();
        let mut store = Store::new(&engine, ());
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let f = instance.get_func(&mut store, "f").unwrap();
        let alive = Alive::default();
        {
            let mut scope = sarsen::RootScope::new(&mut store);
            let object = ExternRef::new(&mut scope, alive.one()).unwrap();
            let params = [object.into()];
            let mut results = [sarsen::Val::null_extern_ref()];
            let mut call = Box::pin(f.call_async(&mut scope, &params, &mut results));
            assert!(poll(call.as_mut()).is_pending());
            mem::forget(call);
        }
        store.gc(None).unwrap();
        assert_eq!(alive.count(), 0);
    }
}

/// Polls a future once, and forgets it.
struct Once<F>(Option<Pin<Box<F>>>);

impl<F: Future> Future for Once<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut future = self.0.take().expect("polled once");
        assert!(future.as_mut().poll(context).is_pending());
        mem::forget(future);
        Poll::Ready(())
    }
}

#[test]
fn calls_inside_of_a_call_may_be_forgotten_alone_or_with_it() {
    for engine in engines() {
        let mut guest = Guest::new(&engine);
        let inner = guest.func("nested");
        let outer = Func::wrap_async(
            &mut guest.store,
            move |mut caller: Caller<'_, State>, (forgets,): (i32,)| {
                Box::new(async move {
                    for _ in 0..forgets {
                        Once(Some(Box::pin(inner.call_async(&mut caller, 7)))).await;
                    }
                    inner.call_async(&mut caller, 7).await
                })
            },
        );
        let outer = outer.typed::<i32, i32>(&guest.store).unwrap();
        for forgets in [0, 1, 5] {
            assert_eq!(
                block_on(outer.call_async(&mut guest.store, forgets)).unwrap(),
                21
            );
            assert_eq!(guest.stacks().0, 0);
            assert_eq!(guest.store.continuation_stacks(), 0);

            let mut call = Box::pin(outer.call_async(&mut guest.store, forgets));
            assert!(poll(call.as_mut()).is_pending());
            mem::forget(call);
            assert_eq!(guest.stacks().0, 2);
        }
        drop(guest.store);
        assert_eq!(engine.async_stacks().in_use, 0);
        assert_eq!(engine.continuation_stacks().in_use, 0);
    }
}

#[test]
fn a_call_that_is_being_dropped_keeps_its_stacks_while_another_is_made() {
    /// Makes a call as it is dropped.
    struct Calls<'a>(Caller<'a, State>, TypedFunc<i32, i32>);
    impl Drop for Calls<'_> {
        fn drop(&mut self) {
            let result = block_on(self.1.call_async(&mut self.0, 7)).unwrap();
            assert_eq!(result, 14);
        }
    }
    for engine in engines() {
        let mut guest = Guest::new(&engine);
        let inner = guest.func("plain");
        let outer = Func::wrap_async(
            &mut guest.store,
            move |caller: Caller<'_, State>, (): ()| {
                let calls = Calls(caller, inner);
                Box::new(async move {
                    let _calls = calls;
                    Pending(9).await;
                })
            },
        );
        let outer = outer.typed::<(), ()>(&guest.store).unwrap();
        let mut call = Box::pin(outer.call_async(&mut guest.store, ()));
        assert!(poll(call.as_mut()).is_pending());
        drop(call);
        assert_eq!(guest.stacks(), (0, 0));
        assert_eq!(guest.alive.count(), 0);
    }
}

#[test]
fn a_wait_that_is_forgotten_is_notified_when_its_store_is_gone() {
    let engine = Engine::default();
    let module = r#"(module
        (import "" "memory" (memory 1 1 shared))
        (func (export "wait") (param i64) (result i32)
            (memory.atomic.wait32 (i32.const 8) (i32.const 0) (local.get 0))))"#;
    let module = Module::new(&engine, module).unwrap();
    let ty = *module.imports().next().unwrap().ty().memory().unwrap();
    let memory = SharedMemory::new(&engine, ty).unwrap();
    for timeout in [-1, 1_000_000] {
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[memory.clone().into()]).unwrap();
        let wait = instance
            .get_typed_func::<i64, i32>(&mut store, "wait")
            .unwrap();
        let mut call = Box::pin(wait.call_async(&mut store, timeout));
        assert!(poll(call.as_mut()).is_pending());
        mem::forget(call);
        drop(store);
        assert_eq!(engine.async_stacks().in_use, 0);
    }
    assert_eq!(memory.atomic_notify(8, u32::MAX), Ok(2));
    assert_eq!(memory.atomic_notify(8, u32::MAX), Ok(0));
}
