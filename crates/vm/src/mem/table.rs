//! [`Table`]: a WebAssembly table.
//!
//! Elements are raw references as compiled code stores them ([`TableElements`]): this file knows
//! nothing of what they refer to, and its users ensure that they have the table's element type.
//! The cell ([`VmTable`]) always tells the current base and length; growing may move the base.
//!
//! Callers: `instance` (creation, element segments), `exec` (builtins), and the API through a store.

use super::bulk::{self, OutOfBounds, TableElements};
use super::cell::Cell;
use core::fmt;
use sarsen_abi::TypeId;
use sarsen_abi::types::{IndexType, TableType};
use sarsen_abi::vmctx::VmTable;
use std::alloc::{self, Layout};
use std::ptr::{self, NonNull};

/// The largest number of elements of any table, whatever its type says. The specification allows a
/// runtime to refuse to grow; engines in browsers have the same limit.
pub const MAX_TABLE_ELEMENTS: u64 = 10_000_000;

/// The alignment of a table's elements, in bytes.
const ALIGNMENT: usize = 16;

/// A table could not be made or grown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TableError {
    /// It would exceed its maximum, or what this runtime allows.
    TooLarge {
        /// The number of elements wanted.
        elements: u64,
    },
    /// There is not enough memory.
    OutOfMemory,
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TableError::TooLarge { elements } => {
                write!(
                    f,
                    "a table of {elements} elements is larger than is allowed"
                )
            }
            TableError::OutOfMemory => f.write_str("out of memory for a table"),
        }
    }
}

impl std::error::Error for TableError {}

/// A table.
#[derive(Debug)]
pub struct Table {
    ty: TableType<TypeId>,
    elements: TableElements,
    /// The number of elements that the allocation at the cell's base has room for; zero means that
    /// nothing is allocated.
    capacity: usize,
    cell: Cell<VmTable>,
}

const EMPTY: VmTable = VmTable {
    base: ptr::without_provenance_mut(ALIGNMENT),
    length: 0,
};

impl Table {
    /// Makes a table of `ty.minimum` null elements whose cell lies in an instance's vmctx.
    ///
    /// # Errors
    ///
    /// When the table is too large, or memory runs out.
    ///
    /// # Safety
    ///
    /// `cell` must be valid for as long as the table is, and written by nobody else.
    pub unsafe fn new(ty: TableType<TypeId>, cell: NonNull<VmTable>) -> Result<Table, TableError> {
        // SAFETY: the caller's promise.
        Table::with_cell(ty, unsafe { Cell::borrowed(cell, EMPTY) })
    }

    /// Makes a table of `ty.minimum` null elements that owns its cell.
    ///
    /// # Errors
    ///
    /// As [`Table::new`].
    pub fn new_for_host(ty: TableType<TypeId>) -> Result<Table, TableError> {
        Table::with_cell(ty, Cell::owned(EMPTY))
    }

    fn with_cell(ty: TableType<TypeId>, cell: Cell<VmTable>) -> Result<Table, TableError> {
        let elements = if ty.element.is_collected() {
            TableElements::Collected
        } else {
            TableElements::Functions
        };
        let mut table = Table {
            ty,
            elements,
            capacity: 0,
            cell,
        };
        table.grow(ty.minimum, 0)?;
        Ok(table)
    }

    /// The type, as declared.
    pub fn ty(&self) -> &TableType<TypeId> {
        &self.ty
    }

    /// How elements are stored.
    pub fn elements(&self) -> TableElements {
        self.elements
    }

    /// The cell, at an address that never changes.
    pub fn vm(&self) -> NonNull<VmTable> {
        self.cell.as_ptr()
    }

    /// The number of elements.
    pub fn size(&self) -> u64 {
        self.cell.get().length
    }

