//! [`Stacks`]: the stacks of a store.
//!
//! All that compiled code sees of them is in the store's [`VmStoreCtx`]: the table by number, and the list
//! of free ones. The functions here that take a context instead of a [`Stacks`] are for the collector and for
//! those who leave compiled code: they find what else they need by [`Stacks::of`].
//!
//! # Invariants
//!
//! - A number whose stack went back to the pool leads to a stack that nobody owns.

use super::host_frame::{DeadFrames, put_aside};
use super::pool::{MARGIN, SizeClass, StackPool};
use super::ran::{Ran, note_ran};
use super::switch;
use crate::os::panics;
use sarsen_abi::TrapCode;
use sarsen_abi::stack::{OWNER_CLEAN, VmStack};
use sarsen_abi::vmctx::{Activation, ValRaw, VmFuncRef, VmStoreCtx};
use std::ptr::{self, NonNull};
use std::sync::Arc;

/// How many stacks may be free in a store before some go back to the pool.
const FREE_LIMIT: u64 = 1024;
/// Arguments and results are on a new stack at most so many times: in the buffer, and in frames.
pub(super) const VALUE_COPIES: usize = 5;
/// How many stacks are taken from the pool at a time at most.
const MAX_BATCH: usize = 32;
/// After so many stacks were taken from the pool, there may be garbage that owns some.
const MIN_PRESSURE: usize = 4096;

/// Why there is no stack for a function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BeginError {
    /// The pool has no stack left, or its limit is reached.
    OutOfStacks,
    /// The function's values would not fit on one.
    TooManyValues,
}

impl From<BeginError> for TrapCode {
    fn from(error: BeginError) -> TrapCode {
        match error {
            BeginError::OutOfStacks => TrapCode::OutOfStacks,
            BeginError::TooManyValues => TrapCode::StackOverflow,
        }
    }
}

/// What should be done about continuations that may be dead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pressure {
    /// Nothing.
    None,
    /// The nursery should be collected.
    Minor,
    /// All should be collected.
    Full,
}

/// The stacks of a store. See the module's page.
#[derive(Debug)]
pub struct Stacks {
    pool: Arc<StackPool>,
    ctx: NonNull<VmStoreCtx>,
    table: Vec<*mut VmStack>,
    /// Numbers whose stacks went back to the pool.
    unused: Vec<u32>,
    /// How many stacks there are at which the nursery, and all, should be collected.
    next_minor: usize,
    next_full: usize,
    /// Those that have run since the last collection.
    pub(super) ran: Ran,
    /// What numbers without a stack lead to.
    nobody: Box<VmStack>,
    /// What host functions have left on stacks that were recycled.
    pub(super) dead: DeadFrames,
}

impl Stacks {
    /// Without any stack.
    ///
    /// # Safety
    ///
    /// `ctx` must be valid for as long as the result is, and its fields for stacks written by compiled
    /// code of that store and by this only. The store's frames must be gone before the result is.
    pub unsafe fn new(pool: &Arc<StackPool>, ctx: NonNull<VmStoreCtx>) -> Box<Stacks> {
        // SAFETY: all zeroes is a block.
        let nobody: Box<VmStack> = Box::new(unsafe { std::mem::zeroed() });
        let mut stacks = Box::new(Stacks {
            pool: Arc::clone(pool),
            ctx,
            table: Vec::new(),
            unused: Vec::new(),
            next_minor: MIN_PRESSURE,
            next_full: 2 * MIN_PRESSURE,
            ran: Ran::default(),
            nobody,
            dead: DeadFrames::default(),
        });
        let nobody = &raw mut *stacks.nobody;
        stacks.table.push(nobody);
        // SAFETY: the caller's promise.
        unsafe {
            (*ctx.as_ptr()).free_limit = FREE_LIMIT;
            (*ctx.as_ptr()).stacks = (&raw mut *stacks).cast();
        }
        stacks.publish();
        stacks
    }

