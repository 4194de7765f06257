//! Sarsen's compiler: WebAssembly bytes to an image of machine code.
//!
//! The pipeline, in the order of the folders:
//!
//! ```text
//!   bytes --read--> Translation (a valid Module, bodies, data)
//!         --lower--> CLIF, one function at a time, inlined     \  one task per function,
//!         --optimize--> CompiledFunction                       /  in parallel
//!         --image--> an ELF file that the runtime maps
//! ```
//!
//! `stub` makes the CLIF of the code between the host and WebAssembly code. `compiled` is what
//! passes from the optimizer to the image, `target` the machine that is compiled for.
//!
//! This crate is the only user of `wasmparser` and Cranelift. It runs nothing that it compiles,
//! knows nothing of the runtime but `sarsen_abi`, and contains no `unsafe` code. The output depends
//! on nothing but the input, the settings and the host's processor.

#![forbid(unsafe_code)]

mod compiled;
mod error;
mod image;
mod lower;
mod optimize;
mod read;
mod stub;
mod target;

pub use error::CompileError;
pub use sarsen_abi::image::TargetDescription;

use compiled::CompiledFunction;
use cranelift_codegen::isa::OwnedTargetIsa;
use error::Result;
use image::ImageParts;
use lower::{ModuleContext, RelaxedSimd};
use optimize::Work;
use read::Translation;
use sarsen_abi::types::FuncType;
use sarsen_abi::{DefinedFuncIndex, Features, FuncIndex, Module, Settings};

/// Compiles WebAssembly modules for the host, under some settings.
///
/// ```
/// use sarsen_compile::Compiler;
/// let compiler = Compiler::new(Default::default(), Default::default())?;
/// let image = compiler.compile(b"\0asm\x01\0\0\0")?;
/// assert_eq!(&image[..4], b"\x7fELF");
/// # Ok::<(), sarsen_compile::CompileError>(())
/// ```
pub struct Compiler {
    isa: OwnedTargetIsa,
    settings: Settings,
    features: Features,
}

impl Compiler {
    /// A compiler for the host.
    ///
    /// # Errors
    ///
    /// When the host's processor lacks what compiled code needs (x86-64-v2).
    pub fn new(settings: Settings, features: Features) -> Result<Compiler, CompileError> {
        Ok(Compiler {
            isa: target::host_isa(&settings)?,
            settings,
            features,
        })
    }

    /// What code is compiled for.
    pub fn target(&self) -> TargetDescription {
        target::describe(&*self.isa)
    }

    /// Checks that `wasm` is a valid module.
    ///
    /// # Errors
    ///
    /// When it is not, under the features that are on. Says where.
    pub fn validate(&self, wasm: &[u8]) -> Result<(), CompileError> {
        read::read(wasm, self.features).map(drop)
    }

    /// Compiles the module `wasm` to an image.
    ///
    /// # Errors
    ///
    /// When it is invalid under the features that are on, or exceeds a limit of the implementation.
    pub fn compile(&self, wasm: &[u8]) -> Result<Vec<u8>, CompileError> {
        let translation = read::read(wasm, self.features)?;
        let cx = self.context(&translation);
        let code = self.generate(&translation.module, Some(&cx));
        self.link(&translation, code.map_err(|e| translation.names.blame(e))?)
    }

    /// Compiles an image without functions, for the entry and exit stubs of `types`: host functions
    /// need them whose type no module names. The stubs of a type are found under its position.
    ///
    /// # Errors
    ///
    /// When a type exceeds a limit of the implementation.
    pub fn compile_stubs<R: Copy>(&self, types: &[FuncType<R>]) -> Result<Vec<u8>, CompileError> {
        let translation = Translation::of_module(stub::module_of_types(types, self.features));
        let code = self.generate(&translation.module, None)?;
        self.link(&translation, code)
    }

    /// The intermediate code of a function, as Cranelift writes it, before it is optimized. `None`
    /// when the module does not define `func`.
    ///
    /// # Errors
    ///
    /// As [`Compiler::compile`].
    pub fn clif(&self, wasm: &[u8], func: FuncIndex) -> Result<Option<String>, CompileError> {
        let translation = read::read(wasm, self.features)?;
        let cx = self.context(&translation);
        if func.index() >= cx.module.funcs.len() {
            return Ok(None);
        }
        let Some(func) = cx.module.defined_func(func) else {
            return Ok(None);
        };
        let target = self.isa.frontend_config();
        let lowered = lower::lower_function(&cx, func, target, &mut Default::default())?;
        Ok(Some(lowered.clif.to_string()))
    }

    fn context<'a>(&'a self, translation: &'a Translation<'_>) -> ModuleContext<'a> {
        let Translation { module, bodies, .. } = translation;
        let relaxed_simd = RelaxedSimd::new(&*self.isa, &self.settings);
        ModuleContext::new(module, bodies, &self.settings, relaxed_simd)
    }

    /// All code of a module: functions, then the stubs that they need.
    fn generate(
        &self,
        module: &Module,
        cx: Option<&ModuleContext<'_>>,
    ) -> Result<Vec<CompiledFunction>> {
        let count = module.num_defined_funcs() as u32;
        let functions = (0..count).map(|i| Work::Wasm(DefinedFuncIndex::new(i)));
        let work = functions.chain(stub::of_types(module).map(Work::Stub));
        let mut code = optimize::compile_all(&*self.isa, cx, work.collect())?;
        stub::copy_to_types_alike(module, &mut code);
        let builtins = stub::of_builtins(&code).into_iter().map(Work::Stub);
        code.extend(optimize::compile_all(&*self.isa, None, builtins.collect())?);
        Ok(code)
    }

    fn link(&self, translation: &Translation<'_>, code: Vec<CompiledFunction>) -> Result<Vec<u8>> {
        let bodies: Vec<u32> = translation.bodies.iter().map(read::Body::offset).collect();
        let parts = ImageParts {
            module: &translation.module,
            target: &self.target(),
            settings: &self.settings,
            bodies: &bodies,
            data: &translation.data,
            names: &translation.names.funcs,
            custom: &translation.custom,
        };
        image::link(code, &parts)
    }
}
