//! Structured control: blocks, loops, branches, returns, and code that cannot be reached.
//!
//! ```text
//!   block … end        … continue in a "join" block, made when something branches to it
//!   loop  … end        a "header" block at the beginning
//!   if … else … end    two blocks and a join
//!   a function's body  like a block; but what leaves the function that is compiled returns
//! ```
//!
//! A branch passes the label's operands as block arguments. A join that nothing branches to is never
//! made: then the code after `end` simply follows.
//!
//! After an instruction that does not continue, nothing is lowered until the `else` or `end` of the
//! innermost open block; blocks inside that are only counted. So every open [`Label`] is one whose
//! beginning can be reached. Nothing here recurses over the nesting of blocks.

mod branches;
mod tries;

pub(super) use tries::LandingLabel;

use super::checked::ChecksSoFar;
use super::exceptions::Scope;
use super::facts::Mark;
use super::function::{Lowering, trap_code};
use super::interrupt::FuelCounter;
use super::legacy::TryLabel;
use super::signature::Repr;
use crate::error::Result;
use cranelift_codegen::ir::{Block, BlockArg, Inst, InstBuilder, Value};
use sarsen_abi::types::RefType;
use sarsen_abi::{TrapCode, TypeIndex};
use smallvec::SmallVec;
use wasmparser::{BlockType, Operator};

/// A block that is open: what a branch can name.
pub(super) struct Label {
    kind: LabelKind,
    ty: LabelType,
    /// The number of operands below its parameters.
    height: usize,
    /// Where the code after `end` begins, if something branches there.
    join: Option<Block>,
    /// The bounds checks that dominate it.
    checks: ChecksSoFar,
    /// What was known of references where it was opened: it holds at `else` and where branches meet.
    facts: Mark,
    /// Who catches what is thrown outside of it, and what is thrown inside.
    outside: Option<Scope>,
    inside: Option<Scope>,
}

enum LabelKind {
    /// The body of the function that is compiled, or of an inlined one.
    Body,
    Block,
    Loop {
        header: Block,
    },
    /// `if`, before an `else`.
    Then {
        /// The one branch to `otherwise`, unless there may be several.
        branch: Option<Inst>,
        otherwise: Block,
        params: SmallVec<[Value; 2]>,
        /// What is known at `else` besides what was before.
        learned: Option<(Value, RefType)>,
    },
    Else,
    TryTable(Scope),
    Try(TryLabel),
}

#[derive(Clone, Copy)]
enum LabelType {
    Block(BlockType),
    /// A body: the results of this function type.
    Body(TypeIndex),
}

pub(super) type Args = SmallVec<[BlockArg; 4]>;
type Reprs = SmallVec<[Repr; 4]>;

impl Lowering<'_, '_> {
    // Types of labels.

    fn param_count(&self, ty: LabelType) -> usize {
        match ty {
            LabelType::Block(BlockType::FuncType(index)) => self.block_func_type(index).0.len(),
            LabelType::Block(BlockType::Empty | BlockType::Type(_)) | LabelType::Body(_) => 0,
        }
    }

    fn param_reprs(&self, ty: LabelType) -> Reprs {
        match ty {
            LabelType::Block(BlockType::FuncType(index)) => {
                self.block_func_type(index).0.iter().map(Repr::of).collect()
            }
            LabelType::Block(BlockType::Empty | BlockType::Type(_)) | LabelType::Body(_) => {
                Reprs::new()
            }
        }
    }

    fn result_count(&self, ty: LabelType) -> usize {
        match ty {
            LabelType::Block(BlockType::Empty) => 0,
            LabelType::Block(BlockType::Type(_)) => 1,
            LabelType::Block(BlockType::FuncType(index)) => self.block_func_type(index).1.len(),
            LabelType::Body(index) => self.cx.module.func_type_at(index).results.len(),
        }
    }

    fn result_reprs(&self, ty: LabelType) -> Reprs {
        match ty {
            LabelType::Block(BlockType::Empty) => Reprs::new(),
            LabelType::Block(BlockType::Type(ty)) => {
                Reprs::from_slice(&[Repr::of_parsed(self.cx.module, ty)])
            }
            LabelType::Block(BlockType::FuncType(index)) => {
                self.block_func_type(index).1.iter().map(Repr::of).collect()
            }
            LabelType::Body(index) => {
                let results = &self.cx.module.func_type_at(index).results;
                results.iter().map(Repr::of).collect()
            }
        }
    }

    fn block_func_type(
        &self,
        index: u32,
    ) -> (&[sarsen_abi::types::ValType], &[sarsen_abi::types::ValType]) {
        let ty = self.cx.module.func_type_at(TypeIndex::new(index));
        (&ty.params, &ty.results)
    }

    // Labels.

