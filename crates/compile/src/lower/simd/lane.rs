//! Lanes: constants, splats, one lane taken out or put in, lanes in another order.
//!
//! A number on its way between memory and a vector is a float if it has the size of one, whatever it is
//! in the program: floats are in the registers that vectors are in, and the first lane of a vector is a
//! float as it stands. As an integer it would go through another register.

use crate::lower::function::Lowering;
use cranelift_codegen::ir::types::{F32X4, F64X2, I8X16, I32, I32X4, I64X2};
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Opcode, Type, Value};

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
        let through = if lane == 0 { with_float_lanes(ty) } else { ty };
        let x = self.pop_vector(through);
        let mut value = self.builder.ins().extractlane(x, lane);
        if through != ty {
            let flags = MemFlagsData::new();
            value = self.builder.ins().bitcast(ty.lane_type(), flags, value);
        }
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

/// The type with lanes of the same width that are floats, where there is one, else `ty`.
pub(super) fn with_float_lanes(ty: Type) -> Type {
    match ty {
        I32X4 => F32X4,
        I64X2 => F64X2,
        _ => ty,
    }
}
