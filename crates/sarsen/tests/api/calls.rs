//! Calls of WebAssembly by the host.

use crate::instance;
use sarsen::{Engine, Func, FuncType, Store, TypeError, V128, Val, ValRaw, ValType};
use std::panic::{AssertUnwindSafe, catch_unwind};

const MANY: &str = r#"(module
  (func (export "mix") (param i32 i64 f32 f64) (result f64 f32 i64 i32)
    local.get 3 local.get 2 local.get 1 local.get 0)
  (func (export "sum17")
    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
    (i32.add (local.get 0) (i32.mul (local.get 16) (i32.const 1000))))
  (func (export "nothing"))
  (func (export "negative") (result i32 i64) (i32.const -1) (i64.const -2))
  (func (export "nan") (param f32 f64) (result f32 f64) (local.get 0) (local.get 1))
)"#;

#[test]
fn a_function_runs() {
    let (mut store, instance) = instance(
        r#"(module
             (func $fib (export "fib") (param i32) (result i32)
               (if (result i32) (i32.lt_u (local.get 0) (i32.const 2))
                 (then (local.get 0))
                 (else
                   (i32.add
                     (call $fib (i32.sub (local.get 0) (i32.const 1)))
                     (call $fib (i32.sub (local.get 0) (i32.const 2))))))))"#,
    );
    let fib = instance
        .get_typed_func::<i32, i32>(&mut store, "fib")
        .unwrap();
    assert_eq!(fib.call(&mut store, 20).unwrap(), 6765);
}

#[test]
fn arguments_and_results_keep_their_places_and_widths() {
    let (mut store, instance) = instance(MANY);
    let mix = instance
        .get_typed_func::<(i32, i64, f32, f64), (f64, f32, i64, i32)>(&mut store, "mix")
        .unwrap();
    let results = mix.call(&mut store, (-1, i64::MIN, 1.5, -2.5)).unwrap();
    assert_eq!(results, (-2.5, 1.5, i64::MIN, -1));

    let unsigned = instance
        .get_typed_func::<(u32, u64, f32, f64), (f64, f32, u64, u32)>(&mut store, "mix")
        .unwrap();
    let results = unsigned.call(&mut store, (u32::MAX, u64::MAX, 0.0, 0.0));
    assert_eq!(results.unwrap(), (0.0, 0.0, u64::MAX, u32::MAX));

    let sum = instance.get_func(&mut store, "sum17").unwrap();
    type I17 = (
        i32,
        i32,
        i32,
        i32,
        i32,
        i32,
        i32,
        i32,
        i32,
        i32,
        i32,
        i32,
        i32,
        i32,
        i32,
        i32,
        i32,
    );
    let typed = sum.typed::<I17, i32>(&store).unwrap();
    let arguments = (5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7);
    assert_eq!(typed.call(&mut store, arguments).unwrap(), 7005);
    let mut values = vec![Val::I32(0); 17];
    values[0] = Val::I32(5);
    values[16] = Val::I32(7);
    let mut results = [Val::I32(0)];
    sum.call(&mut store, &values, &mut results).unwrap();
    assert_eq!(results[0].i32(), Some(7005));

    let negative = instance
        .get_typed_func::<(), (i32, i64)>(&mut store, "negative")
        .unwrap();
    assert_eq!(negative.call(&mut store, ()).unwrap(), (-1, -2));
}

#[test]
fn nan_payloads_survive_a_call() {
    let (mut store, instance) = instance(MANY);
    let nan = instance.get_func(&mut store, "nan").unwrap();
    let arguments = [Val::F32(0x7fa0_1234), Val::F64(0x7ff4_0000_0000_5678)];
    let mut results = [Val::I32(0), Val::I32(0)];
    nan.call(&mut store, &arguments, &mut results).unwrap();
    assert!(matches!(
        results,
        [Val::F32(0x7fa0_1234), Val::F64(0x7ff4_0000_0000_5678)]
    ));
}