    /// The stacks of the store with this context; null when it has never had one.
    ///
    /// # Safety
    ///
    /// `ctx` must be valid.
    pub(super) unsafe fn of(ctx: *mut VmStoreCtx) -> *mut Stacks {
        // SAFETY: the caller's promise.
        unsafe { (*ctx).stacks.cast() }
    }

    fn publish(&mut self) {
        let ctx = self.ctx.as_ptr();
        // SAFETY: valid (`Stacks::new`).
        unsafe {
            (*ctx).stack_table = self.table.as_ptr();
            if (*ctx).last_suspended.is_null() {
                (*ctx).last_suspended = &raw mut *self.nobody;
            }
            (*ctx).stack_table_length = self.table.len() as u64;
        }
    }

    /// How many stacks the store has from the pool, and how many of them are free.
    pub fn counts(&self) -> (usize, usize) {
        // SAFETY: valid (`Stacks::new`).
        let free = unsafe { (*self.ctx.as_ptr()).free_count } as usize;
        (self.taken(), free)
    }

    /// Takes what host functions have left on stacks that were recycled; the caller drops it.
    pub(crate) fn take_dead(&mut self) -> DeadFrames {
        std::mem::take(&mut self.dead)
    }

    /// How many stacks the store has from the pool.
    pub fn taken(&self) -> usize {
        self.table.len() - 1 - self.unused.len()
    }

    /// A stack on which `func` is about to begin, with room for as many values as `value_count` returns,
    /// which depends on `func` alone; the arguments go to its `values`. It is noted as one that has run.
    ///
    /// # Errors
    ///
    /// When none is free ([`Stacks::refill`]), or it would not have room for the function's values.
    ///
    /// # Safety
    ///
    /// `func` must be a function of this store, whose entry stub works.
    pub unsafe fn begin(
        &mut self,
        func: *const VmFuncRef,
        value_count: impl FnOnce() -> usize,
    ) -> Result<*mut VmStack, BeginError> {
        let ctx = self.ctx.as_ptr();
        // SAFETY: stacks on the free list are ours, and nothing stands on them.
        unsafe {
            let stack = (*ctx).free_stacks;
            if stack.is_null() {
                return Err(BeginError::OutOfStacks);
            }
            if (*stack).func != func {
                // The entry stub needs room for them a few times, and checks no limit.
                let bytes = value_count() * size_of::<ValRaw>();
                let room = stack.expose_provenance() - (*stack).stack_limit;
                if VALUE_COPIES * bytes + MARGIN > room {
                    return Err(BeginError::TooManyValues);
                }
                let buffer = (stack.expose_provenance() - bytes) & !15;
                (*stack).buffer = ptr::with_exposed_provenance_mut(buffer);
                (*stack).func = func;
            }
            let buffer = (*stack).buffer;
            (*ctx).free_stacks = (*stack).next_free;
            (*ctx).free_count -= 1;
            (*stack).values = buffer;
            (*stack).pc = switch::start as *const () as usize;
            (*stack).sp = buffer.addr();
            (*stack).fp = 0;
            (*stack).owner = 0;
            (*stack).chain_end = stack;
            self.ran.note(stack);
            Ok(stack)
        }
    }

    /// How many stacks should be taken from the pool before one begins: none, while there is a free one.
    #[inline]
    pub fn wanted(&self) -> usize {
        // SAFETY: valid (`Stacks::new`).
        if unsafe { !(*self.ctx.as_ptr()).free_stacks.is_null() } {
            return 0;
        }
        (self.taken() / 4).clamp(1, MAX_BATCH)
    }

    /// Takes up to `batch` stacks from the pool.
    #[cold]
    pub fn refill(&mut self, batch: usize) {
        let (ctx, table, unused) = (self.ctx.as_ptr(), &mut self.table, &mut self.unused);
        self.pool.take(SizeClass::Continuation, batch, |stack| {
            let stack = stack.as_ptr();
            let id = match unused.pop() {
                Some(id) => {
                    table[id as usize] = stack;
                    id
                }
                None => {
                    table.push(stack);
                    u32::try_from(table.len() - 1).expect("fewer stacks than numbers")
                }
            };
            // SAFETY: just taken; the context is valid.
            unsafe {
                (*stack).id = id;
                push_free(ctx, stack);
            }
        });
        self.publish();
    }

