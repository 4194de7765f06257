//! Tests of [`Module::check`](crate::Module::check): a module with one of everything passes, and each
//! way to break it is noticed.

mod collected;

use crate::const_expr::{ConstExpr, ConstOp};
use crate::features::{Feature, Features};
use crate::index::*;
use crate::module::*;
use crate::types::*;

fn expr(ops: &[ConstOp]) -> ConstExpr {
    ConstExpr { ops: ops.into() }
}

fn func_type(params: &[ValType], supertype: Option<u32>, is_final: bool) -> SubType {
    SubType {
        is_final,
        supertype: supertype.map(TypeIndex::new),
        composite: CompositeType::Func(FuncType {
            params: params.into(),
            results: Box::new([]),
        }),
    }
}

fn concrete(index: u32, nullable: bool) -> RefType {
    RefType {
        nullable,
        heap: HeapType::ConcreteFunc(TypeIndex::new(index)),
    }
}

fn import(entity: EntityIndex) -> Import {
    Import {
        module: "m".to_owned(),
        name: "n".to_owned(),
        entity,
    }
}

fn memory(minimum: u64) -> MemoryType {
    MemoryType {
        index: IndexType::I32,
        shared: false,
        minimum,
        maximum: None,
        page_size_log2: 16,
    }
}

fn table(element: RefType) -> TableType {
    TableType {
        element,
        index: IndexType::I32,
        minimum: 1,
        maximum: Some(10),
    }
}

fn global(content: ValType, mutable: bool) -> GlobalType {
    GlobalType { content, mutable }
}

/// Types: 0 and 1 are equal functions, 2 a subtype of 0 (which is not final), 3 a structure.
/// Functions: 0 imported, 1 and 2 defined; 2 has a reference.
fn module() -> Module {
    let structure = SubType {
        is_final: true,
        supertype: None,
        composite: CompositeType::Struct(Box::new([FieldType {
            storage: StorageType::Val(ValType::Ref(concrete(0, true))),
            mutable: true,
        }])),
    };
    let segment = |mode, items| ElementSegment {
        mode,
        ty: concrete(1, true),
        items,
    };
    Module {
        name: Some("everything".to_owned()),
        types: vec![
            func_type(&[], None, false),
            func_type(&[], None, false),
            func_type(&[], Some(0), true),
            structure,
        ],
        rec_groups: vec![0..1, 1..2, 2..4],
        imports: vec![
            import(EntityIndex::Func(FuncIndex::new(0))),
            import(EntityIndex::Global(GlobalIndex::new(0))),
        ],
        num_imports: ImportCounts {
            funcs: 1,
            globals: 1,
            ..ImportCounts::default()
        },
        exports: vec![Export {
            name: "e".to_owned(),
            entity: EntityIndex::Func(FuncIndex::new(2)),
        }],
        funcs: [0, 1, 2].map(TypeIndex::new).to_vec(),
        escaping_funcs: vec![FuncIndex::new(2)],
        tables: vec![table(RefType::FUNCREF), table(concrete(1, false))],
        table_inits: vec![None, Some(expr(&[ConstOp::RefFunc(FuncIndex::new(2))]))],
        memories: vec![memory(1)],
        globals: vec![
            global(ValType::I32, false),
            global(ValType::I32, true),
            global(ValType::FUNCREF, false),
        ],
        global_inits: vec![
            expr(&[
                ConstOp::GlobalGet(GlobalIndex::new(0)),
                ConstOp::I32Const(2),
                ConstOp::I32Add,
            ]),
            expr(&[ConstOp::RefNull(HeapType::Abstract(
                AbstractHeapType::NoFunc,
            ))]),
        ],
        tags: vec![TagType {
            signature: TypeIndex::new(0),
        }],
        start: Some(FuncIndex::new(0)),
        elements: vec![
            segment(
                ElementMode::Active {
                    table: TableIndex::new(0),
                    offset: expr(&[ConstOp::I32Const(0)]),
                },
                ElementItems::Funcs(vec![FuncIndex::new(0), FuncIndex::new(2)]),
            ),
            segment(
                ElementMode::Passive,
                ElementItems::Exprs(vec![expr(&[ConstOp::RefNull(HeapType::ConcreteFunc(
                    TypeIndex::new(2),
                ))])]),
            ),
        ],
        data: vec![DataSegment {
            index: DataIndex::new(0),
            mode: DataMode::Active {
                memory: MemoryIndex::new(0),
                offset: expr(&[ConstOp::GlobalGet(GlobalIndex::new(0))]),
            },
            bytes: 4096..5000,
        }],
        memory_images: vec![Some(MemoryImage {
            address: 8192,
            bytes: 0..4096,
        })],
        features: Features::default(),
        ..Module::default()
    }
}

