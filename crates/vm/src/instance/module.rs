//! [`CompiledModule`]: a module that can be instantiated, with everything that is the same for each
//! of its instances worked out once.

use super::engine::{Engine, Stubs};
use super::extern_type::ExternType;
use crate::code::EngineCode;
use crate::mem::{ImageSource, ImageToken};
use crate::types::{ModuleTypes, TooManyTypes};
use hashbrown::HashMap;
use sarsen_abi::types::{CompositeType, GlobalType, SubType, TableType, ValType};
use sarsen_abi::vmctx::{NO_FUNC_ID, VmCtxLayout, VmFuncRef};
use sarsen_abi::{EntityIndex, FuncIndex, GlobalIndex, TableIndex, TagIndex, TypeId, TypeIndex};
use sarsen_abi::{Feature, Module};
use std::fmt;
use std::ptr;
use std::sync::{Arc, OnceLock};

/// A module of one engine: its code, its registered types, and how its instances are laid out.
///
/// Shared by every store that instantiates it; each keeps it alive.
pub struct CompiledModule {
    engine: Arc<Engine>,
    code: Arc<EngineCode>,
    module: Arc<Module>,
    types: ModuleTypes,
    layout: VmCtxLayout,
    imports: Box<[ImportSlot]>,
    /// The references of [`Module::escaping_funcs`], without contexts.
    funcrefs: Box<[VmFuncRef]>,
    /// For every function, where its reference lies in a vmctx; [`NO_FUNCREF`] if nowhere.
    funcref_offsets: Box<[u32]>,
    /// For every defined memory that has an image, the image's identity.
    image_tokens: Box<[Option<ImageToken>]>,
    /// The defined globals that hold collected references.
    collected_globals: Box<[GlobalIndex]>,
    /// Whether compiled code may access the collected heap.
    uses_heap: bool,
    /// Positions in [`Module::exports`] by name; made when first asked for.
    export_positions: OnceLock<HashMap<Box<str>, u32>>,
}

// SAFETY: immutable; the pointers in `funcrefs` and `imports` are to code that `code` keeps alive.
unsafe impl Send for CompiledModule {}
// SAFETY: as above.
unsafe impl Sync for CompiledModule {}

/// In [`CompiledModule::funcref_offsets`]: the function has no reference.
const NO_FUNCREF: u32 = u32::MAX;

/// What an import must be.
pub(super) struct ImportSlot {
    /// Its type.
    pub(super) ty: ExternType,
    /// For a function: this module's stubs for it.
    pub(super) entry: *const u8,
    /// For a function: this module's stubs for it.
    pub(super) exit: *const u8,
}

impl ImportSlot {
    /// The stubs for a function.
    pub(super) fn stubs(&self, module: &Arc<CompiledModule>) -> Stubs {
        Stubs {
            module: Arc::clone(module),
            entry: self.entry,
            exit: self.exit,
        }
    }
}

impl CompiledModule {
    /// Registers the types of `code` with `engine` and works out the layout of its instances. Also
    /// for images that consist of stubs only.
    ///
    /// # Errors
    ///
    /// When the engine has no type ids left.
    ///
    /// # Panics
    ///
    /// Panics when the code belongs to a module already.
    pub fn new(
        engine: &Arc<Engine>,
        code: Arc<EngineCode>,
    ) -> Result<Arc<CompiledModule>, TooManyTypes> {
        let module = Arc::clone(code.module());
        let types = engine.types().register_module(&module)?;
        let layout = VmCtxLayout::new(&module);
        let imports = import_slots(&module, &types, &code);
        let funcrefs = funcref_templates(&module, &types, &code);
        let image_token =
            |image: &Option<_>| image.as_ref().map(|_| ImageToken::new(engine.slots()));
        let compiled = Arc::new(CompiledModule {
            funcref_offsets: funcref_offsets(&module, &layout),
            collected_globals: collected_globals(&module),
            uses_heap: uses_heap(&module),
            image_tokens: module.memory_images.iter().map(image_token).collect(),
            export_positions: OnceLock::new(),
            engine: Arc::clone(engine),
            code,
            module,
            types,
            layout,
            imports,
            funcrefs,
        });
        let owner = Arc::downgrade(&compiled);
        compiled.code.set_owner(owner);
        engine.add_stubs(&compiled);
        Ok(compiled)
    }

    /// The module whose code this is.
    ///
    /// # Panics
    ///
    /// Panics when there is none, or not any more. There is while the code stands on a stack.
    pub(crate) fn of_code(code: &EngineCode) -> Arc<CompiledModule> {
        let owner = code.owner().expect("a module keeps its code alive");
        owner.downcast().expect("only modules own code")
    }

