//! Modules that are *commands* or *reactors*.
//!
//! A command exports `_start`: it runs once, so each call of one of its exports is on an instance of
//! its own. Any other module is a reactor: instantiated once, and initialized by `_initialize` where
//! it exports that.

use super::{Definition, Linker};
use crate::context::AsContextMut;
use crate::error::Result;
use crate::func::{Func, asynchronous, host};
use crate::instance::{Instance, InstancePre};
use crate::module::Module;
use crate::types::{ExternType, FuncType};
use anyhow::{anyhow, bail};
use sarsen_abi::Printable;
use sarsen_vm::instance::HostFunc;
use std::sync::Arc;

/// What a module is.
enum Kind {
    Command,
    Reactor {
        /// Whether it exports `_initialize`.
        initializes: bool,
    },
}

impl Kind {
    fn of(module: &Module) -> Result<Kind> {
        let exports_func = |name| matches!(module.get_export(name), Some(ExternType::Func(_)));
        match (exports_func("_start"), exports_func("_initialize")) {
            (true, true) => bail!("a module cannot export both `_start` and `_initialize`"),
            (true, false) => Ok(Kind::Command),
            (false, initializes) => Ok(Kind::Reactor { initializes }),
        }
    }
}

fn exported(instance: &Instance, store: impl AsContextMut, name: &str) -> Result<Func> {
    let func = instance.get_func(store, name);
    func.ok_or_else(|| anyhow!("the module exports `{name}`"))
}

impl<T: 'static> Linker<T> {
    /// Defines what `module` exports, as of module `module_name`. A command (a module that exports
    /// `_start`) is instantiated anew for each call of one of its functions; any other is instantiated
    /// now, and its `_initialize`, if it exports one, is called.
    ///
    /// # Errors
    ///
    /// As [`Linker::instantiate`]; also when a command exports something besides functions and
    /// memories, or both `_start` and `_initialize`.
    pub fn module(
        &mut self,
        mut store: impl AsContextMut<Data = T>,
        module_name: &str,
        module: &Module,
    ) -> Result<&mut Self> {
        let Kind::Reactor { initializes } = Kind::of(module)? else {
            return self.command(module_name, module, |pre, name, ty| {
                host::dynamic::<T>(ty, move |mut caller, params, results| {
                    let instance = pre.instantiate(&mut caller)?;
                    exported(&instance, &mut caller, &name)?.call(&mut caller, params, results)
                })
            });
        };
        let instance = self.instantiate(&mut store, module)?;
        if initializes {
            let initialize = instance.get_typed_func::<(), ()>(&mut store, "_initialize")?;
            initialize.call(&mut store, ())?;
        }
        self.instance(store, module_name, instance)
    }

    /// As [`Linker::module`], with all that runs called asynchronously, a command's functions too: they are as those of
    /// [`Linker::func_new_async`].
    ///
    /// # Errors
    ///
    /// As [`Linker::module`].
    pub async fn module_async(
        &mut self,
        mut store: impl AsContextMut<Data = T>,
        module_name: &str,
        module: &Module,
    ) -> Result<&mut Self>
    where
        T: Send,
    {
        let Kind::Reactor { initializes } = Kind::of(module)? else {
            return self.command(module_name, module, |pre, name, ty| {
                asynchronous::dynamic::<T, _>(ty, move |mut caller, params, results| {
                    let (pre, name) = (pre.clone(), name.clone());
                    Box::new(async move {
                        let instance = pre.instantiate_async(&mut caller).await?;
                        let func = exported(&instance, &mut caller, &name)?;
                        func.call_async(&mut caller, params, results).await
                    })
                })
            });
        };
        let instance = self.instantiate_async(&mut store, module).await?;
        if initializes {
            let initialize = instance.get_typed_func::<(), ()>(&mut store, "_initialize")?;
            initialize.call_async(&mut store, ()).await?;
        }
        self.instance(store, module_name, instance)
    }

    /// Defines what a command exports. `func` makes a function that calls the export with this name and type of a new
    /// instance.
    fn command(
        &mut self,
        module_name: &str,
        module: &Module,
        func: impl Fn(InstancePre<T>, Arc<str>, FuncType) -> Arc<HostFunc>,
    ) -> Result<&mut Self> {
        let pre = self.instantiate_pre(module)?;
        for export in module.exports() {
            match export.ty() {
                ExternType::Func(ty) => {
                    let func = func(pre.clone(), export.name().into(), ty);
                    self.insert(module_name, export.name(), Definition::Host(func))?;
                }
                // A command's own memory, which many export by convention.
                ExternType::Memory(_) if export.name() == "memory" => {}
                other => bail!(
                    "a command may export functions only, not `{}`: {other}",
                    Printable(export.name())
                ),
            }
        }
        Ok(self)
    }
}
