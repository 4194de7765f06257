//! Conversions between lanes of integers and of floats, and between lanes of floats.
//!
//! Where four lanes become two, those are the low ones; where two become four, the high ones are zero.

use crate::lower::function::Lowering;
use cranelift_codegen::ir::types::{F32X4, F64X2, I32X4, I64X2};
use cranelift_codegen::ir::{InstBuilder, Opcode, Type, Value};

impl Lowering<'_, '_> {
    /// A conversion of every lane to one of the same width.
    pub(super) fn convert_lanes(&mut self, opcode: Opcode, from: Type, to: Type) {
        let x = self.pop_vector(from);
        let (inst, dfg) = self.builder.ins().Unary(opcode, to, x);
        let result = dfg.first_result(inst);
        self.push_vector(result);
    }

    /// `i32x4.trunc_sat_f64x2_s_zero`
    pub(super) fn truncate_doubles(&mut self) {
        let x = self.pop_vector(F64X2);
        let wide = self.builder.ins().fcvt_to_sint_sat(I64X2, x);
        self.push_narrowed(Opcode::Snarrow, wide);
    }

    /// `i32x4.trunc_sat_f64x2_u_zero`
    pub(super) fn truncate_doubles_unsigned(&mut self) {
        let x = self.pop_vector(F64X2);
        let wide = self.builder.ins().fcvt_to_uint_sat(I64X2, x);
        self.push_narrowed(Opcode::Uunarrow, wide);
    }

    /// Pushes two lanes of 64 bits as the low two of four.
    pub(super) fn push_narrowed(&mut self, opcode: Opcode, wide: Value) {
        let zero = self.vector_constant(I64X2, [0; 16]);
        let (inst, dfg) = self.builder.ins().Binary(opcode, I64X2, wide, zero);
        let result = dfg.first_result(inst);
        self.push_vector(result);
    }

    /// `f64x2.convert_low_i32x4_s`
    pub(super) fn convert_low(&mut self) {
        let x = self.pop_vector(I32X4);
        let wide = self.builder.ins().swiden_low(x);
        let result = self.builder.ins().fcvt_from_sint(F64X2, wide);
        self.push_vector(result);
    }

    /// `f64x2.convert_low_i32x4_u`
    pub(super) fn convert_low_unsigned(&mut self) {
        let x = self.pop_vector(I32X4);
        let wide = self.builder.ins().uwiden_low(x);
        let result = self.builder.ins().fcvt_from_uint(F64X2, wide);
        self.push_vector(result);
    }

    /// `f32x4.demote_f64x2_zero`
    pub(super) fn demote_doubles(&mut self) {
        let x = self.pop_vector(F64X2);
        let result = self.builder.ins().fvdemote(x);
        self.push_vector(result);
    }

    /// `f64x2.promote_low_f32x4`
    pub(super) fn promote_low(&mut self) {
        let x = self.pop_vector(F32X4);
        let result = self.builder.ins().fvpromote_low(x);
        self.push_vector(result);
    }
}