    /// A block with parameters of these representations.
    pub(super) fn block_with_params(&mut self, params: &[Repr]) -> Block {
        self.count_passed(params.len());
        let block = self.builder.create_block();
        for &repr in params {
            let value = self.builder.append_block_param(block, repr.ty);
            self.note_repr(value, repr);
        }
        block
    }

    fn open(&mut self, kind: LabelKind, ty: LabelType) {
        let height = self.stack.len() - self.param_count(ty);
        self.labels.push(Label {
            kind,
            ty,
            height,
            join: None,
            checks: self.checks.so_far(),
            facts: self.facts.mark(),
            outside: self.handlers.current,
            inside: self.handlers.current,
        });
    }

    fn label_at(&self, depth: u32) -> usize {
        self.labels.len() - 1 - depth as usize
    }

    /// The join block of a label, which something is about to branch to.
    fn join(&mut self, label: usize) -> Block {
        if let Some(join) = self.labels[label].join {
            return join;
        }
        let results = self.result_reprs(self.labels[label].ty);
        let join = self.block_with_params(&results);
        self.labels[label].join = Some(join);
        join
    }

    /// Where a branch to a label goes.
    fn destination(&mut self, label: usize) -> Block {
        match self.labels[label].kind {
            LabelKind::Loop { header } => header,
            _ => self.join(label),
        }
    }

    /// How many operands a branch to a label passes.
    fn branch_arity(&self, label: usize) -> usize {
        let label = &self.labels[label];
        match label.kind {
            LabelKind::Loop { .. } => self.param_count(label.ty),
            _ => self.result_count(label.ty),
        }
    }

    /// The topmost operands, to be passed to a block.
    pub(super) fn top_args(&mut self, count: usize) -> Args {
        self.count_passed(count);
        self.top(count).iter().map(|&v| v.into()).collect()
    }

    /// The rest of the innermost block cannot be reached.
    pub(super) fn stop(&mut self) {
        debug_assert!(self.unreachable.is_none());
        self.unreachable = Some(0);
        self.fuel = FuelCounter::default();
    }

    // Instructions.

    /// Opens the label of a body of this function type.
    pub(super) fn open_body(&mut self, ty: TypeIndex) {
        self.open(LabelKind::Body, LabelType::Body(ty));
    }

    /// `block`
    pub(super) fn block(&mut self, ty: BlockType) {
        self.open(LabelKind::Block, LabelType::Block(ty));
    }

    /// `loop`, which is at `offset` bytes from the beginning of the module
    pub(super) fn loop_(&mut self, ty: BlockType, offset: u64) -> Result<()> {
        self.flush_fuel();
        let invariants = self.loop_invariants(offset)?;
        let ty = LabelType::Block(ty);
        let params = self.param_reprs(ty);
        let header = self.block_with_params(&params);
        let args = self.top_args(params.len());
        self.builder.ins().jump(header, &args);
        self.builder.switch_to_block(header);
        for (variable, value) in invariants {
            self.builder.def_var(variable, value);
        }
        self.open(LabelKind::Loop { header }, ty);
        let height = self.stack.len() - params.len();
        self.stack.truncate(height);
        self.stack.extend(self.builder.block_params(header));
        self.interruption_point();
        Ok(())
    }

    /// `if`
    pub(super) fn if_(&mut self, ty: BlockType) {
        self.flush_fuel();
        let ty = LabelType::Block(ty);
        let condition = self.pop();
        let then = self.builder.create_block();
        let otherwise = self.builder.create_block();
        let branch = self
            .builder
            .ins()
            .brif(condition, then, &[], otherwise, &[]);
        self.take_hint(branch);
        self.open_then(ty, Some(branch), otherwise, None);
        self.continue_in(then);
    }

    /// `if`, whose condition has been turned into branches to `then` and `otherwise`. Each of the two may
    /// know more of a reference.
    pub(super) fn if_branched(
        &mut self,
        ty: BlockType,
        [then, otherwise]: [Block; 2],
        [at_then, at_else]: [Option<(Value, RefType)>; 2],
    ) {
        self.open_then(LabelType::Block(ty), None, otherwise, at_else);
        self.continue_in(then);
        if let Some((value, ty)) = at_then {
            self.learn(value, ty);
        }
    }

    fn open_then(
        &mut self,
        ty: LabelType,
        branch: Option<Inst>,
        otherwise: Block,
        learned: Option<(Value, RefType)>,
    ) {
        let params = SmallVec::from_slice(self.top(self.param_count(ty)));
        let kind = LabelKind::Then {
            branch,
            otherwise,
            params,
            learned,
        };
        self.open(kind, ty);
    }

