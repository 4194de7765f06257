//! What a module declares arrives in `Module` unchanged.

use super::{all_features, read, read_ok, wasm};
use sarsen_abi::module::{ElementItems, ElementMode, Export, Import, ImportCounts};
use sarsen_abi::types::{
    AbstractHeapType, CompositeType, FieldType, HeapType, IndexType, MemoryType, RefType,
    StorageType, ValType,
};
use sarsen_abi::{
    ConstExpr, ConstOp, EntityIndex, Feature, FuncIndex, GlobalIndex, MemoryIndex, TableIndex,
    TagIndex, TypeIndex,
};

fn const_expr(ops: &[ConstOp]) -> ConstExpr {
    ConstExpr { ops: ops.into() }
}

#[test]
fn imports_come_first_in_every_index_space() {
    let bytes = wasm(
        r#"(module
            (import "a" "f" (func $imported (param i32)))
            (import "a" "t" (table 1 2 funcref))
            (import "a" "m" (memory 3))
            (import "a" "g" (global i64))
            (import "b" "f" (func))
            (func $own (export "own") (result i32) i32.const 0)
            (table 5 externref)
            (memory (export "m") 6 7)
            (global (export "g") (mut f32) (f32.const 1.5)))"#,
    );
    let module = read_ok(&bytes).module;
    let counts = ImportCounts {
        funcs: 2,
        tables: 1,
        memories: 1,
        globals: 1,
        tags: 0,
    };
    assert_eq!(module.num_imports, counts);
    assert_eq!(
        module.imports[4],
        Import {
            module: "b".to_owned(),
            name: "f".to_owned(),
            entity: EntityIndex::Func(FuncIndex::new(1)),
        }
    );
    let export = |name: &str, entity| Export {
        name: name.to_owned(),
        entity,
    };
    assert_eq!(
        module.exports,
        [
            export("own", EntityIndex::Func(FuncIndex::new(2))),
            export("m", EntityIndex::Memory(MemoryIndex::new(1))),
            export("g", EntityIndex::Global(GlobalIndex::new(1))),
        ]
    );
    assert_eq!(*module.func_type(FuncIndex::new(0)).params, [ValType::I32]);
    assert_eq!(*module.func_type(FuncIndex::new(2)).results, [ValType::I32]);
    assert_eq!((module.tables.len(), module.table_inits.len()), (2, 1));
    let own_memory = MemoryType {
        index: IndexType::I32,
        shared: false,
        minimum: 6,
        maximum: Some(7),
        page_size_log2: 16,
    };
    assert_eq!(module.memories[1], own_memory);
    let bits = 1.5f32.to_bits();
    assert_eq!(
        module.global_inits,
        [const_expr(&[ConstOp::F32Const(bits)])]
    );
    assert_eq!(module.check(), Ok(()));
}

#[test]
fn every_function_that_something_names_needs_a_reference() {
    let bytes = wasm(
        r#"(module
            (import "" "" (func $imported))
            (func $unnamed)
            (func $exported (export "x"))
            (func $in_table)
            (func $in_expression)
            (func $in_global)
            (func $declared)
            (func $start)
            (func $in_table_init)
            (table 1 funcref (ref.func $in_table_init))
            (global funcref (ref.func $in_global))
            (elem (i32.const 0) func $in_table $imported $in_table)
            (elem funcref (ref.func $in_expression) (ref.null func))
            (elem declare func $declared)
            (start $start))"#,
    );
    let module = read_ok(&bytes).module;
    let expected: Vec<_> = (2..=8).map(FuncIndex::new).collect();
    assert_eq!(module.escaping_funcs, expected);
    assert_eq!(module.start, Some(FuncIndex::new(7)));
}

#[test]
fn a_function_named_inside_an_allocation_needs_a_reference() {
    let bytes = wasm(
        "(module
            (type $f (func))
            (type $s (struct (field (ref $f))))
            (type $a (array (ref null $s)))
            (func $in_struct)
            (func $in_table)
            (func $in_segment)
            (table 1 (ref null $a)
                (array.new_fixed $a 1 (struct.new $s (ref.func $in_table))))
            (global (ref $s) (struct.new $s (ref.func $in_struct)))
            (elem (ref $s) (item (struct.new $s (ref.func $in_segment)))))",
    );
    let module = read_ok(&bytes).module;
    let expected: Vec<_> = (0..3).map(FuncIndex::new).collect();
    assert_eq!(module.escaping_funcs, expected);
    assert_eq!(module.check(), Ok(()));
}

