//! Constant expressions: initial values of globals, tables and segments, and segment offsets.
//!
//! Specification: core, §3.4 "Constant expressions". They are validated by the compiler, stored in
//! the image, and evaluated by the runtime on a small stack when a module is instantiated.

use crate::index::{FuncIndex, GlobalIndex, TypeIndex};
use crate::types::HeapType;
use serde::{Deserialize, Serialize};

/// A validated constant expression, without its final `end`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ConstExpr {
    /// The instructions in order.
    pub ops: Box<[ConstOp]>,
}

/// An instruction of a constant expression.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ConstOp {
    /// `i32.const`
    I32Const(i32),
    /// `i64.const`
    I64Const(i64),
    /// `f32.const`, as bits.
    F32Const(u32),
    /// `f64.const`, as bits.
    F64Const(u64),
    /// `v128.const`, as a little-endian number.
    V128Const(u128),
    /// `global.get` of an immutable global.
    GlobalGet(GlobalIndex),
    /// `ref.null`
    RefNull(HeapType),
    /// `ref.func`
    RefFunc(FuncIndex),
    /// `i32.add`
    I32Add,
    /// `i32.sub`
    I32Sub,
    /// `i32.mul`
    I32Mul,
    /// `i64.add`
    I64Add,
    /// `i64.sub`
    I64Sub,
    /// `i64.mul`
    I64Mul,
    /// `struct.new`
    StructNew(TypeIndex),
    /// `struct.new_default`
    StructNewDefault(TypeIndex),
    /// `array.new`
    ArrayNew(TypeIndex),
    /// `array.new_default`
    ArrayNewDefault(TypeIndex),
    /// `array.new_fixed`, with the number of elements.
    ArrayNewFixed(TypeIndex, u32),
    /// `ref.i31`
    RefI31,
    /// `any.convert_extern`: the reference stays as it is.
    AnyConvertExtern,
    /// `extern.convert_any`: the reference stays as it is.
    ExternConvertAny,
}

impl ConstExpr {
    /// The value, when the expression is a single integer constant. An `i32` is zero-extended, as
    /// segment offsets are.
    pub fn as_unsigned_constant(&self) -> Option<u64> {
        match *self.ops {
            [ConstOp::I32Const(value)] => Some(u64::from(value as u32)),
            [ConstOp::I64Const(value)] => Some(value as u64),
            _ => None,
        }
    }
}
