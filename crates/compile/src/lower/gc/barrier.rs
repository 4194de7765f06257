//! Stores of references into what may be old.
//!
//! The collector keeps the addresses of old slots that hold young references in a buffer (see
//! [`sarsen_abi::heap`]). So a store asks, cheapest question first:
//!
//! ```text
//!   is the object young? ─yes─────────────────────────▶ store
//!     │no
//!   is the new value not young? ─yes──────────────────▶ store
//!     │no
//!   was the old value young? ─yes (the slot is known)─▶ store
//!     │no
//!   append the slot's address, store; if the buffer is full now, tell the runtime
//! ```
//!
//! The call comes last, so that no address is used after it.

use super::super::facts::may_hold_i31;
use super::super::function::Lowering;
use super::super::memory::Place;
use super::super::region::Region;
use super::super::signature::POINTER;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::I32;
use cranelift_codegen::ir::{Block, InstBuilder, Value};
use sarsen_abi::Builtin;
use sarsen_abi::heap::{I31_BIT, YOUNG};
use sarsen_abi::types::HeapType;
use sarsen_abi::vmctx::offset;

const _: () = assert!(I31_BIT == 1 && YOUNG.is_multiple_of(2));

impl Lowering<'_, '_> {
    /// Stores a collected reference in a slot of references to `heap`: a field or element of `object`, or,
    /// without one, something that is never young itself.
    pub(in crate::lower) fn store_reference(
        &mut self,
        place: Place,
        object: Option<Value>,
        heap: HeapType,
        value: Value,
    ) {
        let Place {
            address,
            offset: at,
            flags,
        } = place;
        if !self.may_be_object(value) {
            self.builder.ins().store(flags, value, address, at);
            return;
        }
        let plain = self.builder.create_block();
        let done = self.builder.create_block();
        if let Some(object) = object {
            let is_young = self.builder.ins().icmp_imm_u(
                IntCC::UnsignedGreaterThanOrEqual,
                object,
                i64::from(YOUNG),
            );
            self.skip_if(is_young, plain);
        }
        let is_young = self.is_young(value, self.may_be_i31(value));
        let young = self.builder.create_block();
        self.builder.ins().brif(is_young, young, &[], plain, &[]);
        self.continue_in(young);
        let old = self.builder.ins().load(I32, flags, address, at);
        let is_known = self.is_young(old, may_hold_i31(heap));
        self.skip_if(is_known, plain);
        let slot = self.builder.ins().iadd_imm_s(address, i64::from(at));
        let is_full = self.remember(slot);
        self.builder.ins().store(flags, value, address, at);
        self.if_full(is_full, done);
        self.continue_in(plain);
        self.builder.ins().store(flags, value, address, at);
        self.builder.ins().jump(done, &[]);
        self.continue_in(done);
    }

    /// After a reference to `heap` was written to `place`, the first to be written there: tells the
    /// collector if it is young.
    pub(super) fn remember_if_young(&mut self, place: Place, heap: HeapType) {
        let Place {
            address,
            offset: at,
            flags,
        } = place;
        let value = self.builder.ins().load(I32, flags, address, at);
        let is_young = self.is_young(value, may_hold_i31(heap));
        let young = self.builder.create_block();
        let done = self.builder.create_block();
        self.builder.ins().brif(is_young, young, &[], done, &[]);
        self.continue_in(young);
        let slot = self.builder.ins().iadd_imm_s(address, i64::from(at));
        let is_full = self.remember(slot);
        self.if_full(is_full, done);
        self.continue_in(done);
    }

    /// Goes to `target` if `condition` holds.
    fn skip_if(&mut self, condition: Value, target: Block) {
        let next = self.builder.create_block();
        self.builder.ins().brif(condition, target, &[], next, &[]);
        self.continue_in(next);
    }

    /// Whether a collected reference is to a young object. It may be an unboxed integer only if
    /// `may_be_i31`.
    pub(super) fn is_young(&mut self, value: Value, may_be_i31: bool) -> Value {
        let young = i64::from(YOUNG);
        if !may_be_i31 {
            return self
                .builder
                .ins()
                .icmp_imm_u(IntCC::UnsignedGreaterThanOrEqual, value, young);
        }
        // Rotated, what is odd is past everything that is young and even.
        let rotated = self.builder.ins().rotr_imm_u(value, 1);
        let first = i64::from(YOUNG >> 1);
        let distance = self.builder.ins().iadd_imm_s(rotated, -first);
        self.builder.ins().icmp_imm_u(
            IntCC::UnsignedLessThan,
            distance,
            i64::from((1 << 31) - (YOUNG >> 1)),
        )
    }

    /// Appends an address to the buffer of remembered slots; returns whether the buffer is full now.
    pub(super) fn remember(&mut self, slot: Value) -> Value {
        let store = self.store_context();
        let flags = self.flags(Region::Allocation);
        let next = self
            .builder
            .ins()
            .load(POINTER, flags, store, offset::STORE_REMEMBERED_NEXT);
        let slot_flags = self.flags(Region::Remembered);
        self.builder.ins().store(slot_flags, slot, next, 0);
        let next = self.builder.ins().iadd_imm_u(next, 8);
        self.builder
            .ins()
            .store(flags, next, store, offset::STORE_REMEMBERED_NEXT);
        let end = self
            .builder
            .ins()
            .load(POINTER, flags, store, offset::STORE_REMEMBERED_END);
        self.builder.ins().icmp(IntCC::Equal, next, end)
    }

    /// Goes to `done`, by way of the runtime if the buffer of remembered slots is full.
    pub(super) fn if_full(&mut self, is_full: Value, done: Block) {
        let full = self.builder.create_block();
        self.builder.set_cold_block(full);
        self.builder.ins().brif(is_full, full, &[], done, &[]);
        self.continue_in(full);
        self.call_builtin(Builtin::GcRememberedFull, &[]);
        self.builder.ins().jump(done, &[]);
    }
}
