//! Long bulk operations, a piece at a time.
//!
//! Where code can be interrupted, an operation that may be long looks whether it is to be, before each
//! piece; fuel is counted by the piece, too. What was done until then stays done. Bounds are checked
//! as a whole before (unless there is but one piece, and the runtime checks it), and stay right: memories, tables and arrays never shrink, whatever the host does when
//! it is asked. But it may grow, and so move, a memory, and collect, which moves arrays: addresses are
//! computed anew for each piece, and references are none but those that the collector finds in the frame.
//!
//! ```text
//!   piece(left):  n = min(left, PIECE)
//!                 count fuel for n, look at fuel and epoch
//!                 do n bytes at offset: length - left, or from the end: left - n
//!                 left - n is zero? done : piece(left - n)
//! ```

use super::bound::upper_bound;
use super::function::Lowering;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{InstBuilder, Value};

/// How many bytes are moved or set without a look at the epoch. They take less than a millisecond if
/// they are in memory, and are more than the processor's caches like to keep.
pub(super) const PIECE_BYTES: u64 = 8 << 20;

/// How many elements of a table, or of an array from a segment of elements, are; initializing one may take
/// longer than a byte.
pub(super) const PIECE_ELEMENTS: u64 = 1 << 16;

/// A bulk operation that may be long.
pub(super) struct LongOperation {
    /// How many bytes or elements, in 64 bits.
    pub(super) length: Value,
    /// More are out of bounds, as far as is known.
    pub(super) most: u64,
    /// How many are done at once.
    pub(super) piece: u64,
    /// Whether to begin at the end, if that matters.
    pub(super) is_backward: Option<Value>,
    /// Whether fuel has been counted for all of it.
    pub(super) is_counted: bool,
}

impl Lowering<'_, '_> {
    /// Whether an operation is to be done in pieces.
    pub(super) fn is_long(&self, operation: &LongOperation) -> bool {
        let most = upper_bound(&self.builder.func.dfg, operation.length).min(operation.most);
        self.is_interruptible() && most > operation.piece
    }

    /// Whether an operation takes more than one piece.
    pub(super) fn is_longer_than_a_piece(&mut self, operation: &LongOperation) -> Value {
        let piece = operation.piece as i64;
        self.builder
            .ins()
            .icmp_imm_u(IntCC::UnsignedGreaterThan, operation.length, piece)
    }

    /// Lowers an operation whose bounds have been checked. `operation` lowers what does a piece of it:
    /// it gets the distance from the beginning, and the length, in 64 bits.
    pub(super) fn in_pieces(
        &mut self,
        long: &LongOperation,
        operation: impl FnOnce(&mut Self, Value, Value),
    ) {
        if !self.is_long(long) {
            self.before_bulk(long.length);
            let start = self.iconst(I64, 0);
            operation(self, start, long.length);
            return;
        }
        let piece = self.builder.create_block();
        let done = self.builder.create_block();
        self.builder.append_block_param(piece, I64);
        self.builder.ins().jump(piece, &[long.length.into()]);
        self.builder.switch_to_block(piece);
        let left = self.builder.block_params(piece)[0];
        let largest = self.iconst(I64, long.piece as i64);
        let length = self.builder.ins().umin(left, largest);
        let left_after = self.builder.ins().isub(left, length);
        if long.is_counted {
            self.interruption_point();
        } else {
            self.before_bulk(length);
        }
        let start = self.builder.ins().isub(long.length, left);
        let start = match long.is_backward {
            Some(is_backward) => self.builder.ins().select(is_backward, left_after, start),
            None => start,
        };
        operation(self, start, length);
        self.builder
            .ins()
            .brif(left_after, piece, &[left_after.into()], done, &[]);
        self.builder.seal_block(piece);
        self.continue_in(done);
    }

    /// The beginning and length, in 32 bits, of a piece at `start` of what is at `from`.
    pub(super) fn piece_of(&mut self, from: Value, start: Value, length: Value) -> [Value; 2] {
        let start = self.builder.ins().ireduce(I32, start);
        let length = self.builder.ins().ireduce(I32, length);
        [self.builder.ins().iadd(from, start), length]
    }

    /// In which order to copy: whether from the end, because the beginning would be written before it is
    /// read. Indices of different memories, tables or arrays may be compared: any order is right.
    pub(super) fn is_copied_backward(&mut self, to: Value, from: Value) -> Value {
        self.builder
            .ins()
            .icmp(IntCC::UnsignedGreaterThan, to, from)
    }
}
