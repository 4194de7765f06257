//! What a validated module declares.
//!
//! A [`Module`] is what is left of a `.wasm` file besides code, names and debugging information:
//! types, imports, exports, and the initial state of tables, memories, globals and segments. The
//! compiler makes it, the image stores it, the runtime instantiates it.
//!
//! This file knows nothing of how a module is parsed or executed.

use crate::const_expr::ConstExpr;
use crate::features::Features;
use crate::index::{
    DataIndex, DefinedFuncIndex, EntityIndex, FuncIndex, GlobalIndex, MemoryIndex, TableIndex,
    TagIndex, TypeIndex,
};
use crate::settings::Settings;
use crate::types::{
    FuncType, GlobalType, IndexType, MemoryType, RefType, SubType, TableType, TagType,
};
use core::ops::Range;
use serde::{Deserialize, Serialize};

/// What a validated module declares.
///
/// Invariants: every index is in range; imported entities come first in every index space; constant
/// expressions are valid. A decoder of images establishes them again with [`Module::check`].
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Module {
    /// The module's own name, from the name section.
    pub name: Option<String>,
    /// Every defined type, in order.
    pub types: Vec<SubType>,
    /// The recursion groups: consecutive ranges of `types`.
    pub rec_groups: Vec<Range<u32>>,
    /// The imports, in order.
    pub imports: Vec<Import>,
    /// How many of each kind are imported.
    pub num_imports: ImportCounts,
    /// The exports, in order.
    pub exports: Vec<Export>,
    /// The type of every function, imported ones first.
    pub funcs: Vec<TypeIndex>,
    /// Defined or imported functions that a `ref.func`, an element segment, a global, an export or
    /// the start section names: those that need a [`crate::vmctx::VmFuncRef`]. Imported functions
    /// are left out, because they have one anyway. In ascending order.
    pub escaping_funcs: Vec<FuncIndex>,
    /// Every table, imported ones first.
    pub tables: Vec<TableType>,
    /// The initial element of every *defined* table; `None` is null.
    pub table_inits: Vec<Option<ConstExpr>>,
    /// Every linear memory, imported ones first.
    pub memories: Vec<MemoryType>,
    /// Every global, imported ones first.
    pub globals: Vec<GlobalType>,
    /// The initial value of every *defined* global.
    pub global_inits: Vec<ConstExpr>,
    /// Every tag, imported ones first.
    pub tags: Vec<TagType>,
    /// The names of tags, from the name section, in ascending order.
    pub tag_names: Vec<(TagIndex, String)>,
    /// The start function.
    pub start: Option<FuncIndex>,
    /// The element segments.
    pub elements: Vec<ElementSegment>,
    /// The data segments that are left to copy, in ascending order of their indices. Active ones that
    /// are part of a [`MemoryImage`] are left out: nobody can ask for their bytes, and large programs
    /// have tens of thousands of them.
    pub data: Vec<DataSegment>,
    /// For every *defined* memory, its initial contents where they are known before instantiation.
    pub memory_images: Vec<Option<MemoryImage>>,
    /// Where the contents of the code section begin, in bytes from the beginning of the module: what
    /// addresses in DWARF count from.
    pub code_offset: u64,
    /// The features under which it was validated.
    pub features: Features,
    /// The proposals beyond WebAssembly 1.0 that it was seen to use; a subset of `features`.
    pub features_used: Features,
}

/// How many entities of each kind a module imports.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ImportCounts {
    /// Functions.
    pub funcs: u32,
    /// Tables.
    pub tables: u32,
    /// Linear memories.
    pub memories: u32,
    /// Globals.
    pub globals: u32,
    /// Tags.
    pub tags: u32,
}

/// An import.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Import {
    /// The name of the module imported from.
    pub module: String,
    /// The name of the entity.
    pub name: String,
    /// What it becomes in this module.
    pub entity: EntityIndex,
}

/// An export.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Export {
    /// Its name.
    pub name: String,
    /// What is exported.
    pub entity: EntityIndex,
}

/// An element segment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ElementSegment {
    /// When it is applied.
    pub mode: ElementMode,
    /// The elements' type.
    pub ty: RefType,
    /// The elements.
    pub items: ElementItems,
}

/// When an element segment is applied.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ElementMode {
    /// By `table.init`.
    Passive,
    /// At instantiation.
    Active {
        /// The table written.
        table: TableIndex,
        /// Where.
        offset: ConstExpr,
    },
    /// Never: it only declares functions for `ref.func`.
    Declared,
}

/// The elements of a segment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ElementItems {
    /// Function references.
    Funcs(Vec<FuncIndex>),
    /// Expressions.
    Exprs(Vec<ConstExpr>),
}

