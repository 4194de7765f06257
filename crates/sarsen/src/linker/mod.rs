//! [`Linker`]: finds what modules import by name.
//!
//! | file | owns |
//! |---|---|
//! | `mod.rs` | [`Linker`]: definitions, and instantiating with them |
//! | `definition.rs` | one definition: a host function of no store, or something in a store |
//! | `names.rs` | interned names |
//! | `command.rs` | modules that are commands or reactors |
//! | `unknown.rs` | imports that are left undefined on purpose |

mod command;
mod definition;
mod names;
mod unknown;

pub(crate) use definition::Definition;

use crate::caller::Caller;
use crate::context::{AsContext, AsContextMut};
use crate::engine::Engine;
use crate::error::{
    DuplicateDefinitionError, IncompatibleImportError, OwnershipError, Result, UnknownImportError,
};
use crate::externs::Extern;
use crate::func::{Func, IntoFunc, WasmResults, WasmRet, asynchronous, host};
use crate::instance::{Instance, InstancePre};
use crate::module::Module;
use crate::store::StoreOpaque;
use crate::types::{ExternType, FuncType, ImportType};
use crate::val::{Val, ValRaw};
use anyhow::{anyhow, ensure};
use core::fmt;
use core::future::Future;
use core::marker::PhantomData;
use hashbrown::HashMap;
use names::{Name, Names};
use sarsen_abi::module::Import;
use sarsen_vm::instance as vm;
use std::sync::Arc;

/// Finds what modules import, by name.
///
/// Host functions that it defines belong to no store: one linker serves any number of stores of its
/// engine whose data is `T`. What else is defined belongs to one store, and makes the linker good for
/// that store only.
///
/// ```
/// use sarsen::{Caller, Engine, Linker, Module, Store};
///
/// let engine = Engine::default();
/// let mut linker = Linker::<Vec<i32>>::new(&engine);
/// linker.func_wrap("host", "log", |mut caller: Caller<'_, Vec<i32>>, value: i32| {
///     caller.data_mut().push(value);
/// })?;
///
/// let module = Module::new(
///     &engine,
///     r#"(module
///          (import "host" "log" (func $log (param i32)))
///          (func (export "run") (call $log (i32.const 7))))"#,
/// )?;
/// let mut store = Store::new(&engine, vec![]);
/// let instance = linker.instantiate(&mut store, &module)?;
/// instance.get_typed_func::<(), ()>(&mut store, "run")?.call(&mut store, ())?;
/// assert_eq!(store.data(), &[7]);
/// # Ok::<(), sarsen::Error>(())
/// ```
pub struct Linker<T: 'static> {
    engine: Engine,
    names: Names,
    definitions: HashMap<(Name, Name), Definition>,
    allow_shadowing: bool,
    /// Exactly this type: a function must not put other data into a store, nor find other data there.
    ///
    /// ```compile_fail
    /// use sarsen::Linker;
    ///
    /// fn widen(linker: Linker<fn(&'static str)>) -> Linker<for<'a> fn(&'a str)> {
    ///     linker
    /// }
    /// ```
    ///
    /// ```compile_fail
    /// use sarsen::Linker;
    ///
    /// fn narrow(linker: Linker<for<'a> fn(&'a str)>) -> Linker<fn(&'static str)> {
    ///     linker
    /// }
    /// ```
    data: PhantomData<fn(T) -> T>,
}

impl<T> Clone for Linker<T> {
    fn clone(&self) -> Self {
        Linker {
            engine: self.engine.clone(),
            names: self.names.clone(),
            definitions: self.definitions.clone(),
            allow_shadowing: self.allow_shadowing,
            data: PhantomData,
        }
    }
}