    /// `else`
    pub(super) fn else_(&mut self) {
        if self.unreachable.is_some_and(|depth| depth > 0) {
            return;
        }
        let innermost = self.labels.len() - 1;
        if self.unreachable.is_none() {
            self.flush_fuel();
            self.jump_to_join(innermost);
        }
        let label = &mut self.labels[innermost];
        let LabelKind::Then {
            otherwise,
            params,
            learned,
            ..
        } = std::mem::replace(&mut label.kind, LabelKind::Else)
        else {
            unreachable!("validated: `else` belongs to an `if`");
        };
        self.stack.truncate(label.height);
        self.stack.extend(params);
        self.checks.return_to(label.checks);
        self.unreachable = None;
        self.facts.forget_to(label.facts);
        self.continue_in(otherwise);
        if let Some((value, ty)) = learned {
            self.learn(value, ty);
        }
    }

    /// `end`
    pub(super) fn end(&mut self) {
        if let Some(depth) = self.unreachable.filter(|&depth| depth > 0) {
            self.unreachable = Some(depth - 1);
            return;
        }
        let innermost = self.labels.len() - 1;
        self.end_without_else(innermost);
        // Landing blocks come between the end and what follows.
        let landings = match self.labels[innermost].kind {
            LabelKind::TryTable(scope) if self.handlers.has_landings(scope) => Some(scope),
            _ => None,
        };
        if landings.is_some() && self.unreachable.is_none() {
            self.join(innermost);
        }
        let is_own_body = innermost == 0;
        if self.unreachable.is_none() {
            if is_own_body {
                self.emit_return();
            } else if self.labels[innermost].join.is_some() {
                self.flush_fuel();
                self.jump_to_join(innermost);
            }
        }
        let label = self.labels.pop().expect("validated: an open block");
        if let LabelKind::Loop { header } = label.kind {
            self.builder.seal_block(header);
        }
        self.handlers.current = label.outside;
        if let Some(scope) = landings {
            self.facts.forget_to(label.facts);
            self.checks.return_to(label.checks);
            self.write_landings(scope);
        }
        if let Some(join) = label.join {
            self.unreachable = None;
            self.facts.forget_to(label.facts);
            self.stack.truncate(label.height);
            self.stack.extend(self.builder.block_params(join));
            self.checks.return_to(label.checks);
            self.continue_in(join);
            if is_own_body {
                self.emit_return();
            }
        } else if self.unreachable.is_some() {
            self.stack.truncate(label.height);
        }
        debug_assert!(
            self.unreachable.is_some()
                || self.stack.len() == label.height + self.result_count(label.ty)
        );
    }

    /// If the label is an `if` without `else`: lets the branch's other side go on after `end`, with
    /// the block's parameters.
    fn end_without_else(&mut self, label: usize) {
        let kind = &mut self.labels[label].kind;
        if !matches!(kind, LabelKind::Then { .. }) {
            return;
        }
        let LabelKind::Then {
            branch,
            otherwise,
            params,
            ..
        } = std::mem::replace(kind, LabelKind::Else)
        else {
            unreachable!("just matched");
        };
        // The end of `then` comes first: it leaves the block that the builder is in.
        if self.unreachable.is_none() {
            self.flush_fuel();
            self.jump_to_join(label);
            self.stop();
        }
        let join = self.join(label);
        if let Some(branch) = branch
            && params.is_empty()
        {
            self.builder
                .change_jump_destination(branch, otherwise, join);
        } else {
            let args: Args = params.iter().map(|&v| v.into()).collect();
            self.continue_in(otherwise);
            self.builder.ins().jump(join, &args);
        }
    }

    fn jump_to_join(&mut self, label: usize) {
        let join = self.join(label);
        let arity = self.result_count(self.labels[label].ty);
        let args = self.top_args(arity);
        self.builder.ins().jump(join, &args);
    }

    /// Returns from the function that is compiled.
    fn emit_return(&mut self) {
        self.flush_fuel();
        let count = self.cx.module.func_type(self.frame.func).results.len();
        let results: SmallVec<[Value; 4]> = SmallVec::from_slice(self.top(count));
        self.builder.ins().return_(&results);
    }

    /// `unreachable`
    pub(super) fn trap_unreachable(&mut self) {
        self.mark();
        self.builder.ins().trap(trap_code(TrapCode::Unreachable));
        self.stop();
    }

    /// Lowers an instruction that cannot be reached: only where blocks begin and end matters.
    pub(super) fn skip(&mut self, operator: &Operator<'_>) {
        match operator {
            Operator::Block { .. }
            | Operator::Loop { .. }
            | Operator::If { .. }
            | Operator::Try { .. }
            | Operator::TryTable { .. } => {
                *self.unreachable.get_or_insert(0) += 1;
            }
            Operator::Catch { .. } | Operator::CatchAll => self.catch(),
            Operator::Delegate { .. } => self.end(),
            Operator::Else => self.else_(),
            Operator::End => self.end(),
            _ => {}
        }
    }
}
