//! Rust types that stand for WebAssembly values: [`WasmTy`], and lists of them, [`WasmParams`] and
//! [`WasmResults`].
//!
//! Everything here is monomorphic and inlined into the call: an `i32` argument is one store to the
//! array of values that the entry stub reads.

use super::Func;
use crate::error::{Result, TypeError, check_count};
use crate::gc::{GcRef, I31, OwnedRooted, Rooted};
use crate::store::StoreOpaque;
use crate::types::ValType;
use crate::types::text::ValTypeText;
use crate::val::V128;
use sarsen_abi::TypeId;
use sarsen_abi::types::{self as abi, AbstractHeapType, HeapType, RefType};
use sarsen_abi::vmctx::ValRaw;
use sarsen_vm::types::{Registry, matching};

/// A Rust type that stands for a WebAssembly value type.
///
/// | Rust | WebAssembly |
/// |---|---|
/// | `i32`, `u32` | `i32` |
/// | `i64`, `u64` | `i64` |
/// | `f32`, `f64` | `f32`, `f64` |
/// | [`V128`] | `v128` |
/// | `Option<Func>`, [`Func`] | `funcref`, `(ref func)` |
/// | `Option<Rooted<ExternRef>>`, `Rooted<ExternRef>` | `externref`, `(ref extern)` |
/// | `Option<Rooted<AnyRef>>`, `Rooted<AnyRef>` | `anyref`, `(ref any)` |
/// | [`EqRef`](crate::EqRef), [`StructRef`](crate::StructRef), [`ArrayRef`](crate::ArrayRef) likewise | `eqref`, `structref`, `arrayref` |
/// | [`ExnRef`](crate::ExnRef), [`ContRef`](crate::ContRef) likewise | `exnref`, `contref` |
/// | `Option<I31>`, [`I31`] | `i31ref`, `(ref i31)` |
///
/// Instead of [`Rooted`] there may be an [`OwnedRooted`].
///
/// # Safety
///
/// Not to be implemented outside of this crate: compiled code relies on
/// [`WasmTy::TYPE`] being the type of what [`WasmTy::into_raw`] gives.
pub unsafe trait WasmTy: Sized + 'static {
    /// The type.
    #[doc(hidden)]
    const TYPE: abi::ValType<TypeId>;

    /// The value for compiled code. Fails when it belongs to another store.
    #[doc(hidden)]
    fn into_raw(self, store: &mut StoreOpaque) -> Result<ValRaw>;

    /// The value from compiled code.
    ///
    /// # Safety
    ///
    /// `raw` must be a value of this type, of `store`.
    #[doc(hidden)]
    unsafe fn from_raw(raw: ValRaw, store: &mut StoreOpaque) -> Self;

    /// The type that the Rust type stands for.
    fn valtype() -> ValType {
        ValType::from_abstract(Self::TYPE)
    }
}

macro_rules! numbers {
    ($($rust:ident $wasm:ident $make:ident $get:ident;)*) => {$(
        // SAFETY: `TYPE` is the type of what `into_raw` gives.
        unsafe impl WasmTy for $rust {
            const TYPE: abi::ValType<TypeId> = abi::ValType::$wasm;

            #[inline(always)]
            fn into_raw(self, _store: &mut StoreOpaque) -> Result<ValRaw> {
                Ok(ValRaw::$make(self))
            }

            #[inline(always)]
            unsafe fn from_raw(raw: ValRaw, _store: &mut StoreOpaque) -> Self {
                raw.$get()
            }
        }
    )*};
}

numbers! {
    i32 I32 i32 get_i32;
    u32 I32 u32 get_u32;
    i64 I64 i64 get_i64;
    u64 I64 u64 get_u64;
}

// SAFETY: `TYPE` is the type of what `into_raw` gives.
unsafe impl WasmTy for f32 {
    const TYPE: abi::ValType<TypeId> = abi::ValType::F32;

    #[inline(always)]
    fn into_raw(self, _store: &mut StoreOpaque) -> Result<ValRaw> {
        Ok(ValRaw::f32(self.to_bits()))
    }

    #[inline(always)]
    unsafe fn from_raw(raw: ValRaw, _store: &mut StoreOpaque) -> Self {
        f32::from_bits(raw.get_f32())
    }
}

// SAFETY: `TYPE` is the type of what `into_raw` gives.
unsafe impl WasmTy for f64 {
    const TYPE: abi::ValType<TypeId> = abi::ValType::F64;

    #[inline(always)]
    fn into_raw(self, _store: &mut StoreOpaque) -> Result<ValRaw> {
        Ok(ValRaw::f64(self.to_bits()))
    }

