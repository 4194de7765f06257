//! Checks what is imported against what a module wants.
//!
//! Called by `instantiate`, before anything is made.

use super::extern_type::ExternType;
use super::host_func::HostFunc;
use super::instance::Extern;
use super::instantiate::InstantiateError;
use super::module::CompiledModule;
use sarsen_abi::{Printable, TypeId};
use std::fmt;
use std::ptr::NonNull;

/// What a module is given for one of its imports.
#[derive(Clone, Copy, Debug)]
pub enum Import {
    /// Something in the store.
    Extern(Extern),
    /// A host function of no store. Whoever passes it keeps it alive for as long as the store, for
    /// example with [`Store::keep`](super::Store::keep).
    HostFunc(NonNull<HostFunc>),
}

impl From<Extern> for Import {
    fn from(item: Extern) -> Self {
        Import::Extern(item)
    }
}

impl Import {
    /// The type of a function.
    ///
    /// # Safety
    ///
    /// It must be alive.
    unsafe fn func_type(&self) -> Option<TypeId> {
        // SAFETY: the caller's promise.
        unsafe {
            match self {
                Import::Extern(Extern::Func(func)) => Some(func.as_ref().type_id),
                Import::HostFunc(func) => Some(func.as_ref().ty().id()),
                Import::Extern(_) => None,
            }
        }
    }

    /// Its type.
    ///
    /// # Safety
    ///
    /// It must be alive, and nothing of its store may run meanwhile.
    unsafe fn ty(&self) -> ExternType {
        // SAFETY: the caller's promise.
        unsafe {
            match self {
                Import::Extern(item) => item.ty(),
                Import::HostFunc(func) => ExternType::Func(func.as_ref().ty().id()),
            }
        }
    }
}

/// An import is not what the module wants.
#[derive(Clone, Debug)]
pub struct ImportMismatch {
    /// Its position in [`sarsen_abi::Module::imports`].
    pub position: usize,
    /// The name of the module that it is imported from.
    pub module: String,
    /// Its name.
    pub name: String,
    /// The type that the module declares, in the text format.
    pub wanted: String,
    /// The type of what was given, in the text format.
    pub found: String,
}

impl fmt::Display for ImportMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ImportMismatch {
            module,
            name,
            wanted,
            found,
            ..
        } = self;
        write!(
            f,
            "incompatible import type for `{}::{}`: wanted {wanted}, found {found}",
            Printable(module),
            Printable(name)
        )
    }
}

impl std::error::Error for ImportMismatch {}

/// Checks the number of imports and the type of each.
///
/// # Safety
///
/// The imports must be of the store that is instantiated into, or host functions of its engine, and
/// nothing of that store may run meanwhile.
pub(super) unsafe fn check(
    module: &CompiledModule,
    imports: &[Import],
) -> Result<(), InstantiateError> {
    let wanted = module.imports();
    if wanted.len() != imports.len() {
        return Err(InstantiateError::ImportCount {
            wanted: wanted.len(),
            found: imports.len(),
        });
    }
    let types = module.engine().types();
    for (position, (slot, import)) in wanted.iter().zip(imports).enumerate() {
        if let Import::Extern(Extern::SharedMemory(memory)) = import {
            // What code leaves unchecked depends on the engine's settings.
            assert!(
                // SAFETY: the caller's promise.
                unsafe { memory.as_ref() }.is_of(module.engine().slots()),
                "a shared memory of another engine"
            );
        }
        // SAFETY: the caller's promise.
        let found = unsafe {
            // Nearly every import is a function of exactly the type that is wanted.
            if let (ExternType::Func(wanted), Some(found)) = (slot.ty, import.func_type())
                && wanted == found
            {
                continue;
            }
            import.ty()
        };
        if !found.matches(&slot.ty, types) {
            return Err(mismatch(module, position, &found).into());
        }
    }
    Ok(())
}

#[cold]
fn mismatch(module: &CompiledModule, position: usize, found: &ExternType) -> ImportMismatch {
    let types = module.engine().types();
    let import = &module.module().imports[position];
    ImportMismatch {
        position,
        module: import.module.clone(),
        name: import.name.clone(),
        wanted: module.imports()[position].ty.describe(types),
        found: found.describe(types),
    }
}
