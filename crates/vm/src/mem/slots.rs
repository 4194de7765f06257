//! Address space for linear memories, recycled per engine.
//!
//! A [`Slot`] is a reservation with room before and after what a memory may use:
//!
//! ```text
//!   base - before      base                base + writable     base + capacity
//!   | inaccessible     | readable, writable | inaccessible      | guard           |
//!                      |   image mapped ..| |
//! ```
//!
//! When a memory is dropped its slot is *reset*, so that everything writable reads as when it was
//! first made: as zero, or where an image is mapped copy-on-write as that image. Then it waits in
//! the [`SlotPool`] of its engine, with its protections and its image's mapping in place. Whoever
//! takes it next pays only for what differs: usually no system call at all.
//!
//! # How a slot is reset
//!
//! Up to [`MEMSET_LIMIT`] bytes by writing zeroes, which leaves the pages where they are: no system
//! call now, no page fault for the next user. More than that by giving the pages back
//! (`MADV_DONTNEED`): a few hundred nanoseconds whatever the size, and the next user pays for the
//! pages that it touches. The first reset of a new slot always gives back, because writing would
//! first have to fault in the pages that were never touched.
//!
//! # Invariants
//!
//! - An idle slot has been reset. (Nothing of one user can be seen by the next: `give_back` drops a
//!   slot that cannot be reset.)
//! - Beyond `writable`, nothing is accessible and nothing has been written.
//!
//! Callers: [`super::LinearMemory`]; the engine owns the pool, the owner of an image its
//! [`ImageToken`].

use crate::os::pages::{PAGE_SIZE, Protection, Reservation};
use rustix::io;
use sarsen_abi::Settings;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// How much is reset by writing zeroes, in bytes.
const MEMSET_LIMIT: usize = 128 << 10;

/// Images up to this size are copied rather than mapped, in bytes: mapping a page that is then
/// written costs as much as copying it.
const COPY_LIMIT: usize = 16 << 10;

/// The largest number of idle slots. They hold address space and, at most, [`MEMSET_LIMIT`] bytes
/// of memory each.
const MAX_IDLE: usize = 128;

/// Inaccessible bytes before a 32-bit memory that has its whole address space reserved. Compiled
/// code never reaches them; they are there for the day when it has a bug in sign extension.
const BEFORE: usize = 2 << 30;

/// The initial contents of a linear memory.
#[derive(Clone, Copy, Debug)]
pub struct ImageSource<'a> {
    /// Names these contents.
    pub token: &'a ImageToken,
    /// Where they begin in the memory, in bytes; a multiple of the page size.
    pub address: u64,
    /// The contents; whole pages.
    pub bytes: &'a [u8],
    /// A file that holds the same bytes from a page-aligned offset, and that nobody can change.
    pub file: Option<(BorrowedFd<'a>, u64)>,
}

/// The identity of an image: owned by whoever owns the image's bytes, together with which it is
/// dropped. Idle slots that map the image then let go of it.
#[derive(Debug)]
pub struct ImageToken {
    id: u64,
    pool: Weak<SlotPool>,
}

impl ImageToken {
    /// A new identity, for one image of one memory.
    pub fn new(pool: &Arc<SlotPool>) -> ImageToken {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        ImageToken {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            pool: Arc::downgrade(pool),
        }
    }
}

impl Drop for ImageToken {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.forget(self.id);
        }
    }
}

/// The idle slots of an engine.
#[derive(Debug)]
pub struct SlotPool {
    settings: Settings,
    idle: Mutex<Vec<RawSlot>>,
}

/// What a user wants of a slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Want<'a> {
    /// How much must be accessible, and no more, in bytes; whole pages. Compiled code leaves checks
    /// to what is inaccessible after the length, whatever the memory's style.
    pub(super) len: usize,
    /// What it shall contain.
    pub(super) image: Option<ImageSource<'a>>,
}

impl<'a> Want<'a> {
    /// The image, if it is to be mapped rather than copied.
    fn mapped_image(&self) -> Option<(ImageSource<'a>, (BorrowedFd<'a>, u64))> {
        let image = self.image?;
        let file = image.file?;
        let worth_it = self.len > MEMSET_LIMIT && image.bytes.len() > COPY_LIMIT;
        worth_it.then_some((image, file))
    }

    fn mapped_id(&self) -> Option<u64> {
        self.mapped_image().map(|(image, _)| image.token.id)
    }
}

impl SlotPool {
    /// An empty pool for memories under these settings.
    pub fn new(settings: Settings) -> SlotPool {
        SlotPool {
            settings,
            idle: Mutex::new(Vec::new()),
        }
    }

