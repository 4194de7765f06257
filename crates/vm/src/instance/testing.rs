//! Modules without meaningful code, for the tests of this folder: they can be instantiated, but
//! their functions must not be called.

use super::config::StoreConfig;
use super::engine::Engine;
use super::host_func::HostFunc;
use super::imports::Import;
use super::instance::{Extern, Instance};
use super::instantiate::InstantiateError;
use super::module::CompiledModule;
use super::store::{OwnedStore, Store};
use crate::code::{EngineCode, Expected};
use crate::stack::StackConfig;
use sarsen_abi::builtin::{BUILTIN_COUNT, BuiltinTable};
use sarsen_abi::const_expr::{ConstExpr, ConstOp};
use sarsen_abi::image::{
    CodeKind, FuncEntry, ImageContents, ImageEncoder, StubOffsets, TargetDescription,
};
use sarsen_abi::module::{Export, Import as ModuleImport};
use sarsen_abi::types::{
    CompositeType, FuncType, GlobalType, IndexType, MemoryType, RefType, SubType, TableType,
    ValType,
};
use sarsen_abi::vmctx::{ValRaw, VmHostCtx};
use sarsen_abi::{
    DefinedFuncIndex, EntityIndex, Features, FuncIndex, GlobalIndex, MemoryIndex, Module, Settings,
    TableIndex, TypeIndex,
};
use std::any::Any;
use std::ptr::NonNull;
use std::sync::Arc;

/// An engine with default settings.
pub(super) fn engine() -> Arc<Engine> {
    // No code of these modules runs, so none calls a builtin.
    let builtins = Box::leak(Box::new(BuiltinTable {
        raise: std::ptr::null(),
        host_failed: std::ptr::null(),
        native_call: std::ptr::null(),
        switch_stack: std::ptr::null(),
        resume_stack: std::ptr::null(),
        functions: [std::ptr::null(); BUILTIN_COUNT],
    }));
    // Nor has it frames.
    Engine::new(
        Settings::default(),
        builtins,
        |_, _| {},
        &StackConfig::default(),
    )
    .unwrap()
}

/// A store of `engine`.
pub(super) fn store(engine: &Arc<Engine>) -> OwnedStore {
    Store::new(engine, StoreConfig::default())
}

/// A constant expression.
pub(super) fn expr(ops: &[ConstOp]) -> ConstExpr {
    ConstExpr { ops: ops.into() }
}

/// `i32.const`
pub(super) fn i32_expr(value: i32) -> ConstExpr {
    expr(&[ConstOp::I32Const(value)])
}

/// A memory type of so many pages.
pub(super) fn memory_type(minimum: u64, maximum: Option<u64>) -> MemoryType {
    MemoryType {
        index: IndexType::I32,
        shared: false,
        minimum,
        maximum,
        page_size_log2: 16,
    }
}

/// A type of tables of functions.
pub(super) fn table_type<R>(minimum: u64, maximum: Option<u64>) -> TableType<R> {
    TableType {
        element: RefType::FUNCREF,
        index: IndexType::I32,
        minimum,
        maximum,
    }
}

/// A module in the making. Imports come first.
#[derive(Default)]
pub(super) struct Builder {
    pub(super) module: Module,
    pub(super) data: Vec<u8>,
}

impl Builder {
    /// A final function type.
    pub(super) fn func_type(&mut self, params: &[ValType], results: &[ValType]) -> TypeIndex {
        let at = self.module.types.len() as u32;
        self.module.types.push(SubType {
            is_final: true,
            supertype: None,
            composite: CompositeType::Func(FuncType {
                params: params.into(),
                results: results.into(),
            }),
        });
        self.module.rec_groups.push(at..at + 1);
        TypeIndex::new(at)
    }

    fn import(&mut self, name: &str, entity: EntityIndex) {
        self.module.imports.push(ModuleImport {
            module: "env".to_owned(),
            name: name.to_owned(),
            entity,
        });
    }

    pub(super) fn import_func(&mut self, name: &str, ty: TypeIndex) -> FuncIndex {
        let func = FuncIndex::from_usize(self.module.funcs.len());
        self.module.funcs.push(ty);
        self.module.num_imports.funcs += 1;
        self.import(name, EntityIndex::Func(func));
        func
    }

    pub(super) fn import_global(
        &mut self,
        name: &str,
        content: ValType,
        mutable: bool,
    ) -> GlobalIndex {
        let global = GlobalIndex::from_usize(self.module.globals.len());
        self.module.globals.push(GlobalType { content, mutable });
        self.module.num_imports.globals += 1;
        self.import(name, EntityIndex::Global(global));
        global
    }

    pub(super) fn import_memory(&mut self, name: &str, ty: MemoryType) -> MemoryIndex {
        let memory = MemoryIndex::from_usize(self.module.memories.len());
        self.module.memories.push(ty);
        self.module.num_imports.memories += 1;
        self.import(name, EntityIndex::Memory(memory));
        memory
    }

    pub(super) fn import_table(&mut self, name: &str, ty: TableType) -> TableIndex {
        let table = TableIndex::from_usize(self.module.tables.len());
        self.module.tables.push(ty);
        self.module.num_imports.tables += 1;
        self.import(name, EntityIndex::Table(table));
        table
    }

