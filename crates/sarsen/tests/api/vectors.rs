//! Vectors wherever values go, and results that are the same on every machine where that is asked for.

use crate::{instance, instance_in};
use sarsen::{
    Config, Engine, Feature, Func, Global, GlobalType, Instance, Module, Mutability, OptLevel,
    Store, V128, Val, ValType,
};

/// A vector whose bytes all differ.
const VECTOR: u128 = 0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100;

#[test]
fn vectors_pass_between_host_and_guest_whole() {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module
             (import "" "swap" (func $swap (param v128 i32 v128) (result v128 i32 v128)))
             (import "" "global" (global $imported (mut v128)))
             (global $own (export "own") (mut v128) (v128.const i64x2 1 2))
             (func (export "run") (param v128 i32) (result v128 v128)
               (local $i i32) (local $second v128)
               (call $swap (local.get 0) (local.get 1) (global.get $own))
               (local.set $second) (local.set $i)
               (global.set $imported (local.get $second))
               (select (local.get $second) (v128.const i64x2 3 4) (i32.eq (local.get $i) (i32.const 7)))))"#,
    )
    .unwrap();
    let mut store = Store::new(&engine, ());
    let swap = Func::wrap(&mut store, |a: V128, n: i32, b: V128| (b, n + 1, a));
    let ty = GlobalType::new(ValType::V128, Mutability::Var);
    let global = Global::new(&mut store, ty, Val::V128(V128::from(0))).unwrap();
    let imports = [swap.into(), global.into()];
    let instance = Instance::new(&mut store, &module, &imports).unwrap();
    let own = 2_u128 << 64 | 1;
    let run = instance.get_func(&mut store, "run").unwrap();
    for (number, chosen) in [(6, VECTOR), (7, 4_u128 << 64 | 3)] {
        let arguments = [Val::V128(VECTOR.into()), Val::I32(number)];
        let mut results = [Val::I32(0), Val::I32(0)];
        run.call(&mut store, &arguments, &mut results).unwrap();
        let results = results.map(|value| value.unwrap_v128().as_u128());
        assert_eq!(results, [own, chosen]);
        let kept = global.get(&mut store).unwrap_v128().as_u128();
        assert_eq!(kept, VECTOR);
        global.set(&mut store, Val::V128(V128::from(0))).unwrap();
    }
}

#[test]
fn more_vectors_than_registers_survive_a_call() {
    const COUNT: usize = 40;
    let loads: String = (0..COUNT)
        .map(|n| format!("(v128.load (i32.const {}))", n * 16 + 1))
        .collect();
    let stores: String = (0..COUNT)
        .map(|n| {
            format!(
                "(local.set 0) (v128.store (i32.const {}) (local.get 0))",
                4096 + n * 16
            )
        })
        .collect();
    let (mut store, instance) = instance(&format!(
        r#"(module
             (memory (export "memory") 1)
             (func $clobber (export "clobber") (param v128) (result v128)
               (f64x2.sqrt (local.get 0)))
             (table funcref (elem $clobber))
             (type $f (func (param v128) (result v128)))
             (func (export "run") (local v128)
               {loads}
               (drop (call_indirect (type $f) (local.get 0) (i32.const 0)))
               {stores}))"#
    ));
    let memory = instance.get_memory(&mut store, "memory").unwrap();
    let bytes: Vec<u8> = (0..4096).map(|n| (n * 7 % 251) as u8).collect();
    memory.write(&mut store, 0, &bytes).unwrap();
    let run = instance
        .get_typed_func::<(), ()>(&mut store, "run")
        .unwrap();
    run.call(&mut store, ()).unwrap();
    let data = memory.data(&store);
    for n in 0..COUNT {
        let popped = COUNT - 1 - n;
        let from = popped * 16 + 1;
        let to = 4096 + n * 16;
        assert_eq!(data[to..to + 16], data[from..from + 16], "vector {popped}");
    }
}

/// Everything that makes a NaN out of numbers, or another NaN out of a NaN.
const NANS: &str = r#"(module
    (func (export "f32") (param f32 f32) (result f32) (f32.div (local.get 0) (local.get 1)))
    (func (export "f64") (param f64 f64) (result f64) (f64.div (local.get 0) (local.get 1)))
    (func (export "promote") (param f32) (result f64) (f64.promote_f32 (local.get 0)))
    (func (export "f32x4") (param f32 f32) (result v128)
      (f32x4.div (f32x4.splat (local.get 0)) (f32x4.splat (local.get 1)))))"#;

