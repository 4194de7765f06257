//! Exceptions between the host and the guest: thrown by either, caught by either, passed through both.

use crate::gc::zealous;
use crate::{instance, instance_in};
use sarsen::{
    AsContextMut, Caller, Config, Engine, ExnRef, ExnRefPre, ExnType, Extern, ExternRef, Func,
    FuncType, GcHeapOutOfMemory, Global, GlobalType, Instance, Module, Mutability, Ref, Rooted,
    Store, Tag, TagType, ThrownException, Trap, V128, Val, ValType, WasmBacktrace,
};

fn tag(store: &mut Store<()>, params: &[ValType]) -> Tag {
    let ty = FuncType::new(store.engine(), params.iter().cloned(), []);
    Tag::new(store, &TagType::new(ty)).unwrap()
}

fn exception(
    mut store: impl AsContextMut,
    tag: Tag,
    fields: &[Val],
) -> sarsen::Result<Rooted<ExnRef>> {
    let ty = ExnType::from_tag_type(tag.ty(&store))?;
    let allocator = ExnRefPre::new(&mut store, ty);
    ExnRef::new(&mut store, &allocator, &tag, fields)
}

fn names(error: &sarsen::Error) -> Vec<String> {
    let backtrace = error.downcast_ref::<WasmBacktrace>().expect("a backtrace");
    let name = |frame: &sarsen::FrameInfo| frame.func_name().unwrap_or("?").to_owned();
    backtrace.frames().iter().map(name).collect()
}

#[test]
fn an_uncaught_exception_has_its_tag_its_fields_and_where_it_was_thrown() {
    let (mut store, instance) = instance(
        r#"(module
            (tag $e (export "e") (param i32 f64))
            (func $inner (throw $e (i32.const 5) (f64.const 0.5)))
            (func $outer (export "f") (call $inner)))"#,
    );
    let f = instance.get_typed_func::<(), ()>(&mut store, "f").unwrap();
    let error = f.call(&mut store, ()).unwrap_err();
    assert!(error.is::<ThrownException>());
    assert!(error.downcast_ref::<Trap>().is_none());
    assert_eq!(names(&error), ["inner", "outer"]);
    assert!(store.has_pending_exception());
    let exception = store.take_pending_exception().unwrap();
    assert!(!store.has_pending_exception());
    assert!(store.take_pending_exception().is_none());
    let tag = instance.get_tag(&mut store, "e").unwrap();
    assert!(Tag::eq(&exception.tag(&mut store).unwrap(), &tag, &store));
    let fields: Vec<Val> = exception.fields(&mut store).unwrap().collect();
    assert!(
        matches!(fields[..], [Val::I32(5), Val::F64(_)]),
        "{fields:?}"
    );
    assert!(exception.field(&mut store, 2).is_err());
    let ty = exception.ty(&mut store).unwrap();
    assert_eq!(ty.fields().len(), 2);
    // The store is as good as before.
    assert!(f.call(&mut store, ()).is_err());
}

#[test]
fn a_host_function_throws_what_the_guest_catches() {
    for engine in [Engine::default(), zealous()] {
        let module = Module::new(
            &engine,
            r#"(module
                (tag $e (import "" "e") (param externref i64))
                (func $f (import "" "f") (param i64))
                (func (export "run") (param i64) (result externref i64)
                    (block $h (result externref i64)
                        (try_table (catch $e $h) (call $f (local.get 0)))
                        (unreachable))))"#,
        )
        .unwrap();
        let mut store = Store::new(&engine, ());
        let e = tag(&mut store, &[ValType::EXTERNREF, ValType::I64]);
        let f = Func::wrap(
            &mut store,
            move |mut caller: Caller<'_, ()>, n: i64| -> sarsen::Result<()> {
                let data = ExternRef::new(&mut caller, format!("data {n}"))?;
                let fields = [Val::ExternRef(Some(data)), Val::I64(n + 1)];
                let thrown = exception(&mut caller, e, &fields)?;
                caller.as_context_mut().throw(thrown)
            },
        );
        let instance = Instance::new(&mut store, &module, &[e.into(), f.into()]).unwrap();
        let run = instance.get_func(&mut store, "run").unwrap();
        for n in 0..20 {
            let mut results = [Val::null_extern_ref(), Val::I64(0)];
            run.call(&mut store, &[Val::I64(n)], &mut results).unwrap();
            assert_eq!(results[1].i64(), Some(n + 1));
            let data = results[0].extern_ref().unwrap().unwrap();
            let data = data.data(&store).unwrap().unwrap();
            assert_eq!(data.downcast_ref::<String>().unwrap(), &format!("data {n}"));
        }
        assert!(!store.has_pending_exception());
    }
}

