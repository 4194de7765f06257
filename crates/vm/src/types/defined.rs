//! [`Defined`]: a registered type, as whoever allocates, casts or reflects on values needs it.
//!
//! Computed once for each recursion group, and never changed: references are engine-wide, and where
//! the fields of structures and the elements of arrays are is known.

use sarsen_abi::TypeId;
use sarsen_abi::canonical::CanonicalRef;
use sarsen_abi::heap::{ArrayLayout, Kind, StructLayout};
use sarsen_abi::types::{CompositeType, FieldType, FuncType, SubType};
use std::sync::Arc;

/// A registered type.
#[derive(Debug)]
pub struct Defined {
    /// Its id.
    pub id: TypeId,
    /// Whether no type may declare it as its supertype.
    pub is_final: bool,
    /// The declared supertype.
    pub supertype: Option<TypeId>,
    /// The type itself.
    pub shape: Shape,
}

/// What a registered type is composed of.
#[derive(Debug)]
pub enum Shape {
    /// A function.
    Func(Arc<FuncType<TypeId>>),
    /// A structure.
    Struct(StructShape),
    /// An array.
    Array(ArrayShape),
    /// A continuation of a function type.
    Cont(TypeId),
}

/// A structure type.
#[derive(Debug)]
pub struct StructShape {
    /// The fields' types.
    pub fields: Box<[FieldType<TypeId>]>,
    /// Where they are.
    pub layout: StructLayout,
}

/// An array type.
#[derive(Debug)]
pub struct ArrayShape {
    /// The elements' type.
    pub element: FieldType<TypeId>,
    /// Where they are.
    pub layout: ArrayLayout,
}

impl Defined {
    /// The type at `position` of a group whose types have these ids.
    pub(super) fn new(ty: &SubType<CanonicalRef>, position: usize, ids: &[TypeId]) -> Defined {
        let resolve = |r| match r {
            CanonicalRef::InGroup(position) => ids[position as usize],
            CanonicalRef::Outside(id) => id,
        };
        let shape = match &ty.composite {
            CompositeType::Func(func) => Shape::Func(Arc::new(func.map(resolve))),
            CompositeType::Struct(fields) => Shape::Struct(StructShape {
                fields: fields.iter().map(|field| field.map(resolve)).collect(),
                layout: StructLayout::new(fields),
            }),
            CompositeType::Array(element) => Shape::Array(ArrayShape {
                element: element.map(resolve),
                layout: ArrayLayout::new(element),
            }),
            CompositeType::Cont(func) => Shape::Cont(resolve(*func)),
        };
        Defined {
            id: ids[position],
            is_final: ty.is_final,
            supertype: ty.supertype.map(resolve),
            shape,
        }
    }

    /// What it is, as its row tells.
    pub fn kind(&self) -> Kind {
        match self.shape {
            Shape::Func(_) => Kind::Func,
            Shape::Struct(_) => Kind::Struct,
            Shape::Array(_) => Kind::Array,
            Shape::Cont(_) => Kind::Cont,
        }
    }

    /// The function type, if it is one.
    pub fn as_func(&self) -> Option<&Arc<FuncType<TypeId>>> {
        match &self.shape {
            Shape::Func(func) => Some(func),
            _ => None,
        }
    }

    /// The function type of the continuation type, if it is one.
    pub fn as_cont(&self) -> Option<TypeId> {
        match self.shape {
            Shape::Cont(func) => Some(func),
            _ => None,
        }
    }

    /// The structure type, if it is one.
    pub fn as_struct(&self) -> Option<&StructShape> {
        match &self.shape {
            Shape::Struct(shape) => Some(shape),
            _ => None,
        }
    }

    /// The array type, if it is one.
    pub fn as_array(&self) -> Option<&ArrayShape> {
        match &self.shape {
            Shape::Array(shape) => Some(shape),
            _ => None,
        }
    }
}
