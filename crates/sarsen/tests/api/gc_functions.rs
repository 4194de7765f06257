//! Functions in objects: what a heap that was written over can make of them.

use crate::instance_in;
use sarsen::{Config, Engine, Trap, TypedFunc, ValRaw};

/// `$alias` is of the same shape as `$holder`, with a number where that has a function.
const MODULE: &str = r#"(module
  (type $op (func (param i32) (result i32)))
  (type $other (func (param i64 i64) (result i64)))
  (type $holder (struct (field $op (mut (ref null $op)))))
  (type $strict (struct (field $op (mut (ref $op)))))
  (type $others (struct (field $other (ref $other))))
  (type $alias (struct (field $number (mut i32))))
  (func $inc (type $op) (i32.add (local.get 0) (i32.const 1)))
  (func $dec (type $op) (i32.sub (local.get 0) (i32.const 1)))
  (func $without-a-number (type $op) (i32.const 1000))
  (func $of-another-type (type $other) (i64.const -1))
  (elem declare func $inc $dec $without-a-number $of-another-type)
  (global $others (ref $others) (struct.new $others (ref.func $of-another-type)))
  (func (export "new") (result (ref $holder))
    (drop (struct.new $holder (ref.func $dec)))
    (struct.new $holder (ref.func $inc)))
  (func (export "new strict") (result (ref $strict)) (struct.new $strict (ref.func $inc)))
  (func (export "forge") (param (ref $alias) i32)
    (struct.set $alias $number (local.get 0) (local.get 1)))
  (func (export "call") (param (ref $holder)) (result i32)
    (call_ref $op (i32.const 7) (struct.get $holder $op (local.get 0))))
  (func (export "call strict") (param (ref $strict)) (result i32)
    (call_ref $op (i32.const 7) (struct.get $strict $op (local.get 0))))
  (func (export "call later") (param (ref $holder)) (result i32)
    (local $op (ref null $op))
    (local.set $op (struct.get $holder $op (local.get 0)))
    (call_ref $op (i32.const 7) (local.get $op))))"#;

#[test]
fn a_forged_function_is_one_of_the_right_type_or_a_trap() {
    for inlining in [false, true] {
        let engine = Engine::new(Config::new().compiler_inlining(inlining)).unwrap();
        let (mut store, instance) = instance_in(&engine, MODULE);
        let forge = instance.get_func(&mut store, "forge").unwrap();
        for (new, callers) in [
            ("new", &["call", "call later"][..]),
            ("new strict", &["call strict"]),
        ] {
            let new: TypedFunc<(), sarsen::Rooted<sarsen::StructRef>> =
                instance.get_typed_func(&mut store, new).unwrap();
            let mut outcomes = Vec::new();
            let numbers = (0..70).chain([1 << 16, 1 << 31, u32::MAX - 1, u32::MAX]);
            for number in numbers {
                let object = new.call(&mut store, ()).unwrap();
                let raw = object.to_anyref().to_raw(&mut store).unwrap();
                let mut values = [ValRaw::externref(raw), ValRaw::u32(number)];
                // SAFETY: that the object is of another type is what is tested: a store of a number into
                // its own field.
                unsafe { forge.call_unchecked(&mut store, &raw mut values[..]) }.unwrap();
                for caller in callers {
                    let call = instance.get_func(&mut store, caller).unwrap();
                    let raw = object.to_anyref().to_raw(&mut store).unwrap();
                    let mut values = [ValRaw::externref(raw)];
                    // SAFETY: as above.
                    let outcome = unsafe { call.call_unchecked(&mut store, &raw mut values[..]) };
                    outcomes.push(match outcome {
                        Ok(()) => Ok(values[0].get_i32()),
                        Err(error) => Err(*error.downcast_ref::<Trap>().unwrap()),
                    });
                }
            }
            for outcome in &outcomes {
                assert!(
                    matches!(
                        outcome,
                        Ok(6 | 8 | 1000) | Err(Trap::NullReference | Trap::HeapCorruption)
                    ),
                    "{outcome:?}"
                );
            }
            assert!(outcomes.contains(&Ok(6)) && outcomes.contains(&Ok(8)));
            assert!(outcomes.contains(&Err(Trap::HeapCorruption)));
        }
    }
}
