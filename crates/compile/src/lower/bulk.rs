//! Growing, filling, copying and initializing memories: calls of the runtime.

use super::function::Lowering;
use super::table::index_type;
use sarsen_abi::{Builtin, MemoryIndex};

impl Lowering<'_, '_> {
    /// `memory.grow`
    pub(super) fn memory_grow(&mut self, memory: u32) {
        let ty = self.cx.module.memories[MemoryIndex::new(memory).index()].index;
        let delta = self.pop();
        let memory = self.index_argument(memory);
        let delta = self.extend_index(delta);
        let old = self.call_builtin(Builtin::MemoryGrow, &[memory, delta]);
        let old = self.narrow(old.expect("it has a result"), index_type(ty));
        self.push(old);
    }

    /// `memory.fill`
    pub(super) fn memory_fill(&mut self, memory: u32) {
        let (to, byte, length) = self.pop3();
        let memory = self.index_argument(memory);
        let to = self.extend_index(to);
        let length = self.extend_index(length);
        self.consume_fuel_for(length);
        self.call_builtin(Builtin::MemoryFill, &[memory, to, byte, length]);
    }

    /// `memory.copy`
    pub(super) fn memory_copy(&mut self, to_memory: u32, from_memory: u32) {
        let (to, from, length) = self.pop3();
        let to_memory = self.index_argument(to_memory);
        let from_memory = self.index_argument(from_memory);
        let [to, from, length] = [to, from, length].map(|v| self.extend_index(v));
        self.consume_fuel_for(length);
        self.call_builtin(
            Builtin::MemoryCopy,
            &[to_memory, to, from_memory, from, length],
        );
    }

    /// `memory.init`
    pub(super) fn memory_init(&mut self, data: u32, memory: u32) {
        let (to, from, length) = self.pop3();
        let memory = self.index_argument(memory);
        let data = self.index_argument(data);
        let to = self.extend_index(to);
        self.consume_fuel_for(length);
        self.call_builtin(Builtin::MemoryInit, &[memory, data, to, from, length]);
    }

    /// `data.drop`
    pub(super) fn data_drop(&mut self, data: u32) {
        let data = self.index_argument(data);
        self.call_builtin(Builtin::DataDrop, &[data]);
    }
}
