//! [`Memory`]: a linear memory in a store.

use crate::context::{AsContext, AsContextMut, StoreContext, StoreContextMut};
use crate::error::{Result, create_error};
use crate::store::{StoreOpaque, unwrap_host_error};
use crate::types::MemoryType;
use anyhow::{anyhow, ensure};
use core::fmt;
use core::ptr::NonNull;
use core::slice;
use sarsen_vm::instance as vm;
use sarsen_vm::instance::StoreId;
use sarsen_vm::mem::LinearMemory;

/// An access to a [`Memory`] outside its bounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct MemoryAccessError;

impl fmt::Display for MemoryAccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("out of bounds memory access")
    }
}

impl std::error::Error for MemoryAccessError {}

/// A linear memory in a store.
///
/// ```
/// use sarsen::{Engine, Memory, MemoryType, Store};
///
/// let mut store = Store::new(&Engine::default(), ());
/// let memory = Memory::new(&mut store, MemoryType::new(1, Some(2)))?;
/// memory.write(&mut store, 100, b"hello")?;
/// assert_eq!(&memory.data(&store)[100..105], b"hello");
/// assert_eq!(memory.grow(&mut store, 1)?, 1);
/// assert!(memory.grow(&mut store, 1).is_err());
/// # Ok::<(), sarsen::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Memory {
    store: StoreId,
    memory: NonNull<LinearMemory>,
}

// SAFETY: the memory is used only together with its store.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// A memory of zeroes.
    ///
    /// # Errors
    ///
    /// When a limit is reached, the type is shared (see [`SharedMemory`](crate::SharedMemory)), or the
    /// system has no room.
    pub fn new(mut store: impl AsContextMut, ty: MemoryType) -> Result<Memory> {
        ensure!(
            !ty.is_shared(),
            "a shared memory is made by `SharedMemory::new`, not `Memory::new`"
        );
        let mut store = store.as_context_mut();
        let store = store.opaque();
        let memory = store
            .vm_mut()
            .new_memory(ty.to_abi())
            .map_err(create_error)?;
        Ok(Memory::new_handle(store.id(), memory))
    }

    pub(crate) fn new_handle(store: StoreId, memory: NonNull<LinearMemory>) -> Memory {
        Memory { store, memory }
    }

    pub(crate) fn store_id(&self) -> StoreId {
        self.store
    }

    pub(crate) fn to_vm(self) -> vm::Extern {
        vm::Extern::Memory(self.memory)
    }

    #[inline]
    fn get<'a>(&self, store: &'a StoreOpaque) -> &'a LinearMemory {
        store.assert_owns(self.store);
        // SAFETY: a memory of this store, which is borrowed: alive, and nobody changes it.
        unsafe { self.memory.as_ref() }
    }

    /// Where its bytes are, and how many.
    #[inline]
    fn bytes(&self, store: &StoreOpaque) -> (*mut u8, usize) {
        let memory = self.get(store);
        (memory.base(), memory.size_bytes())
    }

    /// Its type, as declared: not with its present size.
    ///
    /// # Panics
    ///
    /// This and all other methods panic when the memory belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> MemoryType {
        MemoryType::from_abi(*self.get(store.as_context().opaque()).ty())
    }

    /// Copies the bytes from `offset` to `buffer`.
    ///
    /// # Errors
    ///
    /// When they are not all in bounds; then nothing is copied.
    pub fn read(
        &self,
        store: impl AsContext,
        offset: usize,
        buffer: &mut [u8],
    ) -> Result<(), MemoryAccessError> {
        let store = store.as_context();
        let bytes = self
            .data(store)
            .get(offset..)
            .and_then(|bytes| bytes.get(..buffer.len()))
            .ok_or(MemoryAccessError)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }

    /// Copies `buffer` to the bytes from `offset`.
    ///
    /// # Errors
    ///
    /// When they are not all in bounds; then nothing is copied.
    pub fn write(
        &self,
        mut store: impl AsContextMut,
        offset: usize,
        buffer: &[u8],
    ) -> Result<(), MemoryAccessError> {
        let store = store.as_context_mut();
        self.data_mut(store)
            .get_mut(offset..)
            .and_then(|bytes| bytes.get_mut(..buffer.len()))
            .ok_or(MemoryAccessError)?
            .copy_from_slice(buffer);
        Ok(())
    }

    /// Its bytes.
    pub fn data<'a, T: 'static>(&self, store: impl Into<StoreContext<'a, T>>) -> &'a [u8] {
        let (base, size) = self.bytes(store.into().opaque());
        // SAFETY: the memory is accessible up to its size, and nobody writes it or moves it while its
        // store is borrowed.
        unsafe { slice::from_raw_parts(base, size) }
    }

    /// Its bytes.
    pub fn data_mut<'a, T: 'static>(
        &self,
        store: impl Into<StoreContextMut<'a, T>>,
    ) -> &'a mut [u8] {
        self.data_and_store_mut(store).0
    }

    /// Its bytes together with the store's data.
    pub fn data_and_store_mut<'a, T: 'static>(
        &self,
        store: impl Into<StoreContextMut<'a, T>>,
    ) -> (&'a mut [u8], &'a mut T) {
        let inner = store.into().into_inner();
        let (base, size) = self.bytes(&inner.opaque);
        // SAFETY: the memory is accessible up to its size, and whoever would use it otherwise needs
        // the store, of which only the data, which is apart, is still to be had.
        (
            unsafe { slice::from_raw_parts_mut(base, size) },
            &mut inner.data,
        )
    }

    /// Where its bytes are. They may move when it grows.
    pub fn data_ptr(&self, store: impl AsContext) -> *mut u8 {
        self.bytes(store.as_context().opaque()).0
    }

    /// Its size, in bytes.
    pub fn data_size(&self, store: impl AsContext) -> usize {
        self.bytes(store.as_context().opaque()).1
    }

    /// Its size, in pages.
    pub fn size(&self, store: impl AsContext) -> u64 {
        self.get(store.as_context().opaque()).size_pages()
    }

    /// The size of a page, in bytes.
    pub fn page_size(&self, store: impl AsContext) -> u64 {
        self.ty(store).page_size()
    }

    /// Grows by `delta` pages of zeroes; returns the old size in pages.
    ///
    /// # Errors
    ///
    /// When its type or the store's limiter does not allow it, or the system has no room.
    pub fn grow(&self, mut store: impl AsContextMut, delta: u64) -> Result<u64> {
        let mut store = store.as_context_mut();
        let store = store.opaque();
        store.assert_owns(self.store);
        // SAFETY: a memory of this store, which is borrowed, so that nothing of it runs.
        let old = unsafe { store.vm_mut().grow_memory(self.memory, delta) };
        old.map_err(unwrap_host_error)?
            .ok_or_else(|| anyhow!("failed to grow memory by {delta} pages"))
    }

    /// As [`Memory::new`], as a future that is ready at once: a limiter answers without waiting.
    ///
    /// # Errors
    ///
    /// As [`Memory::new`].
    pub async fn new_async(store: impl AsContextMut<Data: Send>, ty: MemoryType) -> Result<Memory> {
        Memory::new(store, ty)
    }

    /// As [`Memory::grow`], as a future that is ready at once: a limiter answers without waiting.
    ///
    /// # Errors
    ///
    /// As [`Memory::grow`].
    pub async fn grow_async(
        &self,
        store: impl AsContextMut<Data: Send>,
        delta: u64,
    ) -> Result<u64> {
        self.grow(store, delta)
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Memory({:p})", self.memory)
    }
}
