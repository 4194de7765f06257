//! Relaxed SIMD: where the specification lets machines differ, the machine's own instruction.
//!
//! Where [`Settings::relaxed_simd_deterministic`] asks for the same results on every machine, or the
//! machine has no such instruction, they are those of the specification's deterministic profile: what
//! the counterparts in fixed-width SIMD compute, a rounding each for multiplication and addition,
//! products of signed numbers.
//!
//! Whichever of its results an instruction has, it and its relatives have it everywhere in a module
//! (core, "Numerics", "Relaxed Operations": global parameters of the implementation).

use crate::lower::function::Lowering;
use cranelift_codegen::ir::condcodes::FloatCC;
use cranelift_codegen::ir::types::{F32X4, F64X2, I8X16, I16X8, I32, I32X4, I64X2};
use cranelift_codegen::ir::{InstBuilder, Opcode, Type, Value};
use cranelift_codegen::isa::TargetIsa;
use sarsen_abi::Settings;

/// What extends the halves of a vector of signed lanes.
const SIGNED_HALVES: (Opcode, Opcode) = (Opcode::SwidenLow, Opcode::SwidenHigh);

/// Which of the results that the specification allows are computed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RelaxedSimd {
    /// Those of x86-64's instructions.
    x86: bool,
    /// Multiply and add with one rounding.
    fused: bool,
    /// Four products at a time are added up in 32 bits.
    four_products: bool,
    /// The machine is x86-64. For a choice between ways to the same result.
    pub(super) is_x64: bool,
}

impl RelaxedSimd {
    /// What is fastest on `isa`, if `settings` allow it.
    pub(crate) fn new(isa: &dyn TargetIsa, settings: &Settings) -> Self {
        let is_x64 = isa.name() == "x64";
        let x86 = is_x64 && !settings.relaxed_simd_deterministic;
        let has = |name| {
            let is_on = |flag: cranelift_codegen::settings::Value| {
                flag.name == name && flag.as_bool() == Some(true)
            };
            isa.isa_flags().into_iter().any(is_on)
        };
        RelaxedSimd {
            x86,
            // Without the instruction, Cranelift would call a library.
            fused: x86 && has("has_fma"),
            four_products: x86
                && (has("has_avx") && has("has_avx_vnni")
                    || has("has_avx512vl") && has("has_avx512vnni")),
            is_x64,
        }
    }
}

impl Lowering<'_, '_> {
    /// `i8x16.relaxed_swizzle`
    pub(super) fn relaxed_swizzle(&mut self) {
        if !self.cx.relaxed_simd.x86 {
            return self.swizzle();
        }
        let (x, indices) = self.pop_vectors(I8X16);
        let result = self.builder.ins().x86_pshufb(x, indices);
        self.push_vector(result);
    }

    /// `i32x4.relaxed_trunc_f32x4_s`
    pub(super) fn relaxed_truncate(&mut self) {
        let opcode = if self.cx.relaxed_simd.x86 {
            Opcode::X86Cvtt2dq
        } else {
            Opcode::FcvtToSintSat
        };
        self.convert_lanes(opcode, F32X4, I32X4);
    }

    /// `i32x4.relaxed_trunc_f64x2_s_zero`
    pub(super) fn relaxed_truncate_doubles(&mut self) {
        if !self.cx.relaxed_simd.x86 {
            return self.truncate_doubles();
        }
        let x = self.pop_vector(F64X2);
        let wide = self.builder.ins().x86_cvtt2dq(I64X2, x);
        self.push_narrowed(Opcode::Snarrow, wide);
    }

    /// `relaxed_madd`: a product, plus a third operand.
    pub(super) fn relaxed_multiply_add(&mut self, ty: Type) {
        let (x, y, z) = self.pop_three_vectors(ty);
        self.push_multiply_add(x, y, z);
    }

    /// `relaxed_nmadd`: a negated product, plus a third operand.
    pub(super) fn relaxed_negated_multiply_add(&mut self, ty: Type) {
        let (x, y, z) = self.pop_three_vectors(ty);
        let x = self.builder.ins().fneg(x);
        self.push_multiply_add(x, y, z);
    }

    fn push_multiply_add(&mut self, x: Value, y: Value, z: Value) {
        let result = if self.cx.relaxed_simd.fused {
            self.builder.ins().fma(x, y, z)
        } else {
            let product = self.builder.ins().fmul(x, y);
            self.builder.ins().fadd(product, z)
        };
        self.push_vector(result);
    }

    /// `relaxed_laneselect`: on x86-64 a lane is chosen by its mask's highest bit.
    pub(super) fn relaxed_lane_select(&mut self, ty: Type) {
        if !self.cx.relaxed_simd.x86 {
            return self.bitselect();
        }
        if ty == I16X8 {
            return self.select_lanes_of_16_bits();
        }
        let (x, y, mask) = self.pop_three_vectors(ty);
        let result = self.builder.ins().blendv(mask, x, y);
        self.push_vector(result);
    }