#[test]
fn the_wrong_number_or_type_of_arguments_is_an_error() {
    let (mut store, instance) = instance(MANY);
    let nothing = instance.get_func(&mut store, "nothing").unwrap();
    let error = nothing
        .call(&mut store, &[Val::I32(1)], &mut [])
        .unwrap_err();
    assert_eq!(
        error.downcast_ref::<TypeError>(),
        Some(&TypeError::Count {
            what: "arguments",
            wanted: 0,
            found: 1
        })
    );
    let error = nothing
        .call(&mut store, &[], &mut [Val::I32(1)])
        .unwrap_err();
    assert!(error.to_string().contains("results"), "{error}");

    let nan = instance.get_func(&mut store, "nan").unwrap();
    let error = nan
        .call(
            &mut store,
            &[Val::F32(0), Val::I32(0)],
            &mut [Val::I32(0); 2],
        )
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "type mismatch: argument 1 should be f64, found i32"
    );

    assert!(
        instance
            .get_typed_func::<i32, ()>(&mut store, "nothing")
            .is_err()
    );
    let error = instance
        .get_typed_func::<(), i32>(&mut store, "nothing")
        .unwrap_err();
    assert!(error.downcast_ref::<TypeError>().is_some(), "{error:?}");
    assert!(format!("{error:#}").contains("`nothing`"), "{error:#}");
    let error = instance
        .get_typed_func::<(), ()>(&mut store, "missing")
        .unwrap_err();
    assert!(error.to_string().contains("missing"));
}

#[test]
fn unchecked_calls_take_raw_values() {
    let (mut store, instance) = instance(MANY);
    let mix = instance.get_func(&mut store, "mix").unwrap();
    let mut values = [
        ValRaw::i32(-7),
        ValRaw::i64(8),
        ValRaw::f32(1.0f32.to_bits()),
        ValRaw::f64(2.0f64.to_bits()),
    ];
    // SAFETY: these are arguments of the function's types.
    unsafe { mix.call_unchecked(&mut store, &mut values) }.unwrap();
    assert_eq!(f64::from_bits(values[0].get_f64()), 2.0);
    assert_eq!(f32::from_bits(values[1].get_f32()), 1.0);
    assert_eq!(values[2].get_i64(), 8);
    assert_eq!(values[3].get_i32(), -7);
    // SAFETY: too few values are refused, not used.
    let error = unsafe { mix.call_unchecked(&mut store, &mut values[..3]) }.unwrap_err();
    assert!(error.downcast_ref::<TypeError>().is_some());
}

#[test]
fn function_references_are_passed_checked_and_returned() {
    let (mut store, instance) = instance(
        r#"(module
             (type $i (func (result i32)))
             (func $one (export "one") (result i32) (i32.const 1))
             (func (export "two") (result i64) (i64.const 2))
             (func (export "echo") (param funcref) (result funcref) (local.get 0))
             (func (export "call") (param (ref $i)) (result i32) (call_ref $i (local.get 0)))
             (func (export "maybe") (param (ref null $i)) (result (ref null $i)) (local.get 0)))"#,
    );
    let one = instance.get_func(&mut store, "one").unwrap();
    let two = instance.get_func(&mut store, "two").unwrap();
    let echo = instance
        .get_typed_func::<Option<Func>, Option<Func>>(&mut store, "echo")
        .unwrap();
    assert!(echo.call(&mut store, None).unwrap().is_none());
    let back = echo.call(&mut store, Some(one)).unwrap().unwrap();
    let back = back.typed::<(), i32>(&store).unwrap();
    assert_eq!(back.call(&mut store, ()).unwrap(), 1);

    let call = instance
        .get_typed_func::<Func, i32>(&mut store, "call")
        .unwrap();
    assert_eq!(call.call(&mut store, one).unwrap(), 1);
    let error = call.call(&mut store, two).unwrap_err();
    assert!(error.downcast_ref::<TypeError>().is_some(), "{error}");
    let nine = Func::wrap(&mut store, || 9);
    assert_eq!(call.call(&mut store, nine).unwrap(), 9);
    let call_or_not = instance
        .get_typed_func::<Option<Func>, i32>(&mut store, "call")
        .unwrap();
    assert_eq!(call_or_not.call(&mut store, Some(one)).unwrap(), 1);
    let error = call_or_not.call(&mut store, None).unwrap_err();
    assert!(error.downcast_ref::<TypeError>().is_some(), "{error}");

    let maybe = instance
        .get_typed_func::<Option<Func>, Option<Func>>(&mut store, "maybe")
        .unwrap();
    assert!(maybe.call(&mut store, None).unwrap().is_none());
    assert!(maybe.call(&mut store, Some(two)).is_err());

    let call = call.func();
    let mut results = [Val::I32(0)];
    let error = call
        .call(&mut store, &[Val::FuncRef(None)], &mut results)
        .unwrap_err();
    assert!(error.downcast_ref::<TypeError>().is_some(), "{error}");
    call.call(&mut store, &[one.into()], &mut results).unwrap();
    assert_eq!(results[0].i32(), Some(1));
}

