//! wasmparser's types to ours.
//!
//! Ours say of a reference to a defined type what kind of type that is, so that nobody has to look
//! it up; so the kinds of all types are found first ([`TypeKinds`]), because inside a recursion
//! group a type may refer to a later one.

use crate::error::{CompileError, Result};
use crate::read::features::Used;
use sarsen_abi::types::{
    AbstractHeapType, CompositeType, FieldType, FuncType, GlobalType, HeapType, IndexType,
    MemoryType, RefType, StorageType, SubType, TableType, TagType, ValType,
};
use sarsen_abi::{Feature, Module, TypeIndex};
use wasmparser::{CompositeInnerType, TypeSectionReader};

/// What a defined type is composed of, without the parts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum TypeKind {
    Func,
    Struct,
    Array,
    Cont,
}

/// The kind of every type that a module defines.
#[derive(Default, Debug)]
pub(super) struct TypeKinds(Vec<TypeKind>);

impl TypeKinds {
    /// Reads the type section into `module`.
    pub(super) fn read_section(
        section: TypeSectionReader<'_>,
        module: &mut Module,
        used: &mut Used,
    ) -> Result<Self> {
        let mut kinds = TypeKinds::default();
        for group in section.clone() {
            let types = group?;
            kinds.0.extend(types.types().map(kind));
        }
        for group in section {
            let group = group?;
            let start = module.types.len() as u32;
            used.add_if(group.is_explicit_rec_group(), Feature::Gc);
            for ty in group.types() {
                let ty = kinds.sub_type(ty)?;
                note_features(&ty, used);
                module.types.push(ty);
            }
            let end = module.types.len() as u32;
            // A group may be empty in a file; nothing is left of it.
            if end > start {
                module.rec_groups.push(start..end);
            }
        }
        Ok(kinds)
    }

    fn sub_type(&self, ty: &wasmparser::SubType) -> Result<SubType> {
        let composite = match &ty.composite_type.inner {
            CompositeInnerType::Func(ty) => CompositeType::Func(FuncType {
                params: self.val_types(ty.params())?,
                results: self.val_types(ty.results())?,
            }),
            CompositeInnerType::Struct(ty) => CompositeType::Struct(
                ty.fields
                    .iter()
                    .map(|field| self.field_type(*field))
                    .collect::<Result<_>>()?,
            ),
            CompositeInnerType::Array(ty) => CompositeType::Array(self.field_type(ty.0)?),
            CompositeInnerType::Cont(ty) => CompositeType::Cont(module_index(ty.0.unpack())?),
        };
        let supertype = match ty.supertype_idxs.as_slice() {
            [] => None,
            [supertype] => Some(module_index(supertype.unpack())?),
            _ => return Err(CompileError::new("a type has more than one supertype")),
        };
        Ok(SubType {
            is_final: ty.is_final,
            supertype,
            composite,
        })
    }

    fn val_types(&self, types: &[wasmparser::ValType]) -> Result<Box<[ValType]>> {
        types.iter().map(|&ty| self.val_type(ty)).collect()
    }

    fn field_type(&self, ty: wasmparser::FieldType) -> Result<FieldType> {
        Ok(FieldType {
            storage: match ty.element_type {
                wasmparser::StorageType::I8 => StorageType::I8,
                wasmparser::StorageType::I16 => StorageType::I16,
                wasmparser::StorageType::Val(ty) => StorageType::Val(self.val_type(ty)?),
            },
            mutable: ty.mutable,
        })
    }

    /// Converts the type of a value.
    pub(crate) fn val_type(&self, ty: wasmparser::ValType) -> Result<ValType> {
        Ok(match ty {
            wasmparser::ValType::I32 => ValType::I32,
            wasmparser::ValType::I64 => ValType::I64,
            wasmparser::ValType::F32 => ValType::F32,
            wasmparser::ValType::F64 => ValType::F64,
            wasmparser::ValType::V128 => ValType::V128,
            wasmparser::ValType::Ref(ty) => ValType::Ref(self.ref_type(ty)?),
        })
    }

    /// Converts the type of a reference.
    pub(super) fn ref_type(&self, ty: wasmparser::RefType) -> Result<RefType> {
        Ok(RefType {
            nullable: ty.is_nullable(),
            heap: self.heap_type(ty.heap_type())?,
        })
    }

    /// Converts what a reference points to.
    pub(super) fn heap_type(&self, ty: wasmparser::HeapType) -> Result<HeapType> {
        match ty {
            wasmparser::HeapType::Abstract { shared: false, ty } => {
                Ok(HeapType::Abstract(abstract_heap_type(ty)))
            }
            wasmparser::HeapType::Concrete(index) => {
                let index = module_index(index)?;
                let kind = self.0.get(index.index()).copied();
                Ok(match kind.ok_or_else(unresolved)? {
                    TypeKind::Func => HeapType::ConcreteFunc(index),
                    TypeKind::Struct => HeapType::ConcreteStruct(index),
                    TypeKind::Array => HeapType::ConcreteArray(index),
                    TypeKind::Cont => HeapType::ConcreteCont(index),
                })
            }
            wasmparser::HeapType::Abstract { shared: true, .. }
            | wasmparser::HeapType::Exact(_) => Err(CompileError::new(
                "shared and exact types are not supported",
            )),
        }
    }

