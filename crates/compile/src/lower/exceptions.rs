//! Exceptions: throwing, and calls in places where somebody catches.
//!
//! ```text
//!   try_table (catch $a 0) (catch_all 1)
//!     call $f          ─►  try_call f, returned, [ context vmctx, tag a: landing0, default: landing1 ]
//!   end
//!                      landing0(exception):  load the arguments, branch to label 0
//!                      landing1(exception):  branch to label 1
//! ```
//!
//! Every clause that something may land at has one block for all calls inside; it is written when the
//! `try_table` ends, as then all that lands there is known. Who catches is a chain of *scopes*: a call has the
//! handlers of all scopes around it, innermost first, those of callers that the function is inlined into
//! included.
//!
//! A `throw` whose handler is known, because nothing between them may take the exception, is a branch: the
//! exception is made only if somebody asks for a reference to it.

use super::call::Callee;
use super::control::LandingLabel;
use super::function::{Lowering, MAX_PASSED, trap_code};
use super::gc::Arguments;
use super::signature::Repr;
use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{
    Block, BlockArg, BlockCall, ExceptionTableData, ExceptionTableItem, ExceptionTag, InstBuilder,
    SigRef, Value,
};
use sarsen_abi::types::{AbstractHeapType, HeapType, RefType};
use sarsen_abi::{Builtin, TagIndex, TrapCode};
use smallvec::SmallVec;
use std::collections::HashSet;
use std::rc::Rc;
use wasmparser::{Catch, TryTable};

/// An edge from a call to a handler counts as so many values that are passed.
const EDGE_SIZE: usize = 8;

/// So many locals count as one value that an edge to a handler passes: few are used there, as a rule.
const LOCALS_PASSED_AS_ONE: usize = 4;

/// A scope: the handlers of one `try_table` or `try`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Scope(u32);

/// What is known of handlers in a function.
#[derive(Default)]
pub(super) struct Handlers {
    scopes: Vec<ScopeState>,
    clauses: Vec<Clause>,
    /// The innermost scope around the current instruction.
    pub(super) current: Option<Scope>,
    pub(super) legacy: super::legacy::Tries,
}

struct ScopeState {
    /// Who gets what the scope does not take.
    outer: Option<Scope>,
    /// Its clauses: the first, and how many.
    first: usize,
    count: usize,
    /// The clauses that a call inside may land at, once there was a call.
    reachable: Option<Rc<[usize]>>,
}

/// A handler.
struct Clause {
    /// The tag that it takes; `None` takes all.
    tag: Option<TagIndex>,
    /// Whether it wants a reference to the exception.
    wants_reference: bool,
    target: Target,
    /// Where calls land, once there was one.
    landing: Option<Block>,
}

/// Where a handler goes.
#[derive(Clone, Copy)]
enum Target {
    /// To a label, with the arguments and the reference.
    Label(LandingLabel),
    /// To code that follows the body, which begins in this block, once a `throw` goes there.
    Body(Option<Block>),
}

/// What a handler that is about to be lowered begins with.
pub(super) struct Caught {
    /// The exception's arguments.
    pub(super) arguments: Arguments,
    /// The exception, if the handler wants it.
    pub(super) exception: Option<Value>,
}

type Values = SmallVec<[Value; 8]>;

impl Handlers {
    /// A new scope, inside of the current one.
    fn open(&mut self, clauses: impl Iterator<Item = Clause>) -> Scope {
        let first = self.clauses.len();
        self.clauses.extend(clauses);
        self.scopes.push(ScopeState {
            outer: self.current,
            first,
            count: self.clauses.len() - first,
            reachable: None,
        });
        Scope(self.scopes.len() as u32 - 1)
    }

    /// A new scope with handlers whose code follows: the tag of each, and whether it wants the exception.
    pub(super) fn open_bodies(&mut self, clauses: &[(Option<TagIndex>, bool)]) -> Scope {
        self.open(clauses.iter().map(|&(tag, wants_reference)| Clause {
            tag,
            wants_reference,
            target: Target::Body(None),
            landing: None,
        }))
    }

