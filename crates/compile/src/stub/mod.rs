//! Stubs: the code on the borders of WebAssembly code, in CLIF.
//!
//! | stub | one per | from | to |
//! |---|---|---|---|
//! | `entry` | function type | the host | a function, compiled or host |
//! | `exit` | function type | WebAssembly code | a host function |
//! | `builtin` | builtin | WebAssembly code | a function of the runtime |
//!
//! An entry stub begins an activation, exit and builtin stubs record where WebAssembly code was left
//! ([`sarsen_abi::vmctx::Activation`]). Control passes no stub but by calling it, returning to it, or
//! through the handler of an entry stub: traps and exceptions never run stub code on their way.
//!
//! No stub keeps a collected reference across a call. Arguments and results pass through memory
//! ([`sarsen_abi::vmctx::ValRaw`]); what that memory holds while the host runs is the host's to
//! root. So stubs have no stack maps.

mod assembler;
mod builtin;
mod entry;
mod exit;
#[cfg(test)]
mod tests;
mod types;

pub(crate) use types::module_of_types;

use crate::compiled::{ClifName, CodeKind};
use assembler::Assembler;
use cranelift_codegen::ir::types::Type;
use cranelift_codegen::ir::{AbiParam, Function, Signature, UserFuncName};
use cranelift_codegen::isa::{CallConv, TargetFrontendConfig};
use cranelift_frontend::FunctionBuilderContext;
use sarsen_abi::types::FuncType;
use sarsen_abi::{Builtin, Module, TypeIndex};

/// A stub, and what it must know.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stub<'a> {
    /// The entry stub of a type.
    Entry(TypeIndex, &'a FuncType),
    /// The exit stub of a type.
    Exit(TypeIndex, &'a FuncType),
    /// The stub of a builtin.
    Builtin(Builtin),
}

impl Stub<'_> {
    /// What an image knows it as.
    pub(crate) fn kind(&self) -> CodeKind {
        match *self {
            Stub::Entry(index, _) => CodeKind::Entry(index),
            Stub::Exit(index, _) => CodeKind::Exit(index),
            Stub::Builtin(builtin) => CodeKind::Builtin(builtin),
        }
    }
}

/// All stubs of an image of `module`: for every function type that it names, so that any host
/// function it can be given is callable, and for every builtin.
pub(crate) fn of_module(module: &Module) -> impl Iterator<Item = Stub<'_>> {
    let types = module.types.iter().enumerate();
    let types = types.filter_map(|(i, ty)| Some((TypeIndex::from_usize(i), ty.as_func()?)));
    types
        .flat_map(|(index, ty)| [Stub::Entry(index, ty), Stub::Exit(index, ty)])
        .chain(Builtin::ALL.iter().map(|&builtin| Stub::Builtin(builtin)))
}

/// Makes the CLIF of a stub. `builders` is memory to reuse.
pub(crate) fn lower_stub(
    stub: Stub<'_>,
    target: TargetFrontendConfig,
    builders: &mut FunctionBuilderContext,
) -> Function {
    let mut clif = Function::with_name_signature(
        UserFuncName::User(stub.kind().to_clif_name()),
        match stub {
            Stub::Entry(..) => entry::signature(),
            Stub::Exit(_, ty) => crate::lower::wasm_signature(ty),
            Stub::Builtin(builtin) => crate::lower::builtin_signature(builtin),
        },
    );
    let mut asm = Assembler::new(&mut clif, builders);
    match stub {
        Stub::Entry(_, ty) => entry::build(&mut asm, ty),
        Stub::Exit(_, ty) => exit::build(&mut asm, ty),
        Stub::Builtin(builtin) => builtin::build(&mut asm, builtin),
    }
    asm.finish(target);
    clif
}

/// The signature of a C function.
fn c_signature(
    params: impl IntoIterator<Item = Type>,
    results: impl IntoIterator<Item = Type>,
) -> Signature {
    let mut signature = Signature::new(CallConv::SystemV);
    signature.params = params.into_iter().map(AbiParam::new).collect();
    signature.returns = results.into_iter().map(AbiParam::new).collect();
    signature
}
