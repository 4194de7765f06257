//! Continuations that are resumed as futures.

use super::*;
use crate::asynchronous::{Alive, Pending, block_on, poll};
use sarsen::{Caller, TypedCont};
use std::pin::pin;

/// A guest, and a continuation of a host function that is pending so many times before it doubles its argument.
fn waiting(engine: &Engine, times: u32, alive: &Alive) -> (Guest, TypedCont<i32, i32>) {
    let mut guest = Guest::new(engine);
    let alive = alive.clone();
    let wait = Func::wrap_async(&mut guest.store, move |_: Caller<'_, ()>, (n,): (i32,)| {
        let alive = alive.one();
        Box::new(async move {
            Pending(times).await;
            drop(alive);
            2 * n
        })
    });
    let cont = TypedCont::new(&mut guest.store, &wait).unwrap();
    (guest, cont)
}

#[test]
fn a_continuation_waits_inside_of_a_future() {
    for engine in engines() {
        for times in [0, 1, 5] {
            let (mut guest, cont) = waiting(&engine, times, &Alive::default());
            match block_on(cont.resume_async(&mut guest.store, 21, &[])).unwrap() {
                Resumed::Returned(result) => assert_eq!(result, 42),
                other => panic!("{other:?}"),
            }
            assert_eq!(guest.store.continuation_stacks(), 0);
            assert_eq!(engine.async_stacks().in_use, 0);
        }
    }
}

#[test]
fn suspensions_results_traps_and_exceptions_come_out_of_the_future() {
    for engine in engines() {
        let mut guest = Guest::new(&engine);
        let tag = guest.tag("yield");
        let cont = guest.cont("twice");
        let mut step = block_on(cont.resume_async(&mut guest.store, &[Val::I32(5)], &[tag]));
        for (given, expected) in [(10, 5), (100, 15)] {
            let (value, rest) = suspended(step.unwrap());
            assert_eq!(value, expected);
            guest.store.gc(None).unwrap();
            step = block_on(rest.resume_async(&mut guest.store, &[Val::I32(given)], &[tag]));
        }
        assert_eq!(returned(step.unwrap()), 115);

        for (name, trap) in [
            ("trap", Trap::Unreachable),
            ("unhandled", Trap::UnhandledTag),
            ("recurse", Trap::StackOverflow),
        ] {
            let cont = guest.cont(name);
            let mut step = block_on(cont.resume_async(&mut guest.store, &[Val::I32(5)], &[tag]));
            if let Ok(Resumed::Suspended(it)) = step {
                let rest = it.continuation;
                step = block_on(rest.resume_async(&mut guest.store, &[Val::I32(1)], &[tag]));
            }
            let error = step.unwrap_err();
            assert_eq!(error.downcast_ref(), Some(&trap));
            assert!(error.downcast_ref::<WasmBacktrace>().is_some());
        }
        let rest = guest.begin("throw", 1);
        let thrown = block_on(rest.resume_async(&mut guest.store, &[Val::I32(1)], &[tag]));
        let error = thrown.unwrap_err();
        assert!(
            error
                .downcast_ref::<ThrownException>()
                .unwrap()
                .is_of(&guest.store)
        );
        assert!(guest.store.take_pending_exception().is_some());
        assert_eq!(guest.store.continuation_stacks(), 0);
        assert_eq!(engine.async_stacks().in_use, 0);
    }
}

#[test]
fn a_future_that_is_dropped_recycles_the_stacks_of_the_continuation() {
    let engine = &engines()[0];
    let alive = Alive::default();
    // Before its first poll, nothing has happened.
    let (mut guest, cont) = waiting(engine, 3, &alive);
    drop(
        cont.as_cont()
            .resume_async(&mut guest.store, &[Val::I32(1)], &[]),
    );
    assert!(!cont.as_cont().is_consumed(&mut guest.store).unwrap());
    for polls in 1..3 {
        let (mut guest, cont) = waiting(engine, 3, &alive);
        let kept = cont.as_cont().clone();
        {
            let mut future = pin!(cont.resume_async(&mut guest.store, 1, &[]));
            for _ in 0..polls {
                assert!(poll(future.as_mut()).is_pending());
            }
            assert_eq!(alive.count(), 1);
        }
        assert_eq!(alive.count(), 0);
        assert!(kept.is_consumed(&mut guest.store).unwrap());
        assert_eq!(guest.store.continuation_stacks(), 0);
        guest.begin("twice", 1);
    }
    assert_eq!(engine.async_stacks().in_use, 0);
}

#[test]
fn what_is_wrong_is_known_before_the_continuation_is_consumed() {
    let engine = &engines()[0];
    let mut guest = Guest::new(engine);
    let cont = guest.cont("twice");
    let error = block_on(cont.resume_async(&mut guest.store, &[], &[])).unwrap_err();
    assert!(error.is::<TypeError>());
    let mut config = config();
    config.max_continuation_stacks(0);
    let mut guest = Guest::new(&Engine::new(&config).unwrap());
    let cont = guest.cont("twice");
    let error = block_on(cont.resume_async(&mut guest.store, &[Val::I32(1)], &[])).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::OutOfStacks));
    assert!(!cont.is_consumed(&mut guest.store).unwrap());
}

#[test]
fn the_future_can_be_sent_and_polled_on_other_threads() {
    fn send<F: Send>(future: F) -> F {
        future
    }
    let engine = &engines()[0];
    let (mut guest, cont) = waiting(engine, 4, &Alive::default());
    let mut future = Box::pin(send(cont.resume_async(&mut guest.store, 4, &[])));
    let result = loop {
        let polled = std::thread::scope(|scope| {
            let future = future.as_mut();
            scope.spawn(move || poll(future)).join().unwrap()
        });
        if let std::task::Poll::Ready(result) = polled {
            break result;
        }
    };
    assert!(matches!(result, Ok(Resumed::Returned(8))), "{result:?}");
}