    /// The clauses that exceptions in a scope may land at, innermost first: none behind one that takes all,
    /// and one for each tag. Adds how long the lists are that were made to `made`, and gives up (with one that
    /// is too short) when that is more than a function may have.
    fn reachable(&mut self, scope: Scope, made: &mut usize) -> Rc<[usize]> {
        let mut without = Vec::new();
        let mut outer: Rc<[usize]> = Rc::default();
        let mut next = Some(scope);
        while let Some(scope) = next {
            let state = &self.scopes[scope.0 as usize];
            if let Some(known) = &state.reachable {
                outer = Rc::clone(known);
                break;
            }
            without.push(scope);
            next = state.outer;
        }
        while let Some(scope) = without.pop()
            && *made <= MAX_PASSED
        {
            outer = self.reachable_from(scope, &outer);
            *made += outer.len();
            self.scopes[scope.0 as usize].reachable = Some(Rc::clone(&outer));
        }
        outer
    }

    fn reachable_from(&self, scope: Scope, outer: &[usize]) -> Rc<[usize]> {
        let mut tags = HashSet::new();
        let mut reachable = Vec::new();
        for &number in self
            .clauses_of(scope)
            .collect::<Vec<_>>()
            .iter()
            .chain(outer)
        {
            let tag = self.clauses[number].tag;
            if tag.is_none_or(|tag| tags.insert(tag)) {
                reachable.push(number);
            }
            if tag.is_none() {
                break;
            }
        }
        reachable.into()
    }

    fn clauses_of(&self, scope: Scope) -> std::ops::Range<usize> {
        let state = &self.scopes[scope.0 as usize];
        state.first..state.first + state.count
    }

    /// Whether some call lands in the scope.
    pub(super) fn has_landings(&self, scope: Scope) -> bool {
        self.clauses[self.clauses_of(scope)]
            .iter()
            .any(|clause| clause.landing.is_some())
    }
}

impl Lowering<'_, '_> {
    /// `try_table`
    pub(super) fn try_table(&mut self, table: &TryTable) {
        let clauses: Vec<Clause> = table
            .catches
            .iter()
            .map(|&catch| self.clause(catch))
            .collect();
        let scope = self.handlers.open(clauses.into_iter());
        self.open_try_table(table.ty, scope);
        self.handlers.current = Some(scope);
    }

    fn clause(&self, catch: Catch) -> Clause {
        let (tag, wants_reference, label) = match catch {
            Catch::One { tag, label } => (Some(tag), false, label),
            Catch::OneRef { tag, label } => (Some(tag), true, label),
            Catch::All { label } => (None, false, label),
            Catch::AllRef { label } => (None, true, label),
        };
        Clause {
            tag: tag.map(TagIndex::new),
            wants_reference,
            target: Target::Label(self.landing_label(label)),
            landing: None,
        }
    }

    /// Writes the blocks in which calls in a `try_table` land. The builder must be in no block that goes on.
    pub(super) fn write_landings(&mut self, scope: Scope) {
        for number in self.handlers.clauses_of(scope) {
            // What lands takes room: the function fails when this was too much.
            if self.check_size().is_err() {
                return;
            }
            let clause = &self.handlers.clauses[number];
            let (landing, target) = (clause.landing, clause.target);
            if let (Some(landing), Target::Label(label)) = (landing, target) {
                let caught = self.land(number, landing);
                self.go_to_label(label, caught);
            }
        }
    }

    /// Goes on in a landing block.
    fn land(&mut self, clause: usize, landing: Block) -> Caught {
        self.continue_in(landing);
        self.mark();
        let Clause {
            tag,
            wants_reference,
            ..
        } = self.handlers.clauses[clause];
        let payload = self.builder.block_params(landing)[0];
        let exception = self.caught_exception(payload);
        let arguments = tag.map(|tag| self.exception_arguments(exception, tag));
        Caught {
            arguments: arguments.unwrap_or_default(),
            exception: wants_reference.then_some(exception),
        }
    }

    fn go_to_label(&mut self, label: LandingLabel, caught: Caught) {
        let height = self.stack.len();
        self.stack.extend(caught.arguments);
        self.stack.extend(caught.exception);
        self.jump_to_landing_label(label);
        self.stack.truncate(height);
    }

