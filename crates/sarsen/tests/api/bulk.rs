//! Bulk operations: what they do when they are long, and the host interrupts them.

use crate::instance_in;
use sarsen::{Config, Engine, Instance, Store, Trap, TypedFunc, UpdateDeadline, Val};

const MIB: usize = 1 << 20;

/// 48 MiB of memory, and more than a million elements.
const MODULE: &str = r#"(module
  (memory (export "memory") i64 768)
  (table $t (export "table") 1200000 funcref)
  (elem $declared declare func $f)
  (func $f (export "f"))
  (func (export "fill") (param i64 i32 i64)
    (memory.fill (local.get 0) (local.get 1) (local.get 2)))
  (func (export "copy") (param i64 i64 i64)
    (memory.copy (local.get 0) (local.get 1) (local.get 2)))
  (func (export "table_fill") (param i32 i32)
    (table.fill $t (local.get 0) (ref.func $f) (local.get 1)))
  (func (export "table_copy") (param i32 i32 i32)
    (table.copy $t $t (local.get 0) (local.get 1) (local.get 2))))"#;

fn with_epochs() -> Engine {
    let mut config = Config::new();
    // So that the memory moves when it grows.
    config
        .epoch_interruption(true)
        .memory_reservation(MIB as u64);
    Engine::new(&config).unwrap()
}

/// A store whose deadline always has passed, and which counts in its data how often it was asked; the
/// answer is to stop at the given time.
fn counting(stop_at: u32) -> (Store<u32>, Instance) {
    counting_in(&with_epochs(), MODULE, stop_at)
}

fn counting_in(engine: &Engine, text: &str, stop_at: u32) -> (Store<u32>, Instance) {
    let module = sarsen::Module::new(engine, text).unwrap();
    let mut store = Store::new(engine, 0);
    store.set_epoch_deadline(0);
    store.epoch_deadline_callback(move |mut context| {
        *context.data_mut() += 1;
        match *context.data() < stop_at {
            true => Ok(UpdateDeadline::Continue(0)),
            false => Ok(UpdateDeadline::Interrupt),
        }
    });
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    (store, instance)
}

fn func<P: sarsen::WasmParams>(
    store: &mut Store<u32>,
    instance: &Instance,
    name: &str,
) -> TypedFunc<P, ()> {
    instance.get_typed_func(store, name).unwrap()
}

fn memory<'a>(store: &'a mut Store<u32>, instance: &Instance) -> &'a mut [u8] {
    let memory = instance.get_memory(&mut *store, "memory").unwrap();
    memory.data_mut(store)
}

#[test]
fn one_long_fill_asks_the_host_many_times() {
    let (mut store, instance) = counting(u32::MAX);
    let fill = func::<(i64, i32, i64)>(&mut store, &instance, "fill");
    fill.call(&mut store, (1, 7, 47 * MIB as i64)).unwrap();
    // On entry, and before each piece.
    assert_eq!(*store.data(), 1 + 6);
    let bytes = memory(&mut store, &instance);
    assert_eq!((bytes[0], bytes[47 * MIB + 1]), (0, 0));
    assert!(bytes[1..=47 * MIB].iter().all(|&b| b == 7));
}

#[test]
fn an_interrupted_fill_has_done_what_it_had_done() {
    let (mut store, instance) = counting(4);
    let fill = func::<(i64, i32, i64)>(&mut store, &instance, "fill");
    let error = fill.call(&mut store, (0, 7, 47 * MIB as i64)).unwrap_err();
    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::Interrupt));
    let bytes = memory(&mut store, &instance);
    assert!(bytes[..16 * MIB].iter().all(|&b| b == 7));
    assert!(bytes[16 * MIB..].iter().all(|&b| b == 0));
}

#[test]
fn a_long_copy_reads_every_byte_before_it_writes_there() {
    for (to, from) in [(1, 0), (0, 1), (9 * MIB, 0), (0, 9 * MIB), (3, 3)] {
        let (mut store, instance) = counting(u32::MAX);
        let bytes = memory(&mut store, &instance);
        let mut seed = 1u32;
        for word in bytes.chunks_exact_mut(4) {
            seed = seed.wrapping_mul(0x915f_77f5).wrapping_add(1);
            word.copy_from_slice(&seed.to_le_bytes());
        }
        let mut expected = bytes.to_vec();
        let length = 30 * MIB;
        expected.copy_within(from..from + length, to);
        let copy = func::<(i64, i64, i64)>(&mut store, &instance, "copy");
        let arguments = [to, from, length].map(|n| n as i64).into();
        copy.call(&mut store, arguments).unwrap();
        assert_eq!(*store.data(), 1 + 4);
        assert!(memory(&mut store, &instance) == expected, "{to} {from}");
    }
}

