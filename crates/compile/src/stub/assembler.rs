//! What the stubs have in common: access to the runtime's structures, to values in memory, the
//! record of an exit, and raising.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{
    AbiParam, Block, BlockArg, Function, GlobalValueData, InstBuilder, MemFlagsData, Signature,
    StackSlot, StackSlotData, StackSlotKind, TrapCode, Type, Value,
};
use cranelift_codegen::isa::TargetFrontendConfig;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use sarsen_abi::builtin::BuiltinTable;
use sarsen_abi::types::ValType;
use sarsen_abi::vmctx::{VAL_RAW_SIZE, offset};

/// The type of pointers.
pub(super) const POINTER: Type = I64;

/// Where code runs.
#[derive(Clone, Copy)]
pub(super) struct Place {
    store: Value,
    /// The innermost activation.
    activation: Value,
}

/// Writes the code of one stub.
pub(super) struct Assembler<'f> {
    /// The code.
    pub(super) builder: FunctionBuilder<'f>,
    entry: Block,
}

impl<'f> Assembler<'f> {
    /// Begins a function. Its signature is there already.
    pub(super) fn new(clif: &'f mut Function, builders: &'f mut FunctionBuilderContext) -> Self {
        let mut builder = FunctionBuilder::new(clif, builders);
        let entry = builder.create_block();
        builder.append_block_params_for_function_params(entry);
        builder.switch_to_block(entry);
        Assembler { builder, entry }
    }

    /// Ends the function.
    pub(super) fn finish(mut self, target: TargetFrontendConfig) {
        self.builder.seal_all_blocks();
        self.builder.finalize(target);
    }

    /// The function's parameters.
    pub(super) fn params(&self) -> Vec<Value> {
        self.builder.block_params(self.entry).to_vec()
    }

    /// Reads a field of a structure that the runtime keeps valid.
    pub(super) fn load(&mut self, ty: Type, base: Value, offset: i32) -> Value {
        self.builder
            .ins()
            .load(ty, MemFlagsData::trusted(), base, offset)
    }

    /// Writes a field of a structure that the runtime keeps valid.
    pub(super) fn store(&mut self, value: Value, base: Value, offset: i32) {
        self.builder
            .ins()
            .store(MemFlagsData::trusted(), value, base, offset);
    }

    /// Reads values of these types from an array of `ValRaw`.
    pub(super) fn load_values(&mut self, types: &[AbiParam], values: Value) -> Vec<Value> {
        let mut at = 0;
        types
            .iter()
            .map(|param| {
                let value = self.load(param.value_type, values, at);
                at += VAL_RAW_SIZE as i32;
                value
            })
            .collect()
    }

    /// Writes values of these types to an array of `ValRaw`. References are zero-extended, because
    /// the host reads them without knowing of what size they are.
    pub(super) fn store_values(&mut self, types: &[ValType], from: &[Value], values: Value) {
        let mut at = 0;
        for (ty, &value) in types.iter().zip(from) {
            let value = match ty {
                ValType::Ref(ty) if ty.is_collected() => self.builder.ins().uextend(I64, value),
                _ => value,
            };
            self.store(value, values, at);
            at += VAL_RAW_SIZE as i32;
        }
    }

    /// Makes the prologue trap when the stack's limit, read through the context that is the
    /// function's first parameter, would be passed.
    pub(super) fn check_stack(&mut self) {
        let func = &mut *self.builder.func;
        let flags = func
            .dfg
            .mem_flags
            .insert(MemFlagsData::trusted())
            .expect("a stub has few kinds of access");
        let context = func.create_global_value(GlobalValueData::VMContext);
        let mut load = |base, offset: i32| {
            func.create_global_value(GlobalValueData::Load {
                base,
                offset: offset.into(),
                global_type: POINTER,
                flags,
            })
        };
        let store = load(context, offset::CONTEXT_STORE);
        let limit = load(store, offset::STORE_STACK_LIMIT);
        func.stack_limit = Some(limit);
    }

    /// Where the code of this context runs.
    pub(super) fn place(&mut self, context: Value) -> Place {
        let store = self.load(POINTER, context, offset::CONTEXT_STORE);
        let activation = self.load(POINTER, store, offset::STORE_ACTIVATION);
        Place { store, activation }
    }

    /// Records in the activation that WebAssembly code is left: the frame pointer and the return address of
    /// this stub's caller.
    pub(super) fn record_exit(&mut self, place: Place) {
        let own_fp = self.builder.ins().get_frame_pointer(POINTER);
        let exit_fp = self.load(POINTER, own_fp, 0);
        self.store(exit_fp, place.activation, offset::ACTIVATION_EXIT_FP);
        let exit_pc = self.load(POINTER, own_fp, POINTER.bytes() as i32);
        self.store(exit_pc, place.activation, offset::ACTIVATION_EXIT_PC);
    }

