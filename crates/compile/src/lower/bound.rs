//! What the largest value is that an integer can have, where that is plain to see.
//!
//! Programs often mask an index right before they use it; then the bounds check that follows is
//! known to succeed. Only a value's own definition and those of its operands are looked at.

use cranelift_codegen::ir::{DataFlowGraph, InstructionData, Opcode, Value, ValueDef};

/// How many definitions are followed.
const MAX_DEPTH: u32 = 4;

/// An upper bound of `value`, an integer of at most 64 bits, as an unsigned number.
pub(crate) fn upper_bound(dfg: &DataFlowGraph, value: Value) -> u64 {
    bound(dfg, value, MAX_DEPTH)
}

/// The value of `value` as an unsigned number, if it is a constant.
pub(crate) fn constant(dfg: &DataFlowGraph, value: Value) -> Option<u64> {
    let ValueDef::Result(inst, 0) = dfg.value_def(value) else {
        return None;
    };
    match dfg.insts[inst] {
        InstructionData::UnaryImm {
            opcode: Opcode::Iconst,
            imm,
        } => Some(imm.bits() as u64 & type_mask(dfg, value)),
        _ => None,
    }
}

fn type_mask(dfg: &DataFlowGraph, value: Value) -> u64 {
    u64::MAX >> (64 - dfg.value_type(value).bits())
}

fn bound(dfg: &DataFlowGraph, value: Value, depth: u32) -> u64 {
    let all = type_mask(dfg, value);
    if let Some(constant) = constant(dfg, value) {
        return constant;
    }
    let ValueDef::Result(inst, 0) = dfg.value_def(value) else {
        return all;
    };
    if depth == 0 {
        return all;
    }
    match dfg.insts[inst] {
        InstructionData::Binary { opcode, args } => {
            let [x, y] = args;
            match opcode {
                Opcode::Band => bound(dfg, x, depth - 1).min(bound(dfg, y, depth - 1)),
                Opcode::Bor | Opcode::Bxor => {
                    let either = bound(dfg, x, depth - 1) | bound(dfg, y, depth - 1);
                    u64::MAX.checked_shr(either.leading_zeros()).unwrap_or(0)
                }
                Opcode::Iadd => {
                    let sum = bound(dfg, x, depth - 1).checked_add(bound(dfg, y, depth - 1));
                    sum.filter(|&sum| sum <= all).unwrap_or(all)
                }
                Opcode::Ishl => match constant(dfg, y) {
                    Some(distance) => {
                        let width = u64::from(dfg.value_type(value).bits());
                        let distance = distance % width;
                        let x = bound(dfg, x, depth - 1);
                        if x <= all >> distance {
                            x << distance
                        } else {
                            all
                        }
                    }
                    None => all,
                },
                Opcode::Urem => match constant(dfg, y) {
                    Some(divisor @ 1..) => divisor - 1,
                    _ => all,
                },
                // The shift's distance is taken modulo the type's width.
                Opcode::Ushr => match constant(dfg, y) {
                    Some(distance) => {
                        let width = u64::from(dfg.value_type(value).bits());
                        bound(dfg, x, depth - 1) >> (distance % width)
                    }
                    None => all,
                },
                _ => all,
            }
        }
        InstructionData::Unary {
            opcode: Opcode::Uextend,
            arg,
        } => bound(dfg, arg, depth - 1),
        InstructionData::Load { opcode, .. } => match opcode {
            Opcode::Uload8 => 0xff,
            Opcode::Uload16 => 0xffff,
            Opcode::Uload32 => 0xffff_ffff,
            _ => all,
        },
        InstructionData::IntCompare { .. } => 1,
        _ => all,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cranelift_codegen::cursor::{Cursor, FuncCursor};
    use cranelift_codegen::ir::types::{I32, I64};
    use cranelift_codegen::ir::{Function, InstBuilder};

    #[test]
    fn bounds_are_never_below_the_value() {
        let mut func = Function::new();
        let block = func.dfg.make_block();
        let unknown = func.dfg.append_block_param(block, I32);
        func.layout.append_block(block);
        let mut at = FuncCursor::new(&mut func).at_bottom(block);
        let minus_one = at.ins().iconst(I32, -1);
        let three = at.ins().iconst(I32, 3);
        let shift = at.ins().iconst(I32, 36);
        let masked = at.ins().band(unknown, three);
        let wide = at.ins().uextend(I64, masked);
        let shifted = at.ins().ushr(unknown, shift);
        let product = at.ins().imul(masked, masked);
        let two = at.ins().iconst(I32, 2);
        let scaled = at.ins().ishl(masked, two);
        let lost = at.ins().ishl(unknown, two);
        let either = at.ins().bor(scaled, masked);
        let sum = at.ins().iadd(scaled, masked);
        let wrapped = at.ins().iadd(minus_one, masked);
        let zero = at.ins().iconst(I32, 0);
        let none = at.ins().bxor(zero, zero);
        let dfg = &func.dfg;
        assert_eq!(upper_bound(dfg, unknown), 0xffff_ffff);
        assert_eq!(upper_bound(dfg, minus_one), 0xffff_ffff);
        assert_eq!(upper_bound(dfg, masked), 3);
        assert_eq!(upper_bound(dfg, wide), 3);
        assert_eq!(upper_bound(dfg, shifted), 0x0fff_ffff);
        assert_eq!(upper_bound(dfg, product), 0xffff_ffff);
        assert_eq!(upper_bound(dfg, scaled), 12);
        assert_eq!(upper_bound(dfg, lost), 0xffff_ffff);
        assert_eq!(upper_bound(dfg, either), 15);
        assert_eq!(upper_bound(dfg, sum), 15);
        assert_eq!(upper_bound(dfg, wrapped), 0xffff_ffff);
        assert_eq!(upper_bound(dfg, none), 0);
    }
}
