//! What values are, and what holds where control comes from: numbers, comparisons, branches, edges.

use super::{MAX_WAYS, Ranges};
use crate::lower::constant;
use cranelift_codegen::ir::condcodes::{CondCode, IntCC};
use cranelift_codegen::ir::{Block, BlockArg, Inst, InstructionData, Opcode, Value, ValueDef};

/// How numbers are compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Order {
    Unsigned,
    Signed,
}

/// That one value is less than another, or not more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fact {
    pub(super) order: Order,
    pub(super) less: Value,
    pub(super) more: Value,
    pub(super) or_equal: bool,
}

/// A way into a block: from the end of another, with these arguments.
pub(super) struct Edge {
    pub(super) from: Block,
    pub(super) fact: Option<Fact>,
    /// The argument for the parameter that was asked about.
    pub(super) argument: Value,
}

impl Ranges<'_> {
    // Values.

    fn resolve(&self, value: Value) -> Value {
        self.func.dfg.resolve_aliases(value)
    }

    /// A constant, as the order takes it.
    pub(super) fn number(&self, order: Order, value: Value) -> Option<i128> {
        let number = constant(&self.func.dfg, value)?;
        Some(match order {
            Order::Unsigned => i128::from(number),
            Order::Signed => {
                let unused = 64 - self.func.dfg.value_type(value).bits();
                i128::from((number << unused) as i64 >> unused)
            }
        })
    }

    pub(super) fn largest(&self, order: Order, value: Value) -> i128 {
        let bits = self.func.dfg.value_type(value).bits();
        match order {
            Order::Unsigned => (1 << bits) - 1,
            Order::Signed => (1 << (bits - 1)) - 1,
        }
    }

    /// Whether `x` is plainly not more than `y`.
    pub(super) fn is_at_most(&self, order: Order, x: Value, y: Value) -> bool {
        match (self.number(order, x), self.number(order, y)) {
            (Some(x), Some(y)) => x <= y,
            _ => x == y,
        }
    }

    /// Whether `x` is plainly less than `y`.
    pub(super) fn is_smaller(&self, order: Order, x: Value, y: Value) -> bool {
        match (self.number(order, x), self.number(order, y)) {
            (Some(x), Some(y)) => x < y,
            _ => false,
        }
    }

    /// What a value compares, if it is the result of a comparison of integers.
    pub(super) fn comparison(&self, value: Value) -> Option<(IntCC, Value, Value)> {
        let mut value = self.resolve(value);
        let mut negated = false;
        loop {
            let ValueDef::Result(inst, 0) = self.func.dfg.value_def(value) else {
                return None;
            };
            match self.func.dfg.insts[inst] {
                InstructionData::Unary {
                    opcode: Opcode::Uextend,
                    arg,
                } => value = self.resolve(arg),
                InstructionData::IntCompare { cond, args, .. } => {
                    let [x, y] = args.map(|arg| self.resolve(arg));
                    let is_zero = constant(&self.func.dfg, y) == Some(0);
                    if cond == IntCC::Equal && is_zero && self.is_truth(x) {
                        value = x;
                        negated = !negated;
                        continue;
                    }
                    let cond = if negated { cond.complement() } else { cond };
                    return Some((cond, x, y));
                }
                _ => return None,
            }
        }
    }

    /// Whether a value is the result of a comparison.
    fn is_truth(&self, value: Value) -> bool {
        let ValueDef::Result(inst, 0) = self.func.dfg.value_def(value) else {
            return false;
        };
        match self.func.dfg.insts[inst] {
            InstructionData::IntCompare { .. } => true,
            InstructionData::Unary {
                opcode: Opcode::Uextend,
                arg,
            } => self.func.dfg.value_type(arg).bits() == 8,
            _ => false,
        }
    }

    /// The number that a value is more than another, if it is a sum with a constant.
    pub(super) fn addition(&self, value: Value) -> Option<(Value, i128, Inst)> {
        let ValueDef::Result(inst, 0) = self.func.dfg.value_def(value) else {
            return None;
        };
        let InstructionData::Binary {
            opcode: Opcode::Iadd,
            args,
        } = self.func.dfg.insts[inst]
        else {
            return None;
        };
        let [x, y] = args.map(|arg| self.resolve(arg));
        let added = |value| self.number(Order::Signed, value);
        match (added(x), added(y)) {
            (_, Some(added)) => Some((x, added, inst)),
            (Some(added), None) => Some((y, added, inst)),
            (None, None) => None,
        }
    }

    // Where control comes from.

    /// What holds where `branch` goes to `target`.
    fn fact_of_edge(&self, branch: Inst, target: Block) -> Option<Fact> {
        let InstructionData::Brif { arg, blocks, .. } = self.func.dfg.insts[branch] else {
            return None;
        };
        let [then, otherwise] = blocks.map(|call| call.block(&self.func.dfg.value_lists));
        if then == otherwise {
            return None;
        }
        let (condition, x, y) = self.comparison(arg)?;
        Fact::new(
            if then == target {
                condition
            } else {
                condition.complement()
            },
            x,
            y,
        )
    }

    /// What the only way into a block says.
    pub(super) fn fact_of_block(&self, block: Block) -> Option<Fact> {
        let mut ways = self.cfg.pred_iter(block);
        let (way, None) = (ways.next()?, ways.next()) else {
            return None;
        };
        self.fact_of_edge(way.inst, block)
    }

    /// The ways into the block of a parameter, if these are all that it is given, and all are plain.
    pub(super) fn edges(&self, block: Block, param: usize) -> Option<Vec<Edge>> {
        let dfg = &self.func.dfg;
        let mut edges = Vec::new();
        for (number, way) in self.cfg.pred_iter(block).enumerate() {
            let data = &dfg.insts[way.inst];
            let is_plain = matches!(data.opcode(), Opcode::Jump | Opcode::Brif);
            if number == MAX_WAYS || !is_plain {
                return None;
            }
            if !self.domtree.is_reachable(way.block) {
                continue;
            }
            for call in data.branch_destination(&dfg.jump_tables, &dfg.exception_tables) {
                if call.block(&dfg.value_lists) != block {
                    continue;
                }
                let BlockArg::Value(argument) = call.args(&dfg.value_lists).nth(param)? else {
                    return None;
                };
                edges.push(Edge {
                    from: way.block,
                    fact: self.fact_of_edge(way.inst, block),
                    argument: self.resolve(argument),
                });
            }
        }
        // The function's own parameters have no argument here.
        let is_entry = self.func.layout.entry_block() == Some(block);
        (!is_entry && !edges.is_empty()).then_some(edges)
    }

    /// Whether `value` is the same whenever control is in the part of the function that `block` dominates,
    /// until it leaves it.
    pub(super) fn is_fixed(&self, value: Value, block: Block) -> bool {
        let defined = match self.func.dfg.value_def(value) {
            ValueDef::Result(inst, _) => self.func.layout.inst_block(inst),
            ValueDef::Param(defined, _) => Some(defined),
            ValueDef::Union(..) => None,
        };
        constant(&self.func.dfg, value).is_some()
            || defined.is_some_and(|defined| {
                defined != block && self.domtree.block_dominates(defined, block)
            })
    }
}

impl Fact {
    /// That the condition holds of two values.
    fn new(condition: IntCC, x: Value, y: Value) -> Option<Fact> {
        use IntCC as C;
        use Order::{Signed, Unsigned};
        let (order, less, more, or_equal) = match condition {
            C::UnsignedLessThan => (Unsigned, x, y, false),
            C::UnsignedLessThanOrEqual => (Unsigned, x, y, true),
            C::UnsignedGreaterThan => (Unsigned, y, x, false),
            C::UnsignedGreaterThanOrEqual => (Unsigned, y, x, true),
            C::SignedLessThan => (Signed, x, y, false),
            C::SignedLessThanOrEqual => (Signed, x, y, true),
            C::SignedGreaterThan => (Signed, y, x, false),
            C::SignedGreaterThanOrEqual => (Signed, y, x, true),
            C::Equal | C::NotEqual => return None,
        };
        Some(Fact {
            order,
            less,
            more,
            or_equal,
        })
    }
}
