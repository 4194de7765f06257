//! [`Definition`]: what a name stands for.

use crate::error::Result;
use crate::externs::Extern;
use crate::func::Func;
use crate::store::StoreOpaque;
use core::ptr::NonNull;
use sarsen_vm::instance as vm;
use sarsen_vm::instance::{ExternType, Import};
use std::sync::Arc;

/// What a name stands for.
#[derive(Clone)]
pub(crate) enum Definition {
    /// Something in a store, or a shared memory.
    Extern(Extern),
    /// A host function of no store.
    Host(Arc<vm::HostFunc>),
}

impl Definition {
    /// Its type, if it is known without a store, or belongs to `store`.
    pub(super) fn vm_type(&self, store: Option<&StoreOpaque>) -> Result<Option<ExternType>> {
        match (self, store) {
            (Definition::Host(func), _) => Ok(Some(ExternType::Func(func.ty().id()))),
            (Definition::Extern(item), Some(store)) => {
                item.check_fits(store)?;
                Ok(Some(item.vm_type()))
            }
            (Definition::Extern(item @ Extern::SharedMemory(_)), None) => Ok(Some(item.vm_type())),
            (Definition::Extern(_), None) => Ok(None),
        }
    }

    /// What it is in `store`; a host function is made anew.
    pub(super) fn to_extern(&self, store: &mut StoreOpaque) -> Extern {
        match self {
            Definition::Extern(item) => item.clone(),
            Definition::Host(func) => Func::from_host(store, func).into(),
        }
    }

    /// What is given to an instance in `store`. A host function must be kept alive by the caller; a shared
    /// memory until then.
    pub(crate) fn as_import(&self, store: &StoreOpaque) -> Result<Import> {
        match self {
            Definition::Extern(item) => {
                item.check_fits(store)?;
                Ok(Import::Extern(item.to_vm()))
            }
            Definition::Host(func) => Ok(Import::HostFunc(NonNull::from(&**func))),
        }
    }
}
