//! [`ValType`], [`RefType`] and [`HeapType`]: the types of values.

use super::defined::{ArrayType, ContType, FuncType, StructType};
use crate::engine::Engine;
use crate::val::Val;
use core::fmt;
use sarsen_abi::TypeId;
use sarsen_abi::types as abi;
use sarsen_abi::types::AbstractHeapType;
use sarsen_vm::types::matching;

/// The type of a value (core specification, §2.3.4).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum ValType {
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
    Ref(RefType),
}

impl ValType {
    /// `(ref null func)`.
    pub const FUNCREF: Self = ValType::Ref(RefType::FUNCREF);
    /// `(ref null nofunc)`.
    pub const NULLFUNCREF: Self = ValType::Ref(RefType::NULLFUNCREF);
    /// `(ref null extern)`.
    pub const EXTERNREF: Self = ValType::Ref(RefType::EXTERNREF);
    /// `(ref null noextern)`.
    pub const NULLEXTERNREF: Self = ValType::Ref(RefType::NULLEXTERNREF);
    /// `(ref null any)`.
    pub const ANYREF: Self = ValType::Ref(RefType::ANYREF);
    /// `(ref null eq)`.
    pub const EQREF: Self = ValType::Ref(RefType::EQREF);
    /// `(ref null i31)`.
    pub const I31REF: Self = ValType::Ref(RefType::I31REF);
    /// `(ref null array)`.
    pub const ARRAYREF: Self = ValType::Ref(RefType::ARRAYREF);
    /// `(ref null struct)`.
    pub const STRUCTREF: Self = ValType::Ref(RefType::STRUCTREF);
    /// `(ref null none)`.
    pub const NULLREF: Self = ValType::Ref(RefType::NULLREF);
    /// `(ref null exn)`.
    pub const EXNREF: Self = ValType::Ref(RefType::EXNREF);
    /// `(ref null noexn)`.
    pub const NULLEXNREF: Self = ValType::Ref(RefType::NULLEXNREF);
    /// `(ref null cont)`.
    pub const CONTREF: Self = ValType::Ref(RefType::CONTREF);
    /// `(ref null nocont)`.
    pub const NULLCONTREF: Self = ValType::Ref(RefType::NULLCONTREF);

    /// Whether it is a number: `i32`, `i64`, `f32` or `f64`.
    pub fn is_num(&self) -> bool {
        matches!(
            self,
            ValType::I32 | ValType::I64 | ValType::F32 | ValType::F64
        )
    }

    /// Whether it is `i32`.
    pub fn is_i32(&self) -> bool {
        matches!(self, ValType::I32)
    }

    /// Whether it is `i64`.
    pub fn is_i64(&self) -> bool {
        matches!(self, ValType::I64)
    }

    /// Whether it is `f32`.
    pub fn is_f32(&self) -> bool {
        matches!(self, ValType::F32)
    }

    /// Whether it is `f64`.
    pub fn is_f64(&self) -> bool {
        matches!(self, ValType::F64)
    }

    /// Whether it is `v128`.
    pub fn is_v128(&self) -> bool {
        matches!(self, ValType::V128)
    }

    /// Whether it is a reference.
    pub fn is_ref(&self) -> bool {
        matches!(self, ValType::Ref(_))
    }

    /// Whether it is `funcref`.
    pub fn is_funcref(&self) -> bool {
        *self == ValType::FUNCREF
    }

    /// Whether it is `externref`.
    pub fn is_externref(&self) -> bool {
        *self == ValType::EXTERNREF
    }

    /// Whether it is `anyref`.
    pub fn is_anyref(&self) -> bool {
        *self == ValType::ANYREF
    }

