//! The collected heap as compiled code and the collector see it: references, headers, layouts.
//!
//! A store's heap is one range of 4 GiB that never moves. A reference is a 32-bit offset from its
//! base, zero for null, or an unboxed integer when its lowest bit is set:
//!
//! ```text
//!   0                 FIRST                            YOUNG                        4 GiB
//!   +-----------------+--------------------------------+----------------------------+-------+
//!   | never mapped    | old objects                    | nursery (as much of it as  | guard |
//!   |                 |                                | the collector makes usable)|       |
//!   +-----------------+--------------------------------+----------------------------+-------+
//! ```
//!
//! So null and small offsets from it fault, and whether an object is young is one comparison with a
//! constant. An object begins with a header of 8 bytes and is aligned to 8:
//!
//! ```text
//!   +0  u32  type: the engine-wide id of its type (TypeId), or one of the reserved ids below
//!   +4  u32  structures: the object's size in bytes; arrays: the number of elements
//!   +8  fields in order, each aligned to its size (at most 8), or elements
//! ```
//!
//! What a field or element holds: numbers as they are, collected references as 32 bits, and function
//! references as 32-bit ids into a table of the store's ([`crate::vmctx::VmStoreCtx::func_table`]), so
//! that nothing in the heap is ever a pointer.
//!
//! A type id is the offset of the type's *row* in a table of the engine's at a fixed address
//! ([`TypeRow`]). So a cast is: compare the ids; else load one ancestor from the row, and compare.
//!
//! # The barrier
//!
//! The collector must find every reference from an old object to a young one. After an old object's
//! field, or an element of a table, was written, its address is in the store's *remembered* buffer
//! whenever it holds a young reference. A store of a reference therefore asks: is the object old, is
//! the new value young, and was the old value not (else the slot is in the buffer already)? A minor
//! collection leaves nothing young, and empties the buffer.

use crate::types::{FieldType, FuncType, StorageType, TypeId, ValType};
use core::mem::offset_of;
use core::sync::atomic::{AtomicPtr, AtomicU16, AtomicU32};

/// Where the first object is, in bytes from the heap's base. What lies before is never mapped.
pub const FIRST: u32 = 64 << 10;

/// Where the nursery begins. References from here on (and below [`YOUNG_END`]) are to young objects,
/// unless they are unboxed integers.
pub const YOUNG: u32 = 0xf000_0000;

/// The end of what the nursery can be. A small object that begins before it ends before 4 GiB.
pub const YOUNG_END: u32 = 0xfff0_0000;

/// The alignment of objects, in bytes.
pub const ALIGNMENT: u32 = 8;

/// The size of a header, in bytes; the offset of the first field or element.
pub const HEADER_SIZE: u32 = 8;

/// The offset of the type id in a header.
pub const HEADER_TYPE: i32 = 0;

/// The offset of an array's length, in elements, in its header.
pub const HEADER_LENGTH: i32 = 4;

/// Larger objects are allocated by the runtime, among the old ones, in bytes. The smallest nursery is
/// many times as large.
pub const MAX_SMALL: u32 = 4 << 10;

/// The largest number of fields of a structure: a limit of validation.
pub const MAX_FIELDS: usize = 10_000;

/// The largest size of a structure, in bytes.
pub const MAX_STRUCT: u32 = HEADER_SIZE + MAX_FIELDS as u32 * 16;

/// The largest size of an array, in bytes.
pub const MAX_ARRAY: u64 = 3 << 30;

/// The bit of a reference that tells an unboxed integer (`i31`): the other bits are its value.
pub const I31_BIT: u32 = 1;

/// What a row says that a type is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum Kind {
    /// No type.
    None = 0,
    /// A function type: no object of the heap has it.
    Func = 1,
    /// A structure type.
    Struct = 2,
    /// An array type.
    Array = 3,
    /// A continuation type, and continuations: [`CONT_TYPE`].
    Cont = 4,
    /// A box with an object of the host's: [`EXTERN_TYPE`].
    Extern = 5,
    /// An exception: [`EXN_TYPE`].
    Exn = 6,
}

impl Kind {
    /// The kind that is written as this number.
    pub const fn from_number(number: u16) -> Option<Kind> {
        Some(match number {
            0 => Kind::None,
            1 => Kind::Func,
            2 => Kind::Struct,
            3 => Kind::Array,
            4 => Kind::Cont,
            5 => Kind::Extern,
            6 => Kind::Exn,
            _ => return None,
        })
    }
}

/// The number of ancestors in a row, the type itself included.
pub const SHALLOW: usize = 12;

/// The number of ancestors that a type has at most, itself included. Those of types deeper than
/// [`SHALLOW`] are in a second table, of arrays of this many ids.
pub const DEEP: usize = 64;