/// A guest that calls a host function which calls the guest again, with handlers around both.
const NESTED: &str = r#"(module
    (tag $e (export "e") (param i32))
    (func $host (import "" "host"))
    (func $thrower (export "thrower") (throw $e (i32.const 42)))
    (func $catcher (export "catcher") (result i32)
        (block $h (result i32)
            (try_table (catch $e $h) (call $host))
            (i32.const -1)))
    (func $passer (export "passer") (call $host)))"#;

fn nested(
    host: impl Fn(Caller<'_, ()>, Func) -> sarsen::Result<()> + Send + Sync + 'static,
) -> (Store<()>, Instance) {
    let engine = Engine::default();
    let module = Module::new(&engine, NESTED).unwrap();
    let mut store = Store::new(&engine, ());
    let host = Func::wrap(
        &mut store,
        move |mut caller: Caller<'_, ()>| -> sarsen::Result<()> {
            let thrower = caller.get_export("thrower").and_then(Extern::into_func);
            host(caller, thrower.unwrap())
        },
    );
    let instance = Instance::new(&mut store, &module, &[host.into()]).unwrap();
    (store, instance)
}

#[test]
fn an_exception_passes_through_a_host_function_that_returns_it() {
    let (mut store, instance) = nested(|mut caller, thrower| {
        let error = thrower.call(&mut caller, &[], &mut []).unwrap_err();
        assert!(error.is::<ThrownException>());
        assert!(caller.as_context_mut().has_pending_exception());
        Err(error.context("through the host"))
    });
    let catcher = instance
        .get_typed_func::<(), i32>(&mut store, "catcher")
        .unwrap();
    assert_eq!(catcher.call(&mut store, ()).unwrap(), 42);
    assert!(!store.has_pending_exception());

    let passer = instance
        .get_typed_func::<(), ()>(&mut store, "passer")
        .unwrap();
    let error = passer.call(&mut store, ()).unwrap_err();
    // It is the error of the innermost throw, with what the host added.
    assert!(error.is::<ThrownException>());
    assert!(
        format!("{error:?}").contains("through the host"),
        "{error:?}"
    );
    assert_eq!(names(&error), ["thrower", "passer"]);
    let exception = store.take_pending_exception().unwrap();
    assert_eq!(exception.field(&mut store, 0).unwrap().i32(), Some(42));
}

#[test]
fn a_host_function_catches_by_taking_the_exception() {
    let (mut store, instance) = nested(|mut caller, thrower| {
        thrower.call(&mut caller, &[], &mut []).unwrap_err();
        let exception = caller.as_context_mut().take_pending_exception().unwrap();
        assert_eq!(exception.field(&mut caller, 0)?.i32(), Some(42));
        Ok(())
    });
    let catcher = instance
        .get_typed_func::<(), i32>(&mut store, "catcher")
        .unwrap();
    assert_eq!(catcher.call(&mut store, ()).unwrap(), -1);
}

#[test]
fn the_same_exception_is_thrown_again() {
    let (mut store, instance) = nested(|mut caller, thrower| {
        thrower.call(&mut caller, &[], &mut []).unwrap_err();
        let first = caller.as_context_mut().take_pending_exception().unwrap();
        let kept = first.to_owned_rooted(&mut caller)?;
        caller.as_context_mut().gc(None)?;
        let again = kept.to_rooted(&mut caller);
        assert!(Rooted::ref_eq(&caller, &first, &again)?);
        caller.as_context_mut().throw(again)
    });
    let catcher = instance
        .get_typed_func::<(), i32>(&mut store, "catcher")
        .unwrap();
    assert_eq!(catcher.call(&mut store, ()).unwrap(), 42);
}