    #[inline(always)]
    unsafe fn from_raw(raw: ValRaw, _store: &mut StoreOpaque) -> Self {
        f64::from_bits(raw.get_f64())
    }
}

// SAFETY: `TYPE` is the type of what `into_raw` gives.
unsafe impl WasmTy for V128 {
    const TYPE: abi::ValType<TypeId> = abi::ValType::V128;

    #[inline(always)]
    fn into_raw(self, _store: &mut StoreOpaque) -> Result<ValRaw> {
        Ok(ValRaw::v128(self.as_u128()))
    }

    #[inline(always)]
    unsafe fn from_raw(raw: ValRaw, _store: &mut StoreOpaque) -> Self {
        V128::from(raw.get_v128())
    }
}

/// `(ref heap)` or `(ref null heap)`.
const fn reference_type(nullable: bool, heap: AbstractHeapType) -> abi::ValType<TypeId> {
    abi::ValType::Ref(RefType {
        nullable,
        heap: HeapType::Abstract(heap),
    })
}

/// What is a non-null reference, so that an option of it is a nullable one.
///
/// # Safety
///
/// [`Reference::HEAP_TYPE`] must be the type of what [`Reference::into_raw`] gives.
pub unsafe trait Reference: Sized + 'static {
    /// The type.
    #[doc(hidden)]
    const HEAP_TYPE: AbstractHeapType;

    /// As [`WasmTy::into_raw`].
    #[doc(hidden)]
    fn into_raw(self, store: &mut StoreOpaque) -> Result<ValRaw>;

    /// As [`WasmTy::from_raw`]; null is `None`.
    ///
    /// # Safety
    ///
    /// As [`WasmTy::from_raw`].
    #[doc(hidden)]
    unsafe fn from_raw(raw: ValRaw, store: &mut StoreOpaque) -> Option<Self>;
}

// SAFETY: a function is given as a function reference.
unsafe impl Reference for Func {
    const HEAP_TYPE: AbstractHeapType = AbstractHeapType::Func;

    #[inline]
    fn into_raw(self, store: &mut StoreOpaque) -> Result<ValRaw> {
        store.check_owns(self.store_id())?;
        self.resolve(store)?;
        Ok(ValRaw::funcref(self.as_raw()))
    }

    #[inline]
    unsafe fn from_raw(raw: ValRaw, store: &mut StoreOpaque) -> Option<Self> {
        // SAFETY: the caller vouches for the value.
        unsafe { Func::from_funcref(raw.get_funcref(), store) }
    }
}

// SAFETY: what a root of this kind holds is of its type.
unsafe impl<T: GcRef> Reference for Rooted<T> {
    const HEAP_TYPE: AbstractHeapType = T::HEAP_TYPE;

    #[inline]
    fn into_raw(self, store: &mut StoreOpaque) -> Result<ValRaw> {
        Ok(ValRaw::externref(store.reference(self.root())?))
    }

    #[inline]
    unsafe fn from_raw(raw: ValRaw, store: &mut StoreOpaque) -> Option<Self> {
        // SAFETY: the caller vouches for the value.
        unsafe { Rooted::from_abi(raw.get_externref(), store) }
    }
}

// SAFETY: what a root of this kind holds is of its type.
unsafe impl<T: GcRef> Reference for OwnedRooted<T> {
    const HEAP_TYPE: AbstractHeapType = T::HEAP_TYPE;

    #[inline]
    fn into_raw(self, store: &mut StoreOpaque) -> Result<ValRaw> {
        Ok(ValRaw::externref(store.reference(self.root())?))
    }

    #[inline]
    unsafe fn from_raw(raw: ValRaw, store: &mut StoreOpaque) -> Option<Self> {
        // SAFETY: the caller vouches for the value.
        unsafe { OwnedRooted::from_abi(raw.get_externref(), store) }
    }
}

// SAFETY: an integer is given as such a reference.
unsafe impl Reference for I31 {
    const HEAP_TYPE: AbstractHeapType = AbstractHeapType::I31;

    #[inline]
    fn into_raw(self, _store: &mut StoreOpaque) -> Result<ValRaw> {
        Ok(ValRaw::externref(self.to_reference()))
    }

    #[inline]
    unsafe fn from_raw(raw: ValRaw, _store: &mut StoreOpaque) -> Option<Self> {
        I31::from_reference(raw.get_externref())
    }
}

// SAFETY: as the reference itself, which is not null.
unsafe impl<R: Reference> WasmTy for R {
    const TYPE: abi::ValType<TypeId> = reference_type(false, R::HEAP_TYPE);

    #[inline]
    fn into_raw(self, store: &mut StoreOpaque) -> Result<ValRaw> {
        Reference::into_raw(self, store)
    }

