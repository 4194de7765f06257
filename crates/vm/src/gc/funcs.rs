//! [`Funcs`]: the functions that objects refer to, by small numbers.
//!
//! A field of a function type holds the number of an entry here, never a pointer. The table never
//! shrinks: functions live as long as their store. Compiled code reads it (`VmStoreCtx::func_table`).

use super::heap::Heap;
use sarsen_abi::vmctx::VmFuncRef;
use std::ptr::{self, NonNull};

/// The functions that objects refer to.
#[derive(Debug)]
pub(super) struct Funcs(Vec<*const VmFuncRef>);

impl Funcs {
    /// The entry of number zero is null.
    pub(super) fn new() -> Funcs {
        Funcs(vec![ptr::null()])
    }

    /// What compiled code knows of it.
    pub(super) fn table(&self) -> (*const *const VmFuncRef, u64) {
        (self.0.as_ptr(), self.0.len() as u64)
    }

    /// The function of this number: null for zero, `None` when there is none.
    pub(super) fn get(&self, id: u32) -> Option<*const VmFuncRef> {
        self.0.get(id as usize).copied()
    }
}

impl Heap {
    /// The number of a function; zero for null.
    ///
    /// # Safety
    ///
    /// `func` must be null or a function of this store that compiled code can call.
    ///
    /// # Panics
    ///
    /// Panics when there are four thousand million functions.
    pub unsafe fn func_id(&mut self, func: *const VmFuncRef) -> u32 {
        let Some(func) = NonNull::new(func.cast_mut()) else {
            return 0;
        };
        // SAFETY: a function of this store, whose number only this writes.
        let known = unsafe { (*func.as_ptr()).id };
        if known != 0 {
            return known;
        }
        let id = u32::try_from(self.funcs.0.len()).expect("fewer functions than numbers");
        self.funcs.0.push(func.as_ptr());
        // SAFETY: as above.
        unsafe { (*func.as_ptr()).id = id };
        let table = self.funcs.table();
        self.with_ctx(|ctx| (ctx.func_table, ctx.func_table_length) = table);
        id
    }
}
