//! Lanes: constants, splats, one lane taken out or put in, lanes in another order.

use crate::lower::function::Lowering;
use cranelift_codegen::ir::types::{I8X16, I32};
use cranelift_codegen::ir::{InstBuilder, Opcode, Type, Value};

impl Lowering<'_, '_> {
    /// `v128.const`
    pub(super) fn v128_const(&mut self, bytes: [u8; 16]) {
        let value = self.vector_constant(I8X16, bytes);
        self.push(value);
    }

    /// A vector of type `ty` all of whose lanes are one number.
    pub(super) fn splat(&mut self, ty: Type) {
        let x = self.pop_lane(ty);
        let result = self.builder.ins().splat(ty, x);
        self.push_vector(result);
    }

    /// One lane of a vector of type `ty`.
    pub(super) fn extract_lane(&mut self, ty: Type, lane: u8) {
        let x = self.pop_vector(ty);
        let value = self.builder.ins().extractlane(x, lane);
        self.push(value);
    }

    /// One lane, narrower than an `i32`, of a vector of type `ty`; `opcode` extends it.
    pub(super) fn extract_narrow_lane(&mut self, ty: Type, lane: u8, opcode: Opcode) {
        self.extract_lane(ty, lane);
        self.convert(opcode, I32);
    }

    /// A vector with another number in one of its lanes.
    pub(super) fn replace_lane(&mut self, ty: Type, lane: u8) {
        let value = self.pop_lane(ty);
        let x = self.pop_vector(ty);
        let result = self.builder.ins().insertlane(x, value, lane);
        self.push_vector(result);
    }

    /// `i8x16.shuffle`
    pub(super) fn shuffle(&mut self, lanes: [u8; 16]) {
        let (x, y) = self.pop_vectors(I8X16);
        let lanes = self.builder.func.dfg.immediates.push(lanes[..].into());
        let result = self.builder.ins().shuffle(x, y, lanes);
        self.push_vector(result);
    }

    /// `i8x16.swizzle`
    pub(super) fn swizzle(&mut self) {
        let (x, indices) = self.pop_vectors(I8X16);
        let result = self.builder.ins().swizzle(x, indices);
        self.push_vector(result);
    }

    /// Pops a number for a lane of a vector of type `ty`.
    fn pop_lane(&mut self, ty: Type) -> Value {
        let x = self.pop();
        let lane = ty.lane_type();
        if lane.bits() < self.type_of(x).bits() {
            self.builder.ins().ireduce(lane, x)
        } else {
            x
        }
    }
}
