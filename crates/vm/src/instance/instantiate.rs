//! Making an instance (core specification, §4.7.4 "Instantiation").
//!
//! The start function is not run here: it is returned, for the caller to run.
//!
//! # When it fails
//!
//! Until its globals and tables are initialized, nobody else has seen the instance, and it is dropped.
//! After that the collector knows of its tables, and its functions may be in imported tables, so it stays in the store, and what was written to
//! imported tables and memories stays written, as the specification says.

use super::host_objects::CreateError;
use super::imports::{self, Import, ImportMismatch};
use super::instance::{Extern, Instance, InstanceMemory};
use super::module::CompiledModule;
use super::reason::{HostError, Reason};
use super::stable::Stable;
use super::store::Store;
use super::upcalls::ResourceCounts;
use crate::gc::HeapError;
use crate::mem::{LinearMemory, SharedMemory, Table};
use sarsen_abi::vmctx::{
    ContextHeader, HOSTCTX_MAGIC, NO_FUNC_ID, VMCTX_MAGIC, VmCtxHeader, VmFuncRef, VmGlobal,
    VmHostCtx, VmTag,
};
use sarsen_abi::{
    EntityIndex, Feature, FuncIndex, GlobalIndex, MemoryIndex, TableIndex, TagIndex, TrapCode,
};
use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;

/// A new instance.
#[derive(Clone, Copy, Debug)]
pub struct Instantiated {
    /// It lives as long as its store.
    pub instance: NonNull<Instance>,
    /// The start function, to be called before the instance is used.
    pub start: Option<NonNull<VmFuncRef>>,
}

/// Why a module could not be instantiated.
#[derive(Debug)]
pub enum InstantiateError {
    /// Too few or too many imports were given.
    ImportCount {
        /// How many the module has.
        wanted: usize,
        /// How many were given.
        found: usize,
    },
    /// An import has the wrong type.
    Import(Box<ImportMismatch>),
    /// A memory or table could not be made, or the store is full.
    Create(CreateError),
    /// An active segment does not fit.
    Trap(TrapCode),
    /// There is no room for an object that a constant expression makes, or the embedder's limiter
    /// refuses it.
    Heap(HeapError),
}

impl InstantiateError {
    /// What the embedder's limiter returned, if that is why.
    pub fn into_host_error(self) -> Result<HostError, InstantiateError> {
        match self {
            InstantiateError::Create(
                CreateError::Host(error) | CreateError::Heap(HeapError::Host(error)),
            )
            | InstantiateError::Heap(HeapError::Host(error)) => Ok(error),
            other => Err(other),
        }
    }
}

impl fmt::Display for InstantiateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InstantiateError::ImportCount { wanted, found } => {
                write!(f, "expected {wanted} imports, found {found}")
            }
            InstantiateError::Import(error) => error.fmt(f),
            InstantiateError::Create(error) => error.fmt(f),
            InstantiateError::Trap(code) => code.fmt(f),
            InstantiateError::Heap(error) => write!(f, "cannot allocate an object: {error}"),
        }
    }
}

impl From<ImportMismatch> for InstantiateError {
    fn from(error: ImportMismatch) -> Self {
        InstantiateError::Import(Box::new(error))
    }
}

impl From<HeapError> for InstantiateError {
    fn from(error: HeapError) -> Self {
        InstantiateError::Heap(error)
    }
}

impl From<Reason> for InstantiateError {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Trap(code) => InstantiateError::Trap(code),
            Reason::Error(error) => InstantiateError::Heap(HeapError::Host(error)),
            Reason::Cast(_) | Reason::Exception { .. } | Reason::Suspend(_) | Reason::Panic(_) => {
                unreachable!("constant expressions neither cast nor call the host")
            }
        }
    }
}

impl From<CreateError> for InstantiateError {
    fn from(error: CreateError) -> Self {
        InstantiateError::Create(error)
    }
}

