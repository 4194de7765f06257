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

mod conditions;

use crate::lower::{trap_code, upper_bound};
use conditions::{Edge, Fact, Order};
use cranelift_codegen::Context;
use cranelift_codegen::dominator_tree::DominatorTree;
use cranelift_codegen::flowgraph::ControlFlowGraph;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{Block, Function, Inst, InstructionData, Opcode, Value, ValueDef};
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

    /// Whether the only way into a block, or into one that dominates it, says something.
    fn some_branch(
        &mut self,
        block: Block,
        mut says: impl FnMut(&mut Self, Fact, Block) -> bool,
    ) -> bool {
        let mut next = Some(block);
        while let Some(block) = next
            && self.step()
        {
            if let Some(fact) = self.fact_of_block(block)
                && says(self, fact, block)
            {
                return true;
            }
            next = self.domtree.idom(block);
        }
        false
    }

    /// Whether `x` is less than `y` in a block.
    fn is_less(&mut self, order: Order, x: Value, y: Value, block: Block, depth: u32) -> bool {
        if let (Some(x), Some(y)) = (self.number(order, x), self.number(order, y)) {
            return x < y;
        }
        self.some_branch(block, |this, fact, block| {
            this.says_less(fact, order, x, y, block, depth)
        }) || self.is_less_by_induction(order, x, y, depth)
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
        self.some_branch(block, |this, fact, _| {
            let less = this.number(Order::Signed, fact.less);
            fact.more == x
                && fact.order == Order::Signed
                && less.is_some_and(|less| less >= -i128::from(!fact.or_equal))
        })
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
        self.some_branch(block, |this, fact, _| this.bounds_by(fact, x, largest))
            || self.is_bounded_by_loop(x, largest, depth)
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