    /// The largest size that the type allows, in elements.
    pub fn maximum(&self) -> u64 {
        let addressable = match self.ty.index {
            IndexType::I32 => u64::from(u32::MAX),
            IndexType::I64 => u64::MAX,
        };
        self.ty.maximum.unwrap_or(addressable).min(addressable)
    }

    /// The size after growing by `delta`, or `None` when the type does not allow it. The limiter
    /// is asked about this size before [`Table::grow`].
    pub fn grown_size(&self, delta: u64) -> Option<u64> {
        let size = self.size().checked_add(delta)?;
        (size <= self.maximum()).then_some(size)
    }

    /// The element at `index`, zero-extended.
    pub fn get(&self, index: u64) -> Option<u64> {
        let VmTable { base, length } = self.cell.get();
        // SAFETY: the index is in bounds.
        (index < length).then(|| unsafe { self.elements.read(base, index as usize) })
    }

    /// Sets the element at `index` to a reference of the table's element type.
    ///
    /// # Errors
    ///
    /// When `index` is out of bounds.
    pub fn set(&mut self, index: u64, value: u64) -> Result<(), OutOfBounds> {
        let VmTable { base, length } = self.cell.get();
        if index >= length {
            return Err(OutOfBounds);
        }
        // SAFETY: the index is in bounds.
        unsafe { self.elements.write(base, index as usize, value) };
        Ok(())
    }

    /// Sets `len` elements from `at` to `value`.
    ///
    /// # Errors
    ///
    /// When the range is out of bounds.
    pub fn fill(&mut self, at: u64, value: u64, len: u64) -> Result<(), OutOfBounds> {
        // SAFETY: this table is alive, and its elements are of this kind.
        unsafe { bulk::fill_table(self.elements, self.cell.get(), at, value, len) }
    }

    /// Writes `values` to the elements from `at`.
    ///
    /// # Errors
    ///
    /// When the range is out of bounds; then nothing is written.
    pub fn init(
        &mut self,
        at: u64,
        values: impl ExactSizeIterator<Item = u64>,
    ) -> Result<(), OutOfBounds> {
        let VmTable { base, length } = self.cell.get();
        let room = length.checked_sub(at).ok_or(OutOfBounds)?;
        if values.len() as u64 > room {
            return Err(OutOfBounds);
        }
        // An iterator may lie about its length; it is ours that counts.
        for (index, value) in (at..length).zip(values) {
            // SAFETY: the index is in bounds.
            unsafe { self.elements.write(base, index as usize, value) };
        }
        Ok(())
    }

    /// Grows by `delta` elements of value `init`; returns the old size. The limiter has agreed.
    ///
    /// # Errors
    ///
    /// When the type or this runtime does not allow the new size, or memory runs out.
    pub fn grow(&mut self, delta: u64, init: u64) -> Result<u64, TableError> {
        let old = self.size();
        let too_large = TableError::TooLarge {
            elements: old.saturating_add(delta),
        };
        let new = self.grown_size(delta).ok_or(too_large)?;
        if new > MAX_TABLE_ELEMENTS {
            return Err(too_large);
        }
        if new as usize > self.capacity {
            self.reallocate(new as usize)?;
        }
        self.cell.set(VmTable {
            base: self.cell.get().base,
            length: new,
        });
        // The part past the old size has never been written: it is null.
        if init != 0 {
            self.fill(old, init, delta)
                .expect("the table has just been grown by this much");
        }
        Ok(old)
    }

    /// Moves to an allocation for at least `wanted` elements, of which those past the current size
    /// are zero.
    fn reallocate(&mut self, wanted: usize) -> Result<(), TableError> {
        let capacity = if self.capacity == 0 {
            wanted
        } else {
            wanted
                .max(self.capacity.saturating_mul(2))
                .min(MAX_TABLE_ELEMENTS as usize)
        };
        // SAFETY: the size is not zero, because `wanted` exceeds the current capacity.
        let base = unsafe { alloc::alloc_zeroed(self.layout(capacity)) };
        if base.is_null() {
            return Err(TableError::OutOfMemory);
        }
        let VmTable { base: old, length } = self.cell.get();
        // SAFETY: both allocations hold at least `length` elements.
        unsafe { ptr::copy_nonoverlapping(old, base, length as usize * self.elements.size()) };
        self.free();
        self.capacity = capacity;
        self.cell.set(VmTable { base, length });
        Ok(())
    }

