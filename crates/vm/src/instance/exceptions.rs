//! A store's exceptions: making them, looking into them, the one that the host is throwing, and what is
//! remembered of where they are caught.
//!
//! An exception that leaves compiled code uncaught, or that a host function throws, is *pending* until the
//! host takes it or returns it to compiled code. It is a root of the collector's meanwhile.

use super::instance::Instance;
use super::reason::Reason;
use super::store::Store;
use crate::gc::{HeapError, Place};
use sarsen_abi::vmctx::{ValRaw, VmTag};
use sarsen_abi::{TagIndex, TrapCode};
use std::num::NonZeroU32;
use std::ptr::NonNull;

/// How many calls are remembered; a power of two.
const CACHED: usize = 64;

/// Which exceptions a handler takes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Catches {
    /// All.
    All,
    /// Those of the tag at this offset in the frame's vmctx.
    Defined(u32),
    /// Those of the tag that the pointer at this offset in the frame's vmctx leads to.
    Imported(u32),
}

/// A handler.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CaughtAt {
    pub(crate) catches: Catches,
    /// Where execution goes on.
    pub(crate) pc: usize,
}

/// The handlers of a call.
#[derive(Debug)]
pub(crate) struct CallHandlers {
    /// The frame pointer less the stack pointer to continue with, in bytes.
    pub(crate) frame_offset: usize,
    /// Where the vmctx is, in bytes from that stack pointer.
    pub(crate) context: usize,
    /// Innermost first.
    pub(crate) handlers: Box<[CaughtAt]>,
}

/// What is known of calls by their return addresses. A store's code is never unloaded, so it stays true.
#[derive(Default, Debug)]
pub(crate) struct HandlerCache(Vec<(usize, Option<CallHandlers>)>);

impl HandlerCache {
    /// The handlers of the call that returns to `pc`, if it has any; `look_up` finds them.
    #[inline]
    pub(crate) fn get(
        &mut self,
        pc: usize,
        look_up: impl FnOnce() -> Option<CallHandlers>,
    ) -> Option<&CallHandlers> {
        if self.0.is_empty() {
            self.0.resize_with(CACHED, || (0, None));
        }
        let entry = &mut self.0[(pc ^ pc >> 6) % CACHED];
        if entry.0 != pc {
            *entry = (pc, look_up());
        }
        entry.1.as_ref()
    }
}

impl Store {
    /// An exception with a tag of this store and these arguments. The result is raw: it must be rooted
    /// before the next allocation.
    ///
    /// # Errors
    ///
    /// When there is no room.
    ///
    /// # Panics
    ///
    /// Panics unless there is an argument for each of the tag's parameters.
    ///
    /// # Safety
    ///
    /// The tag and the arguments must be of this store, and these of the parameters' types; functions must
    /// be resolved.
    pub unsafe fn alloc_exn(
        &mut self,
        tag: NonNull<VmTag>,
        arguments: &[ValRaw],
    ) -> Result<NonZeroU32, HeapError> {
        // SAFETY: the caller's promise.
        let id = unsafe { tag.as_ref() }.id;
        // SAFETY: the caller's promise.
        let made =
            self.with_heap(|heap, world| unsafe { heap.allocate_exn_of(id, arguments, world) })?;
        Ok(NonZeroU32::new(made).expect("nothing is allocated at null"))
    }

    /// The tag of an exception.
    ///
    /// # Errors
    ///
    /// [`TrapCode::HeapCorruption`] when the reference leads to no exception of this store.
    pub fn exn_tag(&mut self, exception: u32) -> Result<NonNull<VmTag>, TrapCode> {
        self.heap_mut().exn_tag(exception)
    }

    /// What a module that defines or imports a tag of this store calls it, if one of them does.
    pub fn tag_name(&self, tag: NonNull<VmTag>) -> Option<&str> {
        self.instances.iter().find_map(|instance| {
            // SAFETY: the store's own; only shared references to an instance are made once it is here.
            let instance = unsafe { instance.as_non_null().as_ref() };
            let mut names = instance.module().module().tag_names.iter();
            let named = names.find(|(index, _)| instance.tag(*index) == tag);
            named.map(|(_, name)| name.as_str())
        })
    }

    /// Argument `index` of an exception; `None` when it has no such argument.
    ///
    /// # Errors
    ///
    /// As [`Store::exn_tag`].
    pub fn exn_place(&mut self, exception: u32, index: usize) -> Result<Option<Place>, TrapCode> {
        self.heap_mut().exn_place(exception, index)
    }

    /// Makes an exception (not null) the pending one.
    pub fn set_pending_exception(&mut self, exception: NonZeroU32) {
        self.pending_exception = exception.get();
    }

    /// Whether an exception is pending.
    pub fn has_pending_exception(&self) -> bool {
        self.pending_exception != 0
    }

    /// Takes the pending exception, which must be rooted before the next allocation.
    pub fn take_pending_exception(&mut self) -> Option<NonZeroU32> {
        NonZeroU32::new(std::mem::take(&mut self.pending_exception))
    }
}

impl Instance {
    /// `throw`: the reason to look for a handler.
    pub(crate) fn throw(&self, exception: u32) -> Reason {
        match NonZeroU32::new(exception) {
            Some(exception) => Reason::Exception {
                exception,
                error: None,
            },
            None => Reason::Trap(TrapCode::NullReference),
        }
    }

    /// An exception of any size with the module's tag, without arguments yet.
    pub(crate) fn exn_alloc(&self, tag: u32) -> Result<u32, Reason> {
        // SAFETY: the instance's tag, which never changes.
        let id = unsafe { self.tag(TagIndex::new(tag)).as_ref() }.id;
        let store = self.store_mut();
        Ok(store.with_heap(|heap, world| heap.allocate_exn(id, world))?)
    }

    /// Where the tag is found in this instance's vmctx; `None` when the module has no such tag.
    pub(crate) fn tag_place(&self, tag: TagIndex) -> Option<Catches> {
        let module = self.module();
        if tag.index() >= module.module().tags.len() {
            return None;
        }
        Some(if module.module().is_imported_tag(tag) {
            Catches::Imported(module.layout().imported_tag(tag))
        } else {
            Catches::Defined(module.layout().defined_tag(tag))
        })
    }
}
