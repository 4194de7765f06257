//! Memories, tables, globals, tags and host objects.

use crate::instance;
use sarsen::{
    Config, Engine, Extern, ExternRef, ExternType, Func, FuncType, Global, GlobalType, Instance,
    Memory, MemoryType, Module, Mutability, Ref, RefType, Rooted, Store, Table, TableType, Tag,
    TagType, Trap, Val, ValType,
};

#[test]
fn a_memory_is_read_written_and_grown_from_both_sides() {
    let (mut store, instance) = instance(
        r#"(module
             (memory (export "memory") 1 3)
             (data (i32.const 8) "hello")
             (func (export "get") (param i32) (result i32) (i32.load8_u (local.get 0)))
             (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
             (func (export "size") (result i32) (memory.size)))"#,
    );
    let memory = instance.get_memory(&mut store, "memory").unwrap();
    let get = instance
        .get_typed_func::<i32, i32>(&mut store, "get")
        .unwrap();
    let grow = instance
        .get_typed_func::<i32, i32>(&mut store, "grow")
        .unwrap();
    let size = instance
        .get_typed_func::<(), i32>(&mut store, "size")
        .unwrap();
    assert_eq!(&memory.data(&store)[8..13], b"hello");
    assert_eq!(memory.ty(&store), MemoryType::new(1, Some(3)));
    assert_eq!(memory.page_size(&store), 65536);
    memory.data_mut(&mut store)[100] = 5;
    assert_eq!(get.call(&mut store, 100).unwrap(), 5);

    assert!(get.call(&mut store, 65536).is_err());
    assert_eq!(memory.grow(&mut store, 1).unwrap(), 1);
    assert_eq!(get.call(&mut store, 65536).unwrap(), 0);
    assert_eq!(grow.call(&mut store, 1).unwrap(), 2);
    assert_eq!(memory.size(&store), 3);
    assert_eq!(memory.data_size(&store), 3 * 65536);
    assert_eq!(size.call(&mut store, ()).unwrap(), 3);
    assert_eq!(grow.call(&mut store, 1).unwrap(), -1);
    assert!(memory.grow(&mut store, 1).is_err());

    let end = 3 * 65536;
    memory.write(&mut store, end - 2, &[1, 2]).unwrap();
    assert!(memory.write(&mut store, end - 1, &[1, 2]).is_err());
    assert!(memory.write(&mut store, usize::MAX, &[1]).is_err());
    let mut bytes = [0; 2];
    memory.read(&store, end - 2, &mut bytes).unwrap();
    assert_eq!(bytes, [1, 2]);
    assert!(memory.read(&store, end - 1, &mut bytes).is_err());
    memory.read(&store, end, &mut []).unwrap();
    assert!(memory.read(&store, end + 1, &mut []).is_err());
}

#[test]
fn a_memory_of_the_host_is_imported() {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module
             (import "" "memory" (memory 1))
             (func (export "put") (i32.store (i32.const 0) (i32.const 0x04030201))))"#,
    )
    .unwrap();
    let mut store = Store::new(&engine, ());
    let memory = Memory::new(&mut store, MemoryType::new(1, None)).unwrap();
    let instance = Instance::new(&mut store, &module, &[memory.into()]).unwrap();
    let put = instance
        .get_typed_func::<(), ()>(&mut store, "put")
        .unwrap();
    put.call(&mut store, ()).unwrap();
    assert_eq!(memory.data(&store)[..4], [1, 2, 3, 4]);
    // It moves nowhere when it grows: compiled code still finds it.
    memory.grow(&mut store, 10).unwrap();
    put.call(&mut store, ()).unwrap();
    assert_eq!(memory.data_size(&store), 11 * 65536);
}

#[test]
fn a_64_bit_memory_works() {
    let (mut store, instance) = instance(
        r#"(module
             (memory (export "memory") i64 1)
             (func (export "put") (param i64) (i64.store (local.get 0) (i64.const 7)))
             (func (export "grow") (param i64) (result i64) (memory.grow (local.get 0))))"#,
    );
    let memory = instance.get_memory(&mut store, "memory").unwrap();
    assert!(memory.ty(&store).is_64());
    let put = instance
        .get_typed_func::<i64, ()>(&mut store, "put")
        .unwrap();
    put.call(&mut store, 65528).unwrap();
    assert_eq!(memory.data(&store)[65528], 7);
    for address in [65529, 65536, 1 << 32, i64::MAX, -1, -8] {
        let error = put.call(&mut store, address).unwrap_err();
        assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::MemoryOutOfBounds));
    }
    let grow = instance
        .get_typed_func::<i64, i64>(&mut store, "grow")
        .unwrap();
    assert_eq!(grow.call(&mut store, 3).unwrap(), 1);
    assert_eq!(grow.call(&mut store, i64::MAX).unwrap(), -1);
    put.call(&mut store, 4 * 65536 - 8).unwrap();
    assert_eq!(memory.data(&store)[65528], 7, "growing keeps what is there");
}