    /// The settings that decide the sizes of slots.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How much a slot of this pool holds, in bytes.
    pub(super) fn capacity(&self) -> usize {
        self.settings.memory_reservation as usize
    }

    fn idle(&self) -> MutexGuard<'_, Vec<RawSlot>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the idle slot that is cheapest to adapt, or makes one.
    pub(super) fn take(self: &Arc<Self>, want: &Want<'_>) -> io::Result<Slot> {
        let mut raw = match self.take_idle(want) {
            Some(raw) => raw,
            None => RawSlot::new(&self.settings)?,
        };
        raw.prepare(want)?;
        Ok(Slot {
            raw: Some(raw),
            pool: Some(self.clone()),
        })
    }

    fn take_idle(&self, want: &Want<'_>) -> Option<RawSlot> {
        let image = want.mapped_id();
        let mut idle = self.idle();
        let mut best = None;
        for (position, slot) in idle.iter().enumerate().rev() {
            let cost = slot.cost(want, image);
            if best.is_none_or(|(_, lowest)| cost < lowest) {
                best = Some((position, cost));
            }
            if cost == 0 {
                break;
            }
        }
        best.map(|(position, _)| idle.remove(position))
    }

    fn give_back(&self, mut raw: RawSlot) {
        if raw.reset().is_err() {
            return;
        }
        let mut idle = self.idle();
        if idle.len() < MAX_IDLE {
            idle.push(raw);
        } else {
            drop(idle);
            drop(raw);
        }
    }

    /// Unmaps an image from the idle slots.
    fn forget(&self, id: u64) {
        let dropped: Vec<RawSlot> = self
            .idle()
            .extract_if(.., |slot| slot.image.as_ref().is_some_and(|i| i.id == id))
            .collect();
        drop(dropped);
    }
}

/// A slot in use. Goes back to its pool when dropped.
#[derive(Debug)]
pub(super) struct Slot {
    /// `None` only while dropping.
    raw: Option<RawSlot>,
    /// `None` for one of a size of its own, which is not recycled.
    pool: Option<Arc<SlotPool>>,
}

impl Slot {
    /// A slot for `capacity` bytes, more than the pool's slots hold.
    pub(super) fn dedicated(
        settings: &Settings,
        capacity: usize,
        want: &Want<'_>,
    ) -> io::Result<Slot> {
        let guard = settings.memory_guard as usize;
        let mut raw = RawSlot::with_room(0, capacity, guard)?;
        raw.prepare(want)?;
        Ok(Slot {
            raw: Some(raw),
            pool: None,
        })
    }

    fn raw(&self) -> &RawSlot {
        self.raw.as_ref().expect("present until dropped")
    }

    /// Where the memory begins.
    pub(super) fn base(&self) -> *mut u8 {
        self.raw().base()
    }

    /// How much can be made accessible, in bytes.
    pub(super) fn capacity(&self) -> usize {
        self.raw().capacity
    }

    /// Whether `address` lies in the reservation, guards included.
    pub(super) fn contains(&self, address: usize) -> bool {
        self.raw().reservation.contains(address)
    }

    /// All addresses of the reservation, guards included.
    pub(super) fn addresses(&self) -> Range<usize> {
        self.raw().reservation.addresses()
    }

    /// Makes the first `len` bytes (whole pages) accessible.
    pub(super) fn extend(&mut self, len: usize) -> io::Result<()> {
        self.raw
            .as_mut()
            .expect("present until dropped")
            .extend(len)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let (Some(raw), Some(pool)) = (self.raw.take(), &self.pool) {
            pool.give_back(raw);
        }
    }
}

/// A slot, in use or idle.
#[derive(Debug)]
struct RawSlot {
    reservation: Reservation,
    /// The offset of the base in the reservation.
    before: usize,
    /// How much can be made accessible.
    capacity: usize,
    /// How much is accessible, from the base.
    writable: usize,
    /// What is mapped there from a file.
    image: Option<MappedImage>,
    /// Whether it has been used before, so that its pages are worth keeping.
    recycled: bool,
}

/// An image that is mapped copy-on-write in a slot.
#[derive(Debug)]
struct MappedImage {
    id: u64,
    /// Where, from the base; whole pages below `writable`.
    range: Range<usize>,
}

impl RawSlot {
    fn new(settings: &Settings) -> io::Result<RawSlot> {
        let capacity = settings.memory_reservation as usize;
        let before = if settings.memory_reservation >= 4 << 30 {
            BEFORE
        } else {
            0
        };
        RawSlot::with_room(before, capacity, settings.memory_guard as usize)
    }

