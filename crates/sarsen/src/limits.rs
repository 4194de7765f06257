//! [`ResourceLimiter`]: what a store's instances may take, and [`StoreLimits`], its usual answer.
//!
//! The runtime asks before it takes: before a memory, table or the heap is created or grows, and
//! before the number of instances, tables, memories or stacks of a store rises.

use crate::error::Result;
use anyhow::bail;

/// The number of instances that a store may have unless a limiter says otherwise.
pub const DEFAULT_INSTANCE_LIMIT: usize = 10_000;
/// The number of tables that a store may have unless a limiter says otherwise.
pub const DEFAULT_TABLE_LIMIT: usize = 10_000;
/// The number of linear memories that a store may have unless a limiter says otherwise.
pub const DEFAULT_MEMORY_LIMIT: usize = 10_000;

/// Decides what a store may take; see [`Store::limiter`](crate::Store::limiter).
pub trait ResourceLimiter: Send {
    /// Whether a linear memory may grow from `current` to `desired` bytes (`current` is 0 when it is
    /// created); `maximum` is what the memory's own type allows.
    ///
    /// Of a shared memory, the store that defines it is asked, and the one that grows it; none is when
    /// the host does ([`SharedMemory`](crate::SharedMemory)).
    ///
    /// `Ok(false)` makes `memory.grow` return -1, and creation an error. An error leaves
    /// WebAssembly as a trap does, with this error.
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool>;

    /// Called when a memory could not grow although [`ResourceLimiter::memory_growing`] allowed it,
    /// or could not because its type does not allow it. An error leaves WebAssembly; with `Ok`,
    /// `memory.grow` returns -1.
    fn memory_grow_failed(&mut self, error: crate::Error) -> Result<()> {
        let _ = error;
        Ok(())
    }

    /// Whether a table may grow from `current` to `desired` elements. As
    /// [`ResourceLimiter::memory_growing`] otherwise.
    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool>;

    /// As [`ResourceLimiter::memory_grow_failed`], for tables.
    fn table_grow_failed(&mut self, error: crate::Error) -> Result<()> {
        let _ = error;
        Ok(())
    }

    /// The largest number of instances in the store. Asked once, when the limiter is set.
    fn instances(&self) -> usize {
        DEFAULT_INSTANCE_LIMIT
    }

    /// The largest number of tables in the store. Asked once, when the limiter is set.
    fn tables(&self) -> usize {
        DEFAULT_TABLE_LIMIT
    }

    /// The largest number of linear memories in the store. Asked once, when the limiter is set.
    fn memories(&self) -> usize {
        DEFAULT_MEMORY_LIMIT
    }

    /// Whether the heap of the store's objects, those behind `externref`s among them, may grow from
    /// `current` to `desired` bytes; it grows in steps. Allowed by default, up to its 4 GiB.
    ///
    /// `Ok(false)` makes the allocation fail. An error leaves WebAssembly as a trap does.
    fn heap_growing(&mut self, current: usize, desired: usize) -> Result<bool> {
        let _ = (current, desired);
        Ok(true)
    }

    /// Whether the store may have `desired` stacks instead of `current`: of continuations, and of asynchronous
    /// calls that have not ended. Allowed by default, up to what the engine has
    /// ([`Config::max_continuation_stacks`](crate::Config::max_continuation_stacks)).
    ///
    /// A store takes stacks for continuations some at a time, and keeps some of those that have ended; if so many
    /// are refused, it asks for one.
    ///
    /// `Ok(false)` makes what needs the stack a [`Trap::OutOfStacks`](crate::Trap::OutOfStacks). An error
    /// leaves WebAssembly as a trap does.
    fn stacks_growing(&mut self, current: usize, desired: usize) -> Result<bool> {
        let _ = (current, desired);
        Ok(true)
    }
}

/// A [`ResourceLimiter`] of fixed limits.
///
/// ```
/// use sarsen::{Engine, Store, StoreLimits, StoreLimitsBuilder};
///
/// let limits = StoreLimitsBuilder::new().memory_size(1 << 20).instances(2).build();
/// let mut store: Store<StoreLimits> = Store::new(&Engine::default(), limits);
/// store.limiter(|limits| limits);
/// ```
#[derive(Clone, Debug)]
pub struct StoreLimits {
    memory_size: Option<usize>,
    table_elements: Option<usize>,
    instances: usize,
    tables: usize,
    memories: usize,
    heap_size: Option<usize>,
    stacks: Option<usize>,
    trap_on_grow_failure: bool,
}

