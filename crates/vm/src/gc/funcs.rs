//! [`Funcs`]: the functions that objects refer to, by small numbers.
//!
//! A field of a function type holds the number of an entry here, never a pointer. The table never
//! shrinks: functions live as long as their store. Compiled code reads it (`VmStoreCtx::func_table`), and
//! masks the number: so the table's length is a power of two, and what is not given yet is null.

use super::heap::Heap;
use sarsen_abi::vmctx::{NO_FUNC_ID, VmFuncRef};
use std::ptr::{self, NonNull};

/// The functions that objects refer to.
#[derive(Debug)]
pub(super) struct Funcs {
    table: Vec<*const VmFuncRef>,
    /// How many entries are given.
    count: u32,
}

impl Funcs {
    /// The entry of number zero is null.
    pub(super) fn new() -> Funcs {
        Funcs {
            table: vec![ptr::null()],
            count: 1,
        }
    }

    /// What compiled code knows of it: where it is, and the mask for numbers.
    pub(super) fn table(&self) -> (*const *const VmFuncRef, u32) {
        debug_assert!(self.table.len().is_power_of_two());
        (self.table.as_ptr(), (self.table.len() - 1) as u32)
    }

    /// The function of this number: null for zero, `None` when there is none.
    pub(super) fn get(&self, id: u32) -> Option<*const VmFuncRef> {
        (id < self.count).then(|| self.table[id as usize])
    }

    /// Gives a function a number.
    fn add(&mut self, func: NonNull<VmFuncRef>) -> u32 {
        let id = self.count;
        assert!(id < NO_FUNC_ID, "fewer functions than numbers");
        let length = self.table.len();
        if id as usize == length {
            self.table.resize(2 * length, ptr::null());
        }
        self.table[id as usize] = func.as_ptr();
        self.count += 1;
        id
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
        if known != NO_FUNC_ID {
            return known;
        }
        let id = self.funcs.add(func);
        // SAFETY: as above.
        unsafe { (*func.as_ptr()).id = id };
        let table = self.funcs.table();
        self.with_ctx(|ctx| (ctx.func_table, ctx.func_table_mask) = table);
        id
    }
}
