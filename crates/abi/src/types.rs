//! WebAssembly types, once, for every stage of a module's life.
//!
//! The types are generic over `R`: how a reference to a *concrete* (defined) type is written.
//!
//! | `R` | stage |
//! |---|---|
//! | [`TypeIndex`] | inside one module |
//! | [`crate::canonical::CanonicalRef`] | inside a canonicalized recursion group |
//! | [`TypeId`] | inside one engine, where equal ids mean equal types |
//!
//! Specification: core, §2.3 "Types".

use crate::index::TypeIndex;
use serde::{Deserialize, Serialize};

/// An engine-wide type: equal ids mean equal types after canonicalization of recursion groups.
///
/// Ids differ from engine to engine, so compiled code never contains one: it loads them through
/// its vmctx ([`crate::vmctx::VmCtxHeader::type_ids`]). The number is where the type's row is
/// ([`crate::heap::TypeRow`]), in bytes from the first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[repr(transparent)]
pub struct TypeId(pub u32);

impl TypeId {
    /// No type: what an unused slot holds. The registry never gives this id out.
    pub const RESERVED: TypeId = TypeId(u32::MAX);
}

/// The type of a value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum ValType<R = TypeIndex> {
    /// A 32-bit integer.
    I32,
    /// A 64-bit integer.
    I64,
    /// A 32-bit float.
    F32,
    /// A 64-bit float.
    F64,
    /// A 128-bit vector.
    V128,
    /// A reference.
    Ref(RefType<R>),
}

impl<R> ValType<R> {
    /// `funcref`.
    pub const FUNCREF: Self = Self::Ref(RefType::FUNCREF);
    /// `externref`.
    pub const EXTERNREF: Self = Self::Ref(RefType::EXTERNREF);

    /// The same type with every concrete reference rewritten by `f`.
    pub fn map<S>(self, f: impl FnOnce(R) -> S) -> ValType<S> {
        match self {
            Self::I32 => ValType::I32,
            Self::I64 => ValType::I64,
            Self::F32 => ValType::F32,
            Self::F64 => ValType::F64,
            Self::V128 => ValType::V128,
            Self::Ref(r) => ValType::Ref(r.map(f)),
        }
    }

    /// The size of a value in memory, in bytes. References are 4 bytes, except function references,
    /// which are pointers of 8.
    pub fn size_bytes(&self) -> u32 {
        match self {
            Self::I32 | Self::F32 => 4,
            Self::I64 | Self::F64 => 8,
            Self::V128 => 16,
            Self::Ref(r) => r.size_bytes(),
        }
    }

    /// Whether a local of this type has a default value (core specification, §3.2.2).
    pub fn is_defaultable(&self) -> bool {
        !matches!(
            self,
            Self::Ref(RefType {
                nullable: false,
                ..
            })
        )
    }
}

/// The type of a reference.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct RefType<R = TypeIndex> {
    /// Whether null is a value of this type.
    pub nullable: bool,
    /// What the reference points to.
    pub heap: HeapType<R>,
}

impl<R> RefType<R> {
    /// `(ref null func)`.
    pub const FUNCREF: Self = Self {
        nullable: true,
        heap: HeapType::Abstract(AbstractHeapType::Func),
    };
    /// `(ref null extern)`.
    pub const EXTERNREF: Self = Self {
        nullable: true,
        heap: HeapType::Abstract(AbstractHeapType::Extern),
    };

    /// The same type with a concrete reference rewritten by `f`.
    pub fn map<S>(self, f: impl FnOnce(R) -> S) -> RefType<S> {
        RefType {
            nullable: self.nullable,
            heap: self.heap.map(f),
        }
    }

    /// The size of a reference in a table, global or frame, in bytes.
    pub fn size_bytes(&self) -> u32 {
        match self.heap.hierarchy() {
            Hierarchy::Func => 8,
            _ => 4,
        }
    }