impl Default for StoreLimits {
    fn default() -> Self {
        StoreLimits {
            memory_size: None,
            table_elements: None,
            instances: DEFAULT_INSTANCE_LIMIT,
            tables: DEFAULT_TABLE_LIMIT,
            memories: DEFAULT_MEMORY_LIMIT,
            heap_size: None,
            stacks: None,
            trap_on_grow_failure: false,
        }
    }
}

impl ResourceLimiter for StoreLimits {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        let allowed = within(desired, self.memory_size) && within(desired, maximum);
        if !allowed && self.trap_on_grow_failure {
            bail!("forcing a trap: a memory may not grow to {desired} bytes");
        }
        Ok(allowed)
    }

    fn memory_grow_failed(&mut self, error: crate::Error) -> Result<()> {
        if self.trap_on_grow_failure {
            return Err(error.context("forcing a trap: a memory could not grow"));
        }
        Ok(())
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        let allowed = within(desired, self.table_elements) && within(desired, maximum);
        if !allowed && self.trap_on_grow_failure {
            bail!("forcing a trap: a table may not grow to {desired} elements");
        }
        Ok(allowed)
    }

    fn table_grow_failed(&mut self, error: crate::Error) -> Result<()> {
        if self.trap_on_grow_failure {
            return Err(error.context("forcing a trap: a table could not grow"));
        }
        Ok(())
    }

    fn instances(&self) -> usize {
        self.instances
    }

    fn tables(&self) -> usize {
        self.tables
    }

    fn memories(&self) -> usize {
        self.memories
    }

    fn heap_growing(&mut self, _current: usize, desired: usize) -> Result<bool> {
        let allowed = within(desired, self.heap_size);
        if !allowed && self.trap_on_grow_failure {
            bail!("forcing a trap: the heap may not grow to {desired} bytes");
        }
        Ok(allowed)
    }

    // Stacks are asked for in batches first, and it is a trap when there is none.
    fn stacks_growing(&mut self, _current: usize, desired: usize) -> Result<bool> {
        Ok(within(desired, self.stacks))
    }
}

fn within(desired: usize, limit: Option<usize>) -> bool {
    limit.is_none_or(|limit| desired <= limit)
}

/// Builds [`StoreLimits`].
#[derive(Clone, Debug, Default)]
pub struct StoreLimitsBuilder(StoreLimits);

impl StoreLimitsBuilder {
    /// Starts with the default limits: no limit on sizes, and the default numbers of things.
    pub fn new() -> Self {
        Self::default()
    }

    /// The largest size of each linear memory, in bytes.
    pub fn memory_size(mut self, bytes: usize) -> Self {
        self.0.memory_size = Some(bytes);
        self
    }

    /// The largest size of each table, in elements.
    pub fn table_elements(mut self, elements: usize) -> Self {
        self.0.table_elements = Some(elements);
        self
    }

    /// The largest number of instances.
    pub fn instances(mut self, instances: usize) -> Self {
        self.0.instances = instances;
        self
    }

    /// The largest number of tables.
    pub fn tables(mut self, tables: usize) -> Self {
        self.0.tables = tables;
        self
    }

    /// The largest number of linear memories.
    pub fn memories(mut self, memories: usize) -> Self {
        self.0.memories = memories;
        self
    }

    /// The largest size of the heap of the store's objects, in bytes; see
    /// [`ResourceLimiter::heap_growing`].
    pub fn heap_size(mut self, bytes: usize) -> Self {
        self.0.heap_size = Some(bytes);
        self
    }

    /// The largest number of stacks; see [`ResourceLimiter::stacks_growing`].
    pub fn stacks(mut self, stacks: usize) -> Self {
        self.0.stacks = Some(stacks);
        self
    }

    /// Whether growing past a limit stops WebAssembly with an error, instead of `-1` as result.
    pub fn trap_on_grow_failure(mut self, trap: bool) -> Self {
        self.0.trap_on_grow_failure = trap;
        self
    }

    /// The limits.
    pub fn build(self) -> StoreLimits {
        self.0
    }
}
