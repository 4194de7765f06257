//! Branch hints: code that seldom runs is put out of the way.
//!
//! A hint makes one of a branch's two edges *cold*. What is cold is known when the whole function has
//! been lowered: a block to which no way leads from the function's beginning but by a cold edge. So
//! blocks behind a cold one are cold too, and a join that is also reached otherwise is not.
//!
//! The hints come from [`crate::read`], and mean nothing but a block's place in the machine code.

use super::function::Lowering;
use cranelift_codegen::entity::EntitySet;
use cranelift_codegen::ir::{Block, Inst};
use std::collections::HashSet;

/// Which side of a conditional branch: its position among the destinations.
const TAKEN: usize = 0;
const NOT_TAKEN: usize = 1;

/// The edges that are seldom taken: a conditional branch, and which side of it.
#[derive(Default)]
pub(super) struct ColdEdges(HashSet<(Inst, usize)>);

impl Lowering<'_, '_> {
    /// Takes the hint for the current instruction, if there is one: `branch` takes its first side where
    /// the instruction would branch.
    pub(super) fn take_hint(&mut self, branch: Inst) {
        if let Some(is_likely) = self.hint() {
            let cold = if is_likely { NOT_TAKEN } else { TAKEN };
            self.cold_edges.0.insert((branch, cold));
        }
    }

    /// Takes the hint for the current instruction, if there is one, where it branches to `taken` or
    /// `otherwise` in more than one place.
    pub(super) fn take_hint_for_blocks(&mut self, taken: Block, otherwise: Block) {
        if let Some(is_likely) = self.hint() {
            let cold = if is_likely { otherwise } else { taken };
            self.builder.set_cold_block(cold);
        }
    }

    /// Whether the current instruction is said to branch, or not to.
    fn hint(&self) -> Option<bool> {
        let defined = self.cx.module.defined_func(self.frame.func);
        let body = self.cx.body(defined.expect("it has a body"));
        let offset = self.source.offset() - body.body.range().start;
        let offset = u32::try_from(offset).ok()?;
        body.hints.is_likely(offset)
    }

    /// Marks the blocks that seldom run. The function is complete.
    pub(super) fn mark_cold_blocks(&mut self) {
        if self.cold_edges.0.is_empty() {
            return;
        }
        let func = &mut *self.builder.func;
        // Blocks were laid out as they were lowered: but for loops, edges lead forward.
        let blocks: Vec<Block> = func.layout.blocks().collect();
        let mut warm = EntitySet::new();
        warm.extend(func.layout.entry_block());
        for block in blocks {
            if !warm.contains(block) {
                func.layout.set_cold(block);
            }
            if func.layout.is_cold(block) {
                continue;
            }
            let Some(last) = func.layout.last_inst(block) else {
                continue;
            };
            let dfg = &func.dfg;
            let destinations =
                dfg.insts[last].branch_destination(&dfg.jump_tables, &dfg.exception_tables);
            for (side, destination) in destinations.iter().enumerate() {
                if !self.cold_edges.0.contains(&(last, side)) {
                    warm.insert(destination.block(&dfg.value_lists));
                }
            }
        }
    }
}
