//! The collector: a store's heap of structures, arrays, and boxes with the host's objects.
//!
//! # The heap
//!
//! ```text
//!   base
//!   |        FIRST        old_end    old_room                 YOUNG      alloc_next  alloc_end
//!   v          v             v          v                       v             v          v
//!   +----------+-------------+----------+-- - - - - - - - - - --+-------------+----------+- - -+-------+
//!   | never    | old objects | room for | reserved              | young       | free     |     | guard |
//!   | mapped   |             | the next |                       | objects     |          |     | 1 MiB |
//!   +----------+-------------+----------+-- - - - - - - - - - --+-------------+----------+- - -+-------+
//!   <------------------------------------- 4 GiB --------------------------------------------->
//!
//!   beside it:  remembered slots: addresses of old fields and tables' elements with young references
//!               handles: the host's references       externs: the host's data, by number
//!               funcs: functions, by number          shapes: where references are, by type
//!               live map: a bit for each 8 bytes of the old space, during full collections
//! ```
//!
//! Compiled code allocates from `alloc_next` to `alloc_end`, and tells of references from outside of
//! the nursery into it by the remembered slots ([`sarsen_abi::heap`] has the contract). When the nursery
//! is full, a *minor* collection copies what is reachable there to the end of the old space; when that
//! has doubled since last time, a *full* one also compacts it, in place.
//!
//! | file | owns |
//! |---|---|
//! | `heap` | the state, and the checks before the heap's bytes are touched |
//! | `range` | the 4 GiB, recycled |
//! | `config`, `stats` | what passes between the heap and the embedder |
//! | `world` | what the heap asks of the store: where the roots are, may it grow |
//! | `allocate` | room, when to collect, how large both spaces are |
//! | `minor` | emptying the nursery |
//! | `mark`, `compact`, `live_map` | collecting the old space |
//! | `remember` | the barrier and its buffer |
//! | `shapes`, `trace` | types as the collector sees them, and where an object's references are |
//! | `objects`, `elements`, `fields`, `accesses` | typed access |
//! | `conts` | continuations, and the stacks that belong to them |
//! | `exns` | exceptions, and the tags that tell what is in them |
//! | `externs`, `funcs`, `handles` | what is beside the heap |
//! | `verify` | a check of everything, for zeal |
//!
//! # Rules
//!
//! `docs/gc-safe-code.md` has them: a raw reference does not live across a call that may collect. What
//! may collect takes `&mut Heap` and a [`World`].
//!
//! This folder knows nothing of instances, of frames, or of how compiled code is entered.

mod accesses;
mod allocate;
mod compact;
mod config;
mod conts;
mod elements;
mod exns;
mod externs;
mod fields;
mod funcs;
mod handles;
mod heap;
mod live_map;
mod mark;
mod minor;
mod objects;
mod range;
mod remember;
mod shapes;
mod stats;
#[cfg(test)]
mod tests;
mod trace;
mod verify;
mod world;

pub use accesses::{Access, Holds};
pub use config::{CollectorKind, GcConfig, HeapError};
pub use conts::{BoundValue, ContParts};
pub use externs::Dead;
pub use fields::Place;
pub use handles::{OwnedRoot, RootIndex, RootScope};
pub use heap::{Heap, Held};
pub use objects::{ArrayView, RefKind};
pub use range::RangePool;
pub use remember::is_young;
pub use stats::GcStats;
pub use world::{HostError, Roots, World};
