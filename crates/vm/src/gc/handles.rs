//! [`Handles`]: the references that the host holds.
//!
//! Two kinds. A *stack* of roots with scopes: a [`RootIndex`] is valid until the scope in which it was
//! pushed ends. And *owned* roots ([`OwnedRoot`]), which live as long as somebody has them: they may be
//! dropped anywhere, without the store; what is dropped is put on a list, and its place is used
//! again.
//!
//! A root's slot is written once. What a collection has seen is no longer young, so that a minor one
//! looks only at the roots that came since: holding a million handles costs it nothing.

use std::sync::{Arc, Mutex, PoisonError};

/// A root: one on the stack is valid until its scope ends, an owned one as long as its owner.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RootIndex {
    /// The place on the stack, or with [`OWNED_BIT`] that of an owned root.
    index: u32,
    /// Differs from that of whatever was in the same place before. With 64 bits it does so for ever:
    /// with 32, a host that calls guests for minutes would see a stale index become valid again.
    generation: u64,
}

/// What tells the index of an owned root.
const OWNED_BIT: u32 = 1 << 31;

/// A scope of roots on the stack, to be ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RootScope(usize);

/// A root that lives as long as this or a clone of it.
#[derive(Clone, Debug)]
pub struct OwnedRoot(Arc<Owned>);

#[derive(Debug)]
struct Owned {
    root: RootIndex,
    released: Arc<Released>,
}

impl Owned {
    fn place(&self) -> u32 {
        self.root.index & !OWNED_BIT
    }
}

impl OwnedRoot {
    /// Which root it is. Valid as long as this or a clone of it.
    #[inline]
    pub fn index(&self) -> RootIndex {
        self.0.root
    }
}

/// The places of owned roots that were dropped.
type Released = Mutex<Vec<u32>>;

impl Drop for Owned {
    fn drop(&mut self) {
        let mut released = self.released.lock().unwrap_or_else(PoisonError::into_inner);
        released.push(self.place());
    }
}

#[derive(Clone, Copy, Debug)]
struct Root {
    reference: u32,
    /// Of an owned root: whether [`Handles::owned_young`] has it.
    is_listed: bool,
    generation: u64,
}

/// The references that the host holds. See the module's page.
#[derive(Debug, Default)]
pub(super) struct Handles {
    stack: Vec<Root>,
    /// Changes whenever roots are popped, so that their indices are known to be stale.
    generation: u64,
    /// How many roots on the stack are known not to be young.
    seen: usize,
    owned: Vec<Root>,
    free: Vec<u32>,
    /// The owned roots that may be young.
    owned_young: Vec<u32>,
    released: Arc<Released>,
    /// What the runtime itself holds while it may collect.
    pub(super) temporary: Vec<u32>,
}

impl Handles {
    /// Pushes a root.
    ///
    /// # Panics
    ///
    /// Panics when there are two thousand million already.
    #[inline]
    pub(super) fn push(&mut self, reference: u32) -> RootIndex {
        let index = place(self.stack.len());
        let generation = self.generation;
        self.stack.push(Root {
            reference,
            is_listed: false,
            generation,
        });
        RootIndex { index, generation }
    }

    /// The reference of a root, unless its scope has ended, or its last owner is known to be gone.
    #[inline]
    pub(super) fn get(&self, at: RootIndex) -> Option<u32> {
        let root = if at.index & OWNED_BIT == 0 {
            self.stack.get(at.index as usize)?
        } else {
            self.owned.get((at.index & !OWNED_BIT) as usize)?
        };
        (root.generation == at.generation).then_some(root.reference)
    }

    /// Makes room for more roots on the stack.
    pub(super) fn reserve(&mut self, additional: usize) {
        self.stack.reserve(additional);
    }

    /// Begins a scope.
    #[inline]
    pub(super) fn enter(&self) -> RootScope {
        RootScope(self.stack.len())
    }

    /// Ends a scope: what was pushed since is popped.
    #[inline]
    pub(super) fn exit(&mut self, scope: RootScope) {
        if scope.0 < self.stack.len() {
            self.stack.truncate(scope.0);
            self.generation += 1;
            self.seen = self.seen.min(scope.0);
        }
    }

    /// Makes an owned root.
    ///
    /// # Panics
    ///
    /// Panics when there are two thousand million already.
    pub(super) fn own(&mut self, reference: u32) -> OwnedRoot {
        if self.free.is_empty() {
            self.take_released();
        }
        let place = match self.free.pop() {
            Some(place) => place,
            None => {
                self.owned.push(Root {
                    reference: 0,
                    is_listed: false,
                    generation: 0,
                });
                place(self.owned.len() - 1)
            }
        };
        let owned = &mut self.owned[place as usize];
        owned.reference = reference;
        let root = RootIndex {
            index: place | OWNED_BIT,
            generation: owned.generation,
        };
        if !std::mem::replace(&mut owned.is_listed, true) {
            self.owned_young.push(place);
        }
        let released = Arc::clone(&self.released);
        OwnedRoot(Arc::new(Owned { root, released }))
    }

    /// The reference of an owned root.
    ///
    /// # Panics
    ///
    /// Panics when it is of another store.
    pub(super) fn owned(&self, root: &OwnedRoot) -> u32 {
        assert!(
            Arc::ptr_eq(&self.released, &root.0.released),
            "a root of another store"
        );
        self.owned[root.0.place() as usize].reference
    }

