//! Tests of lowering: properties of the code that comes out, and that everything valid comes out.
//!
//! What the code computes is tested by running the official test suite, elsewhere.

mod atomics;
mod checks;
mod code;
mod exceptions;
mod gc;
mod guarded;
mod hints;
mod inlining;
mod large;
mod ranges;
mod suite;
mod vectors;

use super::{LoweredFunction, ModuleContext, RelaxedSimd, lower_function};
use crate::error::Result;
use crate::optimize::{check_safepoints, remove_checks};
use crate::read::Translation;
use crate::{read, target};
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_codegen::{CompiledCode, Context};
use cranelift_frontend::FunctionBuilderContext;
use sarsen_abi::{DefinedFuncIndex, Feature, Features, Settings};

/// Lowers every function of a module.
fn lower_all(wasm: &[u8], settings: &Settings) -> Result<Vec<LoweredFunction>> {
    lower_with(wasm, settings, Features::default())
}

/// Lowers every function of a module that may use these features.
fn lower_with(
    wasm: &[u8],
    settings: &Settings,
    features: Features,
) -> Result<Vec<LoweredFunction>> {
    let isa = isa(settings);
    let relaxed_simd = RelaxedSimd::new(&*isa, settings);
    lower_relaxed(wasm, settings, features, relaxed_simd)
}

/// Lowers every function of a module, its relaxed vector instructions as told.
fn lower_relaxed(
    wasm: &[u8],
    settings: &Settings,
    features: Features,
    relaxed_simd: RelaxedSimd,
) -> Result<Vec<LoweredFunction>> {
    let translation = read::read(wasm, features)?;
    let Translation { module, bodies, .. } = &translation;
    let cx = ModuleContext::new(module, bodies, settings, relaxed_simd);
    let target = isa(settings).frontend_config();
    let mut builders = FunctionBuilderContext::new();
    (0..translation.bodies.len())
        .map(|n| lower_function(&cx, DefinedFuncIndex::from_usize(n), target, &mut builders))
        .collect()
}

fn isa(settings: &Settings) -> OwnedTargetIsa {
    target::host_isa(settings).expect("the host is suitable")
}

/// The functions of a module in text format.
fn lower(wat: &str, settings: &Settings) -> Vec<LoweredFunction> {
    let wasm = wat::parse_str(wat).expect("a test's module is well-formed");
    lower_all(&wasm, settings).expect("a test's module is supported")
}

/// The CLIF of the last function of a module, under the default settings.
fn clif(wat: &str) -> String {
    clif_under(wat, &Settings::default())
}

/// The CLIF of the last function of a module that uses types of the garbage collection proposal, but
/// none of its instructions.
fn clif_with_gc_types(wat: &str) -> String {
    let mut features = Features::default();
    features.set(Feature::Gc, true);
    let wasm = wat::parse_str(wat).expect("a test's module is well-formed");
    let functions = lower_with(&wasm, &Settings::default(), features);
    let functions = functions.expect("a test's module is supported");
    functions
        .last()
        .expect("it has a function")
        .clif
        .to_string()
}

/// The CLIF of the last function of a module.
fn clif_under(wat: &str, settings: &Settings) -> String {
    let functions = lower(wat, settings);
    functions
        .last()
        .expect("it has a function")
        .clif
        .to_string()
}

/// Compiles a function, with Cranelift's verifier on; returns the instructions.
fn assembly_of(function: &LoweredFunction, isa: &OwnedTargetIsa) -> String {
    let code = compile(function, isa);
    code.vcode.expect("it was asked for")
}

fn compile(function: &LoweredFunction, isa: &OwnedTargetIsa) -> CompiledCode {
    check_safepoints(&function.clif, &function.references)
        .unwrap_or_else(|violation| panic!("{violation}\n{}", function.clif));
    let mut context = Context::for_function(function.clif.clone());
    remove_checks(&mut context, &function.array_checks);
    context.set_disasm(true);
    context
        .compile(&**isa, &mut ControlPlane::default())
        .unwrap_or_else(|error| panic!("{}\n{}", error.inner, error.func))
        .clone()
}

/// The instructions of the last function of a module.
fn assembly(wat: &str, settings: &Settings) -> String {
    let functions = lower(wat, settings);
    assembly_of(functions.last().expect("it has a function"), &isa(settings))
}

/// How often `text` has `pattern`.
fn count(text: &str, pattern: &str) -> usize {
    text.matches(pattern).count()
}
