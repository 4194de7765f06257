//! Imports that are left undefined on purpose: to trap when called, or to do nothing.

use super::Linker;
use crate::context::AsContextMut;
use crate::engine::Engine;
use crate::error::{OwnershipError, Result, UnknownImportError};
use crate::func::host;
use crate::module::Module;
use crate::trap::Trap;
use crate::types::{ExternType, ImportType};
use anyhow::{Context, anyhow, ensure};

impl<T: 'static> Linker<T> {
    /// Defines every function that `module` imports and that is not defined as one that fails with
    /// [`Trap::UnknownImport`], and a message that tells its name.
    ///
    /// # Errors
    ///
    /// When something that is no function is not defined, and when the module belongs to another engine.
    pub fn define_unknown_imports_as_traps(&mut self, module: &Module) -> Result<()> {
        for import in self.unknown_imports(module)? {
            let ExternType::Func(ty) = import.ty() else {
                return Err(unknown(&import).into());
            };
            let message = unknown(&import).to_string();
            let func = host::dynamic::<T>(ty, move |_, _, _| {
                Err(anyhow!(Trap::UnknownImport).context(message.clone()))
            });
            self.define_host(&import, func)?;
        }
        Ok(())
    }

    /// Defines everything that `module` imports and that is not defined as something that does
    /// nothing: functions that return zeroes and nulls, memories and tables of their minimum size,
    /// globals that are zero or null.
    ///
    /// # Errors
    ///
    /// When a type has no default: a reference that cannot be null; and when the module belongs to another
    /// engine.
    pub fn define_unknown_imports_as_default_values(
        &mut self,
        mut store: impl AsContextMut<Data = T>,
        module: &Module,
    ) -> Result<()> {
        for import in self.unknown_imports(module)? {
            let item = import
                .ty()
                .default_value(&mut store)
                .with_context(|| unknown(&import))?;
            self.define(store.as_context(), import.module(), import.name(), item)?;
        }
        Ok(())
    }

    fn unknown_imports<'m>(&self, module: &'m Module) -> Result<Vec<ImportType<'m>>> {
        ensure!(
            Engine::same(module.engine(), &self.engine),
            OwnershipError::WrongEngine
        );
        let mut unknown: Vec<ImportType<'m>> = Vec::new();
        for import in module.imports() {
            let same = |other: &ImportType<'_>| {
                (other.module(), other.name()) == (import.module(), import.name())
            };
            // A module may import the same name twice.
            if self.find(import.module(), import.name()).is_none() && !unknown.iter().any(same) {
                unknown.push(import);
            }
        }
        Ok(unknown)
    }
}

fn unknown(import: &ImportType<'_>) -> UnknownImportError {
    UnknownImportError::new(import.module(), import.name(), import.ty())
}