    #[inline]
    unsafe fn from_raw(raw: ValRaw, store: &mut StoreOpaque) -> Self {
        // SAFETY: the caller vouches for the value.
        unsafe { Reference::from_raw(raw, store) }.expect("validated not to be null")
    }
}

// SAFETY: as the reference itself, or null.
unsafe impl<R: Reference> WasmTy for Option<R> {
    const TYPE: abi::ValType<TypeId> = reference_type(true, R::HEAP_TYPE);

    #[inline]
    fn into_raw(self, store: &mut StoreOpaque) -> Result<ValRaw> {
        match self {
            Some(reference) => reference.into_raw(store),
            None => Ok(ValRaw::default()),
        }
    }

    #[inline]
    unsafe fn from_raw(raw: ValRaw, store: &mut StoreOpaque) -> Self {
        // SAFETY: the caller vouches for the value.
        unsafe { Reference::from_raw(raw, store) }
    }
}

/// A list of [`WasmTy`]: one, or a tuple of up to 17. What a [`TypedFunc`](crate::TypedFunc) takes.
///
/// # Safety
///
/// Not to be implemented outside of this crate.
pub unsafe trait WasmParams: Sized + 'static {
    /// Room for the values.
    #[doc(hidden)]
    type Values: Copy;

    /// The types.
    #[doc(hidden)]
    const TYPES: &'static [abi::ValType<TypeId>];

    /// Writes the values to the start of `values`.
    ///
    /// # Safety
    ///
    /// `values` must have room for as many as [`WasmParams::TYPES`] has.
    #[doc(hidden)]
    unsafe fn store(self, store: &mut StoreOpaque, values: *mut ValRaw) -> Result<()>;
}

/// A list of [`WasmTy`]: what a [`TypedFunc`](crate::TypedFunc) returns.
///
/// # Safety
///
/// Not to be implemented outside of this crate.
pub unsafe trait WasmResults: WasmParams {
    /// Reads the values from the start of `values`.
    ///
    /// # Safety
    ///
    /// There must be as many, of these types and of `store`.
    #[doc(hidden)]
    unsafe fn load(store: &mut StoreOpaque, values: *const ValRaw) -> Self;
}

/// Writes as much of a value as there is in it: nobody reads more.
///
/// # Safety
///
/// There must be room for it.
#[inline(always)]
unsafe fn write<T: WasmTy>(raw: ValRaw, at: *mut ValRaw) {
    // SAFETY: the caller's promise.
    unsafe {
        if matches!(T::TYPE, abi::ValType::V128) {
            at.write(raw);
        } else {
            at.cast::<u64>().write(raw.get_u64());
        }
    }
}

// SAFETY: one value of its type is written.
unsafe impl<T: WasmTy> WasmParams for T {
    type Values = [ValRaw; 1];
    const TYPES: &'static [abi::ValType<TypeId>] = &[T::TYPE];

    #[inline(always)]
    unsafe fn store(self, store: &mut StoreOpaque, values: *mut ValRaw) -> Result<()> {
        let raw = self.into_raw(store)?;
        // SAFETY: there is room for one.
        unsafe { write::<T>(raw, values) };
        Ok(())
    }
}

// SAFETY: one value of its type is read.
unsafe impl<T: WasmTy> WasmResults for T {
    #[inline(always)]
    unsafe fn load(store: &mut StoreOpaque, values: *const ValRaw) -> Self {
        // SAFETY: the caller vouches for the value.
        unsafe { T::from_raw(values.read(), store) }
    }
}

macro_rules! lists {
    ($(($count:literal $($arg:ident)*))*) => {$(
        // SAFETY: the values are written in order, each of its type.
        unsafe impl<$($arg: WasmTy),*> WasmParams for ($($arg,)*) {
            type Values = [ValRaw; $count];
            const TYPES: &'static [abi::ValType<TypeId>] = &[$($arg::TYPE),*];

            #[inline(always)]
            #[allow(unused, non_snake_case, reason = "made by a macro for any number of values")]
            unsafe fn store(self, store: &mut StoreOpaque, values: *mut ValRaw) -> Result<()> {
                let ($($arg,)*) = self;
                let mut at = 0;
                $(
                    let raw = $arg.into_raw(store)?;
                    // SAFETY: there is room for all of them.
                    unsafe { write::<$arg>(raw, values.add(at)) };
                    at += 1;
                )*
                Ok(())
            }
        }

        // SAFETY: the values are read in order, each of its type.
        unsafe impl<$($arg: WasmTy),*> WasmResults for ($($arg,)*) {
            #[inline(always)]
            #[allow(
                unused,
                non_snake_case,
                clippy::unused_unit,
                reason = "made by a macro for any number of values"
            )]
            unsafe fn load(store: &mut StoreOpaque, values: *const ValRaw) -> Self {
                let mut at = 0;
                $(
                    // SAFETY: the caller vouches for the values.
                    let $arg = unsafe { $arg::from_raw(values.add(at).read(), store) };
                    at += 1;
                )*
                ($($arg,)*)
            }
        }
    )*};
}

