//! References: null, references to functions, tests for null.

use super::function::{Lowering, trap_code};
use super::signature::{POINTER, parsed_heap_type};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::I32;
use cranelift_codegen::ir::{InstBuilder, Value};
use sarsen_abi::{FuncIndex, TrapCode};

impl Lowering<'_, '_> {
    /// `ref.null`
    pub(super) fn ref_null(&mut self, heap: wasmparser::HeapType) {
        let heap = parsed_heap_type(self.cx.module, heap);
        let null = self.null(heap);
        self.push(null);
    }

    /// `ref.is_null`
    pub(super) fn ref_is_null(&mut self) {
        let reference = self.pop();
        if self.may_be_null(reference) {
            let is_null = self.is_null(reference);
            self.push_bool(is_null);
        } else {
            let no = self.iconst(I32, 0);
            self.push(no);
        }
    }

    /// `ref.func`
    pub(super) fn ref_func(&mut self, func: u32) {
        let reference = self.func_reference(FuncIndex::new(func));
        self.push(reference);
    }

    /// A reference to a function: the address of its `VmFuncRef`, which is in the vmctx.
    pub(super) fn func_reference(&mut self, func: FuncIndex) -> Value {
        let layout = &self.cx.layout;
        let offset = if self.cx.module.is_imported_func(func) {
            layout.imported_func(func)
        } else {
            let position = self.cx.module.escaping_position(func);
            layout.escaping_func(position.expect("`read` collects every function referred to"))
        };
        let offset = self.builder.ins().iconst(POINTER, i64::from(offset));
        let reference = self.builder.ins().iadd(self.vmctx, offset);
        let ty = self.cx.module.funcs[func.index()];
        self.facts.declare_func(reference, func, ty);
        reference
    }

    /// `ref.as_non_null`
    pub(super) fn ref_as_non_null(&mut self) {
        let reference = *self.stack.last().expect("validated: an operand");
        self.trap_if_null(reference);
    }

    /// Traps if a reference is null.
    pub(super) fn trap_if_null(&mut self, reference: Value) {
        if self.may_be_null(reference) {
            self.mark();
            let code = trap_code(TrapCode::NullReference);
            self.builder.ins().trapz(reference, code);
            self.learn_non_null(reference);
        }
    }

    /// `br_on_null`
    pub(super) fn br_on_null(&mut self, depth: u32) {
        let reference = self.pop();
        let is_null = self.is_null(reference);
        self.br_if_nonzero(depth, is_null);
        self.learn_non_null(reference);
        self.push(reference);
    }

    /// `br_on_non_null`
    pub(super) fn br_on_non_null(&mut self, depth: u32) {
        let reference = *self.stack.last().expect("validated: an operand");
        let is_set = self.builder.ins().icmp_imm_u(IntCC::NotEqual, reference, 0);
        self.br_if_nonzero(depth, is_set);
        self.pop();
    }

    /// `ref.eq`
    pub(super) fn ref_eq(&mut self) {
        let (x, y) = self.pop2();
        let is_same = self.builder.ins().icmp(IntCC::Equal, x, y);
        self.push_bool(is_same);
    }

    /// Whether a reference is null.
    pub(super) fn is_null(&mut self, reference: Value) -> Value {
        self.builder.ins().icmp_imm_u(IntCC::Equal, reference, 0)
    }
}
