//! What can be read of a type by its id, without a lock: a row at a fixed address.
//!
//! ```text
//!   rows + id                                     deep + DEEP_SCALE * id  (types at depth 12 and more)
//!   +-------------------------------------+       +--------------------------------------+
//!   | display[0..12]: u32                 |       | display[0..64]: u32                  |
//!   | depth, kind: u16, position: u32     |       +--------------------------------------+
//!   | group: *const Group                 |
//!   +-------------------------------------+
//! ```
//!
//! An id is its row's place in bytes ([`sarsen_abi::heap`]), so that compiled code adds and loads. A
//! type's *display* is the list of its ancestors by depth, itself last; what is not used is zero,
//! and no type has the id zero. So `a` is a subtype of `b`, which lies at depth `d`, exactly when
//! `display(a)[d] == b`: one load and one compare, also for compiled code, which knows `d` when it
//! is compiled. Validation limits the depth to [`DEEP`] - 1; a depth of [`SHALLOW`] or more is so rare
//! that its display has a table of its own, whose pages are touched only then.
//!
//! Rows are written by the registry under its lock, and zeroed when a type is removed. Reading the
//! row of a type that nobody holds gives zeroes, or another type's row; it is never unsafe, except
//! following `group` ([`Rows::group`]).
//!
//! Compiled code takes the id from an object's header, which may be damaged. Any 32 bits lead into
//! the two reservations, to what is a number or faults ([`Rows::contains`]); nothing else is there.

use super::group::Group;
use crate::os::pages::{PAGE_SIZE, Protection, Reservation};
use rustix::io;
use sarsen_abi::TypeId;
use sarsen_abi::heap::{
    CONT_TYPE, DEEP, DEEP_SCALE, EXN_TYPE, EXTERN_TYPE, FIRST_TYPE, Kind, ROW_SIZE, SHALLOW,
    TypeRow,
};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// How many ids there can be, those included that no type gets.
const MAX_ROWS: usize = 1 << 24;

/// How many bytes of rows are made accessible at a time.
const STEP: usize = 64 << 10;

/// Every number of 32 bits as an id, and a row from there.
const ROWS_RESERVED: usize = (1 << 32) + PAGE_SIZE;

/// The same for the deep displays.
const DEEP_RESERVED: usize = (DEEP_SCALE as usize) * (1 << 32) + PAGE_SIZE;

type DeepDisplay = [AtomicU32; DEEP];

const _: () = {
    assert!(size_of::<DeepDisplay>() == (DEEP_SCALE * ROW_SIZE) as usize);
    assert!(size_of::<TypeRow>() <= PAGE_SIZE && size_of::<DeepDisplay>() <= PAGE_SIZE);
    assert!(STEP.is_multiple_of(PAGE_SIZE));
    assert!(MAX_ROWS * ROW_SIZE as usize <= 1 << 32);
};

/// The rows of a registry.
#[derive(Debug)]
pub(super) struct Rows {
    rows: Reservation,
    deep: Reservation,
    /// How many bytes of rows are accessible.
    accessible: AtomicUsize,
}

impl Rows {
    /// Only the rows of the reserved ids.
    pub(super) fn new() -> io::Result<Rows> {
        let rows = Rows {
            rows: Reservation::new(ROWS_RESERVED)?,
            deep: Reservation::new(DEEP_RESERVED)?,
            accessible: AtomicUsize::new(0),
        };
        rows.grow(FIRST_TYPE.0 as usize)?;
        for (id, kind) in [
            (EXTERN_TYPE, Kind::Extern),
            (EXN_TYPE, Kind::Exn),
            (CONT_TYPE, Kind::Cont),
        ] {
            let row = rows.row(id).expect("just made accessible");
            row.display[0].store(id.0, Ordering::Relaxed);
            row.kind.store(kind as u16, Ordering::Relaxed);
        }
        Ok(rows)
    }

    /// Where the rows begin.
    pub(super) fn base(&self) -> *const u8 {
        self.rows.base()
    }

    /// Where the deep displays begin.
    pub(super) fn deep_base(&self) -> *const u8 {
        self.deep.base()
    }

