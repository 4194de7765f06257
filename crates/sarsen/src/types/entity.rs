//! The types of what can be imported and exported: [`MemoryType`], [`TableType`], [`GlobalType`],
//! [`TagType`], and [`ExternType`] for any of them.

use super::defined::FuncType;
use super::value::{RefType, ValType};
use crate::engine::Engine;
use crate::error::Result;
use anyhow::ensure;
use core::fmt;
use sarsen_abi::TypeId;
use sarsen_abi::types::{self as abi, IndexType};
use sarsen_abi::write_limits;

/// Whether a global can be written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Mutability {
    /// It cannot.
    Const,
    /// It can.
    Var,
}

impl Mutability {
    /// Whether it is [`Mutability::Const`].
    pub fn is_const(&self) -> bool {
        *self == Mutability::Const
    }

    /// Whether it is [`Mutability::Var`].
    pub fn is_var(&self) -> bool {
        *self == Mutability::Var
    }
}

/// The type of a global.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct GlobalType {
    content: ValType,
    mutability: Mutability,
}

impl GlobalType {
    /// A global that holds a `content`.
    pub fn new(content: ValType, mutability: Mutability) -> Self {
        GlobalType {
            content,
            mutability,
        }
    }

    /// The type of what it holds.
    pub fn content(&self) -> &ValType {
        &self.content
    }

    /// Whether it can be written.
    pub fn mutability(&self) -> Mutability {
        self.mutability
    }

    pub(crate) fn to_abi(&self) -> abi::GlobalType<TypeId> {
        abi::GlobalType {
            content: self.content.to_abi(),
            mutable: self.mutability.is_var(),
        }
    }

    pub(crate) fn from_abi(engine: &Engine, ty: abi::GlobalType<TypeId>) -> Self {
        let mutability = if ty.mutable {
            Mutability::Var
        } else {
            Mutability::Const
        };
        GlobalType::new(ValType::from_abi(engine, ty.content), mutability)
    }
}

impl fmt::Display for GlobalType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mutability {
            Mutability::Const => write!(f, "(global {})", self.content),
            Mutability::Var => write!(f, "(global (mut {}))", self.content),
        }
    }
}

/// The type of a tag.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TagType {
    ty: FuncType,
}

impl TagType {
    /// A tag with this signature.
    pub fn new(ty: FuncType) -> Self {
        TagType { ty }
    }

    /// The signature.
    pub fn ty(&self) -> &FuncType {
        &self.ty
    }
}

impl fmt::Display for TagType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "(tag {})", self.ty)
    }
}

/// The type of exceptions: of their fields, which are the parameters of a tag.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ExnType {
    tag: TagType,
}

impl ExnType {
    /// Exceptions with these fields.
    ///
    /// # Errors
    ///
    /// When there are too many of them, or one belongs to another engine.
    pub fn new(engine: &Engine, fields: impl IntoIterator<Item = ValType>) -> Result<Self> {
        let ty = FuncType::try_new(engine, fields, [])?;
        Ok(ExnType {
            tag: TagType::new(ty),
        })
    }

    /// The exceptions of tags of this type.
    ///
    /// # Errors
    ///
    /// When the type has results: then it is none of exceptions.
    pub fn from_tag_type(tag: TagType) -> Result<Self> {
        ensure!(
            tag.ty.results().len() == 0,
            "a tag with results has no exceptions: {tag}"
        );
        Ok(ExnType { tag })
    }

    /// The type of their tags.
    pub fn tag_type(&self) -> &TagType {
        &self.tag
    }

    /// The type of field `index`.
    pub fn field(&self, index: usize) -> Option<ValType> {
        self.tag.ty.param(index)
    }

    /// The types of the fields.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = ValType> + '_ {
        self.tag.ty.params()
    }

    /// The engine that it belongs to.
    pub fn engine(&self) -> &Engine {
        self.tag.ty.engine()
    }
}

/// The type of a table.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TableType {
    element: RefType,
    index: IndexType,
    minimum: u64,
    maximum: Option<u64>,
}

impl TableType {
    /// A table with 32-bit indices, of at least `min` and at most `max` elements.
    pub fn new(element: RefType, min: u32, max: Option<u32>) -> Self {
        TableType {
            element,
            index: IndexType::I32,
            minimum: u64::from(min),
            maximum: max.map(u64::from),
        }
    }

    /// A table with 64-bit indices, of at least `min` and at most `max` elements.
    pub fn new64(element: RefType, min: u64, max: Option<u64>) -> Self {
        TableType {
            element,
            index: IndexType::I64,
            minimum: min,
            maximum: max,
        }
    }

    /// Whether indices have 64 bits.
    pub fn is_64(&self) -> bool {
        self.index == IndexType::I64
    }

    /// The elements' type.
    pub fn element(&self) -> &RefType {
        &self.element
    }

