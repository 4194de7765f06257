//! Binding arguments from the host, and switches under a host's handler.

use super::*;
use sarsen::{Handlers, ValRaw};

const SWITCHING: &str = r#"(module
    (rec (type $f (func (param i32 (ref null $k)) (result i32))) (type $k (cont $f)))
    (tag $peer (export "peer") (result i32))
    (tag $other (export "other") (param i32) (result i32))
    (tag $wide (export "wide") (result i64))
    (elem declare func $pong)
    ;; Both add to what they are given, and give it to the other; the second returns it.
    (func (export "ping") (param $n i32) (param (ref null $k)) (result i32)
        (local $peer (ref null $k))
        (switch $k $peer
            (i32.add (local.get $n) (i32.const 1)) (cont.new $k (ref.func $pong)))
        (local.set $peer) (local.set $n)
        (local.set $n (suspend $other (i32.mul (local.get $n) (i32.const 10))))
        (switch $k $peer (local.get $n) (local.get $peer))
        unreachable)
    (func $pong (type $f) (param $n i32) (param $peer (ref null $k)) (result i32)
        (switch $k $peer (i32.add (local.get $n) (i32.const 1)) (local.get $peer))
        (drop)))"#;

#[test]
fn a_continuation_switches_to_another_where_the_host_says_that_it_may() {
    for engine in engines() {
        let module = Module::new(&engine, SWITCHING).unwrap();
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let [peer, other, wide] =
            ["peer", "other", "wide"].map(|name| instance.get_tag(&mut store, name).unwrap());
        let ping = instance.get_func(&mut store, "ping").unwrap();
        let args = [Val::I32(5), Val::null_cont_ref()];
        let start = cont_of(&mut store, &ping);

        // Tags of another type, and no tag.
        for wrong in [other, wide] {
            let handlers = Handlers::new().switch(std::slice::from_ref(&wrong));
            let error = start.resume(&mut store, &args, handlers).unwrap_err();
            assert!(error.is::<TypeError>(), "{error:?}");
        }
        assert!(!start.is_consumed(&mut store).unwrap());
        let (suspends, switches) = ([other], [peer]);
        let error = start.resume(&mut store, &args, &suspends).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Trap::UnhandledTag));

        let start = cont_of(&mut store, &ping);
        let handlers = Handlers::from(&suspends).switch(&switches);
        let (value, rest) = suspended(start.resume(&mut store, &args, handlers).unwrap());
        assert_eq!(value, 70);
        store.gc(None).unwrap();
        let resumed = rest.resume(&mut store, &[Val::I32(1000)], handlers);
        assert_eq!(returned(resumed.unwrap()), 1000);
        assert_eq!(store.continuation_stacks(), 1, "the one that was left");
        store.gc(None).unwrap();
        assert_eq!(store.continuation_stacks(), 0);
    }
}

#[test]
fn arguments_are_bound_one_after_the_other() {
    for engine in engines() {
        let mut guest = Guest::new(&engine);
        let sum = Func::wrap(&mut guest.store, |a: i32, b: i64, c: f64| {
            f64::from(a) + b as f64 + c
        });
        let cont = cont_of(&mut guest.store, &sum);
        let store = &mut guest.store;
        let one = cont.bind(&mut *store, &[Val::I32(1)]).unwrap();
        assert!(cont.is_consumed(&mut *store).unwrap());
        assert!(
            cont.bind(&mut *store, &[])
                .unwrap_err()
                .is::<ConsumedError>()
        );
        assert_eq!(
            one.ty(&*store).unwrap().func_type().to_string(),
            "(func (param i64 f64) (result f64))"
        );
        // What does not fit does not consume.
        let too_many = [Val::I64(1), Val::from(2.0), Val::I32(3)];
        assert!(
            one.bind(&mut *store, &too_many)
                .unwrap_err()
                .is::<TypeError>()
        );
        assert!(
            one.bind(&mut *store, &[Val::I32(2)])
                .unwrap_err()
                .is::<TypeError>()
        );
        store.gc(None).unwrap();
        let all = one
            .bind(&mut *store, &[Val::I64(20), Val::from(300.5)])
            .unwrap();
        store.gc(None).unwrap();
        match all
            .typed::<(), f64>(&mut *store)
            .unwrap()
            .resume(&mut *store, (), &[])
        {
            Ok(Resumed::Returned(sum)) => assert_eq!(sum, 321.5),
            other => panic!("{other:?}"),
        }

        // References, and one that is suspended.
        let take = Func::wrap(&mut *store, |f: Option<Func>, n: Option<sarsen::I31>| {
            assert!(f.is_some());
            n.unwrap().get_i32()
        });
        let cont = cont_of(&mut *store, &take);
        let cont = cont.bind(&mut *store, &[Val::from(sum)]).unwrap();
        let n = sarsen::AnyRef::from_i31(&mut *store, sarsen::I31::wrapping_i32(-9));
        let bound = cont.bind(&mut *store, &[Val::from(n)]);
        // An `anyref` that happens to be an integer is one.
        assert_eq!(
            returned(bound.unwrap().resume(&mut *store, &[], &[]).unwrap()),
            -9
        );
        let rest = guest.begin("twice", 5);
        let bound = rest.bind(&mut guest.store, &[Val::I32(10)]).unwrap();
        let tag = guest.tag("yield");
        let resumed = bound.resume(&mut guest.store, &[], &[tag]).unwrap();
        assert_eq!(suspended(resumed).0, 15);
    }
}