    /// The reference type, if it is one.
    #[allow(
        clippy::should_implement_trait,
        reason = "the name that embedders know; it returns an option, which AsRef cannot"
    )]
    pub fn as_ref(&self) -> Option<&RefType> {
        match self {
            ValType::Ref(r) => Some(r),
            _ => None,
        }
    }

    /// The reference type.
    ///
    /// # Panics
    ///
    /// Panics when it is not a reference.
    pub fn unwrap_ref(&self) -> &RefType {
        self.as_ref()
            .unwrap_or_else(|| panic!("{self} is not a reference type"))
    }

    /// Whether every value of this type is also one of type `other`.
    pub fn matches(&self, other: &ValType) -> bool {
        match (self, other) {
            (ValType::Ref(a), ValType::Ref(b)) => a.matches(b),
            (a, b) => a == b,
        }
    }

    /// Zero or null; `None` for references that cannot be null.
    pub fn default_value(&self) -> Option<Val> {
        Val::default_for_ty(self)
    }

    /// An error unless the type belongs to `engine` or to none.
    pub(crate) fn belongs_to(&self, engine: &Engine) -> bool {
        match self {
            ValType::Ref(r) => r.heap_type.belongs_to(engine),
            _ => true,
        }
    }

    pub(crate) fn to_abi(&self) -> abi::ValType<TypeId> {
        match self {
            ValType::I32 => abi::ValType::I32,
            ValType::I64 => abi::ValType::I64,
            ValType::F32 => abi::ValType::F32,
            ValType::F64 => abi::ValType::F64,
            ValType::V128 => abi::ValType::V128,
            ValType::Ref(r) => abi::ValType::Ref(r.to_abi()),
        }
    }

    /// `ty` must be registered in `engine`.
    pub(crate) fn from_abi(engine: &Engine, ty: abi::ValType<TypeId>) -> ValType {
        match ty {
            abi::ValType::Ref(r) => ValType::Ref(RefType::from_abi(engine, r)),
            number => ValType::from_abstract(number),
        }
    }

    /// `ty` must name no defined type.
    pub(crate) fn from_abstract(ty: abi::ValType<TypeId>) -> ValType {
        match ty {
            abi::ValType::I32 => ValType::I32,
            abi::ValType::I64 => ValType::I64,
            abi::ValType::F32 => ValType::F32,
            abi::ValType::F64 => ValType::F64,
            abi::ValType::V128 => ValType::V128,
            abi::ValType::Ref(r) => match r.heap {
                abi::HeapType::Abstract(heap) => ValType::Ref(RefType {
                    is_nullable: r.nullable,
                    heap_type: HeapType::from_abstract(heap),
                }),
                _ => unreachable!("the type names no defined type"),
            },
        }
    }
}

impl fmt::Display for ValType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValType::I32 => f.write_str("i32"),
            ValType::I64 => f.write_str("i64"),
            ValType::F32 => f.write_str("f32"),
            ValType::F64 => f.write_str("f64"),
            ValType::V128 => f.write_str("v128"),
            ValType::Ref(r) => r.fmt(f),
        }
    }
}

impl From<RefType> for ValType {
    fn from(ty: RefType) -> Self {
        ValType::Ref(ty)
    }
}

/// The type of a reference.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct RefType {
    is_nullable: bool,
    heap_type: HeapType,
}

impl RefType {
    /// `(ref null func)`.
    pub const FUNCREF: Self = RefType::nullable(HeapType::Func);
    /// `(ref null nofunc)`.
    pub const NULLFUNCREF: Self = RefType::nullable(HeapType::NoFunc);
    /// `(ref null extern)`.
    pub const EXTERNREF: Self = RefType::nullable(HeapType::Extern);
    /// `(ref null noextern)`.
    pub const NULLEXTERNREF: Self = RefType::nullable(HeapType::NoExtern);
    /// `(ref null any)`.
    pub const ANYREF: Self = RefType::nullable(HeapType::Any);
    /// `(ref null eq)`.
    pub const EQREF: Self = RefType::nullable(HeapType::Eq);
    /// `(ref null i31)`.
    pub const I31REF: Self = RefType::nullable(HeapType::I31);
    /// `(ref null array)`.
    pub const ARRAYREF: Self = RefType::nullable(HeapType::Array);
    /// `(ref null struct)`.
    pub const STRUCTREF: Self = RefType::nullable(HeapType::Struct);
    /// `(ref null none)`.
    pub const NULLREF: Self = RefType::nullable(HeapType::None);
    /// `(ref null exn)`.
    pub const EXNREF: Self = RefType::nullable(HeapType::Exn);
    /// `(ref null noexn)`.
    pub const NULLEXNREF: Self = RefType::nullable(HeapType::NoExn);
    /// `(ref null cont)`.
    pub const CONTREF: Self = RefType::nullable(HeapType::Cont);
    /// `(ref null nocont)`.
    pub const NULLCONTREF: Self = RefType::nullable(HeapType::NoCont);

