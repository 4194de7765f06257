//! Continuations that the host resumes with an exception: with types or without, and as futures.

use super::*;
use crate::asynchronous::{Alive, Counted, Pending, block_on, poll};
use sarsen::{Caller, StoreLimitsBuilder, TypedCont};
use std::pin::pin;

/// The four ways.
#[derive(Clone, Copy, Debug)]
enum Way {
    Plain,
    Typed,
    Async,
    TypedAsync,
}

const WAYS: [Way; 4] = [Way::Plain, Way::Typed, Way::Async, Way::TypedAsync];

impl Way {
    fn throw(
        self,
        store: &mut Store<()>,
        cont: Rooted<ContRef>,
        exception: Rooted<ExnRef>,
        tags: &[Tag],
    ) -> sarsen::Result<Resumed<i32>> {
        let typed = cont.typed::<i32, i32>(&mut *store);
        match self {
            Way::Plain => cont.resume_throw(store, exception, tags).map(one),
            Way::Async => block_on(cont.resume_throw_async(store, exception, tags)).map(one),
            Way::Typed => typed?.resume_throw(store, exception, tags),
            Way::TypedAsync => block_on(typed?.resume_throw_async(store, exception, tags)),
        }
    }
}

fn one(resumed: Resumed) -> Resumed<i32> {
    match resumed {
        Resumed::Returned(results) => Resumed::Returned(results[0].unwrap_i32()),
        Resumed::Suspended(it) => Resumed::Suspended(it),
    }
}

#[test]
fn an_exception_is_thrown_where_a_continuation_was_suspended() {
    for (engine, way) in engines().iter().flat_map(|it| WAYS.map(|way| (it, way))) {
        let mut guest = Guest::new(engine);
        for (name, caught) in [("catch", true), ("twice", false)] {
            let cont = guest.begin(name, 1);
            let exception = guest.exception(42);
            match way.throw(&mut guest.store, cont, exception, &[]) {
                Ok(Resumed::Returned(result)) if caught => assert_eq!(result, 42),
                Err(error) if !caught => {
                    assert!(error.is::<ThrownException>());
                    let frames = error.downcast_ref::<WasmBacktrace>().unwrap().frames();
                    assert_eq!(frames[0].func_name(), Some("twice"));
                    let same = guest.store.take_pending_exception().unwrap();
                    assert!(Rooted::ref_eq(&guest.store, &same, &exception).unwrap());
                }
                other => panic!("{way:?} {name}: {other:?}"),
            }
            assert!(cont.is_consumed(&mut guest.store).unwrap());
        }
        assert_eq!(guest.store.continuation_stacks(), 0);
        assert_eq!(engine.async_stacks().in_use, 0);
    }
}

#[test]
fn who_catches_an_exception_may_suspend_and_is_resumed_as_any_other() {
    for (engine, way) in engines().iter().flat_map(|it| WAYS.map(|way| (it, way))) {
        let mut guest = Guest::new(engine);
        let tag = guest.tag("yield");
        let cont = guest.begin("catch and yield", 1);
        let exception = guest.exception(42);
        let resumed = way.throw(&mut guest.store, cont, exception, &[tag]);
        let Ok(Resumed::Suspended(it)) = resumed else {
            panic!("{way:?}: {resumed:?}");
        };
        assert_eq!(it.payload::<i32>(&mut guest.store).unwrap(), 42);
        assert_eq!(
            returned(guest.resume(it.continuation, 7).unwrap()),
            7,
            "{way:?}"
        );
        assert_eq!(guest.store.continuation_stacks(), 0);
    }
}

#[test]
fn in_one_that_has_not_begun_nothing_can_catch_it() {
    for (engine, way) in engines().iter().flat_map(|it| WAYS.map(|way| (it, way))) {
        let mut guest = Guest::new(engine);
        let fresh = guest.cont("catch");
        let exception = guest.exception(1);
        let error = way
            .throw(&mut guest.store, fresh, exception, &[])
            .unwrap_err();
        assert!(error.is::<ThrownException>(), "{way:?}: {error:?}");
        let same = guest.store.take_pending_exception().unwrap();
        assert!(Rooted::ref_eq(&guest.store, &same, &exception).unwrap());
        assert!(fresh.is_consumed(&mut guest.store).unwrap());
        assert_eq!(guest.store.continuation_stacks(), 0);
        assert_eq!(engine.async_stacks().in_use, 0);
    }
}

#[test]
fn what_is_wrong_is_known_before_the_continuation_is_consumed() {
    let engine = &engines()[0];
    for way in WAYS {
        let mut guest = Guest::new(engine);
        let mut other = Guest::new(engine);
        let cont = guest.begin("catch", 1);
        let foreign = other.exception(1);
        let error = way.throw(&mut guest.store, cont, foreign, &[]).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&OwnershipError::WrongStore));
        let exception = guest.exception(1);
        let tag = other.tag("yield");
        let error = way
            .throw(&mut guest.store, cont, exception, &[tag])
            .unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&OwnershipError::WrongStore));
        let gone = {
            let mut scope = RootScope::new(&mut guest.store);
            exception
                .to_owned_rooted(&mut scope)
                .unwrap()
                .to_rooted(&mut scope)
        };
        let error = way.throw(&mut guest.store, cont, gone, &[]).unwrap_err();
        assert!(error.is::<UnrootedError>(), "{error:?}");

        assert!(!cont.is_consumed(&mut guest.store).unwrap());
        assert!(!guest.store.has_pending_exception());
        way.throw(&mut guest.store, cont, exception, &[]).unwrap();
        let error = way
            .throw(&mut guest.store, cont, exception, &[])
            .unwrap_err();
        assert!(error.is::<ConsumedError>(), "{error:?}");
    }
}

