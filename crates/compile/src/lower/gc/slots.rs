//! Loading and storing fields and elements; the first values of an object's parts.

use super::super::function::Lowering;
use super::super::memory::Place;
use super::super::region::{HeapClass, Region};
use super::super::signature::Repr;
use cranelift_codegen::ir::types::{F32, F64, I8X16, I32, I64, I64X2};
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Value};
use sarsen_abi::heap::{MAX_SMALL, Slot};
use sarsen_abi::types::{FieldType, RefType, StorageType, ValType};
use smallvec::SmallVec;

type Values = SmallVec<[Value; 8]>;

/// An object with more parts than this, whose first values are all at hand at once, is large to make ...
const MAX_PARTS: usize = 64;

/// ... and each further one counts as so many values that are passed.
const PART_SIZE: usize = 128;

/// The region of a field, or of the elements of an array, for all that follows its initialization.
pub(super) fn region(field: &FieldType, is_element: bool) -> Region {
    if !field.mutable {
        return Region::Immutable;
    }
    Region::Mutable(HeapClass {
        is_element,
        storage: field.storage,
    })
}

/// A part of an object: a structure's field, an exception's argument.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub(super) storage: StorageType,
    /// Where it is, in bytes from the object's beginning.
    pub(super) at: u32,
    pub(super) slot: Slot,
}

/// All parts of an object, in order.
pub(super) type Parts = SmallVec<[Part; 8]>;

impl Part {
    /// The parts that are stored like this, where a layout has placed them.
    pub(super) fn all(
        storages: impl Iterator<Item = StorageType>,
        placed: &[(u32, Slot)],
    ) -> Parts {
        let parts = storages.zip(placed);
        parts
            .map(|(storage, &(at, slot))| Part { storage, at, slot })
            .collect()
    }
}

/// The type of a reference that is stored.
pub(super) fn reference(storage: &StorageType) -> Option<RefType> {
    match storage {
        StorageType::Val(ValType::Ref(ty)) => Some(*ty),
        _ => None,
    }
}

impl Lowering<'_, '_> {
    /// Loads a value; a packed one is sign-extended or zero-extended.
    pub(super) fn load_slot(&mut self, place: Place, storage: &StorageType, signed: bool) -> Value {
        let Place {
            address,
            offset,
            flags,
        } = place;
        let ins = self.builder.ins();
        let ty = match (storage, signed) {
            (StorageType::I8, false) => return ins.uload8(I32, flags, address, offset),
            (StorageType::I8, true) => return ins.sload8(I32, flags, address, offset),
            (StorageType::I16, false) => return ins.uload16(I32, flags, address, offset),
            (StorageType::I16, true) => return ins.sload16(I32, flags, address, offset),
            (StorageType::Val(ty), _) => *ty,
        };
        if Slot::of(storage) == Slot::Function {
            let id = ins.load(I32, flags, address, offset);
            let ty = reference(storage).expect("it holds references");
            return self.function_of_id(id, ty);
        }
        let repr = Repr::of(&ty);
        let value = ins.load(repr.ty, flags, address, offset);
        self.note_repr(value, repr);
        value
    }

    /// A value in the form in which it is stored. This may call the runtime.
    pub(super) fn stored_form(&mut self, value: Value, storage: &StorageType) -> Value {
        if Slot::of(storage) == Slot::Function {
            self.id_of_function(value)
        } else {
            value
        }
    }

    /// Counts the parts of an object that get their first values from operands.
    pub(super) fn count_parts(&mut self, parts: usize) {
        self.count_passed(parts.saturating_sub(MAX_PARTS) * PART_SIZE);
    }

    /// The values of an object's parts in the forms in which they are stored. This may call the runtime, so
    /// it comes before there is an object.
    pub(super) fn stored_forms(&mut self, values: &[Value], parts: &[Part]) -> Values {
        let values = values.iter().zip(parts);
        values
            .map(|(&value, part)| self.stored_form(value, &part.storage))
            .collect()
    }

    /// Writes the first values of the parts of a new object of `size` bytes, which are in the forms for it.
    pub(super) fn initialize(
        &mut self,
        object: Value,
        size: u32,
        parts: &[Part],
        stored: &[Value],
    ) {
        for (part, &value) in parts.iter().zip(stored) {
            let place = self.initial_place(object, part.at, part.slot.size());
            self.store_slot(place, &part.storage, value);
        }
        if size > MAX_SMALL {
            self.remember_parts(object, parts);
        }
    }

    /// Tells the collector of young references in a large object, after all have been written: nothing but
    /// the object itself is used after the calls that this may make.
    fn remember_parts(&mut self, object: Value, parts: &[Part]) {
        for part in parts {
            if let Some(ty) = reference(&part.storage).filter(|ty| ty.is_collected()) {
                let place = self.initial_place(object, part.at, part.slot.size());
                self.remember_if_young(place, ty.heap);
            }
        }
    }

    /// Stores a value that is in the form for it, without a barrier.
    pub(super) fn store_slot(&mut self, place: Place, storage: &StorageType, stored: Value) {
        let Place {
            address,
            offset,
            flags,
        } = place;
        let ins = self.builder.ins();
        match storage {
            StorageType::I8 => ins.istore8(flags, stored, address, offset),
            StorageType::I16 => ins.istore16(flags, stored, address, offset),
            StorageType::Val(_) => ins.store(flags, stored, address, offset),
        };
    }

    /// Stores a value that is in the form for it into an object that exists already.
    pub(super) fn assign_slot(
        &mut self,
        place: Place,
        object: Value,
        storage: &StorageType,
        stored: Value,
    ) {
        match reference(storage) {
            Some(ty) if ty.is_collected() => {
                self.store_reference(place, Some(object), ty.heap, stored);
            }
            _ => self.store_slot(place, storage, stored),
        }
    }

    /// The bits of a value that is in the form in which it is stored, as the runtime takes them: the low
    /// and the high 64.
    pub(super) fn raw_bits(&mut self, stored: Value) -> (Value, Value) {
        let zero = self.iconst(I64, 0);
        let flags = MemFlagsData::new();
        let low = match self.type_of(stored) {
            I32 => self.builder.ins().uextend(I64, stored),
            F32 => {
                let bits = self.builder.ins().bitcast(I32, flags, stored);
                self.builder.ins().uextend(I64, bits)
            }
            F64 => self.builder.ins().bitcast(I64, flags, stored),
            I8X16 => {
                let lanes = self.as_vector(stored, I64X2);
                let low = self.builder.ins().extractlane(lanes, 0);
                let high = self.builder.ins().extractlane(lanes, 1);
                return (low, high);
            }
            _ => stored,
        };
        (low, zero)
    }
}
