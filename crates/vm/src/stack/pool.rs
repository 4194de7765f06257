//! [`StackPool`]: an engine's stacks that no store uses, and the address space that all are in.
//!
//! ```text
//!   slab, one mapping:  | guard | stack 0        | guard | stack 1        | guard | stack 2 ...
//!                         4 KiB   size             4 KiB
//! ```
//!
//! A slab is mapped as a whole, readable and writable, and commits memory as it is touched. Guards are
//! installed by the batch, before stacks are first used; with `MADV_GUARD_INSTALL` this splits no mapping, so
//! that there is no limit but memory to the number of stacks. Because of the guards, the stacks' ends
//! are an odd number of pages apart, and do not compete for the same few sets of a cache.
//!
//! Most of what a fresh stack costs is its first page, about 1.5 us: to have the system make the first pages of
//! many stacks with one call (`MADV_POPULATE_WRITE`) was measured to cost the same.
//!
//! # Invariants
//!
//! - A stack is in use by one store, or idle, or not yet made.
//! - Of the idle ones, at most [`StackConfig::warm`] keep their memory.

use crate::os::pages::{PAGE_SIZE, Reservation, decommit_at};
use sarsen_abi::stack::VmStack;
use std::ptr::{self, NonNull};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What an engine's stacks are configured with.
#[derive(Clone, Debug)]
pub struct StackConfig {
    /// The size of a continuation's stack, in bytes; rounded up to pages, and at least 32 KiB.
    pub continuation_size: usize,
    /// The size of the stack of an asynchronous call, in bytes; as above.
    pub async_size: usize,
    /// How many stacks there may be in use at once.
    pub max_stacks: usize,
    /// How many idle stacks keep their memory.
    pub warm: usize,
}

impl Default for StackConfig {
    fn default() -> Self {
        StackConfig {
            continuation_size: 64 << 10,
            async_size: 2 << 20,
            max_stacks: 4 << 20,
            warm: 8192,
        }
    }
}

/// What a stack is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SizeClass {
    /// A continuation.
    Continuation,
    /// An asynchronous call.
    Async,
}

/// How many stacks an engine has.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct PoolCounts {
    /// Those that stores use, free ones of theirs included.
    pub in_use: usize,
    /// Those that wait to be used again.
    pub idle: usize,
    /// Those idle ones that keep their memory.
    pub warm: usize,
}

/// The guard of a stack, in bytes.
const GUARD: usize = PAGE_SIZE;
/// Between the guard and the lowest stack pointer that a prologue accepts, in bytes.
pub(super) const MARGIN: usize = 4 << 10;
/// The smallest stack, in bytes.
const MIN_SIZE: usize = 32 << 10;
/// The largest, in bytes: more than the system has room for, and little enough to calculate with.
const MAX_SIZE: usize = 1 << 60;
/// How much address space a slab takes at most, in bytes, unless a stack is larger.
const MAX_SLAB: usize = 64 << 20;
/// The first slab has room for so many stacks.
const FIRST_SLAB: usize = 16;
/// So many guards are installed at a time at most.
const MAX_GUARDED: usize = 64;
/// Blocks begin at one of so many distances from the stack's end.
const COLORS: usize = 8;
/// The difference between two of these distances, in bytes.
const COLOR: usize = 384;
/// The room for a block, in bytes.
const BLOCK: usize = size_of::<VmStack>().next_multiple_of(64);

const _: () = assert!((COLORS - 1) * COLOR + BLOCK + 512 <= PAGE_SIZE);

/// An engine's stacks. See the module's page.
#[derive(Debug)]
pub struct StackPool {
    classes: [Mutex<Class>; 2],
    max_stacks: usize,
    warm: usize,
}

/// The stacks of one size.
#[derive(Debug)]
struct Class {
    /// Without the guard, in bytes.
    size: usize,
    slabs: Vec<Reservation>,
    /// How many stacks were made in the last slab, and how many fit.
    made: usize,
    room: usize,
    /// How many of those that fit have their guards.
    guarded: usize,
    /// Idle stacks whose memory was given back.
    cold: Vec<Idle>,
    /// Idle stacks that have memory.
    warm: Vec<Idle>,
    in_use: usize,
}

/// The block of an idle stack.
#[derive(Debug)]
struct Idle(NonNull<VmStack>);

// SAFETY: an idle stack belongs to nobody but the pool.
unsafe impl Send for Idle {}

