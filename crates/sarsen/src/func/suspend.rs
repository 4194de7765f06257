//! [`Suspend`]: host functions that suspend the continuation that they are called on.
//!
//! No Rust frame ever stands on a continuation's stack, so a host function cannot wait in the middle. It suspends
//! by ending: with an error that says with which tag and values, and what to do when it is resumed. What it
//! needs then, the closure keeps.

use super::WasmRet;
use super::host::{default_values, read_values, within_call, write_results};
use super::typed::check_values;
use super::wasm_ty::{self, Fit, WasmResults};
use crate::caller::Caller;
use crate::error::{Error, Result, TypeError, check_count};
use crate::store::StoreOpaque;
use crate::tag::Tag;
use crate::val::Val;
use core::any::{self, type_name};
use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;
use sarsen_abi::TypeId;
use sarsen_abi::types as abi;
use sarsen_abi::vmctx::{ValRaw, VmHostCtx, VmTag};
use sarsen_vm::instance::HostSuspension;
use sarsen_vm::stack::OnResume;
use smallvec::SmallVec;
use std::sync::{Arc, Mutex, PoisonError};

/// The error with which a host function suspends the continuation that it was called on.
///
/// Whoever has resumed the continuation, and handles the tag, goes on with the values; it may be WebAssembly or the
/// host ([`ContRef::resume`](crate::ContRef::resume)). When the continuation is resumed again, what it is
/// resumed with becomes the results of the host function; or is passed to a closure that gives the results
/// ([`Suspend::on_resume`]), which runs as a host function does: it may fail, throw, or suspend once more. When it is
/// resumed with an exception instead, that is thrown where the host function was called, and the closure is
/// dropped; as it is when the continuation is discarded or collected, or its store dropped.
///
/// A host function that is called where nothing handles the tag fails with a
/// [`Trap::UnhandledTag`](crate::Trap::UnhandledTag): where no continuation runs, or only one that another host
/// function stands in front of.
///
/// ```
/// use sarsen::{
///     Caller, Config, Engine, Func, FuncType, Instance, Module, Resumed, Store, Suspend, Tag, TagType, TypedCont,
///     Val, ValType,
/// };
///
/// let engine = Engine::new(Config::new().wasm_stack_switching(true))?;
/// let module = Module::new(
///     &engine,
///     r#"(module
///         (import "" "read" (func $read (param i32) (result i32)))
///         (func (export "run") (result i32)
///             (i32.add (call $read (i32.const 1)) (call $read (i32.const 2)))))"#,
/// )?;
/// let mut store = Store::new(&engine, ());
/// let ty = TagType::new(FuncType::new(&engine, [ValType::I32], [ValType::I32]));
/// let wants = Tag::new(&mut store, &ty)?;
/// let read = Func::wrap(&mut store, move |file: i32| -> sarsen::Result<i32> {
///     Err(Suspend::new(wants, [Val::I32(file)])
///         .on_resume(|_: Caller<'_, ()>, (length,): (i32,)| 10 * length)
///         .into())
/// });
/// let instance = Instance::new(&mut store, &module, &[read.into()])?;
/// let run = instance.get_func(&mut store, "run").unwrap();
/// let run = TypedCont::<(), i32>::new(&mut store, &run)?;
///
/// let mut files = vec![];
/// let mut step = run.resume(&mut store, (), &[wants])?;
/// let result = loop {
///     match step {
///         Resumed::Returned(result) => break result,
///         Resumed::Suspended(suspension) => {
///             files.push(suspension.payload::<i32>(&mut store)?);
///             let rest = suspension.continuation.typed::<i32, i32>(&mut store)?;
///             step = rest.resume(&mut store, 5, &[wants])?;
///         }
///     }
/// };
/// assert_eq!((result, files), (100, vec![1, 2]));
/// # Ok::<(), sarsen::Error>(())
/// ```
#[must_use = "a host function suspends by failing with it"]
pub struct Suspend {
    tag: Tag,
    payload: Box<[Val]>,
    /// In a lock, so that an error can be made of a closure that is `Send` only.
    on_resume: Mutex<Option<Box<dyn Resumes>>>,
}

impl Suspend {
    /// Suspends with `tag` and the values that come with it. The results of the tag must be those of the host
    /// function, unless there is a closure for them.
    pub fn new(tag: Tag, payload: impl Into<Box<[Val]>>) -> Suspend {
        Suspend {
            tag,
            payload: payload.into(),
            on_resume: Mutex::new(None),
        }
    }