    /// Whether `address` is among what ids can lead to.
    pub(super) fn contains(&self, address: usize) -> bool {
        self.rows.contains(address) || self.deep.contains(address)
    }

    /// Makes sure that ids below `end` have rows; false when there can be no so many. Called under
    /// the registry's lock.
    pub(super) fn make_room(&self, end: TypeId) -> bool {
        let end = end.0 as usize;
        end <= MAX_ROWS * ROW_SIZE as usize && self.grow(end).is_ok()
    }

    fn grow(&self, end: usize) -> io::Result<()> {
        let have = self.accessible.load(Ordering::Relaxed);
        let want = end.next_multiple_of(STEP);
        if want <= have {
            return Ok(());
        }
        let add = |range: &Reservation, scale: usize| {
            let (start, len) = (have * scale, (want - have) * scale);
            // SAFETY: making more accessible invalidates no reference.
            unsafe { range.protect(start, len, Protection::ReadWrite) }
        };
        add(&self.rows, 1)?;
        add(&self.deep, DEEP_SCALE as usize)?;
        self.accessible.store(want, Ordering::Release);
        Ok(())
    }

    #[inline]
    fn exists(&self, id: TypeId) -> bool {
        let at = id.0 as usize;
        id.0.is_multiple_of(ROW_SIZE) && at < self.accessible.load(Ordering::Acquire)
    }

    #[inline]
    fn row(&self, id: TypeId) -> Option<&TypeRow> {
        let rows = self.rows.base().cast::<TypeRow>();
        let at = (id.0 / ROW_SIZE) as usize;
        // SAFETY: accessible, aligned, and zero is a valid row; it consists of atomics.
        self.exists(id).then(|| unsafe { &*rows.add(at) })
    }

    fn deep(&self, id: TypeId) -> Option<&DeepDisplay> {
        let displays = self.deep.base().cast::<DeepDisplay>();
        let at = (id.0 / ROW_SIZE) as usize;
        // SAFETY: as in `row`.
        self.exists(id).then(|| unsafe { &*displays.add(at) })
    }

    /// Writes the row of a type whose supertype's row is written. Called under the registry's lock.
    ///
    /// # Panics
    ///
    /// Panics when the hierarchy is deeper than validation allows.
    pub(super) fn write(
        &self,
        id: TypeId,
        kind: Kind,
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
        row.depth.store(depth as u16, Ordering::Relaxed);
        row.kind.store(kind as u16, Ordering::Relaxed);
        row.position.store(position, Ordering::Relaxed);
        row.group.store(group.as_ptr().cast(), Ordering::Release);
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
        row.kind.store(Kind::None as u16, Ordering::Relaxed);
        row.position.store(0, Ordering::Relaxed);
    }

    /// What the type with this id is; [`Kind::None`] when there is none.
    pub(super) fn kind(&self, id: TypeId) -> Kind {
        let kind = self.row(id).map(|row| row.kind.load(Ordering::Relaxed));
        kind.and_then(Kind::from_number).unwrap_or(Kind::None)
    }

    /// How many ancestors a type has, itself not included.
    pub(super) fn depth(&self, id: TypeId) -> usize {
        self.row(id)
            .map_or(0, |row| row.depth.load(Ordering::Relaxed) as usize)
    }

    /// The ancestor of `id` at depth `at`, or zero.
    #[inline]
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
        self.is_subtype_at(actual, expected, self.depth(expected))
    }

    /// As [`Rows::is_subtype`], where it is known at which depth `expected` lies.
    #[inline]
    pub(super) fn is_subtype_at(&self, actual: TypeId, expected: TypeId, depth: usize) -> bool {
        actual == expected || (expected.0 != 0 && self.ancestor(actual, depth) == expected.0)
    }

    /// The group of a type and its position there.
    ///
    /// The pointer is valid for as long as somebody holds on to the type.
    pub(super) fn group(&self, id: TypeId) -> Option<(NonNull<Group>, usize)> {
        let row = self.row(id)?;
        let group = NonNull::new(row.group.load(Ordering::Acquire).cast())?;
        Some((group, row.position.load(Ordering::Relaxed) as usize))
    }
}
