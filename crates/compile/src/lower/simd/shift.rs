//! Shifts: all lanes by one distance, which counts modulo the lanes' width, in WebAssembly as in
//! Cranelift.

use crate::lower::function::Lowering;
use cranelift_codegen::ir::{InstBuilder, Opcode, Type};

impl Lowering<'_, '_> {
    /// A shift of every lane.
    pub(super) fn vector_shift(&mut self, opcode: Opcode, ty: Type) {
        let distance = self.pop();
        let x = self.pop_vector(ty);
        let (inst, dfg) = self.builder.ins().Binary(opcode, ty, x, distance);
        let result = dfg.first_result(inst);
        self.push_vector(result);
    }
}