    /// What should be done about continuations that may be dead, after stacks were taken.
    pub fn pressure(&self) -> Pressure {
        let now = self.taken();
        if now >= self.next_full {
            Pressure::Full
        } else if now >= self.next_minor {
            Pressure::Minor
        } else {
            Pressure::None
        }
    }

    /// A collection is over: `full` tells of what.
    pub fn after_collection(&mut self, full: bool) {
        let (all, free) = self.counts();
        let used = all - free;
        self.next_minor = used + free.min(FREE_LIMIT as usize) + MIN_PRESSURE;
        if full {
            self.next_full = 2 * used + 2 * MIN_PRESSURE;
        }
        if free as u64 > FREE_LIMIT {
            self.trim();
        }
    }

    /// Gives free stacks back to the pool, all but the half of the limit that was used last.
    pub fn trim(&mut self) {
        let ctx = self.ctx.as_ptr();
        let keep = FREE_LIMIT / 2;
        // SAFETY: valid; stacks on the free list are ours.
        unsafe {
            let mut last = (*ctx).free_stacks;
            for _ in 1..keep {
                if last.is_null() {
                    return;
                }
                last = (*last).next_free;
            }
            if last.is_null() {
                return;
            }
            // What was suspended last may be among those that go.
            (*ctx).last_suspended = &raw mut *self.nobody;
            let mut next = std::mem::replace(&mut (*last).next_free, ptr::null_mut());
            (*ctx).free_count = keep;
            let mut back = Vec::new();
            while let Some(stack) = NonNull::new(next) {
                next = (*stack.as_ptr()).next_free;
                let id = (*stack.as_ptr()).id;
                self.table[id as usize] = &raw mut *self.nobody;
                self.unused.push(id);
                self.ran.forget(stack.as_ptr());
                back.push(stack);
            }
            self.pool.give_back(SizeClass::Continuation, back);
        }
    }
}

impl Drop for Stacks {
    fn drop(&mut self) {
        let nobody = &raw mut *self.nobody;
        let mut dead = self.take_dead();
        // SAFETY: nothing runs on the stacks any more.
        unsafe { dead.extend_from(self.table.iter().copied()) };
        let stacks = self.table.iter().filter(|&&stack| stack != nobody);
        let stacks = stacks.map(|&stack| NonNull::new(stack).expect("a stack"));
        self.pool.give_back(SizeClass::Continuation, stacks);
        // SAFETY: valid (`Stacks::new`).
        unsafe {
            let ctx = self.ctx.as_ptr();
            (*ctx).stacks = ptr::null_mut();
            (*ctx).stack_table = ptr::null();
            (*ctx).stack_table_length = 0;
            (*ctx).free_stacks = ptr::null_mut();
            (*ctx).free_count = 0;
        }
        panics::resume_from_destructor(dead.drop_all());
    }
}

/// Trims: see [`crate::arch::start_routine`]. Registered by the store that owns the stacks.
///
/// # Safety
///
/// Called by a stack that has just finished, on the native stack, with its store.
pub(super) unsafe extern "C" fn trim_after_finish(ctx: *mut VmStoreCtx) {
    // SAFETY: a store whose stack has finished has `Stacks`, which nobody else refers to now.
    unsafe { (*Stacks::of(ctx)).trim() };
}

/// The stacks of a suspended chain, from its head on.
///
/// # Safety
///
/// `head` must be the head of a suspended chain, and stay so as long as the result is used.
pub(crate) unsafe fn chain(head: *mut VmStack) -> impl Iterator<Item = *mut VmStack> {
    // SAFETY: the caller's promise.
    let end = unsafe { (*head).chain_end };
    std::iter::successors(Some(head), move |&stack| {
        // SAFETY: stacks of a chain are linked up to its end.
        (stack != end).then(|| unsafe { (*stack).parent })
    })
}

/// The outermost stack of a suspended chain.
///
/// # Safety
///
/// `head` must be the head of a suspended chain.
pub(crate) unsafe fn chain_end(head: *mut VmStack) -> *mut VmStack {
    // SAFETY: the caller's promise.
    unsafe { (*head).chain_end }
}

