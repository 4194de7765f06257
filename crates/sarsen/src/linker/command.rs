//! Modules that are *commands* or *reactors*.
//!
//! A command exports `_start`: it runs once, so each call of one of its exports is on an instance of
//! its own. Any other module is a reactor: instantiated once, and initialized by `_initialize` where
//! it exports that.

use super::{Definition, Linker};
use crate::context::AsContextMut;
use crate::error::Result;
use crate::func::host;
use crate::module::Module;
use crate::types::ExternType;
use anyhow::{anyhow, bail};
use sarsen_abi::Printable;

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
        let exports_func = |name| matches!(module.get_export(name), Some(ExternType::Func(_)));
        match (exports_func("_start"), exports_func("_initialize")) {
            (true, true) => bail!("a module cannot export both `_start` and `_initialize`"),
            (true, false) => self.command(module_name, module),
            (false, initialize) => {
                let instance = self.instantiate(&mut store, module)?;
                if initialize {
                    let initialize =
                        instance.get_typed_func::<(), ()>(&mut store, "_initialize")?;
                    initialize.call(&mut store, ())?;
                }
                self.instance(store, module_name, instance)
            }
        }
    }

    fn command(&mut self, module_name: &str, module: &Module) -> Result<&mut Self> {
        let pre = self.instantiate_pre(module)?;
        for export in module.exports() {
            match export.ty() {
                ExternType::Func(ty) => {
                    let pre = pre.clone();
                    let name = export.name().to_owned();
                    let func = host::dynamic::<T>(ty, move |mut caller, params, results| {
                        let instance = pre.instantiate(&mut caller)?;
                        let func = instance
                            .get_func(&mut caller, &name)
                            .ok_or_else(|| anyhow!("the module exports `{name}`"))?;
                        func.call(&mut caller, params, results)
                    });
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
