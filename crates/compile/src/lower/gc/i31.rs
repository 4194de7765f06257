//! Unboxed integers: 31 bits, and a bit that tells them from references to objects.

use super::super::function::Lowering;
use super::super::signature::Repr;
use cranelift_codegen::ir::{InstBuilder, Value};
use sarsen_abi::heap::I31_BIT;
use sarsen_abi::types::{AbstractHeapType, HeapType, RefType};

impl Lowering<'_, '_> {
    /// `ref.i31`
    pub(super) fn ref_i31(&mut self) {
        let number = self.pop();
        let shifted = self.builder.ins().ishl_imm_u(number, 1);
        let reference = self.builder.ins().bor_imm_u(shifted, i64::from(I31_BIT));
        self.note_repr(
            reference,
            Repr::of_ref(&RefType {
                nullable: false,
                heap: HeapType::Abstract(AbstractHeapType::I31),
            }),
        );
        self.push(reference);
    }

    /// `i31.get_s` and `i31.get_u`
    pub(super) fn i31_get(&mut self, signed: bool) {
        let reference = self.pop();
        self.trap_if_null(reference);
        let number = if signed {
            self.builder.ins().sshr_imm_u(reference, 1)
        } else {
            self.builder.ins().ushr_imm_u(reference, 1)
        };
        self.push(number);
    }

    /// A number that is not zero if a collected reference is an unboxed integer.
    pub(super) fn i31_bit(&mut self, reference: Value) -> Value {
        self.builder.ins().band_imm_u(reference, i64::from(I31_BIT))
    }
}
