//! [`LinearMemory`]: a WebAssembly linear memory.
//!
//! It owns a slot of address space ([`super::SlotPool`]) and keeps its cell ([`VmMemory`]) up to
//! date. What compiled code relies on, by [`MemoryStyle`]:
//!
//! | style | beyond the length | base |
//! |---|---|---|
//! | `Reserved` | inaccessible up to 4 GiB plus the guard: an access there faults | never changes |
//! | `Checked` | inaccessible up to the end of the slot and its guard | never changes |
//! | `Movable` | inaccessible up to the end of the slot and its guard | changes when it outgrows its slot |
//!
//! The length only grows. No references into a memory are given out except for as long as the caller
//! vouches that no compiled code runs ([`LinearMemory::data`]).
//!
//! Callers: `instance` (creation), `exec` (`memory.grow`, faults), and the API through a store.

use super::bulk::{self, OutOfBounds};
use super::cell::Cell;
use super::slots::{ImageSource, Slot, SlotPool, Want};
use crate::os::pages::PAGE_SIZE;
use core::fmt;
use sarsen_abi::module::MemoryStyle;
use sarsen_abi::types::MemoryType;
use sarsen_abi::vmctx::VmMemory;
use std::ptr::{self, NonNull};
use std::sync::Arc;

/// A linear memory could not be made or grown.
#[derive(Debug)]
#[non_exhaustive]
pub enum MemoryError {
    /// It would exceed its maximum, or what this machine can address.
    TooLarge {
        /// The number of pages wanted.
        pages: u64,
    },
    /// The system has no address space, mappings or memory left.
    System(std::io::Error),
}

impl fmt::Display for MemoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MemoryError::TooLarge { pages } => {
                write!(f, "a memory of {pages} pages is larger than is allowed")
            }
            MemoryError::System(error) => write!(f, "no room for a linear memory: {error}"),
        }
    }
}

// The system's error is in the message, so it is no source: it would be shown twice.
impl std::error::Error for MemoryError {}

impl From<rustix::io::Errno> for MemoryError {
    fn from(error: rustix::io::Errno) -> Self {
        MemoryError::System(error.into())
    }
}

/// A linear memory.
#[derive(Debug)]
pub struct LinearMemory {
    ty: MemoryType,
    style: MemoryStyle,
    pages: u64,
    slot: Slot,
    pool: Arc<SlotPool>,
    cell: Cell<VmMemory>,
}

const NOWHERE: VmMemory = VmMemory {
    base: ptr::dangling_mut(),
    length: 0,
};

impl LinearMemory {
    /// Makes a memory of `ty.minimum` pages with the contents of `image`, else zero, whose cell lies
    /// in an instance's vmctx. The limiter has agreed to its size.
    ///
    /// # Errors
    ///
    /// When the memory is larger than what can be addressed, or the system has no room for it.
    ///
    /// # Panics
    ///
    /// Panics when the image does not lie within the memory's initial size.
    ///
    /// # Safety
    ///
    /// `cell` must be valid for as long as the memory is, and written by nobody else.
    pub unsafe fn new(
        pool: &Arc<SlotPool>,
        ty: MemoryType,
        image: Option<ImageSource<'_>>,
        cell: NonNull<VmMemory>,
    ) -> Result<LinearMemory, MemoryError> {
        // SAFETY: the caller's promise.
        LinearMemory::with_cell(pool, ty, image, unsafe { Cell::borrowed(cell, NOWHERE) })
    }

    /// Makes a memory of `ty.minimum` zero pages that owns its cell.
    ///
    /// # Errors
    ///
    /// As [`LinearMemory::new`].
    pub fn new_for_host(pool: &Arc<SlotPool>, ty: MemoryType) -> Result<LinearMemory, MemoryError> {
        LinearMemory::with_cell(pool, ty, None, Cell::owned(NOWHERE))
    }

    fn with_cell(
        pool: &Arc<SlotPool>,
        ty: MemoryType,
        image: Option<ImageSource<'_>>,
        mut cell: Cell<VmMemory>,
    ) -> Result<LinearMemory, MemoryError> {
        let settings = pool.settings();
        let style = MemoryStyle::of(&ty, settings);
        let too_large = || MemoryError::TooLarge { pages: ty.minimum };
        let length = bytes_of(&ty, ty.minimum).ok_or_else(too_large)?;
        let want = Want {
            len: length.next_multiple_of(PAGE_SIZE),
            image,
        };
        // What never moves needs room for the largest size that it may reach.
        let room = match style {
            MemoryStyle::Reserved => length,
            MemoryStyle::Checked => bytes_of(&ty, maximum_pages(&ty)).ok_or_else(too_large)?,
            MemoryStyle::Movable => length,
        };
        let slot = if room <= pool.capacity() {
            pool.take(&want)?
        } else {
            let capacity = room
                .checked_next_multiple_of(PAGE_SIZE)
                .ok_or_else(too_large)?;
            Slot::dedicated(settings, capacity, &want)?
        };
        cell.set(VmMemory {
            base: slot.base(),
            length,
        });
        Ok(LinearMemory {
            ty,
            style,
            pages: ty.minimum,
            slot,
            pool: pool.clone(),
            cell,
        })
    }

    /// The type, as declared.
    pub fn ty(&self) -> &MemoryType {
        &self.ty
    }

    /// How compiled code accesses it.
    pub fn style(&self) -> MemoryStyle {
        self.style
    }

