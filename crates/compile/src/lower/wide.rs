//! Wide arithmetic: numbers of 128 bits, as pairs of an `i64` with the low bits and one with the high
//! bits.

use super::function::Lowering;
use cranelift_codegen::ir::types::I128;
use cranelift_codegen::ir::{InstBuilder, Opcode, Value};

impl Lowering<'_, '_> {
    /// `i64.add128` and `i64.sub128`
    pub(super) fn wide_binary(&mut self, opcode: Opcode) {
        let y = self.pop_wide();
        let x = self.pop_wide();
        self.push_wide(opcode, x, y);
    }

    /// `i64.mul_wide_s` and `i64.mul_wide_u`: all bits of a product; `extend` says how the operands
    /// are extended.
    pub(super) fn wide_multiply(&mut self, extend: Opcode) {
        self.convert(extend, I128);
        let y = self.pop();
        self.convert(extend, I128);
        let x = self.pop();
        self.push_wide(Opcode::Imul, x, y);
    }

    fn pop_wide(&mut self) -> Value {
        let (low, high) = self.pop2();
        self.builder.ins().iconcat(low, high)
    }

    fn push_wide(&mut self, opcode: Opcode, x: Value, y: Value) {
        let (inst, dfg) = self.builder.ins().Binary(opcode, I128, x, y);
        let result = dfg.first_result(inst);
        let (low, high) = self.builder.ins().isplit(result);
        self.push(low);
        self.push(high);
    }
}