    fn layout(&self, capacity: usize) -> Layout {
        Layout::from_size_align(capacity * self.elements.size(), ALIGNMENT)
            .expect("limited by MAX_TABLE_ELEMENTS")
    }

    fn free(&mut self) {
        if self.capacity > 0 {
            // SAFETY: allocated with this layout in `reallocate`.
            unsafe { alloc::dealloc(self.cell.get().base, self.layout(self.capacity)) }
        }
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        self.free();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sarsen_abi::types::RefType;

    fn table(element: RefType<TypeId>, minimum: u64, maximum: Option<u64>) -> Table {
        Table::new_for_host(TableType {
            element,
            index: IndexType::I32,
            minimum,
            maximum,
        })
        .unwrap()
    }

    #[test]
    fn growing_keeps_the_elements_and_fills_the_new_ones() {
        for element in [RefType::FUNCREF, RefType::EXTERNREF] {
            let mut t = table(element, 3, Some(100));
            assert_eq!(t.get(2), Some(0));
            t.set(1, 0x7777).unwrap();
            let mut size = 3;
            for delta in [1, 0, 5, 40] {
                assert_eq!(t.grow(delta, size + 1), Ok(size));
                for index in size..size + delta {
                    assert_eq!(t.get(index), Some(size + 1));
                }
                size += delta;
                assert_eq!(t.get(1), Some(0x7777));
                assert_eq!(t.get(size), None);
            }
            assert_eq!(t.grow(52, 0), Err(TableError::TooLarge { elements: 101 }));
            assert_eq!(t.size(), 49);
        }
    }

    #[test]
    fn shrinking_never_happens_and_wrapping_sizes_are_refused() {
        let mut t = table(RefType::FUNCREF, 1, None);
        assert!(t.grow(u64::MAX, 0).is_err());
        assert!(t.grow(u64::from(u32::MAX), 0).is_err());
        assert_eq!(t.size(), 1);
    }

    #[test]
    fn nothing_is_written_out_of_bounds() {
        let mut t = table(RefType::EXTERNREF, 4, None);
        assert_eq!(t.set(4, 1), Err(OutOfBounds));
        assert_eq!(t.fill(3, 1, 2), Err(OutOfBounds));
        assert_eq!(t.init(3, [1, 2].into_iter()), Err(OutOfBounds));
        assert_eq!(t.init(5, [].into_iter()), Err(OutOfBounds));
        assert_eq!(t.init(4, [].into_iter()), Ok(()));
        assert!((0..4).all(|i| t.get(i) == Some(0)));
        t.init(2, [8, 9].into_iter()).unwrap();
        assert_eq!((t.get(1), t.get(2), t.get(3)), (Some(0), Some(8), Some(9)));
    }

    #[test]
    fn the_cell_follows_every_growth() {
        let mut vm = EMPTY;
        let ty = TableType {
            element: RefType::FUNCREF,
            index: IndexType::I64,
            minimum: 0,
            maximum: None,
        };
        // SAFETY: `vm` outlives the table, which alone writes it.
        let mut t = unsafe { Table::new(ty, NonNull::from(&mut vm)).unwrap() };
        for round in 1..20 {
            t.grow(round, round).unwrap();
            let cell = t.cell.get();
            assert_eq!(cell.length, t.size());
            // SAFETY: the last element is in bounds.
            let last = unsafe { cell.base.cast::<u64>().add(cell.length as usize - 1).read() };
            assert_eq!(last, round);
        }
    }
}
