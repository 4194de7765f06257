//! [`Engine`]: what all stores and modules of one engine share at run time.
//!
//! The registry of types, recycled storage, the epoch, and the *stub map*: for a function type, an
//! image that has its entry and exit stubs, so that host functions of that type can be called
//! without compiling anything. The map keeps no image alive.

use super::alarm;
use super::heap::FrameRoots;
use super::module::CompiledModule;
use super::parking;
use crate::gc::RangePool;
use crate::mem::{BlockPool, SlotPool};
use crate::stack::{StackConfig, StackPool};
use crate::types::Registry;
use hashbrown::HashMap;
use sarsen_abi::builtin::BuiltinTable;
use sarsen_abi::{Settings, TypeId, TypeIndex};
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};

/// What all stores and modules of one engine share. See the module's page.
pub struct Engine {
    settings: Settings,
    types: Arc<Registry>,
    slots: Arc<SlotPool>,
    blocks: Arc<BlockPool>,
    heaps: Arc<RangePool>,
    stacks: Arc<StackPool>,
    builtins: Builtins,
    frame_roots: FrameRoots,
    epoch: AtomicU64,
    /// How many threads wait in shared memories, and must be told of a new epoch.
    pub(super) parked: AtomicUsize,
    /// The first epoch that an alarm waits for, or [`alarm::NONE`].
    pub(super) alarm: AtomicU64,
    stubs: RwLock<HashMap<TypeId, StubSource>>,
}

/// The runtime's builtins.
struct Builtins(&'static BuiltinTable);

// SAFETY: the table is immutable; its pointers are to code.
unsafe impl Send for Builtins {}
// SAFETY: as above.
unsafe impl Sync for Builtins {}

/// Where a function type's stubs are.
struct StubSource {
    module: Weak<CompiledModule>,
    ty: TypeIndex,
}

/// The stubs of a function type, and what keeps them alive.
#[derive(Clone, Debug)]
pub struct Stubs {
    /// Whose code they are.
    pub module: Arc<CompiledModule>,
    /// The entry stub ([`sarsen_abi::vmctx::VmFuncRef::entry`]).
    pub entry: *const u8,
    /// The exit stub: the `code` of a host function.
    pub exit: *const u8,
}

// SAFETY: the pointers are to code, which never changes and which `module` keeps alive.
unsafe impl Send for Stubs {}
// SAFETY: as above.
unsafe impl Sync for Stubs {}

impl Engine {
    /// Creates an engine's shared state. The runtime's table of builtins, and what finds references in
    /// frames, are `exec`'s.
    ///
    /// # Errors
    ///
    /// When the system has no address space left.
    pub fn new(
        settings: Settings,
        builtins: &'static BuiltinTable,
        frame_roots: FrameRoots,
        stacks: &StackConfig,
    ) -> std::io::Result<Arc<Engine>> {
        Ok(Arc::new(Engine {
            types: Arc::new(Registry::new()?),
            slots: Arc::new(SlotPool::new(settings.clone())),
            blocks: Arc::new(BlockPool::default()),
            heaps: Arc::default(),
            stacks: Arc::new(StackPool::new(stacks)),
            settings,
            builtins: Builtins(builtins),
            frame_roots,
            epoch: AtomicU64::new(0),
            parked: AtomicUsize::new(0),
            alarm: AtomicU64::new(alarm::NONE),
            stubs: RwLock::default(),
        }))
    }

    /// The settings that all of its code was compiled under.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The registry of types.
    pub fn types(&self) -> &Arc<Registry> {
        &self.types
    }

    /// Address space for linear memories.
    pub fn slots(&self) -> &Arc<SlotPool> {
        &self.slots
    }

    /// Address space for collected heaps.
    pub fn heaps(&self) -> &Arc<RangePool> {
        &self.heaps
    }

    /// Stacks for continuations and asynchronous calls.
    pub fn stacks(&self) -> &Arc<StackPool> {
        &self.stacks
    }

    /// What finds references in frames.
    pub(super) fn frame_roots(&self) -> FrameRoots {
        self.frame_roots
    }

    /// Blocks for vmctx.
    pub(super) fn blocks(&self) -> &Arc<BlockPool> {
        &self.blocks
    }

    /// What every context points to.
    pub(super) fn builtins(&self) -> &'static BuiltinTable {
        self.builtins.0
    }

    /// The epoch.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    /// Advances the epoch by one, and wakes whoever waits in a shared memory but not beyond it.
    /// Async-signal-safe.
    pub fn increment_epoch(&self) {
        let epoch = self.epoch.fetch_add(1, Ordering::SeqCst).wrapping_add(1);
        if self.parked.load(Ordering::SeqCst) > 0 {
            parking::wake_for_epoch(self, epoch);
        }
        if epoch >= self.alarm.load(Ordering::SeqCst) {
            alarm::ring();
        }
    }

    /// Where compiled code reads the epoch. Valid as long as the engine.
    pub(super) fn epoch_ptr(&self) -> *const u64 {
        self.epoch.as_ptr()
    }

    /// The stubs of a function type, if an image that has them is alive.
    pub fn stubs(&self, ty: TypeId) -> Option<Stubs> {
        let map = self.stubs.read().unwrap_or_else(PoisonError::into_inner);
        let source = map.get(&ty)?;
        let module = source.module.upgrade()?;
        CompiledModule::stubs(&module, source.ty)
    }

    /// Makes the stubs of a module known.
    pub(super) fn add_stubs(&self, module: &Arc<CompiledModule>) {
        let mut map = self.stubs.write().unwrap_or_else(PoisonError::into_inner);
        for (ty, id) in module.func_types() {
            let known = map.get(&id).is_some_and(|s| s.module.strong_count() > 0);
            if !known {
                let module = Arc::downgrade(module);
                map.insert(id, StubSource { module, ty });
            }
        }
    }

    /// Forgets the stubs of a module that is being dropped.
    pub(super) fn remove_stubs(&self, module: &CompiledModule) {
        let mut map = self.stubs.write().unwrap_or_else(PoisonError::into_inner);
        for (_, id) in module.func_types() {
            let of_module = |s: &StubSource| std::ptr::eq(s.module.as_ptr(), module);
            if map.get(&id).is_some_and(of_module) {
                map.remove(&id);
            }
        }
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("settings", &self.settings)
            .field("epoch", &self.epoch())
            .finish_non_exhaustive()
    }
}
