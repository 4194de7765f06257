//! [`SharedMemory`]: a linear memory of many stores.

use crate::engine::Engine;
use crate::error::{Result, create_error};
use crate::memory::MemoryAccessError;
use crate::trap::Trap;
use crate::types::MemoryType;
use anyhow::{anyhow, ensure};
use core::cell::UnsafeCell;
use core::fmt;
use core::ptr::NonNull;
use core::slice;
use core::time::Duration;
use sarsen_vm::instance as vm;
use sarsen_vm::mem::Expected;

pub use sarsen_vm::instance::WaitResult;

/// A linear memory that instances in many stores use at once, each on a thread of its own (threads
/// proposal).
///
/// It belongs to an engine, not to a store, and exists until nobody has a handle to it any more: the
/// host, or an instance that imports or defines it. Cloning a handle is cheap.
///
/// Anybody may write its bytes at any time. So there is no `&[u8]` of it: they are copied in and out
/// ([`SharedMemory::read`], [`SharedMemory::write`]), or accessed through pointers and atomics
/// ([`SharedMemory::data`]).
///
/// ```
/// use sarsen::{Engine, MemoryType, SharedMemory, WaitResult};
///
/// let memory = SharedMemory::new(&Engine::default(), MemoryType::shared(1, 2))?;
/// let other = memory.clone();
/// let waiting = std::thread::spawn(move || other.atomic_wait32(8, 0, None));
/// while memory.atomic_notify(8, 1)? == 0 {}
/// assert_eq!(waiting.join().unwrap()?, WaitResult::Ok);
/// # Ok::<(), sarsen::Error>(())
/// ```
#[derive(Clone)]
pub struct SharedMemory {
    engine: Engine,
    memory: sarsen_vm::mem::SharedMemory,
}

impl SharedMemory {
    /// A memory of zeroes. Address space for its maximum is taken at once.
    ///
    /// No store's limiter is asked, because it belongs to none: what the host makes, it bounds by the type's
    /// maximum, which nobody can grow it beyond. A store's limiter is asked when one of its modules defines a
    /// shared memory, or grows one, this one too.
    ///
    /// # Errors
    ///
    /// When the type is not shared or is impossible, the proposal is off, or the system has no room.
    pub fn new(engine: &Engine, ty: MemoryType) -> Result<SharedMemory> {
        ensure!(
            ty.is_shared(),
            "a shared memory needs a shared type, not {ty}"
        );
        ty.check()?;
        ensure!(
            engine
                .config()
                .features()
                .contains(sarsen_abi::Feature::Threads),
            "shared memories need the proposal `threads`, which is off"
        );
        let memory = sarsen_vm::mem::SharedMemory::new(engine.vm().slots(), ty.to_abi(), None);
        let memory = memory.map_err(|error| create_error(vm::CreateError::Memory(error)))?;
        Ok(SharedMemory::from_vm(engine, memory))
    }

    pub(crate) fn from_vm(engine: &Engine, memory: sarsen_vm::mem::SharedMemory) -> Self {
        SharedMemory {
            engine: engine.clone(),
            memory,
        }
    }

    /// What an instance is given. Valid as long as this handle is where it is.
    pub(crate) fn to_vm(&self) -> vm::Extern {
        vm::Extern::SharedMemory(NonNull::from(&self.memory))
    }

    /// The engine that it belongs to.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Its type, as declared: not with its present size.
    pub fn ty(&self) -> MemoryType {
        MemoryType::from_abi(*self.memory.ty())
    }

    /// Its size now, in pages. Another thread may grow it at any time; it never shrinks.
    pub fn size(&self) -> u64 {
        self.memory.size_pages()
    }

    /// The size of a page, in bytes.
    pub fn page_size(&self) -> u64 {
        self.ty().page_size()
    }

    /// Its size now, in bytes.
    pub fn data_size(&self) -> usize {
        self.memory.size_bytes()
    }

    /// Its bytes, as many as there are now. They never move.
    ///
    /// Other threads may access them at the same time: a plain read or write through
    /// [`UnsafeCell::get`] is undefined behaviour unless the guests and the host have agreed on a way
    /// to exclude that. Atomics may be used, where all do.
    pub fn data(&self) -> &[UnsafeCell<u8>] {
        let size = self.memory.size_bytes();
        // SAFETY: so many bytes are accessible, and never move or become inaccessible while the memory
        // exists, which this handle makes sure of; references to cells promise nothing of what is in
        // them.
        unsafe { slice::from_raw_parts(self.memory.base().cast(), size) }
    }

    /// Grows by `delta` pages of zeroes; returns the old size in pages. No store's limiter is asked
    /// ([`SharedMemory::new`]).
    ///
    /// # Errors
    ///
    /// When its type does not allow it, or the system has no room.
    pub fn grow(&self, delta: u64) -> Result<u64> {
        self.memory
            .grow(delta)
            .map_err(|error| anyhow!("failed to grow memory by {delta} pages: {error}"))
    }

    /// Copies the bytes from `offset` to `buffer`. What another thread writes meanwhile may be seen in
    /// part.
    ///
    /// # Errors
    ///
    /// When they are not all in bounds; then nothing is copied.
    pub fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), MemoryAccessError> {
        let read = self.memory.read(offset, buffer);
        read.map_err(|_| MemoryAccessError)
    }

    /// Copies `buffer` to the bytes from `offset`. Another thread may see it in part.
    ///
    /// # Errors
    ///
    /// When they are not all in bounds; then nothing is copied.
    pub fn write(&self, offset: u64, buffer: &[u8]) -> Result<(), MemoryAccessError> {
        let written = self.memory.write(offset, buffer);
        written.map_err(|_| MemoryAccessError)
    }

    /// As `memory.atomic.notify`: wakes at most `count` of those who have waited longest at `addr`, in
    /// WebAssembly or in the host; returns how many.
    ///
    /// # Errors
    ///
    /// When the address is out of bounds, or no multiple of 4.
    ///
    /// # Panics
    ///
    /// Resumes the first panic of a waker of an asynchronous call that is woken, after all were woken. In WebAssembly,
    /// that panic comes out of the host's call.
    pub fn atomic_notify(&self, addr: u64, count: u32) -> Result<u32, Trap> {
        self.memory.notify(addr, count)
    }

    /// As `memory.atomic.wait32`: blocks this thread if there is `expected` at `addr`, until it is
    /// notified there, or for `timeout`; forever without one. No epoch ends it.
    ///
    /// # Errors
    ///
    /// When the address is out of bounds, or no multiple of 4.
    pub fn atomic_wait32(
        &self,
        addr: u64,
        expected: u32,
        timeout: Option<Duration>,
    ) -> Result<WaitResult, Trap> {
        self.memory.wait(addr, Expected::I32(expected), timeout)
    }

    /// As `memory.atomic.wait64`; see [`SharedMemory::atomic_wait32`].
    ///
    /// # Errors
    ///
    /// When the address is out of bounds, or no multiple of 8.
    pub fn atomic_wait64(
        &self,
        addr: u64,
        expected: u64,
        timeout: Option<Duration>,
    ) -> Result<WaitResult, Trap> {
        self.memory.wait(addr, Expected::I64(expected), timeout)
    }
}

impl fmt::Debug for SharedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedMemory({:p})", self.memory.base())
    }
}
