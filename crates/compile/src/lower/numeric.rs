//! Numbers: arithmetic, comparisons, conversions, and `select`.
//!
//! Cranelift's instructions have WebAssembly's semantics, so most of this is a change of names: the
//! dispatcher says which opcode. Those that trap (division, checked truncation) bring their trap codes
//! with them.

use super::function::Lowering;
use super::signature::Repr;
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::I32;
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Opcode, Type, Value};

impl Lowering<'_, '_> {
    /// An operation from a type to itself.
    pub(super) fn unary(&mut self, opcode: Opcode) {
        let ty = self.type_of(*self.stack.last().expect("validated: an operand"));
        self.convert(opcode, ty);
    }

    /// An operation from some type to type `to`.
    pub(super) fn convert(&mut self, opcode: Opcode, to: Type) {
        let x = self.pop();
        let (inst, dfg) = self.builder.ins().Unary(opcode, to, x);
        let result = dfg.first_result(inst);
        self.push(result);
    }

    /// A conversion of a float to an integer that traps where there is no result.
    pub(super) fn truncate(&mut self, opcode: Opcode, to: Type) {
        self.mark();
        self.convert(opcode, to);
    }

    /// An operation on two values of a type, to that type.
    pub(super) fn binary(&mut self, opcode: Opcode) {
        let (x, y) = self.pop2();
        let ty = self.type_of(x);
        let (inst, dfg) = self.builder.ins().Binary(opcode, ty, x, y);
        let result = dfg.first_result(inst);
        self.push(result);
    }

    /// A division or remainder.
    pub(super) fn divide(&mut self, opcode: Opcode) {
        self.mark();
        self.binary(opcode);
    }

    /// A comparison of integers.
    pub(super) fn compare(&mut self, condition: IntCC) {
        let (x, y) = self.pop2();
        let holds = self.builder.ins().icmp(condition, x, y);
        self.push_bool(holds);
    }

    /// A comparison of floats.
    pub(super) fn float_compare(&mut self, condition: FloatCC) {
        let (x, y) = self.pop2();
        let holds = self.builder.ins().fcmp(condition, x, y);
        self.push_bool(holds);
    }

    /// A comparison with zero.
    pub(super) fn eqz(&mut self) {
        let x = self.pop();
        let holds = self.builder.ins().icmp_imm_u(IntCC::Equal, x, 0);
        self.push_bool(holds);
    }

    /// Pushes a truth value as an `i32`.
    pub(super) fn push_bool(&mut self, holds: Value) {
        let result = self.builder.ins().uextend(I32, holds);
        self.push(result);
    }

    /// Sign-extends the low bits, as many as `low` has, to all bits of type `to`.
    pub(super) fn extend_low(&mut self, low: Type, to: Type) {
        self.convert(Opcode::Ireduce, low);
        self.convert(Opcode::Sextend, to);
    }

    /// The same bits as another type.
    pub(super) fn reinterpret(&mut self, to: Type) {
        let x = self.pop();
        let result = self.builder.ins().bitcast(to, MemFlagsData::new(), x);
        self.push(result);
    }

    /// `select`; only numbers are selected without telling a type.
    pub(super) fn select(&mut self, ty: Option<wasmparser::ValType>) {
        let (x, y, condition) = self.pop3();
        let result = self.builder.ins().select(condition, x, y);
        if let Some(ty) = ty {
            let repr = Repr::of_parsed(self.cx.module, ty);
            self.note_repr(result, repr);
        }
        self.push(result);
    }
}
