//! The module that stands for a list of function types, when only their stubs are compiled.

use sarsen_abi::types::{
    AbstractHeapType, CompositeType, FuncType, HeapType, RefType, SubType, ValType,
};
use sarsen_abi::{Features, Module};

/// A module that defines `types`, each for itself, and nothing else.
///
/// A stub moves references of one hierarchy all alike. So references to defined types, which mean
/// nothing in this module, become references to the abstract type above them.
pub(crate) fn module_of_types<R: Copy>(types: &[FuncType<R>], features: Features) -> Module {
    Module {
        types: types.iter().map(sub_type).collect(),
        rec_groups: (0..types.len() as u32).map(|i| i..i + 1).collect(),
        features,
        ..Module::default()
    }
}

fn sub_type<R: Copy>(ty: &FuncType<R>) -> SubType {
    SubType {
        is_final: true,
        supertype: None,
        composite: CompositeType::Func(FuncType {
            params: ty.params.iter().map(val_type).collect(),
            results: ty.results.iter().map(val_type).collect(),
        }),
    }
}

fn val_type<R: Copy>(ty: &ValType<R>) -> ValType {
    match ty {
        ValType::I32 => ValType::I32,
        ValType::I64 => ValType::I64,
        ValType::F32 => ValType::F32,
        ValType::F64 => ValType::F64,
        ValType::V128 => ValType::V128,
        ValType::Ref(ty) => ValType::Ref(RefType {
            nullable: ty.nullable,
            heap: HeapType::Abstract(match ty.heap {
                HeapType::Abstract(ty) => ty,
                HeapType::ConcreteFunc(_) => AbstractHeapType::Func,
                HeapType::ConcreteStruct(_) => AbstractHeapType::Struct,
                HeapType::ConcreteArray(_) => AbstractHeapType::Array,
                HeapType::ConcreteCont(_) => AbstractHeapType::Cont,
            }),
        }),
    }
}
