//! Calls: of the module's own functions, of imports, through tables and references, of builtins.
//!
//! [`Lowering::invoke`] is the one place where a WebAssembly function is called. Each kind of call
//! finds the code and the context to call it with:
//!
//! | callee | code | context |
//! |---|---|---|
//! | a function that the module defines | known to the linker | our vmctx |
//! | an import | its `VmFuncRef` in our vmctx | the same |
//! | a reference, or a table's element | the `VmFuncRef` it points to | the same |
//!
//! A call by a reference or through a table may first be compared with whom it is likely to reach:
//! [`super::guarded`].
//!
//! A tail call from an inlined function becomes a call and a return from the inlined body: that needs
//! one frame, as the inlined function's own frame would have been replaced by one.

use super::facts::is_declared_subtype;
use super::function::{Lowering, trap_code};
use super::guarded::Reference;
use super::region::Region;
use super::signature::{POINTER, Repr, builtin_signature, wasm_signature};
use crate::compiled::{ClifName, CodeKind};
use crate::error::Result;
use cranelift_codegen::ir;
use cranelift_codegen::ir::types::I32;
use cranelift_codegen::ir::{ExtFuncData, ExternalName, InstBuilder, SigRef, Signature, Value};
use sarsen_abi::types::HeapType;
use sarsen_abi::vmctx::offset;
use sarsen_abi::{Builtin, FuncIndex, TableIndex, TrapCode, TypeIndex};
use smallvec::{SmallVec, smallvec};
use std::collections::HashMap;

/// About so many values of a call are in registers.
const MAX_IN_REGISTERS: usize = 16;

/// Each of the others counts as so many values that are passed: all of them exist at once.
const VALUE_IN_MEMORY_SIZE: usize = 32;

/// So many operands that wait for a call count as one value that is passed.
const OPERANDS_WAITING_AS_ONE: usize = 4;

/// Whether a call comes back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Transfer {
    /// It does.
    Call,
    /// The callee takes the caller's place.
    Tail,
}

/// What is called.
#[derive(Clone, Copy)]
pub(super) enum Callee {
    /// Code of the image.
    Known(ir::FuncRef),
    /// Code of the image that throws no exception.
    Quiet(ir::FuncRef),
    /// Code at an address.
    Pointer(Value),
}

/// What the function has declared to call.
#[derive(Default)]
pub(super) struct Callees {
    signatures: HashMap<TypeIndex, SigRef>,
    code: HashMap<CodeKind, ir::FuncRef>,
}

type Values = SmallVec<[Value; 8]>;

impl Lowering<'_, '_> {
    /// `call` and `return_call`
    pub(super) fn call(&mut self, func: u32, transfer: Transfer) -> Result<()> {
        let func = FuncIndex::new(func);
        let ty = self.cx.module.funcs[func.index()];
        let Some(defined) = self.cx.module.defined_func(func) else {
            let func_ref = self.cx.layout.imported_func(func) as i32;
            self.call_func_ref(self.vmctx, func_ref, None, ty, transfer);
            return Ok(());
        };
        if transfer == Transfer::Call && self.should_inline(defined) {
            return self.inline_call(defined);
        }
        let signature = self.signature(ty);
        let code = self.import(CodeKind::Wasm(defined), |_| signature);
        let callee = if self.cx.may_throw(defined) {
            Callee::Known(code)
        } else {
            Callee::Quiet(code)
        };
        self.invoke(callee, self.vmctx, ty, transfer);
        Ok(())
    }

    /// `call_indirect` and `return_call_indirect`
    pub(super) fn call_indirect(&mut self, ty: u32, table: u32, transfer: Transfer) -> Result<()> {
        let ty = TypeIndex::new(ty);
        let table = TableIndex::new(table);
        let index = self.pop();
        let func_ref = self.load_element(table, index, TrapCode::UndefinedElement);
        let targets = self.cx.targets().of_type(ty);
        let callee = Reference::Address(func_ref);
        self.guarded_call(callee, targets, ty, transfer, |this| {
            let element = this.cx.module.tables[table.index()].element;
            let null_code = if this.is_always_of_type(element.heap, ty) {
                element.nullable.then_some(TrapCode::IndirectCallToNull)
            } else {
                this.check_func_type(func_ref, ty);
                None
            };
            this.call_func_ref(func_ref, 0, null_code, ty, transfer);
        })
    }

    /// `call_ref` and `return_call_ref`
    pub(super) fn call_ref(&mut self, ty: u32, transfer: Transfer) -> Result<()> {
        let func_ref = self.pop();
        let (ty, module) = (TypeIndex::new(ty), self.cx.module);
        // After a cast that fails, a function of another type is known.
        if let Some(func) = self.facts.func(func_ref)
            && is_declared_subtype(module, module.funcs[func.index()], ty)
        {
            return self.call(func.as_u32(), transfer);
        }
        let targets = self.cx.targets().of_type(ty);
        let callee = Reference::Address(func_ref);
        self.guarded_call(callee, targets, ty, transfer, |this| {
            // Whether the reference's type admits null does not matter: the check costs nothing.
            let null_code = Some(TrapCode::NullReference);
            this.call_func_ref(func_ref, 0, null_code, ty, transfer);
        })
    }