/// Asserts that the module is refused, for a reason that contains `reason`.
fn refused(reason: &str, damage: impl FnOnce(&mut Module)) {
    let mut module = module();
    damage(&mut module);
    let error = module.check().expect_err(reason).to_string();
    assert!(error.contains(reason), "{error} (expected: {reason})");
}

#[test]
fn a_module_with_one_of_everything_passes() {
    assert_eq!(module().check(), Ok(()));
    assert_eq!(module().data_size(), 5000);
    assert_eq!(Module::default().check(), Ok(()));
}

#[test]
fn types_that_refer_to_nothing_are_refused() {
    refused("recursion group", |m| m.rec_groups[1] = 0..1);
    refused("recursion group", |m| m.rec_groups[1] = 1..1);
    refused("no type 4", |m| m.rec_groups[2] = 2..5);
    refused("without recursion group", |m| m.rec_groups.truncate(2));
    refused("comes later", |m| {
        m.types[2].supertype = Some(TypeIndex::new(2))
    });
    refused("cannot have this supertype", |m| m.types[0].is_final = true);
    refused("cannot have this supertype", |m| {
        m.types[0] = m.types[3].clone();
        m.types[0].is_final = false;
        m.types[0].composite = CompositeType::Struct(Box::new([]));
        m.types[3].composite = CompositeType::Struct(Box::new([]));
    });
    // Type 1 is in a group of its own, before type 2.
    refused("a reference to", |m| {
        m.types[1] = func_type(&[ValType::Ref(concrete(2, true))], None, false);
    });
    refused("a reference to", |m| {
        m.types[0] = func_type(&[ValType::Ref(concrete(u32::MAX, true))], None, false);
    });
    refused("a reference to", |m| {
        m.types[2] = func_type(&[ValType::Ref(concrete(3, true))], None, false);
    });
    refused("a reference to", |m| {
        m.types[3].composite = CompositeType::Cont(TypeIndex::new(3));
    });
}

#[test]
fn index_spaces_of_wrong_sizes_are_refused() {
    refused("functions", |m| m.num_imports.funcs = 4);
    refused("imports", |m| m.num_imports.funcs = 2);
    refused("tables", |m| m.table_inits.truncate(1));
    refused("memories", |m| m.memory_images.clear());
    refused("globals", |m| m.global_inits.truncate(1));
    refused("globals", |m| m.num_imports.globals = u32::MAX);
    refused("tags", |m| m.num_imports.tags = 2);
    refused("out of order", |m| {
        m.imports[0].entity = EntityIndex::Func(FuncIndex::new(1));
    });
    refused("imports", |m| m.imports.truncate(1));
    refused("was off", |m| {
        m.features_used.set(Feature::WideArithmetic, true)
    });
}

#[test]
fn functions_are_referred_to_only_when_they_have_a_reference() {
    refused("a reference to function 1", |m| {
        m.start = Some(FuncIndex::new(1))
    });
    refused("a reference to function 1", |m| {
        m.exports[0].entity = EntityIndex::Func(FuncIndex::new(1));
    });
    refused("a reference to function 9", |m| {
        m.elements[1].items = ElementItems::Funcs(vec![FuncIndex::new(9)]);
    });
    refused("a reference to function 1", |m| {
        m.table_inits[1] = Some(expr(&[ConstOp::RefFunc(FuncIndex::new(1))]));
    });
    refused("a reference to", |m| m.funcs[1] = TypeIndex::new(3));
    refused("escaping", |m| m.escaping_funcs = vec![FuncIndex::new(0)]);
    refused("escaping", |m| {
        m.escaping_funcs = [2, 1].map(FuncIndex::new).to_vec()
    });
    refused("escaping", |m| m.escaping_funcs.push(FuncIndex::new(3)));
    refused("start function", |m| {
        m.types[0] = func_type(&[ValType::I32], None, false);
        m.types[2] = func_type(&[ValType::I32], Some(0), true);
    });
}

