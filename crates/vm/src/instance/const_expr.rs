//! Evaluates constant expressions (core specification, §4.6.3 "Constant expressions"): a stack
//! machine over [`ConstOp`]s.
//!
//! What an expression may name, and new objects, it asks its [`ConstContext`] for, so that the
//! evaluator itself touches no instance. Making an object may collect: the context gets the
//! references that are on the stack meanwhile.
//!
//! Called by `instantiate` and `segments`.

use crate::gc::HeapError;
use sarsen_abi::const_expr::{ConstExpr, ConstOp};
use sarsen_abi::heap::I31_BIT;
use sarsen_abi::vmctx::ValRaw;
use sarsen_abi::{FuncIndex, GlobalIndex, TypeIndex};
use smallvec::SmallVec;

/// What a constant expression is evaluated in.
pub(super) trait ConstContext {
    /// The value of a global that is initialized already, and whether it is a collected reference.
    fn global(&self, global: GlobalIndex) -> (ValRaw, bool);

    /// A reference to a function.
    fn func(&self, func: FuncIndex) -> ValRaw;

    /// The number of fields of a structure type.
    fn field_count(&self, ty: TypeIndex) -> usize;

    /// A new object. References in `held` are kept, and updated.
    ///
    /// # Errors
    ///
    /// When there is no room.
    fn make(
        &mut self,
        ty: TypeIndex,
        contents: Contents<'_>,
        held: &mut [u32],
    ) -> Result<u32, HeapError>;
}