impl ElementItems {
    /// The number of elements.
    pub fn len(&self) -> usize {
        match self {
            ElementItems::Funcs(items) => items.len(),
            ElementItems::Exprs(items) => items.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A data segment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DataSegment {
    /// Which of the module's it is.
    pub index: DataIndex,
    /// When it is applied.
    pub mode: DataMode,
    /// Its bytes, as a range of the image's data section.
    pub bytes: Range<u64>,
}

/// When a data segment is applied.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum DataMode {
    /// By `memory.init`.
    Passive,
    /// At instantiation.
    Active {
        /// The memory written.
        memory: MemoryIndex,
        /// Where.
        offset: ConstExpr,
    },
}

/// The initial contents of a linear memory: bytes of the image's data section, page-aligned there, that
/// begin at a page-aligned address of the memory. All other bytes are zero.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MemoryImage {
    /// The address in the memory, a multiple of [`IMAGE_PAGE_SIZE`].
    pub address: u64,
    /// The range of the data section; both ends are multiples of [`IMAGE_PAGE_SIZE`].
    pub bytes: Range<u64>,
}

/// The alignment of what is mapped from an image, in bytes.
pub const IMAGE_PAGE_SIZE: u64 = 4096;

/// How compiled code accesses a linear memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MemoryStyle {
    /// Its whole 32-bit address space is reserved, with a guard behind it: no check in code for
    /// accesses whose static offset plus size lies within the guard. Never moves.
    Reserved,
    /// Accesses are checked in code. Never moves.
    Checked,
    /// Accesses are checked in code, and growing may move it: the base is loaded anew each time.
    Movable,
}

impl MemoryStyle {
    /// The style of a memory of type `ty` under `settings`.
    pub fn of(ty: &MemoryType, settings: &Settings) -> MemoryStyle {
        let largest = ty
            .maximum
            .map_or(u64::MAX, |m| m.saturating_mul(ty.page_size()));
        match ty.index {
            IndexType::I32 if settings.memory_reservation >= 4 << 30 => {
                if ty.page_size_log2 == 16 {
                    MemoryStyle::Reserved
                } else {
                    MemoryStyle::Checked
                }
            }
            _ if ty.shared || largest <= settings.memory_reservation => MemoryStyle::Checked,
            _ => MemoryStyle::Movable,
        }
    }
}

impl Module {
    /// A data segment, unless it became part of a [`MemoryImage`].
    pub fn data_segment(&self, index: DataIndex) -> Option<&DataSegment> {
        let at = self
            .data
            .binary_search_by_key(&index, |segment| segment.index);
        Some(&self.data[at.ok()?])
    }

    /// Whether `func` is imported.
    #[inline]
    pub fn is_imported_func(&self, func: FuncIndex) -> bool {
        func.as_u32() < self.num_imports.funcs
    }

    /// The position of `func` among the functions that the module defines, unless it is imported.
    #[inline]
    pub fn defined_func(&self, func: FuncIndex) -> Option<DefinedFuncIndex> {
        func.as_u32()
            .checked_sub(self.num_imports.funcs)
            .map(DefinedFuncIndex::new)
    }

    /// The function at this position among those that the module defines.
    #[inline]
    pub fn func_index(&self, func: DefinedFuncIndex) -> FuncIndex {
        FuncIndex::new(func.as_u32() + self.num_imports.funcs)
    }

    /// The number of functions that the module defines.
    pub fn num_defined_funcs(&self) -> usize {
        self.funcs.len() - self.num_imports.funcs as usize
    }

    /// The position of `func` in [`Module::escaping_funcs`], if it is there.
    pub fn escaping_position(&self, func: FuncIndex) -> Option<u32> {
        self.escaping_funcs
            .binary_search(&func)
            .ok()
            .map(|p| p as u32)
    }

    /// Whether `table` is imported.
    pub fn is_imported_table(&self, table: TableIndex) -> bool {
        table.as_u32() < self.num_imports.tables
    }

    /// Whether `memory` is imported.
    pub fn is_imported_memory(&self, memory: MemoryIndex) -> bool {
        memory.as_u32() < self.num_imports.memories
    }

    /// Whether `global` is imported.
    pub fn is_imported_global(&self, global: GlobalIndex) -> bool {
        global.as_u32() < self.num_imports.globals
    }

    /// Whether `tag` is imported.
    pub fn is_imported_tag(&self, tag: TagIndex) -> bool {
        tag.as_u32() < self.num_imports.tags
    }

    /// The function type at `index`.
    ///
    /// # Panics
    ///
    /// Panics when it is no function type; validation ensures that it is wherever a function's type
    /// is named.
    pub fn func_type_at(&self, index: TypeIndex) -> &FuncType {
        self.types[index.index()]
            .as_func()
            .expect("validated to be a function type")
    }

    /// The type of `func`.
    pub fn func_type(&self, func: FuncIndex) -> &FuncType {
        self.func_type_at(self.funcs[func.index()])
    }
}
