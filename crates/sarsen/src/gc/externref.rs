//! [`ExternRef`]: the host's data behind it.

use super::rooted::{ExternRef, GcRefImpl, Rooted};
use crate::context::{AsContextMut, StoreContext, StoreContextMut};
use crate::error::Result;
use core::any::Any;
use core::num::NonZeroU32;

impl ExternRef {
    /// Moves `value` to the store, after a collection if need be. It is dropped when a collection finds
    /// that nothing refers to it any more, or with the store. The reference is rooted in the innermost
    /// scope.
    ///
    /// # Errors
    ///
    /// [`GcHeapOutOfMemory`](crate::GcHeapOutOfMemory) when there is no room; the limiter's error.
    pub fn new<V>(mut store: impl AsContextMut, value: V) -> Result<Rooted<ExternRef>>
    where
        V: Any + Send + Sync + 'static,
    {
        let mut store = store.as_context_mut();
        let store = store.opaque();
        let reference = store.allocate_extern(Box::new(value))?;
        Ok(Rooted::at(store.root(reference)))
    }

    /// What the host moved to the store. `None` for what is no object of the host's: a reference of
    /// the guest's that was converted.
    ///
    /// # Errors
    ///
    /// When it belongs to another store, or its scope has ended.
    pub fn data<'a, T: 'static>(
        &self,
        store: impl Into<StoreContext<'a, T>>,
    ) -> Result<Option<&'a (dyn Any + Send + Sync)>> {
        let store = store.into().opaque();
        let reference = store.reference(self.root())?;
        match NonZeroU32::new(reference) {
            Some(reference) => Ok(store.vm().externref_data(reference)?),
            None => Ok(None),
        }
    }

    /// As [`ExternRef::data`], to change it.
    ///
    /// ```
    /// use sarsen::{Engine, ExternRef, Store};
    ///
    /// let mut store = Store::new(&Engine::default(), ());
    /// let object = ExternRef::new(&mut store, vec![1, 2])?;
    /// let data = object.data_mut(&mut store)?.unwrap();
    /// data.downcast_mut::<Vec<i32>>().unwrap().push(3);
    /// let data = object.data(&store)?.unwrap();
    /// assert_eq!(data.downcast_ref::<Vec<i32>>().unwrap().len(), 3);
    /// # Ok::<(), sarsen::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`ExternRef::data`].
    pub fn data_mut<'a, T: 'static>(
        &self,
        store: impl Into<StoreContextMut<'a, T>>,
    ) -> Result<Option<&'a mut (dyn Any + Send + Sync)>> {
        let store = &mut store.into().into_inner().opaque;
        let reference = store.reference(self.root())?;
        match NonZeroU32::new(reference) {
            Some(reference) => Ok(store.vm_mut().externref_data_mut(reference)?),
            None => Ok(None),
        }
    }
}
