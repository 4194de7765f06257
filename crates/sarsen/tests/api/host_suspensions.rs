//! Host functions that suspend the continuation that they are called on.

use crate::asynchronous::{Alive, Pending, block_on};
use crate::host_continuations::{config, cont_of, engines};
use sarsen::{
    AsContextMut, Caller, ContRef, Engine, ExnRef, ExnRefPre, ExnType, Func, FuncType, HeapType,
    Instance, Module, OwnedRooted, OwnershipError, Result, Resumed, RootScope, Rooted, Store,
    StructRef, Suspend, Suspension, Tag, TagType, ThrownException, Trap, TypeError, TypedCont, Val,
    ValType, WasmBacktrace,
};

const GUEST: &str = r#"(module $guest
    (type $f (func (param i32) (result i32))) (type $k (cont $f))
    (type $g (func (result i32))) (type $kg (cont $g))
    (type $obj (struct (field i32)))
    (import "host" "wants" (tag $wants (param i32) (result i32)))
    (import "host" "swap" (tag $swap (param anyref) (result anyref)))
    (import "host" "failed" (tag $failed (param i32)))
    (import "host" "f" (func $host (param i32) (result i32)))
    (import "host" "swap" (func $host_swap (param anyref) (result anyref)))
    (elem declare func $two $keeping $two_inside)
    (export "failed" (tag $failed))

    ;; Calls the host twice.
    (func $two (export "two") (param $n i32) (result i32)
        (i32.add
            (i32.mul (i32.const 1000) (call $host (local.get $n)))
            (call $host (i32.add (local.get $n) (i32.const 1)))))
    ;; The same within a continuation of its own, which handles something else.
    (func $two_inside (export "nested") (param $n i32) (result i32)
        (block $h (result i32 (ref $kg))
            (return (i32.add (i32.const 1000000)
                (resume $k (on $failed $h) (local.get $n) (cont.new $k (ref.func $two))))))
        unreachable)
    ;; Handles it in WebAssembly: each time, the host is given ten times what it wants.
    (func (export "handle") (param $n i32) (result i32)
        (local $k (ref $k)) (local $given i32)
        (local.set $k (cont.new $k (ref.func $two_inside)))
        (local.set $given (local.get $n))
        (loop $again (result i32)
            (block $h (result i32 (ref $k))
                (return (resume $k (on $wants $h) (local.get $given) (local.get $k))))
            (local.set $k)
            (local.set $given (i32.mul (i32.const 10)))
            (br $again)))
    ;; What is in registers that belong to a caller is there after the call.
    (func $keeping (export "keeping") (param $n i32) (result i32)
        (local $a i64) (local $b i64) (local $c i64) (local $d i64) (local $e i64) (local $f i64)
        (local.set $a (i64.extend_i32_u (i32.mul (local.get $n) (i32.const 3))))
        (local.set $b (i64.extend_i32_u (i32.mul (local.get $n) (i32.const 5))))
        (local.set $c (i64.extend_i32_u (i32.mul (local.get $n) (i32.const 7))))
        (local.set $d (i64.extend_i32_u (i32.mul (local.get $n) (i32.const 11))))
        (local.set $e (i64.extend_i32_u (i32.mul (local.get $n) (i32.const 13))))
        (local.set $f (i64.extend_i32_u (i32.mul (local.get $n) (i32.const 17))))
        (local.set $n (call $host (local.get $n)))
        (i32.add (local.get $n)
            (i32.wrap_i64 (i64.add (i64.add (local.get $a) (local.get $b))
                (i64.add (i64.add (local.get $c) (local.get $d))
                    (i64.add (local.get $e) (local.get $f)))))))
    ;; Gives back what an exception carries that comes out of the host's function.
    (func (export "catch") (param $n i32) (result i32)
        (block $h (result i32)
            (try_table (catch $failed $h) (drop (call $host (local.get $n))))
            (i32.const -1)))
    ;; Gives the host an object, and reads what comes back, and its own.
    (func (export "objects") (param $n i32) (result i32)
        (local $own (ref $obj))
        (local.set $own (struct.new $obj (local.get $n)))
        (i32.add
            (struct.get $obj 0 (ref.cast (ref $obj) (call $host_swap (local.get $own))))
            (i32.mul (i32.const 100) (struct.get $obj 0 (local.get $own)))))
    (func (export "object") (param i32) (result anyref) (struct.new $obj (local.get 0)))
    (func (export "field") (param anyref) (result i32)
        (struct.get $obj 0 (ref.cast (ref $obj) (local.get 0)))))"#;

/// Which functions of the host's a guest has.
type MakeFunc = fn(&mut Store<u32>, Tags) -> Func;