    /// Whether references of this type are traced by the collector (32-bit heap references), as
    /// opposed to function references, which are pointers to [`crate::vmctx::VmFuncRef`].
    pub fn is_collected(&self) -> bool {
        self.heap.hierarchy() != Hierarchy::Func
    }
}

/// What a reference points to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum HeapType<R = TypeIndex> {
    /// One of the abstract heap types.
    Abstract(AbstractHeapType),
    /// A defined function type.
    ConcreteFunc(R),
    /// A defined structure type.
    ConcreteStruct(R),
    /// A defined array type.
    ConcreteArray(R),
    /// A defined continuation type.
    ConcreteCont(R),
}

/// The abstract heap types (core specification, §2.3.3; stack-switching and exception proposals).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum AbstractHeapType {
    /// `func`
    Func,
    /// `nofunc`
    NoFunc,
    /// `extern`
    Extern,
    /// `noextern`
    NoExtern,
    /// `any`
    Any,
    /// `eq`
    Eq,
    /// `i31`
    I31,
    /// `struct`
    Struct,
    /// `array`
    Array,
    /// `none`
    None,
    /// `exn`
    Exn,
    /// `noexn`
    NoExn,
    /// `cont`
    Cont,
    /// `nocont`
    NoCont,
}

impl AbstractHeapType {
    /// Every abstract heap type, in the order of their codes.
    pub const ALL: [AbstractHeapType; 14] = [
        Self::Func,
        Self::NoFunc,
        Self::Extern,
        Self::NoExtern,
        Self::Any,
        Self::Eq,
        Self::I31,
        Self::Struct,
        Self::Array,
        Self::None,
        Self::Exn,
        Self::NoExn,
        Self::Cont,
        Self::NoCont,
    ];

    /// A small number for the type, as compiled code passes it to the runtime.
    pub const fn code(self) -> u32 {
        self as u32
    }

    /// The type with this code.
    pub fn from_code(code: u32) -> Option<AbstractHeapType> {
        Self::ALL.get(code as usize).copied()
    }
}

/// The disjoint hierarchies of heap types: no value belongs to two.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Hierarchy {
    /// Below `func`.
    Func,
    /// Below `extern`.
    Extern,
    /// Below `any`.
    Any,
    /// Below `exn`.
    Exn,
    /// Below `cont`.
    Cont,
}

impl Hierarchy {
    /// The largest type of the hierarchy.
    pub fn top(self) -> AbstractHeapType {
        match self {
            Hierarchy::Func => AbstractHeapType::Func,
            Hierarchy::Extern => AbstractHeapType::Extern,
            Hierarchy::Any => AbstractHeapType::Any,
            Hierarchy::Exn => AbstractHeapType::Exn,
            Hierarchy::Cont => AbstractHeapType::Cont,
        }
    }
}

impl<R> HeapType<R> {
    /// The same type with a concrete reference rewritten by `f`.
    pub fn map<S>(self, f: impl FnOnce(R) -> S) -> HeapType<S> {
        match self {
            Self::Abstract(a) => HeapType::Abstract(a),
            Self::ConcreteFunc(r) => HeapType::ConcreteFunc(f(r)),
            Self::ConcreteStruct(r) => HeapType::ConcreteStruct(f(r)),
            Self::ConcreteArray(r) => HeapType::ConcreteArray(f(r)),
            Self::ConcreteCont(r) => HeapType::ConcreteCont(f(r)),
        }
    }

    /// The concrete type referred to, if any.
    pub fn concrete(self) -> Option<R> {
        match self {
            Self::Abstract(_) => None,
            Self::ConcreteFunc(r)
            | Self::ConcreteStruct(r)
            | Self::ConcreteArray(r)
            | Self::ConcreteCont(r) => Some(r),
        }
    }

