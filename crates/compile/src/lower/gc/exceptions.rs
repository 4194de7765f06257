//! Exceptions as objects: made before they are thrown, looked into where they are caught.

use super::super::function::Lowering;
use super::super::region::Region;
use super::super::signature::POINTER;
use super::slots::{Part, Parts};
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{InstBuilder, Value};
use sarsen_abi::heap::{EXN_TAG, EXN_TYPE, ExnLayout, HEADER_SIZE, HEADER_TYPE, MAX_SMALL};
use sarsen_abi::types::{AbstractHeapType, FuncType, HeapType, StorageType};
use sarsen_abi::vmctx::offset;
use sarsen_abi::{Builtin, TagIndex};
use smallvec::SmallVec;

/// Values of an exception's arguments.
pub(in super::super) type Arguments = SmallVec<[Value; 8]>;

/// A part of an exception that is stored or loaded counts as this many values that are passed.
const ARGUMENT_SIZE: usize = 16;

const EXN: HeapType = HeapType::Abstract(AbstractHeapType::Exn);

impl<'m> Lowering<'m, '_> {
    /// The function type of a tag.
    pub(in super::super) fn tag_type(&self, tag: TagIndex) -> &'m FuncType {
        let cx = self.cx;
        cx.module
            .func_type_at(cx.module.tags[tag.index()].signature)
    }

    /// A new exception.
    pub(in super::super) fn new_exception(&mut self, tag: TagIndex, values: &[Value]) -> Value {
        self.count_passed(values.len().saturating_mul(ARGUMENT_SIZE));
        let (parts, size) = self.parts_of_exception(tag);
        let stored = self.stored_forms(values, &parts);
        let object = if size > MAX_SMALL {
            let tag = self.index_argument(tag.as_u32());
            let object = self.call_builtin(Builtin::ExnAlloc, &[tag]);
            let object = object.expect("it has a result");
            self.note_new(object, EXN);
            object
        } else {
            let object = self.allocate_small(size, EXN);
            self.store_exception_header(object, tag, size);
            object
        };
        self.initialize(object, size, &parts, &stored);
        object
    }

    /// The arguments of exceptions with this tag, as parts of them, and their size in bytes.
    fn parts_of_exception(&self, tag: TagIndex) -> (Parts, u32) {
        let ty = self.tag_type(tag);
        let layout = ExnLayout::new(ty);
        let storages = ty.params.iter().map(|&param| StorageType::Val(param));
        (Part::all(storages, &layout.fields), layout.size)
    }

    fn store_exception_header(&mut self, object: Value, tag: TagIndex, size: u32) {
        let header = i64::from(size) << 32 | i64::from(EXN_TYPE.0);
        let header = self.iconst(I64, header);
        let place = self.initial_place(object, HEADER_TYPE as u32, HEADER_SIZE);
        self.builder
            .ins()
            .store(place.flags, header, place.address, place.offset);
        let id = self.tag_id(tag);
        let place = self.initial_place(object, EXN_TAG, 4);
        self.builder
            .ins()
            .store(place.flags, id, place.address, place.offset);
    }

    /// The identity of a tag.
    fn tag_id(&mut self, tag: TagIndex) -> Value {
        let cx = self.cx;
        if cx.module.is_imported_tag(tag) {
            let at = cx.layout.imported_tag(tag) as i32;
            let imported = self.load_once(POINTER, self.vmctx, at);
            self.load_once(I32, imported, offset::TAG_ID)
        } else {
            let at = cx.layout.defined_tag(tag) as i32;
            self.load_once(I32, self.vmctx, at + offset::TAG_ID)
        }
    }

    /// The exception that a handler has got, as a reference.
    pub(in super::super) fn caught_exception(&mut self, payload: Value) -> Value {
        let object = self.builder.ins().ireduce(I32, payload);
        self.note_new(object, EXN);
        object
    }

    /// The arguments of an exception with this tag.
    pub(in super::super) fn exception_arguments(
        &mut self,
        exception: Value,
        tag: TagIndex,
    ) -> Arguments {
        let (parts, _) = self.parts_of_exception(tag);
        self.count_passed(parts.len().saturating_mul(ARGUMENT_SIZE));
        parts
            .iter()
            .map(|part| {
                let place =
                    self.field_place(exception, part.at, part.slot.size(), Region::Immutable);
                self.load_slot(place, &part.storage, false)
            })
            .collect()
    }
}
