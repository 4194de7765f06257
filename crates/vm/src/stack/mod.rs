//! Stacks of WebAssembly code: of continuations, and of asynchronous calls.
//!
//! [`sarsen_abi::stack`] draws a stack, and says who owns what of its control block.
//!
//! ```text
//!   engine: StackPool            store: Stacks
//!   | slabs: address space |     | table: every stack of the store, by number  |
//!   | idle stacks          | ──► | free list: compiled code puts finished ones |
//!   |                      | ◄── | there, and takes none itself                |
//! ```
//!
//! | file | owns |
//! |---|---|
//! | `pool` | address space for stacks, guards, what is idle, limits and counts |
//! | `base` | the stacks of asynchronous calls |
//! | `stacks` | the stacks of a store: taking, beginning, recycling, trimming |
//! | `host_frame` | what is left of host functions that have suspended |
//! | `ran` | which have run since the last collection |
//! | `frames` | references in the frames of a suspended chain |
//! | `switch` | the routines in assembly, as the table of builtins has them |
//!
//! # Rules
//!
//! No Rust frame ever stands on a pool stack: stubs call the host through
//! [`native_call`], and what leaves compiled code goes to the native stack first. So abandoning a stack is
//! recycling it, and nothing needs to be unwound.
//!
//! This folder knows nothing of the collector, of instances, or of how compiled code is entered.

mod base;
mod frames;
mod host_frame;
mod pool;
mod ran;
mod stacks;
mod switch;

pub(crate) use base::{Base, Bases};
pub use frames::FrameMaps;
pub(crate) use frames::suspended_pcs;
pub use host_frame::OnResume;
pub(crate) use host_frame::{DeadFrames, HostFrame};
pub use pool::{PoolCounts, SizeClass, StackConfig, StackPool};
pub(crate) use ran::{ran_stacks, settle_ran};
pub use stacks::{BeginError, Pressure, Stacks};
pub(crate) use stacks::{chain_end, recycle, recycle_abandoned, recycle_running, relist};
pub(crate) use switch::{native_call, resume_from_host, resume_stack, switch_stack};
