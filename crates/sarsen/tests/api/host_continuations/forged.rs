//! Continuations that are taken for what they are not: what a heap that was written over can make of them.

use super::*;
use sarsen::ValRaw;

/// A continuation of each of four types, fresh, suspended, or with its first argument bound; and functions that
/// resume one of each.
const MODULE: &str = r#"(module
    (type $void (func))
    (type $n (func (param i64) (result i64))) (type $kn (cont $n))
    (type $f (func (param (ref $void)) (result (ref $void)))) (type $kf (cont $f))
    (type $w (func (param i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64) (result i64)))
    (type $kw (cont $w))
    (type $fn (func (param (ref $void) i64) (result (ref $void)))) (type $kfn (cont $fn))
    (type $g (func (param i64) (result (ref $void)))) (type $kg (cont $g))
    (type $back (func (param i64))) (type $kback (cont $back))
    (type $s (func (param i64 (ref null $kback)))) (type $ks (cont $s))
    (type $switch (func (param (ref null $ks)))) (type $kswitch (cont $switch))
    (type $words (array (mut i32)))
    (tag $takes-n (result i64))
    (tag $takes-f (result (ref $void)))
    (tag $takes-fn (result (ref $void) i64))
    (tag $peer)
    (tag $thrown)
    (elem declare func $nothing $other $n $f $w $fn $switch)
    (func $nothing (type $void))
    (func $other (param i64))

    (func $n (type $n) (suspend $takes-n))
    (func $f (type $f) (call_ref $void (local.get 0)) (call_ref $void (suspend $takes-f)) (local.get 0))
    (func $w (type $w) (local.get 15))
    (func $fn (type $fn) (local $i i64)
        (call_ref $void (local.get 0))
        (suspend $takes-fn) (local.set $i) (call_ref $void) (local.get 0))

    (func (export "fresh n") (result (ref $kn)) (cont.new $kn (ref.func $n)))
    (func (export "fresh f") (result (ref $kf)) (cont.new $kf (ref.func $f)))
    (func (export "fresh w") (result (ref $kw)) (cont.new $kw (ref.func $w)))
    (func (export "suspended n") (result (ref $kn))
        (block $h (result (ref $kn))
            (drop (resume $kn (on $takes-n $h) (i64.const 1) (cont.new $kn (ref.func $n)))) unreachable))
    (func (export "suspended f") (result (ref $kf))
        (block $h (result (ref $kf))
            (drop (resume $kf (on $takes-f $h) (ref.func $nothing) (cont.new $kf (ref.func $f)))) unreachable))
    (func (export "bound g") (result (ref $kg))
        (cont.bind $kfn $kg (ref.func $nothing) (cont.new $kfn (ref.func $fn))))
    (func (export "suspended and bound g") (result (ref $kg))
        (cont.bind $kfn $kg (ref.func $nothing)
            (block $h (result (ref $kfn))
                (drop (resume $kfn (on $takes-fn $h) (ref.func $nothing) (i64.const 2)
                    (cont.new $kfn (ref.func $fn)))) unreachable)))

    (func (export "resume n") (param $k (ref $kn))
        (block $h (result (ref $kn))
            (drop (resume $kn (on $takes-n $h) (i64.const 0x4141414141) (local.get $k))) (return))
        drop)
    (func (export "resume f") (param $k (ref $kf))
        (block $h (result (ref $kf))
            (call_ref $void (resume $kf (on $takes-f $h) (ref.func $nothing) (local.get $k))) (return))
        drop)
    (func (export "resume w") (param $k (ref $kw)) (local $x i64)
        (drop (resume $kw
            (local.get $x) (local.get $x) (local.get $x) (local.get $x) (local.get $x) (local.get $x)
            (local.get $x) (local.get $x) (local.get $x) (local.get $x) (local.get $x) (local.get $x)
            (local.get $x) (local.get $x) (local.get $x) (local.get $x) (local.get $k))))
    (func (export "resume g") (param $k (ref $kg))
        (block $h (result (ref $kfn))
            (call_ref $void (resume $kg (on $takes-fn $h) (i64.const 3) (local.get $k))) (return))
        drop)
    (func (export "bind w") (param $k (ref $kw)) (local $x i64)
        (drop (resume $kn (i64.const 4) (cont.bind $kw $kn
            (local.get $x) (local.get $x) (local.get $x) (local.get $x) (local.get $x) (local.get $x)
            (local.get $x) (local.get $x) (local.get $x) (local.get $x) (local.get $x) (local.get $x)
            (local.get $x) (local.get $x) (local.get $x) (local.get $k)))))
    (func (export "throw n") (param $k (ref $kn))
        (block $h (try_table (catch $thrown $h) (drop (resume_throw $kn $thrown (local.get $k))))))
    (func (export "throw f") (param $k (ref $kf))
        (block $h (try_table (catch $thrown $h) (call_ref $void (resume_throw $kf $thrown (local.get $k))))))
    (func $switch (type $switch)
        (drop (switch $ks $peer (i64.const 5) (local.get 0))))
    (func (export "switch s") (param $k (ref null $ks))
        (resume $kswitch (on $peer switch) (local.get $k) (cont.new $kswitch (ref.func $switch))))

    (func (export "get") (param (ref $words) i32) (result i32)
        (array.get $words (local.get 0) (local.get 1)))
    (func (export "set") (param (ref $words) i32 i32)
        (array.set $words (local.get 0) (local.get 1) (local.get 2)))
    (func (export "fill") (drop (array.new $words (i32.const 7) (i32.const 900)))))"#;