    /// Calls `closure` when the continuation is resumed: with the results of the tag, as a tuple of
    /// [`WasmTy`](crate::WasmTy). What it returns is the host function's result.
    ///
    /// An [`OwnedRooted`](crate::OwnedRooted) that it keeps is alive as long as it is, so the continuation that
    /// waits for it never dies if that is what it keeps; a [`Rooted`](crate::Rooted) ends with the call of
    /// the host function.
    pub fn on_resume<T, P, R>(
        self,
        closure: impl FnOnce(Caller<'_, T>, P) -> R + Send + 'static,
    ) -> Suspend
    where
        T: 'static,
        P: WasmResults,
        R: WasmRet + 'static,
    {
        let typed = Typed {
            closure,
            _types: PhantomData::<fn(T, P) -> R>,
        };
        self.with(Box::new(typed))
    }

    /// As [`Suspend::on_resume`], with values whose types are known at run time: the closure gets the results of the
    /// tag, and must set those of the host function, which are defaults of their types before.
    pub fn on_resume_dynamic<T: 'static>(
        self,
        closure: impl FnOnce(Caller<'_, T>, &[Val], &mut [Val]) -> Result<()> + Send + 'static,
    ) -> Suspend {
        let dynamic = Dynamic {
            closure,
            tag: self.tag.vm(),
            _data: PhantomData::<fn(T)>,
        };
        self.with(Box::new(dynamic))
    }

    fn with(self, on_resume: Box<dyn Resumes>) -> Suspend {
        Suspend {
            on_resume: Mutex::new(Some(on_resume)),
            ..self
        }
    }

    /// What the runtime does with it: in `store`, of which compiled code has called `host`.
    pub(super) fn in_call(
        self,
        store: &mut StoreOpaque,
        host: NonNull<VmHostCtx>,
    ) -> Result<HostSuspension> {
        store.check_owns(self.tag.store_id())?;
        let on_resume = self.on_resume.into_inner();
        let on_resume = on_resume.unwrap_or_else(PoisonError::into_inner);
        // SAFETY: compiled code waits for the function, whose context is alive and has its type; the tag is of
        // this store.
        let (tag_type, func_type) = unsafe {
            let tag = self.tag.vm().as_ref().type_id;
            (
                held_type(store, tag),
                held_type(store, host.as_ref().type_id),
            )
        };
        match &on_resume {
            Some(on_resume) => on_resume.check(store, &tag_type.results, &func_type.results)?,
            None => check_results(store, &tag_type.results, &func_type.results)?,
        }
        let count = self.payload.len();
        check_count("values of a suspension", tag_type.params.len(), count)?;
        let mut payload = Vec::with_capacity(self.payload.len());
        let mut references = SmallVec::new();
        for (index, (value, &ty)) in self.payload.iter().zip(&tag_type.params).enumerate() {
            let what = || format!("value {index} of a suspension");
            payload.push(value.checked_raw(store, ty, what)?);
            if matches!(ty, abi::ValType::Ref(ty) if ty.is_collected()) {
                references.push(index);
            }
        }
        Ok(HostSuspension {
            tag: self.tag.vm(),
            payload: payload.into(),
            references,
            arguments: tag_type.results.len(),
            on_resume: on_resume.map(|checked| -> Box<dyn OnResume> { checked }),
        })
    }
}

impl fmt::Debug for Suspend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Suspend")
            .field("tag", &self.tag)
            .field("payload", &self.payload)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Suspend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("suspended by the host, where only a host function can suspend")
    }
}

impl std::error::Error for Suspend {}

/// The function type with this id.
///
/// # Safety
///
/// The store must keep it registered.
unsafe fn held_type(store: &StoreOpaque, id: TypeId) -> Arc<abi::FuncType<TypeId>> {
    // SAFETY: the caller's promise.
    let ty = unsafe { store.engine().types().func_type_held(id) };
    Arc::clone(ty.expect("a function type"))
}

/// Checks that the results of a tag can be those of a function.
fn check_results(
    store: &StoreOpaque,
    given: &[abi::ValType<TypeId>],
    wanted: &[abi::ValType<TypeId>],
) -> Result<()> {
    let names = [
        "results of the tag that a host function suspends with",
        "the tag that a host function suspends with, result",
    ];
    wasm_ty::check_each(store.engine().types(), given, wanted, names)
}

/// Checks that a closure for stores with data `T` is used with such a store.
fn check_data<T: 'static>(store: &StoreOpaque) -> Result<()> {
    let (id, name) = store.data_type();
    if id == any::TypeId::of::<T>() {
        return Ok(());
    }
    Err(TypeError::Value {
        what: "the data of the store in which a host function is resumed".to_owned(),
        wanted: type_name::<T>().to_owned(),
        found: name.to_owned(),
    }
    .into())
}

