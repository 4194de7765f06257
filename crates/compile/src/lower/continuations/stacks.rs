//! Stacks: finding the one to switch to, linking it before the current one, switching.

use super::super::call::Callee;
use super::super::function::{Lowering, trap_code};
use super::super::region::Region;
use super::super::signature::POINTER;
use super::{Words, func_type_index};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{AbiParam, InstBuilder, SigRef, Signature, Type, Value};
use cranelift_codegen::isa::CallConv;
use sarsen_abi::builtin::BuiltinTable;
use sarsen_abi::heap::ContLayout;
use sarsen_abi::stack::STACK_COUNTS;
use sarsen_abi::vmctx::offset;
use sarsen_abi::{Builtin, TagIndex, TrapCode, TypeIndex};
use wasmparser::{Handle, ResumeTable};

impl Lowering<'_, '_> {
    pub(super) fn load_of_stack(&mut self, ty: Type, stack: Value, at: i32) -> Value {
        let flags = self.flags(Region::Stacks);
        self.builder.ins().load(ty, flags, stack, at)
    }

    pub(super) fn store_of_stack(&mut self, value: Value, stack: Value, at: i32) {
        let flags = self.flags(Region::Stacks);
        self.builder.ins().store(flags, value, stack, at);
    }

    /// The stack to switch to for resuming a continuation of this type. Traps if it is null or consumed.
    pub(super) fn stack_to_resume(&mut self, cont: Value, ty: TypeIndex) -> Value {
        self.trap_if_null(cont);
        let store = self.store_here();
        let expected = self.type_id(func_type_index(self.cx.module, ty));
        let owned = self.builder.create_block();
        let head = self.builder.append_block_param(owned, POINTER);
        // Most likely it is the one that was suspended last.
        let last = self.load_of_stack(POINTER, store, offset::STORE_LAST_SUSPENDED);
        let other = self.builder.create_block();
        let owner = self.load_of_stack(I32, last, offset::STACK_OWNER);
        let is_last = self.builder.ins().icmp(IntCC::Equal, owner, cont);
        self.builder
            .ins()
            .brif(is_last, owned, &[last.into()], other, &[]);
        self.continue_in(other);
        let plain = self.stack_of(cont);
        let owner = self.load_of_stack(I32, plain, offset::STACK_OWNER);
        let is_owner = self.builder.ins().icmp(IntCC::Equal, owner, cont);
        let prepare = self.builder.create_block();
        self.builder.set_cold_block(prepare);
        self.builder
            .ins()
            .brif(is_owner, owned, &[plain.into()], prepare, &[]);
        self.continue_in(owned);
        let func_type = self.load_of_stack(I32, head, offset::STACK_FUNC_TYPE);
        let is_same = self.builder.ins().icmp(IntCC::Equal, func_type, expected);
        let ready = self.builder.create_block();
        let stack = self.builder.append_block_param(ready, POINTER);
        self.builder
            .ins()
            .brif(is_same, ready, &[head.into()], prepare, &[]);
        self.continue_in(prepare);
        let prepared = self.call_builtin(Builtin::ContPrepare, &[cont, expected]);
        let prepared = prepared.expect("it has a result");
        self.builder.ins().jump(ready, &[prepared.into()]);
        self.continue_in(ready);
        stack
    }

    /// The stack whose number a continuation has. It may belong to another by now.
    fn stack_of(&mut self, cont: Value) -> Value {
        let flags = self.heap_flags(Region::Immutable, TrapCode::HeapCorruption, 4);
        let address = self.cont_address(cont);
        let at = ContLayout::STACK as i32;
        let number = self.builder.ins().load(I32, flags, address, at);
        let store = self.store_here();
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
        self.builder.ins().load(POINTER, flags, entry, 0)
    }

    /// Puts the chain with a head before the current stack, with the clauses of a resume.
    pub(super) fn link(&mut self, head: Value, table: &ResumeTable) {
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
            let tags = self.addresses_of(&others);
            self.store_of_stack(tags, end, offset::STACK_HANDLERS);
        }
        self.disown(head);
    }

    /// The addresses of tags, in memory of the frame.
    fn addresses_of(&mut self, tags: &[TagIndex]) -> Value {
        self.count_passed(tags.len());
        let slot = self.switching.tags;
        let slot = self.slot_of(slot, tags.len() as u32 * POINTER.bytes());
        self.switching.tags = Some(slot);
        let addresses = self.builder.ins().stack_addr(POINTER, slot, 0);
        for (i, &tag) in tags.iter().enumerate() {
            let tag = self.tag_address(tag);
            let at = (i as u32 * POINTER.bytes()) as i32;
            let flags = self.flags(Region::StackValues);
            self.builder.ins().store(flags, tag, addresses, at);
        }
        addresses
    }

    /// The address of a tag's `VmTag`: its identity.
    pub(super) fn tag_address(&mut self, tag: TagIndex) -> Value {
        if self.cx.module.is_imported_tag(tag) {
            let at = self.cx.layout.imported_tag(tag) as i32;
            return self.load_once(POINTER, self.vmctx, at);
        }
        let at = self.cx.layout.defined_tag(tag);
        self.builder.ins().iadd_imm_u(self.vmctx, i64::from(at))
    }

    /// The stack whose parent handles a tag, and the number of its clause, 64 bits.
    pub(super) fn find_suspend_handler(&mut self, current: Value, tag: TagIndex) -> (Value, Value) {
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
    pub(super) fn switch_to(&mut self, stack: Value, words: Words) -> Words {
        self.switch_by(BuiltinTable::SWITCH_STACK_OFFSET, stack, words)
    }

    /// The same, by one of the runtime's routines for it.
    pub(super) fn switch_by(
        &mut self,
        routine: u32,
        stack: Value,
        [first, second]: Words,
    ) -> Words {
        self.mark();
        let builtins = self.load_once(POINTER, self.vmctx, offset::CONTEXT_BUILTINS);
        let routine = self.load_once(POINTER, builtins, routine as i32);
        let store = self.store_here();
        let signature = self.switch_signature();
        let args = [stack, store, first, second];
        let words = self.call_clobbering(Callee::Pointer(routine), signature, &args);
        let here = self.switching.here.expect("a module with continuations");
        self.builder.def_var(here.0, words[2]);
        self.builder.def_var(here.1, words[3]);
        [words[0], words[1]]
    }

    /// The signature of these routines.
    fn switch_signature(&mut self) -> SigRef {
        let builder = &mut self.builder;
        *self.switching.signature.get_or_insert_with(|| {
            let mut signature = Signature::new(CallConv::Tail);
            signature.params = [POINTER, POINTER, I64, I64].map(AbiParam::new).into();
            signature.returns = [I64, I64, POINTER, POINTER].map(AbiParam::new).into();
            builder.import_signature(signature)
        })
    }
}
