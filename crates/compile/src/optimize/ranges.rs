//! Checks of array indices that cannot fail: because a branch was taken that says so, because an earlier check
//! said it, or because of how a loop counts.
//!
//! ```text
//!   loop(i):                      with (i0) from outside, i0 < n, and (i + 1) from the end:
//!     trapnz i >= n               superfluous
//!     …
//!     brif i + 1 < n, loop(i + 1), done
//! ```
//!
//! What is asked is always whether one value is less than another in some block. The answer comes from the
//! conditions of the branches that lead there, up the tree of dominators; or, for a parameter of a block, by
//! induction over the times that the block is entered: what holds of the argument on every edge holds of the
//! parameter, and while the argument of an edge from behind the block is looked at, it may be taken to hold of
//! the parameter itself, which is what it was when the block was entered before.
//!
//! Compilers count with signed comparisons, while an index is unsigned: `i < n` signed is `i < n` unsigned if
//! `i` is not negative. So that is asked, too.
//!
//! Nothing is concluded from a number of steps that is not small, so the time is linear in the checks.
//! Only checks go: no instruction is moved, and the blocks stay as they are.

use crate::lower::{constant, trap_code, upper_bound};
use cranelift_codegen::Context;
use cranelift_codegen::dominator_tree::DominatorTree;
use cranelift_codegen::flowgraph::ControlFlowGraph;
use cranelift_codegen::ir::condcodes::{CondCode, IntCC};
use cranelift_codegen::ir::{
    Block, BlockArg, Function, Inst, InstructionData, Opcode, Value, ValueDef,
};
use sarsen_abi::TrapCode;
use std::collections::HashMap;

/// How many blocks are looked at, and edges followed, for one check.
const MAX_STEPS: u32 = 200;

/// How deep a question leads to questions.
const MAX_DEPTH: u32 = 8;

/// Blocks with more ways into them are not looked at.
const MAX_WAYS: usize = 8;

/// So many checks of the same index and length are remembered.
const MAX_REMEMBERED: usize = 8;

/// Removes those of `checks` from the context's function that cannot fail: instructions that trap unless an
/// index is less than a length. They are in an order in which none comes before one that dominates it.
pub(crate) fn remove_checks(context: &mut Context, checks: &[Inst]) {
    context.flowgraph();
    let mut superfluous = Vec::new();
    let mut made: HashMap<(Value, Value), Vec<Inst>> = HashMap::new();
    for &check in checks {
        let mut ranges = Ranges {
            func: &context.func,
            cfg: &context.cfg,
            domtree: &context.domtree,
            steps: MAX_STEPS,
            assumed: Vec::new(),
        };
        let Some((index, length)) = ranges.checked(check) else {
            continue;
        };
        let same = made.entry((index, length)).or_default();
        let layout = &context.func.layout;
        let is_made = |earlier: &Inst| context.domtree.dominates(*earlier, check, layout);
        if same.iter().rev().take(MAX_REMEMBERED).any(is_made) {
            superfluous.push(check);
            continue;
        }
        if ranges.cannot_fail(check, index, length) {
            superfluous.push(check);
        }
        same.push(check);
    }
    for check in superfluous {
        context.func.layout.remove_inst(check);
    }
}

/// How numbers are compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Order {
    Unsigned,
    Signed,
}

/// That one value is less than another, or not more.
#[derive(Clone, Copy, Debug)]
struct Fact {
    order: Order,
    less: Value,
    more: Value,
    or_equal: bool,
}

/// A way into a block: from the end of another, with these arguments.
struct Edge {
    from: Block,
    fact: Option<Fact>,
    /// The argument for the parameter that was asked about.
    argument: Value,
}

struct Ranges<'f> {
    func: &'f Function,
    cfg: &'f ControlFlowGraph,
    domtree: &'f DominatorTree,
    /// How many more steps may be made.
    steps: u32,
    /// Parameters that are taken not to be negative, as that is what is being proved.
    assumed: Vec<Value>,
}