#[test]
fn another_error_is_not_caught_even_while_an_exception_is_pending() {
    let (mut store, instance) = nested(|mut caller, thrower| {
        thrower.call(&mut caller, &[], &mut []).unwrap_err();
        Err(sarsen::format_err!("something else"))
    });
    let catcher = instance
        .get_typed_func::<(), i32>(&mut store, "catcher")
        .unwrap();
    let error = catcher.call(&mut store, ()).unwrap_err();
    assert!(format!("{error:?}").contains("something else"));
    assert!(!error.is::<ThrownException>());

    // Nor is one that was taken.
    let (mut store, instance) = nested(|mut caller, thrower| {
        let error = thrower.call(&mut caller, &[], &mut []).unwrap_err();
        caller.as_context_mut().take_pending_exception().unwrap();
        Err(error)
    });
    let catcher = instance
        .get_typed_func::<(), i32>(&mut store, "catcher")
        .unwrap();
    let error = catcher.call(&mut store, ()).unwrap_err();
    assert!(error.is::<ThrownException>());
    assert!(store.take_pending_exception().is_none());
}

#[test]
fn an_exception_of_another_store_is_not_thrown() {
    let (mut store, instance) = nested(|mut caller, thrower| {
        let (mut other, instance) = nested(|_, _| Ok(()));
        let theirs = instance.get_func(&mut other, "thrower").unwrap();
        let error = theirs.call(&mut other, &[], &mut []).unwrap_err();
        // Both stores have one that is pending.
        thrower.call(&mut caller, &[], &mut []).unwrap_err();
        let thrown: &ThrownException = error.downcast_ref().unwrap();
        assert!(thrown.is_of(&other) && !thrown.is_of(&caller));
        Err(error)
    });
    let catcher = instance
        .get_typed_func::<(), i32>(&mut store, "catcher")
        .unwrap();
    let error = catcher.call(&mut store, ()).unwrap_err();
    assert!(
        !error
            .downcast_ref::<ThrownException>()
            .unwrap()
            .is_of(&store)
    );
    assert!(store.has_pending_exception());
}

#[test]
fn a_panic_between_is_no_exception() {
    let (mut store, instance) = nested(|mut caller, thrower| {
        thrower.call(&mut caller, &[], &mut []).unwrap_err();
        panic!("in between");
    });
    let catcher = instance
        .get_typed_func::<(), i32>(&mut store, "catcher")
        .unwrap();
    let call = std::panic::AssertUnwindSafe(|| catcher.call(&mut store, ()));
    let payload = std::panic::catch_unwind(call).unwrap_err();
    assert_eq!(*payload.downcast::<&str>().unwrap(), "in between");
    let thrower = instance
        .get_typed_func::<(), ()>(&mut store, "thrower")
        .unwrap();
    assert!(
        thrower
            .call(&mut store, ())
            .unwrap_err()
            .is::<ThrownException>()
    );
}

#[test]
fn a_trap_below_a_host_function_is_caught_by_nobody() {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module
            (func $host (import "" "host"))
            (func (export "trap") (unreachable))
            (func (export "run") (block $h (try_table (catch_all $h) (call $host)))))"#,
    )
    .unwrap();
    let mut store = Store::new(&engine, ());
    let host = Func::wrap(&mut store, |mut caller: Caller<'_, ()>| {
        let trap = caller
            .get_export("trap")
            .and_then(Extern::into_func)
            .unwrap();
        trap.call(&mut caller, &[], &mut [])
    });
    let instance = Instance::new(&mut store, &module, &[host.into()]).unwrap();
    let run = instance
        .get_typed_func::<(), ()>(&mut store, "run")
        .unwrap();
    let error = run.call(&mut store, ()).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::Unreachable));
}

