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
//! A site where stacks are switched is a `try_call` even where nobody catches anything: that alone tells
//! Cranelift that no register is what it was.

use super::call::Callee;
use super::function::{Lowering, trap_code};
use super::region::Region;
use super::signature::{POINTER, Repr};
use crate::error::Result;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{
    AbiParam, InstBuilder, JumpTableData, SigRef, Signature, StackSlot, StackSlotData,
    StackSlotKind, Value,
};
use cranelift_codegen::isa::CallConv;
use cranelift_frontend::Variable;
use sarsen_abi::builtin::BuiltinTable;
use sarsen_abi::heap::{CONT_TYPE, ContLayout};
use sarsen_abi::stack::{RETURNED, STACK_COUNTS};
use sarsen_abi::types::{AbstractHeapType, CompositeType, FuncType, HeapType, RefType, ValType};
use sarsen_abi::vmctx::{VAL_RAW_SIZE, offset};
use sarsen_abi::{Builtin, Feature, Module, TagIndex, TrapCode, TypeIndex};
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

/// The function type of a continuation type.
fn func_type(module: &Module, cont: TypeIndex) -> &FuncType {
    let CompositeType::Cont(ty) = module.types[cont.index()].composite else {
        unreachable!("validated: a continuation type");
    };
    module.func_type_at(ty)
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
        if !self.cx.module.features_used.contains(Feature::StackSwitching) {
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
        let stack = self.stack_to_resume(cont);
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
        let stack = self.call_builtin(Builtin::ContPrepareThrow, &[cont]);
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
        let for_switch = self.iconst(I32, 1);
        let outermost = self.call_builtin(Builtin::FindHandler, &[tag, for_switch]);
        let outermost = outermost.expect("it has a result");
        // Made first: when the other stack is ready, nothing may fail.
        let own = self.new_cont_of(current, HeapType::ConcreteCont(own_type));
        self.set_cont_type(own, own_type);
        let stack = self.stack_to_resume(target);
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
        let zero = self.iconst(I64, 0);
        self.switch_to(stack, [zero, zero]);
        self.load_values(values, results);
    }

    // Continuations.

    /// A new continuation: `word` is the number of its stack, and in the high half that of its function.
    fn new_cont(&mut self, heap: HeapType, word: Value) -> Value {
        let store = self.store_here();
        let cont = self.allocate_small_in(store, ContLayout::SIZE, heap);
        let header = u64::from(ContLayout::SIZE) << 32 | u64::from(CONT_TYPE.0);
        let header = self.iconst(I64, header as i64);
        let zero = self.iconst(I64, 0);
        for (at, word) in [
            (0, header),
            (ContLayout::STACK, word),
            (ContLayout::REFS, zero),
            (ContLayout::TYPE, zero),
        ] {
            self.set_cont_word(cont, at, word);
        }
        cont
    }

    /// Where a continuation is in memory.
    fn cont_address(&mut self, cont: Value) -> Value {
        let store = self.store_here();
        let flags = self.flags(Region::Stacks);
        let base = self
            .builder
            .ins()
            .load(POINTER, flags, store, offset::STORE_HEAP_BASE);
        let distance = self.builder.ins().uextend(I64, cont);
        self.builder.ins().iadd(base, distance)
    }

    /// Writes a word of a continuation that is new.
    fn set_cont_word(&mut self, cont: Value, at: u32, word: Value) {
        let flags = self.heap_flags(Region::Initial, TrapCode::HeapCorruption, 8);
        let address = self.cont_address(cont);
        self.builder.ins().store(flags, word, address, at as i32);
    }

    /// A new continuation that has the number of a stack.
    fn new_cont_of(&mut self, stack: Value, heap: HeapType) -> Value {
        let number = self.load_of_stack(I32, stack, offset::STACK_ID);
        let number = self.builder.ins().uextend(I64, number);
        self.new_cont(heap, number)
    }

    /// Writes the type of a continuation that is new.
    fn set_cont_type(&mut self, cont: Value, ty: TypeIndex) {
        let id = self.type_id(ty);
        let id = self.builder.ins().uextend(I64, id);
        self.set_cont_word(cont, ContLayout::TYPE, id);
    }

    /// Notes that a value is a reference to a continuation.
    fn note_cont(&mut self, cont: Value, heap: HeapType) {
        let nullable = false;
        self.note_repr(cont, Repr::of_ref(&RefType { nullable, heap }));
    }

    /// Makes a continuation the owner of the stack that runs.
    fn own(&mut self, current: Value, cont: Value, outermost: Value, values: Value) {
        self.store_of_stack(cont, current, offset::STACK_OWNER);
        self.store_of_stack(outermost, current, offset::STACK_CHAIN_END);
        self.store_of_stack(values, current, offset::STACK_VALUES);
        let store = self.store_here();
        self.store_of_stack(current, store, offset::STORE_LAST_SUSPENDED);
    }

    fn disown(&mut self, stack: Value) {
        let nobody = self.iconst(I32, 0);
        self.store_of_stack(nobody, stack, offset::STACK_OWNER);
    }

    // Stacks.

    fn load_of_stack(&mut self, ty: cranelift_codegen::ir::Type, stack: Value, at: i32) -> Value {
        let flags = self.flags(Region::Stacks);
        self.builder.ins().load(ty, flags, stack, at)
    }

    fn store_of_stack(&mut self, value: Value, stack: Value, at: i32) {
        let flags = self.flags(Region::Stacks);
        self.builder.ins().store(flags, value, stack, at);
    }

    /// The stack to switch to for resuming a continuation. Traps if it is null or consumed.
    fn stack_to_resume(&mut self, cont: Value) -> Value {
        self.trap_if_null(cont);
        let store = self.store_here();
        let ready = self.builder.create_block();
        let stack = self.builder.append_block_param(ready, POINTER);
        // Most likely it is the one that was suspended last.
        let last = self.load_of_stack(POINTER, store, offset::STORE_LAST_SUSPENDED);
        let other = self.builder.create_block();
        let owner = self.load_of_stack(I32, last, offset::STACK_OWNER);
        let is_last = self.builder.ins().icmp(IntCC::Equal, owner, cont);
        self.builder
            .ins()
            .brif(is_last, ready, &[last.into()], other, &[]);
        self.continue_in(other);
        let flags = self.heap_flags(Region::Immutable, TrapCode::HeapCorruption, 4);
        let address = self.cont_address(cont);
        let at = ContLayout::STACK as i32;
        let number = self.builder.ins().load(I32, flags, address, at);
        let table = self.load_of_stack(POINTER, store, offset::STORE_STACK_TABLE);
        let length = self.load_of_stack(I64, store, offset::STORE_STACK_TABLE_LENGTH);
        let number = self.builder.ins().uextend(I64, number);
        let distance = self.builder.ins().ishl_imm_u(number, 3);
        let entry = self.builder.ins().iadd(table, distance);
        let is_wrong = self
            .builder
            .ins()
            .icmp(IntCC::UnsignedGreaterThanOrEqual, number, length);
        let nowhere = self.iconst(POINTER, 0);
        let entry = self
            .builder
            .ins()
            .select_spectre_guard(is_wrong, nowhere, entry);
        // A wrong number can only come from a damaged heap; or from no stack ever having been there.
        let flags = self
            .flags(Region::Stacks)
            .with_trap_code(Some(trap_code(TrapCode::HeapCorruption)));
        let plain = self.builder.ins().load(POINTER, flags, entry, 0);
        let owner = self.load_of_stack(I32, plain, offset::STACK_OWNER);
        let is_owner = self.builder.ins().icmp(IntCC::Equal, owner, cont);
        let prepare = self.builder.create_block();
        self.builder.set_cold_block(prepare);
        self.builder
            .ins()
            .brif(is_owner, ready, &[plain.into()], prepare, &[]);
        self.continue_in(prepare);
        let prepared = self.call_builtin(Builtin::ContPrepare, &[cont]);
        let prepared = prepared.expect("it has a result");
        self.builder.ins().jump(ready, &[prepared.into()]);
        self.continue_in(ready);
        stack
    }

    /// Writes what a stack is resumed with to where it wants it.
    fn give_values(&mut self, stack: Value, args: &[Value]) {
        if !args.is_empty() {
            let values = self.load_of_stack(POINTER, stack, offset::STACK_VALUES);
            self.store_values(values, args);
        }
    }

    /// Puts the chain with a head before the current stack, with the clauses of a resume.
    fn link(&mut self, head: Value, table: &ResumeTable) {
        let mut suspends = Vec::new();
        let mut switches = Vec::new();
        for handle in &table.handlers {
            match *handle {
                Handle::OnLabel { tag, .. } => suspends.push(TagIndex::new(tag)),
                Handle::OnSwitch { tag } => switches.push(TagIndex::new(tag)),
            }
        }
        let current = self.current_stack();
        let end = self.load_of_stack(POINTER, head, offset::STACK_CHAIN_END);
        self.store_of_stack(current, end, offset::STACK_PARENT);
        let first_tag = match suspends.first() {
            Some(&tag) => self.tag_address(tag),
            None => self.iconst(POINTER, 0),
        };
        self.store_of_stack(first_tag, end, offset::STACK_FIRST_TAG);
        let counts = (switches.len() as i64) << 32 | suspends.len() as i64;
        let counts = self.iconst(I64, counts);
        self.store_of_stack(counts, end, STACK_COUNTS);
        let others: Vec<TagIndex> = suspends.into_iter().skip(1).chain(switches).collect();
        if !others.is_empty() {
            self.count_passed(others.len());
            let size = others.len() as u32 * POINTER.bytes();
            let slot = self.switching.tags;
            let slot = self.slot_of(slot, size);
            self.switching.tags = Some(slot);
            let tags = self.builder.ins().stack_addr(POINTER, slot, 0);
            for (i, tag) in others.into_iter().enumerate() {
                let tag = self.tag_address(tag);
                let at = (i as u32 * POINTER.bytes()) as i32;
                let flags = self.flags(Region::StackValues);
                self.builder.ins().store(flags, tag, tags, at);
            }
            self.store_of_stack(tags, end, offset::STACK_HANDLERS);
        }
        self.disown(head);
    }

    /// The address of a tag's `VmTag`: its identity.
    fn tag_address(&mut self, tag: TagIndex) -> Value {
        if self.cx.module.is_imported_tag(tag) {
            let at = self.cx.layout.imported_tag(tag) as i32;
            return self.load_once(POINTER, self.vmctx, at);
        }
        let at = self.cx.layout.defined_tag(tag);
        self.builder.ins().iadd_imm_u(self.vmctx, i64::from(at))
    }

    /// The stack whose parent handles a tag, and the number of its clause, 64 bits.
    fn find_suspend_handler(&mut self, current: Value, tag: TagIndex) -> (Value, Value) {
        let tag = self.tag_address(tag);
        let first = self.load_of_stack(POINTER, current, offset::STACK_FIRST_TAG);
        let is_first = self.builder.ins().icmp(IntCC::Equal, first, tag);
        let search = self.builder.create_block();
        let found = self.builder.create_block();
        let outermost = self.builder.append_block_param(found, POINTER);
        let clause = self.builder.append_block_param(found, I64);
        let zero = self.iconst(I64, 0);
        self.builder.set_cold_block(search);
        self.builder
            .ins()
            .brif(is_first, found, &[current.into(), zero.into()], search, &[]);
        self.continue_in(search);
        let for_suspend = self.iconst(I32, 0);
        let stack = self.call_builtin(Builtin::FindHandler, &[tag, for_suspend]);
        let stack = stack.expect("it has a result");
        let store = self.store_here();
        let number = self.load_of_stack(I64, store, offset::STORE_FOUND_CLAUSE);
        self.builder
            .ins()
            .jump(found, &[stack.into(), number.into()]);
        self.continue_in(found);
        (outermost, clause)
    }

    /// Switches to a stack, which gets these words; returns what this one gets when it goes on.
    fn switch_to(&mut self, stack: Value, words: Words) -> Words {
        self.switch_by(BuiltinTable::SWITCH_STACK_OFFSET, stack, words)
    }

    /// The same, by one of the runtime's routines for it.
    fn switch_by(&mut self, routine: u32, stack: Value, [first, second]: Words) -> Words {
        self.mark();
        let builtins = self.load_once(POINTER, self.vmctx, offset::CONTEXT_BUILTINS);
        let routine = self.load_once(POINTER, builtins, routine as i32);
        let store = self.store_here();
        let signature = match self.switching.signature {
            Some(signature) => signature,
            None => {
                let mut signature = Signature::new(CallConv::Tail);
                signature.params = [POINTER, POINTER, I64, I64].map(AbiParam::new).into();
                signature.returns = [I64, I64, POINTER, POINTER].map(AbiParam::new).into();
                self.builder.import_signature(signature)
            }
        };
        self.switching.signature = Some(signature);
        let args = [stack, store, first, second];
        let words = self.call_clobbering(Callee::Pointer(routine), signature, &args);
        let here = self.switching.here.expect("a module with continuations");
        self.builder.def_var(here.0, words[2]);
        self.builder.def_var(here.1, words[3]);
        [words[0], words[1]]
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
        let clause = self.builder.ins().ireduce(I32, status);
        if let Some(&(_, _, last)) = clauses.last() {
            let has_returned =
                self.builder
                    .ins()
                    .icmp_imm_u(IntCC::Equal, clause, i64::from(RETURNED));
            let suspended = if clauses.len() == 1 {
                last
            } else {
                self.builder.create_block()
            };
            self.builder
                .ins()
                .brif(has_returned, returned, &[], suspended, &[]);
            if clauses.len() > 1 {
                self.continue_in(suspended);
                let dfg = &mut self.builder.func.dfg;
                let calls: Vec<_> = clauses
                    .iter()
                    .map(|&(_, _, block)| dfg.block_call(block, &[]))
                    .collect();
                let table = JumpTableData::new(calls[calls.len() - 1], &calls);
                let table = self.builder.create_jump_table(table);
                self.builder.ins().br_table(clause, table);
            }
        } else {
            self.builder.ins().jump(returned, &[]);
        }
        for (tag, label, block) in clauses {
            self.continue_in(block);
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
            }
            self.push(cont);
            self.jump_to_label_at(label);
            self.stack.truncate(height);
        }
        self.continue_in(returned);
        let results = &func_type(self.cx.module, ty).results;
        self.load_values(values, results);
    }

    // Values in memory.

    /// The frame's place for so many values.
    fn values_slot(&mut self, count: usize) -> Value {
        self.count_passed(count);
        let slot = self.switching.values;
        let slot = self.slot_of(slot, count as u32 * VAL_RAW_SIZE);
        self.switching.values = Some(slot);
        self.builder.ins().stack_addr(POINTER, slot, 0)
    }

    /// A slot of the frame of at least this size, in bytes: the one that there is, or a new one.
    fn slot_of(&mut self, slot: Option<StackSlot>, size: u32) -> StackSlot {
        if let Some(slot) = slot {
            let data = &mut self.builder.func.sized_stack_slots[slot];
            data.size = data.size.max(size);
            return slot;
        }
        let align_log2 = VAL_RAW_SIZE.ilog2() as u8;
        let data = StackSlotData::new(StackSlotKind::ExplicitSlot, size, align_log2);
        self.builder.create_sized_stack_slot(data)
    }

    fn store_values(&mut self, values: Value, from: &[Value]) {
        self.count_passed(from.len());
        let flags = self.flags(Region::StackValues);
        for (i, &value) in from.iter().enumerate() {
            let at = (i as u32 * VAL_RAW_SIZE) as i32;
            self.builder.ins().store(flags, value, values, at);
        }
    }

    /// Pushes values of these types.
    fn load_values(&mut self, values: Value, types: &[ValType]) {
        self.count_passed(types.len());
        let flags = self.flags(Region::StackValues);
        for (i, ty) in types.iter().enumerate() {
            let at = (i as u32 * VAL_RAW_SIZE) as i32;
            let repr = Repr::of(ty);
            let value = self.builder.ins().load(repr.ty, flags, values, at);
            self.note_repr(value, repr);
            self.push(value);
        }
    }
}