    const fn nullable(heap_type: HeapType) -> Self {
        RefType {
            is_nullable: true,
            heap_type,
        }
    }

    /// A reference to `heap_type`, or null when `is_nullable`.
    pub fn new(is_nullable: bool, heap_type: HeapType) -> Self {
        RefType {
            is_nullable,
            heap_type,
        }
    }

    /// Whether null is a value of this type.
    pub fn is_nullable(&self) -> bool {
        self.is_nullable
    }

    /// What is referred to.
    pub fn heap_type(&self) -> &HeapType {
        &self.heap_type
    }

    /// Whether every value of this type is also one of type `other`.
    pub fn matches(&self, other: &RefType) -> bool {
        (other.is_nullable || !self.is_nullable) && self.heap_type.matches(&other.heap_type)
    }

    pub(crate) fn to_abi(&self) -> abi::RefType<TypeId> {
        abi::RefType {
            nullable: self.is_nullable,
            heap: self.heap_type.to_abi(),
        }
    }

    /// `ty` must be registered in `engine`.
    pub(crate) fn from_abi(engine: &Engine, ty: abi::RefType<TypeId>) -> RefType {
        RefType {
            is_nullable: ty.nullable,
            heap_type: HeapType::from_abi(engine, ty.heap),
        }
    }
}

impl fmt::Display for RefType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.is_nullable, &self.heap_type) {
            (true, HeapType::Func) => f.write_str("funcref"),
            (true, HeapType::Extern) => f.write_str("externref"),
            (true, heap) => write!(f, "(ref null {heap})"),
            (false, heap) => write!(f, "(ref {heap})"),
        }
    }
}

/// What a reference points to (core specification, §2.3.3).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum HeapType {
    /// `extern`: anything of the host.
    Extern,
    /// `noextern`: nothing.
    NoExtern,
    /// `func`: any function.
    Func,
    /// A function of a given type.
    ConcreteFunc(FuncType),
    /// `nofunc`: nothing.
    NoFunc,
    /// `any`: any object of the guest.
    Any,
    /// `eq`: any object that can be compared.
    Eq,
    /// `i31`: a small integer.
    I31,
    /// `array`: any array.
    Array,
    /// An array of a given type.
    ConcreteArray(ArrayType),
    /// `struct`: any structure.
    Struct,
    /// A structure of a given type.
    ConcreteStruct(StructType),
    /// `none`: nothing.
    None,
    /// `exn`: any exception.
    Exn,
    /// `noexn`: nothing.
    NoExn,
    /// `cont`: any continuation.
    Cont,
    /// A continuation of a given type.
    ConcreteCont(ContType),
    /// `nocont`: nothing.
    NoCont,
}

macro_rules! abstract_types {
    ($($is:ident $variant:ident $text:literal;)*) => {$(
        #[doc = concat!("Whether it is `", $text, "`.")]
        pub fn $is(&self) -> bool {
            matches!(self, HeapType::$variant)
        }
    )*};
}

