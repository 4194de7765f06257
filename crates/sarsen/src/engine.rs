//! [`Engine`]: what modules and stores share, and the way to the compiler.

use crate::config::Config;
use crate::error::Result;
use anyhow::Context;
use core::fmt;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use sarsen_abi::types::FuncType;
#[cfg(feature = "compile")]
use sarsen_abi::types::{HeapType, RefType, ValType};
use sarsen_abi::{TypeId, TypeIndex};
use sarsen_vm::code::{EngineCode, Expected};
use sarsen_vm::exec;
use sarsen_vm::instance as vm;
use sarsen_vm::instance::{CompiledModule, MissingStubs, Stubs};
pub use sarsen_vm::stack::PoolCounts as StackCounts;
use sarsen_vm::stack::SizeClass;
use sarsen_vm::types::{RegisteredType, Registry};
use std::sync::{Arc, Mutex, PoisonError, Weak};

#[cfg(feature = "compile")]
use sarsen_compile::Compiler;
#[cfg(feature = "compile")]
use std::sync::OnceLock;

/// A configured runtime: shared by any number of modules and stores, on any number of threads.
///
/// A clone is another handle to the same engine. Modules, types and stores belong to one engine and
/// do not mix with those of others.
///
/// ```
/// use sarsen::{Config, Engine};
///
/// let engine = Engine::new(&Config::new())?;
/// # Ok::<(), sarsen::Error>(())
/// ```
#[derive(Clone)]
pub struct Engine {
    inner: Arc<EngineInner>,
}

struct EngineInner {
    config: Config,
    vm: Arc<vm::Engine>,
    #[cfg(feature = "compile")]
    compiler: OnceLock<Compiler>,
    /// Stubs that were compiled for host functions whose types no module names.
    stubs: Mutex<HashMap<TypeId, (RegisteredType, Arc<CompiledModule>)>>,
}

impl Engine {
    /// An engine.
    ///
    /// # Errors
    ///
    /// When the configuration is impossible, or the system refuses the address space: 20 GiB for each engine,
    /// 128 GiB for the machine code of a process, and a few for each memory. This takes no memory, but what
    /// `ulimit -v` allows counts it.
    pub fn new(config: &Config) -> Result<Engine> {
        config.validate()?;
        let settings = config.settings().clone();
        let vm = vm::Engine::new(
            settings,
            exec::builtin_table(),
            exec::frame_roots,
            config.stacks(),
        )
        .context(
            "no address space for an engine: about 160 GiB are reserved, which take no memory, and a limit \
             such as `ulimit -v` has to leave room for them",
        )?;
        Ok(Engine {
            inner: Arc::new(EngineInner {
                config: config.clone(),
                vm,
                #[cfg(feature = "compile")]
                compiler: OnceLock::new(),
                stubs: Mutex::default(),
            }),
        })
    }

    /// What it was configured with.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// Whether `a` and `b` are the same engine.
    pub fn same(a: &Engine, b: &Engine) -> bool {
        Arc::ptr_eq(&a.inner, &b.inner)
    }

    /// A handle that does not keep the engine alive.
    pub fn weak(&self) -> EngineWeak {
        EngineWeak {
            inner: Arc::downgrade(&self.inner),
        }
    }

    /// Advances the epoch by one tick, for stores that have a deadline
    /// ([`Store::set_epoch_deadline`](crate::Store::set_epoch_deadline)). May be called from any
    /// thread and from signal handlers.
    pub fn increment_epoch(&self) {
        self.inner.vm.increment_epoch();
    }

    /// How many stacks for asynchronous calls there are, in all stores: as many are in use as there are calls that
    /// have begun, and have neither ended nor been dropped.
    pub fn async_stacks(&self) -> StackCounts {
        self.inner.vm.stacks().counts(SizeClass::Async)
    }

    /// How many stacks for continuations there are, in all stores.
    pub fn continuation_stacks(&self) -> StackCounts {
        self.inner.vm.stacks().counts(SizeClass::Continuation)
    }

    /// Compiles a module, without loading it, to an image for
    /// [`Module::deserialize`](crate::Module::deserialize) in an engine of the same configuration.
    /// With the feature `wat`, the text format is accepted too.
    ///
    /// # Errors
    ///
    /// When the module is invalid.
    #[cfg(feature = "compile")]
    pub fn precompile_module(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        self.compile(&crate::module::to_binary(bytes)?)
    }

    /// Whether `bytes` begin as an image that [`Engine::precompile_module`] or
    /// [`Module::serialize`](crate::Module::serialize) made. Whether this engine can load it is not
    /// checked; the first sixteen bytes are enough.
    pub fn detect_precompiled(bytes: &[u8]) -> bool {
        sarsen_abi::image::begins_as_image(bytes)
    }