    /// The cell, at an address that never changes.
    pub fn vm(&self) -> NonNull<VmMemory> {
        self.cell.as_ptr()
    }

    /// The size, in pages.
    pub fn size_pages(&self) -> u64 {
        self.pages
    }

    /// The size, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.cell.get().length
    }

    /// The first byte; [`LinearMemory::size_bytes`] bytes from there are accessible.
    pub fn base(&self) -> *mut u8 {
        self.cell.get().base
    }

    /// The largest size that the type allows, in pages.
    pub fn maximum_pages(&self) -> u64 {
        maximum_pages(&self.ty)
    }

    /// Whether `address` lies in the address space of this memory, its guards included: a fault of
    /// compiled code there is a trap, not a bug of ours.
    pub fn contains(&self, address: usize) -> bool {
        self.slot.contains(address)
    }

    /// The size in pages after growing by `delta` pages, or `None` when the type does not allow it.
    /// The limiter is asked about this size before [`LinearMemory::grow`].
    pub fn grown_pages(&self, delta: u64) -> Option<u64> {
        let pages = self.pages.checked_add(delta)?;
        (pages <= self.maximum_pages()).then_some(pages)
    }

    /// Grows by `delta` zero pages; returns the old size in pages. The limiter has agreed.
    ///
    /// # Errors
    ///
    /// When the type does not allow the new size, it cannot be addressed, or the system has no room
    /// for it. Then the memory is as before.
    pub fn grow(&mut self, delta: u64) -> Result<u64, MemoryError> {
        let old = self.pages;
        let too_large = || MemoryError::TooLarge {
            pages: old.saturating_add(delta),
        };
        let pages = self.grown_pages(delta).ok_or_else(too_large)?;
        let length = bytes_of(&self.ty, pages).ok_or_else(too_large)?;
        let accessible = length
            .checked_next_multiple_of(PAGE_SIZE)
            .ok_or_else(too_large)?;
        if accessible <= self.slot.capacity() {
            self.slot.extend(accessible)?;
        } else if self.style == MemoryStyle::Movable {
            self.relocate(accessible)?;
        } else {
            return Err(too_large());
        }
        self.pages = pages;
        self.cell.set(VmMemory {
            base: self.slot.base(),
            length,
        });
        Ok(old)
    }

    /// Moves to a larger slot, of which `accessible` bytes can be used.
    fn relocate(&mut self, accessible: usize) -> Result<(), MemoryError> {
        let want = Want {
            len: accessible,
            image: None,
        };
        let settings = self.pool.settings();
        // Room to double, so that growing page by page does not copy each time; as much as is
        // asked for when there is no such room.
        let roomy = accessible.saturating_mul(2) & !(PAGE_SIZE - 1);
        let slot = Slot::dedicated(settings, roomy, &want)
            .or_else(|_| Slot::dedicated(settings, accessible, &want))?;
        let VmMemory { base, length } = self.cell.get();
        // SAFETY: both slots have this much accessible, and they are not the same.
        unsafe { ptr::copy_nonoverlapping(base, slot.base(), length) };
        self.slot = slot;
        Ok(())
    }

    /// Reads `buffer.len()` bytes from `address`.
    ///
    /// # Errors
    ///
    /// When the range is out of bounds; then nothing is read.
    pub fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), OutOfBounds> {
        let to = VmMemory {
            base: buffer.as_mut_ptr(),
            length: buffer.len(),
        };
        let len = buffer.len() as u64;
        // SAFETY: this memory is alive, and so is the buffer, which nobody else uses.
        unsafe { bulk::copy_memory(to, 0, self.cell.get(), address, len) }
    }

    /// Writes `bytes` to `address`.
    ///
    /// # Errors
    ///
    /// When the range is out of bounds; then nothing is written.
    pub fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), OutOfBounds> {
        let len = bytes.len() as u64;
        // SAFETY: this memory is alive; `bytes` lies outside it, because references into it would
        // have to borrow from this very value.
        unsafe { bulk::init_memory(self.cell.get(), address, bytes, 0, len) }
    }

    /// The contents.
    ///
    /// # Safety
    ///
    /// Nothing may write to the memory while the slice is in use: no compiled code may run in its
    /// store.
    pub unsafe fn data(&self) -> &[u8] {
        let VmMemory { base, length } = self.cell.get();
        // SAFETY: the slot has `length` bytes accessible and initialized; the caller vouches for
        // the absence of writers.
        unsafe { std::slice::from_raw_parts(base, length) }
    }

    /// The contents, writable.
    ///
    /// # Safety
    ///
    /// Nothing else may use the memory while the slice is in use: no compiled code may run in its
    /// store.
    pub unsafe fn data_mut(&mut self) -> &mut [u8] {
        let VmMemory { base, length } = self.cell.get();
        // SAFETY: as in `data`; the caller vouches for the absence of other users.
        unsafe { std::slice::from_raw_parts_mut(base, length) }
    }
}

/// The size of `pages` pages in bytes, unless no address space could hold it.
pub(super) fn bytes_of(ty: &MemoryType, pages: u64) -> Option<usize> {
    let bytes = pages.checked_mul(ty.page_size())?;
    // Half the address space is the system's.
    usize::try_from(bytes)
        .ok()
        .filter(|&b| b <= isize::MAX as usize)
}

/// The largest size that a type allows, in pages.
pub(super) fn maximum_pages(ty: &MemoryType) -> u64 {
    let limit = ty.index_limit_pages();
    ty.maximum.unwrap_or(limit).min(limit)
}

#[cfg(test)]
mod tests;
