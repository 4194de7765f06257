//! [`Externs`]: the host's data behind `externref`s, beside the heap.
//!
//! A reference leads to a box in the heap ([`EXTERN_TYPE`]) with the number of an entry here; the entry
//! knows its box, so that a damaged box is recognized. When a collection does not find the box, the data
//! is put aside, and dropped once the collection is complete: dropping is the host's code, and may
//! panic.

use super::config::HeapError;
use super::heap::Heap;
use super::shapes::EXTERN_SIZE;
use super::world::World;
use crate::os::panics;
use sarsen_abi::TrapCode;
use sarsen_abi::heap::{EXTERN_TYPE, HEADER_SIZE, YOUNG};
use std::any::Any;
use std::fmt;
use std::num::NonZeroU32;

/// What the host keeps behind a reference.
pub(super) type Data = Box<dyn Any + Send + Sync>;

struct Entry {
    /// Where the box is; zero for an entry that is free.
    at: u32,
    data: Option<Data>,
}

/// The host's data. See the module's page.
#[derive(Default)]
pub(super) struct Externs {
    entries: Vec<Entry>,
    free: Vec<u32>,
    /// The entries whose boxes are young.
    young: Vec<u32>,
    /// Data that is to be dropped.
    dead: Vec<Data>,
}

impl Externs {
    fn insert(&mut self, at: u32, data: Data) -> u32 {
        let entry = Entry {
            at,
            data: Some(data),
        };
        let id = match self.free.pop() {
            Some(id) => {
                self.entries[id as usize] = entry;
                id
            }
            None => {
                self.entries.push(entry);
                self.entries.len() as u32 - 1
            }
        };
        if at >= YOUNG {
            self.young.push(id);
        }
        id
    }

    fn remove(&mut self, id: u32) {
        let entry = &mut self.entries[id as usize];
        entry.at = 0;
        self.dead.extend(entry.data.take());
        self.free.push(id);
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// The nursery was emptied: `fate` tells where a box from there is now, if it has survived.
    pub(super) fn sweep_young(&mut self, fate: impl Fn(u32) -> Option<u32>) {
        let mut young = std::mem::take(&mut self.young);
        for id in young.drain(..) {
            self.settle(id, &fate);
        }
        self.young = young;
    }

    /// The old space was collected: `fate` tells where a box is to be, if it has survived.
    pub(super) fn sweep(&mut self, fate: impl Fn(u32) -> Option<u32>) {
        for id in 0..self.entries.len() as u32 {
            if self.entries[id as usize].at != 0 {
                self.settle(id, &fate);
            }
        }
    }

    fn settle(&mut self, id: u32, fate: impl Fn(u32) -> Option<u32>) {
        let entry = &mut self.entries[id as usize];
        match fate(entry.at) {
            Some(at) => entry.at = at,
            None => self.remove(id),
        }
    }
}

/// As a collection that finds nothing would do.
impl Drop for Externs {
    fn drop(&mut self) {
        let left = self.entries.drain(..).filter_map(|entry| entry.data);
        panics::resume_from_destructor(panics::drop_each(self.dead.drain(..).chain(left)));
    }
}

impl Heap {
    /// Makes a box for `data`.
    ///
    /// # Errors
    ///
    /// When there is no room, or the heap is damaged.
    pub fn new_extern(
        &mut self,
        data: Data,
        world: &mut dyn World,
    ) -> Result<NonZeroU32, HeapError> {
        if self.externs.entries.len() == u32::MAX as usize && self.externs.free.is_empty() {
            return Err(HeapError::Full);
        }
        let at = match self.try_allocate_small(EXTERN_SIZE) {
            Some(at) => at,
            None => self.allocate_small(EXTERN_SIZE, world)?,
        };
        let id = self.externs.insert(at, data);
        // SAFETY: just allocated, so many bytes, aligned.
        unsafe {
            let words = self.base().add(at as usize).cast::<[u32; 4]>();
            words.write([EXTERN_TYPE.0, EXTERN_SIZE, id, 0]);
        }
        Ok(NonZeroU32::new(at).expect("nothing is allocated at null"))
    }

    fn extern_id(&self, at: u32) -> Result<usize, TrapCode> {
        let object = self.check(at, u64::from(EXTERN_SIZE))?;
        // SAFETY: in the heap, aligned.
        let id = unsafe { object.add(HEADER_SIZE as usize).cast::<u32>().read() } as usize;
        match self.externs.entries.get(id) {
            Some(entry) if entry.at == at => Ok(id),
            _ => Err(TrapCode::HeapCorruption),
        }
    }

    /// The host's data in the box at `at`.
    ///
    /// # Errors
    ///
    /// When there is no such box.
    pub fn extern_data(&self, at: u32) -> Result<&(dyn Any + Send + Sync), TrapCode> {
        let entry = &self.externs.entries[self.extern_id(at)?];
        entry.data.as_deref().ok_or(TrapCode::HeapCorruption)
    }

    /// As [`Heap::extern_data`].
    ///
    /// # Errors
    ///
    /// As [`Heap::extern_data`].
    pub fn extern_data_mut(&mut self, at: u32) -> Result<&mut (dyn Any + Send + Sync), TrapCode> {
        let id = self.extern_id(at)?;
        let data = self.externs.entries[id].data.as_deref_mut();
        data.ok_or(TrapCode::HeapCorruption)
    }

    /// How many of the host's objects there are.
    pub fn extern_count(&self) -> usize {
        self.externs.len()
    }

    /// Takes the data whose boxes were not found any more; the caller drops it.
    pub fn take_dead(&mut self) -> Dead {
        Dead(std::mem::take(&mut self.externs.dead))
    }
}

/// Data of the host's that nothing refers to.
#[must_use]
pub struct Dead(Vec<Data>);

impl Dead {
    /// Drops it. Returns the first panic of what was dropped, after all was.
    pub fn drop_all(self) -> Result<(), Box<dyn Any + Send>> {
        panics::drop_each(self.0)
    }
}

impl fmt::Debug for Dead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Dead").field(&self.0.len()).finish()
    }
}