    /// Converts the type of a table.
    pub(super) fn table_type(&self, ty: wasmparser::TableType) -> Result<TableType> {
        Ok(TableType {
            element: self.ref_type(ty.element_type)?,
            index: index_type(ty.table64),
            minimum: ty.initial,
            maximum: ty.maximum,
        })
    }

    /// Converts the type of a global.
    pub(super) fn global_type(&self, ty: wasmparser::GlobalType) -> Result<GlobalType> {
        Ok(GlobalType {
            content: self.val_type(ty.content_type)?,
            mutable: ty.mutable,
        })
    }
}

/// Converts the type of a memory.
pub(super) fn memory_type(ty: wasmparser::MemoryType) -> MemoryType {
    MemoryType {
        index: index_type(ty.memory64),
        shared: ty.shared,
        minimum: ty.initial,
        maximum: ty.maximum,
        page_size_log2: ty.page_size_log2.unwrap_or(16) as u8,
    }
}

/// Converts the type of a tag.
pub(super) fn tag_type(ty: wasmparser::TagType) -> TagType {
    TagType {
        signature: TypeIndex::new(ty.func_type_idx),
    }
}

fn index_type(is_64: bool) -> IndexType {
    if is_64 {
        IndexType::I64
    } else {
        IndexType::I32
    }
}

fn kind(ty: &wasmparser::SubType) -> TypeKind {
    match ty.composite_type.inner {
        CompositeInnerType::Func(_) => TypeKind::Func,
        CompositeInnerType::Struct(_) => TypeKind::Struct,
        CompositeInnerType::Array(_) => TypeKind::Array,
        CompositeInnerType::Cont(_) => TypeKind::Cont,
    }
}

fn note_features(ty: &SubType, used: &mut Used) {
    used.add_if(!ty.is_final || ty.supertype.is_some(), Feature::Gc);
    match &ty.composite {
        CompositeType::Func(ty) => {
            used.add_if(ty.results.len() > 1, Feature::MultiValue);
            for &ty in ty.params.iter().chain(&ty.results) {
                note_val_type(ty, used);
            }
        }
        CompositeType::Struct(fields) => {
            used.add(Feature::Gc);
            for field in fields {
                note_val_type(field.storage.unpacked(), used);
            }
        }
        CompositeType::Array(element) => {
            used.add(Feature::Gc);
            note_val_type(element.storage.unpacked(), used);
        }
        CompositeType::Cont(_) => used.add(Feature::StackSwitching),
    }
}

/// Notes the features that a value of this type needs.
pub(super) fn note_val_type(ty: ValType, used: &mut Used) {
    match ty {
        ValType::V128 => used.add(Feature::Simd),
        ValType::Ref(ty) => {
            used.add_if(!ty.nullable, Feature::FunctionReferences);
            note_heap_type(ty.heap, used);
        }
        ValType::I32 | ValType::I64 | ValType::F32 | ValType::F64 => {}
    }
}

/// Notes the features that a reference to this needs.
pub(super) fn note_heap_type(ty: HeapType, used: &mut Used) {
    use AbstractHeapType as A;
    used.add(match ty {
        HeapType::ConcreteFunc(_) => Feature::FunctionReferences,
        HeapType::Abstract(A::Func | A::Extern) => Feature::ReferenceTypes,
        HeapType::Abstract(A::Exn | A::NoExn) => Feature::Exceptions,
        HeapType::ConcreteCont(_) | HeapType::Abstract(A::Cont | A::NoCont) => {
            Feature::StackSwitching
        }
        HeapType::ConcreteStruct(_)
        | HeapType::ConcreteArray(_)
        | HeapType::Abstract(
            A::Any | A::Eq | A::I31 | A::Struct | A::Array | A::None | A::NoFunc | A::NoExtern,
        ) => Feature::Gc,
    });
}

/// The index of a type as it is written in a module. Only validation's own tables use other forms.
fn module_index(index: wasmparser::UnpackedIndex) -> Result<TypeIndex> {
    let index = index.as_module_index().ok_or_else(unresolved)?;
    Ok(TypeIndex::new(index))
}

fn unresolved() -> CompileError {
    CompileError::new("a type refers to one that the module does not define")
}

/// Converts an abstract heap type.
pub(crate) fn abstract_heap_type(ty: wasmparser::AbstractHeapType) -> AbstractHeapType {
    use wasmparser::AbstractHeapType as Theirs;
    match ty {
        Theirs::Func => AbstractHeapType::Func,
        Theirs::Extern => AbstractHeapType::Extern,
        Theirs::Any => AbstractHeapType::Any,
        Theirs::None => AbstractHeapType::None,
        Theirs::NoExtern => AbstractHeapType::NoExtern,
        Theirs::NoFunc => AbstractHeapType::NoFunc,
        Theirs::Eq => AbstractHeapType::Eq,
        Theirs::Struct => AbstractHeapType::Struct,
        Theirs::Array => AbstractHeapType::Array,
        Theirs::I31 => AbstractHeapType::I31,
        Theirs::Exn => AbstractHeapType::Exn,
        Theirs::NoExn => AbstractHeapType::NoExn,
        Theirs::Cont => AbstractHeapType::Cont,
        Theirs::NoCont => AbstractHeapType::NoCont,
    }
}