impl Ranges<'_> {
    /// The index that a check checks, and the length.
    fn checked(&self, check: Inst) -> Option<(Value, Value)> {
        let InstructionData::CondTrap {
            opcode: Opcode::Trapnz,
            arg,
            code,
        } = self.func.dfg.insts[check]
        else {
            return None;
        };
        debug_assert_eq!(code, trap_code(TrapCode::ArrayOutOfBounds));
        let (condition, index, length) = self.comparison(arg)?;
        (condition == IntCC::UnsignedGreaterThanOrEqual).then_some((index, length))
    }

    /// Whether a check always finds `index` to be less than `length`.
    fn cannot_fail(&mut self, check: Inst, index: Value, length: Value) -> bool {
        let block = self.func.layout.inst_block(check);
        let block = block.filter(|&block| self.domtree.is_reachable(block));
        block.is_some_and(|block| self.is_less(Order::Unsigned, index, length, block, MAX_DEPTH))
    }

    fn step(&mut self) -> bool {
        self.steps = self.steps.saturating_sub(1);
        self.steps > 0
    }

    // Values.

    fn resolve(&self, value: Value) -> Value {
        self.func.dfg.resolve_aliases(value)
    }

    /// A constant, as the order takes it.
    fn number(&self, order: Order, value: Value) -> Option<i128> {
        let number = constant(&self.func.dfg, value)?;
        Some(match order {
            Order::Unsigned => i128::from(number),
            Order::Signed => {
                let unused = 64 - self.func.dfg.value_type(value).bits();
                i128::from((number << unused) as i64 >> unused)
            }
        })
    }

    fn largest(&self, order: Order, value: Value) -> i128 {
        let bits = self.func.dfg.value_type(value).bits();
        match order {
            Order::Unsigned => (1 << bits) - 1,
            Order::Signed => (1 << (bits - 1)) - 1,
        }
    }

    /// Whether `x` is plainly not more than `y`.
    fn is_at_most(&self, order: Order, x: Value, y: Value) -> bool {
        match (self.number(order, x), self.number(order, y)) {
            (Some(x), Some(y)) => x <= y,
            _ => x == y,
        }
    }

    /// Whether `x` is plainly less than `y`.
    fn is_smaller(&self, order: Order, x: Value, y: Value) -> bool {
        match (self.number(order, x), self.number(order, y)) {
            (Some(x), Some(y)) => x < y,
            _ => false,
        }
    }

    /// What a value compares, if it is the result of a comparison of integers.
    fn comparison(&self, value: Value) -> Option<(IntCC, Value, Value)> {
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
    fn addition(&self, value: Value) -> Option<(Value, i128, Inst)> {
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
    fn fact_of_block(&self, block: Block) -> Option<Fact> {
        let mut ways = self.cfg.pred_iter(block);
        let (way, None) = (ways.next()?, ways.next()) else {
            return None;
        };
        self.fact_of_edge(way.inst, block)
    }

    /// The ways into the block of a parameter, if these are all that it is given, and all are plain.
    fn edges(&self, block: Block, param: usize) -> Option<Vec<Edge>> {
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
    fn is_fixed(&self, value: Value, block: Block) -> bool {
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

    // What is asked.

    /// Whether `x` is less than `y` in a block.
    fn is_less(&mut self, order: Order, x: Value, y: Value, block: Block, depth: u32) -> bool {
        if let (Some(x), Some(y)) = (self.number(order, x), self.number(order, y)) {
            return x < y;
        }
        let mut next = Some(block);
        while let Some(block) = next
            && self.step()
        {
            if let Some(fact) = self.fact_of_block(block)
                && self.says_less(fact, order, x, y, block, depth)
            {
                return true;
            }
            next = self.domtree.idom(block);
        }
        self.is_less_by_induction(order, x, y, depth)
    }

    /// Whether a fact that holds in `block` says that `x` is less than `y`.
    fn says_less(
        &mut self,
        fact: Fact,
        order: Order,
        x: Value,
        y: Value,
        block: Block,
        depth: u32,
    ) -> bool {
        let is_enough = self.is_at_most(fact.order, x, fact.less)
            && self.is_at_most(fact.order, fact.more, y)
            && (!fact.or_equal
                || self.is_smaller(fact.order, x, fact.less)
                || self.is_smaller(fact.order, fact.more, y));
        match (fact.order, order) {
            (Order::Unsigned, Order::Unsigned) | (Order::Signed, Order::Signed) => is_enough,
            (Order::Signed, Order::Unsigned) => is_enough && self.is_natural(x, block, depth),
            (Order::Unsigned, Order::Signed) => false,
        }
    }

    /// Whether a parameter of a block is less than `y`, because all arguments are.
    fn is_less_by_induction(&mut self, order: Order, x: Value, y: Value, depth: u32) -> bool {
        let ValueDef::Param(block, param) = self.func.dfg.value_def(x) else {
            return false;
        };
        if depth == 0 || !self.is_fixed(y, block) {
            return false;
        }
        let Some(edges) = self.edges(block, param) else {
            return false;
        };
        edges.into_iter().all(|edge| {
            let Edge {
                from,
                fact,
                argument,
            } = edge;
            self.step()
                && (argument == x
                    || fact.is_some_and(|fact| {
                        self.says_less(fact, order, argument, y, from, depth - 1)
                    })
                    || self.is_less(order, argument, y, from, depth - 1))
        })
    }

    /// Whether `x`, as a signed number, is not negative in a block.
    fn is_natural(&mut self, x: Value, block: Block, depth: u32) -> bool {
        let largest = self.largest(Order::Signed, x);
        if i128::from(upper_bound(&self.func.dfg, x)) <= largest || self.assumed.contains(&x) {
            return true;
        }
        if depth == 0 || !self.step() {
            return false;
        }
        if let Some((term, added, inst)) = self.addition(x) {
            let Some(block) = self.func.layout.inst_block(inst) else {
                return false;
            };
            return added >= 0
                && self.is_natural(term, block, depth - 1)
                && self.is_far_from_overflow(term, added, block, depth - 1);
        }
        self.is_natural_by_branch(x, block) || self.is_natural_by_induction(x, depth)
    }

    /// Whether a branch says so.
    fn is_natural_by_branch(&mut self, x: Value, block: Block) -> bool {
        let mut next = Some(block);
        while let Some(block) = next
            && self.step()
        {
            if let Some(fact) = self.fact_of_block(block)
                && fact.more == x
                && fact.order == Order::Signed
                && let Some(less) = self.number(Order::Signed, fact.less)
                && less >= -i128::from(!fact.or_equal)
            {
                return true;
            }
            next = self.domtree.idom(block);
        }
        false
    }

    fn is_natural_by_induction(&mut self, x: Value, depth: u32) -> bool {
        let ValueDef::Param(block, param) = self.func.dfg.value_def(x) else {
            return false;
        };
        let Some(edges) = self.edges(block, param) else {
            return false;
        };
        self.assumed.push(x);
        let holds = edges
            .into_iter()
            .all(|edge| self.step() && self.is_natural(edge.argument, edge.from, depth - 1));
        self.assumed.pop();
        holds
    }

    /// Whether `x` plus `added` is less than the largest signed number, or that number, in a block where `x` is
    /// not negative.
    fn is_far_from_overflow(&mut self, x: Value, added: i128, block: Block, depth: u32) -> bool {
        let largest = self.largest(Order::Signed, x) - added;
        if i128::from(upper_bound(&self.func.dfg, x)) <= largest {
            return true;
        }
        let mut next = Some(block);
        while let Some(block) = next
            && self.step()
        {
            if let Some(fact) = self.fact_of_block(block)
                && self.bounds_by(fact, x, largest)
            {
                return true;
            }
            next = self.domtree.idom(block);
        }
        self.is_bounded_by_loop(x, largest, depth)
    }

    /// Whether a fact says that `x`, which is not negative, is not more than a number.
    fn bounds_by(&self, fact: Fact, x: Value, largest: i128) -> bool {
        let above = self.number(fact.order, fact.more);
        // What is less than any signed number is less than the largest.
        let above = match fact.order {
            Order::Signed => above.or(Some(self.largest(Order::Signed, x))),
            Order::Unsigned => above,
        };
        fact.less == x && above.is_some_and(|above| above - i128::from(!fact.or_equal) <= largest)
    }

    /// Whether `x` is a parameter of a loop that goes on only while what it will be next is less than
    /// something: then `x` is, too.
    fn is_bounded_by_loop(&mut self, x: Value, largest: i128, depth: u32) -> bool {
        let ValueDef::Param(block, param) = self.func.dfg.value_def(x) else {
            return false;
        };
        let Some(edges) = self.edges(block, param) else {
            return false;
        };
        edges.iter().any(|edge| {
            edge.fact.is_some_and(|fact| {
                fact.less == edge.argument
                    && fact.order == Order::Signed
                    && self.bounds_by(Fact { less: x, ..fact }, x, largest)
                    && !fact.or_equal
                    && self.is_less_by_induction(Order::Signed, x, fact.more, depth)
            })
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
