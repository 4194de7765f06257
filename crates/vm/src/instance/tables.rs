//! Writing to tables. An element that is a collected reference may be young, and a table is outside of
//! the nursery: whoever writes one tells the heap before (`crate::gc`, "remembered slots").
//!
//! Specification: core, §4.6.9 "Table Instructions". What a guest passes is checked in [`crate::mem`].
//! `table.set` is inline in compiled code; `table.init` is in `segments`.
//!
//! Callers: the API; `exec`'s builtins; `instantiate`, `segments`.

use super::host_objects::saturate;
use super::instance::Instance;
use super::reason::HostError;
use super::store::Store;
use crate::gc::is_young;
use crate::mem::{self, OutOfBounds, Table, TableElements};
use sarsen_abi::{TableIndex, TrapCode};
use std::ptr::NonNull;

impl Store {
    /// `value(n)` is about to be written to the element at `at + n`, for `len` elements. Those that are
    /// out of bounds are not written.
    fn before_table_write(&mut self, table: &Table, at: u64, len: u64, value: impl Fn(u64) -> u32) {
        if table.elements() != TableElements::Collected || self.heap.is_none() {
            return;
        }
        // SAFETY: the cell of a table that is alive.
        let vm = unsafe { table.vm().read() };
        if at.checked_add(len).is_none_or(|end| end > vm.length) {
            return;
        }
        let heap = self.heap_mut();
        for n in 0..len {
            let new = value(n);
            if is_young(new) {
                // SAFETY: the element is in bounds.
                unsafe {
                    let slot = vm.base.cast::<u32>().add((at + n) as usize);
                    heap.before_table_write(slot, slot.read(), new);
                }
            }
        }
    }

    /// Sets an element of a table to a reference of its element type.
    ///
    /// # Errors
    ///
    /// When `index` is out of bounds.
    ///
    /// # Safety
    ///
    /// `table` must be a table of this store, of which nothing runs meanwhile; `value` must be null or a
    /// reference that the table's type allows.
    pub unsafe fn set_table(
        &mut self,
        table: NonNull<Table>,
        index: u64,
        value: u64,
    ) -> Result<(), OutOfBounds> {
        // SAFETY: the caller's promise.
        unsafe { self.fill_table(table, index, value, 1) }
    }

    /// Sets `len` elements of a table from `at` to a reference of its element type.
    ///
    /// # Errors
    ///
    /// When the range is out of bounds.
    ///
    /// # Safety
    ///
    /// As [`Store::set_table`].
    pub unsafe fn fill_table(
        &mut self,
        mut table: NonNull<Table>,
        at: u64,
        value: u64,
        len: u64,
    ) -> Result<(), OutOfBounds> {
        // SAFETY: alive, and nobody else has a reference to it (the caller's promise).
        let table = unsafe { table.as_mut() };
        let needs_barrier = is_young(value as u32);
        if needs_barrier {
            self.before_table_write(table, at, len, |_| value as u32);
        }
        table.fill(at, value, len)
    }

    /// Writes `values` to the elements of a table from `at`.
    ///
    /// # Errors
    ///
    /// When the range is out of bounds; then nothing is written.
    ///
    /// # Safety
    ///
    /// As [`Store::set_table`], for each value.
    pub(super) unsafe fn init_table(
        &mut self,
        mut table: NonNull<Table>,
        at: u64,
        values: &[u64],
    ) -> Result<(), OutOfBounds> {
        // SAFETY: as in `fill_table`.
        let table = unsafe { table.as_mut() };
        self.before_table_write(table, at, values.len() as u64, |n| {
            values[n as usize] as u32
        });
        table.init(at, values.iter().copied())
    }

