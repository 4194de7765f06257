//! What stands on the stack meanwhile, references, and everything else that continuations can do.

use super::*;

#[test]
fn a_callers_registers_are_as_they_were_when_it_is_resumed_elsewhere() {
    for (make, twice) in [(plain as MakeFunc, 1), (doubling, 2)] {
        let mut guest = Guest::new(&engines()[0], make);
        let (_, first) = guest.begin("keeping", 1);
        let (_, second) = guest.begin("keeping", 1000);
        assert_eq!(guest.step(first, 5).unwrap().returned(), 56 + 5 * twice);
        assert_eq!(
            guest.step(second, 5).unwrap().returned(),
            56_000 + 5 * twice
        );
    }
}

#[test]
fn references_go_out_with_the_tag_and_come_back_as_results() {
    for engine in engines() {
        let mut guest = Guest::new(&engine, plain);
        let cont = guest.cont("objects");
        let resumed = cont.resume(&mut guest.store, 7, &[guest.tags.swap]);
        let Resumed::Suspended(Suspension {
            payload,
            continuation,
            ..
        }) = resumed.unwrap()
        else {
            panic!("it suspends");
        };
        let field = guest.func("field");
        let mut seen = [Val::I32(0)];
        field.call(&mut guest.store, &payload, &mut seen).unwrap();
        assert_eq!(seen[0].i32(), Some(7));
        guest.store.gc(None).unwrap();
        let object = guest.func("object");
        let mut given = [Val::I32(0)];
        object
            .call(&mut guest.store, &[Val::I32(3)], &mut given)
            .unwrap();
        let resumed = continuation.resume(&mut guest.store, &given, &[]);
        let Resumed::Returned(results) = resumed.unwrap() else {
            panic!("it returns");
        };
        assert_eq!(results[0].i32(), Some(703));
    }
}

#[test]
fn a_closure_keeps_what_it_owns_and_gets_references() {
    for engine in engines() {
        let mut guest = Guest::new(&engine, |store, tags| {
            Func::wrap(
                store,
                move |mut caller: Caller<'_, u32>, n: i32| -> Result<i32> {
                    let object = caller.get_export("object").unwrap().into_func().unwrap();
                    let object = object.typed::<i32, Option<Rooted<sarsen::AnyRef>>>(&caller)?;
                    let object = object.call(&mut caller, n)?.unwrap();
                    let kept: OwnedRooted<StructRef> = object
                        .unwrap_struct(&caller)?
                        .to_owned_rooted(&mut caller)?;
                    let resumed = move |mut caller: Caller<'_, u32>,
                                        (given,): (Option<Rooted<sarsen::AnyRef>>,)|
                          -> Result<i32> {
                        let given = given.unwrap().unwrap_struct(&caller)?;
                        let [a, b] = [kept.field(&mut caller, 0)?, given.field(&mut caller, 0)?];
                        Ok(10 * a.unwrap_i32() + b.unwrap_i32())
                    };
                    let payload = [Val::from(object)];
                    Err(Suspend::new(tags.swap, payload).on_resume(resumed).into())
                },
            )
        });
        let cont = guest.cont("keeping");
        let resumed = cont.resume(&mut guest.store, 4, &[guest.tags.swap]);
        let Resumed::Suspended(it) = resumed.unwrap() else {
            panic!("it suspends");
        };
        guest.store.gc(None).unwrap();
        let resumed = it.continuation.resume(&mut guest.store, &it.payload, &[]);
        let Resumed::Returned(results) = resumed.unwrap() else {
            panic!("it returns");
        };
        assert_eq!(results[0].i32(), Some(4 * 56 + 44));
    }
}

#[test]
fn the_backtrace_of_a_suspended_host_function_begins_where_it_was_called() {
    for engine in engines() {
        let mut guest = Guest::new(&engine, doubling);
        let (_, rest) = guest.begin("nested", 1);
        let backtrace = rest.as_cont().backtrace(&mut guest.store).unwrap();
        let names: Vec<_> = (backtrace.frames().iter())
            .map(|f| f.func_name().unwrap_or("-"))
            .collect();
        assert_eq!(names, ["two", "two_inside"]);
        // Looking does not touch it.
        assert_eq!(guest.step(rest, 1).unwrap().wants().0, 2);
    }
}

#[test]
fn arguments_can_be_bound_while_a_host_function_is_suspended() {
    for engine in engines() {
        for (make, result) in [(plain as MakeFunc, 60 + 56), (doubling, 120 + 56)] {
            let mut guest = Guest::new(&engine, make);
            let (_, rest) = guest.begin("keeping", 1);
            let bound = rest.as_cont().bind(&mut guest.store, &[Val::I32(60)]);
            let bound = bound.unwrap();
            assert!(rest.as_cont().is_consumed(&mut guest.store).unwrap());
            guest.store.gc(None).unwrap();
            let Resumed::Returned(results) = bound.resume(&mut guest.store, &[], &[]).unwrap()
            else {
                panic!("it returns");
            };
            assert_eq!(results[0].i32(), Some(result));
        }
    }
}

