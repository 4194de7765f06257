//! Tests of instantiation as a whole, on modules whose code does not run.

use super::imports::Import;
use super::instance::{Extern, Instance};
use super::instantiate::InstantiateError;
use super::testing::*;
use super::*;
use sarsen_abi::const_expr::ConstOp;
use sarsen_abi::module::{
    DataMode, DataSegment, ElementItems, ElementMode, ElementSegment, MemoryImage,
};
use sarsen_abi::types::{RefType, ValType};
use sarsen_abi::vmctx::{HOSTCTX_MAGIC, VmCtxHeader, VmHostCtx};
use sarsen_abi::{DataIndex, ElemIndex, EntityIndex, FuncIndex, TrapCode};
use std::ptr::NonNull;
use std::sync::Arc;

fn table_elements(instance: &Instance, name: &str) -> Vec<u64> {
    let Some(Extern::Table(table)) = instance.export(name) else {
        panic!("no table of this name")
    };
    // SAFETY: alive, and nothing runs.
    let table = unsafe { table.as_ref() };
    (0..table.size()).map(|i| table.get(i).unwrap()).collect()
}

fn memory_bytes(instance: &Instance, name: &str, at: usize, len: usize) -> Vec<u8> {
    let Some(Extern::Memory(memory)) = instance.export(name) else {
        panic!("no memory of this name")
    };
    let mut bytes = vec![0; len];
    // SAFETY: alive, and nothing runs.
    unsafe { memory.as_ref() }
        .read(at as u64, &mut bytes)
        .unwrap();
    bytes
}

fn table_init(
    instance: &Instance,
    table: sarsen_abi::TableIndex,
    segment: ElemIndex,
    dst: u64,
    src: u32,
    len: u32,
) -> Result<(), TrapCode> {
    let result = instance.table_init(table, segment, dst, src, len);
    result.map_err(|reason| match reason {
        Reason::Trap(code) => code,
        other => panic!("{other:?}"),
    })
}

fn bits(instance: &Instance, func: FuncIndex) -> u64 {
    instance.func(func).unwrap().as_ptr() as u64
}

fn element(mode: ElementMode, funcs: &[FuncIndex]) -> ElementSegment {
    ElementSegment {
        mode,
        ty: RefType::FUNCREF,
        items: ElementItems::Funcs(funcs.to_vec()),
    }
}

#[test]
fn globals_are_initialized_in_order_from_imported_and_earlier_ones() {
    let engine = engine();
    let mut store = store(&engine);
    let mut builder = Builder::default();
    let g = builder.import_global("g", ValType::I32, false);
    let ty = builder.func_type(&[], &[]);
    let f = builder.func(ty);
    let ops = [ConstOp::GlobalGet(g), ConstOp::I32Const(2), ConstOp::I32Mul];
    let a = builder.global(ValType::I32, expr(&ops));
    let b = builder.global(ValType::I32, expr(&[ConstOp::GlobalGet(a)]));
    let c = builder.global(ValType::FUNCREF, expr(&[ConstOp::RefFunc(f)]));
    for (name, global) in [("g", g), ("a", a), ("b", b), ("c", c)] {
        builder.export(name, EntityIndex::Global(global));
    }
    builder.export("f", EntityIndex::Func(f));
    let module = builder.load(&engine);

    let global = store.new_global(sarsen_abi::vmctx::ValRaw(21), false);
    let ty = sarsen_abi::types::GlobalType {
        content: ValType::I32,
        mutable: false,
    };
    let imports = [Import::Extern(Extern::Global(global, ty))];
    let instance = instantiate(&mut store, &module, &imports).unwrap();
    assert_eq!(global_value(instance.export("g")), 21);
    assert_eq!(global_value(instance.export("a")), 42);
    assert_eq!(global_value(instance.export("b")), 42);
    assert_eq!(global_value(instance.export("c")) as u64, bits(instance, f));
    assert!(instance.export("d").is_none());
    let Some(Extern::Func(func)) = instance.export("f") else {
        panic!("not a function")
    };
    // SAFETY: alive.
    let func = unsafe { func.read() };
    assert_eq!(
        func.context.cast::<VmCtxHeader>(),
        instance.vmctx().as_ptr()
    );
    assert_eq!(func.type_id, module.type_id(sarsen_abi::TypeIndex::new(0)));
    assert!(!func.code.is_null() && !func.entry.is_null());
}

