//! [`Instance`]: a module's instance in a store, and [`InstancePre`], one whose imports are known.

use crate::context::{AsContextMut, StoreContext, StoreContextMut};
use crate::error::{Error, IncompatibleImportError, Result, TypeError, create_error};
use crate::externs::{Export, Extern};
use crate::func::{self, Func, TypedFunc, WasmParams, WasmResults};
use crate::global::Global;
use crate::linker::Definition;
use crate::memory::Memory;
use crate::module::Module;
use crate::shared_memory::SharedMemory;
use crate::store::StoreOpaque;
use crate::table::Table;
use crate::tag::Tag;
use crate::trap::reason_into_error;
use crate::types::ExternType;
use anyhow::anyhow;
use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;
use sarsen_vm::instance as vm;
use sarsen_vm::instance::{Import, InstantiateError, StoreId};
use smallvec::SmallVec;
use std::sync::Arc;

/// A module's instance in a store.
///
/// ```
/// use sarsen::{Engine, Instance, Module, Store};
///
/// let engine = Engine::default();
/// let module = Module::new(
///     &engine,
///     r#"(module (func (export "add") (param i32 i32) (result i32)
///          (i32.add (local.get 0) (local.get 1))))"#,
/// )?;
/// let mut store = Store::new(&engine, ());
/// let instance = Instance::new(&mut store, &module, &[])?;
/// let add = instance.get_typed_func::<(i32, i32), i32>(&mut store, "add")?;
/// assert_eq!(add.call(&mut store, (2, 3))?, 5);
/// # Ok::<(), sarsen::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Instance {
    store: StoreId,
    instance: NonNull<vm::Instance>,
}

// SAFETY: the instance is used only together with its store.
unsafe impl Send for Instance {}
// SAFETY: as above.
unsafe impl Sync for Instance {}

impl Instance {
    /// Instantiates `module` with what it imports, in the order of its imports, and runs its start
    /// function. A [`Linker`](crate::Linker) finds imports by name.
    ///
    /// # Errors
    ///
    /// When an import is missing or of another type, or is a shared memory of another engine, a limit
    /// is reached, or instantiation or the start function traps.
    ///
    /// # Panics
    ///
    /// Panics when an import belongs to another store, or the module to another engine.
    pub fn new(
        mut store: impl AsContextMut,
        module: &Module,
        imports: &[Extern],
    ) -> Result<Instance> {
        let mut store = store.as_context_mut();
        let (instance, start) = make(store.opaque(), module, imports)?;
        func::run_start(store.opaque(), start)?;
        Ok(instance)
    }

    /// As [`Instance::new`], with the start function called asynchronously; see [`Func::call_async`].
    ///
    /// # Errors
    ///
    /// As [`Instance::new`].
    ///
    /// # Panics
    ///
    /// As [`Instance::new`].
    pub async fn new_async(
        mut store: impl AsContextMut<Data: Send>,
        module: &Module,
        imports: &[Extern],
    ) -> Result<Instance> {
        let mut store = store.as_context_mut();
        let (instance, start) = make(store.opaque(), module, imports)?;
        func::run_start_async(store.opaque(), start).await?;
        Ok(instance)
    }