    /// How many roots there are: on the stack, and owned ones.
    pub(super) fn count(&self) -> (usize, usize) {
        let released = self.released.lock().unwrap_or_else(PoisonError::into_inner);
        (
            self.stack.len(),
            self.owned.len() - self.free.len() - released.len(),
        )
    }

    fn take_released(&mut self) {
        let mut released = self.released.lock().unwrap_or_else(PoisonError::into_inner);
        for &place in released.iter() {
            let owned = &mut self.owned[place as usize];
            owned.reference = 0;
            owned.generation += 1;
        }
        self.free.append(&mut released);
    }

    /// Calls `visit` with every slot, or with those only that may refer to something young.
    /// Afterwards, none does.
    pub(super) fn visit(&mut self, all: bool, mut visit: impl FnMut(*mut u32)) {
        self.take_released();
        let start = if all { 0 } else { self.seen };
        for root in &mut self.stack[start..] {
            visit(&raw mut root.reference);
        }
        self.seen = self.stack.len();
        if all {
            for root in &mut self.owned {
                visit(&raw mut root.reference);
            }
        }
        for place in self.owned_young.drain(..) {
            let root = &mut self.owned[place as usize];
            root.is_listed = false;
            if !all {
                visit(&raw mut root.reference);
            }
        }
        self.temporary.iter_mut().for_each(|slot| visit(slot));
    }
}

/// The number of a place among the first `1 << 31`.
fn place(index: usize) -> u32 {
    let place = u32::try_from(index)
        .ok()
        .filter(|place| place & OWNED_BIT == 0);
    place.expect("there are fewer roots than numbers for them")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visited(handles: &mut Handles, all: bool) -> Vec<u32> {
        let mut seen = Vec::new();
        // SAFETY: `visit` passes valid slots.
        handles.visit(all, |slot| seen.push(unsafe { slot.read() }));
        seen
    }

    #[test]
    fn a_root_is_stale_once_its_scope_has_ended_even_if_its_place_is_used_again() {
        let mut handles = Handles::default();
        let outer = handles.push(8);
        let scope = handles.enter();
        let inner = handles.push(16);
        assert_eq!(handles.get(inner), Some(16));
        handles.exit(scope);
        assert_eq!(handles.get(inner), None);
        let next = handles.push(24);
        assert_eq!(handles.get(inner), None);
        assert_eq!(handles.get(next), Some(24));
        assert_eq!(handles.get(outer), Some(8));
    }

    #[test]
    fn an_index_stays_stale_however_many_scopes_have_ended_since() {
        let mut handles = Handles::default();
        let scope = handles.enter();
        let stale = handles.push(16);
        handles.exit(scope);
        // What 2^32 - 1 more scopes leave behind.
        handles.generation += u64::from(u32::MAX);
        handles.push(24);
        assert_eq!(handles.get(stale), None);
        let owned = handles.own(8);
        let stale = owned.index();
        drop(owned);
        drop(handles.own(8));
        handles.take_released();
        handles.owned[0].generation += u64::from(u32::MAX) - 1;
        let again = handles.own(24);
        assert_eq!(again.index().index, stale.index);
        assert_eq!(handles.get(stale), None);
    }

    #[test]
    fn a_minor_collection_sees_each_root_once() {
        let mut handles = Handles::default();
        handles.push(8);
        let kept = handles.own(16);
        assert_eq!(visited(&mut handles, false), [8, 16]);
        assert_eq!(visited(&mut handles, false), []);
        let scope = handles.enter();
        handles.push(24);
        assert_eq!(visited(&mut handles, false), [24]);
        handles.exit(scope);
        handles.push(32);
        assert_eq!(visited(&mut handles, false), [32]);
        assert_eq!(visited(&mut handles, true), [8, 32, 16]);
        drop(kept);
    }

    #[test]
    fn the_index_of_an_owned_root_is_stale_once_its_owner_is_gone_and_its_place_used_again() {
        let mut handles = Handles::default();
        let owned = handles.own(8);
        let index = owned.index();
        assert_eq!(handles.get(index), Some(8));
        drop(owned);
        let next = handles.own(16);
        assert_eq!(handles.get(index), None);
        assert_eq!(handles.get(next.index()), Some(16));
    }

    #[test]
    fn owned_roots_that_come_and_go_without_a_collection_take_no_more_room() {
        let mut handles = Handles::default();
        for n in 0..1000 {
            drop(handles.own(8 * n));
        }
        let room = (handles.owned.len(), handles.owned_young.len());
        assert_eq!(room, (1, 1));
        let kept = handles.own(16);
        assert_eq!(visited(&mut handles, false), [16]);
        drop(kept);
        let kept = handles.own(24);
        assert_eq!(visited(&mut handles, false), [24]);
        drop(kept);
    }

    #[test]
    fn a_million_owned_roots_leave_nothing_behind() {
        let mut handles = Handles::default();
        for _ in 0..3 {
            let all: Vec<_> = (0..1_000_000).map(|i| handles.own(8 * i)).collect();
            let copy = all[77].clone();
            assert_eq!(handles.owned(&all[99_999]), 8 * 99_999);
            drop(all);
            assert_eq!(handles.owned(&copy), 8 * 77);
            drop(copy);
            visited(&mut handles, true);
            assert_eq!(handles.count(), (0, 0));
            assert_eq!(handles.owned.len(), 1_000_000);
        }
        assert!(visited(&mut handles, true).iter().all(|&r| r == 0));
    }
}
