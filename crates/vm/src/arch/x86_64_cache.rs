//! The caches.

use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

/// Begins to load the cache line of `address`, which may be any address.
#[inline(always)]
pub(crate) fn prefetch(address: *const u8) {
    // SAFETY: a hint, without effect on anything but time; every x86-64 has it.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
}
