//! [`Val`]: a WebAssembly value whose type is known at run time only.

use crate::context::{AsContext, AsContextMut};
use crate::error::{OwnershipError, Result, TypeError};
use crate::func::Func;
use crate::gc::{AnyRef, ContRef, ExnRef, ExternRef, Rooted};
use crate::reference::Ref;
use crate::store::StoreOpaque;
use crate::types::text::ValTypeText;
use crate::types::{HeapType, ValType};
use core::fmt;
use core::mem::MaybeUninit;
use sarsen_abi::TypeId;
use sarsen_abi::types as abi;

pub use sarsen_abi::vmctx::ValRaw;

/// A 128-bit vector.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct V128(u128);

impl V128 {
    /// The vector as a little-endian number.
    pub fn as_u128(&self) -> u128 {
        self.0
    }
}

impl From<u128> for V128 {
    fn from(bits: u128) -> Self {
        V128(bits)
    }
}

impl From<V128> for u128 {
    fn from(vector: V128) -> Self {
        vector.0
    }
}

/// A WebAssembly value.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Val {
    /// A 32-bit integer.
    I32(i32),
    /// A 64-bit integer.
    I64(i64),
    /// A 32-bit float, as its bits: a float's NaN may lose its payload on the way through a register.
    F32(u32),
    /// A 64-bit float, as its bits.
    F64(u64),
    /// A 128-bit vector.
    V128(V128),
    /// A function, or null.
    FuncRef(Option<Func>),
    /// Anything of the host, or null.
    ExternRef(Option<Rooted<ExternRef>>),
    /// An object of the guest, or null.
    AnyRef(Option<Rooted<AnyRef>>),
    /// An exception, or null.
    ExnRef(Option<Rooted<ExnRef>>),
    /// A continuation, or null.
    ContRef(Option<Rooted<ContRef>>),
}

macro_rules! accessors {
    ($($variant:ident($binding:ident) $get:ident $unwrap:ident $ty:ty = $value:expr, $what:literal;)*) => {
        $(
            #[doc = concat!("The value, if it is ", $what, ".")]
            pub fn $get(&self) -> Option<$ty> {
                match *self {
                    Val::$variant($binding) => Some($value),
                    _ => None,
                }
            }

            #[doc = concat!("The value, which must be ", $what, ".")]
            ///
            /// # Panics
            ///
            /// Panics when it is something else.
            pub fn $unwrap(&self) -> $ty {
                self.$get()
                    .unwrap_or_else(|| panic!("{self:?} is not {}", $what))
            }
        )*
    };
}

macro_rules! reference_accessors {
    ($($variant:ident $get:ident $unwrap:ident $get_too:ident $unwrap_too:ident: $ty:ty, $what:literal;)*) => {
        $(
            #[doc = concat!("What it refers to or null, if it is ", $what, ".")]
            pub fn $get(&self) -> Option<Option<&$ty>> {
                match self {
                    Val::$variant(reference) => Some(reference.as_ref()),
                    _ => None,
                }
            }

            #[doc = concat!("What it refers to or null; it must be ", $what, ".")]
            ///
            /// # Panics
            ///
            /// Panics when it is something else.
            pub fn $unwrap(&self) -> Option<&$ty> {
                self.$get()
                    .unwrap_or_else(|| panic!("{self:?} is not {}", $what))
            }

            #[doc = concat!("The same as [`Val::", stringify!($get), "`].")]
            pub fn $get_too(&self) -> Option<Option<&$ty>> {
                self.$get()
            }

            #[doc = concat!("The same as [`Val::", stringify!($unwrap), "`].")]
            ///
            /// # Panics
            ///
            /// Panics when it is something else.
            pub fn $unwrap_too(&self) -> Option<&$ty> {
                self.$unwrap()
            }
        )*
    };
}

impl Val {
    accessors! {
        I32(v) i32 unwrap_i32 i32 = v, "an `i32`";
        I64(v) i64 unwrap_i64 i64 = v, "an `i64`";
        F32(v) f32 unwrap_f32 f32 = f32::from_bits(v), "an `f32`";
        F64(v) f64 unwrap_f64 f64 = f64::from_bits(v), "an `f64`";
        V128(v) v128 unwrap_v128 V128 = v, "a `v128`";
    }