/// What a new object contains.
#[derive(Clone, Copy, Debug)]
pub(super) enum Contents<'a> {
    /// The fields of a structure.
    Fields(&'a [ValRaw]),
    /// Default values, for so many elements if it is an array.
    Default(u32),
    /// So many elements of this value.
    Repeated(ValRaw, u32),
    /// These elements.
    Elements(&'a [ValRaw]),
}

/// The value of `expr`.
///
/// # Errors
///
/// When there is no room for an object.
///
/// # Panics
///
/// Panics when the expression does not leave exactly one value; validation ensures that it does.
pub(super) fn evaluate(
    expr: &ConstExpr,
    context: &mut impl ConstContext,
) -> Result<ValRaw, HeapError> {
    if let [op] = &*expr.ops
        && let Some(operand) = constant(*op, context)
    {
        return Ok(operand.value);
    }
    let mut stack = Stack(SmallVec::new());
    for &op in &expr.ops {
        match constant(op, context) {
            Some(operand) => stack.0.push(operand),
            None => stack.operate(op, context)?,
        }
    }
    let value = stack.pop();
    assert!(stack.0.is_empty(), "validated: one value is left");
    Ok(value)
}

/// A value on the stack.
#[derive(Clone, Copy)]
struct Operand {
    value: ValRaw,
    /// Whether it is a collected reference.
    collected: bool,
}

fn number(value: ValRaw) -> Operand {
    Operand {
        value,
        collected: false,
    }
}

/// The value that `op` pushes, unless it is an operator.
fn constant(op: ConstOp, context: &impl ConstContext) -> Option<Operand> {
    Some(number(match op {
        ConstOp::I32Const(value) => from_i32(value),
        ConstOp::I64Const(value) => from_i64(value),
        ConstOp::F32Const(bits) => ValRaw(u128::from(bits)),
        ConstOp::F64Const(bits) => ValRaw(u128::from(bits)),
        ConstOp::V128Const(bits) => ValRaw(bits),
        ConstOp::GlobalGet(global) => {
            let (value, collected) = context.global(global);
            return Some(Operand { value, collected });
        }
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
    }))
}

fn from_i32(value: i32) -> ValRaw {
    ValRaw(u128::from(value as u32))
}

fn from_i64(value: i64) -> ValRaw {
    ValRaw(u128::from(value as u64))
}

/// The operands.
struct Stack(SmallVec<[Operand; 4]>);

impl Stack {
    fn pop(&mut self) -> ValRaw {
        self.0.pop().expect("validated: an operand is there").value
    }

    fn operate(&mut self, op: ConstOp, context: &mut impl ConstContext) -> Result<(), HeapError> {
        match op {
            ConstOp::StructNew(ty) => {
                let fields = self.pop_many(context.field_count(ty));
                self.make(context, ty, Contents::Fields(&fields))
            }
            ConstOp::StructNewDefault(ty) => self.make(context, ty, Contents::Default(0)),
            ConstOp::ArrayNew(ty) => {
                let (length, value) = (self.pop().get_u32(), self.pop());
                self.make(context, ty, Contents::Repeated(value, length))
            }
            ConstOp::ArrayNewDefault(ty) => {
                let length = self.pop().get_u32();
                self.make(context, ty, Contents::Default(length))
            }
            ConstOp::ArrayNewFixed(ty, length) => {
                let elements = self.pop_many(length as usize);
                self.make(context, ty, Contents::Elements(&elements))
            }
            ConstOp::RefI31 => {
                let value = self.pop().get_u32();
                self.0.push(number(ValRaw::u32(value << 1 | I31_BIT)));
                Ok(())
            }
            // The reference stays as it is.
            ConstOp::AnyConvertExtern | ConstOp::ExternConvertAny => Ok(()),
            _ => {
                self.binary(op);
                Ok(())
            }
        }
    }

    fn pop_many(&mut self, count: usize) -> Vec<ValRaw> {
        let rest = self.0.len().checked_sub(count);
        let rest = rest.expect("validated: the operands are there");
        self.0.drain(rest..).map(|operand| operand.value).collect()
    }

    fn make(
        &mut self,
        context: &mut impl ConstContext,
        ty: TypeIndex,
        contents: Contents<'_>,
    ) -> Result<(), HeapError> {
        let collected = self.0.iter_mut().filter(|operand| operand.collected);
        let mut held: SmallVec<[u32; 8]> = collected.map(|o| o.value.get_u32()).collect();
        let made = context.make(ty, contents, &mut held)?;
        let collected = self.0.iter_mut().filter(|operand| operand.collected);
        for (operand, now) in collected.zip(held) {
            operand.value = ValRaw::u32(now);
        }
        self.0.push(Operand {
            value: ValRaw::u32(made),
            collected: true,
        });
        Ok(())
    }

    fn binary(&mut self, op: ConstOp) {
        let (b, a) = (self.pop(), self.pop());
        let i32s = |f: fn(i32, i32) -> i32| from_i32(f(a.0 as i32, b.0 as i32));
        let i64s = |f: fn(i64, i64) -> i64| from_i64(f(a.0 as i64, b.0 as i64));
        self.0.push(number(match op {
            ConstOp::I32Add => i32s(i32::wrapping_add),
            ConstOp::I32Sub => i32s(i32::wrapping_sub),
            ConstOp::I32Mul => i32s(i32::wrapping_mul),
            ConstOp::I64Add => i64s(i64::wrapping_add),
            ConstOp::I64Sub => i64s(i64::wrapping_sub),
            ConstOp::I64Mul => i64s(i64::wrapping_mul),
            _ => unreachable!("every other instruction is a constant or makes an object"),
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sarsen_abi::types::{AbstractHeapType, HeapType};

    /// Global `n` holds 1000 + n; function `n` is 0x1_0000_0000 + n.
    struct Numbers;

    impl ConstContext for Numbers {
        fn global(&self, global: GlobalIndex) -> (ValRaw, bool) {
            let collected = global.as_u32() >= 100;
            (ValRaw(1000 + u128::from(global.as_u32())), collected)
        }

        fn func(&self, func: FuncIndex) -> ValRaw {
            ValRaw((1 << 32) + u128::from(func.as_u32()))
        }

        fn field_count(&self, _: TypeIndex) -> usize {
            2
        }

        /// Moves everything by one, and makes the sum of what it contains.
        fn make(
            &mut self,
            ty: TypeIndex,
            contents: Contents<'_>,
            held: &mut [u32],
        ) -> Result<u32, HeapError> {
            held.iter_mut().for_each(|reference| *reference += 1);
            let sum = |values: &[ValRaw]| values.iter().map(|v| v.get_u32()).sum::<u32>();
            match contents {
                _ if ty.as_u32() == 9 => Err(HeapError::Full),
                Contents::Fields(values) => Ok(sum(values)),
                Contents::Default(length) => Ok(length),
                Contents::Repeated(value, length) => Ok(value.get_u32() * length),
                Contents::Elements(values) => Ok(sum(values)),
            }
        }
    }

    fn value(ops: &[ConstOp]) -> u128 {
        evaluate(&ConstExpr { ops: ops.into() }, &mut Numbers)
            .unwrap()
            .0
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
    fn references_on_the_stack_follow_the_objects_that_making_another_moves() {
        use ConstOp::*;
        let ty = TypeIndex::new(0);
        let (number, reference) = (
            GlobalGet(GlobalIndex::new(1)),
            GlobalGet(GlobalIndex::new(100)),
        );
        let ops = [reference, I32Const(3), ArrayNewDefault(ty), StructNew(ty)];
        assert_eq!(value(&ops), 1101 + 3);
        let ops = [number, I32Const(3), ArrayNewDefault(ty), StructNew(ty)];
        assert_eq!(value(&ops), 1001 + 3);
        let ops = [I32Const(5), I32Const(4), ArrayNew(ty)];
        assert_eq!(value(&ops), 20);
        assert_eq!(value(&[I32Const(-1), RefI31]), u128::from(u32::MAX));
        let full = ConstExpr {
            ops: [StructNewDefault(TypeIndex::new(9))].into(),
        };
        assert!(evaluate(&full, &mut Numbers).is_err());
    }

    #[test]
    #[should_panic(expected = "an operand is there")]
    fn a_missing_operand_is_our_bug() {
        value(&[ConstOp::I32Const(1), ConstOp::I32Add]);
    }
}