    /// There is no such instruction for lanes of 16 bits, so both bytes of a mask get its highest bit.
    fn select_lanes_of_16_bits(&mut self) {
        let mask = self.pop_vector(I16X8);
        let all_but_one = self.iconst(I32, 15);
        let mask = self.builder.ins().sshr(mask, all_but_one);
        let mask = self.as_vector(mask, I8X16);
        let (x, y) = self.pop_vectors(I8X16);
        let result = self.builder.ins().blendv(mask, x, y);
        self.push_vector(result);
    }

    /// `relaxed_min`: on x86-64 the second operand where either is a NaN, or both are zero.
    pub(super) fn relaxed_min(&mut self, ty: Type) {
        if !self.cx.relaxed_simd.x86 {
            return self.vector_binary(Opcode::Fmin, ty);
        }
        let (x, y) = self.pop_vectors(ty);
        let result = self.choose(FloatCC::LessThan, (x, y), (x, y));
        self.push_vector(result);
    }

    /// `relaxed_max`: on x86-64 the second operand where either is a NaN, or both are zero.
    pub(super) fn relaxed_max(&mut self, ty: Type) {
        if !self.cx.relaxed_simd.x86 {
            return self.vector_binary(Opcode::Fmax, ty);
        }
        let (x, y) = self.pop_vectors(ty);
        let result = self.choose(FloatCC::LessThan, (y, x), (x, y));
        self.push_vector(result);
    }

    /// `i16x8.relaxed_q15mulr_s`
    pub(super) fn relaxed_q15_multiply(&mut self) {
        let opcode = if self.cx.relaxed_simd.x86 {
            Opcode::X86Pmulhrsw
        } else {
            Opcode::SqmulRoundSat
        };
        self.vector_binary(opcode, I16X8);
    }

    /// `i16x8.relaxed_dot_i8x16_i7x16_s`
    pub(super) fn relaxed_dot_product(&mut self) {
        let (x, y) = self.pop_vectors(I8X16);
        let result = self.relaxed_products(x, y);
        self.push_vector(result);
    }

    /// `i32x4.relaxed_dot_i8x16_i7x16_add_s`: where four products are added up at a time, nothing is
    /// saturated in between.
    pub(super) fn relaxed_dot_product_add(&mut self) {
        let sum = self.pop_vector(I32X4);
        let (x, y) = self.pop_vectors(I8X16);
        let products = if self.cx.relaxed_simd.four_products {
            self.sums_of_four_products(x, y)
        } else {
            let pairs = self.relaxed_products(x, y);
            self.sum_of_pairs(SIGNED_HALVES, pairs)
        };
        let result = self.builder.ins().iadd(products, sum);
        self.push_vector(result);
    }

    /// The sums, with saturation, of neighbouring products. On x86-64 the lanes of `y`, which should
    /// have no more than 7 bits, are unsigned.
    fn relaxed_products(&mut self, x: Value, y: Value) -> Value {
        if self.cx.relaxed_simd.x86 {
            return self.builder.ins().x86_pmaddubsw(x, y);
        }
        let (x_even, x_odd) = self.even_and_odd_lanes(x);
        let (y_even, y_odd) = self.even_and_odd_lanes(y);
        let even = self.builder.ins().imul(x_even, y_even);
        let odd = self.builder.ins().imul(x_odd, y_odd);
        self.builder.ins().sadd_sat(even, odd)
    }

    /// The sums of four neighbouring products, in 32 bits. The lanes of `y` are unsigned. Cranelift finds
    /// the instruction for it, and the addition that follows, in just this form.
    fn sums_of_four_products(&mut self, x: Value, y: Value) -> Value {
        let halves = [
            (Opcode::SwidenLow, Opcode::UwidenLow),
            (Opcode::SwidenHigh, Opcode::UwidenHigh),
        ];
        let [low, high] = halves.map(|(signed, unsigned)| {
            let x = self.widened(signed, x);
            let y = self.widened(unsigned, y);
            let products = self.builder.ins().imul(x, y);
            self.sum_of_pairs(SIGNED_HALVES, products)
        });
        self.builder.ins().iadd_pairwise(low, high)
    }

    /// Every second lane of an `i8x16`, from the first and from the second on, sign-extended.
    fn even_and_odd_lanes(&mut self, x: Value) -> (Value, Value) {
        let pairs = self.as_vector(x, I16X8);
        let half = self.iconst(I32, 8);
        let even = self.builder.ins().ishl(pairs, half);
        let even = self.builder.ins().sshr(even, half);
        let odd = self.builder.ins().sshr(pairs, half);
        (even, odd)
    }
}
