//! What all lowerings of one module share, on all threads.

use super::inline::{self, Candidate};
use super::simd::RelaxedSimd;
use super::targets::Targets;
use super::throwing::Throwing;
use crate::read::Body;
use sarsen_abi::heap::StructLayout;
use sarsen_abi::types::{CompositeType, FieldType};
use sarsen_abi::vmctx::VmCtxLayout;
use sarsen_abi::{DefinedFuncIndex, Module, Settings, TypeIndex};
use std::sync::OnceLock;

/// A module as lowering sees it.
pub(crate) struct ModuleContext<'a> {
    /// What it declares.
    pub(crate) module: &'a Module,
    /// Its functions' bodies.
    pub(crate) bodies: &'a [Body<'a>],
    /// The settings to compile under.
    pub(crate) settings: &'a Settings,
    /// What relaxed vector instructions compute.
    pub(super) relaxed_simd: RelaxedSimd,
    /// Where everything is in a vmctx.
    pub(crate) layout: VmCtxLayout,
    /// What is known of each function as a candidate for inlining, once somebody asked.
    candidates: Box<[OnceLock<Option<Candidate>>]>,
    /// Who is likely to be called by references, once somebody asked.
    targets: OnceLock<Targets>,
    /// Which functions may throw.
    throwing: Throwing,
    /// Where the fields of each structure type are, once somebody asked.
    layouts: Box<[OnceLock<StructLayout>]>,
}

impl<'a> ModuleContext<'a> {
    /// The context of a module under some settings.
    pub(crate) fn new(
        module: &'a Module,
        bodies: &'a [Body<'a>],
        settings: &'a Settings,
        relaxed_simd: RelaxedSimd,
    ) -> Self {
        assert_eq!(module.num_defined_funcs(), bodies.len());
        ModuleContext {
            module,
            bodies,
            settings,
            relaxed_simd,
            layout: VmCtxLayout::new(module),
            candidates: bodies.iter().map(|_| OnceLock::new()).collect(),
            targets: OnceLock::new(),
            throwing: Throwing::find(module, bodies),
            layouts: module.types.iter().map(|_| OnceLock::new()).collect(),
        }
    }

    /// The body of a function.
    pub(super) fn body(&self, func: DefinedFuncIndex) -> &'a Body<'a> {
        &self.bodies[func.index()]
    }

    /// Whether a call of `func` may end with an exception.
    pub(super) fn may_throw(&self, func: DefinedFuncIndex) -> bool {
        self.throwing.may_throw(func)
    }

    /// The fields of a structure type.
    pub(super) fn struct_fields(&self, ty: TypeIndex) -> &'a [FieldType] {
        match &self.module.types[ty.index()].composite {
            CompositeType::Struct(fields) => fields,
            _ => unreachable!("validated: a structure type"),
        }
    }

    /// Where they are.
    pub(super) fn struct_layout(&self, ty: TypeIndex) -> &StructLayout {
        self.layouts[ty.index()].get_or_init(|| StructLayout::new(self.struct_fields(ty)))
    }

    /// Who is likely to be called by references.
    pub(super) fn targets(&self) -> &Targets {
        self.targets.get_or_init(|| Targets::find(self.module))
    }

    /// What inlining must know of `func`, unless it is never inlined.
    pub(super) fn candidate(&self, func: DefinedFuncIndex) -> Option<&Candidate> {
        self.candidates[func.index()]
            .get_or_init(|| inline::examine(self, func))
            .as_ref()
    }
}
