//! [`RootScope`]: a stretch of the host's code whose handles end together.

use crate::context::{AsContext, AsContextMut, StoreContext, StoreContextMut};
use sarsen_vm::gc;

/// A scope of [`Rooted`](crate::Rooted) handles: those that are made while it is the innermost one
/// end with it.
///
/// It can be used wherever a store is wanted. Calls of host functions have scopes of their own; a host
/// that handles many objects at its outermost level needs some, or its handles keep every object that
/// it ever saw.
///
/// ```
/// use sarsen::{Engine, ExternRef, RootScope, Store};
///
/// let mut store = Store::new(&Engine::default(), ());
/// for number in 0..1000 {
///     let mut scope = RootScope::new(&mut store);
///     ExternRef::new(&mut scope, number)?;
/// }
/// store.gc(None)?;
/// assert_eq!(store.gc_stats().host_objects, 0);
/// # Ok::<(), sarsen::Error>(())
/// ```
#[derive(Debug)]
pub struct RootScope<C: AsContextMut> {
    store: C,
    scope: gc::RootScope,
}

impl<C: AsContextMut> RootScope<C> {
    /// Begins a scope.
    pub fn new(store: C) -> RootScope<C> {
        let scope = store.as_context().opaque().scope();
        RootScope { store, scope }
    }

    /// Makes room for `additional` handles, so that making them allocates no memory of the host's.
    pub fn reserve(&mut self, additional: usize) {
        self.store
            .as_context_mut()
            .opaque()
            .reserve_roots(additional);
    }
}

impl<C: AsContextMut> Drop for RootScope<C> {
    fn drop(&mut self) {
        let mut store = self.store.as_context_mut();
        store.opaque().end_scope(self.scope);
    }
}

impl<C: AsContextMut> AsContext for RootScope<C> {
    type Data = C::Data;

    fn as_context(&self) -> StoreContext<'_, C::Data> {
        self.store.as_context()
    }
}

impl<C: AsContextMut> AsContextMut for RootScope<C> {
    fn as_context_mut(&mut self) -> StoreContextMut<'_, C::Data> {
        self.store.as_context_mut()
    }
}