impl Store {
    /// Instantiates a module with these imports, in the order of [`sarsen_abi::Module::imports`].
    /// The start function is left to the caller.
    ///
    /// # Errors
    ///
    /// See [`InstantiateError`]. The store stays usable.
    ///
    /// # Panics
    ///
    /// Panics when the module, or a shared memory that is imported, is of another engine.
    ///
    /// # Safety
    ///
    /// The imports must be of this store, or shared memories, or host functions of its engine that stay alive as long
    /// as it. Nothing of this store may run meanwhile.
    pub unsafe fn instantiate(
        &mut self,
        module: &Arc<CompiledModule>,
        imports: &[Import],
    ) -> Result<Instantiated, InstantiateError> {
        assert!(
            Arc::ptr_eq(self.engine(), module.engine()),
            "a module of another engine"
        );
        // SAFETY: the caller's promise.
        unsafe { imports::check(module, imports)? };
        let at = self.make_instance(module, imports)?;
        // SAFETY: just made; only shared references to an instance exist from now on.
        let instance = unsafe { at.as_ref() };
        self.initialize(instance)?;
        instance.apply_active_segments(self)?;
        let start = module.module().start;
        let start = start.map(|f| {
            instance
                .func(f)
                .expect("the start function has a reference")
        });
        Ok(Instantiated {
            instance: at,
            start,
        })
    }

    /// Makes everything but the segments, and puts the instance into the store.
    fn make_instance(
        &mut self,
        module: &Arc<CompiledModule>,
        imports: &[Import],
    ) -> Result<NonNull<Instance>, InstantiateError> {
        let declared = module.module();
        let counts = self
            .counts_with(ResourceCounts {
                instances: 1,
                memories: declared.memories.len() - declared.num_imports.memories as usize,
                tables: declared.tables.len() - declared.num_imports.tables as usize,
            })
            .map_err(CreateError::TooMany)?;
        if module.uses_heap() {
            self.reserve_heap().map_err(CreateError::Heap)?;
        }
        let owned = Stable::new(Instance::new(self, Arc::clone(module)));
        let at = owned.as_non_null();
        // SAFETY: nobody else knows of it yet.
        let instance = unsafe { &mut *at.as_ptr() };
        // SAFETY: as above; the imports are checked, of this store, and alive.
        unsafe {
            write_header(self, instance, at);
            write_imports(self, instance, imports);
            write_funcrefs(instance);
            make_memories(self, instance)?;
            make_tables(self, instance)?;
            // The heap knows of them from then on, so that nothing may fail or panic any more.
            write_tags(self, instance);
        }
        if module
            .module()
            .features_used
            .contains(Feature::StackSwitching)
        {
            // Compiled code looks into the table of stacks.
            self.stacks_mut();
        }
        self.set_counts(counts);
        self.instances.push(owned);
        Ok(at)
    }

    /// Initializes globals and tables. This may collect, which looks at them.
    fn initialize(&mut self, instance: &Instance) -> Result<(), InstantiateError> {
        // SAFETY: the instance is new, with its imports and references in place.
        unsafe {
            write_globals(self, instance)?;
            fill_tables(self, instance)?;
        }
        Ok(())
    }
}

/// # Safety
///
/// The instance must be new, and at `at`.
unsafe fn write_header(store: &Store, instance: &Instance, at: NonNull<Instance>) {
    let header = VmCtxHeader {
        context: ContextHeader {
            magic: VMCTX_MAGIC,
            reserved: 0,
            store: store.ctx(),
            builtins: store.engine().builtins(),
        },
        type_ids: instance.module.type_ids().as_ptr(),
        epoch: store.engine().epoch_ptr(),
        instance: at.as_ptr().cast(),
        type_rows: store.engine().types().rows_base(),
        deep_rows: store.engine().types().deep_base(),
        reserved: 0,
    };
    // SAFETY: the block begins with the header, and nobody else uses it yet.
    unsafe { instance.vmctx().write(header) };
}

