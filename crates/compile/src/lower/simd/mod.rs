//! Vectors: fixed-width SIMD and relaxed SIMD.
//!
//! A vector on the operand stack, in a local or a global, passed to a block or a call, is an `i8x16`,
//! whatever lanes the instruction that made it spoke of. Each instruction takes its operands as the
//! type that it needs and gives its result back as `i8x16`; both are bitcasts, which cost nothing. Bytes
//! are in little-endian order: lane 0 is first in memory.
//!
//! | file | what it lowers |
//! |---|---|
//! | `dispatch` | tells which of the following an instruction belongs to |
//! | `lane` | constants, splats, lanes in and out, shuffles |
//! | `access` | loads and stores, of whole vectors and of parts |
//! | `arithmetic` | what is done lane by lane with one opcode, integer or float; minima that choose |
//! | `compare` | comparisons, and what reduces lanes to a number |
//! | `shift` | shifts |
//! | `swizzle` | bytes looked up by index |
//! | `widen` | extending, narrowing, and arithmetic between lanes of different sizes |
//! | `convert` | conversions between integers and floats |
//! | `bitwise` | operations on all bits |
//! | `relaxed` | instructions whose results may differ between machines |

mod access;
mod arithmetic;
mod bitwise;
mod compare;
mod convert;
mod dispatch;
mod lane;
mod relaxed;
mod shift;
mod swizzle;
mod widen;

pub(crate) use relaxed::RelaxedSimd;

use super::function::Lowering;
use cranelift_codegen::ir::types::I8X16;
use cranelift_codegen::ir::{
    Endianness, InstBuilder, InstructionData, MemFlagsData, Opcode, Type, Value, ValueDef,
};

impl Lowering<'_, '_> {
    /// Pops a vector as one of type `ty`.
    fn pop_vector(&mut self, ty: Type) -> Value {
        let x = self.pop();
        self.as_vector(x, ty)
    }

    /// Pops two vectors as ones of type `ty`; the second was on top.
    fn pop_vectors(&mut self, ty: Type) -> (Value, Value) {
        let (x, y) = self.pop2();
        (self.as_vector(x, ty), self.as_vector(y, ty))
    }

    /// Pops three vectors as ones of type `ty`; the third was on top.
    fn pop_three_vectors(&mut self, ty: Type) -> (Value, Value, Value) {
        let z = self.pop_vector(ty);
        let (x, y) = self.pop_vectors(ty);
        (x, y, z)
    }

    /// Pushes a vector of any type.
    fn push_vector(&mut self, x: Value) {
        let x = self.as_vector(x, I8X16);
        self.push(x);
    }

    /// The same bits as another type of vector.
    pub(super) fn as_vector(&mut self, x: Value, ty: Type) -> Value {
        let x = self.before_bitcast(x);
        if self.type_of(x) == ty {
            return x;
        }
        let flags = MemFlagsData::new().with_endianness(Endianness::Little);
        self.builder.ins().bitcast(ty, flags, x)
    }

    /// What was made `x` by a bitcast, or `x` itself.
    fn before_bitcast(&self, x: Value) -> Value {
        let dfg = &self.builder.func.dfg;
        let ValueDef::Result(inst, 0) = dfg.value_def(x) else {
            return x;
        };
        match dfg.insts[inst] {
            InstructionData::LoadNoOffset {
                opcode: Opcode::Bitcast,
                arg,
                ..
            } if self.type_of(arg).is_vector() => arg,
            _ => x,
        }
    }

    /// A constant vector of type `ty`.
    pub(super) fn vector_constant(&mut self, ty: Type, bytes: [u8; 16]) -> Value {
        let constant = self.builder.func.dfg.constants.insert(bytes[..].into());
        self.builder.ins().vconst(ty, constant)
    }
}