impl StackPool {
    /// Without any stack yet.
    pub fn new(config: &StackConfig) -> StackPool {
        let class = |size: usize| {
            Mutex::new(Class {
                size: size.clamp(MIN_SIZE, MAX_SIZE).next_multiple_of(PAGE_SIZE),
                slabs: Vec::new(),
                made: 0,
                room: 0,
                guarded: 0,
                cold: Vec::new(),
                warm: Vec::new(),
                in_use: 0,
            })
        };
        StackPool {
            classes: [class(config.continuation_size), class(config.async_size)],
            max_stacks: config.max_stacks,
            warm: config.warm,
        }
    }

    fn class(&self, class: SizeClass) -> MutexGuard<'_, Class> {
        self.classes[class as usize]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up to `count` stacks, and passes their blocks to `each`: `low` and `stack_limit` are right,
    /// and everything else is zero. Returns how many there were: fewer when the limit is reached or the
    /// system has no more.
    pub(super) fn take(
        &self,
        class: SizeClass,
        count: usize,
        mut each: impl FnMut(NonNull<VmStack>),
    ) -> usize {
        let mut class = self.class(class);
        let count = count.min(self.max_stacks.saturating_sub(class.in_use));
        for taken in 0..count {
            let Some(stack) = class.next() else {
                return taken;
            };
            class.in_use += 1;
            each(stack);
        }
        count
    }

    /// Takes stacks back, on which nothing stands any more.
    pub(super) fn give_back(
        &self,
        class: SizeClass,
        stacks: impl IntoIterator<Item = NonNull<VmStack>>,
    ) {
        let mut class = self.class(class);
        let mut stacks = stacks.into_iter();
        let room = self.warm.saturating_sub(class.warm.len());
        let before = class.warm.len();
        class.warm.extend(stacks.by_ref().take(room).map(Idle));
        let mut cold: Vec<usize> = stacks
            .map(|stack| stack.as_ptr().expose_provenance())
            .collect();
        class.in_use -= class.warm.len() - before + cold.len();
        cold.sort_unstable();
        class.chill(&cold);
    }

    /// How many stacks there are of a size.
    pub fn counts(&self, class: SizeClass) -> PoolCounts {
        let class = self.class(class);
        PoolCounts {
            in_use: class.in_use,
            idle: class.warm.len() + class.cold.len(),
            warm: class.warm.len(),
        }
    }
}

impl Class {
    fn next(&mut self) -> Option<NonNull<VmStack>> {
        let stack = match self.warm.pop().or_else(|| self.cold.pop()) {
            Some(idle) => idle.0,
            None => self.make()?,
        };
        let low = low_of(stack.as_ptr().expose_provenance(), self.size);
        // SAFETY: a stack that nobody uses, with room for its block.
        unsafe {
            ptr::write_bytes(stack.as_ptr(), 0, 1);
            (*stack.as_ptr()).low = low;
            (*stack.as_ptr()).stack_limit = low + MARGIN;
        }
        Some(stack)
    }

    /// Makes a stack that never was.
    fn make(&mut self) -> Option<NonNull<VmStack>> {
        let stride = GUARD + self.size;
        if self.made == self.room {
            let most = (MAX_SLAB / stride).max(1);
            let room = (2 * self.room).clamp(FIRST_SLAB.min(most), most);
            let slab = Reservation::new_zeroed(room * stride).ok()?;
            slab.use_small_pages();
            self.slabs.push(slab);
            (self.made, self.guarded, self.room) = (0, 0, room);
        }
        let slab = self.slabs.last().expect("just made");
        let at = self.made * stride;
        if self.made == self.guarded {
            let batch = self.made.clamp(1, MAX_GUARDED).min(self.room - self.made);
            // SAFETY: these stacks are new: nobody uses them.
            unsafe { slab.guard(at, GUARD, stride, batch).ok()? };
            self.guarded += batch;
        }
        let color = self.made % COLORS * COLOR;
        self.made += 1;
        NonNull::new(slab.ptr_at(at + stride - color - BLOCK).cast())
    }

    /// Gives the memory of stacks back that become idle: of neighbours with one system call. The addresses
    /// are ascending.
    fn chill(&mut self, stacks: &[usize]) {
        let stride = GUARD + self.size;
        let low_of = |&stack: &usize| low_of(stack, self.size);
        for run in stacks.chunk_by(|a, b| low_of(a) + stride == low_of(b)) {
            let start = low_of(&run[0]);
            // SAFETY: nothing stands on an idle stack, and between neighbours there are guards.
            let done = unsafe { decommit_at(start, run.len() * stride - GUARD) };
            let list = if done { &mut self.cold } else { &mut self.warm };
            list.extend(run.iter().filter_map(|&stack| {
                NonNull::new(ptr::with_exposed_provenance_mut(stack)).map(Idle)
            }));
        }
    }
}