macro_rules! concrete_types {
    ($($is:ident $get:ident $unwrap:ident $variant:ident $ty:ident $what:literal;)*) => {$(
        #[doc = concat!("Whether it is a given ", $what, " type.")]
        pub fn $is(&self) -> bool {
            self.$get().is_some()
        }

        #[doc = concat!("The ", $what, " type, if it is one.")]
        pub fn $get(&self) -> Option<&$ty> {
            match self {
                HeapType::$variant(ty) => Some(ty),
                _ => None,
            }
        }

        #[doc = concat!("The ", $what, " type.")]
        ///
        /// # Panics
        ///
        /// Panics when it is something else.
        pub fn $unwrap(&self) -> &$ty {
            self.$get()
                .unwrap_or_else(|| panic!(concat!("{} is no ", $what, " type"), self))
        }
    )*};
}

/// Which of the types it is.
impl HeapType {
    abstract_types! {
        is_extern Extern "extern";
        is_no_extern NoExtern "noextern";
        is_func Func "func";
        is_no_func NoFunc "nofunc";
        is_any Any "any";
        is_eq Eq "eq";
        is_i31 I31 "i31";
        is_array Array "array";
        is_struct Struct "struct";
        is_none None "none";
        is_exn Exn "exn";
        is_no_exn NoExn "noexn";
        is_cont Cont "cont";
        is_no_cont NoCont "nocont";
    }

    concrete_types! {
        is_concrete_func as_concrete_func unwrap_concrete_func ConcreteFunc FuncType "function";
        is_concrete_array as_concrete_array unwrap_concrete_array ConcreteArray ArrayType "array";
        is_concrete_struct as_concrete_struct unwrap_concrete_struct ConcreteStruct StructType
            "structure";
        is_concrete_cont as_concrete_cont unwrap_concrete_cont ConcreteCont ContType
            "continuation";
    }
}

impl HeapType {
    /// Whether it names a defined type.
    pub fn is_concrete(&self) -> bool {
        self.to_abi().concrete().is_some()
    }

    /// Whether it is one of the abstract types.
    pub fn is_abstract(&self) -> bool {
        !self.is_concrete()
    }

    /// The largest type of the same hierarchy.
    pub fn top(&self) -> HeapType {
        HeapType::from_abstract(self.to_abi().hierarchy().top())
    }

    /// Whether it is the largest type of its hierarchy.
    pub fn is_top(&self) -> bool {
        *self == self.top()
    }

    /// The type of the same hierarchy that has no objects.
    pub fn bottom(&self) -> HeapType {
        match self.to_abi().hierarchy() {
            abi::Hierarchy::Func => HeapType::NoFunc,
            abi::Hierarchy::Extern => HeapType::NoExtern,
            abi::Hierarchy::Any => HeapType::None,
            abi::Hierarchy::Exn => HeapType::NoExn,
            abi::Hierarchy::Cont => HeapType::NoCont,
        }
    }

    /// Whether it is the type of its hierarchy that has no objects.
    pub fn is_bottom(&self) -> bool {
        *self == self.bottom()
    }

    /// Whether every object of this type is also one of type `other`.
    pub fn matches(&self, other: &HeapType) -> bool {
        if self == other {
            return true;
        }
        // Ids of different engines must not be compared.
        match (self.engine(), other.engine()) {
            (Some(a), Some(b)) if !Engine::same(a, b) => false,
            (Some(engine), _) => {
                matching::heap_type_matches(engine.types(), &self.to_abi(), &other.to_abi())
            }
            _ => matching::abstract_heap_type_matches(&self.to_abi(), &other.to_abi()),
        }
    }

    /// The engine of the defined type that is named, if any.
    fn engine(&self) -> Option<&Engine> {
        match self {
            HeapType::ConcreteFunc(ty) => Some(ty.engine()),
            HeapType::ConcreteArray(ty) => Some(ty.engine()),
            HeapType::ConcreteStruct(ty) => Some(ty.engine()),
            HeapType::ConcreteCont(ty) => Some(ty.engine()),
            _ => None,
        }
    }

    pub(crate) fn belongs_to(&self, engine: &Engine) -> bool {
        self.engine().is_none_or(|own| Engine::same(own, engine))
    }

