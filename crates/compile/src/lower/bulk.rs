//! Growing, filling, copying and initializing memories.
//!
//! These call the runtime. Copies and fills call it with addresses, whose bounds are checked here, and
//! for one piece after the other if code can be interrupted (`piecewise`);
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
use super::function::{Lowering, trap_code};
use super::memory::Place;
use super::piecewise::{LongOperation, PIECE_BYTES};
use super::table::index_type;
use cranelift_codegen::ir::types::{I8, I8X16, I16, I32, I64};
use cranelift_codegen::ir::{InstBuilder, Type, Value};
use sarsen_abi::types::IndexType;
use sarsen_abi::{Builtin, DataIndex, MemoryIndex, TrapCode};
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
        let memory = MemoryIndex::new(memory);
        if let Some(length) = self.inline_length(length) {
            self.fill_inline(memory, to, byte, length);
            return;
        }
        let length = self.extend_index(length);
        let to = self.range(memory, to, length);
        let fill = self.long_operation(to.length, memory, None);
        self.in_pieces(&fill, |this, start, length| {
            let to = this.range_address(&to, start);
            this.call_builtin(Builtin::FillBytes, &[to, byte, length]);
        });
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
        let to_memory = MemoryIndex::new(to_memory);
        let from_memory = MemoryIndex::new(from_memory);
        if let Some(length) = self.inline_length(length) {
            let from = self.place(from_memory, from, 0, length);
            let to = self.place(to_memory, to, 0, length);
            self.copy_inline(from, to, length);
            return;
        }
        let length = self.extend_index(length);
        let from = self.range(from_memory, from, length);
        let to = self.range(to_memory, to, from.length);
        let is_backward = self.is_copied_backward(to.index, from.index);
        let copy = self.long_operation(to.length, to_memory, Some(is_backward));
        self.in_pieces(&copy, |this, start, length| {
            let to = this.range_address(&to, start);
            let from = this.range_address(&from, start);
            this.call_builtin(Builtin::MoveBytes, &[to, from, length]);
        });
    }

    /// An operation on `length` bytes of a memory.
    fn long_operation(
        &mut self,
        length: Value,
        memory: MemoryIndex,
        is_backward: Option<Value>,
    ) -> LongOperation {
        LongOperation {
            length,
            most: self.largest_memory(memory),
            piece: PIECE_BYTES,
            is_backward,
            is_counted: false,
        }
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

    /// The length of a copy or fill that is to be done here, which is counted. None is not: that its
    /// range begins in bounds must be checked all the same.
    fn inline_length(&mut self, length: Value) -> Option<u64> {
        let constant = constant(&self.builder.func.dfg, length);
        let short = constant.filter(|length| (1..=MAX_INLINE).contains(length))?;
        let length = self.extend_index(length);
        self.before_bulk(length);
        Some(short)
    }

    /// `memory.init`
    pub(super) fn memory_init(&mut self, data: u32, memory: u32) {
        let (to, from, length) = self.pop3();
        let segment = self.cx.module.data_segment(DataIndex::new(data));
        let most = segment.map_or(0, |segment| segment.bytes.end - segment.bytes.start);
        let length = self.extend_index(length);
        let init = LongOperation {
            length,
            most,
            piece: PIECE_BYTES,
            is_backward: None,
            is_counted: false,
        };
        let to = if self.is_long(&init) {
            // The runtime checks a piece only.
            self.segment_range(from, length, most, TrapCode::MemoryOutOfBounds);
            self.range(MemoryIndex::new(memory), to, length).index
        } else {
            self.extend_index(to)
        };
        self.in_pieces(&init, |this, start, length| {
            let to = this.builder.ins().iadd(to, start);
            let [from, length] = this.piece_of(from, start, length);
            let memory = this.index_argument(memory);
            let data = this.index_argument(data);
            this.call_builtin(Builtin::MemoryInit, &[memory, data, to, from, length]);
        });
    }

    /// Traps with `code` unless `length` bytes or elements (in 64 bits) from `from` (in 32) lie within a
    /// segment of `size`, which may have been dropped.
    pub(super) fn segment_range(&mut self, from: Value, length: Value, size: u64, code: TrapCode) {
        self.mark();
        let from = self.extend_index(from);
        let size = self.iconst(I64, size as i64);
        let is_out = self.is_sum_above(IndexType::I32, from, length, size);
        self.builder.ins().trapnz(is_out, trap_code(code));
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