/// The lowest usable address of a stack of this size: its block is in its highest page.
fn low_of(stack: usize, size: usize) -> usize {
    (stack & !(PAGE_SIZE - 1)) + PAGE_SIZE - size
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(max_stacks: usize, warm: usize) -> StackPool {
        StackPool::new(&StackConfig {
            max_stacks,
            warm,
            ..StackConfig::default()
        })
    }

    fn take(pool: &StackPool, count: usize) -> Vec<NonNull<VmStack>> {
        let mut stacks = Vec::new();
        pool.take(SizeClass::Continuation, count, |stack| stacks.push(stack));
        stacks
    }

    #[test]
    fn stacks_do_not_overlap_and_can_be_written_down_to_their_guards() {
        let pool = pool(100, 100);
        let mut ranges: Vec<(usize, usize)> = take(&pool, 100)
            .into_iter()
            .map(|stack| {
                // SAFETY: ours.
                let low = unsafe { (*stack.as_ptr()).low };
                let byte: *mut u8 = ptr::with_exposed_provenance_mut(low);
                // SAFETY: the lowest byte of a stack that is ours.
                unsafe { byte.write(1) };
                (low, stack.addr().get() + size_of::<VmStack>())
            })
            .collect();
        ranges.sort_unstable();
        assert!(ranges.windows(2).all(|w| w[0].1 + GUARD <= w[1].0));
        assert!(
            ranges
                .iter()
                .all(|r| r.1 - r.0 <= 64 << 10 && r.1 - r.0 > 60 << 10)
        );
    }

    #[test]
    fn stacks_of_a_size_that_no_system_has_are_no_stacks() {
        for size in [usize::MAX, usize::MAX - PAGE_SIZE + 1, 1 << 63] {
            let pool = StackPool::new(&StackConfig {
                continuation_size: size,
                async_size: size,
                ..StackConfig::default()
            });
            assert!(take(&pool, 1).is_empty());
        }
    }

    #[test]
    fn no_more_stacks_are_given_than_the_limit_and_all_come_back() {
        let pool = pool(40, 10);
        let stacks = take(&pool, 100);
        assert_eq!(stacks.len(), 40);
        assert!(take(&pool, 1).is_empty());
        pool.give_back(SizeClass::Continuation, stacks);
        let counts = pool.counts(SizeClass::Continuation);
        let expected = PoolCounts {
            in_use: 0,
            idle: 40,
            warm: 10,
        };
        assert_eq!(counts, expected);
        assert_eq!(take(&pool, 40).len(), 40);
        assert_eq!(pool.counts(SizeClass::Continuation).idle, 0);
    }

    #[test]
    fn guards_stay_when_memory_is_given_back() {
        let pool = pool(200, 0);
        let is_accessible = |address: usize| {
            let mut ends = [0; 2];
            // SAFETY: the system reads a byte, and says so if it cannot.
            unsafe {
                assert_eq!(libc::pipe(ends.as_mut_ptr()), 0);
                let written = libc::write(ends[1], ptr::with_exposed_provenance(address), 1);
                for end in ends {
                    libc::close(end);
                }
                written == 1
            }
        };
        for _ in 0..2 {
            let stacks = take(&pool, 200);
            for stack in &stacks {
                // SAFETY: ours.
                let low = unsafe { (*stack.as_ptr()).low };
                assert!(
                    is_accessible(low) && !is_accessible(low - 1) && !is_accessible(low - GUARD)
                );
            }
            pool.give_back(SizeClass::Continuation, stacks);
        }
    }

    #[test]
    fn a_stack_that_was_given_back_is_clean() {
        let pool = pool(1, 0);
        let stack = take(&pool, 1)[0];
        // SAFETY: ours.
        let low = unsafe {
            (*stack.as_ptr()).owner = 5;
            (*stack.as_ptr()).low
        };
        pool.give_back(SizeClass::Continuation, [stack]);
        let again = take(&pool, 1)[0];
        assert_eq!(again, stack);
        // SAFETY: ours.
        unsafe { assert_eq!(((*again.as_ptr()).owner, (*again.as_ptr()).low), (0, low)) };
    }
}
