//! [`Table`]: a table in a store.

use crate::context::{AsContext, AsContextMut};
use crate::error::{Result, create_error};
use crate::reference::Ref;
use crate::store::{StoreOpaque, unwrap_host_error};
use crate::trap::Trap;
use crate::types::{TableType, ValType};
use crate::val::Val;
use anyhow::anyhow;
use core::fmt;
use core::ptr::NonNull;
use sarsen_abi::types as abi;
use sarsen_vm::instance as vm;
use sarsen_vm::instance::StoreId;
use sarsen_vm::mem;

/// A table in a store.
///
/// ```
/// use sarsen::{Engine, Func, Ref, RefType, Store, Table, TableType};
///
/// let mut store = Store::new(&Engine::default(), ());
/// let ty = TableType::new(RefType::FUNCREF, 2, None);
/// let table = Table::new(&mut store, ty, Ref::Func(None))?;
/// let one = Func::wrap(&mut store, || 1);
/// table.set(&mut store, 1, one.into())?;
/// assert!(table.get(&mut store, 0).unwrap().is_null());
/// assert!(table.get(&mut store, 1).unwrap().is_non_null());
/// assert!(table.get(&mut store, 2).is_none());
/// # Ok::<(), sarsen::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Table {
    store: StoreId,
    table: NonNull<mem::Table>,
}

// SAFETY: the table is used only together with its store.
unsafe impl Send for Table {}
// SAFETY: as above.
unsafe impl Sync for Table {}

impl Table {
    /// A table whose elements are all `init`.
    ///
    /// # Errors
    ///
    /// When `init` is not of the element type, a limit is reached, or the system has no room.
    pub fn new(mut store: impl AsContextMut, ty: TableType, init: Ref) -> Result<Table> {
        let mut store = store.as_context_mut();
        let store = store.opaque();
        let element = ValType::Ref(ty.element().clone());
        store.keep_type(&element)?;
        let init = element_for(store, ty.to_abi().element, init)?;
        let table = store
            .vm_mut()
            .new_table(ty.to_abi(), init)
            .map_err(create_error)?;
        Ok(Table::new_handle(store.id(), table))
    }

    pub(crate) fn new_handle(store: StoreId, table: NonNull<mem::Table>) -> Table {
        Table { store, table }
    }

    pub(crate) fn store_id(&self) -> StoreId {
        self.store
    }

    pub(crate) fn to_vm(self) -> vm::Extern {
        vm::Extern::Table(self.table)
    }