#[test]
fn tags_of_another_type_do_not_link() {
    let engine = Engine::default();
    let module = Module::new(&engine, r#"(module (tag (import "" "e") (param i32)))"#).unwrap();
    let mut store = Store::new(&engine, ());
    let other = tag(&mut store, &[ValType::I64]);
    let error = Instance::new(&mut store, &module, &[other.into()]).unwrap_err();
    assert!(
        error.to_string().contains("incompatible import type"),
        "{error}"
    );
    let right = tag(&mut store, &[ValType::I32]);
    Instance::new(&mut store, &module, &[right.into()]).unwrap();
}

#[test]
fn the_host_makes_exceptions_with_fields_of_every_type() {
    let engine = zealous();
    let mut store = Store::new(&engine, ());
    let types = [
        ValType::I32,
        ValType::V128,
        ValType::FUNCREF,
        ValType::EXTERNREF,
        ValType::EXNREF,
        ValType::F32,
        ValType::FUNCREF,
        ValType::EXTERNREF,
    ];
    let outer = tag(&mut store, &types);
    let inner = tag(&mut store, &[]);
    let func = Func::wrap(&mut store, || 7i32);
    let data = ExternRef::new(&mut store, "data").unwrap();
    let cause = exception(&mut store, inner, &[]).unwrap();
    let fields = [
        Val::I32(1),
        Val::V128(V128::from(5u128 << 100)),
        Val::FuncRef(Some(func)),
        Val::ExternRef(Some(data)),
        Val::ExnRef(Some(cause)),
        Val::from(2.5f32),
        Val::FuncRef(None),
        Val::ExternRef(None),
    ];
    let made = exception(&mut store, outer, &fields).unwrap();
    let ty = GlobalType::new(ValType::EXNREF, Mutability::Var);
    let global = Global::new(&mut store, ty, Val::ExnRef(Some(made))).unwrap();
    store.gc(None).unwrap();
    let Val::ExnRef(Some(found)) = global.get(&mut store) else {
        panic!("the global holds an exception");
    };
    assert!(Rooted::ref_eq(&store, &made, &found).unwrap());
    let fields: Vec<Val> = found.fields(&mut store).unwrap().collect();
    assert_eq!(fields[0].i32(), Some(1));
    assert_eq!(fields[1].v128().map(u128::from), Some(5 << 100));
    let func = fields[2].func_ref().unwrap().unwrap();
    let mut results = [Val::I32(0)];
    func.call(&mut store, &[], &mut results).unwrap();
    assert_eq!(results[0].i32(), Some(7));
    let data = fields[3].extern_ref().unwrap().unwrap();
    assert_eq!(
        data.data(&store).unwrap().unwrap().downcast_ref(),
        Some(&"data")
    );
    let Val::ExnRef(Some(cause)) = fields[4] else {
        panic!("{:?}", fields[4]);
    };
    assert!(Tag::eq(&cause.tag(&mut store).unwrap(), &inner, &store));
    assert_eq!(fields[5].f32(), Some(2.5));
    assert!(matches!(
        fields[6..],
        [Val::FuncRef(None), Val::ExternRef(None)]
    ));
}

#[test]
fn what_the_host_does_wrong_is_an_error() {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let mut other = Store::new(&engine, ());
    let e = tag(&mut store, &[ValType::I32]);
    let theirs = tag(&mut other, &[ValType::I32]);
    assert!(exception(&mut store, e, &[]).is_err());
    assert!(exception(&mut store, e, &[Val::I64(1)]).is_err());
    let ty = ExnType::new(&engine, [ValType::I32]).unwrap();
    let allocator = ExnRefPre::new(&mut store, ty);
    assert!(ExnRef::new(&mut store, &allocator, &theirs, &[Val::I32(1)]).is_err());
    let wide = tag(&mut store, &[ValType::I64]);
    assert!(ExnRef::new(&mut store, &allocator, &wide, &[Val::I64(1)]).is_err());
    assert!(ExnRef::new(&mut other, &allocator, &theirs, &[Val::I32(1)]).is_err());
    let made = exception(&mut store, e, &[Val::I32(1)]).unwrap();
    let error = other.throw::<()>(made).unwrap_err();
    assert!(!error.is::<ThrownException>());
    assert!(!other.has_pending_exception());
    let results = TagType::new(FuncType::new(&engine, [], [ValType::I32]));
    assert!(ExnType::from_tag_type(results).is_err());
}

#[test]
fn a_pending_exception_survives_collections() {
    let engine = zealous();
    let (mut store, instance) = instance_in(
        &engine,
        r#"(module
            (tag $e (param externref))
            (func (export "f") (param externref) (throw $e (local.get 0))))"#,
    );
    let f = instance.get_func(&mut store, "f").unwrap();
    let data = ExternRef::new(&mut store, 9u8).unwrap();
    let error = f.call(&mut store, &[Val::ExternRef(Some(data))], &mut []);
    assert!(error.unwrap_err().is::<ThrownException>());
    for _ in 0..10 {
        ExternRef::new(&mut store, ()).unwrap();
        store.gc(None).unwrap();
    }
    let exception = store.take_pending_exception().unwrap();
    let field = exception.field(&mut store, 0).unwrap();
    let data = field.extern_ref().unwrap().unwrap();
    assert_eq!(
        data.data(&store).unwrap().unwrap().downcast_ref(),
        Some(&9u8)
    );
}

