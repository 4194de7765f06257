//! What happens when the continuation is resumed.

use super::*;

#[test]
fn what_a_continuation_is_resumed_with_are_the_results_of_the_host_function() {
    for engine in engines() {
        for name in ["two", "nested"] {
            let mut guest = Guest::new(&engine, plain);
            let (wanted, rest) = guest.begin(name, 5);
            assert_eq!(wanted, 5);
            guest.store.gc(None).unwrap();
            let (wanted, rest) = guest.step(rest, 7).unwrap().wants();
            assert_eq!(wanted, 6);
            let result = guest.step(rest, 8).unwrap().returned();
            assert_eq!(result % 1_000_000, 7008);
            assert_eq!(guest.store.continuation_stacks(), 0);
        }
    }
}

#[test]
fn a_closure_makes_the_results_of_what_it_is_resumed_with() {
    for engine in engines() {
        let mut guest = Guest::new(&engine, doubling);
        let (_, rest) = guest.begin("nested", 5);
        let (_, rest) = guest.step(rest, 7).unwrap().wants();
        assert_eq!(guest.step(rest, 8).unwrap().returned(), 1_014_016);
        assert_eq!(*guest.store.data(), 2);

        let mut guest = Guest::new(&engine, |store, tags| {
            let ty = FuncType::new(store.engine(), [ValType::I32], [ValType::I32]);
            Func::new(store, ty, move |_, args, _| {
                let suspend = Suspend::new(tags.wants, args.to_vec());
                let resumed = |mut caller: Caller<'_, u32>, args: &[Val], results: &mut [Val]| {
                    *caller.data_mut() += 1;
                    results[0] = Val::I32(args[0].unwrap_i32() + 3);
                    Ok(())
                };
                Err(suspend.on_resume_dynamic(resumed).into())
            })
        });
        let (_, rest) = guest.begin("two", 5);
        let (_, rest) = guest.step(rest, 7).unwrap().wants();
        assert_eq!(guest.step(rest, 8).unwrap().returned(), 10_011);
        assert_eq!(*guest.store.data(), 2);
    }
}

#[test]
fn webassembly_handles_the_suspension_of_a_host_function() {
    for engine in engines() {
        let mut guest = Guest::new(&engine, plain);
        assert_eq!(guest.call("handle", 4).unwrap(), 1_040_050);
        let mut guest = Guest::new(&engine, doubling);
        assert_eq!(guest.call("handle", 4).unwrap(), 1_080_100);
        assert_eq!(guest.store.continuation_stacks(), 0);
    }
}

#[test]
fn a_closure_may_suspend_once_more_and_call_webassembly() {
    /// Wants so many numbers more, and gives their sum.
    fn gather(tags: Tags, count: i32, sum: i32) -> Suspend {
        Suspend::new(tags.wants, [Val::I32(count)]).on_resume(
            move |mut caller: Caller<'_, u32>, (given,): (i32,)| -> Result<i32> {
                // Another continuation, while this one is on its way back.
                let add = Func::wrap(caller.as_context_mut(), |a: i32, b: i32| a + b);
                let add = TypedCont::<(i32, i32), i32>::new(&mut caller, &add)?;
                let Resumed::Returned(sum) = add.resume(&mut caller, (sum, given), &[])? else {
                    panic!("it only adds");
                };
                match count {
                    1 => Ok(sum),
                    more => Err(gather(tags, more - 1, sum).into()),
                }
            },
        )
    }
    for engine in engines() {
        let mut guest = Guest::new(&engine, |store, tags| {
            Func::wrap(store, move |n: i32| -> Result<i32> {
                Err(gather(tags, n, 0).into())
            })
        });
        let (mut wanted, mut rest) = guest.begin("catch", 3);
        for (given, expected) in [(10, 2), (20, 1)] {
            guest.store.gc(None).unwrap();
            (wanted, rest) = guest.step(rest, given).unwrap().wants();
            assert_eq!(wanted, expected);
        }
        assert_eq!(guest.step(rest, 30).unwrap().returned(), -1);
        assert_eq!(wanted, 1);
    }
}

#[test]
fn a_closure_may_fail_throw_or_panic() {
    fn failing(store: &mut Store<u32>, tags: Tags) -> Func {
        Func::wrap(store, move |n: i32| -> Result<i32> {
            let suspend = Suspend::new(tags.wants, [Val::I32(n)]);
            let resumed = move |mut caller: Caller<'_, u32>, (how,): (i32,)| -> Result<i32> {
                match how {
                    0 => sarsen::bail!("no"),
                    1 => {
                        let exception = exception(&mut caller, &tags.failed, 44)?;
                        caller.as_context_mut().throw(exception)
                    }
                    _ => panic!("never"),
                }
            };
            Err(suspend.on_resume(resumed).into())
        })
    }
    for engine in engines() {
        let mut guest = Guest::new(&engine, failing);
        let (_, rest) = guest.begin("catch", 1);
        let error = guest.step(rest, 0).unwrap_err();
        assert_eq!(error.root_cause().to_string(), "no");
        let backtrace = error.downcast_ref::<WasmBacktrace>().unwrap();
        assert_eq!(backtrace.frames().len(), 1);

        let (_, rest) = guest.begin("catch", 1);
        assert_eq!(guest.step(rest, 1).unwrap().returned(), 44);

        let (_, rest) = guest.begin("nested", 1);
        let error = guest.step(rest, 1).unwrap_err();
        assert!(error.is::<ThrownException>());
        assert!(guest.store.take_pending_exception().is_some());

        let (_, rest) = guest.begin("nested", 1);
        let panics = std::panic::AssertUnwindSafe(|| drop(guest.step(rest, 2)));
        let payload = std::panic::catch_unwind(panics).unwrap_err();
        assert_eq!(*payload.downcast::<&str>().unwrap(), "never");
        assert_eq!(guest.store.continuation_stacks(), 0);
        guest.begin("two", 2);
    }
}

#[test]
fn an_exception_that_it_is_resumed_with_is_thrown_where_the_host_function_was_called() {
    for engine in engines() {
        for make in [plain as MakeFunc, doubling] {
            let mut guest = Guest::new(&engine, make);
            let (_, rest) = guest.begin("catch", 1);
            let exception = guest.exception(91);
            let resumed = rest
                .as_cont()
                .resume_throw(&mut guest.store, exception, &[]);
            let Resumed::Returned(results) = resumed.unwrap() else {
                panic!("it catches");
            };
            assert_eq!(results[0].i32(), Some(91));

            let (_, rest) = guest.begin("nested", 1);
            let resumed = rest
                .as_cont()
                .resume_throw(&mut guest.store, exception, &[]);
            let error = resumed.unwrap_err();
            assert!(error.is::<ThrownException>());
            let frames = error.downcast_ref::<WasmBacktrace>().unwrap().frames();
            assert_eq!(frames.len(), 2, "{frames:?}");
            assert_eq!(*guest.store.data(), 0, "nothing was resumed");
        }
    }
}
