//! How WebAssembly's types and functions look in CLIF.
//!
//! | WebAssembly | CLIF |
//! |---|---|
//! | `i32`, `i64`, `f32`, `f64` | the same |
//! | `v128` | `i8x16` |
//! | function references | `i64`: the address of a `VmFuncRef`; null is 0 |
//! | all other references | `i32`: a collected reference; null is 0 |
//!
//! A function that WebAssembly can call takes its context first, then the WebAssembly parameters, and
//! returns the WebAssembly results, all in the `tail` convention.

use crate::read::abstract_heap_type;
use cranelift_codegen::ir::types::{F32, F64, I8X16, I32, I64};
use cranelift_codegen::ir::{AbiParam, ArgumentPurpose, Signature, Type};
use cranelift_codegen::isa::CallConv;
use sarsen_abi::builtin::MachineType;
use sarsen_abi::types::{AbstractHeapType, CompositeType, FuncType, HeapType, RefType, ValType};
use sarsen_abi::{Builtin, Module, TypeIndex};
use wasmparser::UnpackedIndex;

/// The type of pointers.
pub(super) const POINTER: Type = I64;

/// How a value is represented.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Repr {
    /// Its type in CLIF.
    pub(super) ty: Type,
    /// The type of the reference, if it is one.
    pub(super) reference: Option<RefType>,
}

impl Repr {
    const fn plain(ty: Type) -> Self {
        Repr {
            ty,
            reference: None,
        }
    }

    /// Whether it is a reference that the collector must find: one to an object. (Null and unboxed
    /// integers stay what they are.)
    pub(super) fn collected(&self) -> bool {
        use AbstractHeapType as A;
        self.reference.is_some_and(|ty| {
            ty.is_collected()
                && !matches!(
                    ty.heap,
                    HeapType::Abstract(A::I31 | A::None | A::NoExtern | A::NoExn | A::NoCont)
                )
        })
    }

    /// Whether the collector must treat values of both the same.
    pub(super) fn is_alike(&self, other: &Repr) -> bool {
        self.ty == other.ty && self.collected() == other.collected()
    }

    /// How values of type `ty` are represented.
    pub(super) fn of(ty: &ValType) -> Repr {
        match ty {
            ValType::I32 => Repr::plain(I32),
            ValType::I64 => Repr::plain(I64),
            ValType::F32 => Repr::plain(F32),
            ValType::F64 => Repr::plain(F64),
            ValType::V128 => Repr::plain(I8X16),
            ValType::Ref(ty) => Repr::of_ref(ty),
        }
    }

    /// How references of type `ty` are represented.
    pub(super) fn of_ref(ty: &RefType) -> Repr {
        Repr {
            ty: if ty.is_collected() { I32 } else { POINTER },
            reference: Some(*ty),
        }
    }

    /// How values of a type in a body of `module` are represented.
    pub(super) fn of_parsed(module: &Module, ty: wasmparser::ValType) -> Repr {
        match ty {
            wasmparser::ValType::I32 => Repr::plain(I32),
            wasmparser::ValType::I64 => Repr::plain(I64),
            wasmparser::ValType::F32 => Repr::plain(F32),
            wasmparser::ValType::F64 => Repr::plain(F64),
            wasmparser::ValType::V128 => Repr::plain(I8X16),
            wasmparser::ValType::Ref(ty) => Repr::of_ref(&parsed_ref_type(module, ty)),
        }
    }
}

/// The type of a reference in a body of `module`.
pub(super) fn parsed_ref_type(module: &Module, ty: wasmparser::RefType) -> RefType {
    RefType {
        nullable: ty.is_nullable(),
        heap: parsed_heap_type(module, ty.heap_type()),
    }
}

/// A heap type in a body of `module`.
pub(super) fn parsed_heap_type(module: &Module, ty: wasmparser::HeapType) -> HeapType {
    let index = match ty {
        wasmparser::HeapType::Abstract { ty, .. } => {
            return HeapType::Abstract(abstract_heap_type(ty));
        }
        wasmparser::HeapType::Concrete(index) | wasmparser::HeapType::Exact(index) => index,
    };
    let UnpackedIndex::Module(index) = index else {
        unreachable!("bodies name types by their index in the module");
    };
    let index = TypeIndex::new(index);
    match module.types[index.index()].composite {
        CompositeType::Func(_) => HeapType::ConcreteFunc(index),
        CompositeType::Struct(_) => HeapType::ConcreteStruct(index),
        CompositeType::Array(_) => HeapType::ConcreteArray(index),
        CompositeType::Cont(_) => HeapType::ConcreteCont(index),
    }
}

/// The signature of a function that WebAssembly can call.
pub(crate) fn wasm_signature(ty: &FuncType) -> Signature {
    let mut signature = Signature::new(CallConv::Tail);
    signature
        .params
        .push(AbiParam::special(POINTER, ArgumentPurpose::VMContext));
    let param = |ty| AbiParam::new(Repr::of(ty).ty);
    signature.params.extend(ty.params.iter().map(param));
    signature.returns.extend(ty.results.iter().map(param));
    signature
}

/// The signature of a builtin's stub: the vmctx, then the builtin's parameters.
pub(crate) fn builtin_signature(builtin: Builtin) -> Signature {
    let row = builtin.signature();
    let mut signature = Signature::new(CallConv::Tail);
    signature.params.push(AbiParam::new(POINTER));
    let param = |ty: &MachineType| AbiParam::new(machine_type(*ty));
    signature.params.extend(row.params.iter().map(param));
    signature.returns.extend(row.result.iter().map(param));
    signature
}

fn machine_type(ty: MachineType) -> Type {
    match ty {
        MachineType::I32 => I32,
        MachineType::I64 => I64,
    }
}
