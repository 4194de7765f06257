//! Continuations as objects: [`sarsen_abi::heap::ContLayout`].

use super::super::function::Lowering;
use super::super::region::Region;
use super::super::signature::{POINTER, Repr};
use super::func_type_index;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{InstBuilder, Value};
use sarsen_abi::heap::{CONT_TYPE, ContLayout};
use sarsen_abi::types::{HeapType, RefType};
use sarsen_abi::vmctx::offset;
use sarsen_abi::{TrapCode, TypeIndex};

impl Lowering<'_, '_> {
    /// A new continuation: `word` is the number of its stack, and in the high half that of its function.
    pub(super) fn new_cont(&mut self, heap: HeapType, word: Value) -> Value {
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
    pub(super) fn cont_address(&mut self, cont: Value) -> Value {
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
    pub(super) fn set_cont_word(&mut self, cont: Value, at: u32, word: Value) {
        let flags = self.heap_flags(Region::Initial, TrapCode::HeapCorruption, 8);
        let address = self.cont_address(cont);
        self.builder.ins().store(flags, word, address, at as i32);
    }

    /// A new continuation that has the number of a stack.
    pub(super) fn new_cont_of(&mut self, stack: Value, heap: HeapType) -> Value {
        let number = self.load_of_stack(I32, stack, offset::STACK_ID);
        let number = self.builder.ins().uextend(I64, number);
        self.new_cont(heap, number)
    }

    /// Writes the type of a continuation that is new.
    pub(super) fn set_cont_type(&mut self, cont: Value, ty: TypeIndex) {
        let id = self.type_id(ty);
        let id = self.builder.ins().uextend(I64, id);
        self.set_cont_word(cont, ContLayout::TYPE, id);
    }

    /// Notes that a value is a reference to a continuation.
    pub(super) fn note_cont(&mut self, cont: Value, heap: HeapType) {
        let nullable = false;
        self.note_repr(cont, Repr::of_ref(&RefType { nullable, heap }));
    }

    /// Makes a continuation the owner of the stack that runs.
    pub(super) fn own(&mut self, current: Value, cont: Value, outermost: Value, values: Value) {
        self.store_of_stack(cont, current, offset::STACK_OWNER);
        self.store_of_stack(outermost, current, offset::STACK_CHAIN_END);
        self.store_of_stack(values, current, offset::STACK_VALUES);
        let store = self.store_here();
        self.store_of_stack(current, store, offset::STORE_LAST_SUSPENDED);
    }

    /// Writes the type of the continuation that a stack was suspended as.
    pub(super) fn set_func_type(&mut self, head: Value, cont_type: TypeIndex) {
        let ty = self.type_id(func_type_index(self.cx.module, cont_type));
        self.store_of_stack(ty, head, offset::STACK_FUNC_TYPE);
    }

    pub(super) fn disown(&mut self, stack: Value) {
        let nobody = self.iconst(I32, 0);
        self.store_of_stack(nobody, stack, offset::STACK_OWNER);
    }
}