impl<T: 'static> Linker<T> {
    /// A linker that defines nothing.
    pub fn new(engine: &Engine) -> Linker<T> {
        Linker {
            engine: engine.clone(),
            names: Names::default(),
            definitions: HashMap::new(),
            allow_shadowing: false,
            data: PhantomData,
        }
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Whether a name that is defined may be defined anew. Not by default.
    pub fn allow_shadowing(&mut self, allow: bool) -> &mut Self {
        self.allow_shadowing = allow;
        self
    }

    /// Defines `module::name` as something in a store, or as a shared memory, which is good for all
    /// stores of the engine.
    ///
    /// # Errors
    ///
    /// When the name is defined already ([`Linker::allow_shadowing`]), or the shared memory is of
    /// another engine.
    ///
    /// # Panics
    ///
    /// Panics when `item` belongs to another store.
    pub fn define(
        &mut self,
        store: impl AsContext<Data = T>,
        module: &str,
        name: &str,
        item: impl Into<Extern>,
    ) -> Result<&mut Self> {
        let item = item.into();
        item.assert_fits(store.as_context().opaque())?;
        self.insert(module, name, Definition::Extern(item))
    }

    /// Defines `module::name` as a host function of a type that is known at run time; see
    /// [`Func::new`].
    ///
    /// # Errors
    ///
    /// When the name is defined already, or the type belongs to another engine.
    pub fn func_new(
        &mut self,
        module: &str,
        name: &str,
        ty: FuncType,
        func: impl Fn(Caller<'_, T>, &[Val], &mut [Val]) -> Result<()> + Send + Sync + 'static,
    ) -> Result<&mut Self> {
        self.check_engine(&ty)?;
        let func = host::dynamic::<T>(ty, func);
        self.insert(module, name, Definition::Host(func))
    }

    /// Defines `module::name` as a host function with raw arguments; see [`Func::new_unchecked`].
    ///
    /// # Errors
    ///
    /// As [`Linker::func_new`].
    ///
    /// # Safety
    ///
    /// As [`Func::new_unchecked`].
    pub unsafe fn func_new_unchecked(
        &mut self,
        module: &str,
        name: &str,
        ty: FuncType,
        func: impl Fn(Caller<'_, T>, &mut [ValRaw]) -> Result<()> + Send + Sync + 'static,
    ) -> Result<&mut Self> {
        self.check_engine(&ty)?;
        // SAFETY: the caller's promise.
        let func = unsafe { host::unchecked::<T>(ty, func) };
        self.insert(module, name, Definition::Host(func))
    }

    /// Defines `module::name` as a host function of the type that its Rust type tells; see
    /// [`Func::wrap`].
    ///
    /// # Errors
    ///
    /// When the name is defined already.
    pub fn func_wrap<Params, Results>(
        &mut self,
        module: &str,
        name: &str,
        func: impl IntoFunc<T, Params, Results>,
    ) -> Result<&mut Self> {
        let func = func.into_host_func(&self.engine)?;
        self.insert(module, name, Definition::Host(func))
    }

    /// Defines `module::name` as a host function that may have to wait, of a type that is known at run
    /// time; see [`Func::new_async`].
    ///
    /// # Errors
    ///
    /// As [`Linker::func_new`].
    pub fn func_new_async<F>(
        &mut self,
        module: &str,
        name: &str,
        ty: FuncType,
        func: F,
    ) -> Result<&mut Self>
    where
        T: Send,
        F: for<'a> Fn(
                Caller<'a, T>,
                &'a [Val],
                &'a mut [Val],
            ) -> Box<dyn Future<Output = Result<()>> + Send + 'a>
            + Send
            + Sync
            + 'static,
    {
        self.check_engine(&ty)?;
        let func = asynchronous::dynamic::<T, F>(ty, func);
        self.insert(module, name, Definition::Host(func))
    }

    /// Defines `module::name` as a host function that may have to wait, of the type that its Rust type
    /// tells; see [`Func::wrap_async`].
    ///
    /// # Errors
    ///
    /// When the name is defined already.
    pub fn func_wrap_async<F, P, R>(
        &mut self,
        module: &str,
        name: &str,
        func: F,
    ) -> Result<&mut Self>
    where
        T: Send,
        F: for<'a> Fn(Caller<'a, T>, P) -> Box<dyn Future<Output = R> + Send + 'a>
            + Send
            + Sync
            + 'static,
        P: WasmResults,
        R: WasmRet + 'static,
    {
        let func = asynchronous::typed::<T, F, P, R>(&self.engine, func)?;
        self.insert(module, name, Definition::Host(func))
    }

    /// Defines everything that `instance` exports, as of module `module_name`.
    ///
    /// # Errors
    ///
    /// When one of the names is defined already.
    pub fn instance(
        &mut self,
        mut store: impl AsContextMut<Data = T>,
        module_name: &str,
        instance: Instance,
    ) -> Result<&mut Self> {
        let mut store = store.as_context_mut();
        let exports: Vec<(String, Extern)> = instance
            .exports(&mut store)
            .map(|export| (export.name().to_owned(), export.into_extern()))
            .collect();
        for (name, item) in exports {
            self.insert(module_name, &name, Definition::Extern(item))?;
        }
        Ok(self)
    }

    /// Defines `as_module::as_name` as what `module::name` is.
    ///
    /// # Errors
    ///
    /// When that is not defined, or the new name is.
    pub fn alias(
        &mut self,
        module: &str,
        name: &str,
        as_module: &str,
        as_name: &str,
    ) -> Result<&mut Self> {
        let item = self
            .find(module, name)
            .ok_or_else(|| anyhow!("`{module}::{name}` has not been defined"))?
            .clone();
        self.insert(as_module, as_name, item)
    }

    /// Defines everything that is defined of `module` also as of `as_module`.
    ///
    /// # Errors
    ///
    /// When one of the new names is defined already.
    pub fn alias_module(&mut self, module: &str, as_module: &str) -> Result<()> {
        let Some(module) = self.names.find(module) else {
            return Ok(());
        };
        let items: Vec<(Name, Definition)> = self
            .definitions
            .iter()
            .filter(|((of, _), _)| *of == module)
            .map(|((_, name), item)| (*name, item.clone()))
            .collect();
        let as_module = self.names.intern(as_module);
        for (name, item) in items {
            self.insert_key((as_module, name), item)?;
        }
        Ok(())
    }

    fn insert(&mut self, module: &str, name: &str, item: Definition) -> Result<&mut Self> {
        let key = (self.names.intern(module), self.names.intern(name));
        self.insert_key(key, item)?;
        Ok(self)
    }

    fn insert_key(&mut self, key: (Name, Name), item: Definition) -> Result<()> {
        if let Definition::Host(func) = &item {
            let is_ours = Arc::ptr_eq(func.ty().registry(), self.engine.types());
            assert!(is_ours, "ids of types say nothing in another engine");
        }
        let old = self.definitions.insert(key, item);
        if let (Some(old), false) = (old, self.allow_shadowing) {
            self.definitions.insert(key, old);
            return Err(DuplicateDefinitionError {
                module: self.names.get(key.0).to_owned(),
                name: self.names.get(key.1).to_owned(),
            }
            .into());
        }
        Ok(())
    }

    fn find(&self, module: &str, name: &str) -> Option<&Definition> {
        let key = (self.names.find(module)?, self.names.find(name)?);
        self.definitions.get(&key)
    }

    fn check_engine(&self, ty: &FuncType) -> Result<()> {
        ensure!(
            Engine::same(ty.engine(), &self.engine),
            OwnershipError::WrongEngine
        );
        Ok(())
    }

    /// Everything that is defined: the module's name, the name, and what it is in `store`, in no
    /// particular order. Host functions are made anew.
    pub fn iter<'a: 'p, 'p>(
        &'a self,
        mut store: impl AsContextMut<Data = T> + 'p,
    ) -> impl Iterator<Item = (&'a str, &'a str, Extern)> + 'p {
        self.definitions.iter().map(move |((module, name), item)| {
            let item = item.to_extern(store.as_context_mut().opaque());
            (self.names.get(*module), self.names.get(*name), item)
        })
    }

    /// What `module::name` is in `store`. A host function is made anew.
    pub fn get(
        &self,
        mut store: impl AsContextMut<Data = T>,
        module: &str,
        name: &str,
    ) -> Option<Extern> {
        let item = self.find(module, name)?;
        Some(item.to_extern(store.as_context_mut().opaque()))
    }

    /// What is defined for `import`, whatever its type. A host function is made anew.
    pub fn get_by_import(
        &self,
        store: impl AsContextMut<Data = T>,
        import: &ImportType<'_>,
    ) -> Option<Extern> {
        self.get(store, import.module(), import.name())
    }

    /// What runs when `module` is run: its function with the empty name, or else `_start`, or else
    /// one that does nothing.
    ///
    /// # Errors
    ///
    /// When it is no function.
    pub fn get_default(
        &self,
        mut store: impl AsContextMut<Data = T>,
        module: &str,
    ) -> Result<Func> {
        for name in ["", "_start"] {
            if let Some(item) = self.get(&mut store, module, name) {
                return item
                    .into_func()
                    .ok_or_else(|| anyhow!("`{module}::{name}` is not a function"));
            }
        }
        Ok(Func::wrap(store, || {}))
    }

    /// Instantiates `module` with what is defined for its imports, and runs its start function.
    ///
    /// # Errors
    ///
    /// When an import is not defined ([`UnknownImportError`]) or of another type
    /// ([`IncompatibleImportError`]), a limit is reached, or instantiation or the start function
    /// traps.
    ///
    /// # Panics
    ///
    /// Panics when the store or the module is of another engine.
    pub fn instantiate(
        &self,
        mut store: impl AsContextMut<Data = T>,
        module: &Module,
    ) -> Result<Instance> {
        let pre = self.prepare(module, Some(store.as_context_mut().opaque()))?;
        pre.instantiate(store)
    }

    /// As [`Linker::instantiate`], with the start function called asynchronously; see
    /// [`Func::call_async`].
    ///
    /// # Errors
    ///
    /// As [`Linker::instantiate`].
    ///
    /// # Panics
    ///
    /// As [`Linker::instantiate`].
    pub async fn instantiate_async(
        &self,
        mut store: impl AsContextMut<Data = T>,
        module: &Module,
    ) -> Result<Instance>
    where
        T: Send,
    {
        let pre = self.prepare(module, Some(store.as_context_mut().opaque()))?;
        pre.instantiate_async(store).await
    }

    /// Finds what is defined for the imports of `module`, to instantiate it many times.
    ///
    /// # Errors
    ///
    /// When an import is not defined ([`UnknownImportError`]) or of another type
    /// ([`IncompatibleImportError`]). The types of what is no host function are checked when it is
    /// instantiated.
    ///
    /// # Panics
    ///
    /// Panics when the module is of another engine.
    pub fn instantiate_pre(&self, module: &Module) -> Result<InstancePre<T>> {
        self.prepare(module, None)
    }

    fn prepare(&self, module: &Module, store: Option<&StoreOpaque>) -> Result<InstancePre<T>> {
        assert!(
            Engine::same(&self.engine, module.engine()),
            "the module belongs to another engine than the linker"
        );
        let found = |import: &Import| self.definition_for(module, import, store).cloned();
        let imports = module.declared().imports.iter().map(found);
        let imports: Box<[Definition]> = imports.collect::<Result<_>>()?;
        // SAFETY: a linker's host functions are for stores with its data.
        Ok(unsafe { InstancePre::new(module.clone(), imports) })
    }

    /// What is defined for an import of `module`, checked as far as is known.
    fn definition_for(
        &self,
        module: &Module,
        import: &Import,
        store: Option<&StoreOpaque>,
    ) -> Result<&Definition> {
        let wanted = module.compiled().extern_type(import.entity);
        let wanted_type = || ExternType::from_vm(&self.engine, wanted);
        let Some(item) = self.find(&import.module, &import.name) else {
            return Err(
                UnknownImportError::new(&import.module, &import.name, wanted_type()).into(),
            );
        };
        match item.vm_type(store)? {
            Some(found) if !found.matches(&wanted, self.engine.types()) => {
                Err(IncompatibleImportError {
                    module: import.module.clone(),
                    name: import.name.clone(),
                    wanted: wanted_type(),
                    found: ExternType::from_vm(&self.engine, found),
                }
                .into())
            }
            _ => Ok(item),
        }
    }

    fn define_host(&mut self, import: &ImportType<'_>, func: Arc<vm::HostFunc>) -> Result<()> {
        self.insert(import.module(), import.name(), Definition::Host(func))?;
        Ok(())
    }
}

impl<T> Default for Linker<T> {
    /// A linker of a default engine.
    fn default() -> Self {
        Linker::new(&Engine::default())
    }
}

impl<T> fmt::Debug for Linker<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Linker")
            .field("definitions", &self.definitions.len())
            .finish_non_exhaustive()
    }
}
