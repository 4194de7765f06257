//! What goes wrong with the host's references and allocations.

use core::fmt;

/// A [`Rooted`](crate::Rooted) was used after the scope ended in which it was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnrootedError;

impl fmt::Display for UnrootedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a reference was used after its scope had ended; `Rooted::to_owned_rooted` keeps it longer",
        )
    }
}

impl std::error::Error for UnrootedError {}

/// The store's heap has no room, even after a collection: it is full, or its limit was reached
/// ([`Config::gc_heap_limit`](crate::Config::gc_heap_limit),
/// [`ResourceLimiter::heap_growing`](crate::ResourceLimiter::heap_growing)).
///
/// `T` is what was to be moved to the heap, if that is given back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct GcHeapOutOfMemory<T> {
    inner: T,
    bytes: u64,
}

impl<T> GcHeapOutOfMemory<T> {
    pub(crate) fn new(inner: T, bytes: u64) -> GcHeapOutOfMemory<T> {
        GcHeapOutOfMemory { inner, bytes }
    }

    /// How many bytes there was no room for.
    pub fn bytes_needed(&self) -> u64 {
        self.bytes
    }

    /// What was to be moved to the heap.
    pub fn into_inner(self) -> T {
        self.inner
    }

    /// What was to be moved to the heap, and the error without it.
    pub fn take_inner(self) -> (T, GcHeapOutOfMemory<()>) {
        let bytes = self.bytes;
        (self.inner, GcHeapOutOfMemory { inner: (), bytes })
    }
}

impl<T> fmt::Debug for GcHeapOutOfMemory<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GcHeapOutOfMemory")
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Display for GcHeapOutOfMemory<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the store's heap has no room for {} bytes: it is full, or its limit was reached",
            self.bytes
        )
    }
}

impl<T> std::error::Error for GcHeapOutOfMemory<T> {}
