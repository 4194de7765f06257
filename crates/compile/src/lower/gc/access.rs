//! Where a field, an element or a header is in memory: one constructor for each kind of access.
//!
//! A reference is a 32-bit offset from the heap's base. Whatever is added to it at run time is added in 32
//! bits, so that no reference and no index, however wrong, leads out of the heap and the guard after it;
//! only constants are added to the 64-bit address.
//!
//! No flags made here are `readonly` or `can_move`: Cranelift may then keep what it has loaded until the
//! next call, and no longer. That an access of a reference which cannot be null faults can only mean that
//! the heap is damaged.

use super::super::bound::{constant, upper_bound};
use super::super::function::{Lowering, trap_code};
use super::super::memory::Place;
use super::super::region::Region;
use super::super::signature::POINTER;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Value};
use sarsen_abi::TrapCode;
use sarsen_abi::heap::{
    FIRST, HEADER_LENGTH, HEADER_SIZE, HEADER_TYPE, ROW_KIND, ROW_SIZE, SHALLOW,
};
use sarsen_abi::vmctx::offset;

const _: () = assert!(ROW_KIND + 2 <= ROW_SIZE as i32 && SHALLOW * 4 <= ROW_SIZE as usize);

impl Lowering<'_, '_> {
    /// Flags for an access to `size` bytes of the heap, in `region`, that traps with `code`.
    pub(in crate::lower) fn heap_flags(
        &mut self,
        region: Region,
        code: TrapCode,
        size: u32,
    ) -> MemFlagsData {
        let region = region.intern(&mut self.builder.func.dfg.alias_regions);
        // Vectors are aligned to 8 bytes only.
        let flags = if size > 8 {
            MemFlagsData::new()
        } else {
            MemFlagsData::trusted()
        };
        flags
            .with_alias_region(Some(region))
            .with_trap_code(Some(trap_code(code)))
    }

    /// The heap's base.
    fn heap_base(&mut self) -> Value {
        let store = self.store_context();
        self.load_once(POINTER, store, offset::STORE_HEAP_BASE)
    }

    /// The address at a 32-bit offset from the heap's base.
    pub(super) fn heap_address(&mut self, offset: Value) -> Value {
        debug_assert_eq!(self.type_of(offset), I32);
        let base = self.heap_base();
        let offset = self.builder.ins().uextend(I64, offset);
        self.builder.ins().iadd(base, offset)
    }

    /// The code with which an access to an object traps.
    fn object_trap(&self, object: Value) -> TrapCode {
        if self.may_be_null(object) {
            TrapCode::NullReference
        } else {
            TrapCode::HeapCorruption
        }
    }

    /// A part of an object, of `size` bytes, `at` bytes from its beginning. Null traps.
    pub(super) fn field_place(
        &mut self,
        object: Value,
        at: u32,
        size: u32,
        region: Region,
    ) -> Place {
        self.mark();
        if at + size > FIRST {
            self.trap_if_null(object);
        }
        let code = self.object_trap(object);
        let flags = self.heap_flags(region, code, size);
        let address = self.heap_address(object);
        self.learn_non_null(object);
        Place {
            address,
            offset: at as i32,
            flags,
        }
    }

    /// A part of an object that has just been allocated, for its first value.
    pub(super) fn initial_place(&mut self, object: Value, at: u32, size: u32) -> Place {
        Place {
            address: self.heap_address(object),
            offset: at as i32,
            flags: self.heap_flags(Region::Initial, TrapCode::HeapCorruption, size),
        }
    }

    /// The type id in the header of an object, which is neither null nor an unboxed integer.
    pub(super) fn load_type_id(&mut self, object: Value) -> Value {
        self.mark();
        let flags = self.heap_flags(Region::Headers, TrapCode::HeapCorruption, 4);
        let address = self.heap_address(object);
        self.builder.ins().load(I32, flags, address, HEADER_TYPE)
    }

    /// The address of the row of the type with this id. Loads from there carry
    /// [`TrapCode::HeapCorruption`]: an id that came from the heap may be any number.
    pub(super) fn type_row(&mut self, id: Value) -> (Value, MemFlagsData) {
        self.mark();
        let rows = self.load_once(POINTER, self.vmctx, offset::VMCTX_TYPE_ROWS);
        let distance = self.builder.ins().uextend(I64, id);
        let row = self.builder.ins().iadd(rows, distance);
        let flags = self.heap_flags(Region::TypeRows, TrapCode::HeapCorruption, 4);
        (row, flags)
    }

    /// The number of elements of an array. Null traps.
    pub(in crate::lower) fn array_length(&mut self, array: Value) -> Value {
        if let Some(length) = self.facts.length(array) {
            return length;
        }
        let place = self.field_place(array, HEADER_LENGTH as u32, 4, Region::Headers);
        let length = self
            .builder
            .ins()
            .load(I32, place.flags, place.address, place.offset);
        self.facts.learn_length(array, length);
        length
    }

    /// An element of an array. An index past the end traps.
    ///
    /// What runs ahead of the check, when the processor takes it to succeed, reads the store's own heap,
    /// as an access after a cast does: see decision 7. `optimize/ranges.rs` finds checks that others cover.
    pub(super) fn array_place(
        &mut self,
        array: Value,
        index: Value,
        size: u32,
        region: Region,
    ) -> Place {
        self.mark();
        let length = self.array_length(array);
        let dfg = &self.builder.func.dfg;
        let exists = constant(dfg, length).is_some_and(|length| upper_bound(dfg, index) < length);
        if !exists {
            let is_past_end =
                self.builder
                    .ins()
                    .icmp(IntCC::UnsignedGreaterThanOrEqual, index, length);
            let code = trap_code(TrapCode::ArrayOutOfBounds);
            let check = self.builder.ins().trapnz(is_past_end, code);
            self.array_checks.push(check);
        }
        let distance = self
            .builder
            .ins()
            .ishl_imm_u(index, i64::from(size.ilog2()));
        let offset = self.builder.ins().iadd(array, distance);
        Place {
            address: self.heap_address(offset),
            offset: HEADER_SIZE as i32,
            flags: self.heap_flags(region, TrapCode::HeapCorruption, size),
        }
    }
}