    /// Grows a table by `delta` elements of value `init`. Returns its old size, or `None` when it
    /// stays as it is.
    ///
    /// # Errors
    ///
    /// What the embedder's limiter returns.
    ///
    /// # Safety
    ///
    /// `table` must be a table of this store, of which nothing runs meanwhile; `init` must be null
    /// or a reference that the table's type allows.
    pub unsafe fn grow_table(
        &mut self,
        mut table: NonNull<Table>,
        delta: u64,
        init: u64,
    ) -> Result<Option<u64>, HostError> {
        // SAFETY: as in `fill_table`; the embedder cannot reach the store while it is asked.
        let table = unsafe { table.as_mut() };
        let current = saturate(table.size());
        let desired = saturate(table.size().saturating_add(delta));
        let maximum = table.ty().maximum.map(saturate);
        let agreed = self.ask(|u| u.table_growing(current, desired, maximum));
        if !agreed.unwrap_or(Ok(true))? {
            return Ok(None);
        }
        // SAFETY: the cell of a table that is alive.
        let before = unsafe { table.vm().read() };
        match table.grow(delta, 0) {
            Ok(old) => {
                // SAFETY: as above.
                let base = unsafe { table.vm().read() }.base;
                if let Some(heap) = &mut self.heap
                    && base != before.base
                {
                    let length = before.length as usize * table.elements().size();
                    heap.table_moved(before.base, base, length);
                }
                if init != 0 {
                    // SAFETY: the caller's promise.
                    unsafe { self.fill_table(NonNull::from(table), old, init, delta) }
                        .expect("the table has just been grown by this much");
                }
                Ok(Some(old))
            }
            Err(error) => {
                let message = error.to_string();
                self.ask(|u| u.table_grow_failed(&message))
                    .unwrap_or(Ok(()))?;
                Ok(None)
            }
        }
    }
}

impl Instance {
    /// `table.grow`: the old size, or `None` when the table stays as it is. `init` is a reference as
    /// compiled code passes it, zero-extended.
    ///
    /// # Errors
    ///
    /// What the embedder's limiter returns.
    pub(crate) fn table_grow(
        &self,
        table: TableIndex,
        delta: u64,
        init: u64,
    ) -> Result<Option<u64>, HostError> {
        // SAFETY: a table of the store that compiled code has just called out of, and a value that
        // was validated to be of its element type.
        unsafe { self.store_mut().grow_table(self.table(table), delta, init) }
    }

    /// `table.fill`
    ///
    /// # Errors
    ///
    /// [`TrapCode::TableOutOfBounds`] when the range does not fit; then nothing is written.
    pub(crate) fn table_fill(
        &self,
        table: TableIndex,
        dst: u64,
        value: u64,
        len: u64,
    ) -> Result<(), TrapCode> {
        // SAFETY: as in `table_grow`.
        unsafe {
            self.store_mut()
                .fill_table(self.table(table), dst, value, len)
        }
        .map_err(|_| TrapCode::TableOutOfBounds)
    }

    /// `table.copy`
    ///
    /// # Errors
    ///
    /// [`TrapCode::TableOutOfBounds`] when a range does not fit; then nothing is written.
    pub(crate) fn table_copy(
        &self,
        dst_table: TableIndex,
        dst: u64,
        src_table: TableIndex,
        src: u64,
        len: u64,
    ) -> Result<(), TrapCode> {
        let (to, from) = (self.vm_table(dst_table), self.vm_table(src_table));
        // SAFETY: alive, and nobody writes it meanwhile.
        let target = unsafe { self.table(dst_table).as_ref() };
        if src.checked_add(len).is_some_and(|end| end <= from.length) {
            self.store_mut().before_table_write(target, dst, len, |n| {
                // SAFETY: in bounds; asked for only when both tables hold collected references.
                unsafe { from.base.cast::<u32>().add((src + n) as usize).read() }
            });
        }
        // SAFETY: tables of this store; validation ensures that their elements are of one kind.
        unsafe { mem::copy_table(target.elements(), to, dst, from, src, len) }
            .map_err(|_| TrapCode::TableOutOfBounds)
    }
}
