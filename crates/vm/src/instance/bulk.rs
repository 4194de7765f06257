//! The instructions on memories that compiled code leaves to the runtime.
//!
//! Specification: core, §4.6.10 "Memory Instructions". What a guest
//! passes is checked in [`crate::mem`]; indices of memories and segments come from
//! validated code. `memory.init` is in `segments`; `memory.copy` and `memory.fill`
//! are checked by compiled code, and need no instance.
//!
//! Called by `exec`'s builtins.

use super::instance::{Instance, InstanceMemory};
use super::reason::HostError;
use super::store::Store;
use sarsen_abi::MemoryIndex;

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
}
