//! Arithmetic from lanes to lanes of the same type.

use crate::lower::function::Lowering;
use cranelift_codegen::ir::condcodes::FloatCC;
use cranelift_codegen::ir::{InstBuilder, Opcode, Type, Value};

impl Lowering<'_, '_> {
    /// An operation on a vector of type `ty`.
    pub(super) fn vector_unary(&mut self, opcode: Opcode, ty: Type) {
        let x = self.pop_vector(ty);
        let (inst, dfg) = self.builder.ins().Unary(opcode, ty, x);
        let result = dfg.first_result(inst);
        self.push_vector(result);
    }

    /// An operation on two vectors of type `ty`.
    pub(super) fn vector_binary(&mut self, opcode: Opcode, ty: Type) {
        let (x, y) = self.pop_vectors(ty);
        let (inst, dfg) = self.builder.ins().Binary(opcode, ty, x, y);
        let result = dfg.first_result(inst);
        self.push_vector(result);
    }

    /// The second operand where it is less than the first, else the first.
    pub(super) fn pseudo_min(&mut self, ty: Type) {
        let (x, y) = self.pop_vectors(ty);
        let result = self.choose(FloatCC::LessThan, (y, x), (y, x));
        self.push_vector(result);
    }

    /// The second operand where the first is less, else the first.
    pub(super) fn pseudo_max(&mut self, ty: Type) {
        let (x, y) = self.pop_vectors(ty);
        let result = self.choose(FloatCC::LessThan, (x, y), (y, x));
        self.push_vector(result);
    }

    /// For each lane, the first of `choices` where `operands` compare so, else the second.
    pub(super) fn choose(
        &mut self,
        condition: FloatCC,
        operands: (Value, Value),
        choices: (Value, Value),
    ) -> Value {
        let holds = self.builder.ins().fcmp(condition, operands.0, operands.1);
        let holds = self.as_vector(holds, self.type_of(choices.0));
        self.builder.ins().bitselect(holds, choices.0, choices.1)
    }
}
