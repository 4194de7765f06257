//! Loads and stores that have to do with vectors. Addresses and checks are those of
//! [`memory`](crate::lower::memory).

use super::lane::with_float_lanes;
use crate::lower::function::Lowering;
use cranelift_codegen::ir::{InstBuilder, Opcode, Type};
use wasmparser::MemArg;

impl Lowering<'_, '_> {
    /// A load of 8 bytes whose lanes are extended to those of type `ty`, as `opcode` says.
    pub(super) fn load_extended(&mut self, memarg: &MemArg, opcode: Opcode, ty: Type) {
        self.load(memarg, opcode, ty);
        let x = self.pop();
        self.push_vector(x);
    }

    /// A load of a number that all lanes of a vector of type `ty` become.
    pub(super) fn load_splat(&mut self, memarg: &MemArg, ty: Type) {
        let ty = with_float_lanes(ty);
        self.load(memarg, Opcode::Load, ty.lane_type());
        self.splat(ty);
    }

    /// A load of a number into the first lane; the others are zero. (To clear them, an integer that is
    /// moved into the vector needs nothing else; a float would.)
    pub(super) fn load_zero(&mut self, memarg: &MemArg, ty: Type) {
        self.load(memarg, Opcode::Load, ty.lane_type());
        let x = self.pop();
        let result = self.builder.ins().scalar_to_vector(ty, x);
        self.push_vector(result);
    }

    /// A load of a number into one lane of a vector.
    pub(super) fn load_lane(&mut self, memarg: &MemArg, ty: Type, lane: u8) {
        let ty = with_float_lanes(ty);
        let x = self.pop_vector(ty);
        self.load(memarg, Opcode::Load, ty.lane_type());
        let value = self.pop();
        let result = self.builder.ins().insertlane(x, value, lane);
        self.push_vector(result);
    }

    /// A store of one lane.
    pub(super) fn store_lane(&mut self, memarg: &MemArg, ty: Type, lane: u8) {
        let ty = if lane == 0 { with_float_lanes(ty) } else { ty };
        self.extract_lane(ty, lane);
        self.store(memarg, Opcode::Store);
    }
}