/// Expands `$callback! { (count A1 … An) … }` for every supported number of parameters.
macro_rules! for_each_arity {
    ($callback:ident) => {
        $callback! {
            (0)
            (1 A1)
            (2 A1 A2)
            (3 A1 A2 A3)
            (4 A1 A2 A3 A4)
            (5 A1 A2 A3 A4 A5)
            (6 A1 A2 A3 A4 A5 A6)
            (7 A1 A2 A3 A4 A5 A6 A7)
            (8 A1 A2 A3 A4 A5 A6 A7 A8)
            (9 A1 A2 A3 A4 A5 A6 A7 A8 A9)
            (10 A1 A2 A3 A4 A5 A6 A7 A8 A9 A10)
            (11 A1 A2 A3 A4 A5 A6 A7 A8 A9 A10 A11)
            (12 A1 A2 A3 A4 A5 A6 A7 A8 A9 A10 A11 A12)
            (13 A1 A2 A3 A4 A5 A6 A7 A8 A9 A10 A11 A12 A13)
            (14 A1 A2 A3 A4 A5 A6 A7 A8 A9 A10 A11 A12 A13 A14)
            (15 A1 A2 A3 A4 A5 A6 A7 A8 A9 A10 A11 A12 A13 A14 A15)
            (16 A1 A2 A3 A4 A5 A6 A7 A8 A9 A10 A11 A12 A13 A14 A15 A16)
            (17 A1 A2 A3 A4 A5 A6 A7 A8 A9 A10 A11 A12 A13 A14 A15 A16 A17)
        }
    };
}
pub(super) use for_each_arity;

for_each_arity! { lists }

/// Room for the parameters, then the results, of a call: compiled code reads and writes one array.
#[repr(C)]
pub(super) union CallValues<Params: WasmParams, Results: WasmResults> {
    params: Params::Values,
    results: Results::Values,
}

/// Whether a parameter can be passed as, or a result taken for, the Rust type's type.
pub(crate) enum Fit {
    /// Always.
    Static,
    /// Some values cannot; each must be checked.
    Dynamic,
}

/// Checks that arguments of the Rust types can be given for `wanted`.
pub(crate) fn check_params(
    types: &Registry,
    given: &[abi::ValType<TypeId>],
    wanted: &[abi::ValType<TypeId>],
) -> Result<Fit> {
    check_count("parameters", wanted.len(), given.len())?;
    let mut fit = Fit::Static;
    for (index, (&given, &wanted)) in given.iter().zip(wanted).enumerate() {
        if matching::val_type_matches(types, &given, &wanted) {
            continue;
        }
        // A value of a supertype may happen to be of the wanted type.
        if !matching::val_type_matches(types, &wanted, &nullable(given)) {
            return Err(mismatch("parameter", index, wanted, given));
        }
        fit = Fit::Dynamic;
    }
    Ok(fit)
}

/// Checks that every result of the types `given` is one of the Rust types.
pub(crate) fn check_results(
    types: &Registry,
    given: &[abi::ValType<TypeId>],
    wanted: &[abi::ValType<TypeId>],
) -> Result<()> {
    check_each(types, given, wanted, ["results", "result"])
}

/// Checks that values of the types `given` are of the types `wanted`. The names are of all, and of one.
pub(crate) fn check_each(
    types: &Registry,
    given: &[abi::ValType<TypeId>],
    wanted: &[abi::ValType<TypeId>],
    [all, one]: [&'static str; 2],
) -> Result<()> {
    check_count(all, wanted.len(), given.len())?;
    for (index, (&given, &wanted)) in given.iter().zip(wanted).enumerate() {
        if !matching::val_type_matches(types, &given, &wanted) {
            return Err(mismatch(one, index, wanted, given));
        }
    }
    Ok(())
}

fn nullable(ty: abi::ValType<TypeId>) -> abi::ValType<TypeId> {
    match ty {
        abi::ValType::Ref(r) => abi::ValType::Ref(RefType {
            nullable: true,
            ..r
        }),
        other => other,
    }
}

fn mismatch(
    what: &str,
    index: usize,
    wanted: abi::ValType<TypeId>,
    found: abi::ValType<TypeId>,
) -> crate::Error {
    TypeError::Value {
        what: format!("{what} {index}"),
        wanted: ValTypeText(wanted).to_string(),
        found: ValTypeText(found).to_string(),
    }
    .into()
}
