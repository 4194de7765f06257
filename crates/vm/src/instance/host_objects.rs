//! What the host makes in a store, memories, tables, globals and tags, and growing any memory or
//! table with the embedder's consent.
//!
//! Callers: the API; `instantiate`; `bulk`.

use super::reason::HostError;
use super::stable::Stable;
use super::store::{Store, TooMany};
use super::upcalls::ResourceCounts;
use crate::gc::HeapError;
use crate::mem::{LinearMemory, MemoryError, SharedGrowError, SharedMemory, Table, TableError};
use sarsen_abi::TypeId;
use sarsen_abi::types::{MemoryType, TableType};
use sarsen_abi::vmctx::{ValRaw, VmGlobal, VmTag};
use std::fmt;
use std::ptr::NonNull;

/// Why a memory or table could not be made.
pub enum CreateError {
    /// The store would hold too many.
    TooMany(TooMany),
    /// The embedder's limiter refuses a memory of this many bytes.
    MemoryRefused(usize),
    /// The embedder's limiter refuses a table of this many elements.
    TableRefused(usize),
    /// There is no room for a memory.
    Memory(MemoryError),
    /// There is no room for a table.
    Table(TableError),
    /// There is no address space for the collected heap.
    Heap(HeapError),
    /// The embedder's limiter returned this.
    Host(HostError),
}

impl fmt::Display for CreateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CreateError::TooMany(TooMany { what, limit }) => {
                write!(
                    f,
                    "the store would have more {what} than its limit of {limit}"
                )
            }
            CreateError::MemoryRefused(bytes) => {
                write!(f, "a memory of {bytes} bytes exceeds the store's limits")
            }
            CreateError::TableRefused(elements) => {
                write!(
                    f,
                    "a table of {elements} elements exceeds the store's limits"
                )
            }
            CreateError::Memory(error) => error.fmt(f),
            CreateError::Table(error) => error.fmt(f),
            CreateError::Heap(error) => write!(f, "no collected heap: {error}"),
            CreateError::Host(_) => f.write_str("the embedder's limiter failed"),
        }
    }
}

impl fmt::Debug for CreateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CreateError({self})")
    }
}

impl From<TooMany> for CreateError {
    fn from(error: TooMany) -> Self {
        CreateError::TooMany(error)
    }
}

impl From<MemoryError> for CreateError {
    fn from(error: MemoryError) -> Self {
        CreateError::Memory(error)
    }
}

impl From<TableError> for CreateError {
    fn from(error: TableError) -> Self {
        CreateError::Table(error)
    }
}

const NOTHING: ResourceCounts = ResourceCounts {
    instances: 0,
    memories: 0,
    tables: 0,
};

impl Store {
    /// Makes a memory of zeroes.
    ///
    /// # Errors
    ///
    /// When the embedder refuses, or there is no room.
    pub fn new_memory(&mut self, ty: MemoryType) -> Result<NonNull<LinearMemory>, CreateError> {
        self.may_create_memory(&ty)?;
        let memory = LinearMemory::new_for_host(self.engine().slots(), ty)?;
        let counts = self.counts_with(ResourceCounts {
            memories: 1,
            ..NOTHING
        })?;
        self.set_counts(counts);
        let memory = Stable::new(memory);
        let at = memory.as_non_null();
        self.memories.push(memory);
        Ok(at)
    }

    /// Makes a table whose elements are all `init`: null, or a reference of its element type (see
    /// [`Table`]). The types that `ty` names must stay registered as long as the store
    /// ([`Store::keep_type`]).
    ///
    /// # Errors
    ///
    /// When the embedder refuses, or there is no room.
    pub fn new_table(
        &mut self,
        ty: TableType<TypeId>,
        init: u64,
    ) -> Result<NonNull<Table>, CreateError> {
        self.may_create_table(&ty)?;
        let table = Table::new_for_host(ty)?;
        let counts = self.counts_with(ResourceCounts {
            tables: 1,
            ..NOTHING
        })?;
        self.set_counts(counts);
        let table = Stable::new(table);
        let at = table.as_non_null();
        self.tables.push(table);
        if init != 0 {
            // SAFETY: a table of this store, of which nothing runs.
            unsafe { self.fill_table(at, 0, init, ty.minimum) }
                .expect("a new table has its minimum size");
        }
        Ok(at)
    }

    /// Makes a global; `collected` tells whether it holds collected references. The types that its type
    /// names must stay registered as long as the store ([`Store::keep_type`]).
    pub fn new_global(&mut self, value: ValRaw, collected: bool) -> NonNull<VmGlobal> {
        let global = Stable::new(VmGlobal(value));
        let at = global.as_non_null();
        self.globals.push(global);
        if collected {
            self.collected_globals.push(at);
        }
        at
    }