#[test]
fn a_function_of_another_store_is_not_used() {
    let (mut store, instance) = instance(MANY);
    let nothing = instance.get_func(&mut store, "nothing").unwrap();
    let typed = nothing.typed::<(), ()>(&store).unwrap();
    let ty = nothing.ty(&store);
    let engine = store.engine().clone();
    type Use<'a> = &'a dyn Fn(&mut Store<()>);
    let uses: [Use<'_>; 9] = [
        &|other| _ = instance.get_func(other, "nothing"),
        &|other| _ = instance.get_typed_func::<(), ()>(other, "nothing"),
        &|other| _ = nothing.call(other, &[], &mut []),
        // SAFETY: it has neither parameters nor results.
        &|other| _ = unsafe { nothing.call_unchecked(other, &mut []) },
        &|other| _ = nothing.typed::<(), ()>(other),
        &|other| _ = nothing.ty(other),
        &|other| _ = nothing.matches_ty(other, &ty),
        &|other| _ = nothing.to_raw(other),
        &|other| _ = typed.call(other, ()),
    ];
    for (at, used) in uses.iter().enumerate() {
        let mut other = Store::new(&engine, ());
        let refused = catch_unwind(AssertUnwindSafe(|| used(&mut other)));
        let Err(panic) = refused else {
            panic!("use {at} is not refused");
        };
        let message = panic.downcast_ref::<String>().map(String::as_str);
        let message = message.or_else(|| panic.downcast_ref::<&str>().copied());
        assert_eq!(message, Some("object used with the wrong store"), "{at}");
    }
    typed.call(&mut store, ()).unwrap();
}

#[test]
fn an_argument_of_another_store_is_an_error() {
    let (mut store, instance) = instance(r#"(module (func (export "f") (param funcref)))"#);
    let mut other = Store::new(store.engine(), ());
    let foreign = Func::wrap(&mut other, || {});
    let f = instance
        .get_typed_func::<Option<Func>, ()>(&mut store, "f")
        .unwrap();
    let error = f.call(&mut store, Some(foreign)).unwrap_err();
    assert_eq!(error.to_string(), "object used with the wrong store");
    let error = f
        .func()
        .call(&mut store, &[foreign.into()], &mut [])
        .unwrap_err();
    assert_eq!(error.to_string(), "object used with the wrong store");
}

#[test]
fn types_of_functions_are_told() {
    let (mut store, instance) = instance(MANY);
    let mix = instance.get_func(&mut store, "mix").unwrap();
    let ty = mix.ty(&store);
    assert_eq!(
        ty.to_string(),
        "(func (param i32 i64 f32 f64) (result f64 f32 i64 i32))"
    );
    let engine = store.engine().clone();
    let same = FuncType::new(
        &engine,
        [ValType::I32, ValType::I64, ValType::F32, ValType::F64],
        [ValType::F64, ValType::F32, ValType::I64, ValType::I32],
    );
    assert_eq!(ty, same);
    assert!(mix.matches_ty(&store, &same));
    let other = FuncType::new(&Engine::default(), same.params(), same.results());
    assert_ne!(ty, other, "types of two engines are not compared by number");
}

#[test]
fn calls_nest_through_host_functions() {
    let engine = Engine::default();
    let module = sarsen::Module::new(
        &engine,
        r#"(module
             (import "" "down" (func $down (param i32) (result i32)))
             (func (export "up") (param i32) (result i32)
               (if (result i32) (local.get 0)
                 (then (i32.add (i32.const 1) (call $down (i32.sub (local.get 0) (i32.const 1)))))
                 (else (i32.const 0)))))"#,
    )
    .unwrap();
    let mut store = Store::new(&engine, 0u32);
    let down = Func::wrap(
        &mut store,
        |mut caller: sarsen::Caller<'_, u32>, n: i32| -> sarsen::Result<i32> {
            *caller.data_mut() += 1;
            let up = caller.get_export("up").unwrap().into_func().unwrap();
            up.typed::<i32, i32>(&caller)?.call(&mut caller, n)
        },
    );
    let instance = sarsen::Instance::new(&mut store, &module, &[down.into()]).unwrap();
    let up = instance
        .get_typed_func::<i32, i32>(&mut store, "up")
        .unwrap();
    assert_eq!(up.call(&mut store, 50).unwrap(), 50);
    assert_eq!(*store.data(), 50);
}

#[test]
fn vectors_are_values() {
    let vector = V128::from(0x0123_4567_89ab_cdef_u128 << 64 | 5);
    assert_eq!(vector.as_u128() as u64, 5);
    assert_eq!(Val::from(vector).v128(), Some(vector));
}