#[test]
fn arithmetic_gives_the_canonical_nan_if_so_configured() {
    for level in [OptLevel::None, OptLevel::Speed] {
        let mut config = Config::new();
        config.nan_canonicalization(true).opt_level(level);
        let (mut store, instance) = instance_in(&Engine::new(&config).unwrap(), NANS);
        let odd = f32::from_bits(0xffc1_2345);
        for (x, y) in [(0.0, 0.0), (odd, 1.0), (1.0, odd)] {
            let f32 = instance.get_typed_func::<(f32, f32), f32>(&mut store, "f32");
            let result = f32.unwrap().call(&mut store, (x, y)).unwrap();
            assert_eq!(result.to_bits(), 0x7fc0_0000);
            let f64 = instance.get_typed_func::<(f64, f64), f64>(&mut store, "f64");
            let result = f64.unwrap().call(&mut store, (x.into(), y.into())).unwrap();
            assert_eq!(result.to_bits(), 0x7ff8_0000_0000_0000);
            let vector = instance.get_typed_func::<(f32, f32), V128>(&mut store, "f32x4");
            let result = vector.unwrap().call(&mut store, (x, y)).unwrap();
            assert_eq!(result.as_u128(), 0x7fc0_0000_7fc0_0000_7fc0_0000_7fc0_0000);
        }
        let promote = instance.get_typed_func::<f32, f64>(&mut store, "promote");
        let result = promote.unwrap().call(&mut store, odd).unwrap();
        assert_eq!(result.to_bits(), 0x7ff8_0000_0000_0000);
    }
}

#[test]
fn deterministic_relaxed_instructions_do_as_their_counterparts() {
    let mut config = Config::new();
    config.relaxed_simd_deterministic(true);
    let (mut store, instance) = instance_in(
        &Engine::new(&config).unwrap(),
        r#"(module
             (func (export "swizzle") (param v128 v128) (result v128)
               (i8x16.relaxed_swizzle (local.get 0) (local.get 1)))
             (func (export "truncate") (param v128 v128) (result v128)
               (i32x4.relaxed_trunc_f32x4_s (local.get 0)))
             (func (export "min") (param v128 v128) (result v128)
               (f32x4.relaxed_min (local.get 0) (local.get 1)))
             (func (export "dot") (param v128 v128) (result v128)
               (i16x8.relaxed_dot_i8x16_i7x16_s (local.get 0) (local.get 1)))
             (func (export "select") (param v128 v128) (result v128)
               (i16x8.relaxed_laneselect (local.get 0) (v128.const i64x2 0 0) (local.get 1)))
             (func (export "madd") (param v128 v128) (result v128)
               (f64x2.relaxed_madd (local.get 0) (local.get 0) (local.get 1))))"#,
    );
    let mut call = |name: &str, x: u128, y: u128| {
        let func = instance.get_typed_func::<(V128, V128), V128>(&mut store, name);
        let result = func.unwrap().call(&mut store, (x.into(), y.into()));
        result.unwrap().as_u128()
    };
    assert_eq!(
        call("swizzle", VECTOR, 16),
        0,
        "an index past the end is zero"
    );
    let huge = u128::from(f32::MAX.to_bits());
    assert_eq!(call("truncate", huge, 0), u128::from(i32::MAX as u32));
    let zero = u128::from((-0.0_f32).to_bits());
    assert_eq!(call("min", 0, zero), zero);
    assert_eq!(call("min", zero, 0), zero);
    assert_eq!(
        call("dot", 0x8080, 0x8080),
        0x7fff,
        "signed, with saturation"
    );
    assert_eq!(call("dot", 0x02fd, 0x7f01), 2 * 127 - 3);
    assert_eq!(call("select", 0xffff, 0x8001), 0x8001, "bit by bit");
    // The square's last bits are lost before the addition.
    let x = 1.0 + f64::EPSILON;
    let product = x * x;
    let difference = call("madd", x.to_bits().into(), (-product).to_bits().into());
    assert_eq!(f64::from_bits(difference as u64), 0.0);
}

#[test]
fn wide_numbers_carry_from_one_half_to_the_other() {
    let mut config = Config::new();
    config.wasm_feature(Feature::WideArithmetic, true);
    let (mut store, instance) = instance_in(
        &Engine::new(&config).unwrap(),
        r#"(module
             (func (export "square") (param i64) (result i64 i64)
               (i64.mul_wide_s (local.get 0) (local.get 0)))
             (func (export "next") (param i64 i64) (result i64 i64)
               (i64.add128 (local.get 0) (local.get 1) (i64.const 1) (i64.const 0))))"#,
    );
    let square = instance.get_typed_func::<i64, (i64, i64)>(&mut store, "square");
    let square = square.unwrap().call(&mut store, i64::MIN).unwrap();
    assert_eq!(square, (0, 1 << 62));
    let next = instance.get_typed_func::<(i64, i64), (i64, i64)>(&mut store, "next");
    let next = next.unwrap().call(&mut store, (-1, 4)).unwrap();
    assert_eq!(next, (0, 5));
}