    /// Keeps a value in the frame, for code that hardly ever runs: so that no register has to be saved for it.
    pub(super) fn keep(&mut self, value: Value) -> StackSlot {
        let slot = StackSlotData::new(StackSlotKind::ExplicitSlot, POINTER.bytes(), 3);
        let slot = self.builder.create_sized_stack_slot(slot);
        self.builder.ins().stack_store(POINTER, value, slot, 0);
        slot
    }

    /// What was kept.
    pub(super) fn kept(&mut self, slot: StackSlot) -> Value {
        self.builder.ins().stack_load(POINTER, POINTER, slot, 0)
    }

    /// Calls a C function, and returns its results.
    pub(super) fn call_c(&mut self, sig: Signature, callee: Value, args: &[Value]) -> Vec<Value> {
        let sig = self.builder.import_signature(sig);
        let call = self.builder.ins().call_indirect(sig, callee, args);
        self.builder.inst_results(call).to_vec()
    }

    /// Calls a C function of the host's or the runtime's, and returns its results: on the native stack,
    /// wherever we are. The first argument must be the context, and all must be passed in registers.
    pub(super) fn call_host(
        &mut self,
        place: Place,
        sig: Signature,
        callee: Value,
        args: &[Value],
    ) -> Vec<Value> {
        debug_assert!(args.len() <= sarsen_abi::builtin::MAX_PARAMS + 1);
        let context = args[0];
        let Place { store, activation } = place;
        let current = self.load(POINTER, store, offset::STORE_CURRENT_STACK);
        // The native stack's block begins the activation.
        let is_native = self.builder.ins().icmp(IntCC::Equal, current, activation);
        let direct = self.builder.create_block();
        let elsewhere = self.builder.create_block();
        let done = self.builder.create_block();
        self.builder.set_cold_block(elsewhere);
        let results: Vec<Value> = sig
            .returns
            .iter()
            .map(|result| self.builder.append_block_param(done, result.value_type))
            .collect();
        self.builder
            .ins()
            .brif(is_native, direct, &[], elsewhere, &[]);

        self.builder.switch_to_block(elsewhere);
        self.store(callee, activation, offset::ACTIVATION_NATIVE_CALLEE);
        let builtins = self.load(POINTER, context, offset::CONTEXT_BUILTINS);
        let at = BuiltinTable::NATIVE_CALL_OFFSET as i32;
        let native_call = self.load(POINTER, builtins, at);
        let returned = self.call_c(sig.clone(), native_call, args);
        let returned: Vec<BlockArg> = returned.into_iter().map(BlockArg::from).collect();
        self.builder.ins().jump(done, &returned);

        self.builder.switch_to_block(direct);
        let returned = self.call_c(sig, callee, args);
        let returned: Vec<BlockArg> = returned.into_iter().map(BlockArg::from).collect();
        self.builder.ins().jump(done, &returned);
        self.builder.switch_to_block(done);
        results
    }

    /// Goes on when `status` is `STATUS_OK`, and leaves WebAssembly code otherwise. The context must have been
    /// kept.
    pub(super) fn raise_unless_ok(&mut self, status: Value, context: StackSlot) {
        self.unless_ok(status, |asm, _| {
            let context = asm.kept(context);
            asm.raise(context);
        });
    }

    /// Goes on, in the block that `otherwise` is given, when `status` is `STATUS_OK`, and does `otherwise` if it
    /// is not, which must end the block that it begins in.
    pub(super) fn unless_ok(&mut self, status: Value, otherwise: impl FnOnce(&mut Self, Block)) {
        let failed = self.builder.create_block();
        let go_on = self.builder.create_block();
        self.builder.set_cold_block(failed);
        self.builder.ins().brif(status, failed, &[], go_on, &[]);
        self.builder.switch_to_block(failed);
        otherwise(self, go_on);
        self.builder.switch_to_block(go_on);
    }

    /// Leaves WebAssembly code for the reason that the store holds. Ends the block.
    pub(super) fn raise(&mut self, context: Value) {
        let builtins = self.load(POINTER, context, offset::CONTEXT_BUILTINS);
        let raise = self.load(POINTER, builtins, BuiltinTable::RAISE_OFFSET as i32);
        self.call_c(super::c_signature([POINTER], []), raise, &[context]);
        // Raising does not return.
        let code = TrapCode::unwrap_user(sarsen_abi::TrapCode::Unreachable.byte());
        self.builder.ins().trap(code);
    }
}