    reference_accessors! {
        FuncRef funcref unwrap_funcref func_ref unwrap_func_ref: Func, "a function reference";
        ExternRef externref unwrap_externref extern_ref unwrap_extern_ref: Rooted<ExternRef>,
            "an external reference";
        AnyRef anyref unwrap_anyref any_ref unwrap_any_ref: Rooted<AnyRef>,
            "a reference of the guest's";
        ExnRef exnref unwrap_exnref exn_ref unwrap_exn_ref: Rooted<ExnRef>,
            "a reference to an exception";
        ContRef contref unwrap_contref cont_ref unwrap_cont_ref: Rooted<ContRef>,
            "a reference to a continuation";
    }

    /// The reference, if it is one.
    pub fn ref_(self) -> Option<Ref> {
        match self {
            Val::FuncRef(func) => Some(Ref::Func(func)),
            Val::ExternRef(object) => Some(Ref::Extern(object)),
            Val::AnyRef(object) => Some(Ref::Any(object)),
            Val::ExnRef(exception) => Some(Ref::Exn(exception)),
            Val::ContRef(continuation) => Some(Ref::Cont(continuation)),
            _ => None,
        }
    }

    /// The null of the hierarchy of `heap_type`.
    pub fn null_ref(heap_type: &HeapType) -> Val {
        Ref::null(heap_type).into()
    }

    /// `(ref.null func)`.
    pub const fn null_func_ref() -> Val {
        Val::FuncRef(None)
    }

    /// `(ref.null extern)`.
    pub const fn null_extern_ref() -> Val {
        Val::ExternRef(None)
    }

    /// `(ref.null any)`.
    pub const fn null_any_ref() -> Val {
        Val::AnyRef(None)
    }

    /// `(ref.null exn)`.
    pub const fn null_exn_ref() -> Val {
        Val::ExnRef(None)
    }

    /// `(ref.null cont)`.
    pub const fn null_cont_ref() -> Val {
        Val::ContRef(None)
    }

    /// Zero or null; `None` for references that cannot be null.
    pub fn default_for_ty(ty: &ValType) -> Option<Val> {
        match ty {
            ValType::I32 => Some(Val::I32(0)),
            ValType::I64 => Some(Val::I64(0)),
            ValType::F32 => Some(Val::F32(0)),
            ValType::F64 => Some(Val::F64(0)),
            ValType::V128 => Some(Val::V128(V128(0))),
            ValType::Ref(r) if r.is_nullable() => Some(Val::null_ref(r.heap_type())),
            ValType::Ref(_) => None,
        }
    }

