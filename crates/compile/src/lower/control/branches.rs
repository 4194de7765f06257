//! Branches to labels.

use super::super::function::{Lowering, malformed};
use super::LabelKind;
use crate::error::Result;
use cranelift_codegen::ir::{Block, Inst, InstBuilder, JumpTableData, Value};
use sarsen_abi::types::HeapType;
use wasmparser::BrTable;

impl Lowering<'_, '_> {
    /// `br`
    pub(in crate::lower) fn br(&mut self, depth: u32) {
        self.flush_fuel();
        let label = self.label_at(depth);
        if label == 0 {
            self.emit_return();
        } else {
            self.jump_to_label(label);
        }
        self.stop();
    }

    pub(super) fn jump_to_label(&mut self, label: usize) {
        let arity = self.branch_arity(label);
        let args = self.top_args(arity);
        let destination = self.destination(label);
        self.builder.ins().jump(destination, &args);
    }

    /// Branches from the block `taken` to a label with its operands on top of the stack, and goes on in
    /// `next`.
    pub(in crate::lower) fn br_from(&mut self, depth: u32, taken: Block, next: Block) {
        self.continue_in(taken);
        self.jump_to_label_at(depth);
        self.continue_in(next);
    }

    /// The heap type of the last operand that a branch to a label passes, if that is a reference.
    pub(in crate::lower) fn last_operand_of_label(&self, depth: u32) -> Option<HeapType> {
        let label = &self.labels[self.label_at(depth)];
        let reprs = match label.kind {
            LabelKind::Loop { .. } => self.param_reprs(label.ty),
            _ => self.result_reprs(label.ty),
        };
        Some(reprs.last()?.reference?.heap)
    }

    /// Branches to a label with its operands on top of the stack; the block that the builder is in ends.
    pub(in crate::lower) fn jump_to_label_at(&mut self, depth: u32) {
        let label = self.label_at(depth);
        self.jump_to_label(label);
    }

    /// `br_if`
    pub(in crate::lower) fn br_if(&mut self, depth: u32) {
        let condition = self.pop();
        let branch = self.br_if_nonzero(depth, condition);
        self.take_hint(branch);
    }

    /// Branches to a label with its operands on top of the stack if `condition` is not zero.
    pub(in crate::lower) fn br_if_nonzero(&mut self, depth: u32, condition: Value) -> Inst {
        self.flush_fuel();
        let label = self.label_at(depth);
        let arity = self.branch_arity(label);
        let args = self.top_args(arity);
        let destination = self.destination(label);
        let next = self.builder.create_block();
        let branch = self
            .builder
            .ins()
            .brif(condition, destination, &args, next, &[]);
        self.continue_in(next);
        branch
    }

    /// `br_table`
    pub(in crate::lower) fn br_table(&mut self, table: &BrTable<'_>) -> Result<()> {
        self.flush_fuel();
        let index = self.pop();
        let default = self.label_at(table.default());
        let arity = self.branch_arity(default);
        let args = self.top_args(arity);
        self.count_passed(args.len().saturating_mul(table.len() as usize));
        self.check_size()?;
        let mut branch_call = |depth: u32| {
            let label = self.label_at(depth);
            let destination = self.destination(label);
            self.builder.func.dfg.block_call(destination, &args)
        };
        let mut calls = Vec::with_capacity(table.len() as usize);
        for depth in table.targets() {
            calls.push(branch_call(depth.map_err(malformed)?));
        }
        let default = branch_call(table.default());
        let table = JumpTableData::new(default, &calls);
        let table = self.builder.create_jump_table(table);
        self.builder.ins().br_table(index, table);
        self.stop();
        Ok(())
    }

    /// `return`, of the function that the instruction belongs to.
    pub(in crate::lower) fn return_(&mut self) {
        let depth = self.labels.len() - 1 - self.frame.floor;
        self.br(depth as u32);
    }
}