    /// Whether every non-null reference to `heap` is to a function of type `ty`. Types are compared
    /// by index, so the answer may be no for equal types.
    fn is_always_of_type(&self, heap: HeapType, ty: TypeIndex) -> bool {
        let HeapType::ConcreteFunc(declared) = heap else {
            return false;
        };
        is_declared_subtype(self.cx.module, declared, ty)
    }

    /// Traps unless `func_ref` is to a function of type `ty`. Null traps, by the load of its type.
    fn check_func_type(&mut self, func_ref: Value, ty: TypeIndex) {
        let null_code = trap_code(TrapCode::IndirectCallToNull);
        let flags = self.flags(Region::FuncRefs).with_trap_code(Some(null_code));
        let actual = self
            .builder
            .ins()
            .load(I32, flags, func_ref, offset::FUNCREF_TYPE_ID);
        let fits = self.is_type(actual, ty);
        self.builder
            .ins()
            .trapz(fits, trap_code(TrapCode::BadSignature));
    }

    /// Calls the function whose `VmFuncRef` is `at` bytes after `address`. A null address traps with
    /// `null_code`; without one, it is known not to be null.
    pub(super) fn call_func_ref(
        &mut self,
        address: Value,
        at: i32,
        null_code: Option<TrapCode>,
        ty: TypeIndex,
        transfer: Transfer,
    ) {
        self.mark();
        let flags = self.flags(Region::FuncRefs);
        let code_flags = flags.with_trap_code(null_code.map(trap_code));
        let code = self
            .builder
            .ins()
            .load(POINTER, code_flags, address, at + offset::FUNCREF_CODE);
        let context =
            self.builder
                .ins()
                .load(POINTER, flags, address, at + offset::FUNCREF_CONTEXT);
        self.invoke(Callee::Pointer(code), context, ty, transfer);
    }

    /// Calls a WebAssembly function with the operands, and pushes its results.
    fn invoke(&mut self, callee: Callee, context: Value, ty: TypeIndex, transfer: Transfer) {
        self.flush_fuel();
        self.mark();
        let cx = self.cx;
        let func_type = cx.module.func_type_at(ty);
        self.count_call_values(func_type.params.len() + func_type.results.len());
        let first = self.stack.len() - func_type.params.len();
        let mut args: Values = smallvec![context];
        args.extend(self.stack.drain(first..));
        if transfer == Transfer::Tail && self.is_own_frame() {
            match callee {
                Callee::Known(code) | Callee::Quiet(code) => {
                    self.builder.ins().return_call(code, &args)
                }
                Callee::Pointer(code) => {
                    let signature = self.signature(ty);
                    self.builder
                        .ins()
                        .return_call_indirect(signature, code, &args)
                }
            };
            self.stop();
            return;
        }
        let signature = self.signature(ty);
        let scope = match transfer {
            Transfer::Call => self.handlers.current,
            // The callee takes the place of an inlined function, handlers included.
            Transfer::Tail => self.frame.handlers,
        };
        let results = self.call_in(scope, callee, signature, &args);
        for (&result, ty) in results.iter().zip(&func_type.results) {
            self.note_repr(result, Repr::of(ty));
            self.push(result);
        }
        if transfer == Transfer::Tail {
            self.return_();
        }
    }

    /// Counts what a call passes, both ways.
    fn count_call_values(&mut self, values: usize) {
        let in_memory = values.saturating_sub(MAX_IN_REGISTERS);
        self.count_passed(values + in_memory * VALUE_IN_MEMORY_SIZE);
    }

    /// Counts the operands that wait for a call to return: those that are references are in its stack map.
    pub(super) fn count_waiting_operands(&mut self) {
        self.count_passed(self.stack.len() / OPERANDS_WAITING_AS_ONE);
    }

    /// The stub of a builtin.
    pub(super) fn builtin(&mut self, builtin: Builtin) -> (ir::FuncRef, SigRef) {
        let code = self.import(CodeKind::Builtin(builtin), |this| {
            this.builder.import_signature(builtin_signature(builtin))
        });
        (code, self.builder.func.dfg.ext_funcs[code].signature)
    }

    /// Calls a builtin of the runtime that throws nothing, and returns its result.
    pub(super) fn call_builtin(&mut self, builtin: Builtin, args: &[Value]) -> Option<Value> {
        self.mark();
        self.count_waiting_operands();
        let (code, _) = self.builtin(builtin);
        let mut all: Values = smallvec![self.vmctx];
        all.extend_from_slice(args);
        let call = self.builder.ins().call(code, &all);
        self.builder.inst_results(call).first().copied()
    }

    /// The signature of a function type, as this function declares it.
    fn signature(&mut self, ty: TypeIndex) -> SigRef {
        let builder = &mut self.builder;
        let module = self.cx.module;
        *self.callees.signatures.entry(ty).or_insert_with(|| {
            let signature: Signature = wasm_signature(module.func_type_at(ty));
            builder.import_signature(signature)
        })
    }

    /// Other code of the image, as this function declares it.
    fn import(
        &mut self,
        kind: CodeKind,
        signature: impl FnOnce(&mut Self) -> SigRef,
    ) -> ir::FuncRef {
        if let Some(&code) = self.callees.code.get(&kind) {
            return code;
        }
        let signature = signature(self);
        let func = &mut self.builder.func;
        let name = func.declare_imported_user_function(kind.to_clif_name());
        let code = self.builder.import_function(ExtFuncData {
            name: ExternalName::user(name),
            signature,
            colocated: true,
            patchable: false,
        });
        self.callees.code.insert(kind, code);
        code
    }
}