/// What compiled code can read of a type: the row at its id from
/// [`crate::vmctx::VmCtxHeader::type_rows`].
///
/// The row of an id that no type has is zero or inaccessible; a header that was overwritten never
/// leads outside of the engine's reservation for rows.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct TypeRow {
    /// The type's ancestors by depth, itself last; the rest is zero.
    pub display: [AtomicU32; SHALLOW],
    /// How many ancestors it has, itself not included.
    pub depth: AtomicU16,
    /// A [`Kind`].
    pub kind: AtomicU16,
    /// Its position in its group: the runtime's.
    pub position: AtomicU32,
    /// Its group: the runtime's.
    pub group: AtomicPtr<u8>,
}

const _: () = assert!(size_of::<TypeRow>() == 64);

/// The size of a row, in bytes; type ids are multiples of it.
pub const ROW_SIZE: u32 = size_of::<TypeRow>() as u32;

/// The offset of [`TypeRow::display`] in a row, in bytes.
pub const ROW_DISPLAY: i32 = offset_of!(TypeRow, display) as i32;

/// The offset of [`TypeRow::depth`] in a row, in bytes.
pub const ROW_DEPTH: i32 = offset_of!(TypeRow, depth) as i32;

/// The offset of [`TypeRow::kind`] in a row, in bytes.
pub const ROW_KIND: i32 = offset_of!(TypeRow, kind) as i32;

/// A type at depth [`SHALLOW`] or more has its ancestors at this many times its id from
/// [`crate::vmctx::VmCtxHeader::deep_rows`], in order.
pub const DEEP_SCALE: u32 = (DEEP as u32 * 4) / ROW_SIZE;

/// The type in the header of a box with an object of the host's.
pub const EXTERN_TYPE: TypeId = TypeId(ROW_SIZE);

/// The type in the header of an exception.
pub const EXN_TYPE: TypeId = TypeId(2 * ROW_SIZE);

/// The type in the header of a continuation.
pub const CONT_TYPE: TypeId = TypeId(3 * ROW_SIZE);

/// The type in the header of an array of collected references that no guest sees.
pub const REFS_TYPE: TypeId = TypeId(4 * ROW_SIZE);

/// The type in the header of an array of 16-byte numbers that no guest sees.
pub const BITS_TYPE: TypeId = TypeId(5 * ROW_SIZE);

/// The first id that is given to a type.
pub const FIRST_TYPE: TypeId = TypeId(6 * ROW_SIZE);

/// A continuation.
///
/// ```text
///   +0   CONT_TYPE, 32
///   +8   u32  stack: the number of the stack that it owns, or owned; zero before the first resume
///   +12  u32  func: the number of the function, before the first resume
///   +16  u32  refs: a REFS_TYPE array with the bound arguments that are references, or null
///   +20  u32  bits: a BITS_TYPE array of the same length with the other bound arguments, or null
///   +24  u32  type: its continuation type, for the host
///   +28  u32  zero
/// ```
///
/// A bound argument is the element of `refs` if that is even and not null; else, the bits in `bits`: of a
/// function's number if the element of `refs` is odd, of the value itself if it is null.
#[derive(Clone, Copy, Debug)]
pub struct ContLayout;

impl ContLayout {
    /// The size, in bytes.
    pub const SIZE: u32 = 32;
    /// The offset of the stack's number.
    pub const STACK: u32 = 8;
    /// The offset of the function's number.
    pub const FUNC: u32 = 12;
    /// The offset of the bound references.
    pub const REFS: u32 = 16;
    /// The offset of the other bound arguments.
    pub const BITS: u32 = 20;
    /// The offset of the type.
    pub const TYPE: u32 = 24;
}

/// How a field or element is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Slot {
    /// A number of this many bytes: 1, 2, 4, 8 or 16.
    Number(u32),
    /// A collected reference, which the collector traces.
    Reference,
    /// The id of a function reference.
    Function,
}

impl Slot {
    /// How values of this type are stored.
    pub fn of<R>(storage: &StorageType<R>) -> Slot {
        match storage {
            StorageType::I8 => Slot::Number(1),
            StorageType::I16 => Slot::Number(2),
            StorageType::Val(ValType::Ref(r)) if r.is_collected() => Slot::Reference,
            StorageType::Val(ValType::Ref(_)) => Slot::Function,
            StorageType::Val(number) => Slot::Number(number.size_bytes()),
        }
    }

    /// Its size, in bytes.
    pub const fn size(self) -> u32 {
        match self {
            Slot::Number(size) => size,
            Slot::Reference | Slot::Function => 4,
        }
    }
}

/// Where the fields of a structure are.
///
/// A subtype's fields begin with its supertype's, at the same offsets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StructLayout {
    /// Each field's offset from the object's beginning, in bytes, and how it is stored.
    pub fields: Box<[(u32, Slot)]>,
    /// The object's size, in bytes: a multiple of [`ALIGNMENT`], at most [`MAX_STRUCT`].
    pub size: u32,
}

impl StructLayout {
    /// The layout of a structure with these fields.
    pub fn new<R>(fields: &[FieldType<R>]) -> StructLayout {
        let slots = fields.iter().map(|field| Slot::of(&field.storage));
        let (fields, size) = place(HEADER_SIZE, slots);
        StructLayout { fields, size }
    }
}

