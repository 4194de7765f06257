//! [`Global`]: a global in a store.

use crate::context::{AsContext, AsContextMut};
use crate::error::{Result, TypeError};
use crate::types::GlobalType;
use crate::val::Val;
use core::fmt;
use core::ptr::NonNull;
use sarsen_abi::TypeId;
use sarsen_abi::types as abi;
use sarsen_abi::vmctx::VmGlobal;
use sarsen_vm::instance as vm;
use sarsen_vm::instance::StoreId;

/// A global in a store.
///
/// ```
/// use sarsen::{Engine, Global, GlobalType, Mutability, Store, Val, ValType};
///
/// let mut store = Store::new(&Engine::default(), ());
/// let ty = GlobalType::new(ValType::I32, Mutability::Var);
/// let global = Global::new(&mut store, ty, Val::I32(1))?;
/// global.set(&mut store, Val::I32(2))?;
/// assert_eq!(global.get(&mut store).i32(), Some(2));
/// assert!(global.set(&mut store, Val::I64(2)).is_err());
/// # Ok::<(), sarsen::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Global {
    store: StoreId,
    global: NonNull<VmGlobal>,
    ty: abi::GlobalType<TypeId>,
}

// SAFETY: the global is used only together with its store.
unsafe impl Send for Global {}
// SAFETY: as above.
unsafe impl Sync for Global {}

impl Global {
    /// A global with this value.
    ///
    /// # Errors
    ///
    /// When the value is not of the global's type.
    pub fn new(mut store: impl AsContextMut, ty: GlobalType, value: Val) -> Result<Global> {
        let mut store = store.as_context_mut();
        let store = store.opaque();
        store.keep_type(ty.content())?;
        let ty = ty.to_abi();
        let raw = value.checked_raw(store, ty.content, describe)?;
        let collected = matches!(ty.content, abi::ValType::Ref(r) if r.is_collected());
        let global = store.vm_mut().new_global(raw, collected);
        Ok(Global::new_handle(store.id(), global, ty))
    }

    pub(crate) fn new_handle(
        store: StoreId,
        global: NonNull<VmGlobal>,
        ty: abi::GlobalType<TypeId>,
    ) -> Global {
        Global { store, global, ty }
    }

    pub(crate) fn store_id(&self) -> StoreId {
        self.store
    }

    pub(crate) fn to_vm(self) -> vm::Extern {
        vm::Extern::Global(self.global, self.ty)
    }

    /// Its type.
    ///
    /// # Panics
    ///
    /// This and all other methods panic when the global belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> GlobalType {
        let store = store.as_context().opaque();
        store.assert_owns(self.store);
        GlobalType::from_abi(store.engine(), self.ty)
    }

    /// Its value.
    pub fn get(&self, mut store: impl AsContextMut) -> Val {
        let mut store = store.as_context_mut();
        let store = store.opaque();
        store.assert_owns(self.store);
        // SAFETY: a global of this store, which is borrowed: alive, and nobody writes it.
        unsafe {
            let raw = self.global.read().0;
            Val::from_abi(store, raw, self.ty.content)
        }
    }

    /// Sets its value.
    ///
    /// # Errors
    ///
    /// When the global cannot be written, or the value is not of its type.
    pub fn set(&self, mut store: impl AsContextMut, value: Val) -> Result<()> {
        let mut store = store.as_context_mut();
        let store = store.opaque();
        store.assert_owns(self.store);
        if !self.ty.mutable {
            return Err(TypeError::Immutable.into());
        }
        let raw = value.checked_raw(store, self.ty.content, describe)?;
        // SAFETY: a global of this store, which is borrowed exclusively: alive, and nobody uses it.
        unsafe { self.global.write(VmGlobal(raw)) };
        Ok(())
    }
}

fn describe() -> String {
    "a global's value".to_owned()
}

impl fmt::Debug for Global {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Global({:p})", self.global)
    }
}
