//! [`OwnedRooted`]: a reference that the collector knows of, for as long as somebody has it.

use super::rooted::{GcRef, RootIndex, Rooted, RootedGcRef, RootedImpl};
use crate::context::{AsContext, AsContextMut};
use crate::error::Result;
use crate::store::StoreOpaque;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::marker::PhantomData;
use core::ops::Deref;
use sarsen_vm::gc::OwnedRoot;

/// A reference to an object of kind `T`, which keeps it alive for as long as this or a clone exists.
///
/// It can be dropped anywhere, without the store. It costs some ten nanoseconds more than a
/// [`Rooted`], and does not keep the store alive.
///
/// ```
/// use sarsen::{Engine, ExternRef, OwnedRooted, RootScope, Store};
///
/// let mut store = Store::new(&Engine::default(), ());
/// let kept: OwnedRooted<ExternRef> = {
///     let mut scope = RootScope::new(&mut store);
///     ExternRef::new(&mut scope, 7u64)?.to_owned_rooted(&mut scope)?
/// };
/// store.gc(None)?;
/// let data = kept.data(&store)?.and_then(|data| data.downcast_ref::<u64>());
/// assert_eq!(data, Some(&7));
/// # Ok::<(), sarsen::Error>(())
/// ```
pub struct OwnedRooted<T: GcRef> {
    index: RootIndex,
    root: OwnedRoot,
    kind: PhantomData<fn() -> T>,
}

impl<T: GcRef> OwnedRooted<T> {
    /// Roots what is at another root.
    pub(super) fn new(store: &mut StoreOpaque, other: RootIndex) -> Result<OwnedRooted<T>> {
        let reference = store.reference(other)?;
        Ok(Self::at(reference, store))
    }

    fn at(reference: u32, store: &mut StoreOpaque) -> OwnedRooted<T> {
        let root = store.own_root(reference);
        OwnedRooted {
            index: RootIndex {
                store: store.id(),
                root: root.index(),
            },
            root,
            kind: PhantomData,
        }
    }

    #[inline]
    pub(crate) fn root(&self) -> RootIndex {
        self.index
    }

    /// Roots what compiled code has passed.
    ///
    /// # Safety
    ///
    /// `raw` must be null or a reference to an object of `store` of this kind.
    pub(crate) unsafe fn from_abi(raw: u32, store: &mut StoreOpaque) -> Option<OwnedRooted<T>> {
        (raw != 0).then(|| Self::at(raw, store))
    }

    pub(super) fn cast<U: GcRef>(self) -> OwnedRooted<U> {
        OwnedRooted {
            index: self.index,
            root: self.root,
            kind: PhantomData,
        }
    }

    /// The same reference, in the innermost scope.
    ///
    /// # Panics
    ///
    /// Panics when it belongs to another store.
    pub fn to_rooted(&self, mut store: impl AsContextMut) -> Rooted<T> {
        let mut store = store.as_context_mut();
        let store = store.opaque();
        store.assert_owns(self.index.store);
        let reference = store.reference(self.index);
        let reference = reference.expect("an owned root exists as long as its owner");
        Rooted::at(store.root(reference))
    }

    /// Whether `a` and `b` refer to the same object, or are the same integer.
    ///
    /// # Errors
    ///
    /// When one of them belongs to another store, or its scope has ended.
    pub fn ref_eq(
        store: impl AsContext,
        a: &impl RootedGcRef<T>,
        b: &impl RootedGcRef<T>,
    ) -> Result<bool> {
        Rooted::ref_eq(store, a, b)
    }

    /// Whether `a` and `b` are the same handle, or clones of each other.
    pub fn rooted_eq(a: &Self, b: &Self) -> bool {
        a.index == b.index
    }

    /// Hashes the handle, in agreement with [`OwnedRooted::rooted_eq`].
    pub fn rooted_hash<H: Hasher>(&self, state: &mut H) {
        self.index.hash(state);
    }
}

impl<T: GcRef> Clone for OwnedRooted<T> {
    fn clone(&self) -> Self {
        OwnedRooted {
            index: self.index,
            root: self.root.clone(),
            kind: PhantomData,
        }
    }
}

impl<T: GcRef> fmt::Debug for OwnedRooted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OwnedRooted({}, {:?})", T::HEAP_TYPE, self.root)
    }
}

impl<T: GcRef> Deref for OwnedRooted<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        T::from_root(&self.index)
    }
}

impl<T: GcRef> RootedImpl for OwnedRooted<T> {}