    #[inline]
    fn get<'a>(&self, store: &'a StoreOpaque) -> &'a vm::Instance {
        store.assert_owns(self.store);
        // SAFETY: an instance of this store, which is borrowed.
        unsafe { self.instance.as_ref() }
    }

    /// What it exports, in order.
    pub fn exports<'a, T: 'static>(
        &'a self,
        store: impl Into<StoreContextMut<'a, T>>,
    ) -> impl ExactSizeIterator<Item = Export<'a>> + 'a {
        let store = &store.into().into_inner().opaque;
        self.get(store)
            .exports()
            .map(|(name, item)| Export::new(name, Extern::new(store, item)))
    }

    /// What it exports by this name.
    ///
    /// # Panics
    ///
    /// This and the other methods panic when the instance belongs to another store.
    pub fn get_export(&self, mut store: impl AsContextMut, name: &str) -> Option<Extern> {
        self.export(store.as_context_mut().opaque(), name)
    }

    fn export(&self, store: &StoreOpaque, name: &str) -> Option<Extern> {
        Some(Extern::new(store, self.get(store).export(name)?))
    }

    /// The function that it exports by this name.
    pub fn get_func(&self, store: impl AsContextMut, name: &str) -> Option<Func> {
        self.get_export(store, name)?.into_func()
    }

    /// The function that it exports by this name, with these Rust types.
    ///
    /// # Errors
    ///
    /// When there is none, or its type is another one.
    pub fn get_typed_func<Params: WasmParams, Results: WasmResults>(
        &self,
        mut store: impl AsContextMut,
        name: &str,
    ) -> Result<TypedFunc<Params, Results>> {
        let func = self
            .get_func(&mut store, name)
            .ok_or_else(|| anyhow!("no function export named `{name}`"))?;
        func.typed(&store).map_err(|error| {
            error.context(format!("the exported function `{name}` has another type"))
        })
    }

    /// The memory that it exports by this name.
    pub fn get_memory(&self, store: impl AsContextMut, name: &str) -> Option<Memory> {
        self.get_export(store, name)?.into_memory()
    }

    /// The shared memory that it exports by this name.
    pub fn get_shared_memory(&self, store: impl AsContextMut, name: &str) -> Option<SharedMemory> {
        self.get_export(store, name)?.into_shared_memory()
    }

    /// The table that it exports by this name.
    pub fn get_table(&self, store: impl AsContextMut, name: &str) -> Option<Table> {
        self.get_export(store, name)?.into_table()
    }

    /// The global that it exports by this name.
    pub fn get_global(&self, store: impl AsContextMut, name: &str) -> Option<Global> {
        self.get_export(store, name)?.into_global()
    }

    /// The tag that it exports by this name.
    pub fn get_tag(&self, store: impl AsContextMut, name: &str) -> Option<Tag> {
        self.get_export(store, name)?.into_tag()
    }

    /// How many exports it has, and the name of each, without a store's exclusive borrow.
    pub fn export_names<'a, T: 'static>(
        &self,
        store: impl Into<StoreContext<'a, T>>,
    ) -> impl ExactSizeIterator<Item = &'a str> + 'a {
        let instance = self.get(store.into().opaque());
        instance.exports().map(|(name, _)| name)
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Instance({:p})", self.instance)
    }
}

/// Instantiates with what is in the store; the second result is the start function, if there is one.
fn make(
    store: &mut StoreOpaque,
    module: &Module,
    imports: &[Extern],
) -> Result<(Instance, Option<Func>)> {
    for import in imports {
        import.assert_fits(store)?;
    }
    let imports: SmallVec<[Import; 16]> = imports
        .iter()
        .map(|import| Import::Extern(import.to_vm()))
        .collect();
    // SAFETY: all imports are of this store, or shared memories that are borrowed.
    unsafe { instantiate(store, module, &imports) }
}

/// Instantiates; the second result is the start function, if there is one, which is to be run.
///
/// # Safety
///
/// The imports must be of this store, or host functions for stores with its data that stay alive as
/// long as it.
unsafe fn instantiate(
    opaque: &mut StoreOpaque,
    module: &Module,
    imports: &[Import],
) -> Result<(Instance, Option<Func>)> {
    assert!(
        crate::Engine::same(opaque.engine(), module.engine()),
        "the module belongs to another engine than the store"
    );
    // SAFETY: the caller's promise; the store is borrowed, so that nothing of it runs.
    let made = unsafe { opaque.vm_mut().instantiate(module.compiled(), imports) };
    let made = made.map_err(|error| instantiate_error(opaque, module, imports, error))?;
    let instance = Instance {
        store: opaque.id(),
        instance: made.instance,
    };
    let start = made.start.map(|start| Func::new_handle(opaque.id(), start));
    Ok((instance, start))
}