    /// The value's own type: the most precise one that is known.
    ///
    /// # Errors
    ///
    /// When the value belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> Result<ValType> {
        Ok(match self {
            Val::I32(_) => ValType::I32,
            Val::I64(_) => ValType::I64,
            Val::F32(_) => ValType::F32,
            Val::F64(_) => ValType::F64,
            Val::V128(_) => ValType::V128,
            reference => {
                let reference = reference.ref_().expect("what is left are references");
                ValType::Ref(reference.ty(store)?)
            }
        })
    }

    /// Whether it is a value of type `ty`.
    ///
    /// # Errors
    ///
    /// When the value belongs to another store.
    pub fn matches_ty(&self, store: impl AsContext, ty: &ValType) -> Result<bool> {
        let store = store.as_context().opaque();
        if !ty.belongs_to(store.engine()) {
            return Err(OwnershipError::WrongEngine.into());
        }
        self.matches_abi(store, ty.to_abi())
    }

    /// The value as compiled code passes it.
    ///
    /// # Errors
    ///
    /// When the value belongs to another store.
    pub fn to_raw(&self, mut store: impl AsContextMut) -> Result<ValRaw> {
        self.raw(store.as_context_mut().opaque())
    }

    /// The value that compiled code passed.
    ///
    /// # Safety
    ///
    /// `raw` must be a value of type `ty`, of this store.
    pub unsafe fn from_raw(mut store: impl AsContextMut, raw: ValRaw, ty: ValType) -> Val {
        // SAFETY: the caller's promise.
        unsafe { Val::from_abi(store.as_context_mut().opaque(), raw, ty.to_abi()) }
    }

    /// The value for compiled code, if it may be used with `store`. A reference to an object is of use
    /// until something allocates.
    #[inline]
    pub(crate) fn raw(&self, store: &mut StoreOpaque) -> Result<ValRaw> {
        Ok(match self {
            Val::I32(v) => ValRaw::i32(*v),
            Val::I64(v) => ValRaw::i64(*v),
            Val::F32(v) => ValRaw::f32(*v),
            Val::F64(v) => ValRaw::f64(*v),
            Val::V128(v) => ValRaw::v128(v.0),
            reference => {
                let reference = reference.ref_().expect("what is left are references");
                reference.raw(store)?
            }
        })
    }

    /// # Safety
    ///
    /// `raw` must be a value of type `ty`, of `store`.
    #[inline]
    pub(crate) unsafe fn from_abi(
        store: &mut StoreOpaque,
        raw: ValRaw,
        ty: abi::ValType<TypeId>,
    ) -> Val {
        // SAFETY: the caller's promise.
        unsafe { Val::read_raw(store, &raw, ty) }
    }

    /// The value that compiled code has written. Only as much is read as was written: to read more
    /// would have to wait until that is in the cache.
    ///
    /// # Safety
    ///
    /// There must be a value of type `ty`, of `store`.
    #[inline(always)]
    pub(crate) unsafe fn read_raw(
        store: &mut StoreOpaque,
        at: *const ValRaw,
        ty: abi::ValType<TypeId>,
    ) -> Val {
        // SAFETY: the caller's promise; numbers are in the low bytes.
        unsafe {
            match ty {
                abi::ValType::I32 => Val::I32(at.cast::<i32>().read()),
                abi::ValType::I64 => Val::I64(at.cast::<i64>().read()),
                abi::ValType::F32 => Val::F32(at.cast::<u32>().read()),
                abi::ValType::F64 => Val::F64(at.cast::<u64>().read()),
                abi::ValType::V128 => Val::V128(V128((*at).get_v128())),
                abi::ValType::Ref(r) => {
                    let raw = ValRaw::u64(at.cast::<u64>().read());
                    Ref::from_abi(store, raw, r).into()
                }
            }
        }
    }

    /// Whether it is a value of type `ty`.
    ///
    /// # Errors
    ///
    /// When it cannot be used with `store`.
    #[inline]
    pub(crate) fn matches_abi(
        &self,
        store: &StoreOpaque,
        ty: abi::ValType<TypeId>,
    ) -> Result<bool> {
        Ok(match (self, ty) {
            (Val::I32(_), abi::ValType::I32)
            | (Val::I64(_), abi::ValType::I64)
            | (Val::F32(_), abi::ValType::F32)
            | (Val::F64(_), abi::ValType::F64)
            | (Val::V128(_), abi::ValType::V128) => true,
            _ => match (self.ref_(), ty) {
                (Some(reference), abi::ValType::Ref(ty)) => reference.matches_abi(store, ty)?,
                // That it belongs to another store is worse than that its type is another one.
                (Some(reference), _) => reference.check_store(store).map(|()| false)?,
                (None, _) => false,
            },
        })
    }

    /// Writes the value to where compiled code, which wants a `ty`, reads it; `what` names the value
    /// in the error.
    ///
    /// Each kind of number is written there itself: a raw value that was made elsewhere in parts, and
    /// copied as a whole, would have to wait for the parts.
    #[inline(always)]
    pub(crate) fn write_raw(
        &self,
        store: &mut StoreOpaque,
        ty: abi::ValType<TypeId>,
        into: &mut MaybeUninit<ValRaw>,
        what: impl FnOnce() -> String,
    ) -> Result<()> {
        match (self, ty) {
            (Val::I32(v), abi::ValType::I32) => into.write(ValRaw::i32(*v)),
            (Val::I64(v), abi::ValType::I64) => into.write(ValRaw::i64(*v)),
            (Val::F32(v), abi::ValType::F32) => into.write(ValRaw::f32(*v)),
            (Val::F64(v), abi::ValType::F64) => into.write(ValRaw::f64(*v)),
            _ => into.write(self.checked_raw(store, ty, what)?),
        };
        Ok(())
    }

    /// The value for compiled code, which wants a `ty`; `what` names the value in the error.
    #[inline(never)]
    pub(crate) fn checked_raw(
        &self,
        store: &mut StoreOpaque,
        ty: abi::ValType<TypeId>,
        what: impl FnOnce() -> String,
    ) -> Result<ValRaw> {
        if !self.matches_abi(store, ty)? {
            return Err(self.mismatch(store, ty, what()));
        }
        self.raw(store)
    }

    /// The error of a value that is no `wanted`; `what` names it.
    #[cold]
    pub(crate) fn mismatch(
        &self,
        store: &StoreOpaque,
        wanted: abi::ValType<TypeId>,
        what: String,
    ) -> crate::Error {
        TypeError::Value {
            what,
            wanted: ValTypeText(wanted).to_string(),
            found: self.describe(store),
        }
        .into()
    }

    fn describe(&self, store: &StoreOpaque) -> String {
        match self {
            Val::I32(_) => "i32".to_owned(),
            Val::I64(_) => "i64".to_owned(),
            Val::F32(_) => "f32".to_owned(),
            Val::F64(_) => "f64".to_owned(),
            Val::V128(_) => "v128".to_owned(),
            reference => {
                let reference = reference.ref_().expect("what is left are references");
                match reference.own_type(store) {
                    Ok(ty) => ty.to_string(),
                    Err(error) => error.to_string(),
                }
            }
        }
    }
}