#[test]
fn nothing_is_written_if_a_late_piece_would_be_out_of_bounds() {
    let (mut store, instance) = counting(u32::MAX);
    let fill = func::<(i64, i32, i64)>(&mut store, &instance, "fill");
    let copy = func::<(i64, i64, i64)>(&mut store, &instance, "copy");
    let table_fill = func::<(i32, i32)>(&mut store, &instance, "table_fill");
    let table_copy = func::<(i32, i32, i32)>(&mut store, &instance, "table_copy");
    let all = 48 * MIB as i64;
    for length in [all, -1, i64::MIN] {
        let errors = [
            fill.call(&mut store, (1, 7, length)).unwrap_err(),
            copy.call(&mut store, (1, 0, length)).unwrap_err(),
            copy.call(&mut store, (0, 1, length)).unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.downcast_ref(), Some(&Trap::MemoryOutOfBounds));
        }
    }
    assert!(memory(&mut store, &instance).iter().all(|&b| b == 0));
    for length in [1_200_000, -1] {
        let errors = [
            table_fill.call(&mut store, (1, length)).unwrap_err(),
            table_copy.call(&mut store, (1, 0, length)).unwrap_err(),
            table_copy.call(&mut store, (0, 1, length)).unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.downcast_ref(), Some(&Trap::TableOutOfBounds));
        }
    }
    let table = instance.get_table(&mut store, "table").unwrap();
    let first = table.get(&mut store, 1).unwrap();
    assert!(first.as_func().is_some_and(|func| func.is_none()));
}

#[test]
fn a_memory_may_move_while_it_is_copied() {
    let (mut store, instance) = counting(u32::MAX);
    let bytes = memory(&mut store, &instance);
    for (number, page) in bytes.chunks_exact_mut(4096).enumerate() {
        page[..4].copy_from_slice(&(number as u32).to_le_bytes());
    }
    let mut expected = bytes.to_vec();
    let memory_handle = instance.get_memory(&mut store, "memory").unwrap();
    let before = memory_handle.data_ptr(&store);
    store.epoch_deadline_callback(move |mut context| {
        // Beyond twice the size, so that it does not fit where it is.
        memory_handle.grow(&mut context, 1024)?;
        Ok(UpdateDeadline::Continue(0))
    });
    let copy = func::<(i64, i64, i64)>(&mut store, &instance, "copy");
    let length = 40 * MIB;
    expected.copy_within(0..length, 4096);
    copy.call(&mut store, (4096, 0, length as i64)).unwrap();
    assert_ne!(memory_handle.data_ptr(&store), before, "it has moved");
    assert!(memory(&mut store, &instance)[..expected.len()] == expected);
}

#[test]
fn long_table_operations_ask_the_host_many_times() {
    let (mut store, instance) = counting(u32::MAX);
    let table = instance.get_table(&mut store, "table").unwrap();
    let is_set = |store: &mut Store<u32>, index: u64| {
        let element = table.get(store, index).unwrap();
        element.as_func().is_some_and(|func| func.is_some())
    };
    let fill = func::<(i32, i32)>(&mut store, &instance, "table_fill");
    fill.call(&mut store, (10, 600_000)).unwrap();
    assert_eq!(*store.data(), 1 + 10);
    for (index, expected) in [(9, false), (10, true), (600_009, true), (600_010, false)] {
        assert_eq!(is_set(&mut store, index), expected, "{index}");
    }
    let copy = func::<(i32, i32, i32)>(&mut store, &instance, "table_copy");
    for (to, from) in [(100_000, 0), (0, 100_000), (500_000, 100_000)] {
        let sample: Vec<u64> = (0..700_000).step_by(10).collect();
        let expected: Vec<bool> = sample
            .iter()
            .map(|&index| is_set(&mut store, index + from))
            .collect();
        *store.data_mut() = 0;
        let arguments = (to as i32, from as i32, 700_000);
        copy.call(&mut store, arguments).unwrap();
        assert_eq!(*store.data(), 1 + 11);
        let found: Vec<bool> = sample
            .iter()
            .map(|&index| is_set(&mut store, index + to))
            .collect();
        assert!(found == expected, "{to} {from}");
    }
}