#[test]
fn a_heap_without_room_for_an_exception_is_a_trap() {
    let mut config = Config::new();
    config.gc_heap_limit(1 << 20);
    let engine = Engine::new(&config).unwrap();
    let (mut store, instance) = instance_in(
        &engine,
        r#"(module
            (tag $e (param exnref i64 i64))
            (func $throw (param exnref) (throw $e (local.get 0) (i64.const 1) (i64.const 2)))
            (func (export "chain") (local $last exnref)
                (loop $again
                    (block $h (result exnref)
                        (try_table (catch_all_ref $h) (call $throw (local.get $last)))
                        (unreachable))
                    (local.set $last)
                    (br $again))))"#,
    );
    let chain = instance
        .get_typed_func::<(), ()>(&mut store, "chain")
        .unwrap();
    for _ in 0..3 {
        let error = chain.call(&mut store, ()).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Trap::AllocationTooLarge));
    }
    let e = tag(&mut store, &[ValType::I32]);
    let made = exception(&mut store, e, &[Val::I32(1)]);
    assert!(
        made.is_ok(),
        "{:?}",
        made.unwrap_err().is::<GcHeapOutOfMemory<()>>()
    );
}

#[test]
fn exceptions_larger_than_the_nursery_takes_keep_their_references() {
    let params = "externref i64 v128 funcref ".repeat(240);
    let engine = zealous();
    let text = format!(
        r#"(module
            (type $f (func (param externref) (result {params})))
            (tag $e (param {params}))
            (func $make (import "" "make") (type $f))
            (func $throw (param externref) (call $make (local.get 0)) (throw $e))
            (func (export "run") (param externref) (result externref)
                (block $h (result {params})
                    (try_table (catch $e $h) (call $throw (local.get 0)))
                    (unreachable))
                {drop}))"#,
        drop = "drop ".repeat(240 * 4 - 1),
    );
    let module = Module::new(&engine, text).unwrap();
    let mut store = Store::new(&engine, ());
    let ty = module.imports().next().unwrap().ty().unwrap_func().clone();
    let make = Func::new(&mut store, ty, |_, params, results| {
        for chunk in results.chunks_mut(4) {
            chunk[0] = params[0];
            chunk[1] = Val::I64(-1);
        }
        Ok(())
    });
    let instance = Instance::new(&mut store, &module, &[make.into()]).unwrap();
    let run = instance.get_func(&mut store, "run").unwrap();
    let data = ExternRef::new(&mut store, "large").unwrap();
    let mut results = [Val::null_extern_ref()];
    run.call(&mut store, &[Val::ExternRef(Some(data))], &mut results)
        .unwrap();
    let found = results[0].extern_ref().unwrap().unwrap();
    assert!(Rooted::ref_eq(&store, &data, found).unwrap());
}