    /// The engine that it belongs to.
    #[inline]
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Its code.
    #[inline]
    pub fn code(&self) -> &Arc<EngineCode> {
        &self.code
    }

    /// What it declares.
    #[inline]
    pub fn module(&self) -> &Arc<Module> {
        &self.module
    }

    /// Where everything lies in the vmctx of its instances.
    #[inline]
    pub fn layout(&self) -> &VmCtxLayout {
        &self.layout
    }

    /// The engine-wide ids of its types, by [`TypeIndex`].
    #[inline]
    pub fn type_ids(&self) -> &[TypeId] {
        self.types.ids()
    }

    /// The engine-wide id of one of its types.
    #[inline]
    pub fn type_id(&self, ty: TypeIndex) -> TypeId {
        self.type_ids()[ty.index()]
    }

    /// The engine-wide type of a function.
    pub fn func_type(&self, func: FuncIndex) -> TypeId {
        self.type_id(self.module.funcs[func.index()])
    }

    /// The engine-wide type of a table.
    pub fn table_type(&self, table: TableIndex) -> TableType<TypeId> {
        self.module.tables[table.index()].map(|ty| self.type_id(ty))
    }

    /// The engine-wide type of a global.
    pub fn global_type(&self, global: GlobalIndex) -> GlobalType<TypeId> {
        global_type(&self.module, self.type_ids(), global)
    }

    /// The engine-wide type of a tag.
    pub fn tag_type(&self, tag: TagIndex) -> TypeId {
        self.type_id(self.module.tags[tag.index()].signature)
    }

    /// The engine-wide type of an import or export.
    pub fn extern_type(&self, entity: EntityIndex) -> ExternType {
        extern_type(&self.module, self.type_ids(), entity)
    }

    /// The position in [`Module::exports`] of the export of this name.
    pub fn export_position(&self, name: &str) -> Option<u32> {
        const FEW: usize = 8;
        if self.module.exports.len() <= FEW {
            let position = self.module.exports.iter().position(|e| e.name == name)?;
            return Some(position as u32);
        }
        let positions = self.export_positions.get_or_init(|| {
            let exports = self.module.exports.iter().zip(0..);
            exports
                .map(|(e, at)| (e.name.as_str().into(), at))
                .collect()
        });
        positions.get(name).copied()
    }

    /// Its stubs for one of its function types.
    pub fn stubs(this: &Arc<CompiledModule>, ty: TypeIndex) -> Option<Stubs> {
        Some(Stubs {
            module: Arc::clone(this),
            entry: this.code.entry_ptr(ty)?,
            exit: this.code.exit_ptr(ty)?,
        })
    }

    /// Its function types.
    pub(super) fn func_types(&self) -> impl Iterator<Item = (TypeIndex, TypeId)> + '_ {
        let types = self.module.types.iter().zip(self.type_ids()).zip(0..);
        types.filter_map(|((ty, &id), at)| ty.as_func().map(|_| (TypeIndex::new(at), id)))
    }

    /// The globals that it defines that hold collected references.
    pub(super) fn collected_globals(&self) -> &[GlobalIndex] {
        &self.collected_globals
    }

    /// Whether compiled code may access the collected heap.
    pub(super) fn uses_heap(&self) -> bool {
        self.uses_heap
    }

    /// An index under which the module knows the type with this id.
    pub(super) fn type_index(&self, id: TypeId) -> Option<TypeIndex> {
        self.types.index_of(id)
    }

    /// What its imports must be.
    pub(super) fn imports(&self) -> &[ImportSlot] {
        &self.imports
    }

    /// The references of [`Module::escaping_funcs`], to which the contexts are to be added.
    pub(super) fn funcrefs(&self) -> &[VmFuncRef] {
        &self.funcrefs
    }

    /// Where the reference to `func` lies in a vmctx, if the function has one.
    pub(super) fn funcref_offset(&self, func: FuncIndex) -> Option<u32> {
        let offset = *self.funcref_offsets.get(func.index())?;
        (offset != NO_FUNCREF).then_some(offset)
    }

    /// The initial contents of the defined memory at this position.
    pub(super) fn memory_image(&self, position: usize) -> Option<ImageSource<'_>> {
        let image = self.module.memory_images.get(position)?.as_ref()?;
        let token = self.image_tokens[position].as_ref()?;
        let file = self.code.data_file();
        Some(ImageSource {
            token,
            address: image.address,
            bytes: self.data(&image.bytes),
            file: file.map(|(file, section)| (file, section + image.bytes.start)),
        })
    }

    /// A range of the image's data section.
    ///
    /// # Panics
    ///
    /// Panics when it lies outside; loading the image has checked that none of the module's does.
    pub(super) fn data(&self, range: &std::ops::Range<u64>) -> &[u8] {
        &self.code.data()[range.start as usize..range.end as usize]
    }
}

