//! Lanes that become wider or narrower, and arithmetic whose result has wider lanes than its operands.
//!
//! An opcode for extending says which half of a vector it extends, and whether the sign counts. Cranelift
//! finds the instructions that extend and multiply, or multiply and add, in what is written here.

use crate::lower::function::Lowering;
use cranelift_codegen::ir::{InstBuilder, Opcode, Type, Value};

impl Lowering<'_, '_> {
    /// One half of a vector of type `from`, its lanes extended.
    pub(super) fn extend_half(&mut self, opcode: Opcode, from: Type) {
        let x = self.pop_vector(from);
        let result = self.widened(opcode, x);
        self.push_vector(result);
    }

    /// The lanes of two vectors of type `from`, narrowed with saturation.
    pub(super) fn narrow_lanes(&mut self, opcode: Opcode, from: Type) {
        let (x, y) = self.pop_vectors(from);
        let (inst, dfg) = self.builder.ins().Binary(opcode, from, x, y);
        let result = dfg.first_result(inst);
        self.push_vector(result);
    }

    /// The full product of halves of two vectors of type `from`.
    pub(super) fn extended_multiply(&mut self, opcode: Opcode, from: Type) {
        let (x, y) = self.pop_vectors(from);
        let x = self.widened(opcode, x);
        let y = self.widened(opcode, y);
        let result = self.builder.ins().imul(x, y);
        self.push_vector(result);
    }

    /// The sums of neighbouring lanes of a vector of type `from`; `low` and `high` extend its halves.
    pub(super) fn extended_add_pairwise(&mut self, (low, high): (Opcode, Opcode), from: Type) {
        let x = self.pop_vector(from);
        let result = self.sum_of_pairs((low, high), x);
        self.push_vector(result);
    }

    /// The sums of neighbouring products of signed lanes of two vectors of type `from`.
    pub(super) fn dot_product(&mut self, from: Type) {
        let (x, y) = self.pop_vectors(from);
        let [low, high] = [Opcode::SwidenLow, Opcode::SwidenHigh].map(|opcode| {
            let x = self.widened(opcode, x);
            let y = self.widened(opcode, y);
            self.builder.ins().imul(x, y)
        });
        let result = self.builder.ins().iadd_pairwise(low, high);
        self.push_vector(result);
    }

    /// The sums of neighbouring lanes of `x`, twice as wide.
    pub(super) fn sum_of_pairs(&mut self, (low, high): (Opcode, Opcode), x: Value) -> Value {
        let low = self.widened(low, x);
        let high = self.widened(high, x);
        self.builder.ins().iadd_pairwise(low, high)
    }

    pub(super) fn widened(&mut self, opcode: Opcode, x: Value) -> Value {
        let ty = self.type_of(x);
        let (inst, dfg) = self.builder.ins().Unary(opcode, ty, x);
        dfg.first_result(inst)
    }
}
