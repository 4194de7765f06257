//! Labels of blocks that catch exceptions, and those that handlers go to.

use super::super::exceptions::Scope;
use super::super::function::Lowering;
use super::super::legacy::TryLabel;
use super::{LabelKind, LabelType};
use wasmparser::BlockType;

/// A label that a handler goes to.
#[derive(Clone, Copy)]
pub(in super::super) struct LandingLabel(usize);

impl Lowering<'_, '_> {
    /// Opens a `try_table`.
    pub(in super::super) fn open_try_table(&mut self, ty: BlockType, scope: Scope) {
        self.open(LabelKind::TryTable(scope), LabelType::Block(ty));
        self.set_handlers(Some(scope));
    }

    /// Opens a `try`.
    pub(in super::super) fn open_try(&mut self, ty: BlockType, label: TryLabel) {
        self.open(LabelKind::Try(label), LabelType::Block(ty));
    }

    /// From here on, `scope` catches what is thrown in the innermost block.
    pub(in super::super) fn set_handlers(&mut self, scope: Option<Scope>) {
        let label = self.labels.last_mut().expect("validated: an open block");
        label.inside = scope;
        self.handlers.current = scope;
    }

    /// Who catches what is thrown in the block of a label.
    pub(in super::super) fn handlers_inside(&self, depth: u32) -> Option<Scope> {
        self.labels[self.label_at(depth)].inside
    }

    /// The innermost block, a `try`.
    pub(in super::super) fn innermost_try(&mut self) -> &mut TryLabel {
        self.try_at(0)
    }

    /// The `try` of a label.
    pub(in super::super) fn try_at(&mut self, depth: u32) -> &mut TryLabel {
        let label = self.label_at(depth);
        match &mut self.labels[label].kind {
            LabelKind::Try(label) => label,
            _ => unreachable!("validated: a `try`"),
        }
    }

    /// The body of a `try`, or a handler of it, has ended, and another handler begins.
    pub(in super::super) fn end_part(&mut self) {
        let innermost = self.labels.len() - 1;
        if self.unreachable.is_none() {
            self.flush_fuel();
            self.jump_to_join(innermost);
        }
        let label = &self.labels[innermost];
        let (height, facts, checks) = (label.height, label.facts, label.checks);
        let outside = label.outside;
        self.stack.truncate(height);
        self.facts.forget_to(facts);
        self.checks.return_to(checks);
        self.set_handlers(outside);
    }

    /// The label of a handler.
    pub(in super::super) fn landing_label(&self, depth: u32) -> LandingLabel {
        LandingLabel(self.label_at(depth))
    }

    /// Branches to the label of a handler with its operands on top of the stack.
    pub(in super::super) fn jump_to_landing_label(&mut self, label: LandingLabel) {
        self.jump_to_label(label.0);
    }
}