#[cold]
fn instantiate_error(
    store: &StoreOpaque,
    module: &Module,
    imports: &[Import],
    error: InstantiateError,
) -> Error {
    match error {
        InstantiateError::ImportCount { wanted, found } => TypeError::Count {
            what: "imports",
            wanted,
            found,
        }
        .into(),
        InstantiateError::Import(mismatch) => {
            let import = &module.declared().imports[mismatch.position];
            let found = match imports[mismatch.position] {
                // SAFETY: of this store, which is borrowed.
                Import::Extern(item) => unsafe { item.ty() },
                // SAFETY: alive.
                Import::HostFunc(func) => vm::ExternType::Func(unsafe { func.as_ref() }.ty().id()),
            };
            let wanted = module.compiled().extern_type(import.entity);
            let engine = store.engine();
            IncompatibleImportError {
                module: import.module.clone(),
                name: import.name.clone(),
                wanted: ExternType::from_vm(engine, wanted),
                found: ExternType::from_vm(engine, found),
            }
            .into()
        }
        InstantiateError::Create(error) => create_error(error),
        InstantiateError::Trap(code) => code.into(),
        // What a constant expression allocates is the guest's doing.
        InstantiateError::Heap(error) => reason_into_error(error.into(), store.id()),
    }
}

/// A module together with what it imports, checked once, to be instantiated many times.
///
/// Made by [`Linker::instantiate_pre`](crate::Linker::instantiate_pre).
pub struct InstancePre<T: 'static> {
    module: Module,
    imports: Arc<Imports>,
    /// Exactly this type, as a linker's.
    ///
    /// ```compile_fail
    /// use sarsen::InstancePre;
    ///
    /// fn widen(pre: InstancePre<fn(&'static str)>) -> InstancePre<for<'a> fn(&'a str)> {
    ///     pre
    /// }
    /// ```
    data: PhantomData<fn(T) -> T>,
}

/// What a module imports, in order; kept by every store that instantiates with it.
struct Imports(Box<[Definition]>);

impl<T> Clone for InstancePre<T> {
    fn clone(&self) -> Self {
        InstancePre {
            module: self.module.clone(),
            imports: Arc::clone(&self.imports),
            data: PhantomData,
        }
    }
}

impl<T> InstancePre<T> {
    /// # Safety
    ///
    /// The host functions among the imports must be for stores with data `T`, and the types of all
    /// must have been checked.
    pub(crate) unsafe fn new(module: Module, imports: Box<[Definition]>) -> Self {
        InstancePre {
            module,
            imports: Arc::new(Imports(imports)),
            data: PhantomData,
        }
    }

    /// The module.
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// Instantiates it in `store`, and runs its start function.
    ///
    /// # Errors
    ///
    /// When a limit is reached, or instantiation or the start function traps; also when one of the
    /// imports is not a host function and belongs to another store.
    ///
    /// # Panics
    ///
    /// Panics when the store is of another engine.
    pub fn instantiate(&self, mut store: impl AsContextMut<Data = T>) -> Result<Instance> {
        let mut store = store.as_context_mut();
        let (instance, start) = self.make(store.opaque())?;
        func::run_start(store.opaque(), start)?;
        Ok(instance)
    }

    /// As [`InstancePre::instantiate`], with the start function called asynchronously; see
    /// [`Func::call_async`].
    ///
    /// # Errors
    ///
    /// As [`InstancePre::instantiate`].
    ///
    /// # Panics
    ///
    /// As [`InstancePre::instantiate`].
    pub async fn instantiate_async(
        &self,
        mut store: impl AsContextMut<Data = T>,
    ) -> Result<Instance>
    where
        T: Send,
    {
        let mut store = store.as_context_mut();
        let (instance, start) = self.make(store.opaque())?;
        func::run_start_async(store.opaque(), start).await?;
        Ok(instance)
    }

    fn make(&self, store: &mut StoreOpaque) -> Result<(Instance, Option<Func>)> {
        let mut imports: SmallVec<[Import; 64]> = SmallVec::with_capacity(self.imports.0.len());
        let mut host = false;
        for import in &self.imports.0 {
            host |= matches!(import, Definition::Host(_));
            imports.push(import.as_import(store)?);
        }
        if host {
            store.vm_mut().keep(self.imports.clone());
        }
        // SAFETY: what is not a host function has been found to be of this store; host functions are
        // for its data, and are kept with it.
        unsafe { instantiate(store, &self.module, &imports) }
    }
}

impl<T> fmt::Debug for InstancePre<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InstancePre")
            .field("module", &self.module)
            .finish_non_exhaustive()
    }
}
