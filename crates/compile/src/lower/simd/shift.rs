//! Shifts: all lanes by one distance, which counts modulo the lanes' width, in WebAssembly as in
//! Cranelift.

use crate::lower::bound::constant;
use crate::lower::function::Lowering;
use cranelift_codegen::ir::{InstBuilder, Opcode, Type};

impl Lowering<'_, '_> {
    /// A shift of every lane.
    pub(super) fn vector_shift(&mut self, opcode: Opcode, ty: Type) {
        let distance = self.pop();
        let x = self.pop_vector(ty);
        let width = u64::from(ty.lane_bits());
        let known = constant(&self.builder.func.dfg, distance).map(|distance| distance % width);
        let result = if opcode == Opcode::Ishl && known == Some(1) {
            // Processors add in more of their units than they shift in; bytes they cannot shift at all.
            self.builder.ins().iadd(x, x)
        } else {
            let (inst, dfg) = self.builder.ins().Binary(opcode, ty, x, distance);
            dfg.first_result(inst)
        };
        self.push_vector(result);
    }
}
