//! Room: where new objects go when the nursery is full, when a collection is due, and how large the
//! nursery and the old space may be.
//!
//! # How the heap grows
//!
//! What the limiter grants is one number: the bytes of the old space and the nursery together. While
//! `used` bytes of old objects live, a nursery of `n` bytes takes `used + 2 * n`, because all of it may
//! survive. As the limit comes near, the nursery shrinks, at first only as long as it keeps a sixteenth
//! of the heap; then all is collected; then it shrinks to [`MIN_YOUNG`]; then there is no room left.

use super::config::HeapError;
use super::heap::Heap;
use super::world::World;
use sarsen_abi::heap::{
    ALIGNMENT, FIRST, HEADER_SIZE, MAX_ARRAY, MAX_SMALL, REFS_TYPE, YOUNG, YOUNG_END,
};
use std::time::{Duration, Instant};

/// The smallest nursery, in bytes.
const MIN_YOUNG: u32 = 16 << 10;
/// The nursery is not made smaller than this for the sake of pauses, in bytes.
const MIN_ADAPTED: u32 = 64 << 10;
/// So many collections in a row that take too long make the nursery smaller.
const PATIENCE: u8 = 3;
/// How much the heap grows by at least, in bytes, where its limit allows.
const STEP: usize = 64 << 10;
/// The old space is collected when it has grown by as much as was live last time, and by so many bytes
/// at least.
const MIN_GROWTH: usize = 48 << 20;
/// Sizes of the nursery are multiples of this, in bytes.
const GRAIN: u32 = 4 << 10;

const _: () = assert!(MIN_YOUNG >= 4 * MAX_SMALL && MIN_YOUNG.is_multiple_of(GRAIN));

impl Heap {
    /// Puts the configuration in bounds.
    pub(super) fn configure(&mut self) {
        let largest = (YOUNG_END - YOUNG) as usize;
        let max = self.config.nursery_max.clamp(MIN_YOUNG as usize, largest);
        let initial = self.config.nursery_initial.clamp(MIN_YOUNG as usize, max);
        let sixteenth = (self.config.heap_limit / 16).max(MIN_YOUNG as usize);
        self.config.nursery_max = max;
        self.config.nursery_initial = initial.min(sixteenth);
        self.young_wanted = (self.config.nursery_initial as u32).next_multiple_of(GRAIN);
        self.next_full = MIN_GROWTH;
        self.patience = self.config.zeal.map_or(0, |n| n.get());
    }

    /// Room for a small object of `size` bytes. What is there is undefined.
    ///
    /// # Errors
    ///
    /// When there is none, or the heap is damaged.
    ///
    /// # Panics
    ///
    /// Panics when `size` is no multiple of 8, or larger than [`MAX_SMALL`].
    pub fn allocate_small(&mut self, size: u32, world: &mut dyn World) -> Result<u32, HeapError> {
        assert!(size <= MAX_SMALL && size.is_multiple_of(ALIGNMENT));
        self.usable()?;
        if !self.collects() {
            return self.bump_old(u64::from(size), world);
        }
        let due = self.zeal_is_due();
        if due || self.hurry || !self.young_fits(size) {
            let full = self.hurry_full || due && self.stats.minor % 8 == 7;
            self.collect(full, world)?;
            if !self.young_fits(size) {
                return Err(self.full_error());
            }
        }
        Ok(self.bump_young(size))
    }

    /// Room for a small object, if there is some at once; otherwise [`Heap::allocate_small`] finds
    /// some.
    #[inline]
    pub fn try_allocate_small(&mut self, size: u32) -> Option<u32> {
        self.with_ctx(|ctx| {
            let at = ctx.alloc_next;
            let next = at.checked_add(size)?;
            (next <= ctx.alloc_end).then(|| {
                ctx.alloc_next = next;
                at
            })
        })
    }

    /// Room for a small object that the caller is about to write. Until then there is an array of nulls, so
    /// that objects lie without a gap also if a panic of dropped data keeps the caller from it.
    ///
    /// # Errors
    ///
    /// As [`Heap::allocate_small`].
    ///
    /// # Panics
    ///
    /// As [`Heap::allocate_small`].
    pub fn allocate_unwritten(
        &mut self,
        size: u32,
        world: &mut dyn World,
    ) -> Result<u32, HeapError> {
        let at = self.allocate_small(size, world)?;
        // SAFETY: just allocated, aligned, so many bytes; an element takes four.
        unsafe {
            let object = self.base().add(at as usize);
            object.write_bytes(0, size as usize);
            let header = [REFS_TYPE.0, (size - HEADER_SIZE) / 4];
            object.cast::<[u32; 2]>().write(header);
        }
        Ok(at)
    }

