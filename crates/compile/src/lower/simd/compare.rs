//! Comparisons, whose result is a mask, and what makes a number of all lanes.

use crate::lower::function::Lowering;
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{I8X16, I32};
use cranelift_codegen::ir::{InstBuilder, Type};

impl Lowering<'_, '_> {
    /// A comparison of integers, lane by lane: all ones where it holds, zero elsewhere.
    pub(super) fn vector_compare(&mut self, condition: IntCC, ty: Type) {
        let (x, y) = self.pop_vectors(ty);
        let result = self.builder.ins().icmp(condition, x, y);
        self.push_vector(result);
    }

    /// A comparison of floats, lane by lane.
    pub(super) fn vector_float_compare(&mut self, condition: FloatCC, ty: Type) {
        let (x, y) = self.pop_vectors(ty);
        let result = self.builder.ins().fcmp(condition, x, y);
        self.push_vector(result);
    }

    /// Whether any bit is set.
    pub(super) fn any_true(&mut self) {
        let x = self.pop_vector(I8X16);
        let holds = self.builder.ins().vany_true(x);
        self.push_bool(holds);
    }

    /// Whether no lane is zero.
    pub(super) fn all_true(&mut self, ty: Type) {
        let x = self.pop_vector(ty);
        let holds = self.builder.ins().vall_true(x);
        self.push_bool(holds);
    }

    /// The highest bit of every lane; that of lane 0 is the lowest.
    pub(super) fn bitmask(&mut self, ty: Type) {
        let x = self.pop_vector(ty);
        let bits = self.builder.ins().vhigh_bits(I32, x);
        self.push(bits);
    }
}
