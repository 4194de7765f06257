//! Exceptions as objects: made before they are thrown, looked into where they are caught.

use super::super::function::Lowering;
use super::super::region::Region;
use super::super::signature::POINTER;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{InstBuilder, Value};
use sarsen_abi::heap::{EXN_TAG, EXN_TYPE, ExnLayout, HEADER_SIZE, HEADER_TYPE, MAX_SMALL};
use sarsen_abi::types::{AbstractHeapType, FuncType, HeapType, StorageType, ValType};
use sarsen_abi::vmctx::offset;
use sarsen_abi::{Builtin, TagIndex};
use smallvec::SmallVec;

/// Values of an exception's arguments.
pub(in super::super) type Arguments = SmallVec<[Value; 8]>;

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
        let ty = self.tag_type(tag);
        self.count_passed(values.len());
        // This may call the runtime, so it comes before there is an object.
        let stored: Arguments = values
            .iter()
            .zip(&ty.params)
            .map(|(&value, &param)| self.to_stored(value, &StorageType::Val(param)))
            .collect();
        let layout = ExnLayout::new(ty);
        let object = if layout.size > MAX_SMALL {
            let tag = self.index_argument(tag.as_u32());
            let object = self.call_builtin(Builtin::ExnAlloc, &[tag]);
            let object = object.expect("it has a result");
            self.note_new(object, EXN);
            object
        } else {
            let object = self.allocate_small(layout.size, EXN);
            self.store_exception_header(object, tag, layout.size);
            object
        };
        for ((&value, &param), &(at, slot)) in stored.iter().zip(&ty.params).zip(&layout.fields) {
            let place = self.initial_place(object, at, slot.size());
            self.store_slot(place, &StorageType::Val(param), value);
        }
        if layout.size > MAX_SMALL {
            self.remember_arguments(object, ty, &layout);
        }
        object
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

    fn remember_arguments(&mut self, object: Value, ty: &FuncType, layout: &ExnLayout) {
        for (param, &(at, slot)) in ty.params.iter().zip(&layout.fields) {
            let ValType::Ref(ty) = param else { continue };
            if ty.is_collected() {
                let place = self.initial_place(object, at, slot.size());
                self.remember_if_young(place, ty.heap);
            }
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
        let ty = self.tag_type(tag);
        self.count_passed(ty.params.len());
        let layout = ExnLayout::new(ty);
        ty.params
            .iter()
            .zip(&layout.fields)
            .map(|(&param, &(at, slot))| {
                let place = self.field_place(exception, at, slot.size(), Region::Immutable);
                self.load_slot(place, &StorageType::Val(param), false)
            })
            .collect()
    }
}
