//! Continuations that the host makes, resumes and drops.

use sarsen::{
    Config, ConsumedError, ContRef, ContType, Engine, ExnRef, ExnRefPre, ExnType, FieldType, Func,
    FuncType, Global, GlobalType, HeapType, Instance, Module, Mutability, OwnedRooted,
    OwnershipError, Ref, RefType, Resumed, RootScope, Rooted, Store, StoreContextMut, StructRef,
    StructRefPre, StructType, Suspension, Table, TableType, Tag, ThrownException, Trap, TypeError,
    UnrootedError, Val, ValType, WasmBacktrace,
};
use std::num::NonZeroU32;

pub(super) fn config() -> Config {
    let mut config = Config::new();
    config.wasm_stack_switching(true);
    config
}

/// One as it is, and one that collects at every allocation.
pub(super) fn engines() -> [Engine; 2] {
    let mut zealous = config();
    zealous.gc_zeal(Some(NonZeroU32::MIN));
    [config(), zealous].map(|config| Engine::new(&config).unwrap())
}

const GUEST: &str = r#"(module $guest
    (type $f (func (param i32) (result i32))) (type $k (cont $f))
    (type $g (func (result i32))) (type $kg (cont $g))
    (type $obj (struct (field i32)))
    (tag $yield (export "yield") (param i32) (result i32))
    (tag $other (export "other"))
    (tag $failed (export "failed") (param i32))
    (tag $refs (export "swap") (param anyref v128) (result anyref v128))
    (table $t (export "table") 4 (ref null $kg))
    (global (export "global") (mut (ref null $kg)) (ref.null $kg))
    (elem declare func $inner)

    ;; Yields the parameter, then the sum of all answers; returns it.
    (func $twice (export "twice") (param $n i32) (result i32)
        (local.set $n (i32.add (local.get $n) (suspend $yield (local.get $n))))
        (i32.add (local.get $n) (suspend $yield (local.get $n))))
    (func (export "trap") (param i32) (result i32)
        (drop (suspend $yield (local.get 0)))
        unreachable)
    (func (export "throw") (param i32) (result i32)
        (throw $failed (suspend $yield (local.get 0))))
    (func (export "unhandled") (param i32) (result i32)
        (suspend $other) (local.get 0))
    ;; Gives back what an exception carries that it is resumed with.
    (func (export "catch") (param i32) (result i32)
        (block $h (result i32)
            (try_table (catch $failed $h) (drop (suspend $yield (local.get 0))))
            (i32.const -1)))
    (func $recurse (export "recurse") (param i32) (result i32)
        (i32.add (i32.const 1) (call $recurse (local.get 0))))
    (func (export "refs") (result anyref v128)
        (suspend $refs (struct.new $obj (i32.const 7)) (v128.const i64x2 1 2)))
    (func (export "field") (param anyref) (result i32)
        (struct.get $obj 0 (ref.cast (ref $obj) (local.get 0))))

    ;; Suspends from within a continuation of its own.
    (func $leaf (param i32) (result i32) (suspend $yield (local.get 0)))
    (func $inner (type $f) (i32.add (i32.const 1) (call $leaf (local.get 0))))
    (func $middle (param i32) (result i32)
        (block $h (result (ref $kg))
            (return (resume $k (on $other $h) (local.get 0) (cont.new $k (ref.func $inner)))))
        unreachable)
    (func (export "nested") (param i32) (result i32)
        (i32.add (i32.const 100) (call $middle (local.get 0))))

    ;; Resumes what the host has put into the table.
    (func (export "resume") (param i32) (result i32)
        (resume $kg (table.get $t (local.get 0)))))"#;

struct Guest {
    store: Store<()>,
    instance: Instance,
}