impl From<i32> for Val {
    fn from(v: i32) -> Self {
        Val::I32(v)
    }
}

impl From<i64> for Val {
    fn from(v: i64) -> Self {
        Val::I64(v)
    }
}

impl From<f32> for Val {
    fn from(v: f32) -> Self {
        Val::F32(v.to_bits())
    }
}

impl From<f64> for Val {
    fn from(v: f64) -> Self {
        Val::F64(v.to_bits())
    }
}

impl From<V128> for Val {
    fn from(v: V128) -> Self {
        Val::V128(v)
    }
}

impl From<Ref> for Val {
    fn from(reference: Ref) -> Self {
        match reference {
            Ref::Func(func) => Val::FuncRef(func),
            Ref::Extern(object) => Val::ExternRef(object),
            Ref::Any(object) => Val::AnyRef(object),
            Ref::Exn(exception) => Val::ExnRef(exception),
            Ref::Cont(continuation) => Val::ContRef(continuation),
        }
    }
}

impl From<Func> for Val {
    fn from(func: Func) -> Self {
        Val::FuncRef(Some(func))
    }
}

impl From<Option<Func>> for Val {
    fn from(func: Option<Func>) -> Self {
        Val::FuncRef(func)
    }
}

impl fmt::Display for Val {
    /// The value as `--invoke` and people write it: numbers as numbers, references by kind.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Val::I32(v) => v.fmt(f),
            Val::I64(v) => v.fmt(f),
            Val::F32(v) => f32::from_bits(*v).fmt(f),
            Val::F64(v) => f64::from_bits(*v).fmt(f),
            Val::V128(v) => write!(f, "{:#034x}", v.0),
            Val::FuncRef(Some(_)) => f.write_str("<function>"),
            Val::ExternRef(Some(_)) => f.write_str("<external object>"),
            Val::AnyRef(Some(_)) => f.write_str("<object>"),
            Val::ExnRef(Some(_)) => f.write_str("<exception>"),
            Val::ContRef(Some(_)) => f.write_str("<continuation>"),
            Val::FuncRef(None)
            | Val::ExternRef(None)
            | Val::AnyRef(None)
            | Val::ExnRef(None)
            | Val::ContRef(None) => f.write_str("null"),
        }
    }
}
