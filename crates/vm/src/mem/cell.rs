//! The struct through which compiled code sees a memory or table, and who owns it.
//!
//! Callers: [`super::LinearMemory`], [`super::Table`].

use std::ptr::NonNull;

/// A pointer to a `T` that compiled code reads: in an instance's vmctx, or owned here.
///
/// The address never changes, wherever the `Cell` itself moves.
#[derive(Debug)]
pub(super) struct Cell<T> {
    at: NonNull<T>,
    owned: bool,
}

// SAFETY: a cell is part of a memory or table and is used under the same exclusion as that.
unsafe impl<T: Send> Send for Cell<T> {}
// SAFETY: shared access only reads.
unsafe impl<T: Sync> Sync for Cell<T> {}

impl<T: Copy> Cell<T> {
    /// A cell of our own.
    pub(super) fn owned(value: T) -> Self {
        Cell {
            at: NonNull::from(Box::leak(Box::new(value))),
            owned: true,
        }
    }

    /// Puts `value` into a cell that somebody else owns.
    ///
    /// # Safety
    ///
    /// `at` must be valid for reads and writes for as long as this `Cell` is used, and nobody else
    /// may write there.
    pub(super) unsafe fn borrowed(at: NonNull<T>, value: T) -> Self {
        // SAFETY: the caller's promise.
        unsafe { at.write(value) };
        Cell { at, owned: false }
    }

    pub(super) fn as_ptr(&self) -> NonNull<T> {
        self.at
    }

    pub(super) fn get(&self) -> T {
        // SAFETY: `at` is valid (our own box, or `borrowed`'s contract).
        unsafe { self.at.read() }
    }

    pub(super) fn set(&mut self, value: T) {
        // SAFETY: `at` is valid (our own box, or `borrowed`'s contract), and only we write it.
        unsafe { self.at.write(value) }
    }
}

impl<T> Drop for Cell<T> {
    fn drop(&mut self) {
        if self.owned {
            // SAFETY: made from a `Box` in `owned`.
            drop(unsafe { Box::from_raw(self.at.as_ptr()) });
        }
    }
}