    /// A function that has a reference.
    pub(super) fn func(&mut self, ty: TypeIndex) -> FuncIndex {
        let func = FuncIndex::from_usize(self.module.funcs.len());
        self.module.funcs.push(ty);
        self.module.escaping_funcs.push(func);
        func
    }

    pub(super) fn global(&mut self, content: ValType, init: ConstExpr) -> GlobalIndex {
        let global = GlobalIndex::from_usize(self.module.globals.len());
        self.module.globals.push(GlobalType {
            content,
            mutable: false,
        });
        self.module.global_inits.push(init);
        global
    }

    pub(super) fn memory(&mut self, ty: MemoryType) -> MemoryIndex {
        let memory = MemoryIndex::from_usize(self.module.memories.len());
        self.module.memories.push(ty);
        self.module.memory_images.push(None);
        memory
    }

    pub(super) fn table(&mut self, ty: TableType, init: Option<ConstExpr>) -> TableIndex {
        let table = TableIndex::from_usize(self.module.tables.len());
        self.module.tables.push(ty);
        self.module.table_inits.push(init);
        table
    }

    pub(super) fn export(&mut self, name: &str, entity: EntityIndex) {
        self.module.exports.push(Export {
            name: name.to_owned(),
            entity,
        });
    }

    /// The module, loaded.
    pub(super) fn load(&self, engine: &Arc<Engine>) -> Arc<CompiledModule> {
        let image = self.image(engine.settings());
        let expected = Expected {
            settings: engine.settings(),
            features: Features::default(),
        };
        // SAFETY: nobody calls what is in there.
        let code = unsafe { EngineCode::from_bytes(&image, &expected) }.unwrap();
        CompiledModule::new(engine, code).unwrap()
    }

    /// An image in which every function and stub is one undefined instruction.
    fn image(&self, settings: &Settings) -> Vec<u8> {
        const SIZE: u32 = 16;
        let module = &self.module;
        let mut encoder = ImageEncoder::new(module.num_imports.funcs);
        let mut end = 0;
        let mut add = |encoder: &mut ImageEncoder, kind| {
            let start = end;
            end += SIZE;
            encoder.add_func(FuncEntry { kind, start, end });
            start
        };
        for func in 0..module.num_defined_funcs() {
            add(
                &mut encoder,
                CodeKind::Wasm(DefinedFuncIndex::from_usize(func)),
            );
        }
        let types = (0..module.types.len()).map(TypeIndex::from_usize);
        let entries: Vec<_> = types
            .clone()
            .map(|ty| add(&mut encoder, CodeKind::Entry(ty)))
            .collect();
        for (ty, entry) in types.zip(entries) {
            let exit = add(&mut encoder, CodeKind::Exit(ty));
            encoder.add_stubs(ty, StubOffsets { entry, exit });
        }
        let text = [0x0f, 0x0b].repeat(end as usize / 2);
        let target = TargetDescription {
            triple: format!(
                "{}-unknown-{}",
                std::env::consts::ARCH,
                std::env::consts::OS
            ),
            cpu_features: Vec::new(),
        };
        encoder.finish(&ImageContents {
            module,
            target: &target,
            settings,
            text: &text,
            bodies: &vec![0; module.num_defined_funcs()],
            data: &self.data,
            names: &[],
            custom: &[],
        })
    }
}

/// Instantiates a module with imports of this store.
pub(super) fn instantiate<'a>(
    store: &'a mut Store,
    module: &Arc<CompiledModule>,
    imports: &[Import],
) -> Result<&'a Instance, InstantiateError> {
    // SAFETY: tests give imports of the same store, and nothing runs.
    let made = unsafe { store.instantiate(module, imports) }?;
    // SAFETY: lives as long as the store.
    Ok(unsafe { made.instance.as_ref() })
}

/// What an instance exports by this name, as an import.
pub(super) fn exported(instance: &Instance, name: &str) -> Import {
    Import::Extern(instance.export(name).unwrap())
}

/// The current value of a global.
pub(super) fn global_value(item: Option<Extern>) -> u128 {
    let Some(Extern::Global(global, _)) = item else {
        panic!("not a global: {item:?}")
    };
    // SAFETY: alive, and nobody writes it meanwhile.
    unsafe { global.read() }.0.0
}

/// A host function of a type without references, which must not be called.
pub(super) fn host_func(
    engine: &Arc<Engine>,
    params: &[ValType<sarsen_abi::TypeId>],
    data: Box<dyn Any + Send + Sync>,
) -> Arc<HostFunc> {
    unsafe extern "C" fn never(_: *mut VmHostCtx, _: *mut ValRaw) -> u64 {
        unreachable!("no code runs in these tests")
    }
    let ty = FuncType {
        params: params.into(),
        results: Box::default(),
    };
    let ty = engine.types().register_func_type(&ty).unwrap();
    // SAFETY: never called.
    unsafe { HostFunc::new(ty, never, data) }
}

/// A host function, as an import.
pub(super) fn import_host(func: &Arc<HostFunc>) -> Import {
    Import::HostFunc(NonNull::from(&**func))
}
