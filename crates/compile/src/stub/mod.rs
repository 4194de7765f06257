//! Stubs: the code on the borders of WebAssembly code, in CLIF.
//!
//! | stub | one per | from | to |
//! |---|---|---|---|
//! | `entry` | function type | the host | a function, compiled or host |
//! | `exit` | function type | WebAssembly code | a host function |
//! | `builtin` | builtin that is called | WebAssembly code | a function of the runtime |
//!
//! An entry stub begins an activation, exit and builtin stubs record where WebAssembly code was
//! left ([`sarsen_abi::vmctx::Activation`]). Control passes no stub but by calling it, returning to
//! it, or through the handler of an entry stub: traps and exceptions never run stub code on their
//! way.
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

use crate::compiled::{ClifName, CodeKind, CompiledFunction};
use assembler::Assembler;
use cranelift_codegen::ir::types::Type;
use cranelift_codegen::ir::{AbiParam, Function, Signature, UserFuncName};
use cranelift_codegen::isa::{CallConv, TargetFrontendConfig};
use cranelift_frontend::FunctionBuilderContext;
use sarsen_abi::types::{FuncType, ValType};
use sarsen_abi::{Builtin, Module, TypeIndex};
use std::collections::{BTreeSet, HashMap};

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

/// The stubs of `module`'s function types, so that any host function that it can be given is
/// callable. Of types whose stubs are the same ([`types_alike`]) only the first has any.
pub(crate) fn of_types(module: &Module) -> impl Iterator<Item = Stub<'_>> {
    types_alike(module)
        .into_iter()
        .filter(|(index, first)| index == first)
        .flat_map(|(index, _)| {
            let ty = module.func_type_at(index);
            [Stub::Entry(index, ty), Stub::Exit(index, ty)]
        })
}

/// Copies stubs to the types that [`of_types`] left out.
pub(crate) fn copy_to_types_alike(module: &Module, code: &mut Vec<CompiledFunction>) {
    let by_kind: HashMap<CodeKind, usize> =
        code.iter().enumerate().map(|(i, f)| (f.kind, i)).collect();
    for (index, first) in types_alike(module) {
        if index == first {
            continue;
        }
        for (kind, of) in [
            (CodeKind::Entry(index), CodeKind::Entry(first)),
            (CodeKind::Exit(index), CodeKind::Exit(first)),
        ] {
            let mut copy = code[by_kind[&of]].clone();
            copy.kind = kind;
            code.push(copy);
        }
    }
}

/// Every function type with the first type that has the same stubs: whose values look the same in
/// CLIF. Programs with rich types have many that differ in nothing but what references point to.
fn types_alike(module: &Module) -> Vec<(TypeIndex, TypeIndex)> {
    let look = |ty: &ValType| match ty {
        ValType::Ref(ty) if ty.is_collected() => ValType::EXTERNREF,
        ValType::Ref(_) => ValType::FUNCREF,
        number => *number,
    };
    let mut firsts: HashMap<(Vec<ValType>, Vec<ValType>), TypeIndex> = HashMap::new();
    let mut alike = Vec::new();
    for (i, ty) in module.types.iter().enumerate() {
        if let Some(ty) = ty.as_func() {
            let index = TypeIndex::from_usize(i);
            let params = ty.params.iter().map(look).collect();
            let results = ty.results.iter().map(look).collect();
            let first = *firsts.entry((params, results)).or_insert(index);
            alike.push((index, first));
        }
    }
    alike
}

/// The stubs of the builtins that `code` calls.
pub(crate) fn of_builtins(code: &[CompiledFunction]) -> Vec<Stub<'static>> {
    let targets = code.iter().flat_map(|function| &function.relocs);
    let called: BTreeSet<Builtin> = targets
        .filter_map(|reloc| match reloc.target {
            CodeKind::Builtin(builtin) => Some(builtin),
            _ => None,
        })
        .collect();
    called.into_iter().map(Stub::Builtin).collect()
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
