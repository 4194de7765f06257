//! Structures.

use super::super::function::Lowering;
use super::super::memory::Place;
use super::slots::{reference, region};
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{InstBuilder, Value};
use sarsen_abi::TypeIndex;
use sarsen_abi::heap::{HEADER_SIZE, MAX_SMALL, StructLayout};
use sarsen_abi::types::{FieldType, HeapType};
use smallvec::SmallVec;

impl Lowering<'_, '_> {
    /// `struct.new`
    pub(super) fn struct_new(&mut self, ty: TypeIndex) {
        let cx = self.cx;
        let fields = cx.struct_fields(ty);
        let first = self.stack.len() - fields.len();
        let values: SmallVec<[Value; 8]> = self.stack.drain(first..).collect();
        // This may call the runtime, so it comes before there is an object.
        let stored: SmallVec<[Value; 8]> = values
            .iter()
            .zip(fields)
            .map(|(&value, field)| self.stored_form(value, &field.storage))
            .collect();
        let layout = cx.struct_layout(ty);
        let object = self.new_struct(ty, layout.size);
        for ((&value, field), &(at, slot)) in stored.iter().zip(fields).zip(&layout.fields) {
            let place = self.initial_place(object, at, slot.size());
            self.store_slot(place, &field.storage, value);
        }
        if layout.size > MAX_SMALL {
            self.remember_fields(object, fields, layout);
        }
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

    /// Tells the collector of young references in the fields of a large structure, after all have been
    /// written: nothing but the structure itself is used after the calls that this may make.
    fn remember_fields(&mut self, object: Value, fields: &[FieldType], layout: &StructLayout) {
        for (field, &(at, slot)) in fields.iter().zip(&layout.fields) {
            let Some(ty) = reference(&field.storage).filter(|ty| ty.is_collected()) else {
                continue;
            };
            let place = self.initial_place(object, at, slot.size());
            self.remember_if_young(place, ty.heap);
        }
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
