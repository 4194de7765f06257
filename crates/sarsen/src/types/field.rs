//! [`FieldType`], what a structure's field or an array's element is, and its parts.

use super::entity::Mutability;
use super::value::ValType;
use crate::engine::Engine;
use core::fmt;
use sarsen_abi::TypeId;
use sarsen_abi::types as abi;

/// Whether a type can be declared as a supertype.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Finality {
    /// It has no subtypes. Casts to it are the fastest.
    Final,
    /// It may have subtypes.
    NonFinal,
}

impl Finality {
    /// Whether it is [`Finality::Final`].
    pub fn is_final(&self) -> bool {
        *self == Finality::Final
    }

    /// Whether it is [`Finality::NonFinal`].
    pub fn is_non_final(&self) -> bool {
        *self == Finality::NonFinal
    }

    pub(super) fn from_abi(is_final: bool) -> Finality {
        if is_final {
            Finality::Final
        } else {
            Finality::NonFinal
        }
    }
}

/// What a field holds (core specification, §2.3.5 "Storage types").
///
/// ```
/// use sarsen::{StorageType, ValType};
///
/// assert_eq!(StorageType::I8.unpack(), &ValType::I32);
/// assert_eq!(StorageType::from(ValType::F64).unwrap_val_type(), &ValType::F64);
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum StorageType {
    /// A packed integer of 8 bits, an `i32` outside of the field.
    I8,
    /// A packed integer of 16 bits, an `i32` outside of the field.
    I16,
    /// A value.
    ValType(ValType),
}

impl StorageType {
    /// Whether it is [`StorageType::I8`].
    pub fn is_i8(&self) -> bool {
        matches!(self, StorageType::I8)
    }

    /// Whether it is [`StorageType::I16`].
    pub fn is_i16(&self) -> bool {
        matches!(self, StorageType::I16)
    }

    /// Whether it is a whole value.
    pub fn is_val_type(&self) -> bool {
        matches!(self, StorageType::ValType(_))
    }

    /// The value's type, if it is not packed.
    pub fn as_val_type(&self) -> Option<&ValType> {
        match self {
            StorageType::ValType(ty) => Some(ty),
            _ => None,
        }
    }

    /// The value's type.
    ///
    /// # Panics
    ///
    /// Panics when it is packed.
    pub fn unwrap_val_type(&self) -> &ValType {
        self.as_val_type()
            .unwrap_or_else(|| panic!("{self} is not the type of a value"))
    }

    /// The type of the value that is read and written.
    pub fn unpack(&self) -> &ValType {
        match self {
            StorageType::I8 | StorageType::I16 => &ValType::I32,
            StorageType::ValType(ty) => ty,
        }
    }

    /// Whether what this holds can be held by `other`.
    pub fn matches(&self, other: &StorageType) -> bool {
        match (self, other) {
            (StorageType::ValType(a), StorageType::ValType(b)) => a.matches(b),
            (a, b) => a == b,
        }
    }

    pub(super) fn to_abi(&self) -> abi::StorageType<TypeId> {
        match self {
            StorageType::I8 => abi::StorageType::I8,
            StorageType::I16 => abi::StorageType::I16,
            StorageType::ValType(ty) => abi::StorageType::Val(ty.to_abi()),
        }
    }

    /// `ty` must be registered in `engine`.
    pub(super) fn from_abi(engine: &Engine, ty: abi::StorageType<TypeId>) -> StorageType {
        match ty {
            abi::StorageType::I8 => StorageType::I8,
            abi::StorageType::I16 => StorageType::I16,
            abi::StorageType::Val(ty) => StorageType::ValType(ValType::from_abi(engine, ty)),
        }
    }
}

impl From<ValType> for StorageType {
    fn from(ty: ValType) -> Self {
        StorageType::ValType(ty)
    }
}

impl fmt::Display for StorageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StorageType::I8 => f.write_str("i8"),
            StorageType::I16 => f.write_str("i16"),
            StorageType::ValType(ty) => ty.fmt(f),
        }
    }
}

/// The type of a structure's field or of an array's elements: what it holds, and whether it can be
/// written.
///
/// ```
/// use sarsen::{FieldType, Mutability, StorageType, ValType};
///
/// let constant = FieldType::new(Mutability::Const, ValType::I32.into());
/// let variable = FieldType::new(Mutability::Var, StorageType::I16);
/// assert_eq!(variable.to_string(), "(mut i16)");
/// assert!(!constant.matches(&variable));
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct FieldType {
    mutability: Mutability,
    element_type: StorageType,
}

impl FieldType {
    /// A field that holds an `element_type`.
    pub fn new(mutability: Mutability, element_type: StorageType) -> FieldType {
        FieldType {
            mutability,
            element_type,
        }
    }

    /// Whether it can be written.
    pub fn mutability(&self) -> Mutability {
        self.mutability
    }

    /// What it holds.
    pub fn element_type(&self) -> &StorageType {
        &self.element_type
    }

    /// Whether a field of this type can stand for one of type `other`: if it can be written, its type
    /// must be the same, otherwise it may be a subtype.
    pub fn matches(&self, other: &FieldType) -> bool {
        self == other
            || self.mutability.is_const()
                && other.mutability.is_const()
                && self.element_type.matches(&other.element_type)
    }

    pub(super) fn belongs_to(&self, engine: &Engine) -> bool {
        self.element_type.unpack().belongs_to(engine)
    }

    pub(super) fn to_abi(&self) -> abi::FieldType<TypeId> {
        abi::FieldType {
            storage: self.element_type.to_abi(),
            mutable: self.mutability.is_var(),
        }
    }

    /// `ty` must be registered in `engine`.
    pub(super) fn from_abi(engine: &Engine, ty: abi::FieldType<TypeId>) -> FieldType {
        let mutability = if ty.mutable {
            Mutability::Var
        } else {
            Mutability::Const
        };
        FieldType::new(mutability, StorageType::from_abi(engine, ty.storage))
    }
}

impl fmt::Display for FieldType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mutability {
            Mutability::Const => self.element_type.fmt(f),
            Mutability::Var => write!(f, "(mut {})", self.element_type),
        }
    }
}