#[test]
fn exports_out_of_range_are_refused() {
    for entity in [
        EntityIndex::Func(FuncIndex::new(3)),
        EntityIndex::Table(TableIndex::new(2)),
        EntityIndex::Memory(MemoryIndex::new(1)),
        EntityIndex::Global(GlobalIndex::new(3)),
        EntityIndex::Tag(TagIndex::new(u32::MAX)),
    ] {
        refused("", |m| m.exports[0].entity = entity);
    }
    refused("tag", |m| {
        m.tag_names = vec![(TagIndex::new(u32::MAX), "x".to_owned())];
    });
    refused("a reference to", |m| {
        m.tags[0].signature = TypeIndex::new(3)
    });
}

#[test]
fn tables_and_memories_of_impossible_sizes_are_refused() {
    refused("a table of at least", |m| m.tables[0].minimum = 11);
    refused("a table of at least", |m| {
        m.tables[0].maximum = Some(1 << 32)
    });
    refused("no initial element", |m| m.table_inits[1] = None);
    refused("a memory of at least", |m| m.memories[0].minimum = 65537);
    refused("a memory of at least", |m| m.memories[0].maximum = Some(0));
    refused("a page size", |m| m.memories[0].page_size_log2 = 200);
    refused("a shared memory", |m| m.memories[0].shared = true);
}

#[test]
fn memory_images_outside_of_their_memory_are_refused() {
    for (address, start, end) in [
        (100, 0, 4096),
        (0, 0, 5000),
        (0, 8192, 4096),
        (65536, 0, 4096),
        (61440, 0, 8192),
        (u64::MAX - 4095, 0, 4096),
    ] {
        let bytes = core::ops::Range { start, end };
        let image = MemoryImage { address, bytes };
        refused("a memory image", |m| m.memory_images[0] = Some(image));
    }
}

#[test]
fn constant_expressions_of_another_type_are_refused() {
    let get = |index| ConstOp::GlobalGet(GlobalIndex::new(index));
    refused("is needed", |m| {
        m.global_inits[0] = expr(&[ConstOp::I64Const(0)])
    });
    refused("without one value", |m| m.global_inits[0] = expr(&[]));
    refused("without one value", |m| {
        m.global_inits[0] = expr(&[get(0), get(0)])
    });
    refused("lacks a I32", |m| {
        m.global_inits[0] = expr(&[get(0), ConstOp::I32Add])
    });
    refused("is needed", |m| {
        m.global_inits[0] = expr(&[get(0), get(0), ConstOp::I64Add]);
    });
    refused("global 1 of 1", |m| m.global_inits[0] = expr(&[get(1)]));
    refused("mutable global", |m| {
        let offset = expr(&[get(1)]);
        let memory = MemoryIndex::new(0);
        m.data[0].mode = DataMode::Active { memory, offset };
    });
    refused("is needed", |m| {
        m.global_inits[1] = expr(&[ConstOp::RefNull(HeapType::Abstract(AbstractHeapType::None))]);
    });
    refused("is needed", |m| {
        m.table_inits[1] = Some(expr(&[ConstOp::RefNull(HeapType::Abstract(
            AbstractHeapType::NoFunc,
        ))]));
    });
    refused("a reference to", |m| {
        m.global_inits[1] = expr(&[ConstOp::RefNull(HeapType::ConcreteFunc(TypeIndex::new(3)))]);
    });
}

#[test]
fn segments_that_do_not_fit_are_refused() {
    refused("another type than its table", |m| {
        m.elements[0].ty = RefType::EXTERNREF;
        m.elements[0].items = ElementItems::Funcs(Vec::new());
    });
    refused("is needed", |m| {
        m.elements[0].ty = concrete(2, true);
    });
    refused("table 5", |m| {
        let table = TableIndex::new(5);
        let offset = expr(&[ConstOp::I32Const(0)]);
        m.elements[0].mode = ElementMode::Active { table, offset };
    });
    refused("is needed", |m| m.memories[0].index = IndexType::I64);
    refused("a data segment", |m| {
        m.data[0].bytes = core::ops::Range { start: 2, end: 1 };
    });
    refused("out of order", |m| m.data.push(m.data[0].clone()));
}

#[test]
fn equal_types_of_different_groups_are_the_same_and_subtypes_fit() {
    // The segments of `module` hold functions of types 0 and 2 as references to type 1, which equals
    // type 0.
    assert_eq!(module().check(), Ok(()));
    refused("is needed", |m| {
        m.types[1] = func_type(&[ValType::I32], None, false);
    });
}
