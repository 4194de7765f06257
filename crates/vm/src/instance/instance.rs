//! [`Instance`]: an instance of a module in a store, and finding things in it.
//!
//! ```text
//!   Instance ──► block (from the engine's pool)
//!     module      | vmctx, laid out by VmCtxLayout        |   compiled code's view
//!     memories    | VmHostCtx of each imported host func. |
//!     tables      +---------------------------------------+
//! ```
//!
//! An instance never moves, and lives as long as its store. What changes after it is made is in
//! cells; everything is done through `&Instance`.

use super::extern_type::ExternType;
use super::module::CompiledModule;
use super::segments::EvaluatedSegments;
use super::stable::Stable;
use super::store::Store;
use crate::mem::{Block, LinearMemory, SharedMemory, Table};
use sarsen_abi::types::{GlobalType, MemoryType, TableType};
use sarsen_abi::vmctx::{VmCtxHeader, VmFuncRef, VmGlobal, VmHostCtx, VmMemory, VmTable, VmTag};
use sarsen_abi::{EntityIndex, FuncIndex, GlobalIndex, MemoryIndex, TableIndex, TagIndex, TypeId};
use smallvec::SmallVec;
use std::cell::RefCell;
use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;

/// Something that can be exported and imported. The pointers are valid as long as the store that it
/// belongs to, and as used as the store is: see the folder's page.
#[derive(Clone, Copy, Debug)]
pub enum Extern {
    /// A function.
    Func(NonNull<VmFuncRef>),
    /// A table.
    Table(NonNull<Table>),
    /// A linear memory.
    Memory(NonNull<LinearMemory>),
    /// A shared linear memory. It belongs to no store; the pointer is to a handle that somebody has.
    SharedMemory(NonNull<SharedMemory>),
    /// A global, and its type.
    Global(NonNull<VmGlobal>, GlobalType<TypeId>),
    /// A tag.
    Tag(NonNull<VmTag>),
}

impl Extern {
    /// Its type now: the minimum of a table or memory is its current size.
    ///
    /// # Safety
    ///
    /// It must belong to a store that is alive and of which nothing runs meanwhile.
    pub unsafe fn ty(&self) -> ExternType {
        // SAFETY: the caller's promise: the pointers are valid and nobody writes there.
        unsafe {
            match self {
                Extern::Func(func) => ExternType::Func(func.as_ref().type_id),
                Extern::Table(table) => ExternType::Table(current_table_type(table.as_ref())),
                Extern::Memory(memory) => ExternType::Memory(current_memory_type(memory.as_ref())),
                Extern::SharedMemory(memory) => {
                    let memory = memory.as_ref();
                    ExternType::Memory(MemoryType {
                        minimum: memory.size_pages(),
                        ..*memory.ty()
                    })
                }
                Extern::Global(_, ty) => ExternType::Global(*ty),
                Extern::Tag(tag) => ExternType::Tag(tag.as_ref().type_id),
            }
        }
    }
}

fn current_table_type(table: &Table) -> TableType<TypeId> {
    TableType {
        minimum: table.size(),
        ..*table.ty()
    }
}

fn current_memory_type(memory: &LinearMemory) -> MemoryType {
    MemoryType {
        minimum: memory.size_pages(),
        ..*memory.ty()
    }
}

/// A memory of an instance, its own or imported.
#[derive(Clone, Copy, Debug)]
pub enum InstanceMemory {
    /// One that its store alone uses.
    Own(NonNull<LinearMemory>),
    /// A shared one; the handle is the instance's.
    Shared(NonNull<SharedMemory>),
}

/// An instance of a module in a store. See the module's page.
pub struct Instance {
    pub(super) module: Arc<CompiledModule>,
    store: NonNull<Store>,
    /// Every memory, imported ones first.
    pub(super) memories: SmallVec<[InstanceMemory; 1]>,
    /// Every table, imported ones first.
    pub(super) tables: SmallVec<[NonNull<Table>; 1]>,
    /// The memories that it defines. They keep their cells in the block: declared, so dropped,
    /// before it.
    pub(super) own_memories: SmallVec<[Stable<LinearMemory>; 1]>,
    /// Handles of its shared memories, imported ones too.
    pub(super) shared_memories: Vec<Stable<SharedMemory>>,
    /// The tables that it defines; as above.
    pub(super) own_tables: SmallVec<[Stable<Table>; 1]>,
    /// The passive segments that were dropped.
    pub(super) dropped_data: DroppedSegments,
    pub(super) dropped_elements: DroppedSegments,
    /// The passive element segments of collected references that have been evaluated.
    pub(super) evaluated: EvaluatedSegments,
    block: Block,
}