#[test]
fn without_a_stack_for_the_future_the_continuation_is_not_consumed() {
    let engine = &engines()[0];
    let module = Module::new(engine, GUEST).unwrap();
    let mut store = Store::new(engine, StoreLimitsBuilder::new().stacks(1).build());
    store.limiter(|limits| limits);
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let [func, yields, failed] = ["catch", "yield", "failed"].map(|name| {
        let export = instance.get_export(&mut store, name);
        export.unwrap()
    });
    let (yields, failed) = (yields.into_tag().unwrap(), failed.into_tag().unwrap());
    let start = TypedCont::<i32, i32>::new(&mut store, &func.into_func().unwrap()).unwrap();
    let Resumed::Suspended(it) = start.resume(&mut store, 1, &[yields]).unwrap() else {
        panic!("it yields");
    };
    let cont = it.continuation;
    let ty = ExnType::from_tag_type(failed.ty(&store)).unwrap();
    let allocator = ExnRefPre::new(&mut store, ty);
    let exception = ExnRef::new(&mut store, &allocator, &failed, &[Val::I32(9)]).unwrap();
    let typed = cont.typed::<i32, i32>(&mut store).unwrap();
    for error in [
        block_on(cont.resume_throw_async(&mut store, exception, &[])).unwrap_err(),
        block_on(typed.resume_throw_async(&mut store, exception, &[])).unwrap_err(),
    ] {
        assert_eq!(error.downcast_ref(), Some(&Trap::OutOfStacks));
        assert!(!cont.is_consumed(&mut store).unwrap());
    }
    let caught = cont.resume_throw(&mut store, exception, &[]);
    assert_eq!(returned(caught.unwrap()), 9);
}

/// A guest that catches what it is resumed with, and then waits in a host function.
fn waiting(engine: &Engine, alive: &Alive) -> (Guest, TypedCont<(), i32>) {
    let mut store = Store::new(engine, ());
    let alive = alive.clone();
    let wait = Func::wrap_async(&mut store, move |_: Caller<'_, ()>, (n,): (i32,)| {
        let alive: Counted = alive.one();
        Box::new(async move {
            Pending(3).await;
            drop(alive);
            2 * n
        })
    });
    let module = r#"(module
        (import "" "wait" (func $wait (param i32) (result i32)))
        (tag $yield (export "yield"))
        (tag $failed (export "failed") (param i32))
        (func (export "f") (result i32)
            (block $h (result i32)
                (try_table (catch $failed $h) (suspend $yield))
                (i32.const -1))
            (call $wait)))"#;
    let module = Module::new(engine, module).unwrap();
    let instance = Instance::new(&mut store, &module, &[wait.into()]).unwrap();
    let mut guest = Guest { store, instance };
    let tag = guest.tag("yield");
    let start = guest.cont("f");
    let Resumed::Suspended(it) = start.resume(&mut guest.store, &[], &[tag]).unwrap() else {
        panic!("it yields");
    };
    let cont = it.continuation.typed(&mut guest.store).unwrap();
    (guest, cont)
}

#[test]
fn who_catches_it_may_wait_and_go_on_on_another_thread() {
    fn send<F: Send>(future: F) -> F {
        future
    }
    for engine in engines() {
        let (mut guest, cont) = waiting(&engine, &Alive::default());
        let exception = guest.exception(21);
        {
            let typed = send(cont.resume_throw_async(&mut guest.store, exception, &[]));
            let mut future = Box::pin(typed);
            let result = loop {
                let polled = std::thread::scope(|scope| {
                    let future = future.as_mut();
                    scope.spawn(move || poll(future)).join().unwrap()
                });
                if let std::task::Poll::Ready(result) = polled {
                    break result;
                }
            };
            assert!(matches!(result, Ok(Resumed::Returned(42))), "{result:?}");
        }
        assert_eq!(guest.store.continuation_stacks(), 0);
        assert_eq!(engine.async_stacks().in_use, 0);

        let (mut guest, cont) = waiting(&engine, &Alive::default());
        let exception = guest.exception(4);
        let cont = cont.as_cont();
        let untyped = send(cont.resume_throw_async(&mut guest.store, exception, &[]));
        assert_eq!(returned(block_on(untyped).unwrap()), 8);
    }
}

#[test]
fn a_future_that_is_dropped_recycles_the_stacks_of_the_continuation() {
    let engine = &engines()[0];
    let alive = Alive::default();
    for polls in 0..3 {
        let (mut guest, cont) = waiting(engine, &alive);
        let kept = cont.as_cont().clone();
        let exception = guest.exception(1);
        {
            let mut future = pin!(cont.resume_throw_async(&mut guest.store, exception, &[]));
            for _ in 0..polls {
                assert!(poll(future.as_mut()).is_pending());
            }
            assert_eq!(alive.count(), usize::from(polls > 0));
        }
        assert_eq!(alive.count(), 0);
        // Before its first poll, nothing has happened.
        assert_eq!(kept.is_consumed(&mut guest.store).unwrap(), polls > 0);
        let left = u64::from(polls == 0);
        assert_eq!(guest.store.continuation_stacks() as u64, left);
        let mut again = Guest::new(engine);
        again.begin("twice", 1);
    }
    assert_eq!(engine.async_stacks().in_use, 0);
}
