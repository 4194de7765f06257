//! [`Group`]: a recursion group that is registered.
//!
//! Immutable but for its count. Who counts: every [`super::ModuleTypes`] and
//! [`super::RegisteredType`], and every registered group that names a type of this one.
//!
//! A group holds no pointer to another: those that it names are kept in the registry's own record of
//! it, so that dropping a group's memory never drops another's, however long the chain.

use super::defined::Defined;
use sarsen_abi::TypeId;
use sarsen_abi::canonical::CanonicalGroup;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A recursion group with the ids of its types.
#[derive(Debug)]
pub(super) struct Group {
    /// What it is, for comparison.
    pub(super) canonical: CanonicalGroup,
    /// The hash of `canonical`.
    pub(super) hash: u64,
    /// The id of each type.
    pub(super) ids: Box<[TypeId]>,
    /// Each type, with engine-wide references.
    pub(super) types: Box<[Defined]>,
    /// How many hold on to it. Goes up from zero only under the registry's lock.
    pub(super) holders: AtomicUsize,
    /// Whether it has been removed from the registry. Written under the registry's lock.
    pub(super) removed: AtomicBool,
}

impl Group {
    /// A group with one holder.
    pub(super) fn new(canonical: CanonicalGroup, hash: u64, ids: Box<[TypeId]>) -> Group {
        let types = canonical
            .types
            .iter()
            .enumerate()
            .map(|(position, ty)| Defined::new(ty, position, &ids))
            .collect();
        Group {
            canonical,
            hash,
            ids,
            types,
            holders: AtomicUsize::new(1),
            removed: AtomicBool::new(false),
        }
    }

    /// Takes a holder away; true when it was the last one.
    #[must_use]
    pub(super) fn let_go(&self) -> bool {
        self.holders.fetch_sub(1, Ordering::AcqRel) == 1
    }
}
