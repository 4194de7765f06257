//! What becomes of a closure that nobody will call.

use super::*;

/// A guest whose host function keeps something while it is suspended.
fn counting(engine: &Engine, alive: &Alive) -> Guest {
    let mut guest = Guest::new(engine, plain);
    let (alive, tags) = (alive.clone(), guest.tags);
    let func = Func::wrap(&mut guest.store, move |n: i32| -> Result<i32> {
        let kept = alive.one();
        let resumed = move |_: Caller<'_, u32>, (n,): (i32,)| {
            let _kept = &kept;
            n
        };
        Err(Suspend::new(tags.wants, [Val::I32(n)])
            .on_resume(resumed)
            .into())
    });
    let swap = Func::wrap(&mut guest.store, |_: Option<Rooted<sarsen::AnyRef>>| {
        None::<Rooted<sarsen::AnyRef>>
    });
    let module = Module::new(engine, GUEST).unwrap();
    let (wants, failed) = (tags.wants.into(), tags.failed.into());
    let imports = [wants, tags.swap.into(), failed, func.into(), swap.into()];
    guest.instance = Instance::new(&mut guest.store, &module, &imports).unwrap();
    guest
}

#[test]
fn a_closure_is_dropped_when_nobody_can_resume_it() {
    for engine in engines() {
        let alive = Alive::default();
        let now = || alive.count();
        let mut guest = counting(&engine, &alive);

        let (_, rest) = guest.begin("catch", 1);
        assert_eq!(now(), 1);
        assert_eq!(guest.step(rest, 1).unwrap().returned(), -1);
        assert_eq!(now(), 0, "it was resumed");

        let (_, rest) = guest.begin("nested", 1);
        rest.as_cont().discard(&mut guest.store).unwrap();
        assert_eq!(now(), 0, "it was discarded");

        let (_, rest) = guest.begin("catch", 1);
        let exception = guest.exception(1);
        rest.as_cont()
            .resume_throw(&mut guest.store, exception, &[])
            .unwrap();
        assert_eq!(now(), 0, "it was resumed with an exception");

        {
            let func = guest.func("nested");
            let mut scope = RootScope::new(&mut guest.store);
            for _ in 0..10 {
                let cont = TypedCont::<i32, i32>::new(&mut scope, &func).unwrap();
                cont.resume(&mut scope, 1, &[guest.tags.wants]).unwrap();
            }
            assert_eq!(now(), 10);
        }
        guest.store.gc(None).unwrap();
        assert_eq!(now(), 0, "it was collected");
        assert_eq!(guest.store.continuation_stacks(), 0);

        // Also while their continuations are old, and when they are garbage to a minor collection.
        let (_, _rest) = guest.begin("two", 1);
        guest.store.gc(None).unwrap();
        guest.begin("nested", 1);
        assert_eq!(now(), 2);
        drop(guest);
        assert_eq!(now(), 0, "the store was dropped");
    }
}

#[test]
fn a_closure_that_panics_when_it_is_dropped_leaves_the_store_usable() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                panic!("bang");
            }
        }
    }
    let mut guest = Guest::new(&engines()[0], |store, tags| {
        Func::wrap(store, move |n: i32| -> Result<i32> {
            let bomb = Bomb;
            let resumed = move |_: Caller<'_, u32>, (n,): (i32,)| {
                let _bomb = &bomb;
                n
            };
            Err(Suspend::new(tags.wants, [Val::I32(n)])
                .on_resume(resumed)
                .into())
        })
    });
    let panics = |run: &mut dyn FnMut()| {
        let payload = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_err();
        assert_eq!(*payload.downcast::<&str>().unwrap(), "bang");
    };
    let (_, rest) = guest.begin("two", 1);
    panics(&mut || rest.as_cont().discard(&mut guest.store).unwrap());
    let (_, rest) = guest.begin("catch", 1);
    let exception = guest.exception(1);
    panics(&mut || {
        let _ = rest
            .as_cont()
            .resume_throw(&mut guest.store, exception, &[]);
    });
    drop(rest);
    {
        let func = guest.func("two");
        let mut scope = RootScope::new(&mut guest.store);
        let cont = TypedCont::<i32, i32>::new(&mut scope, &func).unwrap();
        cont.resume(&mut scope, 1, &[guest.tags.wants]).unwrap();
    }
    panics(&mut || guest.store.gc(None).unwrap());
    assert_eq!(guest.store.continuation_stacks(), 0);
    let (_, rest) = guest.begin("two", 1);
    drop(rest);
    panics(&mut || {
        drop(std::mem::replace(
            &mut guest,
            Guest::new(&engines()[0], plain),
        ))
    });
}
