//! What the runtime asks its embedder while it runs a store: may this grow, what now that the
//! epoch's deadline has passed.
//!
//! The API crate implements [`Upcalls`] on its typed store and registers it with
//! [`super::Store::set_upcalls`]. A store without upcalls grows without limit and traps at its
//! epoch deadline and when its fuel is used up.

use super::reason::{HostError, Reason};

/// Answers to a store's questions.
///
/// While it answers whether something may grow, an implementation may do what it likes with its own
/// data, but must not use the store that asks: its memories and tables are being changed. While it
/// answers [`Upcalls::new_epoch`] or [`Upcalls::out_of_fuel`] it may use the store as a host function
/// may.
pub trait Upcalls {
    /// Whether a linear memory may have `desired` bytes instead of `current` (0 when it is created).
    /// `maximum` is what its type allows, in bytes.
    ///
    /// # Errors
    ///
    /// An error, as opposed to `Ok(false)`, ends the guest's call with that error.
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool, HostError>;

    /// A growth that was allowed has failed, or one is impossible whatever the limit.
    ///
    /// # Errors
    ///
    /// An error ends the guest's call with that error, instead of telling the guest -1.
    fn memory_grow_failed(&mut self, message: &str) -> Result<(), HostError>;

    /// Whether a table may have `desired` elements instead of `current` (0 when it is created).
    ///
    /// # Errors
    ///
    /// As [`Upcalls::memory_growing`].
    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool, HostError>;

    /// As [`Upcalls::memory_grow_failed`], for a table.
    ///
    /// # Errors
    ///
    /// As [`Upcalls::memory_grow_failed`].
    fn table_grow_failed(&mut self, message: &str) -> Result<(), HostError>;

    /// Whether the store's collected heap may have `desired` bytes instead of `current`.
    ///
    /// # Errors
    ///
    /// As [`Upcalls::memory_growing`].
    fn heap_growing(&mut self, current: usize, desired: usize) -> Result<bool, HostError>;

    /// How much the store may hold; asked before each instantiation.
    fn limits(&self) -> ResourceCounts;

    /// The epoch's deadline has passed; `epoch` is the engine's epoch now. The answer is the new
    /// deadline.
    ///
    /// # Errors
    ///
    /// A reason ends the guest's call with that reason.
    fn new_epoch(&mut self, epoch: u64) -> Result<u64, Reason>;

    /// The store's fuel is used up, and no more is in reserve. The answer is how much more it gets;
    /// what compiled code has used beyond what it had is taken from it.
    ///
    /// # Errors
    ///
    /// A reason ends the guest's call with that reason.
    fn out_of_fuel(&mut self) -> Result<u64, Reason>;
}

/// Numbers of things in a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ResourceCounts {
    /// Instances.
    pub instances: usize,
    /// Linear memories.
    pub memories: usize,
    /// Tables.
    pub tables: usize,
}

impl Default for ResourceCounts {
    /// The limits of a store that sets none.
    fn default() -> Self {
        ResourceCounts {
            instances: 10_000,
            memories: 10_000,
            tables: 10_000,
        }
    }
}
