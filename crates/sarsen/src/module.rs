//! [`Module`]: a compiled module, ready to be instantiated any number of times.

use crate::engine::Engine;
use crate::error::Result;
use crate::types::{ExportType, ExternType, ImportType};
use anyhow::Context;
use core::fmt;
use sarsen_vm::code::EngineCode;
use sarsen_vm::instance::CompiledModule;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// A compiled module. A clone is another handle to the same module.
///
/// ```
/// use sarsen::{Engine, Module};
///
/// let engine = Engine::default();
/// let module = Module::new(&engine, r#"(module (func (export "f") (param i32)))"#)?;
/// assert_eq!(module.exports().next().unwrap().name(), "f");
/// # Ok::<(), sarsen::Error>(())
/// ```
#[derive(Clone)]
pub struct Module {
    engine: Engine,
    compiled: Arc<CompiledModule>,
}

#[cfg(feature = "compile")]
impl Module {
    /// Compiles a module in the binary format, or, with the feature `wat`, in the text format.
    ///
    /// # Errors
    ///
    /// When the module is invalid, or uses a proposal that is off; the message tells the byte offset.
    pub fn new(engine: &Engine, bytes: impl AsRef<[u8]>) -> Result<Module> {
        Module::from_binary(engine, &to_binary(bytes.as_ref())?)
    }

    /// As [`Module::new`], of a file.
    ///
    /// # Errors
    ///
    /// As [`Module::new`], or when the file cannot be read.
    pub fn from_file(engine: &Engine, file: impl AsRef<Path>) -> Result<Module> {
        let path = file.as_ref();
        let bytes =
            std::fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        Module::new(engine, bytes).with_context(|| format!("cannot compile `{}`", path.display()))
    }

    /// Compiles a module in the binary format.
    ///
    /// # Errors
    ///
    /// As [`Module::new`].
    pub fn from_binary(engine: &Engine, binary: &[u8]) -> Result<Module> {
        let image = engine.compile(binary)?;
        Ok(Module::from_compiled(engine, engine.load(&image)?))
    }

    /// Checks that `binary` is a valid module, in the binary format.
    ///
    /// # Errors
    ///
    /// When it is not; the message tells the byte offset.
    pub fn validate(engine: &Engine, binary: &[u8]) -> Result<()> {
        Ok(engine.compiler()?.validate(binary)?)
    }
}

/// `bytes` in the binary format: they are, or they are text.
#[cfg(feature = "wat")]
pub(crate) fn to_binary(bytes: &[u8]) -> Result<std::borrow::Cow<'_, [u8]>> {
    Ok(wat::parse_bytes(bytes)?)
}

/// `bytes` are to be in the binary format.
#[cfg(all(feature = "compile", not(feature = "wat")))]
pub(crate) fn to_binary(bytes: &[u8]) -> Result<std::borrow::Cow<'_, [u8]>> {
    Ok(bytes.into())
}

impl Module {
    /// Loads an image that [`Module::serialize`] or
    /// [`Engine::precompile_module`](crate::Engine::precompile_module) made.
    ///
    /// # Errors
    ///
    /// When the image is damaged, or made by another version, for another processor, or with another
    /// configuration.
    ///
    /// # Safety
    ///
    /// An image is native code that runs with all rights of this process: it must have been made by
    /// this library, and nobody else can have changed it since. Checksums find damage, not malice.
    pub unsafe fn deserialize(engine: &Engine, bytes: impl AsRef<[u8]>) -> Result<Module> {
        // SAFETY: the caller's promise.
        let code = unsafe { EngineCode::from_bytes(bytes.as_ref(), &engine.expected())? };
        Ok(Module::from_compiled(engine, engine.register(code)?))
    }

    /// As [`Module::deserialize`], of a file, which is mapped where nobody else can write it.
    ///
    /// # Errors
    ///
    /// As [`Module::deserialize`], or when the file cannot be read.
    ///
    /// # Safety
    ///
    /// As [`Module::deserialize`]; also, the file must not be changed or truncated as long as the
    /// module is used.
    pub unsafe fn deserialize_file(engine: &Engine, path: impl AsRef<Path>) -> Result<Module> {
        let path = path.as_ref();
        let file = File::open(path).with_context(|| format!("cannot open `{}`", path.display()))?;
        // SAFETY: the caller's promise.
        unsafe { Module::deserialize_open_file(engine, file) }
            .with_context(|| format!("cannot load `{}`", path.display()))
    }

    /// As [`Module::deserialize_file`], of a file that is open.
    ///
    /// # Errors
    ///
    /// As [`Module::deserialize_file`].
    ///
    /// # Safety
    ///
    /// As [`Module::deserialize_file`].
    pub unsafe fn deserialize_open_file(engine: &Engine, file: File) -> Result<Module> {
        // SAFETY: the caller's promise.
        let code = unsafe { EngineCode::from_file(file, &engine.expected())? };
        Ok(Module::from_compiled(engine, engine.register(code)?))
    }

    /// A handle to a module of the engine.
    pub(crate) fn from_compiled(engine: &Engine, compiled: Arc<CompiledModule>) -> Module {
        Module {
            engine: engine.clone(),
            compiled,
        }
    }

    /// The module's image, for [`Module::deserialize`].
    ///
    /// # Errors
    ///
    /// None at present.
    pub fn serialize(&self) -> Result<Vec<u8>> {
        Ok(self.image_bytes().to_vec())
    }

    /// The module's image in memory: an ELF file.
    pub fn image_bytes(&self) -> &[u8] {
        self.compiled.code().bytes()
    }

    /// The engine that it was compiled in.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The module's own name, from its name section.
    pub fn name(&self) -> Option<&str> {
        self.declared().name.as_deref()
    }

    /// Whether `a` and `b` are handles to the same module.
    pub fn same(a: &Module, b: &Module) -> bool {
        Arc::ptr_eq(&a.compiled, &b.compiled)
    }

    /// What it imports, in order.
    pub fn imports(&self) -> impl ExactSizeIterator<Item = ImportType<'_>> + '_ {
        self.declared().imports.iter().map(|import| {
            let ty = self.extern_type(import.entity);
            ImportType::new(&import.module, &import.name, ty)
        })
    }

    /// What it exports, in order.
    pub fn exports(&self) -> impl ExactSizeIterator<Item = ExportType<'_>> + '_ {
        self.declared()
            .exports
            .iter()
            .map(|export| ExportType::new(&export.name, self.extern_type(export.entity)))
    }

    /// The type of what it exports by this name.
    pub fn get_export(&self, name: &str) -> Option<ExternType> {
        let position = self.compiled().export_position(name)?;
        Some(self.extern_type(self.declared().exports[position as usize].entity))
    }

    fn extern_type(&self, entity: sarsen_abi::EntityIndex) -> ExternType {
        ExternType::from_vm(self.engine(), self.compiled().extern_type(entity))
    }

    pub(crate) fn declared(&self) -> &sarsen_abi::Module {
        self.compiled.module()
    }

    pub(crate) fn compiled(&self) -> &Arc<CompiledModule> {
        &self.compiled
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Module")
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}