/// Writes what is imported into the vmctx and the instance.
///
/// # Safety
///
/// The instance must be new, and the imports checked, of its store, and alive.
unsafe fn write_imports(store: &mut Store, instance: &mut Instance, imports: &[Import]) {
    let module = Arc::clone(&instance.module);
    let layout = module.layout();
    let entities = module.module().imports.iter().map(|import| import.entity);
    for ((entity, import), position) in entities.zip(imports).zip(0..) {
        // SAFETY: the layout gives each import a place of its own in the block; the caller's
        // promise for what the imports point to.
        unsafe {
            match (entity, import) {
                (EntityIndex::Func(func), import) => {
                    let funcref = import_func(store, instance, func, position, import);
                    instance.at(layout.imported_func(func)).write(funcref);
                }
                (EntityIndex::Table(index), Import::Extern(Extern::Table(table))) => {
                    instance.tables.push(*table);
                    let cell = table.as_ref().vm();
                    instance.at(layout.imported_table(index)).write(cell);
                }
                (EntityIndex::Memory(index), Import::Extern(Extern::Memory(memory))) => {
                    instance.memories.push(InstanceMemory::Own(*memory));
                    let cell = memory.as_ref().vm();
                    instance.at(layout.imported_memory(index)).write(cell);
                }
                (EntityIndex::Memory(index), Import::Extern(Extern::SharedMemory(memory))) => {
                    let memory = memory.as_ref().clone();
                    instance
                        .at(layout.imported_memory(index))
                        .write(memory.vm());
                    instance.push_shared(memory);
                }
                (EntityIndex::Global(index), Import::Extern(Extern::Global(global, _))) => {
                    instance.at(layout.imported_global(index)).write(*global);
                }
                (EntityIndex::Tag(index), Import::Extern(Extern::Tag(tag))) => {
                    instance.at(layout.imported_tag(index)).write(*tag);
                }
                _ => unreachable!("the kinds of imports have been checked"),
            }
        }
    }
}

/// The reference to an imported function: the exporter's own, except that a host function gets a
/// context that knows its caller, and this module's stubs.
///
/// # Safety
///
/// As for [`write_imports`].
unsafe fn import_func(
    store: &mut Store,
    instance: &Instance,
    func: FuncIndex,
    position: usize,
    import: &Import,
) -> VmFuncRef {
    let caller = instance.vmctx().as_ptr();
    let wanted = &instance.module.imports()[position];
    // SAFETY: functions of this store or of no store, alive; a context's magic says what it is.
    let (context, type_id) = unsafe {
        match import {
            Import::HostFunc(host) => {
                let host = host.as_ref();
                (host.context(store, caller), host.ty().id())
            }
            Import::Extern(Extern::Func(func)) => {
                let funcref = func.read();
                if (*funcref.context).magic != HOSTCTX_MAGIC {
                    return funcref;
                }
                if funcref.code.is_null() {
                    // The instance may yet fail, and the function outlive it.
                    store.resolve_with(*func, wanted.stubs(&instance.module));
                }
                let context = funcref.context.cast::<VmHostCtx>().read();
                (VmHostCtx { caller, ..context }, funcref.type_id)
            }
            Import::Extern(_) => unreachable!("the kinds of imports have been checked"),
        }
    };
    let at = instance.host_context(func);
    // SAFETY: the block has a place for the context of every imported function.
    unsafe { at.write(context) };
    VmFuncRef {
        code: wanted.exit,
        context: at.as_ptr().cast(),
        entry: wanted.entry,
        type_id,
        id: NO_FUNC_ID,
    }
}

/// # Safety
///
/// The instance must be new.
unsafe fn write_funcrefs(instance: &Instance) {
    let templates = instance.module.funcrefs();
    if templates.is_empty() {
        return;
    }
    let context: *mut ContextHeader = instance.vmctx().as_ptr().cast();
    let first: NonNull<VmFuncRef> = instance.at(instance.module.layout().escaping_func(0));
    for (position, template) in templates.iter().enumerate() {
        // SAFETY: the layout has a place for each, one after the other.
        unsafe {
            first.add(position).write(VmFuncRef {
                context,
                ..*template
            })
        };
    }
}

