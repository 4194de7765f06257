//! Index newtypes: one per index space of a WebAssembly module, so that they cannot be mixed up.
//!
//! Imported entities come first in each space (core specification, §2.5 "Modules"). A "defined"
//! index counts only what the module itself defines.

use serde::{Deserialize, Serialize};

macro_rules! index {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[repr(transparent)]
        pub struct $name(u32);

        impl $name {
            /// The index with this number.
            #[inline]
            pub const fn new(number: u32) -> Self {
                Self(number)
            }

            /// The index for position `position` of a vector.
            ///
            /// # Panics
            ///
            /// Panics when `position` exceeds 32 bits; validation limits every index space far
            /// below that.
            #[inline]
            pub fn from_usize(position: usize) -> Self {
                Self(u32::try_from(position).expect("index spaces are limited by validation"))
            }

            /// The number.
            #[inline]
            pub const fn as_u32(self) -> u32 {
                self.0
            }

            /// The number, for indexing.
            #[inline]
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }
    )*};
}

index! {
    /// A function, imported or defined.
    FuncIndex;
    /// A function that the module defines: its [`FuncIndex`] less the number of imported functions.
    DefinedFuncIndex;
    /// A type in the module's type space. Not an engine-wide [`crate::TypeId`].
    TypeIndex;
    /// A table, imported or defined.
    TableIndex;
    /// A linear memory, imported or defined.
    MemoryIndex;
    /// A global, imported or defined.
    GlobalIndex;
    /// A tag, imported or defined.
    TagIndex;
    /// A data segment.
    DataIndex;
    /// An element segment.
    ElemIndex;
}

/// Something that can be imported or exported.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum EntityIndex {
    /// A function.
    Func(FuncIndex),
    /// A table.
    Table(TableIndex),
    /// A linear memory.
    Memory(MemoryIndex),
    /// A global.
    Global(GlobalIndex),
    /// A tag.
    Tag(TagIndex),
}
