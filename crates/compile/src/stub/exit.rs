//! Exit stubs: how WebAssembly code calls a host function of some type.
//!
//! ```text
//!   results exit(host, params...)                          tail
//!     trap unless the stack has enough room for the host
//!     record the exit
//!     values... = params                                   in the stub's frame
//!     status = host.call(host, &values)                    system_v
//!     unless status is STATUS_OK: leave, or suspend until the results are there
//!     return values...
//! ```

use super::assembler::{Assembler, POINTER};
use super::c_signature;
use crate::lower::wasm_signature;
use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{InstBuilder, StackSlot, StackSlotData, StackSlotKind, Value};
use sarsen_abi::builtin::BuiltinTable;
use sarsen_abi::types::FuncType;
use sarsen_abi::vmctx::{VAL_RAW_SIZE, offset};

/// Writes the exit stub of a function type.
pub(super) fn build(asm: &mut Assembler<'_>, ty: &FuncType) {
    asm.check_stack();
    let params = asm.params();
    let (host, args) = params.split_first().expect("the context comes first");
    let place = asm.place(*host);
    asm.record_exit(place);

    let count = ty.params.len().max(ty.results.len()) as u32;
    let slot = asm.builder.create_sized_stack_slot(StackSlotData::new(
        StackSlotKind::ExplicitSlot,
        count * VAL_RAW_SIZE,
        VAL_RAW_SIZE.ilog2() as u8,
    ));
    let values = asm.builder.ins().stack_addr(POINTER, slot, 0);
    asm.store_values(&ty.params, args, values);
    let kept = [*host, values].map(|value| asm.keep(value));

    let call = asm.load(POINTER, *host, offset::HOSTCTX_CALL);
    let signature = c_signature([POINTER, POINTER], [I64]);
    let status = asm.call_host(place, signature, call, &[*host, values])[0];
    suspend_or_leave_unless_ok(asm, status, kept);
    let results = asm.load_values(&wasm_signature(ty).returns, values);
    asm.builder.ins().return_(&results);
}

/// Goes on when `status` is `STATUS_OK`. Otherwise has the runtime leave WebAssembly code, or suspend it, and
/// go on with the results that it is resumed with. The function's context and its values were kept.
fn suspend_or_leave_unless_ok(asm: &mut Assembler<'_>, status: Value, kept: [StackSlot; 2]) {
    asm.unless_ok(status, |asm, go_on| {
        let [host, values] = kept.map(|slot| asm.kept(slot));
        let builtins = asm.load(POINTER, host, offset::CONTEXT_BUILTINS);
        let at = BuiltinTable::HOST_FAILED_OFFSET as i32;
        let host_failed = asm.load(POINTER, builtins, at);
        let signature = c_signature([POINTER, POINTER], []);
        asm.call_c(signature, host_failed, &[host, values]);
        asm.builder.ins().jump(go_on, &[]);
    });
}