#[derive(Clone, Copy)]
struct Tags {
    wants: Tag,
    swap: Tag,
    failed: Tag,
}

struct Guest {
    store: Store<u32>,
    instance: Instance,
    tags: Tags,
}

impl Guest {
    fn new(engine: &Engine, make: MakeFunc) -> Guest {
        let module = Module::new(engine, GUEST).unwrap();
        let mut store = Store::new(engine, 0);
        let mut tag = |params: &[ValType], results: &[ValType]| {
            let ty = FuncType::new(engine, params.to_vec(), results.to_vec());
            Tag::new(&mut store, &TagType::new(ty)).unwrap()
        };
        let tags = Tags {
            wants: tag(&[ValType::I32], &[ValType::I32]),
            swap: tag(&[ValType::ANYREF], &[ValType::ANYREF]),
            failed: tag(&[ValType::I32], &[]),
        };
        let func = make(&mut store, tags);
        let ty = FuncType::new(engine, [ValType::ANYREF], [ValType::ANYREF]);
        let swap = Func::new(&mut store, ty, move |_, args, _| {
            Err(Suspend::new(tags.swap, args.to_vec()).into())
        });
        let (wants, failed) = (tags.wants.into(), tags.failed.into());
        let imports = [wants, tags.swap.into(), failed, func.into(), swap.into()];
        let instance = Instance::new(&mut store, &module, &imports).unwrap();
        Guest {
            store,
            instance,
            tags,
        }
    }

    fn func(&mut self, name: &str) -> Func {
        self.instance.get_func(&mut self.store, name).unwrap()
    }

    fn cont(&mut self, name: &str) -> TypedCont<i32, i32> {
        let func = self.func(name);
        TypedCont::new(&mut self.store, &func).unwrap()
    }

    /// Resumes with a number; what is wanted then.
    fn step(&mut self, cont: TypedCont<i32, i32>, n: i32) -> Result<Step> {
        let resumed = cont.resume(&mut self.store, n, &[self.tags.wants])?;
        Ok(match resumed {
            Resumed::Returned(result) => Step::Returned(result),
            Resumed::Suspended(it) => {
                let wanted = it.payload(&mut self.store)?;
                Step::Wants(wanted, it.continuation.typed(&mut self.store)?)
            }
        })
    }

    /// Runs `name` with `n` until the host's function suspends.
    fn begin(&mut self, name: &str, n: i32) -> (i32, TypedCont<i32, i32>) {
        let cont = self.cont(name);
        self.step(cont, n).unwrap().wants()
    }

    fn call(&mut self, name: &str, n: i32) -> Result<i32> {
        let func = self.func(name).typed::<i32, i32>(&self.store)?;
        func.call(&mut self.store, n)
    }

    /// An exception to resume with.
    fn exception(&mut self, n: i32) -> Rooted<ExnRef> {
        exception(&mut self.store, &self.tags.failed, n).unwrap()
    }
}

fn exception(
    mut store: impl AsContextMut<Data = u32>,
    tag: &Tag,
    n: i32,
) -> Result<Rooted<ExnRef>> {
    let ty = ExnType::from_tag_type(tag.ty(&store))?;
    let allocator = ExnRefPre::new(&mut store, ty);
    ExnRef::new(&mut store, &allocator, tag, &[Val::I32(n)])
}

#[derive(Debug)]
enum Step {
    Returned(i32),
    Wants(i32, TypedCont<i32, i32>),
}

impl Step {
    fn wants(self) -> (i32, TypedCont<i32, i32>) {
        match self {
            Step::Wants(wanted, rest) => (wanted, rest),
            Step::Returned(result) => panic!("it has returned {result}"),
        }
    }

    fn returned(self) -> i32 {
        match self {
            Step::Returned(result) => result,
            Step::Wants(wanted, _) => panic!("it wants {wanted}"),
        }
    }
}

/// Suspends with what it gets.
fn plain(store: &mut Store<u32>, tags: Tags) -> Func {
    Func::wrap(store, move |n: i32| -> Result<i32> {
        Err(Suspend::new(tags.wants, [Val::I32(n)]).into())
    })
}

/// Suspends with what it gets, and returns twice what it is resumed with; counts that in the store.
fn doubling(store: &mut Store<u32>, tags: Tags) -> Func {
    Func::wrap(store, move |n: i32| -> Result<i32> {
        Err(Suspend::new(tags.wants, [Val::I32(n)])
            .on_resume(|mut caller: Caller<'_, u32>, (given,): (i32,)| {
                *caller.data_mut() += 1;
                2 * given
            })
            .into())
    })
}

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
