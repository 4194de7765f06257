//! References to functions in the heap: numbers, which the heap cannot turn into pointers.
//!
//! The store has a table of the functions that its objects refer to. A number from the heap may be any
//! number: it is checked against the table's length, also under misspeculation, and where the field's type
//! says more than `funcref`, the function's type is checked too.

use super::super::function::{Lowering, trap_code};
use super::super::region::Region;
use super::super::signature::{POINTER, Repr};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{InstBuilder, Value};
use sarsen_abi::types::{AbstractHeapType, HeapType, Hierarchy, RefType};
use sarsen_abi::vmctx::offset;
use sarsen_abi::{Builtin, TrapCode};

/// A function's number takes at most this many blocks.
pub(super) const MAX_ID_BLOCKS: u64 = 4;

/// A function from its number takes at most this many blocks.
pub(super) const MAX_LOAD_BLOCKS: u64 = 5;

impl Lowering<'_, '_> {
    /// The number for objects of a function, zero for null. The runtime gives it at the first time.
    pub(in crate::lower) fn id_of_function(&mut self, func: Value) -> Value {
        if !self.may_be_null(func) {
            return self.id_of_non_null(func);
        }
        let none = self.iconst(I32, 0);
        let known = self.known_type(func, Hierarchy::Func);
        if known.heap == HeapType::Abstract(AbstractHeapType::NoFunc) {
            return none;
        }
        let some = self.builder.create_block();
        let done = self.builder.create_block();
        let id = self.builder.append_block_param(done, I32);
        self.builder
            .ins()
            .brif(func, some, &[], done, &[none.into()]);
        self.continue_in(some);
        let known = self.id_of_non_null(func);
        self.builder.ins().jump(done, &[known.into()]);
        self.continue_in(done);
        id
    }

    fn id_of_non_null(&mut self, func: Value) -> Value {
        let flags = self.flags(Region::FuncRefs);
        let known = self
            .builder
            .ins()
            .load(I32, flags, func, offset::FUNCREF_ID);
        let first = self.builder.create_block();
        let done = self.builder.create_block();
        self.builder.set_cold_block(first);
        let id = self.builder.append_block_param(done, I32);
        self.builder
            .ins()
            .brif(known, done, &[known.into()], first, &[]);
        self.continue_in(first);
        let new = self.call_builtin(Builtin::FuncId, &[func]);
        let new = new.expect("it has a result");
        self.builder.ins().jump(done, &[new.into()]);
        self.continue_in(done);
        id
    }

    /// The function with a number from a field or element of type `ty`.
    pub(super) fn function_of_id(&mut self, id: Value, ty: RefType) -> Value {
        self.mark();
        let store = self.store_context();
        let flags = self.flags(Region::FuncRefs);
        let table = self
            .builder
            .ins()
            .load(POINTER, flags, store, offset::STORE_FUNC_TABLE);
        let length = self
            .builder
            .ins()
            .load(I64, flags, store, offset::STORE_FUNC_TABLE_LENGTH);
        let id = self.builder.ins().uextend(I64, id);
        let distance = self.builder.ins().ishl_imm_u(id, 3);
        let entry = self.builder.ins().iadd(table, distance);
        let is_wrong = self
            .builder
            .ins()
            .icmp(IntCC::UnsignedGreaterThanOrEqual, id, length);
        let nowhere = self.iconst(POINTER, 0);
        let entry = self
            .builder
            .ins()
            .select_spectre_guard(is_wrong, nowhere, entry);
        let code = trap_code(TrapCode::HeapCorruption);
        let flags = flags.with_trap_code(Some(code));
        let func = self.builder.ins().load(POINTER, flags, entry, 0);
        self.check_loaded_function(func, ty);
        self.note_repr(func, Repr::of_ref(&ty));
        func
    }

    fn check_loaded_function(&mut self, func: Value, ty: RefType) {
        let code = trap_code(TrapCode::HeapCorruption);
        match ty.heap {
            HeapType::ConcreteFunc(expected) => {
                let done = self.builder.create_block();
                if ty.nullable {
                    let some = self.builder.create_block();
                    self.builder.ins().brif(func, some, &[], done, &[]);
                    self.continue_in(some);
                }
                let flags = self.flags(Region::FuncRefs).with_trap_code(Some(code));
                let actual = self
                    .builder
                    .ins()
                    .load(I32, flags, func, offset::FUNCREF_TYPE_ID);
                let fits = self.is_type(actual, expected);
                self.builder.ins().trapz(fits, code);
                self.builder.ins().jump(done, &[]);
                self.continue_in(done);
            }
            HeapType::Abstract(AbstractHeapType::NoFunc) => {
                self.builder.ins().trapnz(func, code);
            }
            _ if !ty.nullable => {
                self.builder.ins().trapz(func, code);
            }
            _ => {}
        }
    }
}