#[test]
fn a_continuation_can_be_bound_to_another_type_of_the_same_function_type() {
    let engine = &engines()[0];
    let module = r#"(module
        (rec (type $f (func (param i32) (result i32))) (type $k (cont $f)) (type (struct)))
        (func (export "resume") (param (ref null $k)) (result i32)
            (resume $k (i32.const 7) (local.get 0))))"#;
    let mut guest = Guest::new(engine);
    let module = Module::new(engine, module).unwrap();
    let instance = Instance::new(&mut guest.store, &module, &[]).unwrap();
    let resume = instance.get_func(&mut guest.store, "resume").unwrap();
    let wanted = resume.ty(&guest.store).param(0).unwrap();
    let wanted = wanted
        .unwrap_ref()
        .heap_type()
        .unwrap_concrete_cont()
        .clone();
    let double = Func::wrap(&mut guest.store, |n: i32| 2 * n);
    let cont = cont_of(&mut guest.store, &double);
    let mut results = [Val::I32(0)];
    let refused = resume.call(&mut guest.store, &[Val::from(cont)], &mut results);
    assert!(refused.unwrap_err().is::<TypeError>());
    let bound = cont.bind_to(&mut guest.store, &wanted, &[]).unwrap();
    let called = resume.call(&mut guest.store, &[Val::from(bound)], &mut results);
    called.unwrap();
    assert_eq!(results[0].i32(), Some(14));

    let cont = cont_of(&mut guest.store, &double);
    let error = cont
        .bind_to(&mut guest.store, &wanted, &[Val::I32(1)])
        .unwrap_err();
    assert!(error.is::<TypeError>(), "{error:?}");
    let alien = Engine::new(&config()).unwrap();
    let alien = ContType::new(&FuncType::new(&alien, [ValType::I32], [ValType::I32])).unwrap();
    let error = cont.bind_to(&mut guest.store, &alien, &[]).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&OwnershipError::WrongEngine));
    assert!(!cont.is_consumed(&mut guest.store).unwrap());
}

#[test]
fn no_more_arguments_are_placed_than_were_bound_whatever_the_heap_says() {
    let text = r#"(module
        (type $words (array (mut i32)))
        (tag $ask (export "ask") (result i64 i64))
        (func (export "sum") (result i64) (i64.add (suspend $ask)))
        (func (export "get") (param (ref $words) i32) (result i32)
            (array.get $words (local.get 0) (local.get 1)))
        (func (export "set") (param (ref $words) i32 i32)
            (array.set $words (local.get 0) (local.get 1) (local.get 2)))
        (func (export "fill") (drop (array.new $words (i32.const 7) (i32.const 900)))))"#;
    let engine = Engine::new(&config()).unwrap();
    let module = Module::new(&engine, text).unwrap();
    for (bits, refs) in [(3000, 3000), (3, 3), (0, 0)] {
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let ask = instance.get_tag(&mut store, "ask").unwrap();
        let func = |store: &mut Store<()>, name| instance.get_func(store, name).unwrap();
        let (get, set) = (func(&mut store, "get"), func(&mut store, "set"));
        let (sum, fill) = (func(&mut store, "sum"), func(&mut store, "fill"));
        let suspended = match cont_of(&mut store, &sum).resume(&mut store, &[], &[ask]) {
            Ok(Resumed::Suspended(it)) => it.continuation,
            other => panic!("it asks: {other:?}"),
        };
        let bound = suspended.bind(&mut store, &[Val::I64(5)]).unwrap();
        // So that objects of this size would end where objects end.
        for _ in 0..30 {
            fill.call(&mut store, &[], &mut []).unwrap();
        }
        // SAFETY: that a continuation and what belongs to it are no such arrays is what is tested: compiled code
        // with a fault could do the same, to the heap and nothing else.
        let words = |store: &mut Store<()>, func: &Func, values: &[u32]| unsafe {
            let mut values: Vec<ValRaw> = values.iter().map(|&value| ValRaw::u32(value)).collect();
            func.call_unchecked(store, &raw mut values[..]).unwrap();
            values[0].get_u32()
        };
        let object = Val::from(bound).to_raw(&mut store).unwrap().get_u32();
        for (field, length) in [(2, refs), (3, bits)] {
            let array = words(&mut store, &get, &[object, field]);
            words(&mut store, &set, &[array - 4, 0, length]);
        }
        let error = bound
            .resume(&mut store, &[Val::I64(6)], &[ask])
            .unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Trap::HeapCorruption));
        drop(store);
    }
}