/// Puts a stack on the list of free ones.
///
/// # Safety
///
/// Nothing may stand on it, and nobody else may own it.
unsafe fn push_free(ctx: *mut VmStoreCtx, stack: *mut VmStack) {
    // SAFETY: the caller's promise.
    unsafe {
        (*stack).owner = 0;
        (*stack).bound = 0;
        (*stack).next_free = (*ctx).free_stacks;
        (*ctx).free_stacks = stack;
        (*ctx).free_count += 1;
    }
}

/// Recycles a suspended chain that nobody will resume. What a host function has left there is put aside
/// ([`Stacks::take_dead`]).
///
/// # Safety
///
/// `head` must be the head of a suspended chain of this store, whose [`Stacks`] must not be borrowed.
pub(crate) unsafe fn recycle(ctx: *mut VmStoreCtx, head: *mut VmStack) {
    // SAFETY: the caller's promise.
    let end = unsafe {
        put_aside(ctx, head);
        (*head).chain_end
    };
    let mut stack = head;
    loop {
        // SAFETY: a stack of the chain.
        unsafe {
            let next = (*stack).parent;
            push_free(ctx, stack);
            if stack == end {
                return;
            }
            stack = next;
        }
    }
}

/// Recycles the stacks of the innermost activation from the running one down to `keep`, which then runs.
///
/// # Safety
///
/// The compiled code that stands on them must be abandoned. Called on the native stack.
pub(crate) unsafe fn recycle_running(ctx: *mut VmStoreCtx, keep: *mut VmStack) {
    // SAFETY: the caller's promise; what runs is linked by `parent`, down to the native stack.
    unsafe {
        let mut stack = (*ctx).current_stack;
        while stack != keep {
            let parent = (*stack).parent;
            push_free(ctx, stack);
            stack = parent;
        }
        (*ctx).current_stack = keep;
        (*ctx).stack_limit = (*keep).stack_limit;
    }
}

/// Recycles the stacks of an asynchronous call that waits and will not go on, from the one that would run down to its
/// base `keep`.
///
/// # Safety
///
/// As [`recycle_running`]; no poll of the call may run.
pub(crate) unsafe fn recycle_abandoned(
    ctx: *mut VmStoreCtx,
    current: *mut VmStack,
    keep: *mut VmStack,
) {
    // SAFETY: the caller's promise. What runs now is none of these.
    unsafe {
        let saved = ((*ctx).current_stack, (*ctx).stack_limit);
        (*ctx).current_stack = current;
        recycle_running(ctx, keep);
        ((*ctx).current_stack, (*ctx).stack_limit) = saved;
    }
}

/// Notes that all stacks of a suspended chain are about to run, and that its owner's reference is plain.
///
/// # Safety
///
/// `head` must be the head of a suspended chain of this store.
pub(crate) unsafe fn relist(ctx: *mut VmStoreCtx, head: *mut VmStack) {
    // SAFETY: the caller's promise.
    unsafe {
        (*head).owner &= !OWNER_CLEAN;
        for stack in chain(head) {
            note_ran(ctx, stack);
        }
    }
}

/// The pool stacks that run or are parents of those, in all activations of a store, innermost first.
///
/// # Safety
///
/// `ctx` must be valid, and no compiled code of it run while the result is used.
pub(crate) unsafe fn running_stacks(ctx: *mut VmStoreCtx) -> impl Iterator<Item = *mut VmStack> {
    // SAFETY: the caller's promise.
    let (mut activation, mut stack): (*mut Activation, *mut VmStack) =
        unsafe { ((*ctx).activation, (*ctx).current_stack) };
    std::iter::from_fn(move || {
        // SAFETY: linked activations and their stacks are alive.
        unsafe {
            while !activation.is_null() {
                let this = stack;
                if !(*this).parent.is_null() {
                    stack = (*this).parent;
                    return Some(this);
                }
                stack = (*activation).previous_stack;
                activation = (*activation).previous;
            }
        }
        None
    })
}
