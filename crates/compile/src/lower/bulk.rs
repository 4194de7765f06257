//! Growing, filling, copying and initializing memories.
//!
//! These call the runtime. Copies and fills call it with addresses, whose bounds are checked here;
//! those of a small constant length, which programs are full of, do not call it at all, but go in chunks
//! that may overlap:
//!
//! ```text
//!   23 bytes:  |---- 16 ----|            at 0
//!                     |---- 16 ----|     at 7, stored first
//! ```
//!
//! Nothing may be written if any byte is out of bounds. So everything is loaded before anything is
//! stored, and the chunk at the end is stored first: if its last byte is in bounds, all others are.

use super::bound::constant;
use super::function::Lowering;
use super::memory::Place;
use super::table::index_type;
use cranelift_codegen::ir::types::{I8, I8X16, I16, I32, I64};
use cranelift_codegen::ir::{InstBuilder, Type, Value};
use sarsen_abi::{Builtin, MemoryIndex};
use smallvec::SmallVec;

/// The longest copy or fill that does not call the runtime, in bytes.
const MAX_INLINE: u64 = 128;

/// A part of a range of bytes: where it begins, and its type.
type Chunk = (u64, Type);

/// Covers `length` bytes, one to [`MAX_INLINE`], with chunks; the first reaches to the end.
fn chunks(length: u64) -> SmallVec<[Chunk; 8]> {
    let ty = match length {
        1 => I8,
        2..4 => I16,
        4..8 => I32,
        8..16 => I64,
        _ => I8X16,
    };
    let size = u64::from(ty.bytes());
    let last = (length - size, ty);
    let others = (0..length - size).step_by(size as usize);
    std::iter::once(last)
        .chain(others.map(|start| (start, ty)))
        .collect()
}

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
        self.before_bulk(length);
        if let Some(length) = self.inline_length(length) {
            self.fill_inline(MemoryIndex::new(memory), to, byte, length);
            return;
        }
        let length = self.extend_index(length);
        let to = self.range(MemoryIndex::new(memory), to, length);
        self.call_builtin(Builtin::FillBytes, &[to, byte, length]);
    }

    fn fill_inline(&mut self, memory: MemoryIndex, to: Value, byte: Value, length: u64) {
        let place = self.place(memory, to, 0, length);
        let chunks = chunks(length);
        let pattern = self.repeat_byte(byte, chunks[0].1);
        for (start, _) in chunks {
            self.store_chunk(place, start, pattern);
        }
    }

    /// The low byte of `byte` in every byte of a value of type `ty`.
    fn repeat_byte(&mut self, byte: Value, ty: Type) -> Value {
        if constant(&self.builder.func.dfg, byte).is_some_and(|byte| byte & 0xff == 0) {
            return self.zero(ty);
        }
        let byte = self.builder.ins().ireduce(I8, byte);
        if ty == I8 {
            return byte;
        }
        if ty == I8X16 {
            return self.builder.ins().splat(ty, byte);
        }
        let wide = self.builder.ins().uextend(ty, byte);
        let ones = (u64::MAX / 0xff) >> (64 - ty.bits());
        self.builder.ins().imul_imm_u(wide, ones as i64)
    }

    /// `memory.copy`
    pub(super) fn memory_copy(&mut self, to_memory: u32, from_memory: u32) {
        let (to, from, length) = self.pop3();
        self.before_bulk(length);
        if let Some(length) = self.inline_length(length) {
            let from = self.place(MemoryIndex::new(from_memory), from, 0, length);
            let to = self.place(MemoryIndex::new(to_memory), to, 0, length);
            self.copy_inline(from, to, length);
            return;
        }
        let length = self.extend_index(length);
        let from = self.range(MemoryIndex::new(from_memory), from, length);
        let to = self.range(MemoryIndex::new(to_memory), to, length);
        self.call_builtin(Builtin::MoveBytes, &[to, from, length]);
    }

    fn copy_inline(&mut self, from: Place, to: Place, length: u64) {
        let chunks = chunks(length);
        let values: SmallVec<[Value; 8]> = chunks
            .iter()
            .map(|&(start, ty)| {
                let offset = from.offset + start as i32;
                self.builder
                    .ins()
                    .load(ty, from.flags, from.address, offset)
            })
            .collect();
        for ((start, _), value) in chunks.into_iter().zip(values) {
            self.store_chunk(to, start, value);
        }
    }

    fn store_chunk(&mut self, to: Place, start: u64, value: Value) {
        let offset = to.offset + start as i32;
        self.builder
            .ins()
            .store(to.flags, value, to.address, offset);
    }

    /// The length of a copy or fill that is to be done here. None is not: that its range begins in
    /// bounds must be checked all the same.
    fn inline_length(&self, length: Value) -> Option<u64> {
        constant(&self.builder.func.dfg, length).filter(|length| (1..=MAX_INLINE).contains(length))
    }

    /// `memory.init`
    pub(super) fn memory_init(&mut self, data: u32, memory: u32) {
        let (to, from, length) = self.pop3();
        let memory = self.index_argument(memory);
        let data = self.index_argument(data);
        let to = self.extend_index(to);
        self.before_bulk(length);
        self.call_builtin(Builtin::MemoryInit, &[memory, data, to, from, length]);
    }

    /// `data.drop`
    pub(super) fn data_drop(&mut self, data: u32) {
        let data = self.index_argument(data);
        self.call_builtin(Builtin::DataDrop, &[data]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_cover_every_byte_and_nothing_else() {
        for length in 1..=MAX_INLINE {
            let chunks = chunks(length);
            let mut covered = vec![false; length as usize];
            for &(start, ty) in &chunks {
                let bytes = start as usize..start as usize + ty.bytes() as usize;
                covered[bytes].fill(true);
            }
            assert!(covered.iter().all(|&c| c), "{length}: {chunks:?}");
            let (start, ty) = chunks[0];
            assert_eq!(start + u64::from(ty.bytes()), length);
        }
    }
}