    /// Room for an object of any size, filled with zeroes.
    ///
    /// # Errors
    ///
    /// When there is none, or the heap is damaged.
    pub fn allocate_zeroed(&mut self, size: u64, world: &mut dyn World) -> Result<u32, HeapError> {
        if size > u64::from(MAX_SMALL) {
            return self.allocate_large(size, world);
        }
        let size = size as u32;
        let at = match self.try_allocate_small(size) {
            Some(at) => at,
            None => self.allocate_small(size, world)?,
        };
        // SAFETY: room that was just allocated.
        unsafe {
            let at = self.base().add(at as usize);
            at.write_bytes(0, size as usize);
        }
        Ok(at)
    }

    fn allocate_large(&mut self, size: u64, world: &mut dyn World) -> Result<u32, HeapError> {
        if size > MAX_ARRAY {
            return Err(HeapError::TooLarge);
        }
        self.usable()?;
        if !self.collects() {
            return self.bump_old(size, world);
        }
        let bytes = size as usize;
        let due = self.zeal_is_due();
        let crowded = self.old_used() + bytes > self.next_full && self.old_used() > MIN_GROWTH / 4;
        let open = self.young_size > 0;
        if due || crowded || !open || !self.make_room(self.young_size, bytes, world) {
            self.collect(crowded || (open && !due), world)?;
            let fits = |heap: &mut Heap, world: &mut dyn World| {
                heap.nursery_sizes(MIN_YOUNG)
                    .any(|n| heap.make_room(n, bytes, world))
            };
            if !fits(self, world) {
                self.collect(true, world)?;
                if !fits(self, world) {
                    return Err(self.full_error());
                }
            }
        }
        let at = self.old_end;
        let end = at + size as u32;
        let dirty = self.clean.min(end).saturating_sub(at);
        // SAFETY: there is room up to `end`, where no object lies.
        unsafe {
            let at = self.base().add(at as usize);
            at.write_bytes(0, dirty as usize);
        }
        self.old_end = end;
        self.clean = self.clean.max(end);
        self.stats.bytes_allocated += size;
        self.publish();
        Ok(at)
    }

    /// Room without a collector: one object after the other.
    fn bump_old(&mut self, size: u64, world: &mut dyn World) -> Result<u32, HeapError> {
        let at = self.old_end();
        let end = u64::from(at) + size;
        if end > u64::from(self.old_room) && !self.extend_old(end, world) {
            return Err(self.full_error());
        }
        let room = self.old_room;
        self.with_ctx(|ctx| {
            ctx.alloc_next = end as u32;
            ctx.alloc_end = room;
        });
        Ok(at)
    }

    fn extend_old(&mut self, end: u64, world: &mut dyn World) -> bool {
        let need = (end - u64::from(FIRST)) as usize;
        if need > (YOUNG - FIRST) as usize || !self.grant(need, world) {
            return false;
        }
        let room = self.granted.min((YOUNG - FIRST) as usize) as u32 + FIRST;
        let range = self.range.as_mut().expect("reserved");
        if range.commit(room, YOUNG).is_err() {
            return false;
        }
        self.old_room = room;
        true
    }

    /// Whether the heap can be allocated from at all.
    fn usable(&mut self) -> Result<(), HeapError> {
        if self.damaged {
            return Err(HeapError::Corrupt);
        }
        self.reserve()
    }

    fn young_fits(&self, size: u32) -> bool {
        self.young_size > 0 && self.young_end() + size <= YOUNG + self.young_size
    }

    fn bump_young(&mut self, size: u32) -> u32 {
        let at = self.young_end();
        self.with_ctx(|ctx| ctx.alloc_next = at + size);
        self.publish();
        at
    }

    /// Lets compiled code allocate.
    pub(super) fn publish(&mut self) {
        if !self.collects() {
            return;
        }
        let next = self.young_end();
        let closed = self.config.zeal.is_some() || self.hurry || self.damaged;
        let end = if closed { 0 } else { YOUNG + self.young_size };
        self.with_ctx(|ctx| (ctx.alloc_next, ctx.alloc_end) = (next, end));
    }

    fn zeal_is_due(&mut self) -> bool {
        let Some(every) = self.config.zeal else {
            return false;
        };
        self.patience = self.patience.saturating_sub(1);
        let due = self.patience == 0;
        if due {
            self.patience = every.get();
        }
        due
    }

    /// Why there is no room.
    fn full_error(&mut self) -> HeapError {
        match self.refusal.take() {
            Some(error) => HeapError::Host(error),
            None => HeapError::Full,
        }
    }
}

