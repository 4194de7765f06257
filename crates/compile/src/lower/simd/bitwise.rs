//! Operations on all bits, whatever the lanes.

use crate::lower::function::Lowering;
use cranelift_codegen::ir::InstBuilder;
use cranelift_codegen::ir::types::I8X16;

impl Lowering<'_, '_> {
    /// `v128.andnot`
    pub(super) fn and_not(&mut self) {
        let (x, y) = self.pop_vectors(I8X16);
        let not = self.builder.ins().bnot(y);
        let result = self.builder.ins().band(x, not);
        self.push_vector(result);
    }

    /// `v128.bitselect`
    pub(super) fn bitselect(&mut self) {
        let mask = self.pop();
        // The type of a comparison tells Cranelift that whole lanes are chosen.
        let mask = self.before_bitcast(mask);
        let ty = self.type_of(mask).as_int();
        let mask = self.as_vector(mask, ty);
        let (x, y) = self.pop_vectors(ty);
        let result = self.builder.ins().bitselect(mask, x, y);
        self.push_vector(result);
    }
}