    /// The hierarchy that this type belongs to.
    pub fn hierarchy(&self) -> Hierarchy {
        use AbstractHeapType as A;
        match self {
            Self::ConcreteFunc(_) | Self::Abstract(A::Func | A::NoFunc) => Hierarchy::Func,
            Self::Abstract(A::Extern | A::NoExtern) => Hierarchy::Extern,
            Self::Abstract(A::Exn | A::NoExn) => Hierarchy::Exn,
            Self::ConcreteCont(_) | Self::Abstract(A::Cont | A::NoCont) => Hierarchy::Cont,
            Self::ConcreteStruct(_)
            | Self::ConcreteArray(_)
            | Self::Abstract(A::Any | A::Eq | A::I31 | A::Struct | A::Array | A::None) => {
                Hierarchy::Any
            }
        }
    }
}

/// The type of a function.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct FuncType<R = TypeIndex> {
    /// The parameters' types.
    pub params: Box<[ValType<R>]>,
    /// The results' types.
    pub results: Box<[ValType<R>]>,
}

/// The type of a field's or element's storage.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum StorageType<R = TypeIndex> {
    /// A packed 8-bit integer.
    I8,
    /// A packed 16-bit integer.
    I16,
    /// A whole value.
    Val(ValType<R>),
}

impl<R: Copy> StorageType<R> {
    /// The type of the value that an instruction reads or writes: packed integers are `i32`s.
    pub fn unpacked(&self) -> ValType<R> {
        match *self {
            StorageType::I8 | StorageType::I16 => ValType::I32,
            StorageType::Val(ty) => ty,
        }
    }
}

/// The type of a structure's field or of an array's elements.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct FieldType<R = TypeIndex> {
    /// What is stored.
    pub storage: StorageType<R>,
    /// Whether it can be written after creation.
    pub mutable: bool,
}

/// What a defined type is composed of.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum CompositeType<R = TypeIndex> {
    /// A function.
    Func(FuncType<R>),
    /// A structure, with its fields.
    Struct(Box<[FieldType<R>]>),
    /// An array, with its element.
    Array(FieldType<R>),
    /// A continuation of a function type.
    Cont(R),
}

/// A defined type: a composite type with its place in the subtype hierarchy.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct SubType<R = TypeIndex> {
    /// Whether no type may declare this one as its supertype.
    pub is_final: bool,
    /// The declared supertype.
    pub supertype: Option<R>,
    /// The type itself.
    pub composite: CompositeType<R>,
}

impl<R> SubType<R> {
    /// The function type, if it is one.
    pub fn as_func(&self) -> Option<&FuncType<R>> {
        match &self.composite {
            CompositeType::Func(f) => Some(f),
            _ => None,
        }
    }

    /// The fields, if it is a structure type.
    pub fn as_struct(&self) -> Option<&[FieldType<R>]> {
        match &self.composite {
            CompositeType::Struct(fields) => Some(fields),
            _ => None,
        }
    }

    /// The element, if it is an array type.
    pub fn as_array(&self) -> Option<&FieldType<R>> {
        match &self.composite {
            CompositeType::Array(element) => Some(element),
            _ => None,
        }
    }
}

impl<R: Copy> FuncType<R> {
    /// The same type with every concrete reference rewritten by `f`.
    pub fn map<S>(&self, mut f: impl FnMut(R) -> S) -> FuncType<S> {
        FuncType {
            params: self.params.iter().map(|t| t.map(&mut f)).collect(),
            results: self.results.iter().map(|t| t.map(&mut f)).collect(),
        }
    }
}

impl<R: Copy> FieldType<R> {
    /// The same type with a concrete reference rewritten by `f`.
    pub fn map<S>(&self, f: impl FnMut(R) -> S) -> FieldType<S> {
        let storage = match self.storage {
            StorageType::I8 => StorageType::I8,
            StorageType::I16 => StorageType::I16,
            StorageType::Val(v) => StorageType::Val(v.map(f)),
        };
        FieldType {
            storage,
            mutable: self.mutable,
        }
    }
}