/// Collecting, and the sizes of both spaces.
impl Heap {
    /// Collects the nursery, and all when it is time or `full` says so. Stacks of continuations that are
    /// dead are recycled.
    ///
    /// # Errors
    ///
    /// When the heap is damaged, or has no room for a nursery any more.
    pub fn collect(&mut self, full: bool, world: &mut dyn World) -> Result<(), HeapError> {
        if self.damaged {
            return Err(HeapError::Corrupt);
        }
        if !self.collects() || self.range.is_none() {
            return Ok(());
        }
        self.refusal = None;
        let start = Instant::now();
        let mut roots = std::mem::take(&mut self.roots);
        roots.clear();
        world.roots(&mut roots);
        let found = start.elapsed();
        self.verify_with_zeal(&roots);
        let before = self.young_end() - YOUNG;
        let promoted = self.minor(&roots);
        self.adapt_nursery(before, promoted, found, start.elapsed() - found);
        let now_full = full || self.old_used() > self.next_full || !self.keep_nursery(world);
        let mut room = true;
        if now_full {
            self.full(&roots);
            self.hurry_full = false;
            self.next_full = self.old_used() + self.old_used().max(MIN_GROWTH);
            room = self
                .nursery_sizes(MIN_YOUNG)
                .any(|n| self.make_room(n, 0, world));
        }
        self.verify_with_zeal(&roots);
        // Code may be unmapped before the next one.
        self.frame_maps.clear();
        self.roots = roots;
        self.publish();
        self.stats.add_pause(start.elapsed(), now_full);
        match (self.damaged, room) {
            (true, _) => Err(HeapError::Corrupt),
            (_, false) => Err(self.full_error()),
            _ => Ok(()),
        }
    }

    /// The sizes that the nursery can have, from the one that is wanted down to `least`.
    fn nursery_sizes(&self, least: u32) -> impl Iterator<Item = u32> + use<> {
        let halves = std::iter::successors(Some(self.young_wanted), |n| {
            Some((n / 2).next_multiple_of(GRAIN))
        });
        halves.take_while(move |&n| n >= least)
    }

    /// Gives the nursery the size that is wanted, or a smaller one that is still worth having.
    fn keep_nursery(&mut self, world: &mut dyn World) -> bool {
        let sixteenth = u32::try_from(self.granted / 16).unwrap_or(u32::MAX);
        let least = sixteenth.clamp(MIN_YOUNG, self.young_wanted);
        self.nursery_sizes(least)
            .any(|n| self.make_room(n, 0, world))
    }

    /// Gives the nursery `young` bytes and the old space room for these and `extra` bytes.
    fn make_room(&mut self, young: u32, extra: usize, world: &mut dyn World) -> bool {
        let grain = GRAIN as usize;
        let old = (self.old_used() + extra + young as usize).next_multiple_of(grain);
        let need = old + young as usize;
        if old > (YOUNG - FIRST) as usize || !self.grant(need, world) {
            return false;
        }
        let room = (self.granted - young as usize) / grain * grain;
        let room = room.min((YOUNG - FIRST) as usize) as u32 + FIRST;
        let range = self.range.as_mut().expect("reserved");
        if range.commit(room, YOUNG + young).is_err() {
            return false;
        }
        self.old_room = room;
        self.young_size = young;
        true
    }

    /// Makes sure that the heap may have `need` bytes.
    fn grant(&mut self, need: usize, world: &mut dyn World) -> bool {
        if need <= self.granted {
            self.refusal = None;
            return true;
        }
        let ample = need.max(self.granted + self.granted / 4);
        let ample = ample.next_multiple_of(STEP).min(self.config.heap_limit);
        [ample, need].into_iter().any(|wanted| {
            if wanted < need || wanted > self.config.heap_limit {
                return false;
            }
            match world.may_grow(self.granted, wanted) {
                Ok(agreed) => {
                    if agreed {
                        self.granted = wanted;
                        self.refusal = None;
                    }
                    agreed
                }
                Err(error) => {
                    self.refusal = Some(error);
                    false
                }
            }
        })
    }

    /// Chooses the size of the next nursery by what this one's collection has cost. Finding the roots
    /// costs the same whatever the size: if that is most of it, fewer collections are better. Copying
    /// what survives is what the size decides: half of it when that takes too long again and again (once
    /// may be the system's doing), twice when there is time and much has survived.
    fn adapt_nursery(&mut self, used: u32, promoted: u32, roots: Duration, copying: Duration) {
        let Some(target) = self.config.pause_target else {
            return;
        };
        let wanted = self.young_wanted;
        let long = copying > target && promoted > used / 8;
        self.overlong = if long { self.overlong + 1 } else { 0 };
        let worth_more = promoted > used / 8 || wanted < self.config.nursery_initial as u32;
        let has_time = copying < target / 3 && worth_more && used >= wanted / 2;
        if self.overlong >= PATIENCE {
            self.overlong = 0;
            let smallest = MIN_ADAPTED.min(wanted);
            self.young_wanted = (wanted / 2).next_multiple_of(GRAIN).max(smallest);
        } else if has_time || (roots > copying && roots > target / 8) {
            let largest = self.config.nursery_max as u32 / GRAIN * GRAIN;
            self.young_wanted = wanted.saturating_mul(2).min(largest);
        }
    }
}
