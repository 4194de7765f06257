//! WebAssembly types as an embedder sees them.
//!
//! They wrap the types of [`sarsen_abi::types`] with engine-wide type ids. A type that names a
//! defined type ([`FuncType`] and what contains one) belongs to one engine and keeps the definition
//! registered there; the others belong to none.
//!
//! | file | owns |
//! |---|---|
//! | `value.rs` | [`ValType`], [`RefType`], [`HeapType`] |
//! | `defined.rs` | [`FuncType`], and what all defined types have in common |
//! | `aggregate.rs` | [`StructType`], [`ArrayType`], [`ContType`] |
//! | `field.rs` | [`FieldType`], [`StorageType`], [`Finality`] |
//! | `entity.rs` | [`MemoryType`], [`TableType`], [`GlobalType`], [`TagType`], [`ExternType`] |
//! | `signature.rs` | [`ImportType`], [`ExportType`] |
//! | `text.rs` | types as text |

mod aggregate;
mod defined;
mod entity;
mod field;
mod signature;
pub(crate) mod text;
mod value;

pub use defined::{ArrayType, ContType, FuncType, StructType};
pub use entity::{
    ExnType, ExternType, GlobalType, MemoryType, MemoryTypeBuilder, Mutability, TableType, TagType,
};
pub use field::{FieldType, Finality, StorageType};
pub use signature::{ExportType, ImportType};
pub use value::{HeapType, RefType, ValType};
