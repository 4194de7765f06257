//! Inlining: small functions of the module are lowered in place of a direct call.
//!
//! The callee's instructions are lowered into the caller as if they stood there, with locals and a
//! label of their own; what makes them recognizable afterwards is the inline context of their source
//! points. A `return` is a branch to the end of the inlined body. A call's stack frame is all that is
//! missing; a recursion is inlined into itself once at most, so it still exhausts the stack.
//!
//! What is inlined is decided by size alone, within a budget for each caller: nothing is known yet of
//! how often a call runs.

use super::ModuleContext;
use super::function::{Frame, Lowering};
use super::local::Local;
use super::signature::Repr;
use crate::error::Result;
use cranelift_frontend::Variable;
use sarsen_abi::{DefinedFuncIndex, FuncIndex};
use wasmparser::Operator;

/// Functions of at most this many bytes of instructions are inlined.
const MAX_SIZE: u32 = 40;
/// Functions of at most this many are, if they call nothing.
const MAX_LEAF_SIZE: u32 = 100;
/// How many inlined functions may enclose one another.
const MAX_DEPTH: usize = 4;
/// How often a function may be inlined into itself: once makes a recursion of half as many calls.
const MAX_RECURSION: usize = 1;
/// A function grows by at most this many bytes of instructions, and half of its own size ...
const MIN_BUDGET: u32 = 200;
/// ... but by no more than this.
const MAX_BUDGET: u32 = 4000;
/// The number of parameters and locals that are kept track of.
const MAX_LOCALS: usize = u64::BITS as usize;

/// A function that may be inlined.
#[derive(Debug)]
pub(super) struct Candidate {
    /// How many bytes of instructions it has.
    size: u32,
    /// Which of its parameters and locals it writes: the bits of their numbers.
    written: u64,
}

/// How far inlining has come in a function.
pub(super) struct InlineState {
    /// The functions that are being lowered, each in its predecessor.
    active: Vec<FuncIndex>,
    /// How many more bytes may be inlined.
    budget: u32,
    /// Variables of inlined functions that are done. They are used again because Cranelift's memory for
    /// a variable grows with the number of the last block that defines it.
    free_variables: Vec<(Repr, Variable)>,
}

impl InlineState {
    /// The state at the beginning of `func`.
    pub(super) fn new(cx: &ModuleContext<'_>, func: FuncIndex) -> Self {
        let size = cx.module.defined_func(func).map(|f| cx.body(f).size);
        let budget = MIN_BUDGET + size.unwrap_or_default() / 2;
        InlineState {
            active: vec![func],
            budget: budget.min(MAX_BUDGET),
            free_variables: Vec::new(),
        }
    }

    /// A variable that nothing uses any more.
    pub(super) fn reuse_variable(&mut self, repr: Repr) -> Option<Variable> {
        let position = self
            .free_variables
            .iter()
            .position(|(r, _)| r.is_alike(&repr))?;
        Some(self.free_variables.swap_remove(position).1)
    }

    /// Takes the variables of an inlined function that is done.
    fn reclaim_variables(&mut self, locals: &[Local]) {
        for local in locals {
            if let Local::Variable { variable, repr } = *local {
                self.free_variables.push((repr, variable));
            }
        }
    }
}

/// Whether `func` may be inlined anywhere.
pub(super) fn examine(cx: &ModuleContext<'_>, func: DefinedFuncIndex) -> Option<Candidate> {
    let body = cx.body(func);
    // The locals' declarations count too, which only matters to functions that declare dozens.
    if body.size > MAX_LEAF_SIZE {
        return None;
    }
    let ty = cx.module.func_type(cx.module.func_index(func));
    let mut locals = ty.params.len() as u64;
    for run in body.body.get_locals_reader().ok()? {
        locals += u64::from(run.ok()?.0);
    }
    if locals > MAX_LOCALS as u64 {
        return None;
    }
    let mut written = 0;
    let mut calls = false;
    let mut before_end = None;
    let mut reader = body.body.get_operators_reader().ok()?;
    while !reader.is_end_then_eof() {
        let operator = reader.read().ok()?;
        match operator {
            Operator::LocalSet { local_index } | Operator::LocalTee { local_index } => {
                written |= 1 << local_index;
            }
            Operator::Call { .. }
            | Operator::CallIndirect { .. }
            | Operator::CallRef { .. }
            | Operator::ReturnCall { .. }
            | Operator::ReturnCallIndirect { .. }
            | Operator::ReturnCallRef { .. }
            | Operator::Throw { .. }
            | Operator::ThrowRef
            | Operator::Rethrow { .. } => calls = true,
            _ => {}
        }
        before_end = Some(operator);
    }
    // What reports a failure and never comes back is better left out of the way.
    let fails = calls && matches!(before_end, Some(Operator::Unreachable));
    let max_size = if calls { MAX_SIZE } else { MAX_LEAF_SIZE };
    (!fails && body.size <= max_size).then_some(Candidate {
        size: body.size,
        written,
    })
}

impl Lowering<'_, '_> {
    /// Whether a call of `func` is to be replaced by its body here.
    pub(super) fn should_inline(&self, func: DefinedFuncIndex) -> bool {
        let index = self.cx.module.func_index(func);
        self.cx.settings.inlining
            && self.inline.active.len() <= MAX_DEPTH
            && self.inline.active.iter().filter(|&&f| f == index).count() <= MAX_RECURSION
            && self
                .cx
                .candidate(func)
                .is_some_and(|candidate| candidate.size <= self.inline.budget)
    }

    /// Whether the current instruction belongs to the function that is compiled.
    pub(super) fn is_own_frame(&self) -> bool {
        self.inline.active.len() == 1
    }

    /// Lowers the body of `func` in place of a call of it.
    pub(super) fn inline_call(&mut self, func: DefinedFuncIndex) -> Result<()> {
        let cx = self.cx;
        let candidate = cx.candidate(func).expect("it was decided to inline it");
        let index = cx.module.func_index(func);
        let body = cx.body(func);
        let call = self.source.enter(index);
        self.inline.active.push(index);
        self.inline.budget -= candidate.size;
        let frame = self.frame_of_call(index, candidate);
        let caller = std::mem::replace(&mut self.frame, frame);
        self.declare_locals(body, None, |local| candidate.writes(local))?;
        self.open_body(cx.module.funcs[index.index()]);
        self.lower_instructions(body)?;
        let callee = std::mem::replace(&mut self.frame, caller);
        self.inline.reclaim_variables(&callee.locals);
        self.inline.active.pop();
        self.source.leave(call);
        self.builder.set_srcloc(call);
        Ok(())
    }

    /// The frame of an inlined function, with its arguments, which are popped.
    fn frame_of_call(&mut self, func: FuncIndex, candidate: &Candidate) -> Frame {
        let params = &self.cx.module.func_type(func).params;
        let first = self.stack.len() - params.len();
        let mut locals = Vec::with_capacity(params.len());
        for (number, ty) in params.iter().enumerate() {
            let argument = self.stack[first + number];
            locals.push(if candidate.writes(number) {
                self.new_local(Repr::of(ty), argument)
            } else {
                Local::Value(argument, Repr::of(ty))
            });
        }
        self.stack.truncate(first);
        Frame {
            func,
            floor: self.labels.len(),
            locals,
            loops: None,
            handlers: self.handlers.current,
        }
    }
}

impl Candidate {
    /// Whether it writes the parameter or local with this number.
    fn writes(&self, local: usize) -> bool {
        self.written >> local & 1 != 0
    }
}