    /// Makes a tag. Its type must stay registered as long as the store ([`Store::keep_type`]).
    pub fn new_tag(&mut self, type_id: TypeId) -> NonNull<VmTag> {
        let tag = Stable::new(VmTag { type_id, id: 0 });
        let at = tag.as_non_null();
        let id = self.heap_mut().add_tag(at, type_id);
        // SAFETY: ours, and nobody else knows of it yet.
        unsafe { (*at.as_ptr()).id = id };
        self.tags.push(tag);
        at
    }

    /// Asks whether a memory of this type may be made.
    pub(super) fn may_create_memory(&self, ty: &MemoryType) -> Result<(), CreateError> {
        let bytes = bytes(ty, Some(ty.minimum));
        match self.ask(|u| u.memory_growing(0, bytes, maximum_bytes(ty))) {
            None | Some(Ok(true)) => Ok(()),
            Some(Ok(false)) => Err(CreateError::MemoryRefused(bytes)),
            Some(Err(error)) => Err(CreateError::Host(error)),
        }
    }

    /// Asks whether a table of this type may be made.
    pub(super) fn may_create_table(&self, ty: &TableType<TypeId>) -> Result<(), CreateError> {
        let elements = saturate(ty.minimum);
        match self.ask(|u| u.table_growing(0, elements, ty.maximum.map(saturate))) {
            None | Some(Ok(true)) => Ok(()),
            Some(Ok(false)) => Err(CreateError::TableRefused(elements)),
            Some(Err(error)) => Err(CreateError::Host(error)),
        }
    }

    /// Grows a memory by `delta` pages. Returns its old size in pages, or `None` when it stays as it
    /// is.
    ///
    /// # Errors
    ///
    /// What the embedder's limiter returns.
    ///
    /// # Safety
    ///
    /// `memory` must be a memory of this store, of which nothing runs meanwhile.
    pub unsafe fn grow_memory(
        &self,
        mut memory: NonNull<LinearMemory>,
        delta: u64,
    ) -> Result<Option<u64>, HostError> {
        // SAFETY: alive, and nobody else has a reference to it (the caller's promise; the embedder
        // cannot reach the store while it is asked).
        let memory = unsafe { memory.as_mut() };
        let ty = memory.ty();
        let desired = bytes(ty, memory.size_pages().checked_add(delta));
        let maximum = maximum_bytes(ty);
        let agreed = self.ask(|u| u.memory_growing(memory.size_bytes(), desired, maximum));
        if !agreed.unwrap_or(Ok(true))? {
            return Ok(None);
        }
        match memory.grow(delta) {
            Ok(old) => Ok(Some(old)),
            Err(error) => {
                let message = error.to_string();
                self.ask(|u| u.memory_grow_failed(&message))
                    .unwrap_or(Ok(()))?;
                Ok(None)
            }
        }
    }

    /// Grows a shared memory by `delta` pages, as [`Store::grow_memory`]. The limiter that is asked is this
    /// store's; when another thread grows the memory meanwhile, it is asked again.
    ///
    /// # Errors
    ///
    /// What the embedder's limiter returns.
    pub fn grow_shared_memory(
        &self,
        memory: &SharedMemory,
        delta: u64,
    ) -> Result<Option<u64>, HostError> {
        let ty = memory.ty();
        let mut pages = memory.size_pages();
        loop {
            let current = bytes(ty, Some(pages));
            let desired = bytes(ty, pages.checked_add(delta));
            let agreed = self.ask(|u| u.memory_growing(current, desired, maximum_bytes(ty)));
            if !agreed.unwrap_or(Ok(true))? {
                return Ok(None);
            }
            match memory.grow_from(pages, delta) {
                Ok(()) => return Ok(Some(pages)),
                Err(SharedGrowError::Changed(now)) => pages = now,
                Err(SharedGrowError::Failed(error)) => {
                    let message = error.to_string();
                    self.ask(|u| u.memory_grow_failed(&message))
                        .unwrap_or(Ok(()))?;
                    return Ok(None);
                }
            }
        }
    }
}

/// What is too large to count is too large to grant.
pub(super) fn saturate(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// The size of so many pages, in bytes; `None` pages are more than there are numbers.
fn bytes(ty: &MemoryType, pages: Option<u64>) -> usize {
    saturate(pages.map_or(u64::MAX, |pages| pages.saturating_mul(ty.page_size())))
}

fn maximum_bytes(ty: &MemoryType) -> Option<usize> {
    ty.maximum.map(|pages| bytes(ty, Some(pages)))
}