/// A module that imports table `t` and memory `m`, and writes both by active segments, the last of
/// which may not fit.
fn writer(last_offset: i32) -> Builder {
    let mut builder = Builder::default();
    let table = builder.import_table("t", table_type(4, None));
    let memory = builder.import_memory("m", memory_type(1, None));
    let ty = builder.func_type(&[], &[]);
    let f = builder.func(ty);
    let active = |at| ElementMode::Active {
        table,
        offset: i32_expr(at),
    };
    builder.module.elements = vec![element(active(1), &[f, f])];
    builder.data = b"abcdef".to_vec();
    builder.module.data = [(0, 10, 0..3), (1, last_offset, 3..6)]
        .map(|(index, at, bytes)| DataSegment {
            index: DataIndex::new(index),
            mode: DataMode::Active {
                memory,
                offset: i32_expr(at),
            },
            bytes,
        })
        .into();
    builder
}

/// A module that exports table `t` and memory `m`.
fn owner() -> Builder {
    let mut builder = Builder::default();
    let table = builder.table(table_type(4, None), None);
    let memory = builder.memory(memory_type(1, None));
    builder.export("t", EntityIndex::Table(table));
    builder.export("m", EntityIndex::Memory(memory));
    builder
}

#[test]
fn a_segment_that_does_not_fit_traps_and_leaves_what_was_written() {
    let engine = engine();
    let mut store = store(&engine);
    let owner = owner().load(&engine);
    let at = NonNull::from(instantiate(&mut store, &owner, &[]).unwrap());
    // SAFETY: lives as long as the store.
    let owner = unsafe { at.as_ref() };
    let imports = [exported(owner, "t"), exported(owner, "m")];
    let failed = instantiate(&mut store, &writer(65534).load(&engine), &imports);
    assert!(matches!(
        failed,
        Err(InstantiateError::Trap(TrapCode::MemoryOutOfBounds))
    ));
    assert_eq!(memory_bytes(owner, "m", 9, 5), b"\0abc\0");
    assert_eq!(memory_bytes(owner, "m", 65534, 2), [0, 0]);
    let elements = table_elements(owner, "t");
    assert!(elements[0] == 0 && elements[1] != 0 && elements[3] == 0);
    // The function in the table belongs to an instance that is alive.
    let funcref = elements[1] as *const sarsen_abi::vmctx::VmFuncRef;
    // SAFETY: references in tables are valid as long as the store.
    unsafe {
        let vmctx = (*funcref).context.cast::<VmCtxHeader>();
        assert_eq!(Instance::from_vmctx(vmctx).vmctx().as_ptr(), vmctx);
    }
    assert_eq!(store.counts().instances, 2);
    instantiate(&mut store, &writer(65533).load(&engine), &imports).unwrap();
    assert_eq!(memory_bytes(owner, "m", 65533, 3), b"def");
}

#[test]
fn an_element_segment_that_does_not_fit_traps_before_data_is_written() {
    let engine = engine();
    let mut store = store(&engine);
    let owner = owner().load(&engine);
    let at = NonNull::from(instantiate(&mut store, &owner, &[]).unwrap());
    // SAFETY: lives as long as the store.
    let owner = unsafe { at.as_ref() };
    let imports = [exported(owner, "t"), exported(owner, "m")];
    for offset in [3, 5, -1] {
        let mut writer = writer(0);
        let ElementMode::Active { offset: at, .. } = &mut writer.module.elements[0].mode else {
            unreachable!()
        };
        *at = i32_expr(offset);
        let failed = instantiate(&mut store, &writer.load(&engine), &imports);
        assert!(matches!(
            failed,
            Err(InstantiateError::Trap(TrapCode::TableOutOfBounds))
        ));
        assert_eq!(table_elements(owner, "t"), [0; 4]);
        assert_eq!(memory_bytes(owner, "m", 0, 20), [0; 20]);
    }
}

