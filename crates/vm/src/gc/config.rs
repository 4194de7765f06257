//! How a store's heap is configured, and why an object could not be allocated.

use super::world::HostError;
use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

/// Which collector a store has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum CollectorKind {
    /// Two generations: a nursery whose survivors are moved out, and old objects that are collected
    /// less often.
    #[default]
    Generational,
    /// None: what is allocated stays until the store is dropped.
    Null,
}

/// The configuration of a store's heap.
#[derive(Clone, Debug)]
pub struct GcConfig {
    /// The collector.
    pub collector: CollectorKind,
    /// The first size of the nursery, in bytes. What is out of its bounds is moved inside.
    pub nursery_initial: usize,
    /// The largest size of the nursery, in bytes.
    pub nursery_max: usize,
    /// The largest size of the heap, nursery included, in bytes. The embedder's limiter is asked, too.
    pub heap_limit: usize,
    /// How long a minor collection should take at most: the nursery is sized by it. `None`: the
    /// nursery keeps its first size while there is room.
    pub pause_target: Option<Duration>,
    /// For tests: collect at every so many allocations, overwrite what is freed, and check the
    /// whole heap before and after every collection.
    pub zeal: Option<NonZeroU32>,
}

impl Default for GcConfig {
    fn default() -> Self {
        GcConfig {
            collector: CollectorKind::default(),
            nursery_initial: 1 << 20,
            nursery_max: 16 << 20,
            heap_limit: usize::MAX,
            pause_target: Some(Duration::from_micros(1500)),
            zeal: None,
        }
    }
}

/// Why an object could not be allocated in a store's heap.
pub enum HeapError {
    /// The heap is full, or its limit was reached.
    Full,
    /// No heap has room for an object of this size.
    TooLarge,
    /// The heap is damaged: objects were overwritten.
    Corrupt,
    /// The system has no room.
    System(std::io::Error),
    /// The limiter returned this.
    Host(HostError),
}

impl fmt::Debug for HeapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeapError::Full => f.write_str("Full"),
            HeapError::TooLarge => f.write_str("TooLarge"),
            HeapError::Corrupt => f.write_str("Corrupt"),
            HeapError::System(error) => f.debug_tuple("System").field(error).finish(),
            HeapError::Host(_) => f.write_str("Host(..)"),
        }
    }
}

impl fmt::Display for HeapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeapError::Full => f.write_str("the heap is full, or its limit was reached"),
            HeapError::TooLarge => f.write_str("the object is too large"),
            HeapError::Corrupt => f.write_str("the heap is damaged"),
            HeapError::System(error) => error.fmt(f),
            HeapError::Host(_) => f.write_str("the embedder's limiter failed"),
        }
    }
}

impl From<rustix::io::Errno> for HeapError {
    fn from(error: rustix::io::Errno) -> Self {
        HeapError::System(error.into())
    }
}