impl Guest {
    fn new(engine: &Engine) -> Guest {
        let module = Module::new(engine, GUEST).unwrap();
        let mut store = Store::new(engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        Guest { store, instance }
    }

    fn func(&mut self, name: &str) -> Func {
        self.instance.get_func(&mut self.store, name).unwrap()
    }

    fn tag(&mut self, name: &str) -> Tag {
        self.instance.get_tag(&mut self.store, name).unwrap()
    }

    fn cont(&mut self, name: &str) -> Rooted<ContRef> {
        let func = self.func(name);
        cont_of(&mut self.store, &func)
    }

    /// Begins `name` with `n`, which yields `n` first.
    fn begin(&mut self, name: &str, n: i32) -> Rooted<ContRef> {
        let tag = self.tag("yield");
        let cont = self.cont(name);
        let resumed = cont.resume(&mut self.store, &[Val::I32(n)], &[tag]);
        let (value, cont) = suspended(resumed.unwrap());
        assert_eq!(value, n);
        cont
    }

    fn resume(&mut self, cont: Rooted<ContRef>, n: i32) -> sarsen::Result<Resumed> {
        let tag = self.tag("yield");
        cont.resume(&mut self.store, &[Val::I32(n)], &[tag])
    }
}

pub(super) fn cont_of<T>(store: &mut Store<T>, func: &Func) -> Rooted<ContRef> {
    let ty = ContType::new(&func.ty(&mut *store)).unwrap();
    ContRef::new(store, &ty, func).unwrap()
}

fn suspended(resumed: Resumed) -> (i32, Rooted<ContRef>) {
    match resumed {
        Resumed::Suspended(it) => (it.payload[0].unwrap_i32(), it.continuation),
        other => panic!("it is not suspended: {other:?}"),
    }
}

fn returned(resumed: Resumed) -> i32 {
    match resumed {
        Resumed::Returned(results) => results[0].unwrap_i32(),
        other => panic!("it has not returned: {other:?}"),
    }
}

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
fn a_handle_ends_with_its_scope_unless_it_is_owned() {
    let mut guest = Guest::new(&engines()[1]);
    let func = guest.func("twice");
    let (lost, kept): (Rooted<ContRef>, OwnedRooted<ContRef>) = {
        let mut scope = RootScope::new(&mut guest.store);
        let ty = ContType::new(&func.ty(&scope)).unwrap();
        let lost = ContRef::new(&mut scope, &ty, &func).unwrap();
        let kept = lost.to_owned_rooted(&mut scope).unwrap();
        (lost, kept)
    };
    assert!(guest.resume(lost, 1).unwrap_err().is::<UnrootedError>());
    guest.store.gc(None).unwrap();
    let resumed = kept.resume(&mut guest.store, &[Val::I32(1)], &[]);
    assert_eq!(
        resumed.unwrap_err().downcast_ref(),
        Some(&Trap::UnhandledTag)
    );
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
fn an_exception_is_thrown_where_a_continuation_was_suspended() {
    for engine in engines() {
        let mut guest = Guest::new(&engine);
        let tag = guest.tag("failed");
        let ty = ExnType::from_tag_type(tag.ty(&guest.store)).unwrap();
        let allocator = ExnRefPre::new(&mut guest.store, ty);
        for (name, caught) in [("catch", true), ("twice", false)] {
            let cont = guest.begin(name, 1);
            let exception =
                ExnRef::new(&mut guest.store, &allocator, &tag, &[Val::I32(42)]).unwrap();
            let resumed = cont.resume_throw(&mut guest.store, exception, &[]);
            if caught {
                assert_eq!(returned(resumed.unwrap()), 42);
            } else {
                assert!(resumed.unwrap_err().is::<ThrownException>());
                let same = guest.store.take_pending_exception().unwrap();
                assert!(Rooted::ref_eq(&guest.store, &same, &exception).unwrap());
            }
            assert!(cont.is_consumed(&mut guest.store).unwrap());
        }
        // Nothing in one that has not begun can catch it.
        let fresh = guest.cont("catch");
        let exception = ExnRef::new(&mut guest.store, &allocator, &tag, &[Val::I32(1)]).unwrap();
        let error = fresh
            .resume_throw(&mut guest.store, exception, &[])
            .unwrap_err();
        assert!(error.is::<ThrownException>());
        assert!(fresh.is_consumed(&mut guest.store).unwrap());
        assert_eq!(guest.store.continuation_stacks(), 0);
    }
}

#[test]
fn references_and_vectors_go_in_and_out() {
    for engine in engines() {
        let mut guest = Guest::new(&engine);
        let tag = guest.tag("swap");
        let cont = guest.cont("refs");
        let Resumed::Suspended(Suspension {
            payload,
            continuation,
            ..
        }) = cont.resume(&mut guest.store, &[], &[tag]).unwrap()
        else {
            panic!("it suspends");
        };
        assert_eq!(payload[1].unwrap_v128().as_u128(), 2 << 64 | 1);
        guest.store.gc(None).unwrap();
        let Resumed::Returned(results) = continuation
            .resume(&mut guest.store, &payload, &[])
            .unwrap()
        else {
            panic!("it returns");
        };
        assert_eq!(results[1].unwrap_v128().as_u128(), 2 << 64 | 1);
        let field = guest.func("field");
        let mut seven = [Val::I32(0)];
        field
            .call(&mut guest.store, &results[..1], &mut seven)
            .unwrap();
        assert_eq!(seven[0].i32(), Some(7));
    }
}

#[test]
fn a_continuation_has_the_type_of_what_is_left_of_it() {
    let mut guest = Guest::new(&engines()[0]);
    let cont = guest.begin("twice", 1);
    let ty = cont.ty(&guest.store).unwrap();
    assert_eq!(
        ty.func_type().to_string(),
        "(func (param i32) (result i32))"
    );
    assert!(cont.matches_ty(&guest.store, &ty).unwrap());
    let value = Val::from(cont);
    let own = ValType::Ref(RefType::new(false, HeapType::ConcreteCont(ty)));
    assert_eq!(value.ty(&guest.store).unwrap().to_string(), own.to_string());
    assert!(value.matches_ty(&guest.store, &own).unwrap());
    assert!(value.matches_ty(&guest.store, &ValType::CONTREF).unwrap());
    assert!(
        !value
            .matches_ty(&guest.store, &ValType::NULLCONTREF)
            .unwrap()
    );
}

#[test]
fn tables_and_globals_take_continuations_of_their_type_only() {
    for engine in engines() {
        let mut guest = Guest::new(&engine);
        let four = Func::wrap(&mut guest.store, || 4i32);
        let right = cont_of(&mut guest.store, &four);
        let wrong = guest.cont("twice");
        let table = guest.instance.get_table(&mut guest.store, "table").unwrap();
        let global = guest
            .instance
            .get_global(&mut guest.store, "global")
            .unwrap();
        let refused = table
            .set(&mut guest.store, 0, Ref::from(wrong))
            .unwrap_err();
        assert!(refused.is::<TypeError>(), "{refused:?}");
        assert!(global.set(&mut guest.store, wrong.into()).is_err());
        table.set(&mut guest.store, 0, Ref::from(right)).unwrap();
        global.set(&mut guest.store, right.into()).unwrap();
        guest.store.gc(None).unwrap();
        let back = global.get(&mut guest.store);
        let back = *back.unwrap_contref().unwrap();
        assert!(Rooted::ref_eq(&guest.store, &back, &right).unwrap());
        let resume = guest.func("resume");
        let mut results = [Val::I32(0)];
        resume
            .call(&mut guest.store, &[Val::I32(0)], &mut results)
            .unwrap();
        assert_eq!(results[0].i32(), Some(4));
        let error = resume
            .call(&mut guest.store, &[Val::I32(0)], &mut results)
            .unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Trap::ContinuationConsumed));
        assert!(right.is_consumed(&mut guest.store).unwrap());

        // The host's own.
        let field = FieldType::new(Mutability::Var, ValType::CONTREF.into());
        let object = StructType::new(guest.store.engine(), [field]).unwrap();
        let object = StructRefPre::new(&mut guest.store, object);
        let object = StructRef::new(&mut guest.store, &object, &[wrong.into()]).unwrap();
        let kept = object.field(&mut guest.store, 0).unwrap();
        assert!(Rooted::ref_eq(&guest.store, kept.unwrap_contref().unwrap(), &wrong).unwrap());
        let ty = RefType::new(true, HeapType::Cont);
        let init = Ref::from(wrong);
        let own = Table::new(&mut guest.store, TableType::new(ty.clone(), 1, None), init).unwrap();
        let ty = GlobalType::new(ValType::Ref(ty), Mutability::Var);
        Global::new(&mut guest.store, ty, Val::null_cont_ref()).unwrap();
        let inside = own.get(&mut guest.store, 0).unwrap();
        let inside = *inside.unwrap_cont().unwrap();
        assert_eq!(suspended(guest.resume(inside, 6).unwrap()).0, 6);
    }
}