    fn with_room(before: usize, capacity: usize, guard: usize) -> io::Result<RawSlot> {
        let size = before
            .checked_add(capacity)
            .and_then(|size| size.checked_add(guard))
            .and_then(|size| size.max(1).checked_next_multiple_of(PAGE_SIZE))
            .ok_or(io::Errno::NOMEM)?;
        Ok(RawSlot {
            reservation: Reservation::new(size)?,
            before,
            capacity,
            writable: 0,
            image: None,
            recycled: false,
        })
    }

    fn base(&self) -> *mut u8 {
        self.reservation.ptr_at(self.before)
    }

    /// Roughly how many system calls [`RawSlot::prepare`] makes.
    fn cost(&self, want: &Want<'_>, image: Option<u64>) -> u32 {
        let mapped = self.image.as_ref().map(|i| i.id);
        let images = if mapped == image {
            0
        } else {
            u32::from(mapped.is_some()) + u32::from(image.is_some())
        };
        images + u32::from(self.writable != want.len)
    }

    /// Makes a slot that is new or has been reset what a user wants.
    fn prepare(&mut self, want: &Want<'_>) -> io::Result<()> {
        if let Some(image) = &want.image {
            let end = image.address.saturating_add(image.bytes.len() as u64);
            assert!(end <= want.len as u64, "an image lies within its memory");
        }
        let mapped = want.mapped_image();
        let keep = mapped.is_some_and(|(image, _)| {
            let id = Some(image.token.id);
            self.image.as_ref().map(|i| i.id) == id
        });
        if !keep {
            self.unmap_image()?;
        }
        if self.writable < want.len {
            self.extend(want.len)?;
        } else {
            self.shrink(want.len)?;
        }
        match (mapped, want.image) {
            (Some(_), _) if keep => Ok(()),
            (Some((image, file)), _) => self.map_image(image, file),
            (None, Some(image)) => {
                self.copy_image(image);
                Ok(())
            }
            (None, None) => Ok(()),
        }
    }

    fn extend(&mut self, len: usize) -> io::Result<()> {
        assert!(len <= self.capacity.next_multiple_of(PAGE_SIZE));
        if len > self.writable {
            let start = self.before + self.writable;
            // SAFETY: making more accessible invalidates no reference.
            unsafe {
                self.reservation
                    .protect(start, len - self.writable, Protection::ReadWrite)?;
            }
            self.writable = len;
        }
        Ok(())
    }

    /// Makes everything from `len` inaccessible. It is zero, because the slot has been reset.
    fn shrink(&mut self, len: usize) -> io::Result<()> {
        if len < self.writable {
            debug_assert!(self.image.as_ref().is_none_or(|i| i.range.end <= len));
            // SAFETY: the slot is not in use yet.
            unsafe {
                self.reservation.protect(
                    self.before + len,
                    self.writable - len,
                    Protection::None,
                )?;
            }
            self.writable = len;
        }
        Ok(())
    }

    fn map_image(
        &mut self,
        image: ImageSource<'_>,
        (file, file_offset): (BorrowedFd<'_>, u64),
    ) -> io::Result<()> {
        let start = image.address as usize;
        // SAFETY: the slot is not in use yet; nobody can change the file (`ImageSource::file`).
        unsafe {
            self.reservation.map_file(
                self.before + start,
                image.bytes.len(),
                Protection::ReadWrite,
                file,
                file_offset,
            )?;
        }
        self.image = Some(MappedImage {
            id: image.token.id,
            range: start..start + image.bytes.len(),
        });
        Ok(())
    }

    fn copy_image(&mut self, image: ImageSource<'_>) {
        let to = self.base().wrapping_add(image.address as usize);
        // SAFETY: `prepare` has checked that the image lies within what is accessible.
        unsafe { ptr::copy_nonoverlapping(image.bytes.as_ptr(), to, image.bytes.len()) };
    }

    fn unmap_image(&mut self) -> io::Result<()> {
        if let Some(image) = self.image.take() {
            let (start, len) = (self.before + image.range.start, image.range.len());
            // SAFETY: the slot is not in use yet.
            unsafe {
                self.reservation
                    .map_zeroes(start, len, Protection::ReadWrite)?;
            }
        }
        Ok(())
    }

    /// Makes everything writable what it was after `prepare` before any image was copied.
    fn reset(&mut self) -> io::Result<()> {
        let write = self.recycled && self.image.is_none() && self.writable <= MEMSET_LIMIT;
        self.recycled = true;
        if write {
            // SAFETY: the slot's user is gone, and this much is accessible.
            unsafe { ptr::write_bytes(self.base(), 0, self.writable) };
            Ok(())
        } else {
            // SAFETY: the slot's user is gone.
            unsafe { self.reservation.decommit(self.before, self.writable) }
        }
    }
}