#[test]
fn passive_segments_are_read_within_bounds_until_they_are_dropped() {
    let engine = engine();
    let mut store = store(&engine);
    let mut builder = owner();
    let ty = builder.func_type(&[], &[]);
    let (f, g) = (builder.func(ty), builder.func(ty));
    builder.module.elements = vec![
        element(ElementMode::Passive, &[f, g]),
        element(ElementMode::Declared, &[f]),
    ];
    builder.data = b"hello".to_vec();
    builder.module.data = vec![DataSegment {
        index: DataIndex::new(0),
        mode: DataMode::Passive,
        bytes: 0..5,
    }];
    let instance = instantiate(&mut store, &builder.load(&engine), &[]).unwrap();
    let (t, m) = (
        sarsen_abi::TableIndex::new(0),
        sarsen_abi::MemoryIndex::new(0),
    );
    let (passive, declared) = (ElemIndex::new(0), ElemIndex::new(1));
    let data = DataIndex::new(0);

    assert_eq!(table_init(instance, t, passive, 1, 0, 2), Ok(()));
    assert_eq!(
        table_elements(instance, "t"),
        [0, bits(instance, f), bits(instance, g), 0]
    );
    let out_of_table = Err(TrapCode::TableOutOfBounds);
    assert_eq!(table_init(instance, t, passive, 3, 0, 2), out_of_table);
    assert_eq!(
        table_init(instance, t, passive, u64::MAX, 0, 1),
        out_of_table
    );
    assert_eq!(table_init(instance, t, passive, 0, 1, 2), out_of_table);
    assert_eq!(
        table_init(instance, t, passive, 0, u32::MAX, u32::MAX),
        out_of_table
    );
    assert_eq!(table_init(instance, t, declared, 0, 0, 1), out_of_table);
    assert_eq!(table_init(instance, t, declared, 0, 0, 0), Ok(()));
    instance.elem_drop(passive);
    assert_eq!(table_init(instance, t, passive, 0, 0, 1), out_of_table);
    assert_eq!(table_init(instance, t, passive, 4, 0, 0), Ok(()));

    assert_eq!(instance.memory_init(m, data, 65531, 0, 5), Ok(()));
    assert_eq!(memory_bytes(instance, "m", 65531, 5), b"hello");
    let out_of_memory = Err(TrapCode::MemoryOutOfBounds);
    assert_eq!(instance.memory_init(m, data, 65532, 0, 5), out_of_memory);
    assert_eq!(instance.memory_init(m, data, u64::MAX, 0, 1), out_of_memory);
    assert_eq!(instance.memory_init(m, data, 0, 1, 5), out_of_memory);
    instance.data_drop(data);
    assert_eq!(instance.memory_init(m, data, 0, 0, 1), out_of_memory);
    assert_eq!(instance.memory_init(m, data, 65536, 0, 0), Ok(()));
}

#[test]
fn tables_and_memories_begin_with_what_the_module_declares() {
    let engine = engine();
    let mut builder = Builder::default();
    let ty = builder.func_type(&[], &[]);
    let f = builder.func(ty);
    let table = builder.table(table_type(3, None), Some(expr(&[ConstOp::RefFunc(f)])));
    builder.export("t", EntityIndex::Table(table));
    let memory = builder.memory(memory_type(3, None));
    builder.export("m", EntityIndex::Memory(memory));
    builder.data = [vec![7; 4096], vec![8; 4096 * 9]].concat();
    let image = MemoryImage {
        address: 65536,
        bytes: 0..4096 * 10,
    };
    builder.module.memory_images[0] = Some(image);
    let module = builder.load(&engine);
    for _ in 0..3 {
        let mut store = store(&engine);
        let instance = instantiate(&mut store, &module, &[]).unwrap();
        assert_eq!(table_elements(instance, "t"), [bits(instance, f); 3]);
        assert_eq!(memory_bytes(instance, "m", 65535, 2), [0, 7]);
        assert_eq!(memory_bytes(instance, "m", 65536 + 4095, 2), [7, 8]);
        assert_eq!(memory_bytes(instance, "m", 65536 + 40959, 2), [8, 0]);
        let Some(Extern::Memory(mut memory)) = instance.export("m") else {
            unreachable!()
        };
        // SAFETY: alive, and nothing runs.
        unsafe { memory.as_mut() }
            .write(65535, &[1; 40000])
            .unwrap();
    }
}

