//! [`Base`]: the pool stack that the code of an asynchronous call stands on.

use super::pool::{MARGIN, SizeClass, StackPool};
use super::stacks::{BeginError, VALUE_COPIES};
use crate::arch;
use sarsen_abi::stack::VmStack;
use sarsen_abi::vmctx::{ValRaw, VmFuncRef};
use std::ptr::NonNull;
use std::sync::Arc;

/// A stack from the pool, which gets it back when this is dropped.
#[derive(Debug)]
pub(crate) struct Base {
    pool: Arc<StackPool>,
    stack: NonNull<VmStack>,
}

impl Base {
    /// A stack on which `func` is to begin, with `value_count` arguments or results.
    ///
    /// # Errors
    ///
    /// When the pool has none, or it would not have room for the function's values.
    pub(crate) fn new(
        pool: &Arc<StackPool>,
        func: *const VmFuncRef,
        value_count: usize,
    ) -> Result<Base, BeginError> {
        let base = Base::beginning_at(pool, arch::begin_base as *const ())?;
        let stack = base.stack.as_ptr();
        // SAFETY: the stack is ours.
        unsafe {
            // The entry stub needs room for its values, and checks no limit.
            let room = stack.expose_provenance() - (*stack).stack_limit;
            if VALUE_COPIES * value_count * size_of::<ValRaw>() + MARGIN > room {
                return Err(BeginError::TooManyValues);
            }
            (*stack).func = func;
        }
        Ok(base)
    }

    /// A stack on which a continuation is resumed.
    ///
    /// # Errors
    ///
    /// When the pool has none.
    pub(crate) fn for_resumption(pool: &Arc<StackPool>) -> Result<Base, BeginError> {
        Base::beginning_at(pool, arch::begin_base_by_resuming as *const ())
    }

    fn beginning_at(pool: &Arc<StackPool>, pc: *const ()) -> Result<Base, BeginError> {
        let mut taken = None;
        pool.take(SizeClass::Async, 1, |stack| taken = Some(stack));
        let base = Base {
            pool: Arc::clone(pool),
            stack: taken.ok_or(BeginError::OutOfStacks)?,
        };
        let stack = base.stack.as_ptr();
        // SAFETY: the stack is ours.
        unsafe {
            (*stack).pc = pc as usize;
            (*stack).sp = stack.addr() & !15;
        }
        Ok(base)
    }

    /// Its control block.
    pub(crate) fn block(&self) -> *mut VmStack {
        self.stack.as_ptr()
    }
}

impl Drop for Base {
    fn drop(&mut self) {
        self.pool.give_back(SizeClass::Async, [self.stack]);
    }
}
