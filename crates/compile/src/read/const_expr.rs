//! Constant expressions, already validated, to our own operators.

use crate::error::{CompileError, Result};
use crate::read::features::Used;
use crate::read::types::{self, TypeKinds};
use sarsen_abi::{ConstExpr, ConstOp, Feature, FuncIndex, GlobalIndex, TypeIndex};
use wasmparser::Operator;

/// Converts `expr`, and appends the functions that it refers to to `funcs`.
///
/// # Errors
///
/// When it is none, which validation has ruled out.
pub(super) fn read(
    expr: &wasmparser::ConstExpr<'_>,
    types: &TypeKinds,
    funcs: &mut Vec<FuncIndex>,
    used: &mut Used,
) -> Result<ConstExpr> {
    let mut reader = expr.get_operators_reader();
    let mut ops = Vec::with_capacity(1);
    loop {
        let (op, offset) = reader.read_with_offset()?;
        if matches!(op, Operator::End) {
            return Ok(ConstExpr { ops: ops.into() });
        }
        let op = convert(&op, offset, types)?;
        if let ConstOp::RefFunc(func) = op {
            funcs.push(func);
        }
        note_features(op, used);
        ops.push(op);
    }
}

fn note_features(op: ConstOp, used: &mut Used) {
    match op {
        ConstOp::I32Const(_)
        | ConstOp::I64Const(_)
        | ConstOp::F32Const(_)
        | ConstOp::F64Const(_)
        | ConstOp::GlobalGet(_) => {}
        ConstOp::RefFunc(_) => used.add(Feature::ReferenceTypes),
        ConstOp::RefNull(heap) => types::note_heap_type(heap, used),
        ConstOp::V128Const(_) => used.add(Feature::Simd),
        ConstOp::I32Add
        | ConstOp::I32Sub
        | ConstOp::I32Mul
        | ConstOp::I64Add
        | ConstOp::I64Sub
        | ConstOp::I64Mul => used.add(Feature::ExtendedConst),
        ConstOp::StructNew(_)
        | ConstOp::StructNewDefault(_)
        | ConstOp::ArrayNew(_)
        | ConstOp::ArrayNewDefault(_)
        | ConstOp::ArrayNewFixed(..)
        | ConstOp::RefI31
        | ConstOp::AnyConvertExtern
        | ConstOp::ExternConvertAny => used.add(Feature::Gc),
    }
}

fn convert(op: &Operator<'_>, offset: u64, types: &TypeKinds) -> Result<ConstOp> {
    Ok(match *op {
        Operator::I32Const { value } => ConstOp::I32Const(value),
        Operator::I64Const { value } => ConstOp::I64Const(value),
        Operator::F32Const { value } => ConstOp::F32Const(value.bits()),
        Operator::F64Const { value } => ConstOp::F64Const(value.bits()),
        Operator::V128Const { value } => ConstOp::V128Const(value.i128() as u128),
        Operator::GlobalGet { global_index } => ConstOp::GlobalGet(GlobalIndex::new(global_index)),
        Operator::RefNull { hty } => ConstOp::RefNull(types.heap_type(hty)?),
        Operator::RefFunc { function_index } => ConstOp::RefFunc(FuncIndex::new(function_index)),
        Operator::I32Add => ConstOp::I32Add,
        Operator::I32Sub => ConstOp::I32Sub,
        Operator::I32Mul => ConstOp::I32Mul,
        Operator::I64Add => ConstOp::I64Add,
        Operator::I64Sub => ConstOp::I64Sub,
        Operator::I64Mul => ConstOp::I64Mul,
        Operator::StructNew { struct_type_index } => {
            ConstOp::StructNew(TypeIndex::new(struct_type_index))
        }
        Operator::StructNewDefault { struct_type_index } => {
            ConstOp::StructNewDefault(TypeIndex::new(struct_type_index))
        }
        Operator::ArrayNew { array_type_index } => {
            ConstOp::ArrayNew(TypeIndex::new(array_type_index))
        }
        Operator::ArrayNewDefault { array_type_index } => {
            ConstOp::ArrayNewDefault(TypeIndex::new(array_type_index))
        }
        Operator::ArrayNewFixed {
            array_type_index,
            array_size,
        } => ConstOp::ArrayNewFixed(TypeIndex::new(array_type_index), array_size),
        Operator::RefI31 => ConstOp::RefI31,
        Operator::AnyConvertExtern => ConstOp::AnyConvertExtern,
        Operator::ExternConvertAny => ConstOp::ExternConvertAny,
        ref other => {
            let message = format!("not supported in a constant expression: {other:?}");
            return Err(CompileError::at(offset, message));
        }
    })
}
