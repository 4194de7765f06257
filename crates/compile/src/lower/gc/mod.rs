//! The instructions on structures, arrays and unboxed integers, and casts.
//!
//! | file | what it lowers |
//! |---|---|
//! | `structs`, `arrays`, `bulk`, `i31` | instructions on objects of a kind; those on ranges of arrays |
//! | `exceptions` | exceptions as objects |
//! | `casts`, `types` | tests and casts; which checks they need, and how a type is checked |
//! | `allocate` | room for new objects |
//! | `access` | where a field or element is: one constructor for each kind of access to the heap |
//! | `slots` | loading and storing what is there |
//! | `functions` | references to functions in the heap |
//! | `barrier` | stores of references that the collector must hear of |
//!
//! An object may be moved at every call that is not a tail call, so no address is used after one: an
//! address is computed right before the access, after everything that may call.
//!
//! A null reference is not looked for: the access faults, as nothing is mapped below
//! [`sarsen_abi::heap::FIRST`]. The parts of large structures beyond that are an exception.

mod access;
mod allocate;
mod arrays;
mod barrier;
mod bulk;
mod casts;
mod exceptions;
mod functions;
mod i31;
mod slots;
mod structs;
mod types;

pub(super) use exceptions::Arguments;

use super::function::Lowering;
use sarsen_abi::heap::Slot;
use sarsen_abi::types::CompositeType;
use sarsen_abi::{Module, TypeIndex};
use wasmparser::Operator;

/// A store of a reference is lowered to at most this many blocks.
pub(super) const MAX_BARRIER_BLOCKS: u64 = 6;

/// An allocation is lowered to at most this many blocks.
const MAX_ALLOCATION_BLOCKS: u64 = 6;

/// A test of a type is lowered to at most this many blocks.
const MAX_TEST_BLOCKS: u64 = 8;

impl Lowering<'_, '_> {
    /// Lowers an instruction on objects; returns whether it is one.
    #[rustfmt::skip]
    pub(super) fn dispatch_gc(&mut self, operator: &Operator<'_>) -> bool {
        use Operator as O;
        match *operator {
            O::StructNew { struct_type_index } => self.struct_new(TypeIndex::new(struct_type_index)),
            O::StructNewDefault { struct_type_index } => self.struct_new_default(TypeIndex::new(struct_type_index)),
            O::StructGet { struct_type_index, field_index }
            | O::StructGetU { struct_type_index, field_index } => self.struct_get(TypeIndex::new(struct_type_index), field_index, false),
            O::StructGetS { struct_type_index, field_index } => self.struct_get(TypeIndex::new(struct_type_index), field_index, true),
            O::StructSet { struct_type_index, field_index } => self.struct_set(TypeIndex::new(struct_type_index), field_index),

            O::ArrayNew { array_type_index } => self.array_new(TypeIndex::new(array_type_index)),
            O::ArrayNewDefault { array_type_index } => self.array_new_default(TypeIndex::new(array_type_index)),
            O::ArrayNewFixed { array_type_index, array_size } => self.array_new_fixed(TypeIndex::new(array_type_index), array_size),
            O::ArrayNewData { array_type_index, array_data_index } => self.array_new_data(TypeIndex::new(array_type_index), array_data_index),
            O::ArrayNewElem { array_type_index, array_elem_index } => self.array_new_elem(TypeIndex::new(array_type_index), array_elem_index),
            O::ArrayGet { array_type_index } | O::ArrayGetU { array_type_index } => self.array_get(TypeIndex::new(array_type_index), false),
            O::ArrayGetS { array_type_index } => self.array_get(TypeIndex::new(array_type_index), true),
            O::ArraySet { array_type_index } => self.array_set(TypeIndex::new(array_type_index)),
            O::ArrayLen => self.array_len(),
            O::ArrayFill { array_type_index } => self.array_fill(TypeIndex::new(array_type_index)),
            O::ArrayCopy { array_type_index_dst, .. } => self.array_copy(TypeIndex::new(array_type_index_dst)),
            O::ArrayInitData { array_type_index, array_data_index } => self.array_init_data(TypeIndex::new(array_type_index), array_data_index),
            O::ArrayInitElem { array_elem_index, .. } => self.array_init_elem(array_elem_index),

            O::RefI31 => self.ref_i31(),
            O::I31GetS => self.i31_get(true),
            O::I31GetU => self.i31_get(false),

            O::RefTestNonNull { hty } => self.ref_test(hty, false),
            O::RefTestNullable { hty } => self.ref_test(hty, true),
            O::RefCastNonNull { hty } => self.ref_cast(hty, false),
            O::RefCastNullable { hty } => self.ref_cast(hty, true),
            O::BrOnCast { relative_depth, to_ref_type, .. } => self.br_on_cast(relative_depth, to_ref_type, true),
            O::BrOnCastFail { relative_depth, to_ref_type, .. } => self.br_on_cast(relative_depth, to_ref_type, false),

            // The value stays as it is.
            O::AnyConvertExtern | O::ExternConvertAny => {}
            _ => return false,
        }
        true
    }
}

/// About how many blocks an instruction on objects is lowered to; zero for other instructions.
pub(super) fn count_blocks(module: &Module, operator: &Operator<'_>) -> u64 {
    use Operator as O;
    match *operator {
        O::StructNew { struct_type_index } => {
            let ty = &module.types[struct_type_index as usize].composite;
            let CompositeType::Struct(fields) = ty else {
                return 0;
            };
            let references = fields
                .iter()
                .filter(|field| !matches!(Slot::of(&field.storage), Slot::Number(_)));
            MAX_ALLOCATION_BLOCKS + MAX_BARRIER_BLOCKS * references.count() as u64
        }
        O::ArrayNewFixed { array_size, .. } => {
            MAX_ALLOCATION_BLOCKS + functions::MAX_ID_BLOCKS * u64::from(array_size)
        }
        O::StructNewDefault { .. } | O::ArrayNew { .. } | O::ArrayNewDefault { .. } => {
            MAX_ALLOCATION_BLOCKS
        }
        O::StructSet { .. } | O::ArraySet { .. } | O::ArrayFill { .. } => MAX_BARRIER_BLOCKS,
        O::RefTestNonNull { .. }
        | O::RefTestNullable { .. }
        | O::RefCastNonNull { .. }
        | O::RefCastNullable { .. }
        | O::BrOnCast { .. }
        | O::BrOnCastFail { .. } => MAX_TEST_BLOCKS,
        O::StructGet { .. } | O::ArrayGet { .. } => functions::MAX_LOAD_BLOCKS,
        _ => 0,
    }
}