/// Calls a function with raw values; returns the first result.
fn call_raw(store: &mut Store<()>, func: &Func, values: &[u32]) -> sarsen::Result<u32> {
    let mut values: Vec<ValRaw> = values.iter().map(|&value| ValRaw::u32(value)).collect();
    // SAFETY: that what is passed is of another type is what is tested: compiled code with a fault could find such
    // references in the heap.
    unsafe { func.call_unchecked(store, &raw mut values[..]) }?;
    Ok(values[0].get_u32())
}

#[test]
fn a_continuation_is_resumed_as_what_it_is_or_not_at_all() {
    let makers = [
        "fresh n",
        "fresh f",
        "fresh w",
        "suspended n",
        "suspended f",
        "bound g",
        "suspended and bound g",
    ];
    let users = [
        "resume n", "resume f", "resume w", "resume g", "bind w", "throw n", "throw f", "switch s",
    ];
    for engine in engines() {
        let module = Module::new(&engine, MODULE).unwrap();
        for (maker, user) in makers
            .into_iter()
            .flat_map(|maker| users.map(|user| (maker, user)))
        {
            for collect in [false, true] {
                let mut store = Store::new(&engine, ());
                let instance = Instance::new(&mut store, &module, &[]).unwrap();
                let make = instance.get_func(&mut store, maker).unwrap();
                let mut made = [Val::I32(0)];
                make.call(&mut store, &[], &mut made).unwrap();
                if collect {
                    store.gc(None).unwrap();
                }
                let object = made[0].to_raw(&mut store).unwrap().get_u32();
                let user_func = instance.get_func(&mut store, user).unwrap();
                let result = call_raw(&mut store, &user_func, &[object]);
                let case = format!("{maker}, {user}, collect: {collect}");
                if maker[maker.len() - 1..] == user[user.len() - 1..] {
                    result.expect(&case);
                } else {
                    let error = result.expect_err(&case);
                    assert_eq!(error.downcast_ref(), Some(&Trap::HeapCorruption), "{case}");
                }
            }
        }
    }
}

#[test]
fn a_function_that_is_bound_is_one_of_the_right_type_or_a_trap() {
    let engine = Engine::new(&config()).unwrap();
    let module = Module::new(&engine, MODULE).unwrap();
    for maker in ["bound g", "suspended and bound g"] {
        for (reference, number) in [(0, 0x4141_4141), (1, 0), (2, 0), (1, 70_000)]
            .into_iter()
            .chain((0..16).map(|n| (1, n)))
        {
            let mut store = Store::new(&engine, ());
            let instance = Instance::new(&mut store, &module, &[]).unwrap();
            let func = |store: &mut Store<()>, name| instance.get_func(store, name).unwrap();
            let (get, set) = (func(&mut store, "get"), func(&mut store, "set"));
            let (fill, resume) = (func(&mut store, "fill"), func(&mut store, "resume g"));
            let mut made = [Val::I32(0)];
            func(&mut store, maker)
                .call(&mut store, &[], &mut made)
                .unwrap();
            // So that objects of this size would end where objects end.
            for _ in 0..30 {
                fill.call(&mut store, &[], &mut []).unwrap();
            }
            let object = made[0].to_raw(&mut store).unwrap().get_u32();
            // An array's elements begin where an object's first field is; a continuation's arrays are its third and
            // fourth.
            let refs = call_raw(&mut store, &get, &[object, 2]).unwrap();
            let bits = call_raw(&mut store, &get, &[object, 3]).unwrap();
            call_raw(&mut store, &set, &[refs, 0, reference]).unwrap();
            call_raw(&mut store, &set, &[bits, 0, number]).unwrap();
            match call_raw(&mut store, &resume, &[object]) {
                // The number of the function that is bound, or of another of its type.
                Ok(_) => assert!(
                    reference == 1 && number != 0,
                    "{maker}: {reference} {number}"
                ),
                Err(error) => {
                    assert_eq!(error.downcast_ref(), Some(&Trap::HeapCorruption));
                    // What had not begun has no stack now; what is suspended may still have its own.
                    let stacks = store.continuation_stacks();
                    assert!(stacks == 0 || maker != "bound g", "{reference} {number}");
                }
            }
        }
    }
}