#[test]
fn constant_expressions_may_allocate_and_convert() {
    let bytes = wasm(
        "(module
            (type $s (sub (struct (field i8) (field f64))))
            (type $t (sub $s (struct (field i8) (field f64) (field (ref i31)))))
            (type $a (array (mut (ref null $s))))
            (global $s (ref $s) (struct.new_default $s))
            (global $t (ref $s)
                (struct.new $t (i32.const 1) (f64.const 2) (ref.i31 (i32.const 3))))
            (global (ref $a) (array.new $a (global.get $t) (i32.const 4)))
            (global (ref $a) (array.new_default $a (i32.const 5)))
            (global $fixed (ref null $a)
                (array.new_fixed $a 2 (global.get $s) (global.get $t)))
            (global $outside externref (extern.convert_any (global.get $fixed)))
            (global anyref (any.convert_extern (global.get $outside))))",
    );
    let module = read_ok(&bytes).module;
    let [s, t, a] = [0, 1, 2].map(TypeIndex::new);
    let global = |index| ConstOp::GlobalGet(GlobalIndex::new(index));
    assert_eq!(
        module.global_inits,
        [
            const_expr(&[ConstOp::StructNewDefault(s)]),
            const_expr(&[
                ConstOp::I32Const(1),
                ConstOp::F64Const(2.0_f64.to_bits()),
                ConstOp::I32Const(3),
                ConstOp::RefI31,
                ConstOp::StructNew(t),
            ]),
            const_expr(&[global(1), ConstOp::I32Const(4), ConstOp::ArrayNew(a)]),
            const_expr(&[ConstOp::I32Const(5), ConstOp::ArrayNewDefault(a)]),
            const_expr(&[global(0), global(1), ConstOp::ArrayNewFixed(a, 2)]),
            const_expr(&[global(4), ConstOp::ExternConvertAny]),
            const_expr(&[global(5), ConstOp::AnyConvertExtern]),
        ]
    );
    assert_eq!(module.check(), Ok(()));
}

/// Instantiation makes a heap for modules that use this feature.
#[test]
fn a_module_that_can_allocate_is_seen_to_use_collected_types() {
    for text in [
        "(type (struct))",
        "(type (array i8))",
        "(func (drop (ref.i31 (i32.const 0))))",
        "(func (param externref) (drop (any.convert_extern (local.get 0))))",
        "(func (param funcref) (drop (ref.test nullfuncref (local.get 0))))",
        "(global i31ref (ref.i31 (i32.const 0)))",
        "(global anyref (ref.null none))",
        "(table 1 arrayref)",
        "(func (param eqref))",
        "(rec (type (func)))",
    ] {
        let bytes = wasm(&format!("(module {text})"));
        let used = read_ok(&bytes).module.features_used;
        assert!(used.contains(Feature::Gc), "{text}");
    }
    for text in [
        "(table 1 externref) (global funcref (ref.null func))",
        "(type $f (func)) (func (param (ref $f)))",
    ] {
        let bytes = wasm(&format!("(module {text})"));
        let used = read_ok(&bytes).module.features_used;
        assert!(!used.contains(Feature::Gc), "{text}");
    }
}

#[test]
fn element_segments_keep_their_modes_and_items() {
    let bytes = wasm(
        r#"(module
            (import "" "offset" (global i32))
            (func)
            (table $t 1 funcref)
            (elem (table $t) (offset global.get 0) func 0 0)
            (elem funcref (ref.null func) (ref.func 0))
            (elem declare func 0))"#,
    );
    let module = read_ok(&bytes).module;
    let [active, passive, declared] = &module.elements[..] else {
        panic!("three segments: {:?}", module.elements);
    };
    assert_eq!(
        active.mode,
        ElementMode::Active {
            table: TableIndex::new(0),
            offset: const_expr(&[ConstOp::GlobalGet(GlobalIndex::new(0))]),
        }
    );
    assert_eq!(
        active.items,
        ElementItems::Funcs(vec![FuncIndex::new(0); 2])
    );
    assert_eq!(passive.mode, ElementMode::Passive);
    let func = HeapType::Abstract(AbstractHeapType::Func);
    assert_eq!(
        passive.items,
        ElementItems::Exprs(vec![
            const_expr(&[ConstOp::RefNull(func)]),
            const_expr(&[ConstOp::RefFunc(FuncIndex::new(0))]),
        ])
    );
    assert_eq!(declared.mode, ElementMode::Declared);
}

#[test]
fn extended_constant_expressions_are_kept_in_order() {
    let bytes = wasm(
        "(module
            (import \"\" \"\" (global i64))
            (global i64 (i64.sub (i64.mul (global.get 0) (i64.const 2)) (i64.const -1))))",
    );
    let module = read_ok(&bytes).module;
    assert_eq!(
        module.global_inits,
        [const_expr(&[
            ConstOp::GlobalGet(GlobalIndex::new(0)),
            ConstOp::I64Const(2),
            ConstOp::I64Mul,
            ConstOp::I64Const(-1),
            ConstOp::I64Sub,
        ])]
    );
    assert!(module.features_used.contains(Feature::ExtendedConst));
}

