//! References to functions in the heap: numbers, which the heap cannot turn into pointers.
//!
//! The store has a table of the functions that its objects refer to. A number from the heap may be any
//! number: it is masked, so that it is one of some entry, also under misspeculation, and where the field's
//! type says more than `funcref`, the function's type is checked too.

use super::super::function::{Lowering, trap_code};
use super::super::region::Region;
use super::super::signature::{POINTER, Repr};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{InstBuilder, Value};
use sarsen_abi::types::{AbstractHeapType, HeapType, Hierarchy, RefType};
use sarsen_abi::vmctx::{NO_FUNC_ID, offset};
use sarsen_abi::{Builtin, TrapCode, TypeIndex};
use wasmparser::Operator;

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
        let is_missing =
            self.builder
                .ins()
                .icmp_imm_s(IntCC::Equal, known, i64::from(NO_FUNC_ID as i32));
        let first = self.builder.create_block();
        let done = self.builder.create_block();
        self.builder.set_cold_block(first);
        let id = self.builder.append_block_param(done, I32);
        self.builder
            .ins()
            .brif(is_missing, first, &[], done, &[known.into()]);
        self.continue_in(first);
        let new = self.call_builtin(Builtin::FuncId, &[func]);
        let new = new.expect("it has a result");
        self.builder.ins().jump(done, &[new.into()]);
        self.continue_in(done);
        id
    }

    /// The number that `operator`, a load from a field or element, loads.
    pub(in crate::lower) fn load_function_number(&mut self, operator: &Operator<'_>) -> Value {
        let place = match *operator {
            Operator::StructGet {
                struct_type_index,
                field_index,
            } => {
                let object = self.pop();
                self.place_of_field(object, TypeIndex::new(struct_type_index), field_index)
            }
            Operator::ArrayGet { array_type_index } => {
                let (array, index) = self.pop2();
                self.place_of_element(array, index, TypeIndex::new(array_type_index))
            }
            _ => unreachable!("it loads from a field or an element"),
        };
        let ins = self.builder.ins();
        ins.load(I32, place.flags, place.address, place.offset)
    }

    /// The function with a number from a field or element of type `ty`, which names a type of functions, to
    /// be called now: null traps.
    pub(in crate::lower) fn function_to_call(&mut self, id: Value, ty: RefType) -> Value {
        let func = self.function_of_any_id(id);
        let null_code = if ty.nullable {
            TrapCode::NullReference
        } else {
            TrapCode::HeapCorruption
        };
        if let HeapType::ConcreteFunc(expected) = ty.heap {
            self.check_type_of_function(func, expected, null_code);
        }
        func
    }

    /// The function with a number from a field or element of type `ty`.
    pub(super) fn function_of_id(&mut self, id: Value, ty: RefType) -> Value {
        let func = self.function_of_any_id(id);
        self.check_loaded_function(func, ty);
        self.note_repr(func, Repr::of_ref(&ty));
        func
    }

    /// What the store's table has for a number.
    fn function_of_any_id(&mut self, id: Value) -> Value {
        self.mark();
        let store = self.store_context();
        let flags = self.flags(Region::FuncRefs);
        let table = self
            .builder
            .ins()
            .load(POINTER, flags, store, offset::STORE_FUNC_TABLE);
        let mask = self
            .builder
            .ins()
            .load(I32, flags, store, offset::STORE_FUNC_TABLE_MASK);
        let id = self.builder.ins().band(id, mask);
        let id = self.builder.ins().uextend(I64, id);
        let distance = self.builder.ins().ishl_imm_u(id, 3);
        let entry = self.builder.ins().iadd(table, distance);
        self.builder.ins().load(POINTER, flags, entry, 0)
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
                self.check_type_of_function(func, expected, TrapCode::HeapCorruption);
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

    /// Traps unless `func` is of type `expected`; null traps with `null_code`.
    fn check_type_of_function(&mut self, func: Value, expected: TypeIndex, null_code: TrapCode) {
        let flags = self.flags(Region::FuncRefs);
        let flags = flags.with_trap_code(Some(trap_code(null_code)));
        let actual = self
            .builder
            .ins()
            .load(I32, flags, func, offset::FUNCREF_TYPE_ID);
        let fits = self.is_type(actual, expected);
        let code = trap_code(TrapCode::HeapCorruption);
        self.builder.ins().trapz(fits, code);
    }
}
