//! The instructions on memories and tables that compiled code leaves to the runtime.
//!
//! Specification: core, §4.6.9 "Table Instructions", §4.6.10 "Memory Instructions". What a guest
//! passes is checked in [`crate::mem`]; indices of memories, tables and segments come from
//! validated code. `table.init` and `memory.init` are in `segments`; `memory.copy` and `memory.fill`
//! are checked by compiled code, and need no instance.
//!
//! Called by `exec`'s builtins.

use super::instance::{Instance, InstanceMemory};
use super::reason::HostError;
use super::store::Store;
use crate::mem;
use sarsen_abi::{MemoryIndex, TableIndex, TrapCode};

impl Instance {
    fn owner(&self) -> &Store {
        // SAFETY: an instance lives in its store; compiled code has just called out of it, so that
        // nobody has a mutable reference to it.
        unsafe { self.store().as_ref() }
    }

    /// `memory.grow`: the old size in pages, or `None` when the memory stays as it is.
    ///
    /// # Errors
    ///
    /// What the embedder's limiter returns.
    pub(crate) fn memory_grow(
        &self,
        memory: MemoryIndex,
        delta: u64,
    ) -> Result<Option<u64>, HostError> {
        // SAFETY: a memory of the store that compiled code has just called out of.
        unsafe {
            match self.memory(memory) {
                InstanceMemory::Own(memory) => self.owner().grow_memory(memory, delta),
                InstanceMemory::Shared(memory) => {
                    self.owner().grow_shared_memory(memory.as_ref(), delta)
                }
            }
        }
    }

    /// `table.grow`: the old size, or `None` when the table stays as it is. `init` is a reference as
    /// compiled code passes it, zero-extended.
    ///
    /// # Errors
    ///
    /// What the embedder's limiter returns.
    pub(crate) fn table_grow(
        &self,
        table: TableIndex,
        delta: u64,
        init: u64,
    ) -> Result<Option<u64>, HostError> {
        // SAFETY: a table of the store that compiled code has just called out of, and a value that
        // was validated to be of its element type.
        unsafe { self.owner().grow_table(self.table(table), delta, init) }
    }

    /// `table.fill`
    ///
    /// # Errors
    ///
    /// [`TrapCode::TableOutOfBounds`] when the range does not fit; then nothing is written.
    pub(crate) fn table_fill(
        &self,
        table: TableIndex,
        dst: u64,
        value: u64,
        len: u64,
    ) -> Result<(), TrapCode> {
        let mut table = self.table(table);
        // SAFETY: a table of this store, to which nobody else has a reference.
        unsafe { table.as_mut() }
            .fill(dst, value, len)
            .map_err(|_| TrapCode::TableOutOfBounds)
    }

    /// `table.copy`
    ///
    /// # Errors
    ///
    /// [`TrapCode::TableOutOfBounds`] when a range does not fit; then nothing is written.
    pub(crate) fn table_copy(
        &self,
        dst_table: TableIndex,
        dst: u64,
        src_table: TableIndex,
        src: u64,
        len: u64,
    ) -> Result<(), TrapCode> {
        let (to, from) = (self.vm_table(dst_table), self.vm_table(src_table));
        // SAFETY: tables of this store; validation ensures that their elements are of one kind.
        unsafe {
            let elements = self.table(dst_table).as_ref().elements();
            mem::copy_table(elements, to, dst, from, src, len)
        }
        .map_err(|_| TrapCode::TableOutOfBounds)
    }
}