#[test]
fn types_of_every_kind_are_converted_with_their_groups() {
    let bytes = wasm(
        "(module
            (rec
                (type $node (sub (struct
                    (field $next (ref null $list)) (field (mut i8)) (field (ref $call)))))
                (type $list (array (mut (ref null $node))))
                (type $call (func (param (ref $list)) (result (ref null $cont))))
                (type $cont (cont $call)))
            (type $sub (sub final $node (struct
                (field (ref null $list)) (field (mut i8)) (field (ref $call)) (field i16))))
            (tag $tag (type $f))
            (type $f (func (param anyref exnref) (result externref i31ref))))",
    );
    let translation = read(&bytes, all_features()).unwrap_or_else(|e| panic!("{e}"));
    let module = translation.module;
    assert_eq!(module.rec_groups, [0..4, 4..5, 5..6]);
    let list = ValType::Ref(RefType {
        nullable: true,
        heap: HeapType::ConcreteArray(TypeIndex::new(1)),
    });
    let call = ValType::Ref(RefType {
        nullable: false,
        heap: HeapType::ConcreteFunc(TypeIndex::new(2)),
    });
    let field = |storage, mutable| FieldType { storage, mutable };
    assert_eq!(
        module.types[0].composite,
        CompositeType::Struct(Box::new([
            field(StorageType::Val(list), false),
            field(StorageType::I8, true),
            field(StorageType::Val(call), false),
        ]))
    );
    assert!(!module.types[0].is_final);
    assert_eq!(
        module.types[3].composite,
        CompositeType::Cont(TypeIndex::new(2))
    );
    assert_eq!(module.types[4].supertype, Some(TypeIndex::new(0)));
    assert!(module.types[4].is_final);
    assert_eq!(
        module.tags[TagIndex::new(0).index()].signature,
        TypeIndex::new(5)
    );
    for feature in [Feature::Gc, Feature::StackSwitching, Feature::Exceptions] {
        assert!(module.features_used.contains(feature), "{}", feature.name());
    }
    assert_eq!(module.check(), Ok(()));
}

#[test]
fn names_and_debugging_sections_are_kept() {
    let bytes = wasm(
        r#"(module $hello
            (func $first) (func) (func $third)
            (tag) (tag $failed)
            (@custom ".debug_info" "abc")
            (@custom "other" "def")
            (@custom ".debug_line" ""))"#,
    );
    let translation = read_ok(&bytes);
    assert_eq!(translation.module.name.as_deref(), Some("hello"));
    assert_eq!(translation.names.func(FuncIndex::new(0)), Some("first"));
    assert_eq!(translation.names.func(FuncIndex::new(1)), None);
    assert_eq!(translation.names.func(FuncIndex::new(2)), Some("third"));
    let failed = (TagIndex::new(1), "failed".to_owned());
    assert_eq!(translation.module.tag_names, [failed]);
    assert_eq!(
        translation.custom,
        [(".debug_info", &b"abc"[..]), (".debug_line", &b""[..])]
    );
}

#[test]
fn bodies_and_the_code_section_are_found_where_they_are() {
    let bytes = wasm("(module (func) (func i32.const 7 drop))");
    let translation = read_ok(&bytes);
    let offset = translation.module.code_offset as usize;
    assert_eq!(
        bytes[offset], 2,
        "the section's contents begin with the count"
    );
    let [first, second] = &translation.bodies[..] else {
        panic!("two bodies");
    };
    assert_eq!(first.body.range().start as usize, offset + 2);
    assert_eq!((first.size, second.size), (2, 5));
}

#[test]
fn only_features_that_a_module_uses_are_recorded() {
    let used = |text: &str| -> Vec<Feature> {
        let bytes = wasm(text);
        let module = read(&bytes, all_features())
            .unwrap_or_else(|e| panic!("{text}: {e}"))
            .module;
        module.features_used.iter().collect()
    };
    assert_eq!(used("(module (func (param i32)) (memory 1))"), []);
    for (text, feature) in [
        ("(func (result i32 i32) unreachable)", Feature::MultiValue),
        (
            "(func i32.const 0 (block (param i32) drop))",
            Feature::MultiValue,
        ),
        (
            "(func i32.const 0 i32.extend8_s drop)",
            Feature::SignExtension,
        ),
        (
            "(func f32.const 0 i32.trunc_sat_f32_s drop)",
            Feature::SaturatingFloatToInt,
        ),
        ("(func $f return_call $f)", Feature::TailCall),
        ("(memory 1) (memory 1)", Feature::MultiMemory),
        ("(memory i64 1)", Feature::Memory64),
        ("(memory 1 (pagesize 1))", Feature::CustomPageSizes),
        ("(memory 1 1 shared)", Feature::Threads),
        ("(table 1 externref)", Feature::ReferenceTypes),
        ("(data \"\")", Feature::BulkMemory),
        ("(func v128.const i64x2 0 0 drop)", Feature::Simd),
        (
            "(global (export \"\") (mut i32) (i32.const 0))",
            Feature::MutableGlobal,
        ),
        (
            "(func i64.const 0 i64.const 0 i64.mul_wide_s drop drop)",
            Feature::WideArithmetic,
        ),
    ] {
        assert_eq!(used(&format!("(module {text})")), [feature], "{text}");
    }
    assert_eq!(
        used(
            "(module (func v128.const i64x2 0 0 v128.const i64x2 0 0 i8x16.relaxed_swizzle drop))"
        ),
        [Feature::Simd, Feature::RelaxedSimd]
    );
}