    pub(crate) fn vm(&self) -> &Arc<vm::Engine> {
        &self.inner.vm
    }

    pub(crate) fn types(&self) -> &Arc<Registry> {
        self.inner.vm.types()
    }

    /// The registration of a type that something alive keeps registered.
    pub(crate) fn registered_type(&self, id: TypeId) -> RegisteredType {
        self.types()
            .retain(id)
            .expect("what uses a type keeps it registered")
    }

    /// What an image must fit.
    pub(crate) fn expected(&self) -> Expected<'_> {
        Expected {
            settings: self.inner.config.settings(),
            features: self.inner.config.features(),
        }
    }

    /// Stubs for a function type that no module which is alive names.
    pub(crate) fn stubs(&self, missing: MissingStubs) -> Result<Stubs> {
        let mut compiled = self
            .inner
            .stubs
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let compiled = match compiled.entry(missing.0) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let ty = self.registered_type(missing.0);
                let stubs = self.compile_stubs(&ty)?;
                entry.insert((ty, stubs))
            }
        };
        Ok(CompiledModule::stubs(&compiled.1, TypeIndex::new(0))
            .expect("the image has stubs for its only type"))
    }

    #[cfg(not(feature = "compile"))]
    fn compile_stubs(&self, ty: &RegisteredType) -> Result<Arc<CompiledModule>> {
        Err(crate::error::NoStubError {
            ty: crate::types::text::FuncTypeText(func_type(ty)).to_string(),
        }
        .into())
    }

    /// Loads an image that this engine's own compiler has just made.
    #[cfg(feature = "compile")]
    pub(crate) fn load(&self, image: &[u8]) -> Result<Arc<CompiledModule>> {
        // SAFETY: our compiler has just made it, and nobody else had it in hand.
        let code = unsafe { EngineCode::from_bytes(image, &self.expected())? };
        self.register(code)
    }

    pub(crate) fn register(&self, code: Arc<EngineCode>) -> Result<Arc<CompiledModule>> {
        Ok(CompiledModule::new(self.vm(), code)?)
    }
}

#[cfg(feature = "compile")]
impl Engine {
    /// The compiler; made when first needed.
    pub(crate) fn compiler(&self) -> Result<&Compiler> {
        if let Some(compiler) = self.inner.compiler.get() {
            return Ok(compiler);
        }
        let config = self.config();
        let compiler = Compiler::new(config.settings().clone(), config.features())?;
        Ok(self.inner.compiler.get_or_init(|| compiler))
    }

    /// An image of a module in the binary format.
    pub(crate) fn compile(&self, binary: &[u8]) -> Result<Vec<u8>> {
        Ok(self.compiler()?.compile(binary)?)
    }

    /// Stubs pass values as the machine sees them, so that those of a type without references to
    /// defined types will do.
    fn compile_stubs(&self, ty: &RegisteredType) -> Result<Arc<CompiledModule>> {
        let ty = erase_defined_types(func_type(ty));
        self.load(&self.compiler()?.compile_stubs(&[ty])?)
    }
}

fn func_type(ty: &RegisteredType) -> &FuncType<TypeId> {
    ty.func_type().expect("only functions have stubs")
}

#[cfg(feature = "compile")]
fn erase_defined_types(ty: &FuncType<TypeId>) -> FuncType {
    let erase = |ty: &ValType<TypeId>| match ty {
        ValType::Ref(r) => ValType::Ref(RefType {
            nullable: r.nullable,
            heap: HeapType::Abstract(r.heap.hierarchy().top()),
        }),
        number => number.map(|_| unreachable!("a number refers to no type")),
    };
    FuncType {
        params: ty.params.iter().map(erase).collect(),
        results: ty.results.iter().map(erase).collect(),
    }
}

impl Default for Engine {
    /// An engine of the default configuration.
    ///
    /// # Panics
    ///
    /// Panics when the system refuses the address space.
    fn default() -> Self {
        Engine::new(&Config::default()).expect("the default configuration is possible")
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("config", &self.inner.config)
            .finish_non_exhaustive()
    }
}

/// A handle to an [`Engine`] that does not keep it alive.
#[derive(Clone)]
pub struct EngineWeak {
    inner: Weak<EngineInner>,
}

impl EngineWeak {
    /// The engine, if it is alive.
    pub fn upgrade(&self) -> Option<Engine> {
        Some(Engine {
            inner: self.inner.upgrade()?,
        })
    }
}

impl fmt::Debug for EngineWeak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EngineWeak")
    }
}