#[test]
fn another_continuation_switches_to_one_in_which_a_host_function_is_suspended() {
    let module = r#"(module
        (rec (type $f (func (param (ref null $k)) (result i32))) (type $k (cont $f)))
        (type $g (func (result i32))) (type $kg (cont $g))
        (import "" "swap" (func $swap (result (ref null $k))))
        (import "" "peer" (tag $peer (result i32)))
        (import "" "waits" (tag $waits (result (ref null $k))))
        (global $n (export "n") (mut i32) (i32.const 0))
        (elem declare func $first)
        ;; Waits in the host's function, until somebody switches here; then switches back.
        (func $first (export "first") (result i32)
            (local $other (ref null $k))
            (local.set $other (call $swap))
            (global.set $n (i32.const 5))
            (drop (switch $k $peer (local.get $other)))
            (i32.const 1))
        (func (export "second") (param (ref null $k)) (result i32)
            (drop (switch $k $peer (local.get 0)))
            (i32.add (global.get $n) (i32.const 10))))"#;
    for engine in engines() {
        let module = Module::new(&engine, module).unwrap();
        let mut store = Store::new(&engine, ());
        let import = |at: usize| module.imports().nth(at).unwrap().ty();
        let tag = |store: &mut Store<()>, at| Tag::new(store, import(at).tag().unwrap()).unwrap();
        let (peer, waits) = (tag(&mut store, 1), tag(&mut store, 2));
        let swap = Func::new(
            &mut store,
            import(0).func().unwrap().clone(),
            move |_, _, _| Err(Suspend::new(waits, []).into()),
        );
        let imports = [swap.into(), peer.into(), waits.into()];
        let instance = Instance::new(&mut store, &module, &imports).unwrap();
        let first = instance.get_func(&mut store, "first").unwrap();
        let second = instance.get_func(&mut store, "second").unwrap();
        let first = TypedCont::<(), i32>::new(&mut store, &first).unwrap();
        let Resumed::Suspended(it) = first.resume(&mut store, (), &[waits]).unwrap() else {
            panic!("it waits");
        };
        store.gc(None).unwrap();
        let HeapType::ConcreteCont(ty) = second
            .ty(&store)
            .param(0)
            .unwrap()
            .unwrap_ref()
            .heap_type()
            .clone()
        else {
            panic!("it takes a continuation");
        };
        // The type is recursive: the host says which one it is.
        let first = it.continuation.bind_to(&mut store, &ty, &[]).unwrap();
        let second = cont_of(&mut store, &second);
        let tags = [peer];
        let handlers = sarsen::Handlers::new().switch(&tags);
        let args = [Val::from(first)];
        let Resumed::Returned(results) = second.resume(&mut store, &args, handlers).unwrap() else {
            panic!("both have run");
        };
        assert_eq!(results[0].i32(), Some(15));
    }
}

#[test]
fn a_host_function_suspends_inside_of_asynchronous_calls() {
    for engine in engines() {
        let mut guest = Guest::new(&engine, doubling);
        let handle = guest
            .func("handle")
            .typed::<i32, i32>(&guest.store)
            .unwrap();
        let result = block_on(handle.call_async(&mut guest.store, 4));
        assert_eq!(result.unwrap(), 1_080_100);

        // An async function suspends when its future ends so.
        let mut guest = Guest::new(&engine, |store, tags| {
            Func::wrap_async(store, move |_, (n,): (i32,)| {
                Box::new(async move {
                    Pending(2).await;
                    let suspend = Suspend::new(tags.wants, [Val::I32(n)]);
                    let resumed = |_: Caller<'_, u32>, (n,): (i32,)| n + 1;
                    Err::<i32, _>(suspend.on_resume(resumed).into())
                })
            })
        });
        let handle = guest
            .func("handle")
            .typed::<i32, i32>(&guest.store)
            .unwrap();
        let result = block_on(handle.call_async(&mut guest.store, 4));
        assert_eq!(result.unwrap(), 1_041_051);
        // On the call's own stack, nothing handles it.
        let two = guest.func("two").typed::<i32, i32>(&guest.store).unwrap();
        let error = block_on(two.call_async(&mut guest.store, 1)).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Trap::UnhandledTag));
        assert_eq!(guest.store.continuation_stacks(), 0);
    }
}

#[test]
fn a_continuation_of_nothing_but_a_host_function_is_suspended_and_goes_on() {
    for engine in engines() {
        let mut guest = Guest::new(&engine, doubling);
        let tags = guest.tags;
        let func = doubling(&mut guest.store, tags);
        let begin = |guest: &mut Guest| {
            let cont = TypedCont::new(&mut guest.store, &func).unwrap();
            guest.step(cont, 3).unwrap().wants().1
        };
        let rest = begin(&mut guest);
        guest.store.gc(None).unwrap();
        let backtrace = rest.as_cont().backtrace(&mut guest.store).unwrap();
        assert!(backtrace.frames().is_empty());
        assert_eq!(guest.step(rest, 5).unwrap().returned(), 10);

        let rest = begin(&mut guest);
        let exception = guest.exception(1);
        let thrown = rest
            .as_cont()
            .resume_throw(&mut guest.store, exception, &[]);
        assert!(thrown.unwrap_err().is::<ThrownException>());
        assert!(guest.store.take_pending_exception().is_some());

        let rest = begin(&mut guest);
        rest.as_cont().discard(&mut guest.store).unwrap();
        assert_eq!(guest.store.continuation_stacks(), 0);
    }
}
