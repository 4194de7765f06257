//! What can be read of a type by its id, without a lock: a row at a fixed address.
//!
//! ```text
//!   rows + 64 * id                                deep + 256 * id   (types at depth 12 and more)
//!   +-------------------------------------+       +--------------------------------------+
//!   | display[0..12]: u32                 |       | display[0..64]: u32                  |
//!   | depth: u32, position in group: u32  |       +--------------------------------------+
//!   | group: *const Group                 |
//!   +-------------------------------------+
//! ```
//!
//! A type's *display* is the list of its ancestors by depth, itself last; what is not used is zero,
//! and no type has the id zero. So `a` is a subtype of `b`, which lies at depth `d`, exactly when
//! `display(a)[d] == b`: one load and one compare, also for compiled code, which knows `d` when it
//! is compiled. Validation limits the depth to [`DEEP`] - 1; a depth of [`SHALLOW`] or more is so rare
//! that its display has a table of its own, whose pages are touched only then.
//!
//! Rows are written by the registry under its lock, and zeroed when a type is removed. Reading the
//! row of a type that nobody holds gives zeroes, or another type's row; it is never unsafe, except
//! following `group` ([`Rows::group`]).

use super::group::Group;
use crate::os::pages::{PAGE_SIZE, Protection, Reservation};
use rustix::io;
use sarsen_abi::TypeId;
use std::mem::size_of;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

/// How many ancestors a row holds, the type itself included.
const SHALLOW: usize = 12;

/// How many ancestors any type has at most, itself included (`wasmparser`'s and the JavaScript
/// embedding's limit of 63 supertypes).
pub(super) const DEEP: usize = 64;

/// How many ids there can be.
const MAX_ROWS: usize = 1 << 22;

/// How many rows are made accessible at a time.
const STEP: usize = 1 << 10;

#[derive(Debug)]
#[repr(C, align(64))]
struct Row {
    display: [AtomicU32; SHALLOW],
    depth: AtomicU32,
    position: AtomicU32,
    group: AtomicPtr<Group>,
}

type DeepDisplay = [AtomicU32; DEEP];

const _: () = {
    assert!(size_of::<Row>() == 64 && size_of::<DeepDisplay>() == 256);
    assert!((STEP * size_of::<Row>()).is_multiple_of(PAGE_SIZE));
};

/// The rows of a registry.
#[derive(Debug)]
pub(super) struct Rows {
    rows: Reservation,
    deep: Reservation,
    /// How many rows are accessible.
    accessible: AtomicU32,
}

impl Rows {
    pub(super) fn new() -> io::Result<Rows> {
        Ok(Rows {
            rows: Reservation::new(MAX_ROWS * size_of::<Row>())?,
            deep: Reservation::new(MAX_ROWS * size_of::<DeepDisplay>())?,
            accessible: AtomicU32::new(0),
        })
    }

    /// Makes sure that ids below `ids` have rows; false when there can be no so many. Called under
    /// the registry's lock.
    pub(super) fn make_room(&self, ids: u32) -> bool {
        let have = self.accessible.load(Ordering::Relaxed) as usize;
        let want = (ids as usize).next_multiple_of(STEP);
        if want <= have {
            return true;
        }
        if want > MAX_ROWS {
            return false;
        }
        let add = |range: &Reservation, size: usize| {
            let (start, len) = (have * size, (want - have) * size);
            // SAFETY: making more accessible invalidates no reference.
            unsafe { range.protect(start, len, Protection::ReadWrite) }
        };
        let added = add(&self.rows, size_of::<Row>())
            .and_then(|()| add(&self.deep, size_of::<DeepDisplay>()));
        if added.is_err() {
            return false;
        }
        self.accessible.store(want as u32, Ordering::Release);
        true
    }

    fn row(&self, id: TypeId) -> Option<&Row> {
        let rows = self.rows.base().cast::<Row>();
        let exists = id.0 < self.accessible.load(Ordering::Acquire);
        // SAFETY: accessible, aligned, and zero is a valid `Row`; it consists of atomics.
        exists.then(|| unsafe { &*rows.add(id.0 as usize) })
    }

    fn deep(&self, id: TypeId) -> Option<&DeepDisplay> {
        let rows = self.deep.base().cast::<DeepDisplay>();
        let exists = id.0 < self.accessible.load(Ordering::Acquire);
        // SAFETY: as in `row`.
        exists.then(|| unsafe { &*rows.add(id.0 as usize) })
    }

    /// Writes the row of a type whose supertype's row is written. Called under the registry's lock.
    ///
    /// # Panics
    ///
    /// Panics when the hierarchy is deeper than validation allows.
    pub(super) fn write(
        &self,
        id: TypeId,
        supertype: Option<TypeId>,
        group: NonNull<Group>,
        position: u32,
    ) {
        let row = self.row(id).expect("there is room for every id given out");
        let depth = supertype.map_or(0, |s| self.depth(s) + 1);
        assert!(depth < DEEP, "subtype depth is limited by validation");
        for at in 0..depth {
            let ancestor = self.ancestor(supertype.expect("depth is not zero"), at);
            self.set_ancestor(id, depth, at, ancestor);
        }
        self.set_ancestor(id, depth, depth, id.0);
        row.depth.store(depth as u32, Ordering::Relaxed);
        row.position.store(position, Ordering::Relaxed);
        row.group.store(group.as_ptr(), Ordering::Release);
    }

    fn set_ancestor(&self, id: TypeId, depth: usize, at: usize, ancestor: u32) {
        if at < SHALLOW {
            self.row(id).expect("id exists").display[at].store(ancestor, Ordering::Relaxed);
        }
        if depth >= SHALLOW {
            self.deep(id).expect("id exists")[at].store(ancestor, Ordering::Relaxed);
        }
    }

    /// Zeroes the row of a type. Called under the registry's lock.
    pub(super) fn clear(&self, id: TypeId) {
        let row = self.row(id).expect("id exists");
        row.group.store(ptr::null_mut(), Ordering::Relaxed);
        if row.depth.load(Ordering::Relaxed) as usize >= SHALLOW {
            for ancestor in self.deep(id).expect("id exists") {
                ancestor.store(0, Ordering::Relaxed);
            }
        }
        for ancestor in &row.display {
            ancestor.store(0, Ordering::Relaxed);
        }
        row.depth.store(0, Ordering::Relaxed);
        row.position.store(0, Ordering::Relaxed);
    }

    fn depth(&self, id: TypeId) -> usize {
        self.row(id)
            .map_or(0, |row| row.depth.load(Ordering::Relaxed) as usize)
    }

    /// The ancestor of `id` at depth `at`, or zero.
    fn ancestor(&self, id: TypeId, at: usize) -> u32 {
        let entry = if at < SHALLOW {
            self.row(id).map(|row| &row.display[at])
        } else {
            self.deep(id).and_then(|display| display.get(at))
        };
        entry.map_or(0, |e| e.load(Ordering::Relaxed))
    }

    /// Whether `expected` is `actual` or one of its ancestors.
    pub(super) fn is_subtype(&self, actual: TypeId, expected: TypeId) -> bool {
        let ancestor = self.ancestor(actual, self.depth(expected));
        actual == expected || (ancestor == expected.0 && ancestor != 0)
    }

    /// The group of a type and its position there.
    ///
    /// The pointer is valid for as long as somebody holds on to the type.
    pub(super) fn group(&self, id: TypeId) -> Option<(NonNull<Group>, usize)> {
        let row = self.row(id)?;
        let group = NonNull::new(row.group.load(Ordering::Acquire))?;
        Some((group, row.position.load(Ordering::Relaxed) as usize))
    }
}