    /// The smallest size, in elements.
    pub fn minimum(&self) -> u64 {
        self.minimum
    }

    /// The largest size, in elements.
    pub fn maximum(&self) -> Option<u64> {
        self.maximum
    }

    pub(crate) fn to_abi(&self) -> abi::TableType<TypeId> {
        abi::TableType {
            element: self.element.to_abi(),
            index: self.index,
            minimum: self.minimum,
            maximum: self.maximum,
        }
    }

    pub(crate) fn from_abi(engine: &Engine, ty: abi::TableType<TypeId>) -> Self {
        TableType {
            element: RefType::from_abi(engine, ty.element),
            index: ty.index,
            minimum: ty.minimum,
            maximum: ty.maximum,
        }
    }
}

impl fmt::Display for TableType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(table")?;
        write_limits(f, self.index, self.minimum, self.maximum)?;
        write!(f, " {})", self.element)
    }
}

/// The type of a linear memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct MemoryType {
    ty: abi::MemoryType,
}

impl MemoryType {
    /// A memory with 32-bit addresses, of at least `minimum` and at most `maximum` pages of 64 KiB.
    pub fn new(minimum: u32, maximum: Option<u32>) -> Self {
        MemoryType {
            ty: abi::MemoryType {
                minimum: u64::from(minimum),
                maximum: maximum.map(u64::from),
                ..MemoryTypeBuilder::default().ty
            },
        }
    }

    /// A memory with 64-bit addresses, of at least `minimum` and at most `maximum` pages of 64 KiB.
    pub fn new64(minimum: u64, maximum: Option<u64>) -> Self {
        MemoryType {
            ty: abi::MemoryType {
                index: IndexType::I64,
                minimum,
                maximum,
                ..MemoryTypeBuilder::default().ty
            },
        }
    }

    /// A shared memory with 32-bit addresses, of at least `minimum` and at most `maximum` pages of
    /// 64 KiB. [`MemoryType::builder`] makes all other kinds.
    pub fn shared(minimum: u32, maximum: u32) -> Self {
        MemoryType {
            ty: abi::MemoryType {
                shared: true,
                ..MemoryType::new(minimum, Some(maximum)).ty
            },
        }
    }

    /// Builds a memory type of any kind.
    pub fn builder() -> MemoryTypeBuilder {
        MemoryTypeBuilder::default()
    }

    /// Whether addresses have 64 bits.
    pub fn is_64(&self) -> bool {
        self.ty.index == IndexType::I64
    }

    /// Whether it is shared between agents.
    pub fn is_shared(&self) -> bool {
        self.ty.shared
    }

    /// The smallest size, in pages.
    pub fn minimum(&self) -> u64 {
        self.ty.minimum
    }

    /// The largest size, in pages.
    pub fn maximum(&self) -> Option<u64> {
        self.ty.maximum
    }

    /// The size of a page, in bytes.
    pub fn page_size(&self) -> u64 {
        self.ty.page_size()
    }

    /// The size of a page is 2 to this power.
    pub fn page_size_log2(&self) -> u8 {
        self.ty.page_size_log2
    }

    /// Checks that WebAssembly has such a type.
    pub(crate) fn check(&self) -> Result<()> {
        let ty = self.ty;
        ensure!(
            matches!(ty.page_size_log2, 0 | 16),
            "a page has 1 byte or 64 KiB, not 2^{} bytes",
            ty.page_size_log2
        );
        let limit = ty.index_limit_pages();
        ensure!(
            ty.minimum <= limit && ty.maximum.unwrap_or(0) <= limit,
            "a memory with {} addresses has at most {limit} pages",
            if ty.index == IndexType::I64 {
                "64-bit"
            } else {
                "32-bit"
            }
        );
        ensure!(
            ty.maximum.is_none_or(|maximum| ty.minimum <= maximum),
            "a memory's maximum size is smaller than its minimum"
        );
        ensure!(
            !ty.shared || ty.maximum.is_some(),
            "a shared memory needs a maximum size"
        );
        Ok(())
    }

    pub(crate) fn to_abi(self) -> abi::MemoryType {
        self.ty
    }

    pub(crate) fn from_abi(ty: abi::MemoryType) -> Self {
        MemoryType { ty }
    }
}

impl fmt::Display for MemoryType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(memory ")?;
        let mut limits = String::new();
        if self.is_64() {
            limits.push_str("i64 ");
        }
        limits.push_str(&self.ty.minimum.to_string());
        if let Some(maximum) = self.ty.maximum {
            limits.push_str(&format!(" {maximum}"));
        }
        if self.ty.shared {
            limits.push_str(" shared");
        }
        if self.ty.page_size_log2 != 16 {
            limits.push_str(&format!(" (pagesize {})", self.ty.page_size()));
        }
        write!(f, "{limits})")
    }
}

