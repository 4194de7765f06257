//! [`TypedFunc`]: calls whose types were checked before.

use super::Func;
use super::wasm_ty::{CallValues, Fit, WasmParams, WasmResults};
use crate::context::AsContextMut;
use crate::error::Result;
use crate::store::StoreOpaque;
use crate::val::Val;
use core::fmt;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use sarsen_abi::TypeId;
use sarsen_abi::types as abi;
use sarsen_abi::vmctx::ValRaw;

/// A function of which the type is known to be that of a Rust function from `Params` to `Results`:
/// each a [`WasmTy`](crate::WasmTy), or a tuple of them.
///
/// Calling it costs a few nanoseconds. Made by [`Func::typed`] and
/// [`Instance::get_typed_func`](crate::Instance::get_typed_func).
pub struct TypedFunc<Params, Results> {
    pub(super) func: Func,
    /// Whether each argument's type must be checked.
    checked: bool,
    signature: PhantomData<fn(Params) -> Results>,
}

impl<Params, Results> Clone for TypedFunc<Params, Results> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Params, Results> Copy for TypedFunc<Params, Results> {}

impl<Params: WasmParams, Results: WasmResults> TypedFunc<Params, Results> {
    pub(super) fn new(func: Func, fit: Fit) -> Self {
        TypedFunc {
            func,
            checked: matches!(fit, Fit::Dynamic),
            signature: PhantomData,
        }
    }

    /// The function.
    pub fn func(&self) -> &Func {
        &self.func
    }

    /// Calls it.
    ///
    /// # Errors
    ///
    /// When the function traps or fails (see [`Trap`](crate::Trap)), or an argument belongs to another
    /// store, or is a reference of a type that the function does not take.
    ///
    /// # Panics
    ///
    /// Panics when the function belongs to another store, and resumes panics of host functions.
    #[inline]
    pub fn call(&self, mut store: impl AsContextMut, params: Params) -> Result<Results> {
        let mut store = store.as_context_mut();
        let store = store.opaque();
        store.assert_owns(self.func.store);
        self.func.resolve(store)?;
        let mut values = MaybeUninit::<CallValues<Params, Results>>::uninit();
        let values = values.as_mut_ptr().cast::<ValRaw>();
        // SAFETY: there is room for all parameters, and for all results; the function is of this
        // store and has just been made ready; its type was checked when `self` was made.
        unsafe {
            params.store(store, values)?;
            if self.checked {
                self.check(store, values)?;
            }
            self.func.enter(store, values)?;
            Ok(Results::load(store, values))
        }
    }

    /// As [`TypedFunc::check`], where the Rust types do not tell.
    ///
    /// # Safety
    ///
    /// `values` must hold the arguments.
    pub(super) unsafe fn check_if_needed(
        &self,
        store: &mut StoreOpaque,
        values: *const ValRaw,
    ) -> Result<()> {
        if self.checked {
            // SAFETY: the caller's promise.
            return unsafe { self.check(store, values) };
        }
        Ok(())
    }

    /// Checks that the arguments are of the types that the function takes.
    ///
    /// # Safety
    ///
    /// `values` must hold the arguments.
    #[cold]
    unsafe fn check(&self, store: &mut StoreOpaque, values: *const ValRaw) -> Result<()> {
        // SAFETY: the store is borrowed until the function returns; the caller's promise.
        unsafe {
            let ty = self.func.abi_type(store);
            check_values(store, values, Params::TYPES, &ty.params, "argument")
        }
    }
}

/// Checks that values of the types `given` are of the types `wanted`, each a `what`.
///
/// # Safety
///
/// `values` must hold them, of `store`.
#[cold]
pub(crate) unsafe fn check_values(
    store: &mut StoreOpaque,
    values: *const ValRaw,
    given: &[abi::ValType<TypeId>],
    wanted: &[abi::ValType<TypeId>],
    what: &str,
) -> Result<()> {
    for (index, (&wanted, &given)) in wanted.iter().zip(given).enumerate() {
        let scope = store.scope();
        // SAFETY: the caller's promise.
        let value = unsafe { Val::read_raw(store, values.add(index), given) };
        let matches = value.matches_abi(store, wanted);
        let mismatch = match matches {
            Ok(true) => None,
            Ok(false) => Some(value.mismatch(store, wanted, format!("{what} {index}"))),
            Err(error) => Some(error),
        };
        store.end_scope(scope);
        if let Some(error) = mismatch {
            return Err(error);
        }
    }
    Ok(())
}

impl<Params, Results> fmt::Debug for TypedFunc<Params, Results> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TypedFunc").field(&self.func).finish()
    }
}
