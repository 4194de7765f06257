//! [`Base`]: the pool stack that the code of an asynchronous call stands on. [`Bases`]: those of a store's calls.

use super::pool::{MARGIN, SizeClass, StackPool};
use super::stacks::{BeginError, VALUE_COPIES};
use crate::arch;
use sarsen_abi::stack::VmStack;
use sarsen_abi::vmctx::{ValRaw, VmFuncRef};
use std::mem;
use std::ptr::{self, NonNull};
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

/// The bases of a store's asynchronous calls that have begun and not ended. A call knows its own by the block.
///
/// Whoever forgets the future of a call leaves its base here, so that the pool gets it back with the store at the
/// latest.
#[derive(Default, Debug)]
pub(crate) struct Bases(Vec<InUse>);

#[derive(Debug)]
struct InUse {
    base: Base,
    /// Between two polls: the stack that runs when the code goes on. Null while a poll runs, or the call is dropped.
    current: *mut VmStack,
}

impl Bases {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds that of a call which is about to be polled.
    pub(crate) fn add(&mut self, base: Base) -> *mut VmStack {
        let block = base.block();
        let current = ptr::null_mut();
        self.0.push(InUse { base, current });
        block
    }

    /// The position of one, which is among the last.
    fn position(&self, block: *mut VmStack) -> usize {
        let position = self.0.iter().rposition(|it| it.base.block() == block);
        position.expect("the base of a call that has not ended")
    }

    /// A poll ends before the call does. The call goes on on `current`.
    pub(crate) fn wait(&mut self, block: *mut VmStack, current: *mut VmStack) {
        let at = self.position(block);
        self.0[at].current = current;
    }

    /// A poll begins, or the call is dropped: where the code goes on.
    pub(crate) fn go_on(&mut self, block: *mut VmStack) -> *mut VmStack {
        let at = self.position(block);
        let current = mem::replace(&mut self.0[at].current, ptr::null_mut());
        if current.is_null() { block } else { current }
    }

    /// Takes that of a call which ends.
    pub(crate) fn remove(&mut self, block: *mut VmStack) -> Base {
        let at = self.position(block);
        self.0.remove(at).base
    }

    /// Takes one of a call that is between two polls, and the stack that runs there.
    pub(crate) fn take_waiting(&mut self) -> Option<(Base, *mut VmStack)> {
        let at = self.0.iter().rposition(|it| !it.current.is_null())?;
        let InUse { base, current } = self.0.remove(at);
        Some((base, current))
    }
}

impl Drop for Base {
    fn drop(&mut self) {
        self.pool.give_back(SizeClass::Async, [self.stack]);
    }
}
