//! Evaluates constant expressions (core specification, §4.6.3 "Constant expressions"): a stack
//! machine over [`ConstOp`]s.
//!
//! What an expression may name, globals and functions, it asks its [`ConstContext`] for, so that
//! the evaluator itself touches no instance.
//!
//! Called by `instantiate` and `segments`.

use sarsen_abi::const_expr::{ConstExpr, ConstOp};
use sarsen_abi::vmctx::ValRaw;
use sarsen_abi::{FuncIndex, GlobalIndex};
use smallvec::SmallVec;

/// What a constant expression is evaluated in.
pub(super) trait ConstContext {
    /// The value of a global that is initialized already.
    fn global(&self, global: GlobalIndex) -> ValRaw;

    /// A reference to a function.
    fn func(&self, func: FuncIndex) -> ValRaw;
}

/// The value of `expr`.
///
/// # Panics
///
/// Panics when the expression does not leave exactly one value; validation ensures that it does.
pub(super) fn evaluate(expr: &ConstExpr, context: &impl ConstContext) -> ValRaw {
    if let [op] = &*expr.ops {
        return constant(*op, context).expect("validated: a single instruction is a constant");
    }
    let mut stack = Stack(SmallVec::new());
    for &op in &expr.ops {
        match constant(op, context) {
            Some(value) => stack.0.push(value),
            None => stack.binary(op),
        }
    }
    let value = stack.pop();
    assert!(stack.0.is_empty(), "validated: one value is left");
    value
}

/// The value that `op` pushes, unless it is an operator.
fn constant(op: ConstOp, context: &impl ConstContext) -> Option<ValRaw> {
    Some(match op {
        ConstOp::I32Const(value) => from_i32(value),
        ConstOp::I64Const(value) => from_i64(value),
        ConstOp::F32Const(bits) => ValRaw(u128::from(bits)),
        ConstOp::F64Const(bits) => ValRaw(u128::from(bits)),
        ConstOp::V128Const(bits) => ValRaw(bits),
        ConstOp::GlobalGet(global) => context.global(global),
        ConstOp::RefNull(_) => ValRaw(0),
        ConstOp::RefFunc(func) => context.func(func),
        ConstOp::I32Add
        | ConstOp::I32Sub
        | ConstOp::I32Mul
        | ConstOp::I64Add
        | ConstOp::I64Sub
        | ConstOp::I64Mul
        | ConstOp::StructNew(_)
        | ConstOp::StructNewDefault(_)
        | ConstOp::ArrayNew(_)
        | ConstOp::ArrayNewDefault(_)
        | ConstOp::ArrayNewFixed(..)
        | ConstOp::RefI31
        | ConstOp::AnyConvertExtern
        | ConstOp::ExternConvertAny => return None,
    })
}

fn from_i32(value: i32) -> ValRaw {
    ValRaw(u128::from(value as u32))
}

fn from_i64(value: i64) -> ValRaw {
    ValRaw(u128::from(value as u64))
}

/// The operands.
struct Stack(SmallVec<[ValRaw; 4]>);

impl Stack {
    fn pop(&mut self) -> ValRaw {
        self.0.pop().expect("validated: an operand is there")
    }

    fn binary(&mut self, op: ConstOp) {
        let (b, a) = (self.pop(), self.pop());
        let i32s = |f: fn(i32, i32) -> i32| from_i32(f(a.0 as i32, b.0 as i32));
        let i64s = |f: fn(i64, i64) -> i64| from_i64(f(a.0 as i64, b.0 as i64));
        self.0.push(match op {
            ConstOp::I32Add => i32s(i32::wrapping_add),
            ConstOp::I32Sub => i32s(i32::wrapping_sub),
            ConstOp::I32Mul => i32s(i32::wrapping_mul),
            ConstOp::I64Add => i64s(i64::wrapping_add),
            ConstOp::I64Sub => i64s(i64::wrapping_sub),
            ConstOp::I64Mul => i64s(i64::wrapping_mul),
            _ => unreachable!("every other instruction is a constant"),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sarsen_abi::types::{AbstractHeapType, HeapType};

    /// Global `n` holds 1000 + n; function `n` is 0x1_0000_0000 + n.
    struct Numbers;

    impl ConstContext for Numbers {
        fn global(&self, global: GlobalIndex) -> ValRaw {
            ValRaw(1000 + u128::from(global.as_u32()))
        }

        fn func(&self, func: FuncIndex) -> ValRaw {
            ValRaw((1 << 32) + u128::from(func.as_u32()))
        }
    }

    fn value(ops: &[ConstOp]) -> u128 {
        evaluate(&ConstExpr { ops: ops.into() }, &Numbers).0
    }

    #[test]
    fn negative_constants_are_not_extended_beyond_their_type() {
        assert_eq!(value(&[ConstOp::I32Const(-1)]), 0xffff_ffff);
        assert_eq!(value(&[ConstOp::I64Const(-1)]), u128::from(u64::MAX));
    }

    #[test]
    fn every_constant_is_its_bits() {
        let null = ConstOp::RefNull(HeapType::Abstract(AbstractHeapType::Func));
        assert_eq!(value(&[ConstOp::F32Const(0x7fc0_0001)]), 0x7fc0_0001);
        assert_eq!(value(&[ConstOp::F64Const(1 << 63)]), 1 << 63);
        assert_eq!(value(&[ConstOp::V128Const(u128::MAX - 1)]), u128::MAX - 1);
        assert_eq!(value(&[null]), 0);
        let func = ConstOp::RefFunc(FuncIndex::new(7));
        assert_eq!(value(&[func]), 0x1_0000_0007);
    }

    #[test]
    fn operators_take_their_operands_in_order_and_wrap() {
        use ConstOp::*;
        assert_eq!(value(&[I32Const(2), I32Const(5), I32Sub]), 0xffff_fffd);
        assert_eq!(value(&[I32Const(i32::MAX), I32Const(1), I32Add]), 1 << 31);
        assert_eq!(value(&[I64Const(1 << 62), I64Const(4), I64Mul]), 0);
        let global = GlobalGet(GlobalIndex::new(3));
        let ops = [I32Const(10), global, I32Const(2), I32Mul, I32Add];
        assert_eq!(value(&ops), 10 + 2 * 1003);
    }

    #[test]
    #[should_panic(expected = "an operand is there")]
    fn a_missing_operand_is_our_bug() {
        value(&[ConstOp::I32Const(1), ConstOp::I32Add]);
    }
}