#[test]
fn a_table_is_read_written_and_grown_from_both_sides() {
    let (mut store, instance) = instance(
        r#"(module
             (table (export "table") 2 5 funcref)
             (elem (i32.const 0) $seven)
             (func $seven (export "seven") (result i32) (i32.const 7))
             (func (export "call") (param i32) (result i32)
               (call_indirect (result i32) (local.get 0)))
             (func (export "grow") (param i32) (result i32)
               (table.grow (ref.func $seven) (local.get 0))))"#,
    );
    let table = instance.get_table(&mut store, "table").unwrap();
    let call = instance
        .get_typed_func::<i32, i32>(&mut store, "call")
        .unwrap();
    let grow = instance
        .get_typed_func::<i32, i32>(&mut store, "grow")
        .unwrap();
    assert_eq!(table.size(&store), 2);
    assert_eq!(table.ty(&store).to_string(), "(table 2 5 funcref)");
    assert!(table.get(&mut store, 1).unwrap().is_null());
    assert!(table.get(&mut store, 2).is_none());
    let seven = *table.get(&mut store, 0).unwrap().unwrap_func().unwrap();
    assert_eq!(
        seven
            .typed::<(), i32>(&store)
            .unwrap()
            .call(&mut store, ())
            .unwrap(),
        7
    );

    let eight = Func::wrap(&mut store, || 8);
    table.set(&mut store, 1, eight.into()).unwrap();
    assert_eq!(call.call(&mut store, 1).unwrap(), 8);
    assert!(table.set(&mut store, 2, eight.into()).is_err());
    assert!(
        table.set(&mut store, 0, Ref::Extern(None)).is_err(),
        "of another hierarchy"
    );

    assert_eq!(grow.call(&mut store, 1).unwrap(), 2);
    assert_eq!(call.call(&mut store, 2).unwrap(), 7);
    assert_eq!(table.grow(&mut store, 2, eight.into()).unwrap(), 3);
    assert_eq!(call.call(&mut store, 4).unwrap(), 8);
    assert!(table.grow(&mut store, 1, eight.into()).is_err());
    assert_eq!(grow.call(&mut store, 1).unwrap(), -1);

    table.fill(&mut store, 3, Ref::Func(None), 2).unwrap();
    assert!(call.call(&mut store, 4).is_err());
    assert!(table.fill(&mut store, 4, Ref::Func(None), 2).is_err());
    Table::copy(&mut store, &table, 3, &table, 1, 2).unwrap();
    assert_eq!(call.call(&mut store, 3).unwrap(), 8);
    assert_eq!(call.call(&mut store, 4).unwrap(), 7);
    assert!(Table::copy(&mut store, &table, 4, &table, 1, 2).is_err());
}

#[test]
fn tables_of_host_objects_keep_them() {
    let mut store = Store::new(&Engine::default(), ());
    let object = ExternRef::new(&mut store, 5u8).unwrap();
    let ty = TableType::new(RefType::EXTERNREF, 3, None);
    let table = Table::new(&mut store, ty, object.into()).unwrap();
    table.set(&mut store, 1, Ref::Extern(None)).unwrap();
    let found = table.get(&mut store, 2).unwrap();
    let found = found.unwrap_extern().unwrap();
    assert!(Rooted::ref_eq(&store, found, &object).unwrap());
    assert!(table.get(&mut store, 1).unwrap().is_null());
    let other = ExternRef::new(&mut store, 5u8).unwrap();
    assert!(!Rooted::ref_eq(&store, &other, &object).unwrap());

    let non_null = RefType::new(false, sarsen::HeapType::Func);
    assert!(
        Table::new(
            &mut store,
            TableType::new(non_null, 1, None),
            Ref::Func(None)
        )
        .is_err()
    );
}

#[test]
fn globals_are_read_and_written_from_both_sides() {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module
             (import "" "in" (global $in (mut i64)))
             (global $own (export "own") (mut i32) (i32.const 4))
             (global (export "fixed") f32 (f32.const 1.5))
             (global (export "object") (mut externref) (ref.null extern))
             (func (export "swap")
               (local i32)
               (local.set 0 (global.get $own))
               (global.set $own (i32.wrap_i64 (global.get $in)))
               (global.set $in (i64.extend_i32_s (local.get 0)))))"#,
    )
    .unwrap();
    let mut store = Store::new(&engine, ());
    let ty = GlobalType::new(ValType::I64, Mutability::Var);
    let global = Global::new(&mut store, ty.clone(), Val::I64(9)).unwrap();
    let instance = Instance::new(&mut store, &module, &[global.into()]).unwrap();
    let own = instance.get_global(&mut store, "own").unwrap();
    let swap = instance
        .get_typed_func::<(), ()>(&mut store, "swap")
        .unwrap();
    swap.call(&mut store, ()).unwrap();
    assert_eq!(global.get(&mut store).i64(), Some(4));
    assert_eq!(own.get(&mut store).i32(), Some(9));
    own.set(&mut store, Val::I32(-1)).unwrap();
    swap.call(&mut store, ()).unwrap();
    assert_eq!(global.get(&mut store).i64(), Some(-1));

    let fixed = instance.get_global(&mut store, "fixed").unwrap();
    assert_eq!(fixed.get(&mut store).f32(), Some(1.5));
    assert!(fixed.set(&mut store, Val::F32(0)).is_err());
    assert_eq!(fixed.ty(&store).to_string(), "(global f32)");

    let object = instance.get_global(&mut store, "object").unwrap();
    let five = ExternRef::new(&mut store, 5).unwrap();
    object.set(&mut store, five.into()).unwrap();
    let found = object.get(&mut store);
    let found = found.unwrap_externref().unwrap();
    assert_eq!(
        found.data(&store).unwrap().unwrap().downcast_ref(),
        Some(&5)
    );
    assert!(Global::new(&mut store, ty, Val::I32(0)).is_err());
}

