//! [`SharedMemory`]: a linear memory that many stores use at once, on many threads (threads proposal).
//!
//! ```text
//!   vmctx of an instance      vmctx of another, in another store
//!    | pointer ───────┐        | pointer ───────┐
//!                     ▼                         ▼
//!                 VmSharedMemory { base, length }      in the SharedMemory, which is counted
//! ```
//!
//! Its base never changes: there is room for all that it may grow to from the start
//! ([`MemoryType::shared_room`]). Its length is one atomic number, which only grows; it is written after the bytes have
//! become accessible, so that whoever reads it may use them.
//!
//! Anybody may write its bytes at any time. So no reference to them is ever made: bulk operations go
//! through assembly ([`crate::arch::copy_bytes`]), single values through atomics.
//!
//! Callers: `instance` (creation, imports, `memory.grow`, waiting), the API.

use super::bulk::{OutOfBounds, copy_memory};
use super::memory::{MemoryError, bytes_of, maximum_pages};
use super::slots::{ImageSource, Slot, SlotPool, Want};
use super::waiters::{Registration, Waiters};
use crate::os::pages::PAGE_SIZE;
use sarsen_abi::TrapCode;
use sarsen_abi::module::MemoryStyle;
use sarsen_abi::types::MemoryType;
use sarsen_abi::vmctx::{VmMemory, VmSharedMemory};
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// A handle to a shared memory. The memory is gone with the last one.
#[derive(Clone, Debug)]
pub struct SharedMemory(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    ty: MemoryType,
    definition: VmSharedMemory,
    /// All addresses that are reserved for it, guards included.
    addresses: Range<usize>,
    /// Locked to grow.
    slot: Mutex<Slot>,
    waiters: Waiters,
    pool: Arc<SlotPool>,
}

// SAFETY: `base` points to what `slot` owns; its bytes are used as the module's page says.
unsafe impl Send for Inner {}
// SAFETY: as above; the length is atomic, and the rest never changes or is locked.
unsafe impl Sync for Inner {}

/// Why a shared memory has not grown.
#[derive(Debug)]
pub enum SharedGrowError {
    /// It has another size than the caller thought: this many pages.
    Changed(u64),
    /// It could not grow.
    Failed(MemoryError),
}

/// What is expected at an address when waiting begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expected {
    /// A number of 32 bits.
    I32(u32),
    /// A number of 64 bits.
    I64(u64),
}

impl Expected {
    /// How many bytes it has.
    pub(crate) fn size(self) -> u64 {
        match self {
            Expected::I32(_) => 4,
            Expected::I64(_) => 8,
        }
    }
}

impl SharedMemory {
    /// Makes a memory of `ty.minimum` pages with the contents of `image`, else zero. The limiter has
    /// agreed to its size.
    ///
    /// # Errors
    ///
    /// When the memory is larger than what can be addressed, or the system has no room for it.
    ///
    /// # Panics
    ///
    /// Panics when the type is not shared or has no maximum, or when the image does not lie within the
    /// memory's initial size.
    pub fn new(
        pool: &Arc<SlotPool>,
        ty: MemoryType,
        image: Option<ImageSource<'_>>,
    ) -> Result<SharedMemory, MemoryError> {
        assert!(
            ty.shared && ty.maximum.is_some(),
            "a shared memory has a maximum"
        );
        let settings = pool.settings();
        let too_large = || MemoryError::TooLarge { pages: ty.minimum };
        let length = bytes_of(&ty, ty.minimum).ok_or_else(too_large)?;
        let want = Want {
            len: length.next_multiple_of(PAGE_SIZE),
            image,
        };
        let room = match MemoryStyle::of(&ty, settings) {
            MemoryStyle::Reserved => length,
            MemoryStyle::Checked | MemoryStyle::Movable => {
                usize::try_from(ty.shared_room()).map_err(|_| too_large())?
            }
        };
        let slot = if room <= pool.capacity() {
            pool.take(&want)?
        } else {
            let capacity = room
                .checked_next_multiple_of(PAGE_SIZE)
                .ok_or_else(too_large)?;
            Slot::dedicated(settings, capacity, &want)?
        };
        Ok(SharedMemory(Arc::new(Inner {
            ty,
            definition: VmSharedMemory {
                base: slot.base(),
                length: AtomicUsize::new(length),
            },
            addresses: slot.addresses(),
            slot: Mutex::new(slot),
            waiters: Waiters::default(),
            pool: Arc::clone(pool),
        })))
    }

    /// The type, as declared.
    pub fn ty(&self) -> &MemoryType {
        &self.0.ty
    }

    /// Whether its memory comes from this pool: whether it is of the pool's engine.
    pub fn is_of(&self, pool: &Arc<SlotPool>) -> bool {
        Arc::ptr_eq(&self.0.pool, pool)
    }

    /// Whether both are the same memory.
    pub fn same(&self, other: &SharedMemory) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// What compiled code sees, at an address that never changes, as long as the memory exists.
    pub fn vm(&self) -> NonNull<VmSharedMemory> {
        NonNull::from(&self.0.definition)
    }

    /// The first byte; at least [`SharedMemory::size_bytes`] bytes from there are accessible.
    pub fn base(&self) -> *mut u8 {
        self.0.definition.base
    }

