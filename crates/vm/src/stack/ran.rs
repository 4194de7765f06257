//! [`Ran`]: the stacks of a store that have run since the last collection.
//!
//! References to young objects are in the frames of these only. So a minor collection looks at no other
//! stack, however many are suspended.
//!
//! # Invariants
//!
//! - Every running or parent pool stack is here, and so is every suspended one whose owner is young or whose
//!   frames refer to what is.
//! - [`VmStack::ran_place`] of a stack is its place here plus one; zero when it has none.

use super::stacks::{Stacks, recycle, running_stacks};
use crate::arch;
use sarsen_abi::stack::{OWNER_CLEAN, VmStack};
use sarsen_abi::vmctx::VmStoreCtx;

/// How many blocks ahead of the current one are fetched.
const AHEAD: usize = 8;

/// The stacks that have run. See the module's page.
#[derive(Debug, Default)]
pub(super) struct Ran(Vec<*mut VmStack>);

impl Ran {
    /// Notes that a stack has run.
    ///
    /// # Safety
    ///
    /// It must be a stack of this store.
    #[inline]
    pub(super) unsafe fn note(&mut self, stack: *mut VmStack) {
        // SAFETY: the caller's promise.
        unsafe {
            if (*stack).ran_place == 0 {
                self.0.push(stack);
                (*stack).ran_place = self.0.len() as u32;
            }
        }
    }

    /// Forgets a stack, which may not be here.
    ///
    /// # Safety
    ///
    /// It must be a stack of this store, as all that are here.
    pub(super) unsafe fn forget(&mut self, stack: *mut VmStack) {
        // SAFETY: the caller's promise.
        unsafe {
            let place = std::mem::take(&mut (*stack).ran_place);
            if let Some(at) = (place as usize).checked_sub(1) {
                self.0.swap_remove(at);
                if let Some(&moved) = self.0.get(at) {
                    (*moved).ran_place = place;
                }
            }
        }
    }

    /// The stack at a place, while those after it are being fetched.
    fn get(&self, at: usize) -> Option<*mut VmStack> {
        if let Some(&ahead) = self.0.get(at + AHEAD) {
            arch::prefetch(ahead.cast());
        }
        self.0.get(at).copied()
    }
}

/// Notes that a stack has run.
///
/// # Safety
///
/// It must be a stack of this store, whose [`Stacks`] must not be borrowed.
pub(super) unsafe fn note_ran(ctx: *mut VmStoreCtx, stack: *mut VmStack) {
    // SAFETY: the caller's promise: what has a stack has `Stacks`.
    unsafe { (*Stacks::of(ctx)).ran.note(stack) }
}

/// The stacks that have run since the last collection.
///
/// # Safety
///
/// `ctx` must be valid, no compiled code of it run, and its [`Stacks`] not be borrowed while the result is used.
pub(crate) unsafe fn ran_stacks(ctx: *mut VmStoreCtx) -> impl Iterator<Item = *mut VmStack> {
    // SAFETY: the caller's promise.
    let stacks = unsafe { Stacks::of(ctx) };
    (0..).map_while(move |at| {
        if stacks.is_null() {
            return None;
        }
        // SAFETY: the caller's promise; the borrow ends here.
        unsafe { (*stacks).ran.get(at) }
    })
}

/// Ends a minor collection, after which nothing young is in any frame: recycles the suspended chains whose
/// owners were young and are dead. What else is suspended is clean, and only what runs stays noted.
///
/// # Safety
///
/// As [`ran_stacks`]; nobody may use the chains of owners of which `is_dead` is true.
pub(crate) unsafe fn settle_ran(ctx: *mut VmStoreCtx, is_dead: impl Fn(u32) -> bool) {
    // SAFETY: the caller's promise.
    unsafe {
        for stack in ran_stacks(ctx) {
            (*stack).ran_place = 0;
            let owner = (*stack).owner & !OWNER_CLEAN;
            if owner != 0 && is_dead(owner) {
                recycle(ctx, stack);
            } else if owner != 0 {
                (*stack).owner |= OWNER_CLEAN;
            }
        }
        let stacks = Stacks::of(ctx);
        if stacks.is_null() {
            return;
        }
        (*stacks).ran.0.clear();
        for stack in running_stacks(ctx) {
            // The base of an asynchronous call is no continuation's, and found by walking.
            if (*stack).id != 0 {
                note_ran(ctx, stack);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_is_noted_once_and_others_are_found_when_one_was_forgotten() {
        // SAFETY: all zeroes is a block.
        let mut blocks: [VmStack; 4] = unsafe { std::mem::zeroed() };
        let stacks = blocks.each_mut().map(|block| &raw mut *block);
        let mut ran = Ran::default();
        let places = |ran: &Ran| -> Vec<Option<usize>> {
            let place = |stack| ran.0.iter().position(|&noted| noted == stack);
            stacks.map(place).to_vec()
        };
        // SAFETY: the blocks are ours.
        unsafe {
            for &stack in stacks[..3].iter().chain(&stacks[1..2]) {
                ran.note(stack);
            }
            assert_eq!(places(&ran), [Some(0), Some(1), Some(2), None]);
            for stack in [stacks[0], stacks[3], stacks[0]] {
                ran.forget(stack);
            }
            assert_eq!(places(&ran), [None, Some(1), Some(0), None]);
            ran.note(stacks[3]);
            ran.forget(stacks[2]);
            assert_eq!(places(&ran), [None, Some(1), None, Some(0)]);
            let kept = stacks.map(|stack| (*stack).ran_place);
            assert_eq!(kept, [0, 2, 0, 1]);
        }
    }
}