impl Instance {
    /// The size of an instance's block: its vmctx, and a context for each imported function, which
    /// may be the host's.
    pub(super) fn block_size(module: &CompiledModule) -> usize {
        host_contexts_offset(module)
            + module.module().num_imports.funcs as usize * size_of::<VmHostCtx>()
    }

    /// An instance whose block is still zero, without memories and tables.
    pub(super) fn new(store: &Store, module: Arc<CompiledModule>) -> Instance {
        let block = store
            .engine()
            .blocks()
            .allocate(Instance::block_size(&module));
        Instance {
            module,
            store: store.as_non_null(),
            memories: SmallVec::new(),
            tables: SmallVec::new(),
            own_memories: SmallVec::new(),
            shared_memories: Vec::new(),
            own_tables: SmallVec::new(),
            dropped_data: DroppedSegments::default(),
            dropped_elements: DroppedSegments::default(),
            evaluated: EvaluatedSegments::default(),
            block,
        }
    }

    /// The instance with this vmctx.
    ///
    /// # Safety
    ///
    /// `vmctx` must be an instance's whose store is alive for `'a`.
    #[inline]
    pub unsafe fn from_vmctx<'a>(vmctx: *mut VmCtxHeader) -> &'a Instance {
        // SAFETY: the caller's promise; the header points to the instance, which never moves, and
        // to which no mutable reference is ever made.
        unsafe { &*(*vmctx).instance.cast::<Instance>() }
    }

    /// Its vmctx.
    #[inline]
    pub fn vmctx(&self) -> NonNull<VmCtxHeader> {
        self.block.as_ptr().cast()
    }

    /// The store that it belongs to.
    #[inline]
    pub fn store(&self) -> NonNull<Store> {
        self.store
    }

    /// Its module.
    #[inline]
    pub fn module(&self) -> &Arc<CompiledModule> {
        &self.module
    }

    /// What it exports by this name.
    pub fn export(&self, name: &str) -> Option<Extern> {
        self.export_at(self.module.export_position(name)? as usize)
    }

    /// What it exports at this position of [`sarsen_abi::Module::exports`].
    pub fn export_at(&self, position: usize) -> Option<Extern> {
        let export = self.module.module().exports.get(position)?;
        Some(self.get(export.entity))
    }

    /// What it exports, in order.
    pub fn exports(&self) -> impl ExactSizeIterator<Item = (&str, Extern)> {
        let exports = self.module.module().exports.iter();
        exports.map(|export| (export.name.as_str(), self.get(export.entity)))
    }

    /// Anything in it.
    ///
    /// # Panics
    ///
    /// Panics when there is no such thing, or when it is a function without reference; exports and
    /// what the module names by `ref.func` are always there.
    pub fn get(&self, entity: EntityIndex) -> Extern {
        match entity {
            EntityIndex::Func(func) => {
                Extern::Func(self.func(func).expect("what is exported has a reference"))
            }
            EntityIndex::Table(table) => Extern::Table(self.table(table)),
            EntityIndex::Memory(memory) => match self.memory(memory) {
                InstanceMemory::Own(memory) => Extern::Memory(memory),
                InstanceMemory::Shared(memory) => Extern::SharedMemory(memory),
            },
            EntityIndex::Global(global) => {
                Extern::Global(self.global(global), self.module.global_type(global))
            }
            EntityIndex::Tag(tag) => Extern::Tag(self.tag(tag)),
        }
    }

    /// The reference to a function, if it has one.
    #[inline]
    pub fn func(&self, func: FuncIndex) -> Option<NonNull<VmFuncRef>> {
        Some(self.at(self.module.funcref_offset(func)?))
    }

    /// A table.
    #[inline]
    pub fn table(&self, table: TableIndex) -> NonNull<Table> {
        self.tables[table.index()]
    }

    /// A linear memory.
    #[inline]
    pub fn memory(&self, memory: MemoryIndex) -> InstanceMemory {
        self.memories[memory.index()]
    }

    /// Adds a shared memory, imported or defined, of which every instance that uses it has a handle.
    pub(super) fn push_shared(&mut self, memory: SharedMemory) {
        let memory = Stable::new(memory);
        self.memories
            .push(InstanceMemory::Shared(memory.as_non_null()));
        self.shared_memories.push(memory);
    }