#[test]
fn a_host_function_knows_each_of_its_callers() {
    let engine = engine();
    let mut store = store(&engine);
    let host = host_func(&engine, &[ValType::I32], Box::new(5u8));
    let mut builder = Builder::default();
    let ty = builder.func_type(&[ValType::I32], &[]);
    let f = builder.import_func("f", ty);
    builder.export("f", EntityIndex::Func(f));
    let module = builder.load(&engine);

    let caller_of = |import: Import| {
        let Import::Extern(Extern::Func(func)) = import else {
            unreachable!()
        };
        // SAFETY: alive, and the context of a host function.
        unsafe {
            let func = func.read();
            assert_eq!((*func.context).magic, HOSTCTX_MAGIC);
            assert!(!func.code.is_null() && !func.entry.is_null());
            let context = func.context.cast::<VmHostCtx>().read();
            assert_eq!(*context.data, 5);
            context.caller
        }
    };
    let first = NonNull::from(instantiate(&mut store, &module, &[import_host(&host)]).unwrap());
    // SAFETY: lives as long as the store.
    let first = unsafe { first.as_ref() };
    assert_eq!(caller_of(exported(first, "f")), first.vmctx().as_ptr());
    let again = exported(first, "f");
    let second = NonNull::from(instantiate(&mut store, &module, &[again]).unwrap());
    // SAFETY: lives as long as the store.
    let second = unsafe { second.as_ref() };
    assert_eq!(caller_of(exported(second, "f")), second.vmctx().as_ptr());
    assert_eq!(caller_of(exported(first, "f")), first.vmctx().as_ptr());

    // One that the host made has no caller; importing it gives another one.
    let made = store.new_host_func(&host);
    let import = Import::Extern(Extern::Func(made));
    assert!(caller_of(import).is_null());
    let third = NonNull::from(instantiate(&mut store, &module, &[import]).unwrap());
    // SAFETY: lives as long as the store.
    let third = unsafe { third.as_ref() };
    assert_eq!(caller_of(exported(third, "f")), third.vmctx().as_ptr());
    assert!(caller_of(import).is_null());
}

#[test]
fn a_host_function_is_resolved_as_soon_as_some_image_has_its_stubs() {
    let engine = engine();
    let mut store = store(&engine);
    let host = host_func(&engine, &[ValType::F32], Box::new(()));
    let func = store.new_host_func(&host);
    // SAFETY: a function of this store.
    let unresolved = unsafe { store.resolve(func) };
    assert_eq!(unresolved, Err(MissingStubs(host.ty().id())));
    let mut builder = Builder::default();
    builder.func_type(&[], &[]);
    builder.func_type(&[ValType::F32], &[]);
    let module = builder.load(&engine);
    // SAFETY: a function of this store.
    assert_eq!(unsafe { store.resolve(func) }, Ok(()));
    drop(module);
    assert!(
        engine.stubs(host.ty().id()).is_some(),
        "the store keeps what it uses"
    );
    drop(store);
    assert!(
        engine.stubs(host.ty().id()).is_none(),
        "the engine keeps nothing"
    );
}