    /// Goes on where the code of a handler of `scope` begins; `None` when nothing gets there.
    pub(super) fn begin_body(&mut self, scope: Scope, position: usize) -> Option<Caught> {
        let number = self.handlers.clauses_of(scope).start + position;
        let clause = &self.handlers.clauses[number];
        let Target::Body(body) = clause.target else {
            unreachable!("a handler of a `try` has a body");
        };
        let (tag, wants_reference) = (clause.tag, clause.wants_reference);
        let caught = clause.landing.map(|landing| self.land(number, landing));
        let Some(body) = body else {
            return caught;
        };
        if let Some(caught) = caught {
            self.jump_to_body(body, &caught);
        }
        self.continue_in(body);
        let mut values: Arguments = self.builder.block_params(body).into();
        let exception = if wants_reference { values.pop() } else { None };
        debug_assert_eq!(
            values.len(),
            tag.map_or(0, |tag| self.tag_type(tag).params.len())
        );
        Some(Caught {
            arguments: values,
            exception,
        })
    }

    fn jump_to_body(&mut self, body: Block, caught: &Caught) {
        let values = caught.arguments.iter().copied().chain(caught.exception);
        let args: SmallVec<[BlockArg; 8]> = values.map(BlockArg::from).collect();
        self.builder.ins().jump(body, &args);
    }

    /// The block in which a handler's code begins for those that branch there.
    fn body_of(&mut self, clause: usize) -> Block {
        let Clause {
            tag,
            wants_reference,
            target,
            ..
        } = self.handlers.clauses[clause];
        if let Target::Body(Some(body)) = target {
            return body;
        }
        let mut reprs: SmallVec<[Repr; 8]> = SmallVec::new();
        if let Some(tag) = tag {
            reprs.extend(self.tag_type(tag).params.iter().map(Repr::of));
        }
        if wants_reference {
            let heap = HeapType::Abstract(AbstractHeapType::Exn);
            let nullable = false;
            reprs.push(Repr::of_ref(&RefType { nullable, heap }));
        }
        let body = self.block_with_params(&reprs);
        self.handlers.clauses[clause].target = Target::Body(Some(body));
        body
    }

    /// `throw`
    pub(super) fn throw(&mut self, tag: u32) {
        self.flush_fuel();
        let tag = TagIndex::new(tag);
        let first = self.stack.len() - self.tag_type(tag).params.len();
        let arguments: Arguments = self.stack.drain(first..).collect();
        match self.static_handler(tag) {
            Some(clause) => self.go_to_handler(clause, tag, arguments),
            None => {
                let exception = self.new_exception(tag, &arguments);
                self.throw_exception(exception);
            }
        }
    }

    fn reachable(&mut self, scope: Scope) -> Rc<[usize]> {
        let mut made = 0;
        let reachable = self.handlers.reachable(scope, &mut made);
        self.count_passed(made);
        reachable
    }

    /// The clause that takes exceptions with this tag here, if that is known.
    fn static_handler(&mut self, tag: TagIndex) -> Option<usize> {
        let reachable = self.reachable(self.handlers.current?);
        self.count_passed(reachable.len());
        let module = self.cx.module;
        for &number in &*reachable {
            match self.handlers.clauses[number].tag {
                None => return Some(number),
                Some(theirs) if theirs == tag => return Some(number),
                // Two imports may be one tag; what the instance defines is new.
                Some(theirs) if module.is_imported_tag(theirs) && module.is_imported_tag(tag) => {
                    return None;
                }
                Some(_) => {}
            }
        }
        None
    }

    /// Branches to a handler with an exception that may never be made.
    fn go_to_handler(&mut self, clause: usize, tag: TagIndex, arguments: Arguments) {
        let Clause {
            tag: wanted,
            wants_reference,
            target,
            ..
        } = self.handlers.clauses[clause];
        let exception = wants_reference.then(|| self.new_exception(tag, &arguments));
        let caught = Caught {
            arguments: wanted.map(|_| arguments).unwrap_or_default(),
            exception,
        };
        self.count_passed(caught.arguments.len());
        match target {
            Target::Label(label) => self.go_to_label(label, caught),
            Target::Body(_) => {
                let body = self.body_of(clause);
                self.jump_to_body(body, &caught);
            }
        }
        self.stop();
    }

