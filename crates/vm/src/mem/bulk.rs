//! Bulk operations on memories and tables, by the cells through which compiled code sees them.
//!
//! Specification: core, §4.4.7 "Memory Instructions", §4.4.6 "Table Instructions". Bounds are checked
//! before anything is written; an empty range must lie in bounds too. `memory.copy` and
//! `memory.fill` are not here: compiled code checks their bounds itself. What is copied to or from a memory
//! is copied by assembly, because the memory may be shared, and other threads may use it meanwhile.
//!
//! Callers: the builtins (`exec`), instantiation (`instance`), the accessors of
//! [`super::LinearMemory`] and [`super::Table`].

use crate::arch;
use core::fmt;
use sarsen_abi::vmctx::{VmMemory, VmTable};
use std::ptr;

/// A range of a memory, table or segment did not lie within it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfBounds;

impl fmt::Display for OutOfBounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("out of bounds")
    }
}

impl std::error::Error for OutOfBounds {}

/// Checks that `len` items from `start` lie within `size` items.
fn check(size: u64, start: u64, len: u64) -> Result<(), OutOfBounds> {
    match start.checked_add(len) {
        Some(end) if end <= size => Ok(()),
        _ => Err(OutOfBounds),
    }
}

/// The address of `len` bytes of a memory at `at`.
fn bytes(memory: VmMemory, at: u64, len: u64) -> Result<*mut u8, OutOfBounds> {
    check(memory.length as u64, at, len)?;
    Ok(memory.base.wrapping_add(at as usize))
}

/// Copies between memories; the ranges may overlap.
///
/// # Errors
///
/// When a range does not lie within its memory; then nothing is written.
///
/// # Safety
///
/// Both memories must be alive, with their true lengths, and no references into them in use.
pub unsafe fn copy_memory(
    dst: VmMemory,
    dst_at: u64,
    src: VmMemory,
    src_at: u64,
    len: u64,
) -> Result<(), OutOfBounds> {
    let from = bytes(src, src_at, len)?;
    let to = bytes(dst, dst_at, len)?;
    // SAFETY: both ranges lie within live memories.
    unsafe { arch::copy_bytes(to, from, len as usize) };
    Ok(())
}

/// `memory.init`: copies `len` bytes of `segment` from `src_at`. A dropped segment is empty.
///
/// # Errors
///
/// When a range does not lie within the memory or segment; then nothing is written.
///
/// # Safety
///
/// As for [`copy_memory`]; `segment` must not lie in the memory.
pub unsafe fn init_memory(
    memory: VmMemory,
    at: u64,
    segment: &[u8],
    src_at: u64,
    len: u64,
) -> Result<(), OutOfBounds> {
    check(segment.len() as u64, src_at, len)?;
    let to = bytes(memory, at, len)?;
    let from = segment[src_at as usize..].as_ptr();
    // SAFETY: both ranges are in bounds.
    unsafe { arch::copy_bytes(to, from, len as usize) };
    Ok(())
}

/// How the elements of a table are stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TableElements {
    /// Pointers of 8 bytes to [`sarsen_abi::vmctx::VmFuncRef`].
    Functions,
    /// Collected references of 4 bytes.
    Collected,
}

impl TableElements {
    /// The size of an element, in bytes.
    pub const fn size(self) -> usize {
        match self {
            TableElements::Functions => 8,
            TableElements::Collected => 4,
        }
    }

    /// Reads the element at `index`.
    ///
    /// # Safety
    ///
    /// `base` must be a table's of this kind, with more than `index` elements.
    pub(super) unsafe fn read(self, base: *mut u8, index: usize) -> u64 {
        // SAFETY: the caller's promise; the base is aligned for 8 bytes (`super::Table`).
        unsafe {
            match self {
                TableElements::Functions => base.cast::<u64>().add(index).read(),
                TableElements::Collected => u64::from(base.cast::<u32>().add(index).read()),
            }
        }
    }

    /// Writes the element at `index`.
    ///
    /// # Safety
    ///
    /// As for [`TableElements::read`].
    pub(super) unsafe fn write(self, base: *mut u8, index: usize, value: u64) {
        // SAFETY: as in `read`.
        unsafe {
            match self {
                TableElements::Functions => base.cast::<u64>().add(index).write(value),
                TableElements::Collected => base.cast::<u32>().add(index).write(value as u32),
            }
        }
    }
}

/// `table.copy`: both tables have elements of this kind; the ranges may overlap.
///
/// # Errors
///
/// When a range does not lie within its table; then nothing is written.
///
/// # Safety
///
/// Both tables must be alive and hold elements of this kind.
pub unsafe fn copy_table(
    elements: TableElements,
    dst: VmTable,
    dst_at: u64,
    src: VmTable,
    src_at: u64,
    len: u64,
) -> Result<(), OutOfBounds> {
    check(src.length, src_at, len)?;
    check(dst.length, dst_at, len)?;
    let size = elements.size();
    let from = src.base.wrapping_add(src_at as usize * size);
    let to = dst.base.wrapping_add(dst_at as usize * size);
    // SAFETY: both ranges lie within live tables; `copy` allows overlap.
    unsafe { ptr::copy(from, to, len as usize * size) };
    Ok(())
}

/// `table.fill`.
///
/// # Errors
///
/// When the range does not lie within the table; then nothing is written.
///
/// # Safety
///
/// As for [`copy_table`]; `value` must be null or a reference that the table's type allows.
pub unsafe fn fill_table(
    elements: TableElements,
    table: VmTable,
    at: u64,
    value: u64,
    len: u64,
) -> Result<(), OutOfBounds> {
    check(table.length, at, len)?;
    for index in at..at + len {
        // SAFETY: `index` is in bounds.
        unsafe { elements.write(table.base, index as usize, value) };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(bytes: &mut [u8]) -> VmMemory {
        VmMemory {
            base: bytes.as_mut_ptr(),
            length: bytes.len(),
        }
    }

    #[test]
    fn ranges_that_wrap_around_are_out_of_bounds() {
        assert_eq!(check(8, 0, 8), Ok(()));
        assert_eq!(check(8, 8, 0), Ok(()));
        assert_eq!(check(8, 9, 0), Err(OutOfBounds));
        assert_eq!(check(8, 1, 8), Err(OutOfBounds));
        assert_eq!(check(8, u64::MAX, 2), Err(OutOfBounds));
        assert_eq!(check(8, 2, u64::MAX), Err(OutOfBounds));
    }

    #[test]
    fn overlapping_copies_read_before_they_write() {
        let mut bytes = [1u8, 2, 3, 4, 5, 0, 0];
        let m = memory(&mut bytes);
        // SAFETY: `bytes` is alive and borrowed by nobody meanwhile.
        unsafe { copy_memory(m, 2, m, 0, 5).unwrap() };
        assert_eq!(bytes, [1, 2, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn nothing_is_written_when_any_part_is_out_of_bounds() {
        let mut bytes = [0u8; 4];
        let m = memory(&mut bytes);
        // SAFETY: `bytes` is alive and borrowed by nobody meanwhile.
        unsafe {
            assert_eq!(init_memory(m, 0, &[1, 2], 1, 2), Err(OutOfBounds));
            assert_eq!(init_memory(m, 3, &[1, 2], 0, 2), Err(OutOfBounds));
            assert_eq!(bytes, [0; 4]);
            init_memory(m, 2, &[1, 2], 0, 2).unwrap();
        }
        assert_eq!(bytes, [0, 0, 1, 2]);
    }
}