#[test]
fn stacks_come_back_of_what_is_discarded_or_forgotten_half_way() {
    let engine = &engines()[0];
    let mut guest = Guest::new(engine);
    let cont = guest.begin("nested", 1);
    assert_eq!(guest.store.continuation_stacks(), 2);
    cont.discard(&mut guest.store).unwrap();
    assert_eq!(guest.store.continuation_stacks(), 0);
    let fresh = guest.cont("twice");
    fresh.discard(&mut guest.store).unwrap();
    assert!(guest.resume(fresh, 1).unwrap_err().is::<ConsumedError>());

    let cont = guest
        .begin("nested", 1)
        .to_owned_rooted(&mut guest.store)
        .unwrap();
    let func = guest.func("nested");
    let tag = guest.tag("yield");
    {
        let mut scope = RootScope::new(&mut guest.store);
        let ty = ContType::new(&func.ty(&scope)).unwrap();
        for _ in 0..50 {
            let cont = ContRef::new(&mut scope, &ty, &func).unwrap();
            cont.resume(&mut scope, &[Val::I32(1)], &[tag]).unwrap();
        }
    }
    guest.store.gc(None).unwrap();
    // Every continuation of `begin` is rooted in the store.
    assert_eq!(guest.store.continuation_stacks(), 2);
    let resumed = cont
        .resume(&mut guest.store, &[Val::I32(5)], &[tag])
        .unwrap();
    assert_eq!(returned(resumed), 106);
    assert_eq!(guest.store.continuation_stacks(), 0);
    guest.begin("nested", 1);
    drop(guest);
    assert_eq!(engine.continuation_stacks().in_use, 0);
}