/// # Safety
///
/// The instance must be new.
unsafe fn make_memories(store: &Store, instance: &mut Instance) -> Result<(), CreateError> {
    let module = Arc::clone(&instance.module);
    let declared = module.module();
    let imported = declared.num_imports.memories as usize;
    for (position, ty) in declared.memories[imported..].iter().enumerate() {
        store.may_create_memory(ty)?;
        let index = MemoryIndex::from_usize(imported + position);
        let cell = instance.at(module.layout().defined_memory(index));
        let image = module.memory_image(position);
        if ty.shared {
            let memory = SharedMemory::new(store.engine().slots(), *ty, image)?;
            // SAFETY: the layout has a place for it.
            unsafe { cell.cast().write(memory.vm()) };
            instance.push_shared(memory);
            continue;
        }
        // SAFETY: the cell lies in the block, which the instance drops after its memories.
        let memory = unsafe { LinearMemory::new(store.engine().slots(), *ty, image, cell)? };
        let memory = Stable::new(memory);
        instance
            .memories
            .push(InstanceMemory::Own(memory.as_non_null()));
        instance.own_memories.push(memory);
    }
    Ok(())
}

/// # Safety
///
/// The instance must be new.
unsafe fn make_tables(store: &Store, instance: &mut Instance) -> Result<(), CreateError> {
    let module = Arc::clone(&instance.module);
    let imported = module.module().num_imports.tables as usize;
    for index in imported..module.module().tables.len() {
        let index = TableIndex::from_usize(index);
        let ty = module.table_type(index);
        store.may_create_table(&ty)?;
        let cell = instance.at(module.layout().defined_table(index));
        // SAFETY: the cell lies in the block, which the instance drops after its tables.
        let table = Stable::new(unsafe { Table::new(ty, cell)? });
        instance.tables.push(table.as_non_null());
        instance.own_tables.push(table);
    }
    Ok(())
}

/// # Safety
///
/// The instance must be new.
unsafe fn write_tags(store: &mut Store, instance: &Instance) {
    let module = &instance.module;
    for index in module.module().num_imports.tags as usize..module.module().tags.len() {
        let index = TagIndex::from_usize(index);
        let type_id = module.tag_type(index);
        let tag: NonNull<VmTag> = instance.at(module.layout().defined_tag(index));
        let id = store.heap_mut().add_tag(tag, type_id);
        // SAFETY: the layout has a place for it.
        unsafe { tag.write(VmTag { type_id, id }) };
    }
}

/// # Safety
///
/// The instance must be new, with its imports and references in place.
unsafe fn write_globals(store: &mut Store, instance: &Instance) -> Result<(), InstantiateError> {
    let module = &instance.module;
    let imported = module.module().num_imports.globals as usize;
    for (position, init) in module.module().global_inits.iter().enumerate() {
        let index = GlobalIndex::from_usize(imported + position);
        let value = VmGlobal(instance.evaluate(store, init)?);
        // SAFETY: the layout has a place for it.
        unsafe {
            instance
                .at(module.layout().defined_global(index))
                .write(value)
        };
    }
    Ok(())
}

/// Gives tables with an initial element that element.
///
/// # Safety
///
/// The instance must be new, with its globals in place.
unsafe fn fill_tables(store: &mut Store, instance: &Instance) -> Result<(), InstantiateError> {
    let inits = &instance.module.module().table_inits;
    for (table, init) in instance.own_tables.iter().zip(inits) {
        if let Some(init) = init {
            let value = instance.evaluate(store, init)?.0 as u64;
            let table = table.as_non_null();
            // SAFETY: a table of this store, and nobody else knows of it yet.
            unsafe { store.fill_table(table, 0, value, table.as_ref().size()) }
                .expect("a table is as large as it is");
        }
    }
    Ok(())
}
