//! Looking bytes up by indices that are not constant.
//!
//! `i8x16.swizzle` gives zero for an index above 15. x86-64's instruction gives zero for one above 127
//! and counts others modulo 16, so Cranelift raises indices from 16 to 127 first. Programs mostly index
//! by halves of bytes, and where that is plain to see the instruction alone is enough.

use crate::lower::bound::constant;
use crate::lower::function::Lowering;
use cranelift_codegen::ir::types::{I8, I8X16};
use cranelift_codegen::ir::{InstBuilder, InstructionData, Opcode, Value, ValueDef};

/// The bits of an index that must be clear, unless the highest one is set.
const BEYOND_15: u8 = 0x70;
const HIGHEST: u8 = 0x80;

impl Lowering<'_, '_> {
    /// `i8x16.swizzle`
    pub(super) fn swizzle(&mut self) {
        let (x, indices) = self.pop_vectors(I8X16);
        let is_direct = self.cx.relaxed_simd.is_x64 && self.are_below_16_or_above_127(indices);
        let result = if is_direct {
            self.builder.ins().x86_pshufb(x, indices)
        } else {
            self.builder.ins().swizzle(x, indices)
        };
        self.push_vector(result);
    }

    /// Whether no byte of a vector can be from 16 to 127, as far as the operation tells that made it.
    fn are_below_16_or_above_127(&self, indices: Value) -> bool {
        let dfg = &self.builder.func.dfg;
        let indices = self.before_bitcast(indices);
        if let Some(bytes) = self.constant_bytes(indices) {
            let is_suitable = |&byte: &u8| byte & BEYOND_15 == 0 || byte & HIGHEST != 0;
            return bytes.iter().all(is_suitable);
        }
        let ValueDef::Result(inst, 0) = dfg.value_def(indices) else {
            return false;
        };
        let InstructionData::Binary { opcode, args } = dfg.insts[inst] else {
            return false;
        };
        match opcode {
            Opcode::Band => args
                .iter()
                .filter_map(|&arg| self.constant_bytes(self.before_bitcast(arg)))
                .any(|mask| mask.iter().all(|byte| byte & BEYOND_15 == 0)),
            Opcode::Ushr if self.type_of(indices) == I8X16 => {
                let width = u64::from(I8.bits());
                constant(dfg, args[1]).is_some_and(|distance| distance % width >= width / 2)
            }
            _ => false,
        }
    }

    /// The bytes of a constant vector.
    fn constant_bytes(&self, x: Value) -> Option<&[u8]> {
        let dfg = &self.builder.func.dfg;
        let ValueDef::Result(inst, 0) = dfg.value_def(x) else {
            return None;
        };
        match dfg.insts[inst] {
            InstructionData::UnaryConst {
                opcode: Opcode::Vconst,
                constant_handle,
            } => Some(dfg.constants.get(constant_handle).as_slice()),
            _ => None,
        }
    }
}