    fn get_ref<'a>(&self, store: &'a StoreOpaque) -> &'a mem::Table {
        store.assert_owns(self.store);
        // SAFETY: a table of this store, which is borrowed: alive, and nobody changes it.
        unsafe { self.table.as_ref() }
    }

    /// Its type, as declared: not with its present size.
    ///
    /// # Panics
    ///
    /// This and all other methods panic when the table belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> TableType {
        let store = store.as_context().opaque();
        TableType::from_abi(store.engine(), *self.get_ref(store).ty())
    }

    /// The element at `index`, or `None` when that is out of bounds.
    pub fn get(&self, mut store: impl AsContextMut, index: u64) -> Option<Ref> {
        let mut store = store.as_context_mut();
        let store = store.opaque();
        let table = self.get_ref(store);
        let element = table.get(index)?;
        let ty = table.ty().element;
        // SAFETY: an element of this table, of this store.
        Some(unsafe { Ref::from_table_element(store, element, ty) })
    }

    /// Sets the element at `index`.
    ///
    /// # Errors
    ///
    /// When `index` is out of bounds, or `value` is not of the element type.
    pub fn set(&self, mut store: impl AsContextMut, index: u64, value: Ref) -> Result<()> {
        let mut store = store.as_context_mut();
        let store = store.opaque();
        let element = self.get_ref(store).ty().element;
        let value = element_for(store, element, value)?;
        // SAFETY: a table of this store, which is borrowed, so that nothing of it runs; `value` has
        // been checked.
        unsafe { store.vm_mut().set_table(self.table, index, value) }
            .map_err(|_| Trap::TableOutOfBounds.into())
    }

    /// Its size, in elements.
    pub fn size(&self, store: impl AsContext) -> u64 {
        self.get_ref(store.as_context().opaque()).size()
    }

    /// Grows by `delta` elements of value `init`; returns the old size.
    ///
    /// # Errors
    ///
    /// When its type or the store's limiter does not allow it, or `init` is not of the element type.
    pub fn grow(&self, mut store: impl AsContextMut, delta: u64, init: Ref) -> Result<u64> {
        let mut store = store.as_context_mut();
        let store = store.opaque();
        let element = self.get_ref(store).ty().element;
        let init = element_for(store, element, init)?;
        // SAFETY: a table of this store, which is borrowed, so that nothing of it runs; `init` has
        // been checked.
        let old = unsafe { store.vm_mut().grow_table(self.table, delta, init) };
        old.map_err(unwrap_host_error)?
            .ok_or_else(|| anyhow!("failed to grow table by {delta} elements"))
    }

    /// As [`Table::new`], as a future that is ready at once: a limiter answers without waiting.
    ///
    /// # Errors
    ///
    /// As [`Table::new`].
    pub async fn new_async(
        store: impl AsContextMut<Data: Send>,
        ty: TableType,
        init: Ref,
    ) -> Result<Table> {
        Table::new(store, ty, init)
    }

    /// As [`Table::grow`], as a future that is ready at once: a limiter answers without waiting.
    ///
    /// # Errors
    ///
    /// As [`Table::grow`].
    pub async fn grow_async(
        &self,
        store: impl AsContextMut<Data: Send>,
        delta: u64,
        init: Ref,
    ) -> Result<u64> {
        self.grow(store, delta, init)
    }

    /// Sets `len` elements from `dst` to `value`.
    ///
    /// # Errors
    ///
    /// When they are not all in bounds, or `value` is not of the element type.
    pub fn fill(&self, mut store: impl AsContextMut, dst: u64, value: Ref, len: u64) -> Result<()> {
        let mut store = store.as_context_mut();
        let store = store.opaque();
        let element = self.get_ref(store).ty().element;
        let value = element_for(store, element, value)?;
        // SAFETY: as in `Table::set`.
        unsafe { store.vm_mut().fill_table(self.table, dst, value, len) }
            .map_err(|_| Trap::TableOutOfBounds.into())
    }

    /// Copies `len` elements from `src_table`, from `src_index`, to `dst_table`, from `dst_index`.
    ///
    /// # Errors
    ///
    /// When they are not all in bounds, or the elements of the one are not of the other's type.
    pub fn copy(
        mut store: impl AsContextMut,
        dst_table: &Table,
        dst_index: u64,
        src_table: &Table,
        src_index: u64,
        len: u64,
    ) -> Result<()> {
        let mut store = store.as_context_mut();
        let store = store.opaque();
        let element = dst_table.get_ref(store).ty().element;
        let bounds = |table: &mem::Table, from: u64| {
            from.checked_add(len).is_some_and(|end| end <= table.size())
        };
        if !bounds(dst_table.get_ref(store), dst_index)
            || !bounds(src_table.get_ref(store), src_index)
        {
            return Err(Trap::TableOutOfBounds.into());
        }
        let scope = store.scope();
        let copied: Result<Vec<u64>> = (src_index..src_index + len)
            .map(|index| src_table.checked_element(store, index, element))
            .collect();
        store.end_scope(scope);
        for (index, value) in (dst_index..).zip(copied?) {
            // SAFETY: as in `Table::set`; nothing was allocated since the element was read.
            unsafe { store.vm_mut().set_table(dst_table.table, index, value) }
                .map_err(|_| Trap::TableOutOfBounds)?;
        }
        Ok(())
    }

    /// The element at `index`, which is in bounds, for a table with elements of type `element`.
    fn checked_element(
        &self,
        store: &mut StoreOpaque,
        index: u64,
        element: abi::RefType<sarsen_abi::TypeId>,
    ) -> Result<u64> {
        let table = self.get_ref(store);
        let value = table.get(index).ok_or(Trap::TableOutOfBounds)?;
        let ty = table.ty().element;
        // SAFETY: an element of this table, of this store.
        let value = unsafe { Ref::from_table_element(store, value, ty) };
        element_for(store, element, value)
    }
}

/// A reference as a table with elements of type `element` holds it.
fn element_for(
    store: &mut StoreOpaque,
    element: abi::RefType<sarsen_abi::TypeId>,
    value: Ref,
) -> Result<u64> {
    let raw = Val::from(value).checked_raw(store, abi::ValType::Ref(element), || {
        "a table's element".to_owned()
    })?;
    Ok(raw.get_u64())
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Table({:p})", self.table)
    }
}
