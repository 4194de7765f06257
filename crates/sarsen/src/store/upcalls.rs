//! What a store answers when the runtime asks: by its limiter, and by what it does when its deadline has passed.

use super::{StoreInner, UpdateDeadline, host_error};
use crate::context::{AsContextMut, StoreContextMut};
use crate::error::{AsyncRequiredError, Result};
use crate::gc::RootScope;
use crate::limits::ResourceLimiter;
use crate::trap::Trap;
use sarsen_vm::exec;
use sarsen_vm::instance::{Deadline, HostError, Reason, ResourceCounts, Upcalls};

impl<T> StoreInner<T> {
    /// What the limiter answers; `default` where there is none.
    fn ask_limiter<R>(
        &mut self,
        default: R,
        question: impl FnOnce(&mut dyn ResourceLimiter) -> Result<R>,
    ) -> Result<R, HostError> {
        match &mut self.limiter {
            Some(limiter) => question(limiter(&mut self.data)).map_err(host_error),
            None => Ok(default),
        }
    }
}

impl<T> Upcalls for StoreInner<T> {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool, HostError> {
        self.ask_limiter(true, |limiter| {
            limiter.memory_growing(current, desired, maximum)
        })
    }

    fn memory_grow_failed(&mut self, message: &str) -> Result<(), HostError> {
        self.ask_limiter((), |limiter| {
            limiter.memory_grow_failed(crate::Error::msg(message.to_owned()))
        })
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool, HostError> {
        self.ask_limiter(true, |limiter| {
            limiter.table_growing(current, desired, maximum)
        })
    }

    fn table_grow_failed(&mut self, message: &str) -> Result<(), HostError> {
        self.ask_limiter((), |limiter| {
            limiter.table_grow_failed(crate::Error::msg(message.to_owned()))
        })
    }

    fn heap_growing(&mut self, current: usize, desired: usize) -> Result<bool, HostError> {
        self.ask_limiter(true, |limiter| limiter.heap_growing(current, desired))
    }

    fn stacks_growing(&mut self, current: usize, desired: usize) -> Result<bool, HostError> {
        self.ask_limiter(true, |limiter| limiter.stacks_growing(current, desired))
    }

    fn limits(&self) -> ResourceCounts {
        self.limits
    }

    fn new_epoch(&mut self, epoch: u64) -> Result<Deadline, Reason> {
        // The callback may use the whole store, so it is not left in it. One that panics is gone.
        let Some(mut callback) = self.deadline.take() else {
            return Err(Reason::Trap(Trap::Interrupt));
        };
        // Handles that it makes end with it: there is no telling how often it is called.
        let answer = callback(RootScope::new(StoreContextMut(self)).as_context_mut());
        self.deadline.get_or_insert(callback);
        match answer {
            Ok(UpdateDeadline::Continue(ticks)) => Ok(Deadline::At(epoch.saturating_add(ticks))),
            Ok(UpdateDeadline::Yield(ticks)) => {
                // SAFETY: the store is alive, and asks on this thread.
                if unsafe { exec::can_wait(self.opaque.vm_ptr()) } {
                    return Ok(Deadline::YieldThenTicks(ticks));
                }
                let error = AsyncRequiredError::new("yielding");
                Err(Reason::Error(host_error(error.into())))
            }
            Ok(UpdateDeadline::Interrupt) => Err(Reason::Trap(Trap::Interrupt)),
            Err(error) => Err(Reason::Error(host_error(error))),
        }
    }

    fn out_of_fuel(&mut self) -> Result<u64, Reason> {
        Err(Reason::Trap(Trap::OutOfFuel))
    }
}