#[test]
fn initializing_from_a_large_segment_is_interrupted_too() {
    let text = format!(
        r#"(module
             (memory (export "memory") 400)
             (data $d "{}b")
             (func (export "init") (param i32 i32 i32)
               (memory.init $d (local.get 0) (local.get 1) (local.get 2)))
             (func (export "drop") (data.drop $d)))"#,
        "a".repeat(20 * MIB)
    );
    let (mut store, instance) = counting_in(&with_epochs(), &text, u32::MAX);
    let init = func::<(i32, i32, i32)>(&mut store, &instance, "init");
    for (to, from, length) in [(0, 1, 20 * MIB + 1), (5 * MIB + 1, 0, 20 * MIB)] {
        let arguments = [to, from, length].map(|n| n as i32).into();
        let error = init.call(&mut store, arguments).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Trap::MemoryOutOfBounds));
    }
    assert!(memory(&mut store, &instance).iter().all(|&b| b == 0));
    *store.data_mut() = 0;
    init.call(&mut store, (3, 2, 20 * MIB as i32 - 1)).unwrap();
    assert_eq!(*store.data(), 1 + 3);
    let bytes = memory(&mut store, &instance);
    assert_eq!(bytes[2], 0);
    assert!(bytes[3..20 * MIB + 1].iter().all(|&b| b == b'a'));
    assert_eq!(bytes[20 * MIB + 1..][..2], *b"b\0");
    let drop = func::<()>(&mut store, &instance, "drop");
    drop.call(&mut store, ()).unwrap();
    let error = init.call(&mut store, (0, 0, 10 * MIB as i32)).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::MemoryOutOfBounds));
    init.call(&mut store, (0, 0, 0)).unwrap();
}

#[test]
fn fuel_is_counted_by_the_piece() {
    let mut config = Config::new();
    config.consume_fuel(true);
    let engine = Engine::new(&config).unwrap();
    let (mut store, instance) = instance_in(&engine, MODULE);
    let fill = instance
        .get_typed_func::<(i64, i32, i64), ()>(&mut store, "fill")
        .unwrap();
    let mut used = |length: usize| {
        store.set_fuel(1 << 30).unwrap();
        fill.call(&mut store, (0, 0, length as i64)).unwrap();
        (1 << 30) - store.get_fuel().unwrap() as usize
    };
    // One unit for 64 bytes, whatever the pieces.
    let empty = used(0);
    for length in [64, MIB, 8 * MIB, 8 * MIB + 64, 40 * MIB] {
        assert_eq!(used(length), empty + length / 64, "{length}");
    }
    store.set_fuel(20 * MIB as u64 / 64).unwrap();
    let error = fill.call(&mut store, (0, 7, 40 * MIB as i64)).unwrap_err();
    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::OutOfFuel));
    let memory = instance.get_memory(&mut store, "memory").unwrap();
    let bytes = memory.data(&store);
    assert!(bytes[..16 * MIB].iter().all(|&b| b == 7));
    assert!(bytes[16 * MIB..].iter().all(|&b| b == 0));
}

#[test]
fn the_same_table_imported_twice_is_copied_in_the_right_order() {
    let engine = with_epochs();
    let (mut store, instance) = counting_in(&engine, MODULE, u32::MAX);
    let module = sarsen::Module::new(
        &engine,
        r#"(module
             (import "" "t" (table $a 1 funcref))
             (import "" "t" (table $b 1 funcref))
             (func (export "copy") (param i32 i32 i32)
               (table.copy $a $b (local.get 0) (local.get 1) (local.get 2))))"#,
    )
    .unwrap();
    let table = instance.get_table(&mut store, "table").unwrap();
    let imports = [table.into(), table.into()];
    let copier = Instance::new(&mut store, &module, &imports).unwrap();
    let copy = func::<(i32, i32, i32)>(&mut store, &copier, "copy");
    let f = instance.get_func(&mut store, "f").unwrap();
    for index in [0, 70_000, 140_000] {
        table.set(&mut store, index, f.into()).unwrap();
    }
    copy.call(&mut store, (1, 0, 200_000)).unwrap();
    for index in [1, 70_001, 140_001] {
        let element: Val = table.get(&mut store, index).unwrap().into();
        assert!(matches!(element, Val::FuncRef(Some(_))), "{index}");
    }
    let between = table.get(&mut store, 140_002).unwrap();
    assert!(between.as_func().is_some_and(|func| func.is_none()));
}