#[test]
fn tags_have_an_identity() {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let ty = TagType::new(FuncType::new(&engine, [ValType::I32], []));
    let a = Tag::new(&mut store, &ty).unwrap();
    let b = Tag::new(&mut store, &ty).unwrap();
    assert!(Tag::eq(&a, &a, &store));
    assert!(!Tag::eq(&a, &b, &store));
    assert_eq!(a.ty(&store), ty);
    let other = Engine::default();
    assert!(Tag::new(&mut store, &TagType::new(FuncType::new(&other, [], []))).is_err());
}

#[test]
fn every_type_has_a_default_value() {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let types: Vec<ExternType> = vec![
        FuncType::new(&engine, [], [ValType::F64, ValType::FUNCREF]).into(),
        GlobalType::new(ValType::EXTERNREF, Mutability::Const).into(),
        TableType::new(RefType::EXTERNREF, 1, Some(2)).into(),
        MemoryType::new(1, Some(1)).into(),
        TagType::new(FuncType::new(&engine, [], [])).into(),
    ];
    for ty in types {
        let value = ty.default_value(&mut store).unwrap();
        assert_eq!(value.ty(&store), ty);
        if let Extern::Func(func) = value {
            let mut results = [Val::I32(1), Val::I32(1)];
            func.call(&mut store, &[], &mut results).unwrap();
            assert!(matches!(results, [Val::F64(0), Val::FuncRef(None)]));
        }
    }
    let non_null = ValType::Ref(RefType::new(false, sarsen::HeapType::Func));
    let ty: ExternType = GlobalType::new(non_null, Mutability::Const).into();
    assert!(ty.default_value(&mut store).is_err());
}

#[test]
fn small_reservations_make_checked_memories() {
    let mut config = Config::new();
    config.memory_reservation(1 << 20).memory_guard_size(65536);
    let engine = Engine::new(&config).unwrap();
    let (mut store, instance) = crate::instance_in(
        &engine,
        r#"(module
             (memory (export "memory") 1)
             (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
             (func (export "get") (param i32) (result i64) (i64.load offset=16 (local.get 0))))"#,
    );
    let memory = instance.get_memory(&mut store, "memory").unwrap();
    let get = instance
        .get_typed_func::<i32, i64>(&mut store, "get")
        .unwrap();
    let grow = instance
        .get_typed_func::<i32, i32>(&mut store, "grow")
        .unwrap();
    memory.data_mut(&mut store)[65528] = 3;
    assert_eq!(get.call(&mut store, 65512).unwrap(), 3);
    assert!(get.call(&mut store, 65513).is_err());
    assert!(get.call(&mut store, -1).is_err());
    // Past the reservation, it moves.
    assert_eq!(grow.call(&mut store, 100).unwrap(), 1);
    assert_eq!(get.call(&mut store, 65512).unwrap(), 3);
    assert_eq!(get.call(&mut store, 101 * 65536 - 24).unwrap(), 0);
    assert!(get.call(&mut store, 101 * 65536 - 23).is_err());
}

#[test]
fn compiled_code_follows_a_memory_that_the_host_grows_and_moves() {
    let mut config = Config::new();
    config.memory_reservation(1 << 20).memory_guard_size(65536);
    let engine = Engine::new(&config).unwrap();
    let module = Module::new(
        &engine,
        r#"(module
             (import "" "grow" (func $grow))
             (memory (export "memory") 1)
             (func (export "run") (result i64)
               (i64.store (i32.const 8) (i64.const 1))
               (call $grow)
               (i64.store (i32.const 8) (i64.add (i64.load (i32.const 8)) (i64.const 1)))
               (i64.store (i32.const 1000000) (i64.const 40))
               (i64.add (i64.load (i32.const 8)) (i64.load (i32.const 1000000)))))"#,
    )
    .unwrap();
    let mut linker = sarsen::Linker::new(&engine);
    linker
        .func_wrap("", "grow", |mut caller: sarsen::Caller<'_, ()>| {
            let memory = caller.get_export("memory").unwrap().into_memory().unwrap();
            let before = memory.data_ptr(&caller);
            memory.grow(&mut caller, 100)?;
            assert_ne!(memory.data_ptr(&caller), before, "the test is about moving");
            Ok(())
        })
        .unwrap();
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let run = instance
        .get_typed_func::<(), i64>(&mut store, "run")
        .unwrap();
    assert_eq!(run.call(&mut store, ()).unwrap(), 42);
}
