//! What the collector asks of those above it: where references into the heap are kept, and whether
//! the heap may grow.

use std::any::Any;
use std::fmt;

/// An error of the embedder's, opaque here: the API crate puts its own type in and takes it out again
/// unchanged.
pub type HostError = Box<dyn Any + Send>;

/// What surrounds a heap. A store implements it.
pub trait World {
    /// Adds every slot outside of the heap that holds a collected reference, or null: those in
    /// frames, in globals, in tables and in segments. Handles are in the heap's own keeping.
    fn roots(&mut self, roots: &mut Roots);

    /// Whether the heap may have `wanted` bytes instead of `now`.
    ///
    /// # Errors
    ///
    /// What the embedder's limiter returns.
    fn may_grow(&mut self, now: usize, wanted: usize) -> Result<bool, HostError>;
}

/// Slots outside of the heap that hold collected references.
///
/// The slots must stay where they are, and be used by nobody else, until the collection is over.
#[derive(Default)]
pub struct Roots {
    pub(super) slots: Vec<*mut u32>,
    /// The elements of tables: their first, and how many. Young references in them are remembered.
    pub(super) tables: Vec<(*mut u32, usize)>,
}

impl Roots {
    /// Adds a slot.
    #[inline]
    pub fn slot(&mut self, slot: *mut u32) {
        self.slots.push(slot);
    }

    /// Adds the elements of a table, into which young references are never written without the
    /// barrier.
    pub fn table(&mut self, first: *mut u32, length: usize) {
        self.tables.push((first, length));
    }

    pub(super) fn clear(&mut self) {
        self.slots.clear();
        self.tables.clear();
    }

    /// Every slot, those of tables included.
    pub(super) fn all(&self) -> impl Iterator<Item = *mut u32> + '_ {
        // Within the table: see `table`.
        let tables = self
            .tables
            .iter()
            .flat_map(|&(first, length)| (0..length).map(move |i| first.wrapping_add(i)));
        self.slots.iter().copied().chain(tables)
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Roots")
            .field("slots", &self.slots.len())
            .field("tables", &self.tables.len())
            .finish()
    }
}
