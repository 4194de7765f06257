//! Exceptions between the host and WebAssembly: throwing, and what an uncaught one is.
//!
//! A host function throws by failing with what [`Store::throw`] returns. An exception that WebAssembly
//! throws and does not catch comes out of the host's call as the same error, [`ThrownException`]: the
//! exception itself is then *pending* in the store. A host function that was called in between gets it first.
//! It may take it ([`Store::take_pending_exception`]) and go on, or return the error: then the exception
//! goes on to whoever catches it in the WebAssembly that called the host function.

use crate::context::{AsContext, StoreContextMut};
use crate::error::Result;
use crate::gc::{ExnRef, Rooted};
use crate::store::{Store, StoreOpaque};
use core::fmt;
use core::num::NonZeroU32;
use sarsen_vm::instance::StoreId;

/// What a call fails with when an exception was thrown and not caught. The exception is pending in the
/// store: [`Store::take_pending_exception`].
///
/// ```
/// use sarsen::{Engine, Instance, Module, Store, ThrownException, WasmBacktrace};
///
/// let engine = Engine::default();
/// let module = Module::new(
///     &engine,
///     r#"(module
///         (tag $failed (export "failed") (param i32))
///         (func (export "f") i32.const 7 throw $failed))"#,
/// )?;
/// let mut store = Store::new(&engine, ());
/// let instance = Instance::new(&mut store, &module, &[])?;
/// let f = instance.get_typed_func::<(), ()>(&mut store, "f")?;
/// let error = f.call(&mut store, ()).unwrap_err();
/// assert!(error.is::<ThrownException>());
/// assert_eq!(error.downcast_ref::<WasmBacktrace>().unwrap().frames().len(), 1);
///
/// let exception = store.take_pending_exception().unwrap();
/// assert_eq!(exception.field(&mut store, 0)?.i32(), Some(7));
/// # Ok::<(), sarsen::Error>(())
/// ```
///
/// It belongs to its store: where a host function of another store fails with it, that is an error like any other,
/// which no WebAssembly catches ([`ThrownException::is_of`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ThrownException {
    store: StoreId,
}

impl ThrownException {
    pub(crate) fn of(store: StoreId) -> ThrownException {
        ThrownException { store }
    }

    /// Whether it is this store's exception that was thrown: then that is pending there, unless it was taken.
    pub fn is_of(&self, store: impl AsContext) -> bool {
        self.store == store.as_context().opaque().id()
    }
}

impl fmt::Display for ThrownException {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("uncaught WebAssembly exception")
    }
}

impl std::error::Error for ThrownException {}

impl<T> Store<T> {
    /// Makes `exception` the pending one, and returns the error with which a host function throws it.
    ///
    /// ```
    /// use sarsen::{
    ///     Caller, Engine, ExnRef, ExnRefPre, ExnType, Func, FuncType, Instance, Module, Store, Tag,
    ///     TagType, Val, ValType,
    /// };
    ///
    /// let engine = Engine::default();
    /// let module = Module::new(
    ///     &engine,
    ///     r#"(module
    ///         (tag $e (import "" "e") (param i32))
    ///         (func $f (import "" "f"))
    ///         (func (export "run") (result i32)
    ///             (block (result i32)
    ///                 (try_table (catch $e 0) (call $f))
    ///                 i32.const 0)))"#,
    /// )?;
    /// let mut store = Store::new(&engine, ());
    /// let ty = TagType::new(FuncType::new(&engine, [ValType::I32], []));
    /// let tag = Tag::new(&mut store, &ty)?;
    /// let f = Func::wrap(&mut store, move |mut caller: Caller<'_, ()>| -> sarsen::Result<()> {
    ///     let ty = ExnType::from_tag_type(tag.ty(&caller))?;
    ///     let allocator = ExnRefPre::new(&mut caller, ty);
    ///     let exception = ExnRef::new(&mut caller, &allocator, &tag, &[Val::I32(42)])?;
    ///     caller.as_context_mut().throw(exception)
    /// });
    /// use sarsen::AsContextMut;
    /// let instance = Instance::new(&mut store, &module, &[tag.into(), f.into()])?;
    /// let run = instance.get_typed_func::<(), i32>(&mut store, "run")?;
    /// assert_eq!(run.call(&mut store, ())?, 42);
    /// # Ok::<(), sarsen::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Always: with [`ThrownException`], or when the exception belongs to another store or its scope has
    /// ended.
    pub fn throw<R>(&mut self, exception: Rooted<ExnRef>) -> Result<R> {
        self.inner_mut().opaque.throw(exception)
    }

    /// Takes the pending exception, if there is one; roots it in the innermost scope.
    pub fn take_pending_exception(&mut self) -> Option<Rooted<ExnRef>> {
        self.inner_mut().opaque.take_pending_exception()
    }

    /// Whether an exception is pending.
    pub fn has_pending_exception(&self) -> bool {
        self.inner().opaque.vm().has_pending_exception()
    }
}

impl<T> StoreContextMut<'_, T> {
    /// As [`Store::throw`].
    ///
    /// # Errors
    ///
    /// As [`Store::throw`].
    pub fn throw<R>(&mut self, exception: Rooted<ExnRef>) -> Result<R> {
        self.opaque().throw(exception)
    }

    /// As [`Store::take_pending_exception`].
    pub fn take_pending_exception(&mut self) -> Option<Rooted<ExnRef>> {
        self.opaque().take_pending_exception()
    }

    /// As [`Store::has_pending_exception`].
    pub fn has_pending_exception(&self) -> bool {
        self.as_context().opaque().vm().has_pending_exception()
    }
}

impl StoreOpaque {
    pub(crate) fn throw<R>(&mut self, exception: Rooted<ExnRef>) -> Result<R> {
        let reference = self.reference(exception.root())?;
        let exception = NonZeroU32::new(reference).expect("no handle is to null");
        self.vm_mut().set_pending_exception(exception);
        Err(ThrownException::of(self.id()).into())
    }

    /// Takes the exception that the error tells of, unless it was taken before, or is another store's. The
    /// reference is raw.
    pub(crate) fn take_thrown(&mut self, error: &ThrownException) -> Option<NonZeroU32> {
        if error.store != self.id() {
            return None;
        }
        self.vm_mut().take_pending_exception()
    }

    fn take_pending_exception(&mut self) -> Option<Rooted<ExnRef>> {
        let exception = self.vm_mut().take_pending_exception()?;
        Some(Rooted::at(self.root(exception.get())))
    }
}
