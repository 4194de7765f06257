//! Making [`StructType`], [`ArrayType`] and [`ContType`], and what they are made of.

use super::defined::{ArrayType, ContType, FuncType, StructType};
use super::entity::Mutability;
use super::field::{FieldType, Finality, StorageType};
use crate::engine::Engine;
use crate::error::{OwnershipError, Result, TypeError};
use sarsen_abi::heap::MAX_FIELDS;
use sarsen_abi::types as abi;
use sarsen_vm::types::{ArrayShape, Shape, StructShape};

impl StructType {
    /// The final type of structures with these fields, and no supertype.
    ///
    /// # Errors
    ///
    /// As [`StructType::with_finality_and_supertype`].
    pub fn new(engine: &Engine, fields: impl IntoIterator<Item = FieldType>) -> Result<StructType> {
        Self::with_finality_and_supertype(engine, Finality::Final, None, fields)
    }

    /// The type of structures with these fields, below a supertype if there is one, whose fields
    /// come first.
    ///
    /// # Errors
    ///
    /// [`OwnershipError::WrongEngine`] when one of the types belongs to another engine;
    /// [`TypeError::Definition`] when the supertype is final or does not fit, or there are more than
    /// 10,000 fields.
    pub fn with_finality_and_supertype(
        engine: &Engine,
        finality: Finality,
        supertype: Option<&StructType>,
        fields: impl IntoIterator<Item = FieldType>,
    ) -> Result<StructType> {
        // The types stay alive until the new type, which counts them too, is registered.
        let fields: Vec<FieldType> = fields.into_iter().collect();
        if fields.len() > MAX_FIELDS {
            return Err(TypeError::Definition {
                message: format!(
                    "a structure has at most {MAX_FIELDS} fields, not {}",
                    fields.len()
                ),
            }
            .into());
        }
        if !fields.iter().all(|field| field.belongs_to(engine)) {
            return Err(OwnershipError::WrongEngine.into());
        }
        let fields = fields.iter().map(FieldType::to_abi).collect();
        StructType::define(
            engine,
            finality,
            supertype,
            abi::CompositeType::Struct(fields),
        )
    }

    pub(crate) fn shape(&self) -> &StructShape {
        self.defined()
            .as_struct()
            .expect("made of structure types only")
    }

    /// The type of field `index`.
    pub fn field(&self, index: usize) -> Option<FieldType> {
        let field = self.shape().fields.get(index)?;
        Some(FieldType::from_abi(self.engine(), *field))
    }

    /// The fields' types.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = FieldType> + '_ {
        let fields = self.shape().fields.iter();
        fields.map(|field| FieldType::from_abi(self.engine(), *field))
    }
}

impl ArrayType {
    /// The final type of arrays with this element, and no supertype.
    ///
    /// # Panics
    ///
    /// Panics when the element's type belongs to another engine.
    pub fn new(engine: &Engine, field_type: FieldType) -> ArrayType {
        Self::with_finality_and_supertype(engine, Finality::Final, None, field_type)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// The type of arrays with this element, below a supertype if there is one.
    ///
    /// # Errors
    ///
    /// [`OwnershipError::WrongEngine`] when one of the types belongs to another engine;
    /// [`TypeError::Definition`] when the supertype is final or does not fit.
    pub fn with_finality_and_supertype(
        engine: &Engine,
        finality: Finality,
        supertype: Option<&ArrayType>,
        field_type: FieldType,
    ) -> Result<ArrayType> {
        if !field_type.belongs_to(engine) {
            return Err(OwnershipError::WrongEngine.into());
        }
        let element = field_type.to_abi();
        ArrayType::define(
            engine,
            finality,
            supertype,
            abi::CompositeType::Array(element),
        )
    }

    pub(crate) fn shape(&self) -> &ArrayShape {
        self.defined().as_array().expect("made of array types only")
    }

    /// The elements' type.
    pub fn field_type(&self) -> FieldType {
        FieldType::from_abi(self.engine(), self.shape().element)
    }

    /// Whether elements can be written.
    pub fn mutability(&self) -> Mutability {
        self.field_type().mutability()
    }

    /// What an element holds.
    pub fn element_type(&self) -> StorageType {
        self.field_type().element_type().clone()
    }
}

impl ContType {
    /// The type of continuations of functions of type `ty`.
    ///
    /// # Errors
    ///
    /// When the engine has no type ids left.
    pub fn new(ty: &FuncType) -> Result<ContType> {
        ContType::define(
            ty.engine(),
            Finality::Final,
            None,
            abi::CompositeType::Cont(ty.id()),
        )
    }

    /// The type of its functions: what a continuation is resumed with, and returns in the end.
    pub fn func_type(&self) -> FuncType {
        let Shape::Cont(func) = self.defined().shape else {
            unreachable!("the kind was checked when it was made");
        };
        FuncType::from_id(self.engine(), func)
    }
}