    /// What compiled code sees of a table, now.
    pub(super) fn vm_table(&self, table: TableIndex) -> VmTable {
        // SAFETY: tables live as long as the store, and nobody writes the cell meanwhile.
        unsafe { self.table(table).as_ref().vm().read() }
    }

    /// What compiled code sees of a memory, now.
    pub(super) fn vm_memory(&self, memory: MemoryIndex) -> VmMemory {
        // SAFETY: memories live as long as the store, and nobody writes the cell meanwhile.
        unsafe {
            match self.memory(memory) {
                InstanceMemory::Own(memory) => memory.as_ref().vm().read(),
                InstanceMemory::Shared(memory) => memory.as_ref().snapshot(),
            }
        }
    }

    /// A global.
    pub fn global(&self, global: GlobalIndex) -> NonNull<VmGlobal> {
        let layout = self.module.layout();
        if self.module.module().is_imported_global(global) {
            // SAFETY: the vmctx holds a pointer to a global there since it was filled.
            unsafe {
                self.at::<NonNull<VmGlobal>>(layout.imported_global(global))
                    .read()
            }
        } else {
            self.at(layout.defined_global(global))
        }
    }

    /// A tag.
    pub fn tag(&self, tag: TagIndex) -> NonNull<VmTag> {
        let layout = self.module.layout();
        if self.module.module().is_imported_tag(tag) {
            // SAFETY: the vmctx holds a pointer to a tag there since it was filled.
            unsafe { self.at::<NonNull<VmTag>>(layout.imported_tag(tag)).read() }
        } else {
            self.at(layout.defined_tag(tag))
        }
    }

    /// What lies at `offset` of the vmctx.
    ///
    /// # Panics
    ///
    /// Panics when it does not lie inside the block.
    pub(super) fn at<T>(&self, offset: u32) -> NonNull<T> {
        let offset = offset as usize;
        assert!(offset + size_of::<T>() <= self.block.size());
        // SAFETY: inside the block.
        let at = unsafe { self.block.as_ptr().add(offset) }.cast::<T>();
        debug_assert!(at.is_aligned());
        at
    }

    /// The place for the context of the host function that is imported as `func`.
    pub(super) fn host_context(&self, func: FuncIndex) -> NonNull<VmHostCtx> {
        let first = host_contexts_offset(&self.module);
        self.at((first + func.index() * size_of::<VmHostCtx>()) as u32)
    }

    /// Whether a fault at `address` is in the reservation of a memory that it defines, or of a shared
    /// one.
    pub(super) fn owns_address(&self, address: usize) -> bool {
        let contains = |memory: &Stable<LinearMemory>| {
            // SAFETY: ours, and nothing of the store runs.
            unsafe { memory.as_non_null().as_ref() }.contains(address)
        };
        let shared = |memory: &Stable<SharedMemory>| {
            // SAFETY: ours, and nobody refers to it otherwise than shared.
            unsafe { memory.as_non_null().as_ref() }.contains(address)
        };
        self.own_memories.iter().any(contains) || self.shared_memories.iter().any(shared)
    }
}

fn host_contexts_offset(module: &CompiledModule) -> usize {
    (module.layout().size() as usize).next_multiple_of(align_of::<VmHostCtx>())
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance")
            .field("module", &self.module)
            .field("vmctx", &self.vmctx())
            .finish_non_exhaustive()
    }
}

/// Which of an instance's passive segments have been dropped. Takes memory once one has.
#[derive(Debug, Default)]
pub(super) struct DroppedSegments(RefCell<SmallVec<[u64; 2]>>);

impl DroppedSegments {
    /// Whether the segment at `position` has been dropped.
    pub(super) fn contains(&self, position: usize) -> bool {
        let words = self.0.borrow();
        words
            .get(position / 64)
            .is_some_and(|word| word >> (position % 64) & 1 != 0)
    }

    /// Drops the segment at `position`.
    pub(super) fn insert(&self, position: usize) {
        let mut words = self.0.borrow_mut();
        if words.len() <= position / 64 {
            words.resize(position / 64 + 1, 0);
        }
        words[position / 64] |= 1 << (position % 64);
    }
}

#[cfg(test)]
mod tests {
    use super::DroppedSegments;

    #[test]
    fn dropping_a_segment_drops_no_other() {
        let dropped = DroppedSegments::default();
        for position in [0, 63, 64, 1000] {
            assert!(!dropped.contains(position));
            dropped.insert(position);
        }
        let all: Vec<_> = (0..2000).filter(|&p| dropped.contains(p)).collect();
        assert_eq!(all, [0, 63, 64, 1000]);
    }
}
