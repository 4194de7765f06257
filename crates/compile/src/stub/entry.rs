//! Entry stubs: how the host calls a WebAssembly function of a type it knows.
//!
//! ```text
//!   u64 entry(activation, callee, values)                  C's, but keeps no registers
//!     activation.entry_fp = own frame pointer
//!     results = try_call callee.code(callee.context, values...)    tail
//!       returned: values... = results; return STATUS_OK
//!       left:     return STATUS_RAISE
//! ```
//!
//! A `try_call` in the `tail` convention clobbers every register on both of its edges. So whoever lands on the
//! exceptional edge needs to set pc, sp and fp only. The stub does not save the registers that C keeps: its
//! caller does, who knows which of them hold anything.

use super::assembler::{Assembler, POINTER};
use super::c_signature;
use crate::lower::wasm_signature;
use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{
    BlockArg, BlockCall, ExceptionTableData, ExceptionTableItem, InstBuilder, Signature, Value,
};
use cranelift_codegen::isa::CallConv;
use sarsen_abi::builtin::{STATUS_OK, STATUS_RAISE};
use sarsen_abi::types::FuncType;
use sarsen_abi::vmctx::offset;

/// The signature of every entry stub: [`sarsen_abi::vmctx::VmFuncRef::entry`].
pub(super) fn signature() -> Signature {
    let mut signature = c_signature([POINTER, POINTER, POINTER], [I64]);
    // Differs from C's, with these parameters and this result, in that no register is kept.
    signature.call_conv = CallConv::Winch;
    signature
}

/// Writes the entry stub of a function type.
pub(super) fn build(asm: &mut Assembler<'_>, ty: &FuncType) {
    let params = asm.params();
    let [activation, callee, values] = params[..] else {
        unreachable!("the signature has three parameters");
    };
    let fp = asm.builder.ins().get_frame_pointer(POINTER);
    asm.store(fp, activation, offset::ACTIVATION_ENTRY_FP);

    let code = asm.load(POINTER, callee, offset::FUNCREF_CODE);
    let context = asm.load(POINTER, callee, offset::FUNCREF_CONTEXT);
    let mut args = vec![context];
    let signature = wasm_signature(ty);
    args.extend(asm.load_values(&signature.params[1..], values));
    let results = try_call(asm, signature, code, &args);

    asm.store_values(&ty.results, &results, values);
    finish(asm, STATUS_OK);
}

/// Calls `code`. Writes the whole exceptional path, and goes on where the call returns; gives the
/// results.
fn try_call(
    asm: &mut Assembler<'_>,
    signature: Signature,
    code: Value,
    args: &[Value],
) -> Vec<Value> {
    let builder = &mut asm.builder;
    let returned = builder.create_block();
    let left = builder.create_block();
    let results: Vec<Value> = signature
        .returns
        .iter()
        .map(|result| builder.append_block_param(returned, result.value_type))
        .collect();
    let result_args = (0..results.len() as u32).map(BlockArg::TryCallRet);
    let pool = &mut builder.func.dfg.value_lists;
    let normal = BlockCall::new(returned, result_args, pool);
    let exceptional = BlockCall::new(left, [], pool);
    let signature = builder.import_signature(signature);
    let table = builder
        .func
        .dfg
        .exception_tables
        .push(ExceptionTableData::new(
            signature,
            normal,
            [ExceptionTableItem::Default(exceptional)],
        ));
    builder.set_cold_block(left);
    builder.ins().try_call_indirect(code, args, table);
    builder.switch_to_block(left);
    finish(asm, STATUS_RAISE);
    asm.builder.switch_to_block(returned);
    results
}

fn finish(asm: &mut Assembler<'_>, status: u64) {
    let status = asm.builder.ins().iconst(I64, status as i64);
    asm.builder.ins().return_(&[status]);
}