impl<R: Copy> SubType<R> {
    /// The same type with every concrete reference rewritten by `f`.
    pub fn map<S>(&self, mut f: impl FnMut(R) -> S) -> SubType<S> {
        SubType {
            is_final: self.is_final,
            supertype: self.supertype.map(&mut f),
            composite: match &self.composite {
                CompositeType::Func(t) => CompositeType::Func(t.map(f)),
                CompositeType::Struct(fields) => {
                    CompositeType::Struct(fields.iter().map(|t| t.map(&mut f)).collect())
                }
                CompositeType::Array(t) => CompositeType::Array(t.map(f)),
                CompositeType::Cont(r) => CompositeType::Cont(f(*r)),
            },
        }
    }
}

/// The type of an index into a memory or table: 32 or 64 bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum IndexType {
    /// 32-bit indices.
    I32,
    /// 64-bit indices (memory64).
    I64,
}

/// The type of a table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct TableType<R = TypeIndex> {
    /// The elements' type.
    pub element: RefType<R>,
    /// The type of an index into it.
    pub index: IndexType,
    /// The size at creation, in elements.
    pub minimum: u64,
    /// The largest size that it may grow to, in elements.
    pub maximum: Option<u64>,
}

impl<R: Copy> TableType<R> {
    /// The same type with a concrete reference rewritten by `f`.
    pub fn map<S>(&self, f: impl FnOnce(R) -> S) -> TableType<S> {
        TableType {
            element: self.element.map(f),
            index: self.index,
            minimum: self.minimum,
            maximum: self.maximum,
        }
    }
}

/// The type of a linear memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct MemoryType {
    /// The type of an address.
    pub index: IndexType,
    /// Whether it is shared between agents (threads proposal).
    pub shared: bool,
    /// The size at creation, in pages.
    pub minimum: u64,
    /// The largest size that it may grow to, in pages.
    pub maximum: Option<u64>,
    /// The page size is 2 to this power: 16, or 0 (custom page sizes).
    pub page_size_log2: u8,
}

/// The most room for a shared memory that is not larger from the start, in bytes. A reservation takes
/// no memory, but address space is not endless either.
pub const MAX_SHARED_ROOM: u64 = 1 << 40;

impl MemoryType {
    /// The size of a page, in bytes.
    pub const fn page_size(&self) -> u64 {
        1 << self.page_size_log2
    }

    /// The size at creation in bytes, or `None` when it exceeds 64 bits.
    pub fn minimum_bytes(&self) -> Option<u64> {
        self.minimum.checked_mul(self.page_size())
    }

    /// The room that a shared memory of this type gets, in bytes; it cannot grow beyond it, and never
    /// moves. Enough for its maximum, unless that is more than [`MAX_SHARED_ROOM`].
    ///
    /// Compiled code and the runtime rely on each other to use this number: an address so far behind the
    /// base is inaccessible, and so is the guard after it.
    pub fn shared_room(&self) -> u64 {
        let limit = self.index_limit_pages();
        let most = self.maximum.unwrap_or(limit).min(limit);
        let most = most.saturating_mul(self.page_size());
        most.min(MAX_SHARED_ROOM.max(self.minimum_bytes().unwrap_or(u64::MAX)))
    }

    /// The largest number of pages that the index type can address.
    pub fn index_limit_pages(&self) -> u64 {
        match self.index {
            IndexType::I32 => (1 << 32) >> self.page_size_log2,
            IndexType::I64 if self.page_size_log2 == 0 => u64::MAX,
            IndexType::I64 => 1 << (64 - self.page_size_log2),
        }
    }
}

/// The type of a global.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct GlobalType<R = TypeIndex> {
    /// The value's type.
    pub content: ValType<R>,
    /// Whether it can be written.
    pub mutable: bool,
}

/// The type of a tag: a function type without results for exceptions, any for effects.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct TagType<R = TypeIndex> {
    /// The function type.
    pub signature: R,
}
