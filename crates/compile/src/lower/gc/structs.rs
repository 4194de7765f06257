//! Structures.

use super::super::function::Lowering;
use super::super::memory::Place;
use super::slots::{Part, region};
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{InstBuilder, Value};
use sarsen_abi::TypeIndex;
use sarsen_abi::heap::{HEADER_SIZE, MAX_SMALL};
use sarsen_abi::types::HeapType;
use smallvec::SmallVec;

impl Lowering<'_, '_> {
    /// `struct.new`
    pub(super) fn struct_new(&mut self, ty: TypeIndex) {
        let fields = self.cx.struct_fields(ty);
        self.count_parts(fields.len());
        let layout = self.cx.struct_layout(ty);
        let parts = Part::all(fields.iter().map(|field| field.storage), &layout.fields);
        let first = self.stack.len() - fields.len();
        let values: SmallVec<[Value; 8]> = self.stack.drain(first..).collect();
        let stored = self.stored_forms(&values, &parts);
        let object = self.new_struct(ty, layout.size);
        self.initialize(object, layout.size, &parts, &stored);
        self.push(object);
    }

    /// `struct.new_default`
    pub(super) fn struct_new_default(&mut self, ty: TypeIndex) {
        let size = self.cx.struct_layout(ty).size;
        let object = self.new_struct(ty, size);
        if size <= MAX_SMALL {
            let zero = self.iconst(I64, 0);
            self.fill_struct(object, size, zero);
        }
        self.push(object);
    }

    fn fill_struct(&mut self, object: Value, size: u32, word: Value) {
        if size <= super::arrays::MAX_UNROLLED {
            self.fill_words(object, HEADER_SIZE, size, word);
            return;
        }
        let place = self.initial_place(object, HEADER_SIZE, 8);
        let start = self
            .builder
            .ins()
            .iadd_imm_s(place.address, i64::from(place.offset));
        let size = self.iconst(I32, i64::from(size - HEADER_SIZE));
        self.fill_loop(start, size, word);
    }

    /// A new structure with its header. If it is small, its fields have no values yet.
    fn new_struct(&mut self, ty: TypeIndex, size: u32) -> Value {
        let heap = HeapType::ConcreteStruct(ty);
        if size > MAX_SMALL {
            return self.allocate_large(ty, heap, 0);
        }
        let object = self.allocate_small(size, heap);
        let size = self.iconst(I32, i64::from(size));
        self.store_header(object, ty, size);
        object
    }

    /// `struct.get`, `struct.get_s` and `struct.get_u`
    pub(super) fn struct_get(&mut self, ty: TypeIndex, number: u32, signed: bool) {
        let object = self.pop();
        let field = &self.cx.struct_fields(ty)[number as usize];
        let place = self.place_of_field(object, ty, number);
        let value = self.load_slot(place, &field.storage, signed);
        self.push(value);
    }

    /// Where a field of an object is. Null traps.
    pub(super) fn place_of_field(&mut self, object: Value, ty: TypeIndex, number: u32) -> Place {
        let field = &self.cx.struct_fields(ty)[number as usize];
        let (at, slot) = self.cx.struct_layout(ty).fields[number as usize];
        self.field_place(object, at, slot.size(), region(field, false))
    }

    /// `struct.set`
    pub(super) fn struct_set(&mut self, ty: TypeIndex, number: u32) {
        let (object, value) = self.pop2();
        let field = &self.cx.struct_fields(ty)[number as usize];
        let stored = self.stored_form(value, &field.storage);
        let place = self.place_of_field(object, ty, number);
        self.assign_slot(place, object, &field.storage, stored);
    }
}
