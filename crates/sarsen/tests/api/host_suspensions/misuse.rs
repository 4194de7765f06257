//! Suspending where it is not possible, or with what does not fit.

use super::*;

#[test]
fn where_nothing_handles_the_tag_the_host_function_traps() {
    for engine in engines() {
        let mut guest = Guest::new(&engine, plain);
        // On the thread's own stack; on a continuation whose resumer handles something else.
        let error = guest.call("two", 1).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Trap::UnhandledTag));
        let frames = error.downcast_ref::<WasmBacktrace>().unwrap().frames();
        assert_eq!(frames.len(), 1);
        let cont = guest.cont("two");
        let error = cont
            .resume(&mut guest.store, 1, &[guest.tags.failed])
            .unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Trap::UnhandledTag));

        // In front of another host function, which is a barrier.
        let two = guest.func("two").typed::<i32, i32>(&guest.store).unwrap();
        let between = Func::wrap(
            &mut guest.store,
            move |mut caller: Caller<'_, u32>, n: i32| two.call(&mut caller, n),
        );
        let cont = cont_of(&mut guest.store, &between);
        let error = cont
            .resume(&mut guest.store, &[Val::I32(1)], &[guest.tags.wants])
            .unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Trap::UnhandledTag));

        // Called by the host itself; and as a continuation of its own, where it can suspend.
        let host = plain(&mut guest.store, guest.tags);
        let typed = host.typed::<i32, i32>(&guest.store).unwrap();
        let error = typed.call(&mut guest.store, 1).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Trap::UnhandledTag));
        let cont = TypedCont::new(&mut guest.store, &host).unwrap();
        let (wanted, rest) = guest.step(cont, 3).unwrap().wants();
        assert_eq!(wanted, 3);
        assert_eq!(guest.step(rest, 4).unwrap().returned(), 4);
        assert_eq!(guest.store.continuation_stacks(), 0);
    }
}

#[test]
fn what_does_not_fit_is_the_error_of_the_host_function() {
    let engine = &engines()[0];
    let fails_with = |make: MakeFunc| {
        let mut guest = Guest::new(engine, make);
        let cont = guest.cont("two");
        let error = guest.step(cont, 1).unwrap_err();
        assert_eq!(guest.store.continuation_stacks(), 0);
        error
    };
    let wrong_types: [MakeFunc; 6] = [
        // The number and types of the values.
        |store, tags| {
            Func::wrap(store, move |_: i32| -> Result<i32> {
                Err(Suspend::new(tags.wants, []).into())
            })
        },
        |store, tags| {
            Func::wrap(store, move |_: i32| -> Result<i32> {
                Err(Suspend::new(tags.wants, [Val::I64(1)]).into())
            })
        },
        // The tag's results are not the function's.
        |store, tags| {
            Func::wrap(store, move |_: i32| -> Result<i32> {
                Err(Suspend::new(tags.failed, [Val::I32(1)]).into())
            })
        },
        // A closure that takes, or gives, something else.
        |store, tags| {
            Func::wrap(store, move |_: i32| -> Result<i32> {
                let suspend = Suspend::new(tags.wants, [Val::I32(1)]);
                Err(suspend
                    .on_resume(|_: Caller<'_, u32>, (_,): (i64,)| 1i32)
                    .into())
            })
        },
        |store, tags| {
            Func::wrap(store, move |_: i32| -> Result<i32> {
                let suspend = Suspend::new(tags.wants, [Val::I32(1)]);
                Err(suspend
                    .on_resume(|_: Caller<'_, u32>, (_,): (i32,)| 1i64)
                    .into())
            })
        },
        // A closure for another store.
        |store, tags| {
            Func::wrap(store, move |_: i32| -> Result<i32> {
                let suspend = Suspend::new(tags.wants, [Val::I32(1)]);
                Err(suspend
                    .on_resume(|_: Caller<'_, String>, (n,): (i32,)| n)
                    .into())
            })
        },
    ];
    for make in wrong_types {
        let error = fails_with(make);
        assert!(error.is::<TypeError>(), "{error:?}");
    }
    let error = fails_with(|store, _| {
        let mut other = Store::new(store.engine(), 0);
        let ty = FuncType::new(other.engine(), [ValType::I32], [ValType::I32]);
        let foreign = Tag::new(&mut other, &TagType::new(ty)).unwrap();
        Func::wrap(store, move |n: i32| -> Result<i32> {
            Err(Suspend::new(foreign, [Val::I32(n)]).into())
        })
    });
    assert_eq!(error.downcast_ref(), Some(&OwnershipError::WrongStore));

    // Results that are wrong only when they are seen.
    let mut guest = Guest::new(engine, |store, tags| {
        let ty = FuncType::new(store.engine(), [ValType::I32], [ValType::I32]);
        Func::new(store, ty, move |_, args, _| {
            let suspend = Suspend::new(tags.wants, args.to_vec());
            let resumed = |_: Caller<'_, u32>, _: &[Val], results: &mut [Val]| {
                results[0] = Val::I64(1);
                Ok(())
            };
            Err(suspend.on_resume_dynamic(resumed).into())
        })
    });
    let (_, rest) = guest.begin("two", 1);
    assert!(guest.step(rest, 1).unwrap_err().is::<TypeError>());
}

#[test]
fn an_error_that_suspends_is_an_error_like_others_elsewhere() {
    let engine = Engine::new(&config()).unwrap();
    let mut guest = Guest::new(&engine, plain);
    let suspend = Suspend::new(guest.tags.wants, [Val::I32(1)]);
    let error = sarsen::Error::from(suspend);
    assert!(
        error.to_string().contains("suspended by the host"),
        "{error}"
    );
    // With a context, it still suspends.
    let tags = guest.tags;
    let func = Func::wrap(&mut guest.store, move |n: i32| -> Result<i32> {
        let error = sarsen::Error::from(Suspend::new(tags.wants, [Val::I32(n)]));
        Err(error.context("reading"))
    });
    let cont: Rooted<ContRef> = cont_of(&mut guest.store, &func);
    let cont = cont.typed(&mut guest.store).unwrap();
    assert_eq!(guest.step(cont, 6).unwrap().wants().0, 6);
}
