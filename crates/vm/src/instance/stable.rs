//! [`Stable`]: an owned allocation that never moves and may be pointed to.
//!
//! A `Box` claims unique access to its contents whenever it is moved or used, which would
//! invalidate the pointers that compiled code and handles hold. A `Stable` makes no such claim.

use std::fmt;
use std::ptr::NonNull;

/// Owns a `T` on the native heap, at an address that stays valid until the `Stable` is dropped.
pub(crate) struct Stable<T>(NonNull<T>);

// SAFETY: it owns its `T`, as a `Box` does.
unsafe impl<T: Send> Send for Stable<T> {}
// SAFETY: as above; shared access gives out a pointer only.
unsafe impl<T: Sync> Sync for Stable<T> {}

impl<T> Stable<T> {
    /// Moves `value` to the heap.
    pub(crate) fn new(value: T) -> Stable<T> {
        Stable(NonNull::from(Box::leak(Box::new(value))))
    }

    /// Where it is.
    #[inline]
    pub(crate) fn as_non_null(&self) -> NonNull<T> {
        self.0
    }
}

impl<T> Drop for Stable<T> {
    fn drop(&mut self) {
        // SAFETY: made by `Box::leak` in `new`, and dropped once.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

impl<T> fmt::Debug for Stable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stable({:p})", self.0)
    }
}