#[test]
fn imports_of_the_wrong_kind_type_or_number_are_named() {
    let engine = engine();
    let mut store = store(&engine);
    let mut builder = Builder::default();
    let ty = builder.func_type(&[ValType::I32, ValType::FUNCREF], &[]);
    builder.import_func("f", ty);
    builder.import_memory("m", memory_type(2, Some(3)));
    let module = builder.load(&engine);
    let host = host_func(&engine, &[ValType::I32], Box::new(()));
    let memory = store.new_memory(memory_type(1, Some(3))).unwrap();
    let memory = Import::Extern(Extern::Memory(memory));

    let mut message = |imports: &[Import]| {
        instantiate(&mut store, &module, imports)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(message(&[]), "expected 2 imports, found 0");
    assert_eq!(
        message(&[import_host(&host), memory]),
        "incompatible import type for `env::f`: \
         wanted (func (param i32 funcref)), found (func (param i32))"
    );
    assert_eq!(
        message(&[memory, memory]),
        "incompatible import type for `env::f`: \
         wanted (func (param i32 funcref)), found (memory 1 3)"
    );
    let right = host_func(&engine, &[ValType::I32, ValType::FUNCREF], Box::new(()));
    assert_eq!(
        message(&[import_host(&right), memory]),
        "incompatible import type for `env::m`: wanted (memory 2 3), found (memory 1 3)"
    );
    let Import::Extern(Extern::Memory(at)) = memory else {
        unreachable!()
    };
    // SAFETY: of this store, and nothing runs.
    assert_eq!(unsafe { store.grow_memory(at, 1) }.unwrap(), Some(1));
    instantiate(&mut store, &module, &[import_host(&right), memory]).unwrap();
    assert_eq!(store.counts().instances, 1, "what failed is not counted");
}

#[test]
fn dropping_a_store_and_a_module_frees_everything() {
    let engine = engine();
    let data = Arc::new(());
    for round in 0..3 {
        let mut store = store(&engine);
        let host = host_func(&engine, &[ValType::I64], Box::new(Arc::clone(&data)));
        let mut builder = owner();
        let ty = builder.func_type(&[ValType::I64], &[]);
        builder.import_func("f", ty);
        let f = builder.func(ty);
        builder.export("g", EntityIndex::Func(f));
        let module = builder.load(&engine);
        for _ in 0..=round {
            instantiate(&mut store, &module, &[import_host(&host)]).unwrap();
        }
        store.new_host_func(&host);
        store.new_externref(Box::new(Arc::clone(&data))).unwrap();
        store.keep(data.clone());
        let code = Arc::downgrade(module.code());
        drop(module);
        drop(host);
        assert_eq!(Arc::strong_count(&data), 4);
        assert!(code.upgrade().is_some());
        drop(store);
        assert_eq!(Arc::strong_count(&data), 1);
        assert!(code.upgrade().is_none());
        assert_eq!(engine.types().len(), 0);
    }
    assert_eq!(Arc::strong_count(&engine), 1);
}

#[test]
fn exports_are_found_among_few_and_among_many() {
    let engine = engine();
    for count in [3, 300] {
        let mut builder = Builder::default();
        for n in 0..count {
            let global = builder.global(ValType::I32, i32_expr(n));
            builder.export(&format!("g{n}"), EntityIndex::Global(global));
        }
        let mut store = store(&engine);
        let instance = instantiate(&mut store, &builder.load(&engine), &[]).unwrap();
        for n in 0..count {
            assert_eq!(global_value(instance.export(&format!("g{n}"))), n as u128);
        }
        assert!(instance.export("g").is_none());
        assert_eq!(instance.exports().len(), count as usize);
    }
}

#[test]
fn threads_that_instantiate_one_module_do_not_disturb_each_other() {
    let engine = engine();
    let mut builder = owner();
    builder.data = vec![3; 4096 * 8];
    let image = MemoryImage {
        address: 4096,
        bytes: 0..4096 * 8,
    };
    builder.module.memory_images[0] = Some(image);
    let module = builder.load(&engine);
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            let (engine, module) = (&engine, &module);
            scope.spawn(move || {
                for round in 0..50 {
                    let mut store = store(engine);
                    let made = instantiate(&mut store, module, &[]).unwrap();
                    assert_eq!(memory_bytes(made, "m", 4095, 2), [0, 3]);
                    let Some(Extern::Memory(mut memory)) = made.export("m") else {
                        unreachable!()
                    };
                    // SAFETY: alive, and nothing runs.
                    let memory = unsafe { memory.as_mut() };
                    memory.write(4000, &[thread, round, 0xff]).unwrap();
                    let mut bytes = [0; 3];
                    memory.read(4000, &mut bytes).unwrap();
                    assert_eq!(bytes, [thread, round, 0xff]);
                    let data = Box::new(u32::from(thread));
                    let reference = store.new_externref(data).unwrap();
                    let data = store.externref_data(reference).unwrap();
                    assert_eq!(data.unwrap().downcast_ref(), Some(&u32::from(thread)));
                }
            });
        }
    });
}
