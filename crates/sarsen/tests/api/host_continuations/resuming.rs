//! Resuming continuations from the host, and everything that can come of it.

use super::*;

#[test]
fn a_continuation_is_resumed_step_by_step_until_it_returns() {
    for engine in engines() {
        let mut guest = Guest::new(&engine);
        let first = guest.begin("twice", 5);
        assert_eq!(guest.store.continuation_stacks(), 1);
        let (value, second) = suspended(guest.resume(first, 10).unwrap());
        assert_eq!(value, 15);
        guest.store.gc(None).unwrap();
        assert_eq!(returned(guest.resume(second, 100).unwrap()), 115);
        assert_eq!(guest.store.continuation_stacks(), 0);
    }
}

#[test]
fn which_of_several_tags_it_was_is_told_and_others_are_not_handled() {
    let mut guest = Guest::new(&engines()[0]);
    let tags = ["failed", "yield", "other"].map(|name| guest.tag(name));
    for (name, which) in [("twice", 1), ("unhandled", 2)] {
        let cont = guest.cont(name);
        let resumed = cont
            .resume(&mut guest.store, &[Val::I32(1)], &tags)
            .unwrap();
        let Resumed::Suspended(it) = resumed else {
            panic!("{resumed:?}");
        };
        assert!(Tag::eq(&it.tag, &tags[which], &guest.store));
    }
    let cont = guest.cont("unhandled");
    let error = guest.resume(cont, 1).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::UnhandledTag));
}

#[test]
fn a_continuation_can_be_used_once() {
    let mut guest = Guest::new(&engines()[0]);
    let fresh = guest.cont("twice");
    assert!(!fresh.is_consumed(&mut guest.store).unwrap());
    let next = guest.resume(fresh, 1).unwrap();
    let (_, next) = suspended(next);
    assert!(fresh.is_consumed(&mut guest.store).unwrap());
    assert!(guest.resume(fresh, 1).unwrap_err().is::<ConsumedError>());
    guest.resume(next, 1).unwrap();
    for error in [
        guest.resume(next, 1).unwrap_err(),
        next.discard(&mut guest.store).unwrap_err(),
        next.backtrace(&mut guest.store).unwrap_err(),
    ] {
        assert!(error.is::<ConsumedError>(), "{error:?}");
    }
}

#[test]
fn what_does_not_fit_is_an_error_and_does_not_consume() {
    let engine = &engines()[0];
    let mut guest = Guest::new(engine);
    let mut other = Guest::new(engine);
    let cont = guest.cont("twice");
    let foreign = other.tag("yield");
    let is_type = |result: sarsen::Result<Resumed>| {
        assert!(result.unwrap_err().is::<TypeError>());
    };
    is_type(cont.resume(&mut guest.store, &[], &[]));
    is_type(cont.resume(&mut guest.store, &[Val::I64(1)], &[]));
    for error in [
        cont.resume(&mut other.store, &[Val::I32(1)], &[])
            .unwrap_err(),
        cont.resume(&mut guest.store, &[Val::I32(1)], &[foreign])
            .unwrap_err(),
    ] {
        assert_eq!(error.downcast_ref(), Some(&OwnershipError::WrongStore));
    }
    assert_eq!(suspended(guest.resume(cont, 3).unwrap()).0, 3);

    let func = guest.func("twice");
    let wrong = ContType::new(&FuncType::new(engine, [], [])).unwrap();
    let error = ContRef::new(&mut guest.store, &wrong, &func).unwrap_err();
    assert!(error.is::<TypeError>(), "{error:?}");
    let right = ContType::new(&func.ty(&guest.store)).unwrap();
    let error = ContRef::new(&mut other.store, &right, &func).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&OwnershipError::WrongStore));
    let engine = Engine::new(&config()).unwrap();
    let alien = ContType::new(&FuncType::new(&engine, [ValType::I32], [ValType::I32])).unwrap();
    let error = ContRef::new(&mut guest.store, &alien, &func).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&OwnershipError::WrongEngine));
}