/// A closure to be called on resumption, which is not checked yet.
trait Resumes: OnResume {
    /// Whether it can be used in this store, for arguments and results of these types.
    fn check(
        &self,
        store: &StoreOpaque,
        args: &[abi::ValType<TypeId>],
        results: &[abi::ValType<TypeId>],
    ) -> Result<()>;
}

/// A closure that gets Rust types.
struct Typed<T, P, R, F> {
    closure: F,
    _types: PhantomData<fn(T, P) -> R>,
}

impl<T, P, R, F> Resumes for Typed<T, P, R, F>
where
    T: 'static,
    P: WasmResults,
    R: WasmRet + 'static,
    F: FnOnce(Caller<'_, T>, P) -> R + Send + 'static,
{
    fn check(
        &self,
        store: &StoreOpaque,
        args: &[abi::ValType<TypeId>],
        results: &[abi::ValType<TypeId>],
    ) -> Result<()> {
        check_data::<T>(store)?;
        let types = store.engine().types();
        wasm_ty::check_results(types, args, P::TYPES)?;
        wasm_ty::check_params(types, R::TYPES, results)?;
        Ok(())
    }
}

impl<T, P, R, F> OnResume for Typed<T, P, R, F>
where
    T: 'static,
    P: WasmResults,
    R: WasmRet + 'static,
    F: FnOnce(Caller<'_, T>, P) -> R + Send + 'static,
{
    unsafe fn resume(
        self: Box<Self>,
        host: NonNull<VmHostCtx>,
        args: *const ValRaw,
        results: *mut ValRaw,
    ) -> u64 {
        // SAFETY: the caller's promise; the types were checked when it was suspended.
        unsafe {
            within_call::<T>(host, true, |mut store, host| {
                let opaque = &mut store.as_mut().opaque;
                let args = P::load(opaque, args);
                let returned = (self.closure)(Caller::new(store, host), args);
                let opaque = &mut store.as_mut().opaque;
                returned.store(opaque, results)?;
                let wanted = held_type(opaque, host.as_ref().type_id);
                let types = opaque.engine().types();
                match wasm_ty::check_params(types, R::TYPES, &wanted.results)? {
                    Fit::Static => Ok(()),
                    Fit::Dynamic => {
                        check_values(opaque, results, R::TYPES, &wanted.results, "result")
                    }
                }
            })
        }
    }
}

/// A closure that gets values.
struct Dynamic<T, F> {
    closure: F,
    tag: NonNull<VmTag>,
    _data: PhantomData<fn(T)>,
}

// SAFETY: the tag is its store's, and used only together with it.
unsafe impl<T, F: Send> Send for Dynamic<T, F> {}

impl<T, F> Resumes for Dynamic<T, F>
where
    T: 'static,
    F: FnOnce(Caller<'_, T>, &[Val], &mut [Val]) -> Result<()> + Send + 'static,
{
    fn check(
        &self,
        store: &StoreOpaque,
        _: &[abi::ValType<TypeId>],
        _: &[abi::ValType<TypeId>],
    ) -> Result<()> {
        check_data::<T>(store)
    }
}

impl<T, F> OnResume for Dynamic<T, F>
where
    T: 'static,
    F: FnOnce(Caller<'_, T>, &[Val], &mut [Val]) -> Result<()> + Send + 'static,
{
    unsafe fn resume(
        self: Box<Self>,
        host: NonNull<VmHostCtx>,
        args: *const ValRaw,
        results: *mut ValRaw,
    ) -> u64 {
        // SAFETY: the caller's promise: a tag and a function of a store, which keeps their types.
        unsafe {
            within_call::<T>(host, true, |mut store, host| {
                let opaque = &mut store.as_mut().opaque;
                let tag = held_type(opaque, self.tag.as_ref().type_id);
                let func = held_type(opaque, host.as_ref().type_id);
                let args: SmallVec<[Val; 8]> = read_values(opaque, &tag.results, args).collect();
                let mut vals: SmallVec<[Val; 8]> = default_values(opaque, &func.results).collect();
                (self.closure)(Caller::new(store, host), &args, &mut vals)?;
                write_results(&mut store.as_mut().opaque, &func, &vals, results)
            })
        }
    }
}

/// What `error` is, if a host function that compiled code has called as `host` fails with it to suspend.
///
/// # Errors
///
/// The error itself when it is another; otherwise what is wrong with the suspension.
#[cold]
pub(super) fn suspension(
    error: Error,
    store: &mut StoreOpaque,
    host: NonNull<VmHostCtx>,
) -> Result<HostSuspension> {
    error.downcast::<Suspend>()?.in_call(store, host)
}