#[test]
fn very_many_handles_made_and_dropped_take_no_more_and_more() {
    let engine = &engines()[0];
    let mut guest = Guest::new(engine);
    let func = guest.func("twice");
    let tag = guest.tag("yield");
    let ty = ContType::new(&func.ty(&guest.store)).unwrap();
    let count = if cfg!(debug_assertions) {
        100_000
    } else {
        1_000_000
    };
    let mut kept = None;
    for i in 0..count {
        let mut scope = RootScope::new(&mut guest.store);
        let cont = ContRef::new(&mut scope, &ty, &func).unwrap();
        // A third each: never begun, forgotten half-way, discarded.
        if i % 3 > 0 {
            let resumed = cont.resume(&mut scope, &[Val::I32(i)], &[tag]).unwrap();
            let (value, cont) = suspended(resumed);
            assert_eq!(value, i);
            if i % 3 == 1 {
                kept = Some(cont.to_owned_rooted(&mut scope).unwrap());
            } else {
                cont.discard(&mut scope).unwrap();
            }
        }
    }
    drop(kept);
    let counts = engine.continuation_stacks();
    assert!(counts.in_use + counts.idle < 30_000, "{counts:?}");
    assert!(guest.store.gc_heap_capacity() < 64 << 20);
    guest.store.gc(None).unwrap();
    assert_eq!(guest.store.continuation_stacks(), 0);
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

#[test]
fn continuations_are_passed_to_typed_host_functions() {
    let mut guest = Guest::new(&engines()[0]);
    let take = Func::wrap(
        &mut guest.store,
        |mut caller: sarsen::Caller<'_, ()>,
         cont: Option<Rooted<ContRef>>|
         -> sarsen::Result<i32> {
            let store: StoreContextMut<'_, ()> = sarsen::AsContextMut::as_context_mut(&mut caller);
            let resumed = cont.unwrap().resume(store, &[], &[])?;
            Ok(returned(resumed))
        },
    );
    let three = Func::wrap(&mut guest.store, || 3i32);
    let cont = cont_of(&mut guest.store, &three);
    let take = take
        .typed::<Option<Rooted<ContRef>>, i32>(&guest.store)
        .unwrap();
    assert_eq!(take.call(&mut guest.store, Some(cont)).unwrap(), 3);
}
