//! Continuations: making, binding, resuming and suspending them. [`sarsen_abi::stack`] says what a stack is.
//!
//! ```text
//!   resume                                     suspend
//!     stack = the one that the continuation      current, or who is found by the runtime, has
//!       owns, or the runtime prepares one          a clause for the tag
//!     arguments ─► stack.values                  allocate the continuation; it owns current
//!     stack.chain_end.parent = current           tag's values ─► this frame
//!     clauses ─► stack.chain_end                 switch to the parent of who has the clause
//!     switch to stack                                      (clause and continuation, values)
//!     ◄── (RETURNED, results)                    ◄──
//!     ◄── (clause and continuation, values):     results are in this frame
//!           branch to the clause's label
//! ```
//!
//! Whoever is switched to reads the values that it is given at once: between a store there and the load on
//! the other side is no safepoint. So memory for them is no root, and a frame needs one place for all.
//!
//! | file | what it has |
//! |---|---|
//! | `objects` | continuations as objects |
//! | `stacks` | finding, linking and switching stacks |
//! | `values` | values in memory |
//!
//! A site where stacks are switched is a `try_call` even where nobody catches anything: that alone tells
//! Cranelift that no register is what it was.

mod objects;
mod stacks;
mod values;

use super::function::Lowering;
use super::signature::POINTER;
use crate::error::Result;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{Block, InstBuilder, JumpTableData, SigRef, StackSlot, Value};
use cranelift_frontend::Variable;
use sarsen_abi::builtin::BuiltinTable;
use sarsen_abi::stack::{RETURNED, STACK_COUNTS};
use sarsen_abi::types::{AbstractHeapType, CompositeType, FuncType, HeapType, RefType, ValType};
use sarsen_abi::vmctx::offset;
use sarsen_abi::{Builtin, Feature, Module, TagIndex, TypeIndex};
use smallvec::SmallVec;
use wasmparser::{Handle, Operator, ResumeTable};

/// What a function has for switching stacks.
#[derive(Default)]
pub(super) struct Switching {
    /// The stack that the function runs on, and the store, in a module with continuations. Neither changes;
    /// but where a stack has been switched to, they are at hand in registers, and all else must first be
    /// loaded from the frame.
    here: Option<(Variable, Variable)>,
    signature: Option<SigRef>,
    /// Where values are that this frame gives, or gets.
    values: Option<StackSlot>,
    /// The tags of a resume's clauses.
    tags: Option<StackSlot>,
}

/// What a stack that is switched to is told, or tells: two words.
type Words = [Value; 2];
type Values = SmallVec<[Value; 8]>;

/// The index of the function type of a continuation type.
fn func_type_index(module: &Module, cont: TypeIndex) -> TypeIndex {
    let CompositeType::Cont(ty) = module.types[cont.index()].composite else {
        unreachable!("validated: a continuation type");
    };
    ty
}

/// The function type of a continuation type.
fn func_type(module: &Module, cont: TypeIndex) -> &FuncType {
    module.func_type_at(func_type_index(module, cont))
}

/// About how many blocks an instruction on continuations is lowered to; zero for other instructions.
pub(super) fn count_blocks(operator: &Operator<'_>) -> u64 {
    const BLOCKS: u64 = 10;
    match operator {
        Operator::Resume { resume_table, .. }
        | Operator::ResumeThrow { resume_table, .. }
        | Operator::ResumeThrowRef { resume_table, .. } => {
            BLOCKS + resume_table.handlers.len() as u64
        }
        Operator::ContNew { .. } | Operator::Suspend { .. } | Operator::Switch { .. } => BLOCKS,
        _ => 0,
    }
}

