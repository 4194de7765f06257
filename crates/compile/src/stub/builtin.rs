//! Builtin stubs: how WebAssembly code calls the runtime. [`sarsen_abi::builtin`] has the
//! convention.
//!
//! They check no stack limit: whoever calls one has a frame, and so has checked it; the room that
//! the limit keeps for host functions is far more than a stub's frame.

use super::assembler::{Assembler, POINTER};
use super::c_signature;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{InstBuilder, Signature, Type};
use sarsen_abi::Builtin;
use sarsen_abi::builtin::{BuiltinSignature, BuiltinTable, MachineType};
use sarsen_abi::vmctx::offset;

/// Writes the stub of a builtin.
pub(super) fn build(asm: &mut Assembler<'_>, builtin: Builtin) {
    let row = builtin.signature();
    let params = asm.params();
    let vmctx = params[0];
    let place = asm.place(vmctx);
    // Nobody looks at the stack while one runs that can neither collect nor fail.
    if row.collects || row.traps {
        asm.record_exit(place);
    }
    let kept = row.traps.then(|| asm.keep(vmctx));
    let table = asm.load(POINTER, vmctx, offset::CONTEXT_BUILTINS);
    let function = asm.load(POINTER, table, BuiltinTable::offset(builtin) as i32);
    let returned = asm.call_host(place, function_signature(&row), function, &params);
    let mut result = row.result.map(|_| returned[0]);
    if let Some(vmctx) = kept {
        let status = *returned.last().expect("what may fail returns a status");
        asm.raise_unless_ok(status, vmctx);
        if row.result == Some(MachineType::I32) {
            // The function returns 64 bits beside a status.
            result = result.map(|value| asm.builder.ins().ireduce(I32, value));
        }
    }
    asm.builder.ins().return_(result.as_slice());
}

/// The signature of the runtime's function.
fn function_signature(row: &BuiltinSignature) -> Signature {
    let params = row.params.iter().copied().map(machine_type);
    let results: &[Type] = match (row.result.map(machine_type), row.traps) {
        (None, false) => &[],
        (Some(I32), false) => &[I32],
        (Some(_), false) => &[I64],
        (None, true) => &[I64],
        (Some(_), true) => &[I64, I64],
    };
    c_signature(
        std::iter::once(POINTER).chain(params),
        results.iter().copied(),
    )
}

fn machine_type(ty: MachineType) -> Type {
    match ty {
        MachineType::I32 => I32,
        MachineType::I64 => I64,
    }
}