/// Whether values of this type are collected references.
pub(super) fn is_collected<R>(ty: &ValType<R>) -> bool {
    matches!(ty, ValType::Ref(r) if r.is_collected())
}

fn global_type(module: &Module, ids: &[TypeId], global: GlobalIndex) -> GlobalType<TypeId> {
    let ty = &module.globals[global.index()];
    GlobalType {
        content: ty.content.map(|ty| ids[ty.index()]),
        mutable: ty.mutable,
    }
}

fn extern_type(module: &Module, ids: &[TypeId], entity: EntityIndex) -> ExternType {
    let id = |ty: TypeIndex| ids[ty.index()];
    match entity {
        EntityIndex::Func(i) => ExternType::Func(id(module.funcs[i.index()])),
        EntityIndex::Table(i) => ExternType::Table(module.tables[i.index()].map(id)),
        EntityIndex::Memory(i) => ExternType::Memory(module.memories[i.index()]),
        EntityIndex::Global(i) => ExternType::Global(global_type(module, ids, i)),
        EntityIndex::Tag(i) => ExternType::Tag(id(module.tags[i.index()].signature)),
    }
}

fn collected_globals(module: &Module) -> Box<[GlobalIndex]> {
    let first = module.num_imports.globals as usize;
    let defined = (first..module.globals.len()).map(GlobalIndex::from_usize);
    let collected = |global: &GlobalIndex| is_collected(&module.globals[global.index()].content);
    defined.filter(collected).collect()
}

fn uses_heap(module: &Module) -> bool {
    let object = |ty: &SubType| {
        let composite = &ty.composite;
        matches!(
            composite,
            CompositeType::Struct(_) | CompositeType::Array(_)
        )
    };
    // Exceptions are objects.
    let throws = !module.tags.is_empty();
    let switches = module.features_used.contains(Feature::StackSwitching);
    throws
        || switches
        || module.features_used.contains(Feature::Gc)
        || module.types.iter().any(object)
}

fn import_slots(module: &Module, types: &ModuleTypes, code: &EngineCode) -> Box<[ImportSlot]> {
    let slot = |entity| {
        let mut slot = ImportSlot {
            ty: extern_type(module, types.ids(), entity),
            entry: ptr::null(),
            exit: ptr::null(),
        };
        if let EntityIndex::Func(func) = entity {
            let ty = module.funcs[func.index()];
            slot.entry = stub(code.entry_ptr(ty));
            slot.exit = stub(code.exit_ptr(ty));
        }
        slot
    };
    module.imports.iter().map(|i| slot(i.entity)).collect()
}

/// # Panics
///
/// Panics when there is none: an image has stubs for every function type that it names.
fn stub(found: Option<*const u8>) -> *const u8 {
    found.expect("an image has stubs for every function type that it names")
}

fn funcref_templates(module: &Module, types: &ModuleTypes, code: &EngineCode) -> Box<[VmFuncRef]> {
    let template = |&func: &FuncIndex| {
        let defined = module
            .defined_func(func)
            .expect("imported functions do not escape");
        let ty = module.funcs[func.index()];
        VmFuncRef {
            code: code.code_ptr(defined),
            context: ptr::null_mut(),
            entry: stub(code.entry_ptr(ty)),
            type_id: types.ids()[ty.index()],
            id: NO_FUNC_ID,
        }
    };
    module.escaping_funcs.iter().map(template).collect()
}

fn funcref_offsets(module: &Module, layout: &VmCtxLayout) -> Box<[u32]> {
    let mut offsets = vec![NO_FUNCREF; module.funcs.len()].into_boxed_slice();
    for func in 0..module.num_imports.funcs {
        offsets[func as usize] = layout.imported_func(FuncIndex::new(func));
    }
    for (func, position) in module.escaping_funcs.iter().zip(0..) {
        offsets[func.index()] = layout.escaping_func(position);
    }
    offsets
}

impl Drop for CompiledModule {
    fn drop(&mut self) {
        self.engine.remove_stubs(self);
    }
}

impl fmt::Debug for CompiledModule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompiledModule")
            .field("name", &self.module.name)
            .finish_non_exhaustive()
    }
}
