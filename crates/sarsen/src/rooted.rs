//! References to heap objects: [`Rooted`], and [`ExternRef`], an object of the host's.
//!
//! Host objects live as long as their store, so that a root is just the reference and its store's
//! identity. Objects of the guest's are not allocated yet; their types exist so that what handles
//! references handles all of them.

use crate::context::{AsContext, AsContextMut, StoreContext};
use crate::error::{LimitError, Result};
use crate::store::{StoreOpaque, unwrap_host_error};
use core::any::Any;
use core::convert::Infallible;
use core::fmt;
use core::marker::PhantomData;
use core::num::NonZeroU32;
use sarsen_vm::instance::{HeapError, StoreId};

/// A reference to an object of type `T` in a store.
pub struct Rooted<T> {
    store: StoreId,
    reference: NonZeroU32,
    object: PhantomData<fn() -> T>,
}

impl<T> Clone for Rooted<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Rooted<T> {}

impl<T> fmt::Debug for Rooted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rooted")
            .field("reference", &self.reference)
            .finish_non_exhaustive()
    }
}

impl<T> Rooted<T> {
    #[inline]
    pub(crate) fn store_id(&self) -> StoreId {
        self.store
    }

    #[inline]
    pub(crate) fn as_raw(&self) -> u32 {
        self.reference.get()
    }

    /// # Safety
    ///
    /// `raw` must be null or a reference to an object of `store` of this type.
    #[inline]
    pub(crate) unsafe fn from_abi(raw: u32, store: &StoreOpaque) -> Option<Self> {
        Some(Rooted {
            store: store.id(),
            reference: NonZeroU32::new(raw)?,
            object: PhantomData,
        })
    }

    /// Whether `a` and `b` refer to the same object.
    ///
    /// # Errors
    ///
    /// When one of them belongs to another store.
    pub fn ref_eq(store: impl AsContext, a: &Self, b: &Self) -> Result<bool> {
        let store = store.as_context().opaque();
        store.check_owns(a.store)?;
        store.check_owns(b.store)?;
        Ok(a.reference == b.reference)
    }
}

macro_rules! empty {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name(Infallible);

        impl Rooted<$name> {
            /// There is no such object.
            pub(crate) fn never(&self) -> ! {
                unreachable!("nothing allocates such objects")
            }
        }
    )*};
}

empty! {
    /// An object of the guest's: a structure, an array, or a small integer. None can be made yet.
    AnyRef;
    /// An exception. None can be made yet.
    ExnRef;
    /// A continuation. None can be made yet.
    ContRef;
}

/// An object of the host's, which WebAssembly can hold and pass on but not look into.
///
/// ```
/// use sarsen::{Engine, ExternRef, Store};
///
/// let mut store = Store::new(&Engine::default(), ());
/// let object = ExternRef::new(&mut store, "hello".to_owned())?;
/// let data = object.data(&store)?.expect("the host's object has data");
/// assert_eq!(data.downcast_ref::<String>().unwrap(), "hello");
/// # Ok::<(), sarsen::Error>(())
/// ```
#[derive(Debug)]
pub struct ExternRef(Infallible);

impl ExternRef {
    /// Moves `value` to the store, where it stays until the store is dropped.
    ///
    /// # Errors
    ///
    /// When the store's heap is full, or its limiter refuses.
    pub fn new<V>(mut store: impl AsContextMut, value: V) -> Result<Rooted<ExternRef>>
    where
        V: Any + Send + Sync + 'static,
    {
        let mut store = store.as_context_mut();
        let store = store.opaque();
        let reference = store
            .vm_mut()
            .new_externref(Box::new(value))
            .map_err(heap_error)?;
        Ok(Rooted {
            store: store.id(),
            reference,
            object: PhantomData,
        })
    }
}

fn heap_error(error: HeapError) -> crate::Error {
    match error {
        HeapError::Full => LimitError {
            message: "the store's heap is full, or its limit was reached".to_owned(),
        }
        .into(),
        HeapError::System(error) => error.into(),
        HeapError::Host(error) => unwrap_host_error(error),
    }
}

impl Rooted<ExternRef> {
    /// What the host moved to the store. (An option because WebAssembly will be able to convert its
    /// own objects to external references, which have no data.)
    ///
    /// # Errors
    ///
    /// When it belongs to another store.
    pub fn data<'a, T: 'static>(
        &self,
        store: impl Into<StoreContext<'a, T>>,
    ) -> Result<Option<&'a (dyn Any + Send + Sync)>> {
        let store = store.into().opaque();
        store.check_owns(self.store)?;
        Ok(Some(store.vm().externref_data(self.reference)?))
    }

    /// The reference as compiled code passes it.
    ///
    /// # Errors
    ///
    /// When it belongs to another store.
    pub fn to_raw(&self, store: impl AsContextMut) -> Result<u32> {
        store.as_context().opaque().check_owns(self.store)?;
        Ok(self.reference.get())
    }

    /// The reference that compiled code passed; `None` for null or for what is no reference of this
    /// store.
    pub fn from_raw(store: impl AsContextMut, raw: u32) -> Option<Rooted<ExternRef>> {
        let store = store.as_context().opaque();
        let reference = NonZeroU32::new(raw)?;
        store.vm().externref_data(reference).ok()?;
        Some(Rooted {
            store: store.id(),
            reference,
            object: PhantomData,
        })
    }
}