impl Lowering<'_, '_> {
    /// Lowers an instruction on continuations; returns whether it is one.
    pub(super) fn dispatch_continuations(&mut self, operator: &Operator<'_>) -> Result<bool> {
        use Operator as O;
        match *operator {
            O::ContNew { cont_type_index } => self.cont_new(TypeIndex::new(cont_type_index)),
            O::ContBind {
                argument_index,
                result_index,
            } => self.cont_bind(TypeIndex::new(argument_index), TypeIndex::new(result_index)),
            O::Suspend { tag_index } => self.suspend(TagIndex::new(tag_index)),
            O::Resume {
                cont_type_index,
                ref resume_table,
            } => self.resume(TypeIndex::new(cont_type_index), resume_table),
            O::ResumeThrow {
                cont_type_index,
                tag_index,
                ref resume_table,
            } => {
                let tag = TagIndex::new(tag_index);
                self.resume_throw(TypeIndex::new(cont_type_index), tag, resume_table);
            }
            O::ResumeThrowRef {
                cont_type_index,
                ref resume_table,
            } => self.resume_throw_ref(TypeIndex::new(cont_type_index), resume_table),
            O::Switch {
                cont_type_index,
                tag_index,
            } => self.switch(TypeIndex::new(cont_type_index), TagIndex::new(tag_index)),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Begins a function.
    pub(super) fn begin_switching(&mut self) {
        if !self
            .cx
            .module
            .features_used
            .contains(Feature::StackSwitching)
        {
            return;
        }
        let here = (
            self.builder.declare_var(POINTER),
            self.builder.declare_var(POINTER),
        );
        let store = self.store_context();
        // Another one, whenever another function runs; but not while this one does.
        let current = self.load_once(POINTER, store, offset::STORE_CURRENT_STACK);
        self.builder.def_var(here.0, current);
        self.builder.def_var(here.1, store);
        self.switching.here = Some(here);
    }

    /// The stack that runs.
    fn current_stack(&mut self) -> Value {
        let here = self.switching.here.expect("a module with continuations");
        self.builder.use_var(here.0)
    }

    /// The store.
    fn store_here(&mut self) -> Value {
        let here = self.switching.here.expect("a module with continuations");
        self.builder.use_var(here.1)
    }

    /// `cont.new`
    fn cont_new(&mut self, ty: TypeIndex) {
        let func = self.pop();
        self.trap_if_null(func);
        let id = self.id_of_function(func);
        let id = self.builder.ins().uextend(I64, id);
        let word = self.builder.ins().ishl_imm_u(id, 32);
        let cont = self.new_cont(HeapType::ConcreteCont(ty), word);
        self.set_cont_type(cont, ty);
        self.push(cont);
    }

    /// `cont.bind`
    fn cont_bind(&mut self, from: TypeIndex, to: TypeIndex) {
        self.flush_fuel();
        let module = self.cx.module;
        let params = &func_type(module, from).params;
        let count = params.len() - func_type(module, to).params.len();
        let cont = self.pop();
        let first = self.stack.len() - count;
        let args: Values = self.stack.drain(first..).collect();
        let values = self.values_slot(count);
        self.store_values(values, &args);
        let from = self.index_argument(from.as_u32());
        let to_argument = self.index_argument(to.as_u32());
        let count = self.iconst(I32, count as i64);
        let bound = self.call_builtin(Builtin::ContBind, &[cont, from, to_argument, values, count]);
        let bound = bound.expect("it has a result");
        self.note_cont(bound, HeapType::ConcreteCont(to));
        self.push(bound);
    }

    /// `resume`
    fn resume(&mut self, ty: TypeIndex, table: &ResumeTable) {
        self.flush_fuel();
        self.mark();
        let count = func_type(self.cx.module, ty).params.len();
        let cont = self.pop();
        let first = self.stack.len() - count;
        let args: Values = self.stack.drain(first..).collect();
        let stack = self.stack_to_resume(cont, ty);
        self.give_values(stack, &args);
        self.link(stack, table);
        let zero = self.iconst(I64, 0);
        let routine = BuiltinTable::RESUME_STACK_OFFSET;
        let words = self.switch_by(routine, stack, [zero, zero]);
        self.after_resume(ty, table, words);
    }

    /// `resume_throw`
    fn resume_throw(&mut self, ty: TypeIndex, tag: TagIndex, table: &ResumeTable) {
        self.flush_fuel();
        self.mark();
        let cont = self.pop();
        let first = self.stack.len() - self.tag_type(tag).params.len();
        let args: super::gc::Arguments = self.stack.drain(first..).collect();
        let exception = self.new_exception(tag, &args);
        self.resume_with_exception(ty, table, cont, exception);
    }

    /// `resume_throw_ref`
    fn resume_throw_ref(&mut self, ty: TypeIndex, table: &ResumeTable) {
        self.flush_fuel();
        self.mark();
        let cont = self.pop();
        let exception = self.pop();
        self.trap_if_null(exception);
        self.resume_with_exception(ty, table, cont, exception);
    }

    /// Resumes a continuation by throwing an exception where it was suspended. In one that is fresh, nothing
    /// could catch it: then it is thrown here.
    fn resume_with_exception(
        &mut self,
        ty: TypeIndex,
        table: &ResumeTable,
        cont: Value,
        exception: Value,
    ) {
        let func_type = self.type_id(func_type_index(self.cx.module, ty));
        let stack = self.call_builtin(Builtin::ContPrepareThrow, &[cont, func_type]);
        let stack = stack.expect("it has a result");
        let suspended = self.builder.create_block();
        let fresh = self.builder.create_block();
        self.builder.set_cold_block(fresh);
        self.builder.ins().brif(stack, suspended, &[], fresh, &[]);
        self.continue_in(fresh);
        self.throw_exception(exception);
        self.unreachable = None;
        self.continue_in(suspended);
        self.mark();
        self.link(stack, table);
        let zero = self.iconst(I64, 0);
        let exception = self.builder.ins().uextend(I64, exception);
        let routine = BuiltinTable::RESUME_STACK_OFFSET;
        let words = self.switch_by(routine, stack, [exception, zero]);
        self.after_resume(ty, table, words);
    }

    /// `suspend`
    fn suspend(&mut self, tag: TagIndex) {
        self.flush_fuel();
        self.mark();
        let ty = self.tag_type(tag);
        let first = self.stack.len() - ty.params.len();
        let args: Values = self.stack.drain(first..).collect();
        let current = self.current_stack();
        let (outermost, clause) = self.find_suspend_handler(current, tag);
        let any = HeapType::Abstract(AbstractHeapType::Cont);
        let cont = self.new_cont_of(current, any);
        let values = self.values_slot(ty.params.len().max(ty.results.len()));
        self.store_values(values, &args);
        self.own(current, cont, outermost, values);
        let parent = self.load_of_stack(POINTER, outermost, offset::STACK_PARENT);
        let cont = self.builder.ins().uextend(I64, cont);
        let cont = self.builder.ins().ishl_imm_u(cont, 32);
        let status = self.builder.ins().bor(cont, clause);
        self.switch_to(parent, [status, values]);
        self.load_values(values, &ty.results);
    }

    /// `switch`
    fn switch(&mut self, ty: TypeIndex, tag: TagIndex) {
        self.flush_fuel();
        self.mark();
        let module = self.cx.module;
        let params = &func_type(module, ty).params;
        let Some(ValType::Ref(RefType {
            heap: HeapType::ConcreteCont(own_type),
            ..
        })) = params.last().copied()
        else {
            unreachable!("validated: the last parameter is a continuation");
        };
        let target = self.pop();
        let first = self.stack.len() - (params.len() - 1);
        let mut args: Values = self.stack.drain(first..).collect();
        let current = self.current_stack();
        let tag = self.tag_address(tag);
        self.trap_if_null(target);
        let outermost = self.call_builtin(Builtin::FindHandler, &[tag, target]);
        let outermost = outermost.expect("it has a result");
        // Made first: when the other stack is ready, nothing may fail.
        let own = self.new_cont_of(current, HeapType::ConcreteCont(own_type));
        self.set_cont_type(own, own_type);
        let stack = self.stack_to_resume(target, ty);
        args.push(own);
        self.give_values(stack, &args);
        // The other one takes the place of what is suspended here, clauses included.
        let end = self.load_of_stack(POINTER, stack, offset::STACK_CHAIN_END);
        for (ty, at) in [
            (POINTER, offset::STACK_PARENT),
            (POINTER, offset::STACK_FIRST_TAG),
            (POINTER, offset::STACK_HANDLERS),
            (I64, STACK_COUNTS),
        ] {
            let field = self.load_of_stack(ty, outermost, at);
            self.store_of_stack(field, end, at);
        }
        self.disown(stack);
        let results = &func_type(module, own_type).params;
        let values = self.values_slot(results.len());
        self.own(current, own, outermost, values);
        self.set_func_type(current, own_type);
        let zero = self.iconst(I64, 0);
        self.switch_to(stack, [zero, zero]);
        self.load_values(values, results);
    }

    /// Goes on after a resume: with the results if the function has returned, at a clause's label if it was
    /// suspended.
    fn after_resume(&mut self, ty: TypeIndex, table: &ResumeTable, [status, values]: Words) {
        let mut clauses = Vec::new();
        for handle in &table.handlers {
            if let Handle::OnLabel { tag, label } = *handle {
                clauses.push((TagIndex::new(tag), label, self.builder.create_block()));
            }
        }
        let returned = self.builder.create_block();
        let blocks: Vec<Block> = clauses.iter().map(|&(_, _, block)| block).collect();
        self.branch_to_clause(status, &blocks, returned);
        for (tag, label, block) in clauses {
            self.continue_in(block);
            self.go_to_clause(tag, label, [status, values]);
        }
        self.continue_in(returned);
        let results = &func_type(self.cx.module, ty).results;
        self.load_values(values, results);
    }

    /// Branches to the block of the clause whose number is in the low half of `status`, or to `returned`.
    fn branch_to_clause(&mut self, status: Value, blocks: &[Block], returned: Block) {
        let Some(&last) = blocks.last() else {
            self.builder.ins().jump(returned, &[]);
            return;
        };
        let clause = self.builder.ins().ireduce(I32, status);
        let has_returned = self
            .builder
            .ins()
            .icmp_imm_u(IntCC::Equal, clause, i64::from(RETURNED));
        let suspended = if blocks.len() == 1 {
            last
        } else {
            self.builder.create_block()
        };
        self.builder
            .ins()
            .brif(has_returned, returned, &[], suspended, &[]);
        if blocks.len() > 1 {
            self.continue_in(suspended);
            let dfg = &mut self.builder.func.dfg;
            let calls: Vec<_> = blocks
                .iter()
                .map(|&block| dfg.block_call(block, &[]))
                .collect();
            let table = JumpTableData::new(calls[calls.len() - 1], &calls);
            let table = self.builder.create_jump_table(table);
            self.builder.ins().br_table(clause, table);
        }
    }

    /// Branches to a clause's label with the values of its tag, and the continuation.
    fn go_to_clause(&mut self, tag: TagIndex, label: u32, [status, values]: Words) {
        let height = self.stack.len();
        let ty = self.tag_type(tag);
        self.load_values(values, &ty.params);
        let cont = self.builder.ins().ushr_imm_u(status, 32);
        let cont = self.builder.ins().ireduce(I32, cont);
        let heap = self.last_operand_of_label(label);
        let heap = heap.unwrap_or(HeapType::Abstract(AbstractHeapType::Cont));
        self.note_cont(cont, heap);
        if let HeapType::ConcreteCont(ty) = heap {
            self.set_cont_type(cont, ty);
            let store = self.store_here();
            let head = self.load_of_stack(POINTER, store, offset::STORE_LAST_SUSPENDED);
            self.set_func_type(head, ty);
        }
        self.push(cont);
        self.jump_to_label_at(label);
        self.stack.truncate(height);
    }
}
