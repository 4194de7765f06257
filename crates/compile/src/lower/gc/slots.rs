//! Loading and storing fields and elements.

use super::super::function::Lowering;
use super::super::memory::Place;
use super::super::region::{HeapClass, Region};
use super::super::signature::Repr;
use cranelift_codegen::ir::types::{F32, F64, I8X16, I32, I64, I64X2};
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Value};
use sarsen_abi::heap::Slot;
use sarsen_abi::types::{FieldType, RefType, StorageType, ValType};

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