    /// `throw_ref`
    pub(super) fn throw_ref(&mut self) {
        self.flush_fuel();
        let exception = self.pop();
        self.throw_exception(exception);
    }

    /// Throws an exception; null traps.
    pub(super) fn throw_exception(&mut self, exception: Value) {
        self.mark();
        let (code, signature) = self.builtin(Builtin::Throw);
        let args = [self.vmctx, exception];
        self.call_in(self.handlers.current, Callee::Known(code), signature, &args);
        self.builder.ins().trap(trap_code(TrapCode::Unreachable));
        self.stop();
    }

    /// Calls code, with the handlers of a scope, and goes on where it returns; gives the results.
    pub(super) fn call_in(
        &mut self,
        scope: Option<Scope>,
        callee: Callee,
        signature: SigRef,
        args: &[Value],
    ) -> Values {
        self.count_waiting_operands();
        let scope = scope.filter(|_| !matches!(callee, Callee::Quiet(_)));
        let reachable = scope.map(|scope| self.reachable(scope));
        if let Some(reachable) = reachable
            && !reachable.is_empty()
        {
            return self.try_call(&reachable, callee, signature, args);
        }
        let call = match callee {
            Callee::Known(code) | Callee::Quiet(code) => self.builder.ins().call(code, args),
            Callee::Pointer(code) => self.builder.ins().call_indirect(signature, code, args),
        };
        Values::from_slice(self.builder.inst_results(call))
    }

    /// Calls code that leaves nothing in any register, with the handlers around the current instruction.
    pub(super) fn call_clobbering(
        &mut self,
        callee: Callee,
        signature: SigRef,
        args: &[Value],
    ) -> Values {
        self.count_waiting_operands();
        let scope = self.handlers.current;
        let reachable = scope.map(|scope| self.reachable(scope));
        self.try_call(reachable.as_deref().unwrap_or(&[]), callee, signature, args)
    }

    /// Calls code with these handlers. Such a call expects no register to be preserved.
    fn try_call(
        &mut self,
        clauses: &[usize],
        callee: Callee,
        signature: SigRef,
        args: &[Value],
    ) -> Values {
        // Every call has its own list of them, and each edge may pass every local that is a variable.
        let each = EDGE_SIZE + self.frame.locals.len() / LOCALS_PASSED_AS_ONE;
        self.count_passed(clauses.len().saturating_mul(each));
        let returned = self.builder.create_block();
        let results: SmallVec<[_; 4]> = {
            let signature = &self.builder.func.dfg.signatures[signature];
            signature.returns.iter().map(|r| r.value_type).collect()
        };
        for &ty in &results {
            self.builder.append_block_param(returned, ty);
        }
        let mut items = Vec::new();
        if !clauses.is_empty() {
            items.push(ExceptionTableItem::Context(self.vmctx));
        }
        for &clause in clauses {
            let landing = self.landing_of(clause);
            let pool = &mut self.builder.func.dfg.value_lists;
            let edge = BlockCall::new(landing, [BlockArg::TryCallExn(0)], pool);
            items.push(match self.handlers.clauses[clause].tag {
                Some(tag) => ExceptionTableItem::Tag(ExceptionTag::from_u32(tag.as_u32()), edge),
                None => ExceptionTableItem::Default(edge),
            });
        }
        let result_args = (0..results.len() as u32).map(BlockArg::TryCallRet);
        let dfg = &mut self.builder.func.dfg;
        let normal = BlockCall::new(returned, result_args, &mut dfg.value_lists);
        let table = ExceptionTableData::new(signature, normal, items);
        let table = dfg.exception_tables.push(table);
        match callee {
            Callee::Known(code) | Callee::Quiet(code) => {
                self.builder.ins().try_call(code, args, table)
            }
            Callee::Pointer(code) => self.builder.ins().try_call_indirect(code, args, table),
        };
        self.continue_in(returned);
        Values::from_slice(self.builder.block_params(returned))
    }

    fn landing_of(&mut self, clause: usize) -> Block {
        if let Some(landing) = self.handlers.clauses[clause].landing {
            return landing;
        }
        let landing = self.builder.create_block();
        self.builder.append_block_param(landing, I64);
        self.builder.set_cold_block(landing);
        self.handlers.clauses[clause].landing = Some(landing);
        landing
    }
}
