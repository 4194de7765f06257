//! The atomic instructions that compiled code leaves to the runtime: `memory.atomic.wait` and
//! `memory.atomic.notify` (threads proposal). All others are compiled code's own.
//!
//! What a guest passes is checked here. An address that is not aligned is told before one that is out of
//! bounds, as compiled code does for the other atomics.
//!
//! Called by `exec`'s builtins.

use super::instance::{Instance, InstanceMemory};
use super::parking::{self, EpochWatch};
use super::reason::Reason;
use crate::mem::{Expected, Registration, SharedMemory};
use sarsen_abi::{MemoryIndex, TrapCode};
use std::task::Waker;
use std::time::{Duration, Instant};

impl Instance {
    /// The address that a guest means, and its memory, if that is shared.
    fn atomic_place(
        &self,
        memory: MemoryIndex,
        index: u64,
        offset: u64,
        size: u64,
    ) -> Result<(Option<&SharedMemory>, u64), TrapCode> {
        if !index.wrapping_add(offset).is_multiple_of(size) {
            return Err(TrapCode::HeapMisaligned);
        }
        let address = index.checked_add(offset);
        let end = address.and_then(|address| address.checked_add(size));
        let length = self.vm_memory(memory).length as u64;
        let (Some(address), Some(0..)) = (address, end.and_then(|end| length.checked_sub(end)))
        else {
            return Err(TrapCode::MemoryOutOfBounds);
        };
        let shared = match self.memory(memory) {
            InstanceMemory::Own(_) => None,
            // SAFETY: the handle is the instance's own, and never changes.
            InstanceMemory::Shared(memory) => Some(unsafe { memory.as_ref() }),
        };
        Ok((shared, address))
    }

    /// `memory.atomic.wait32` and `wait64`: 0 when it was notified, 1 when there is another value, 2 when
    /// `timeout` nanoseconds are over. A negative timeout never is.
    ///
    /// While the thread waits, the store's epoch deadline holds as it does in compiled code.
    ///
    /// # Errors
    ///
    /// The trap, or why the embedder ends the guest's call.
    pub(crate) fn atomic_wait(
        &self,
        memory: MemoryIndex,
        index: u64,
        offset: u64,
        expected: Expected,
        timeout: i64,
    ) -> Result<u32, Reason> {
        let (memory, address) = self.atomic_place(memory, index, offset, expected.size())?;
        let memory = memory.ok_or(TrapCode::AtomicWaitNonShared)?;
        let timeout = u64::try_from(timeout).ok().map(Duration::from_nanos);
        let engine = self.module().engine();
        // SAFETY: the store is alive, compiled code is waiting, and nobody else refers to the store
        // while the embedder is asked.
        let mut renew = || unsafe { self.store().as_mut() }.new_epoch_of_wait();
        // SAFETY: as above.
        let deadline = unsafe { self.store().as_ref() }.epoch_deadline();
        let watch = deadline.map(|deadline| EpochWatch {
            engine,
            deadline,
            renew: &mut renew,
        });
        Ok(parking::wait(memory, address, expected, timeout, watch)? as u32)
    }

    /// As [`Instance::atomic_wait`], but only gets in line: `waker` is woken by a notification. `None` when
    /// there is another value. The second result is when the wait is over.
    ///
    /// # Errors
    ///
    /// The trap.
    pub(crate) fn atomic_register(
        &self,
        (memory, index, offset): (MemoryIndex, u64, u64),
        expected: Expected,
        timeout: i64,
        waker: Waker,
    ) -> Result<Option<(Registration<'_>, Option<Instant>)>, TrapCode> {
        let (memory, address) = self.atomic_place(memory, index, offset, expected.size())?;
        let memory = memory.ok_or(TrapCode::AtomicWaitNonShared)?;
        let timeout = u64::try_from(timeout).ok().map(Duration::from_nanos);
        // What does not fit is longer than anybody waits.
        let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let registration = memory.register(address, expected, waker)?;
        Ok(registration.map(|registration| (registration, until)))
    }

    /// `memory.atomic.notify`: how many of those who wait there were woken, at most `count`.
    ///
    /// # Errors
    ///
    /// [`TrapCode::HeapMisaligned`] or [`TrapCode::MemoryOutOfBounds`].
    pub(crate) fn atomic_notify(
        &self,
        memory: MemoryIndex,
        index: u64,
        offset: u64,
        count: u32,
    ) -> Result<u32, TrapCode> {
        match self.atomic_place(memory, index, offset, 4)? {
            (Some(memory), address) => memory.notify(address, count),
            // Nobody can wait there.
            (None, _) => Ok(0),
        }
    }
}