    /// The size now, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.0.definition.length.load(Ordering::SeqCst)
    }

    /// The size now, in pages.
    pub fn size_pages(&self) -> u64 {
        self.size_bytes() as u64 >> self.0.ty.page_size_log2
    }

    /// Where its bytes are, and how many there are now.
    pub(crate) fn snapshot(&self) -> VmMemory {
        VmMemory {
            base: self.base(),
            length: self.size_bytes(),
        }
    }

    /// Whether `address` lies in the address space of this memory, its guards included.
    pub(crate) fn contains(&self, address: usize) -> bool {
        self.0.addresses.contains(&address)
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.0.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Grows by `delta` zero pages; returns the old size in pages.
    ///
    /// # Errors
    ///
    /// When the type does not allow the new size, or the system has no room for it. Then the memory is
    /// as before.
    pub fn grow(&self, delta: u64) -> Result<u64, MemoryError> {
        let mut slot = self.slot();
        self.grow_locked(&mut slot, delta)
    }

    /// Grows by `delta` zero pages if it has `from` pages now: somebody has agreed to that.
    ///
    /// # Errors
    ///
    /// When it has another size, and as [`SharedMemory::grow`].
    pub(crate) fn grow_from(&self, from: u64, delta: u64) -> Result<(), SharedGrowError> {
        let mut slot = self.slot();
        let pages = self.size_pages();
        if pages != from {
            return Err(SharedGrowError::Changed(pages));
        }
        self.grow_locked(&mut slot, delta)
            .map_err(SharedGrowError::Failed)?;
        Ok(())
    }

    fn grow_locked(&self, slot: &mut Slot, delta: u64) -> Result<u64, MemoryError> {
        let ty = &self.0.ty;
        let old = self.size_pages();
        let too_large = || MemoryError::TooLarge {
            pages: old.saturating_add(delta),
        };
        let pages = old
            .checked_add(delta)
            .filter(|&pages| pages <= maximum_pages(ty))
            .ok_or_else(too_large)?;
        let length = bytes_of(ty, pages).ok_or_else(too_large)?;
        let accessible = length.checked_next_multiple_of(PAGE_SIZE);
        let accessible = accessible
            .filter(|&bytes| bytes <= slot.capacity())
            .ok_or_else(too_large)?;
        slot.extend(accessible)?;
        self.0.definition.length.store(length, Ordering::SeqCst);
        Ok(old)
    }

    /// Reads `buffer.len()` bytes from `address`.
    ///
    /// # Errors
    ///
    /// When the range is out of bounds; then nothing is read.
    pub fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), OutOfBounds> {
        let len = buffer.len() as u64;
        let to = VmMemory {
            base: buffer.as_mut_ptr(),
            length: buffer.len(),
        };
        // SAFETY: this memory is alive and never shrinks, and so is the buffer, which nobody else uses.
        unsafe { copy_memory(to, 0, self.snapshot(), address, len) }
    }

    /// Writes `bytes` to `address`.
    ///
    /// # Errors
    ///
    /// When the range is out of bounds; then nothing is written.
    pub fn write(&self, address: u64, bytes: &[u8]) -> Result<(), OutOfBounds> {
        let from = VmMemory {
            base: bytes.as_ptr().cast_mut(),
            length: bytes.len(),
        };
        // SAFETY: as in `read`; the slice is only read, and lies outside the memory, because no
        // references into that exist.
        unsafe { copy_memory(self.snapshot(), address, from, 0, bytes.len() as u64) }
    }

    /// The address in the host of `size` bytes at `address`, for an atomic access.
    fn atomic(&self, address: u64, size: u64) -> Result<*mut u8, TrapCode> {
        if !address.is_multiple_of(size) {
            return Err(TrapCode::HeapMisaligned);
        }
        let end = address.checked_add(size);
        match end {
            Some(end) if end <= self.size_bytes() as u64 => {
                Ok(self.base().wrapping_add(address as usize))
            }
            _ => Err(TrapCode::MemoryOutOfBounds),
        }
    }

    /// Whether there is what is expected at `address`, now (sequentially consistent).
    fn holds(&self, address: u64, expected: Expected) -> Result<bool, TrapCode> {
        let at = self.atomic(address, expected.size())?;
        // SAFETY: aligned, within the memory, which is alive; everybody else who accesses it is
        // assembly, compiled code, or atomic too.
        Ok(unsafe {
            match expected {
                Expected::I32(value) => {
                    AtomicU32::from_ptr(at.cast()).load(Ordering::SeqCst) == value
                }
                Expected::I64(value) => {
                    AtomicU64::from_ptr(at.cast()).load(Ordering::SeqCst) == value
                }
            }
        })
    }

    /// Queues at `address` if there is what is expected; `waker` is woken by a notification. The
    /// caller then sleeps until [`Registration::is_notified`], or drops the registration to give up.
    ///
    /// # Errors
    ///
    /// The trap that waiting there is.
    pub(crate) fn register(
        &self,
        address: u64,
        expected: Expected,
        waker: Waker,
    ) -> Result<Option<Registration<'_>>, TrapCode> {
        self.holds(address, expected)?;
        // A memory does not shrink.
        let is_expected = || matches!(self.holds(address, expected), Ok(true));
        Ok(self.0.waiters.register(address, waker, is_expected))
    }

    /// `memory.atomic.notify`: wakes at most `count` of those who have waited longest at `address`;
    /// returns how many.
    ///
    /// # Errors
    ///
    /// [`TrapCode::HeapMisaligned`] or [`TrapCode::MemoryOutOfBounds`].
    ///
    /// # Panics
    ///
    /// Resumes the first panic of a waker, after all were woken.
    pub fn notify(&self, address: u64, count: u32) -> Result<u32, TrapCode> {
        self.atomic(address, 4)?;
        Ok(self.0.waiters.notify(address, count))
    }
}