    pub(crate) fn to_abi(&self) -> abi::HeapType<TypeId> {
        use AbstractHeapType as A;
        let abstract_type = match self {
            HeapType::ConcreteFunc(ty) => return abi::HeapType::ConcreteFunc(ty.id()),
            HeapType::ConcreteArray(ty) => return abi::HeapType::ConcreteArray(ty.id()),
            HeapType::ConcreteStruct(ty) => return abi::HeapType::ConcreteStruct(ty.id()),
            HeapType::ConcreteCont(ty) => return abi::HeapType::ConcreteCont(ty.id()),
            HeapType::Extern => A::Extern,
            HeapType::NoExtern => A::NoExtern,
            HeapType::Func => A::Func,
            HeapType::NoFunc => A::NoFunc,
            HeapType::Any => A::Any,
            HeapType::Eq => A::Eq,
            HeapType::I31 => A::I31,
            HeapType::Array => A::Array,
            HeapType::Struct => A::Struct,
            HeapType::None => A::None,
            HeapType::Exn => A::Exn,
            HeapType::NoExn => A::NoExn,
            HeapType::Cont => A::Cont,
            HeapType::NoCont => A::NoCont,
        };
        abi::HeapType::Abstract(abstract_type)
    }

    /// `ty` must be registered in `engine`.
    pub(crate) fn from_abi(engine: &Engine, ty: abi::HeapType<TypeId>) -> HeapType {
        match ty {
            abi::HeapType::ConcreteFunc(id) => {
                HeapType::ConcreteFunc(FuncType::from_id(engine, id))
            }
            abi::HeapType::ConcreteArray(id) => {
                HeapType::ConcreteArray(ArrayType::from_id(engine, id))
            }
            abi::HeapType::ConcreteStruct(id) => {
                HeapType::ConcreteStruct(StructType::from_id(engine, id))
            }
            abi::HeapType::ConcreteCont(id) => {
                HeapType::ConcreteCont(ContType::from_id(engine, id))
            }
            abi::HeapType::Abstract(heap) => HeapType::from_abstract(heap),
        }
    }

    pub(crate) fn from_abstract(ty: AbstractHeapType) -> HeapType {
        use AbstractHeapType as A;
        match ty {
            A::Extern => HeapType::Extern,
            A::NoExtern => HeapType::NoExtern,
            A::Func => HeapType::Func,
            A::NoFunc => HeapType::NoFunc,
            A::Any => HeapType::Any,
            A::Eq => HeapType::Eq,
            A::I31 => HeapType::I31,
            A::Array => HeapType::Array,
            A::Struct => HeapType::Struct,
            A::None => HeapType::None,
            A::Exn => HeapType::Exn,
            A::NoExn => HeapType::NoExn,
            A::Cont => HeapType::Cont,
            A::NoCont => HeapType::NoCont,
        }
    }
}

impl fmt::Display for HeapType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HeapType::ConcreteFunc(ty) => return ty.fmt(f),
            HeapType::ConcreteArray(ty) => return ty.fmt(f),
            HeapType::ConcreteStruct(ty) => return ty.fmt(f),
            HeapType::ConcreteCont(ty) => return ty.fmt(f),
            HeapType::Extern => "extern",
            HeapType::NoExtern => "noextern",
            HeapType::Func => "func",
            HeapType::NoFunc => "nofunc",
            HeapType::Any => "any",
            HeapType::Eq => "eq",
            HeapType::I31 => "i31",
            HeapType::Array => "array",
            HeapType::Struct => "struct",
            HeapType::None => "none",
            HeapType::Exn => "exn",
            HeapType::NoExn => "noexn",
            HeapType::Cont => "cont",
            HeapType::NoCont => "nocont",
        })
    }
}

macro_rules! from_defined {
    ($($ty:ident $variant:ident;)*) => {$(
        impl From<$ty> for HeapType {
            fn from(ty: $ty) -> Self {
                HeapType::$variant(ty)
            }
        }
    )*};
}

from_defined! {
    FuncType ConcreteFunc;
    ArrayType ConcreteArray;
    StructType ConcreteStruct;
    ContType ConcreteCont;
}