/// Builds a [`MemoryType`].
#[derive(Clone, Debug)]
pub struct MemoryTypeBuilder {
    ty: abi::MemoryType,
}

impl Default for MemoryTypeBuilder {
    fn default() -> Self {
        MemoryTypeBuilder {
            ty: abi::MemoryType {
                index: IndexType::I32,
                shared: false,
                minimum: 0,
                maximum: None,
                page_size_log2: 16,
            },
        }
    }
}

impl MemoryTypeBuilder {
    /// Starts with an empty memory with 32-bit addresses and no maximum.
    pub fn new() -> Self {
        Self::default()
    }

    /// The smallest size, in pages.
    pub fn min(&mut self, minimum: u64) -> &mut Self {
        self.ty.minimum = minimum;
        self
    }

    /// The largest size, in pages.
    pub fn max(&mut self, maximum: Option<u64>) -> &mut Self {
        self.ty.maximum = maximum;
        self
    }

    /// Whether addresses have 64 bits.
    pub fn memory64(&mut self, memory64: bool) -> &mut Self {
        self.ty.index = if memory64 {
            IndexType::I64
        } else {
            IndexType::I32
        };
        self
    }

    /// Whether it is shared between agents.
    pub fn shared(&mut self, shared: bool) -> &mut Self {
        self.ty.shared = shared;
        self
    }

    /// The size of a page is 2 to this power: 16, or 0.
    pub fn page_size_log2(&mut self, page_size_log2: u8) -> &mut Self {
        self.ty.page_size_log2 = page_size_log2;
        self
    }

    /// The type.
    ///
    /// # Errors
    ///
    /// When WebAssembly has no such type.
    pub fn build(&self) -> Result<MemoryType> {
        let ty = MemoryType { ty: self.ty };
        ty.check()?;
        Ok(ty)
    }
}

/// The type of something that can be imported or exported.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ExternType {
    /// A function.
    Func(FuncType),
    /// A global.
    Global(GlobalType),
    /// A table.
    Table(TableType),
    /// A linear memory.
    Memory(MemoryType),
    /// A tag.
    Tag(TagType),
}

macro_rules! accessors {
    ($($variant:ident $ty:ident $get:ident $unwrap:ident $what:literal;)*) => {
        impl ExternType {
            $(
                #[doc = concat!("The type, if it is that of a ", $what, ".")]
                pub fn $get(&self) -> Option<&$ty> {
                    match self {
                        ExternType::$variant(ty) => Some(ty),
                        _ => None,
                    }
                }

                #[doc = concat!("The type of a ", $what, ".")]
                ///
                /// # Panics
                ///
                /// Panics when it is the type of something else.
                pub fn $unwrap(&self) -> &$ty {
                    self.$get()
                        .unwrap_or_else(|| panic!("{self} is not the type of a {}", $what))
                }
            )*
        }

        $(
            impl From<$ty> for ExternType {
                fn from(ty: $ty) -> Self {
                    ExternType::$variant(ty)
                }
            }
        )*
    };
}

accessors! {
    Func FuncType func unwrap_func "function";
    Global GlobalType global unwrap_global "global";
    Table TableType table unwrap_table "table";
    Memory MemoryType memory unwrap_memory "memory";
    Tag TagType tag unwrap_tag "tag";
}

impl fmt::Display for ExternType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExternType::Func(ty) => ty.fmt(f),
            ExternType::Global(ty) => ty.fmt(f),
            ExternType::Table(ty) => ty.fmt(f),
            ExternType::Memory(ty) => ty.fmt(f),
            ExternType::Tag(ty) => ty.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_written_as_in_the_text_format() {
        let global = GlobalType::new(ValType::I64, Mutability::Var);
        assert_eq!(global.to_string(), "(global (mut i64))");
        let table = TableType::new(RefType::FUNCREF, 1, Some(2));
        assert_eq!(table.to_string(), "(table 1 2 funcref)");
        assert_eq!(MemoryType::new(1, None).to_string(), "(memory 1)");
        let memory = MemoryType::builder()
            .memory64(true)
            .min(3)
            .max(Some(9))
            .shared(true)
            .page_size_log2(0)
            .build()
            .unwrap();
        assert_eq!(memory.to_string(), "(memory i64 3 9 shared (pagesize 1))");
    }

    #[test]
    fn impossible_memory_types_are_not_built() {
        assert!(MemoryType::builder().min(65537).build().is_err());
        assert!(MemoryType::builder().min(2).max(Some(1)).build().is_err());
        assert!(MemoryType::builder().shared(true).build().is_err());
        assert!(MemoryType::builder().page_size_log2(3).build().is_err());
        assert!(MemoryType::builder().min(65536).build().is_ok());
    }
}
