//! Arrays: making them, and single elements.
//!
//! A small array is made inline. One of a constant length gets its words one by one, or in a loop when
//! there are many; one of another length is filled by a loop. Large ones are made by the runtime.

use super::super::bound::constant;
use super::super::function::Lowering;
use super::super::memory::Place;
use super::super::piecewise::LongOperation;
use super::slots::region;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{F32, F64, I32, I64};
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Value};
use sarsen_abi::heap::{ALIGNMENT, ArrayLayout, HEADER_SIZE, MAX_SMALL, Slot};
use sarsen_abi::types::{CompositeType, FieldType, HeapType, StorageType};
use sarsen_abi::{Builtin, TypeIndex};
use smallvec::SmallVec;

/// The size of the largest object that is filled without a loop, in bytes.
pub(super) const MAX_UNROLLED: u32 = 128;

impl<'m> Lowering<'m, '_> {
    pub(super) fn array_element(&self, ty: TypeIndex) -> &'m FieldType {
        match &self.cx.module.types[ty.index()].composite {
            CompositeType::Array(element) => element,
            _ => unreachable!("validated: an array type"),
        }
    }

    /// `array.new`
    pub(super) fn array_new(&mut self, ty: TypeIndex) {
        let (value, length) = self.pop2();
        let element = self.array_element(ty);
        let stored = self.stored_form(value, &element.storage);
        self.new_filled(ty, length, Some(stored));
    }

    /// `array.new_default`
    pub(super) fn array_new_default(&mut self, ty: TypeIndex) {
        let length = self.pop();
        self.new_filled(ty, length, None);
    }

    /// A new array with all elements `stored`, or zero.
    fn new_filled(&mut self, ty: TypeIndex, length: Value, stored: Option<Value>) {
        self.before_bulk(length);
        let layout = ArrayLayout::new(self.array_element(ty));
        // Vectors of more than one word are left to the runtime, unless they are zero.
        let word_fits = stored.is_none() || layout.slot.size() <= 8;
        let constant = constant(&self.builder.func.dfg, length);
        let small = constant
            .map(|length| layout.size(length as u32))
            .filter(|&size| size <= u64::from(MAX_SMALL));
        let array = match (small, constant) {
            _ if !word_fits => self.array_from_runtime(ty, length, stored),
            (Some(size), _) => self.new_of_size(ty, length, size as u32, stored, layout.slot),
            (None, Some(_)) => self.array_from_runtime(ty, length, stored),
            (None, None) => self.new_of_length(ty, length, stored, layout.slot),
        };
        self.facts.learn_length(array, length);
        self.push(array);
    }

    /// A small new array whose size is known.
    fn new_of_size(
        &mut self,
        ty: TypeIndex,
        length: Value,
        size: u32,
        stored: Option<Value>,
        slot: Slot,
    ) -> Value {
        let array = self.allocate_small(size, HeapType::ConcreteArray(ty));
        self.store_header(array, ty, length);
        let word = self.word_of(stored, slot);
        if size <= MAX_UNROLLED {
            self.fill_words(array, HEADER_SIZE, size, word);
        } else {
            let start = self.heap_address(array);
            let start = self.builder.ins().iadd_imm_u(start, i64::from(HEADER_SIZE));
            let size = self.iconst(I32, i64::from(size - HEADER_SIZE));
            self.fill_loop(start, size, word);
        }
        array
    }

    /// A new array of any length.
    fn new_of_length(
        &mut self,
        ty: TypeIndex,
        length: Value,
        stored: Option<Value>,
        slot: Slot,
    ) -> Value {
        self.mark();
        let slow = self.builder.create_block();
        let done = self.builder.create_block();
        let small = self.builder.create_block();
        let array = self.new_object(done, HeapType::ConcreteArray(ty));
        let max_length = (MAX_SMALL - HEADER_SIZE) / slot.size();
        let is_large = self.builder.ins().icmp_imm_u(
            IntCC::UnsignedGreaterThan,
            length,
            i64::from(max_length),
        );
        self.builder.ins().brif(is_large, slow, &[], small, &[]);
        self.continue_in(small);
        let bytes = self
            .builder
            .ins()
            .ishl_imm_u(length, i64::from(slot.size().ilog2()));
        let mut words = self
            .builder
            .ins()
            .iadd_imm_u(bytes, i64::from(ALIGNMENT - 1));
        words = self.builder.ins().band_imm_s(words, -i64::from(ALIGNMENT));
        let size = self.builder.ins().iadd_imm_u(words, i64::from(HEADER_SIZE));
        let next = self.bump(size, slow);
        self.store_header(next, ty, length);
        let word = self.word_of(stored, slot);
        let start = self.heap_address(next);
        let start = self.builder.ins().iadd_imm_u(start, i64::from(HEADER_SIZE));
        self.fill_loop(start, words, word);
        self.builder.ins().jump(done, &[next.into()]);
        self.continue_in(slow);
        let large = self.array_from_runtime(ty, length, stored);
        self.builder.ins().jump(done, &[large.into()]);
        self.continue_in(done);
        array
    }

    fn array_from_runtime(&mut self, ty: TypeIndex, length: Value, stored: Option<Value>) -> Value {
        let Some(stored) = stored else {
            return self.new_zeroed(ty, length);
        };
        let fill = LongOperation {
            is_counted: true,
            ..self.long_array_operation(ty, length)
        };
        if !self.is_long(&fill) {
            return self.new_full(ty, length, stored);
        }
        let long = self.builder.create_block();
        let short = self.builder.create_block();
        let done = self.builder.create_block();
        let array = self.new_object(done, HeapType::ConcreteArray(ty));
        let is_long = self.is_longer_than_a_piece(&fill);
        self.builder.set_cold_block(long);
        self.builder.ins().brif(is_long, long, &[], short, &[]);
        self.continue_in(long);
        let zeroed = self.new_zeroed(ty, length);
        let first = self.iconst(I32, 0);
        self.fill_elements(&fill, zeroed, first, stored);
        self.builder.ins().jump(done, &[zeroed.into()]);
        self.continue_in(short);
        let full = self.new_full(ty, length, stored);
        self.builder.ins().jump(done, &[full.into()]);
        self.continue_in(done);
        array
    }

    /// A new array of zeroes, from the runtime.
    pub(super) fn new_zeroed(&mut self, ty: TypeIndex, length: Value) -> Value {
        let index = self.index_argument(ty.as_u32());
        let array = self.call_builtin(Builtin::GcAllocZeroed, &[index, length]);
        self.note_made(array, ty)
    }

    /// A new array with all elements `stored`, from the runtime.
    fn new_full(&mut self, ty: TypeIndex, length: Value, stored: Value) -> Value {
        let index = self.index_argument(ty.as_u32());
        let (low, high) = self.raw_bits(stored);
        let array = self.call_builtin(Builtin::ArrayNew, &[index, length, low, high]);
        self.note_made(array, ty)
    }

    /// A new array that a builtin has made.
    pub(super) fn note_made(&mut self, array: Option<Value>, ty: TypeIndex) -> Value {
        let array = array.expect("it has a result");
        // In another block, Cranelift makes constants anew that the call takes, and does not keep them.
        let next = self.builder.create_block();
        self.builder.ins().jump(next, &[]);
        self.continue_in(next);
        self.note_new(array, HeapType::ConcreteArray(ty));
        array
    }

    /// A word of 8 bytes full of elements.
    fn word_of(&mut self, stored: Option<Value>, slot: Slot) -> Value {
        let Some(stored) = stored else {
            return self.iconst(I64, 0);
        };
        let flags = MemFlagsData::new();
        let bits = match self.type_of(stored) {
            F32 => self.builder.ins().bitcast(I32, flags, stored),
            F64 => self.builder.ins().bitcast(I64, flags, stored),
            _ => stored,
        };
        if let Some(bits) = constant(&self.builder.func.dfg, bits)
            && bits == 0
        {
            return self.iconst(I64, 0);
        }
        if self.type_of(bits) == I64 {
            return bits;
        }
        let wide = self.builder.ins().uextend(I64, bits);
        match slot.size() {
            1 => {
                let byte = self.builder.ins().band_imm_u(wide, 0xff);
                self.builder.ins().imul_imm_u(byte, 0x0101_0101_0101_0101)
            }
            2 => {
                let half = self.builder.ins().band_imm_u(wide, 0xffff);
                self.builder.ins().imul_imm_u(half, 0x0001_0001_0001_0001)
            }
            _ => {
                let high = self.builder.ins().ishl_imm_u(wide, 32);
                self.builder.ins().bor(high, wide)
            }
        }
    }

    /// `array.new_fixed`
    pub(super) fn array_new_fixed(&mut self, ty: TypeIndex, length: u32) {
        let element = self.array_element(ty);
        self.count_parts(length as usize);
        let first = self.stack.len() - length as usize;
        let values: SmallVec<[Value; 8]> = self.stack.drain(first..).collect();
        // This may call the runtime, so it comes before there is an object.
        let stored: SmallVec<[Value; 8]> = values
            .iter()
            .map(|&value| self.stored_form(value, &element.storage))
            .collect();
        let layout = ArrayLayout::new(element);
        let size = layout.size(length);
        let heap = HeapType::ConcreteArray(ty);
        let is_small = size <= u64::from(MAX_SMALL);
        let length_value = self.iconst(I32, i64::from(length));
        let array = if is_small {
            let array = self.allocate_small(size as u32, heap);
            self.store_header(array, ty, length_value);
            array
        } else {
            self.allocate_large(ty, heap, length)
        };
        for (number, &value) in (0..).zip(&stored) {
            let at = HEADER_SIZE + number * layout.slot.size();
            let place = self.initial_place(array, at, layout.slot.size());
            self.store_slot(place, &element.storage, value);
        }
        if !is_small && layout.slot == Slot::Reference {
            self.remember_elements(array, length, &element.storage);
        }
        self.facts.learn_length(array, length_value);
        self.push(array);
    }

    /// Tells the collector of young references in a large array, all of whose elements have just been
    /// written.
    fn remember_elements(&mut self, array: Value, length: u32, storage: &StorageType) {
        let ty = super::slots::reference(storage).expect("it holds references");
        let head = self.builder.create_block();
        let body = self.builder.create_block();
        let done = self.builder.create_block();
        let index = self.builder.append_block_param(head, I32);
        let zero = self.iconst(I32, 0);
        self.builder.ins().jump(head, &[zero.into()]);
        self.builder.switch_to_block(head);
        let goes_on =
            self.builder
                .ins()
                .icmp_imm_u(IntCC::UnsignedLessThan, index, i64::from(length));
        self.builder.ins().brif(goes_on, body, &[], done, &[]);
        self.continue_in(body);
        let distance = self.builder.ins().ishl_imm_u(index, 2);
        let offset = self.builder.ins().iadd(array, distance);
        let place = self.initial_place(offset, HEADER_SIZE, 4);
        self.remember_if_young(place, ty.heap);
        let next = self.builder.ins().iadd_imm_u(index, 1);
        self.builder.ins().jump(head, &[next.into()]);
        self.builder.seal_block(head);
        self.continue_in(done);
    }

    /// `array.get`, `array.get_s` and `array.get_u`
    pub(super) fn array_get(&mut self, ty: TypeIndex, signed: bool) {
        let (array, index) = self.pop2();
        let element = self.array_element(ty);
        let place = self.place_of_element(array, index, ty);
        let value = self.load_slot(place, &element.storage, signed);
        self.push(value);
    }

    /// Where an element of an array is. An index past the end traps.
    pub(super) fn place_of_element(&mut self, array: Value, index: Value, ty: TypeIndex) -> Place {
        let element = self.array_element(ty);
        let size = Slot::of(&element.storage).size();
        self.array_place(array, index, size, region(element, true))
    }

    /// `array.set`
    pub(super) fn array_set(&mut self, ty: TypeIndex) {
        let (array, index, value) = self.pop3();
        let element = self.array_element(ty);
        let stored = self.stored_form(value, &element.storage);
        let place = self.place_of_element(array, index, ty);
        self.assign_slot(place, array, &element.storage, stored);
    }

    /// `array.len`
    pub(super) fn array_len(&mut self) {
        let array = self.pop();
        let length = self.array_length(array);
        self.push(length);
    }
}