#[test]
fn exceptions_cross_stores_through_the_host_only() {
    let engine = Engine::default();
    let thrower = Module::new(
        &engine,
        r#"(module (tag $e (param i32)) (func (export "f") (throw $e (i32.const 1))))"#,
    )
    .unwrap();
    let catcher = Module::new(
        &engine,
        r#"(module
            (func $host (import "" "host"))
            (func (export "run") (block $h (try_table (catch_all $h) (call $host)))))"#,
    )
    .unwrap();
    let mut store = Store::new(&engine, ());
    let host = Func::wrap(&mut store, move |caller: Caller<'_, ()>| {
        let mut inner = Store::new(caller.engine(), ());
        let instance = Instance::new(&mut inner, &thrower, &[])?;
        let f = instance.get_typed_func::<(), ()>(&mut inner, "f")?;
        f.call(&mut inner, ())
    });
    let instance = Instance::new(&mut store, &catcher, &[host.into()]).unwrap();
    let run = instance
        .get_typed_func::<(), ()>(&mut store, "run")
        .unwrap();
    // The other store's exception is none of this one's: an error like any other.
    let error = run.call(&mut store, ()).unwrap_err();
    assert!(error.is::<ThrownException>());
    assert!(store.take_pending_exception().is_none());
}

#[test]
fn a_reference_to_an_exception_passes_as_an_argument_and_a_result() {
    let (mut store, instance) = instance(
        r#"(module
            (tag $e (param i32))
            (func (export "make") (param i32) (result exnref)
                (block $h (result exnref)
                    (try_table (catch_all_ref $h) (throw $e (local.get 0)))
                    (unreachable)))
            (func (export "throw") (param exnref) (throw_ref (local.get 0))))"#,
    );
    let make = instance.get_func(&mut store, "make").unwrap();
    let throw = instance.get_func(&mut store, "throw").unwrap();
    let mut made = [Val::null_exn_ref()];
    make.call(&mut store, &[Val::I32(3)], &mut made).unwrap();
    let error = throw.call(&mut store, &made, &mut []).unwrap_err();
    assert!(error.is::<ThrownException>());
    let caught = store.take_pending_exception().unwrap();
    let Val::ExnRef(Some(made)) = made[0] else {
        panic!("{made:?}");
    };
    assert!(Rooted::ref_eq(&store, &made, &caught).unwrap());
    let null = [Ref::Exn(None).into()];
    let error = throw.call(&mut store, &null, &mut []).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::NullReference));
    let wrong = [Val::null_extern_ref()];
    assert!(throw.call(&mut store, &wrong, &mut []).is_err());
}

#[test]
fn whatever_panics_as_the_error_of_a_caught_exception_is_dropped_it_is_caught() {
    /// Panics as it is dropped, with what panics as it is dropped.
    #[derive(Debug)]
    struct Grenade(u32);
    impl std::fmt::Display for Grenade {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("grenade")
        }
    }
    impl Drop for Grenade {
        fn drop(&mut self) {
            if self.0 > 0 {
                std::panic::panic_any(Grenade(self.0 - 1));
            }
        }
    }
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module
            (tag $e (import "" "e"))
            (func $f (import "" "f"))
            (func (export "run") (result i32)
                (block (try_table (catch $e 0) (call $f)) unreachable)
                (i32.const 7)))"#,
    )
    .unwrap();
    let mut store = Store::new(&engine, ());
    let tag = tag(&mut store, &[]);
    let f = Func::wrap(&mut store, move |mut caller: Caller<'_, ()>| {
        let exception = exception(&mut caller, tag, &[])?;
        let thrown: sarsen::Result<()> = caller.as_context_mut().throw(exception);
        thrown.map_err(|error| error.context(Grenade(2)))
    });
    let instance = Instance::new(&mut store, &module, &[tag.into(), f.into()]).unwrap();
    let run = instance
        .get_typed_func::<(), i32>(&mut store, "run")
        .unwrap();
    assert_eq!(run.call(&mut store, ()).unwrap(), 7);
}
