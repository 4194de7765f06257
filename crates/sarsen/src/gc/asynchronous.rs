//! Making objects and collecting, as futures.
//!
//! Nothing here waits: a limiter answers at once, and a collection is over when it returns. So each future is ready
//! when it is first polled, having done what the function of the same name does. They are here for code that is
//! written with futures throughout.

use super::arrayref::ArrayRefPre;
use super::error::GcHeapOutOfMemory;
use super::exnref::ExnRefPre;
use super::rooted::{ArrayRef, ExnRef, ExternRef, Rooted, StructRef};
use super::structref::StructRefPre;
use crate::caller::Caller;
use crate::context::{AsContextMut, StoreContextMut};
use crate::error::Result;
use crate::store::Store;
use crate::tag::Tag;
use crate::val::Val;
use core::any::Any;

impl StructRef {
    /// As [`StructRef::new`], as a future that is ready at once.
    ///
    /// # Errors
    ///
    /// As [`StructRef::new`].
    pub async fn new_async(
        store: impl AsContextMut<Data: Send>,
        allocator: &StructRefPre,
        fields: &[Val],
    ) -> Result<Rooted<StructRef>> {
        StructRef::new(store, allocator, fields)
    }
}

impl ArrayRef {
    /// As [`ArrayRef::new`], as a future that is ready at once.
    ///
    /// # Errors
    ///
    /// As [`ArrayRef::new`].
    pub async fn new_async(
        store: impl AsContextMut<Data: Send>,
        allocator: &ArrayRefPre,
        elem: &Val,
        len: u32,
    ) -> Result<Rooted<ArrayRef>> {
        ArrayRef::new(store, allocator, elem, len)
    }

    /// As [`ArrayRef::new_fixed`], as a future that is ready at once.
    ///
    /// # Errors
    ///
    /// As [`ArrayRef::new_fixed`].
    pub async fn new_fixed_async(
        store: impl AsContextMut<Data: Send>,
        allocator: &ArrayRefPre,
        elems: &[Val],
    ) -> Result<Rooted<ArrayRef>> {
        ArrayRef::new_fixed(store, allocator, elems)
    }
}

impl ExnRef {
    /// As [`ExnRef::new`], as a future that is ready at once.
    ///
    /// # Errors
    ///
    /// As [`ExnRef::new`].
    pub async fn new_async(
        store: impl AsContextMut<Data: Send>,
        allocator: &ExnRefPre,
        tag: &Tag,
        fields: &[Val],
    ) -> Result<Rooted<ExnRef>> {
        ExnRef::new(store, allocator, tag, fields)
    }
}

impl ExternRef {
    /// As [`ExternRef::new`], as a future that is ready at once.
    ///
    /// # Errors
    ///
    /// As [`ExternRef::new`].
    pub async fn new_async<V>(
        store: impl AsContextMut<Data: Send>,
        value: V,
    ) -> Result<Rooted<ExternRef>>
    where
        V: Any + Send + Sync + 'static,
    {
        ExternRef::new(store, value)
    }
}

impl<T: Send> Store<T> {
    /// As [`Store::gc`], as a future that is ready at once.
    ///
    /// # Errors
    ///
    /// As [`Store::gc`].
    ///
    /// # Panics
    ///
    /// As [`Store::gc`].
    pub async fn gc_async(&mut self, why: Option<&GcHeapOutOfMemory<()>>) -> Result<()> {
        self.gc(why)
    }
}

impl<T: Send> StoreContextMut<'_, T> {
    /// As [`Store::gc_async`].
    ///
    /// # Errors
    ///
    /// As [`Store::gc`].
    ///
    /// # Panics
    ///
    /// As [`Store::gc`].
    pub async fn gc_async(&mut self, why: Option<&GcHeapOutOfMemory<()>>) -> Result<()> {
        self.gc(why)
    }
}

impl<T: Send> Caller<'_, T> {
    /// As [`Store::gc_async`].
    ///
    /// # Errors
    ///
    /// As [`Store::gc`].
    ///
    /// # Panics
    ///
    /// As [`Store::gc`].
    pub async fn gc_async(&mut self, why: Option<&GcHeapOutOfMemory<()>>) -> Result<()> {
        self.gc(why)
    }
}