#[test]
fn traps_and_exceptions_come_out_of_it_with_a_backtrace_and_its_stack_goes() {
    for engine in engines() {
        let mut guest = Guest::new(&engine);
        let cont = guest.begin("trap", 1);
        let error = guest.resume(cont, 1).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Trap::Unreachable));
        assert_eq!(
            error
                .downcast_ref::<WasmBacktrace>()
                .unwrap()
                .frames()
                .len(),
            1
        );

        let cont = guest.begin("throw", 1);
        let error = guest.resume(cont, 77).unwrap_err();
        assert!(error.is::<ThrownException>());
        let exception = guest.store.take_pending_exception().unwrap();
        assert_eq!(
            exception.field(&mut guest.store, 0).unwrap().i32(),
            Some(77)
        );

        let cont = guest.cont("recurse");
        let error = guest.resume(cont, 1).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Trap::StackOverflow));
        assert_eq!(guest.store.continuation_stacks(), 0);
        // The store is as usable as before.
        guest.begin("twice", 9);
    }
}

#[test]
fn the_backtrace_of_a_suspended_continuation_goes_through_those_that_it_has_resumed() {
    for engine in engines() {
        let mut guest = Guest::new(&engine);
        let fresh = guest.cont("nested");
        assert!(
            fresh
                .backtrace(&mut guest.store)
                .unwrap()
                .frames()
                .is_empty()
        );
        let cont = guest.begin("nested", 1);
        let backtrace = cont.backtrace(&mut guest.store).unwrap();
        let names: Vec<_> = backtrace
            .frames()
            .iter()
            .map(|f| f.func_name().unwrap_or("-"))
            .collect();
        assert_eq!(names, ["leaf", "inner", "middle", "-"]);
        let text: Vec<String> = (backtrace.frames().iter())
            .map(|frame| {
                let text = frame.to_string();
                text.split_once(" - ").unwrap().1.to_owned()
            })
            .collect();
        assert_eq!(
            text,
            ["guest!leaf", "guest!inner", "guest!middle", "guest!nested"]
        );
        // Looking does not touch it.
        assert_eq!(returned(guest.resume(cont, 5).unwrap()), 106);
        assert_eq!(text.len(), backtrace.frames().len());
    }
}

#[test]
fn a_host_function_is_a_barrier_but_can_resume_continuations_itself() {
    for engine in engines() {
        let mut guest = Guest::new(&engine);
        let tag = guest.tag("yield");
        let twice = guest.func("twice");
        // Runs a continuation to its end inside of another.
        let inner = Func::wrap(
            &mut guest.store,
            move |mut caller: sarsen::Caller<'_, ()>, n: i32| -> sarsen::Result<i32> {
                let ty = ContType::new(&twice.ty(&caller))?;
                let mut cont = ContRef::new(&mut caller, &ty, &twice)?;
                let mut value = n;
                loop {
                    match cont.resume(&mut caller, &[Val::I32(value)], &[tag])? {
                        Resumed::Returned(results) => return Ok(results[0].unwrap_i32()),
                        suspension => (value, cont) = suspended(suspension),
                    }
                }
            },
        );
        let outer = cont_of(&mut guest.store, &inner);
        let resumed = outer
            .resume(&mut guest.store, &[Val::I32(1)], &[tag])
            .unwrap();
        assert_eq!(returned(resumed), 4);

        // What is not handled inside does not reach the host outside.
        let crossing = Func::wrap(
            &mut guest.store,
            move |mut caller: sarsen::Caller<'_, ()>, n: i32| -> sarsen::Result<i32> {
                let mut results = [Val::I32(0)];
                twice.call(&mut caller, &[Val::I32(n)], &mut results)?;
                Ok(results[0].unwrap_i32())
            },
        );
        let outer = cont_of(&mut guest.store, &crossing);
        let error = outer
            .resume(&mut guest.store, &[Val::I32(1)], &[tag])
            .unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Trap::UnhandledTag));
        assert_eq!(guest.store.continuation_stacks(), 0);
    }
}

#[test]
fn a_panic_inside_of_a_continuation_comes_out_and_leaves_the_store_usable() {
    let mut guest = Guest::new(&engines()[0]);
    let panics = Func::wrap(&mut guest.store, |n: i32| -> i32 { panic!("number {n}") });
    let cont = cont_of(&mut guest.store, &panics);
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = cont.resume(&mut guest.store, &[Val::I32(8)], &[]);
    }));
    let payload = caught.unwrap_err();
    assert_eq!(payload.downcast_ref::<String>().unwrap(), "number 8");
    assert_eq!(guest.store.continuation_stacks(), 0);
    guest.begin("twice", 2);
}
