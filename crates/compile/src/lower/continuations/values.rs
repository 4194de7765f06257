//! Values that pass between stacks, in memory of a frame or of a stack.

use super::super::function::Lowering;
use super::super::region::Region;
use super::super::signature::{POINTER, Repr};
use cranelift_codegen::ir::{InstBuilder, StackSlot, StackSlotData, StackSlotKind, Value};
use sarsen_abi::types::ValType;
use sarsen_abi::vmctx::{VAL_RAW_SIZE, offset};

impl Lowering<'_, '_> {
    /// Writes what a stack is resumed with to where it wants it.
    pub(super) fn give_values(&mut self, stack: Value, args: &[Value]) {
        if !args.is_empty() {
            let values = self.load_of_stack(POINTER, stack, offset::STACK_VALUES);
            self.store_values(values, args);
        }
    }

    /// The frame's place for so many values.
    pub(super) fn values_slot(&mut self, count: usize) -> Value {
        self.count_passed(count);
        let slot = self.switching.values;
        let slot = self.slot_of(slot, count as u32 * VAL_RAW_SIZE);
        self.switching.values = Some(slot);
        self.builder.ins().stack_addr(POINTER, slot, 0)
    }

    /// A slot of the frame of at least this size, in bytes: the one that there is, or a new one.
    pub(super) fn slot_of(&mut self, slot: Option<StackSlot>, size: u32) -> StackSlot {
        if let Some(slot) = slot {
            let data = &mut self.builder.func.sized_stack_slots[slot];
            data.size = data.size.max(size);
            return slot;
        }
        let align_log2 = VAL_RAW_SIZE.ilog2() as u8;
        let data = StackSlotData::new(StackSlotKind::ExplicitSlot, size, align_log2);
        self.builder.create_sized_stack_slot(data)
    }

    pub(super) fn store_values(&mut self, values: Value, from: &[Value]) {
        self.count_passed(from.len());
        let flags = self.flags(Region::StackValues);
        for (i, &value) in from.iter().enumerate() {
            let at = (i as u32 * VAL_RAW_SIZE) as i32;
            self.builder.ins().store(flags, value, values, at);
        }
    }

    /// Pushes values of these types.
    pub(super) fn load_values(&mut self, values: Value, types: &[ValType]) {
        self.count_passed(types.len());
        let flags = self.flags(Region::StackValues);
        for (i, ty) in types.iter().enumerate() {
            let at = (i as u32 * VAL_RAW_SIZE) as i32;
            let repr = Repr::of(ty);
            let value = self.builder.ins().load(repr.ty, flags, values, at);
            self.note_repr(value, repr);
            self.push(value);
        }
    }
}
