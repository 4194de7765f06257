//! Linear memories, tables, and recycled blocks: what instances are made of.
//!
//! Each kind of storage comes from a pool of the engine where making it anew would be slow:
//! address space for memories from a [`SlotPool`], vmctx blocks from a [`BlockPool`]. What compiled
//! code sees of a memory or table is a small *cell* ([`sarsen_abi::vmctx::VmMemory`],
//! [`sarsen_abi::vmctx::VmTable`]): for what an instance defines it lies in that instance's vmctx,
//! for what the host makes the object owns one. [`LinearMemory`] and [`Table`] keep it up to date.
//!
//! A [`SharedMemory`] belongs to no store: it is counted, its cell lies in it, and it has the queues of
//! those who wait in it.
//!
//! This folder knows nothing of instances, stores or limits: whoever creates or grows something has
//! asked the limiter before.

mod blocks;
mod bulk;
mod cell;
mod memory;
mod shared;
mod slots;
mod table;
mod waiters;

pub use blocks::{Block, BlockPool};
pub use bulk::{OutOfBounds, TableElements, copy_memory, copy_table, fill_table, init_memory};
pub use memory::{LinearMemory, MemoryError};
pub use shared::{Expected, SharedGrowError, SharedMemory};
pub use slots::{ImageSource, ImageToken, SlotPool};
pub use table::{MAX_TABLE_ELEMENTS, Table, TableError};
pub(crate) use waiters::Registration;
