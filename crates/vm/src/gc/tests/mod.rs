//! A heap without a store, for tests.

mod damage;
mod exns;
mod graphs;
mod limits;
mod model;

use super::*;
use crate::types::{ModuleTypes, Registry};
use sarsen_abi::types::{
    CompositeType, FieldType, FuncType, RefType, StorageType, SubType, ValType,
};
use sarsen_abi::vmctx::{ValRaw, VmStoreCtx};
use sarsen_abi::{Module, TypeId, TypeIndex};
use std::ptr::NonNull;
use std::sync::Arc;

/// Roots in a vector, and a limit.
struct Outside {
    slots: Vec<u32>,
    table: Vec<u32>,
    limit: usize,
}

impl World for Outside {
    fn roots(&mut self, roots: &mut Roots) {
        self.slots.iter_mut().for_each(|slot| roots.slot(slot));
        roots.table(self.table.as_mut_ptr(), self.table.len());
    }

    fn may_grow(&mut self, _: usize, wanted: usize) -> Result<bool, HostError> {
        Ok(wanted <= self.limit)
    }
}

/// A heap without a store.
struct Stage {
    heap: Heap,
    outside: Outside,
    types: ModuleTypes,
    pool: Arc<RangePool>,
    _ctx: Box<VmStoreCtx>,
}

/// The positions of [`types`].
const NODE: usize = 0;
const LEAF: usize = 1;
const ARRAY: usize = 2;
const BYTES: usize = 3;
const WIDE: usize = 4;
const FUNC: usize = 5;

/// `(struct i32 anyref anyref)`, `(struct i64)`, `(array anyref)`, `(array i8)`, and a structure of 100
/// pairs of a reference and an `i64`; and `(func (param i32 externref externref))`.
fn types(registry: &Arc<Registry>) -> ModuleTypes {
    let field = |storage| FieldType {
        storage,
        mutable: true,
    };
    let number = |ty| field(StorageType::Val(ty));
    let reference = field(StorageType::Val(ValType::Ref(RefType {
        nullable: true,
        heap: sarsen_abi::types::HeapType::Abstract(sarsen_abi::types::AbstractHeapType::Any),
    })));
    let wide = [reference, number(ValType::I64)].repeat(100);
    let composites = [
        CompositeType::Struct([number(ValType::I32), reference, reference].into()),
        CompositeType::Struct([number(ValType::I64)].into()),
        CompositeType::Array(reference),
        CompositeType::Array(field(StorageType::I8)),
        CompositeType::Struct(wide.into()),
        CompositeType::Func(FuncType {
            params: [ValType::I32, ValType::EXTERNREF, ValType::EXTERNREF].into(),
            results: [].into(),
        }),
    ];
    let count = composites.len() as u32;
    let types = composites.map(|composite: CompositeType<TypeIndex>| SubType {
        is_final: true,
        supertype: None,
        composite,
    });
    let module = Module {
        types: types.into(),
        rec_groups: std::iter::once(0..count).collect(),
        ..Module::default()
    };
    registry.register_module(&module).unwrap()
}

fn config() -> GcConfig {
    GcConfig {
        nursery_initial: 64 << 10,
        pause_target: None,
        ..GcConfig::default()
    }
}

impl Stage {
    fn new(config: &GcConfig, roots: usize, limit: usize) -> Stage {
        let registry = Arc::new(Registry::new().unwrap());
        let types = types(&registry);
        let pool = Arc::new(RangePool::default());
        let mut ctx = Box::new(VmStoreCtx::new());
        // SAFETY: the context lives as long as the heap, and no code runs.
        let heap = unsafe { Heap::new(NonNull::from(&mut *ctx), config, &registry, &pool) };
        Stage {
            heap,
            outside: Outside {
                slots: vec![0; roots],
                table: vec![0; roots],
                limit,
            },
            types,
            pool,
            _ctx: ctx,
        }
    }

    fn ty(&self, position: usize) -> TypeId {
        self.types.ids()[position]
    }

    fn structure(&mut self, position: usize, fields: &[u32]) -> Result<u32, HeapError> {
        let fields: Vec<ValRaw> = fields.iter().map(|&f| ValRaw::u32(f)).collect();
        let ty = self.ty(position);
        // SAFETY: the fields are numbers or references of this heap.
        unsafe { self.heap.allocate_struct(ty, &fields, &mut self.outside) }
    }

    fn node(&mut self, value: u32, left: u32, right: u32) -> u32 {
        self.structure(NODE, &[value, left, right]).unwrap()
    }

    fn array(&mut self, position: usize, length: u32) -> Result<u32, HeapError> {
        let ty = self.ty(position);
        self.heap.allocate_object(ty, length, &mut self.outside)
    }

    fn get(&mut self, object: u32, field: usize) -> u32 {
        let place = self.heap.struct_place(object, field).unwrap().unwrap();
        // SAFETY: just found.
        unsafe { self.heap.read_place(&place) }.unwrap().get_u32()
    }

    fn set(&mut self, object: u32, field: usize, value: u32) {
        let place = self.heap.struct_place(object, field).unwrap().unwrap();
        // SAFETY: just found; a number or reference of this heap.
        unsafe { self.heap.write_place(&place, ValRaw::u32(value)) };
    }

    fn element(&mut self, array: u32, index: u32) -> u32 {
        let place = self.heap.array_place(array, index).unwrap();
        // SAFETY: just found.
        unsafe { self.heap.read_place(&place) }.unwrap().get_u32()
    }

    fn set_element(&mut self, array: u32, index: u32, value: u32) {
        let view = self.heap.array(array).unwrap();
        // SAFETY: just found; a number or reference of this heap.
        unsafe { self.heap.array_set(view, index, ValRaw::u32(value)) }.unwrap();
    }

    fn set_table(&mut self, index: usize, value: u32) {
        let slot = &raw mut self.outside.table[index];
        // SAFETY: an element of the table.
        unsafe {
            self.heap.before_table_write(slot, slot.read(), value);
            slot.write(value);
        }
    }

    fn collect(&mut self, full: bool) {
        self.heap.collect(full, &mut self.outside).unwrap();
    }

    fn verify(&mut self) {
        let mut roots = Roots::default();
        self.outside.roots(&mut roots);
        self.heap.verify(&roots);
    }
}