/// Places fields behind what ends at `start`, in order: where each is, and the size of the object.
fn place(start: u32, slots: impl Iterator<Item = Slot>) -> (Box<[(u32, Slot)]>, u32) {
    let mut end = start;
    let fields = slots
        .map(|slot| {
            let at = end.next_multiple_of(slot.size().min(ALIGNMENT));
            end = at + slot.size();
            (at, slot)
        })
        .collect();
    (fields, end.next_multiple_of(ALIGNMENT))
}

/// Where the elements of an array are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ArrayLayout {
    /// How an element is stored. The first is at [`HEADER_SIZE`].
    pub slot: Slot,
}

impl ArrayLayout {
    /// The layout of an array with this element.
    pub fn new<R>(element: &FieldType<R>) -> ArrayLayout {
        ArrayLayout {
            slot: Slot::of(&element.storage),
        }
    }

    /// The size of an array of `length` elements, in bytes, a multiple of [`ALIGNMENT`]. May exceed
    /// [`MAX_ARRAY`].
    pub const fn size(self, length: u32) -> u64 {
        (HEADER_SIZE as u64 + length as u64 * self.slot.size() as u64)
            .next_multiple_of(ALIGNMENT as u64)
    }
}

/// Where an exception holds its tag ([`crate::vmctx::VmTag::id`], 32 bits), in bytes. Its header has
/// [`EXN_TYPE`] and its size.
pub const EXN_TAG: u32 = HEADER_SIZE;

/// The largest size of an exception, in bytes: a function type has at most 1000 parameters.
pub const MAX_EXN: u32 = 2 * HEADER_SIZE + 1000 * 16;

/// Where the arguments of an exception are, which are laid out as the fields of a structure.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExnLayout {
    /// Each argument's offset from the object's beginning, in bytes, and how it is stored.
    pub fields: Box<[(u32, Slot)]>,
    /// The object's size, in bytes: a multiple of [`ALIGNMENT`].
    pub size: u32,
}

impl ExnLayout {
    /// The layout of exceptions with a tag of this type.
    pub fn new<R: Copy>(ty: &FuncType<R>) -> ExnLayout {
        let slots = ty.params.iter().map(|&ty| Slot::of(&StorageType::Val(ty)));
        let (fields, size) = place(EXN_TAG + 4, slots);
        ExnLayout { fields, size }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::TypeIndex;

    fn field(storage: StorageType) -> FieldType {
        FieldType {
            storage,
            mutable: true,
        }
    }

    #[test]
    fn two_references_take_sixteen_bytes() {
        let reference = field(StorageType::Val(ValType::EXTERNREF));
        let layout = StructLayout::new(&[reference, reference]);
        assert_eq!(layout.size, 16);
        assert_eq!(layout.fields[1], (12, Slot::Reference));
    }

    #[test]
    fn a_subtypes_fields_begin_with_its_supertypes() {
        let mut fields = vec![
            field(StorageType::I8),
            field(StorageType::Val(ValType::I64)),
            field(StorageType::I16),
            field(StorageType::Val(ValType::FUNCREF)),
            field(StorageType::Val(ValType::V128)),
            field(StorageType::I8),
        ];
        let all = StructLayout::new(&fields);
        assert_eq!(
            all.fields.iter().map(|f| f.0).collect::<Vec<_>>(),
            [8, 16, 24, 28, 32, 48]
        );
        assert_eq!(all.size, 56);
        while fields.pop().is_some() {
            let prefix = StructLayout::new(&fields);
            assert_eq!(prefix.fields[..], all.fields[..fields.len()]);
        }
    }

    #[test]
    fn an_exception_with_a_number_takes_sixteen_bytes() {
        let ty = |params: &[ValType]| FuncType {
            params: params.into(),
            results: Box::new([]),
        };
        let layout = ExnLayout::new(&ty(&[ValType::I32]));
        assert_eq!(
            (layout.size, &layout.fields[..]),
            (16, &[(12, Slot::Number(4))][..])
        );
        assert_eq!(ExnLayout::new(&ty(&[])).size, 16);
        let mixed = [
            ValType::FUNCREF,
            ValType::V128,
            ValType::EXTERNREF,
            ValType::F64,
        ];
        let layout = ExnLayout::new(&ty(&mixed));
        let offsets: Vec<u32> = layout.fields.iter().map(|field| field.0).collect();
        assert_eq!((layout.size, &offsets[..]), (48, &[12, 16, 32, 40][..]));
    }

    #[test]
    fn the_largest_array_does_not_wrap() {
        let layout = ArrayLayout::new::<TypeIndex>(&field(StorageType::Val(ValType::V128)));
        assert_eq!(layout.size(u32::MAX), 8 + 16 * u64::from(u32::MAX));
        assert_eq!(ArrayLayout::new(&field(StorageType::I8)).size(1), 16);
    }
}
