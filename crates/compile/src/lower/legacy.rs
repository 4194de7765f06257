//! The exception instructions of before the standard: `try`, `catch`, `catch_all`, `delegate`, `rethrow`.
//!
//! A handler's code follows the body that it protects, so what a `try` catches is not known when its body is
//! lowered: each function with a `try` is looked through once before. Apart from that a `catch` is a clause
//! whose target is the code that follows ([`super::exceptions`]), `delegate` goes on in the scopes of another
//! block, and `rethrow` throws the exception that a handler has kept.

use super::exceptions::Scope;
use super::function::{Lowering, malformed};
use crate::error::Result;
use cranelift_codegen::ir::Value;
use sarsen_abi::{FuncIndex, TagIndex};
use std::collections::{HashMap, HashSet};
use wasmparser::{BlockType, Operator};

/// What is known of the `try` instructions of the functions that are being lowered.
#[derive(Default)]
pub(super) struct Tries {
    scanned: HashSet<FuncIndex>,
    /// By their offset from the beginning of the module.
    found: HashMap<u64, Try>,
}

/// What follows the body of a `try`.
#[derive(Clone, Default)]
struct Try {
    /// Its handlers: the tag, and whether the exception is thrown again.
    clauses: Vec<(Option<TagIndex>, bool)>,
    /// The block whose handlers get all exceptions.
    delegate: Option<u32>,
}

/// A `try` that is open.
pub(super) struct TryLabel {
    scope: Scope,
    /// How many handlers have begun.
    begun: usize,
    /// The exception that the current one has caught, if it is thrown again.
    caught: Option<Value>,
}

impl Lowering<'_, '_> {
    /// `try`, which is at `offset` bytes from the beginning of the module.
    pub(super) fn try_(&mut self, ty: BlockType, offset: u64) -> Result<()> {
        let func = self.frame.func;
        if self.handlers.legacy.scanned.insert(func) {
            self.find_tries(func)?;
        }
        let found = self.handlers.legacy.found.get(&offset).cloned();
        let Try { clauses, delegate } = found.expect("every `try` was found");
        if let Some(depth) = delegate {
            let inside = self.handlers_inside(depth);
            self.block(ty);
            self.set_handlers(inside);
            return Ok(());
        }
        let scope = self.handlers.open_bodies(&clauses);
        self.open_try(
            ty,
            TryLabel {
                scope,
                begun: 0,
                caught: None,
            },
        );
        self.set_handlers(Some(scope));
        Ok(())
    }

    /// Looks for the `try` instructions of a function.
    fn find_tries(&mut self, func: FuncIndex) -> Result<()> {
        let cx = self.cx;
        let body = cx.body(cx.module.defined_func(func).expect("it has a body"));
        // The `try` that each open block is, if it is one.
        let mut open: Vec<Option<u64>> = vec![None];
        let found = &mut self.handlers.legacy.found;
        let mut reader = body.body.get_operators_reader().map_err(malformed)?;
        while !reader.eof() {
            let offset = reader.original_position();
            match reader.read().map_err(malformed)? {
                Operator::Try { .. } => {
                    found.insert(offset, Try::default());
                    open.push(Some(offset));
                }
                Operator::Block { .. }
                | Operator::Loop { .. }
                | Operator::If { .. }
                | Operator::TryTable { .. } => open.push(None),
                Operator::Catch { tag_index } => {
                    let clause = (Some(TagIndex::new(tag_index)), false);
                    open_try(found, &open, 0).clauses.push(clause);
                }
                Operator::CatchAll => open_try(found, &open, 0).clauses.push((None, false)),
                Operator::Delegate { relative_depth } => {
                    open_try(found, &open, 0).delegate = Some(relative_depth);
                    open.pop();
                }
                Operator::Rethrow { relative_depth } => {
                    let clauses = &mut open_try(found, &open, relative_depth).clauses;
                    clauses.last_mut().expect("validated: in a handler").1 = true;
                }
                Operator::End => {
                    open.pop();
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// `catch` and `catch_all`
    pub(super) fn catch(&mut self) {
        if self.unreachable.is_some_and(|depth| depth > 0) {
            return;
        }
        self.end_part();
        let label = self.innermost_try();
        let (scope, position) = (label.scope, label.begun);
        label.begun += 1;
        self.unreachable = None;
        match self.begin_body(scope, position) {
            Some(caught) => {
                self.innermost_try().caught = caught.exception;
                self.stack.extend(caught.arguments);
            }
            None => self.stop(),
        }
    }

    /// `rethrow`
    pub(super) fn rethrow(&mut self, depth: u32) {
        self.flush_fuel();
        let caught = self.try_at(depth).caught;
        self.throw_exception(caught.expect("it was kept"));
    }
}

fn open_try<'t>(found: &'t mut HashMap<u64, Try>, open: &[Option<u64>], depth: u32) -> &'t mut Try {
    let label = open[open.len() - 1 - depth as usize];
    let offset = label.expect("validated: a `try`");
    found.get_mut(&offset).expect("inserted when it was opened")
}
