//! What the optimizer leaves of a function, and what the linker of images takes.
//!
//! A [`CompiledFunction`] is position-independent machine code plus every table about it. All
//! offsets are in bytes from the function's first instruction, and every table is sorted by them.
//! `lower/` makes the [`SourceTable`], `optimize/` the rest, `image/` lays all of it out.

use cranelift_codegen::ir::{SourceLoc, UserExternalName};
use sarsen_abi::{Builtin, DefinedFuncIndex, FuncIndex, TrapCode, TypeIndex};

pub(crate) use sarsen_abi::image::{CodeKind, Handler, HandlerFrame};

/// How CLIF names a piece of code. Only the compiler's own process sees these names.
pub(crate) trait ClifName {
    /// The name.
    fn to_clif_name(self) -> UserExternalName;

    /// The code that CLIF names so.
    ///
    /// # Panics
    ///
    /// Panics when `name` was not made by [`ClifName::to_clif_name`].
    fn from_clif_name(name: &UserExternalName) -> Self;
}

impl ClifName for CodeKind {
    fn to_clif_name(self) -> UserExternalName {
        let (namespace, index) = match self {
            CodeKind::Wasm(func) => (0, func.as_u32()),
            CodeKind::Entry(ty) => (1, ty.as_u32()),
            CodeKind::Exit(ty) => (2, ty.as_u32()),
            CodeKind::Builtin(builtin) => (3, builtin as u32),
        };
        UserExternalName { namespace, index }
    }

    fn from_clif_name(name: &UserExternalName) -> Self {
        match name.namespace {
            0 => CodeKind::Wasm(DefinedFuncIndex::new(name.index)),
            1 => CodeKind::Entry(TypeIndex::new(name.index)),
            2 => CodeKind::Exit(TypeIndex::new(name.index)),
            3 => CodeKind::Builtin(Builtin::ALL[name.index as usize]),
            other => panic!("no code has CLIF namespace {other}"),
        }
    }
}

/// The machine code of one function, and the tables about it.
#[derive(Clone, Debug)]
pub(crate) struct CompiledFunction {
    /// What it is.
    pub(crate) kind: CodeKind,
    /// The code, with zeros (or addends) where relocations go, constants included.
    pub(crate) code: Vec<u8>,
    /// The alignment that the code needs, in bytes; a power of two.
    pub(crate) alignment: u32,
    /// References to other code.
    pub(crate) relocs: Vec<Reloc>,
    /// The instructions that may trap, and why they do.
    pub(crate) traps: Vec<(u32, TrapCode)>,
    /// From which offset on the code belongs to which point of `source`, until the next entry. Code
    /// before the first entry, and after an entry with [`NO_POINT`], belongs to none.
    pub(crate) points: Vec<(u32, u32)>,
    /// What the numbers of `points` mean.
    pub(crate) source: SourceTable,
    /// Where references are at each safepoint.
    pub(crate) stack_maps: Vec<StackMap>,
    /// The call sites from which an exception or trap continues in this function.
    pub(crate) handlers: Vec<CallHandlers>,
}

/// In [`CompiledFunction::points`]: no point.
pub(crate) const NO_POINT: u32 = u32::MAX;

/// A reference to other code: 32 bits relative to the reference's own address (x86-64 `rel32`, when
/// the addend is -4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Reloc {
    /// Where the 32 bits are.
    pub(crate) offset: u32,
    /// What is referred to.
    pub(crate) target: CodeKind,
    /// What is added: the 32 bits become `target + addend - address`.
    pub(crate) addend: i64,
}

/// Where collected references are in the frame at a safepoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct StackMap {
    /// The call's return address.
    pub(crate) ret_offset: u32,
    /// The frame pointer less the stack pointer at the call, in bytes.
    pub(crate) frame_size: u32,
    /// The 32-bit references, as offsets from the stack pointer at the call; ascending.
    pub(crate) sp_offsets: Vec<u32>,
}

/// Where execution continues when a call is left by an exception or a trap.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct CallHandlers {
    /// The call's return address.
    pub(crate) ret_offset: u32,
    /// The call's frame.
    pub(crate) frame: HandlerFrame,
    /// The handlers, innermost first; landings are offsets in the function.
    pub(crate) handlers: Vec<Handler>,
}

/// What the CLIF source locations of one function mean: [`SourcePoint`]s by number. Functions that
/// were inlined have [`InlineContext`]s, numbered from 1; context 0 is the function itself.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct SourceTable {
    /// The points.
    pub(crate) points: Vec<SourcePoint>,
    /// The contexts: number `n` is at position `n - 1`.
    pub(crate) contexts: Vec<InlineContext>,
}

/// A WebAssembly instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SourcePoint {
    /// The inline context; 0 for the function itself.
    pub(crate) context: u32,
    /// The instruction's offset from the beginning of the module.
    pub(crate) wasm_offset: u32,
}

/// A function that was inlined somewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct InlineContext {
    /// The call that it replaces, as the number of a [`SourcePoint`].
    pub(crate) parent_point: u32,
    /// The function inlined.
    pub(crate) func: FuncIndex,
}

impl SourceTable {
    /// Appends a point, and gives the CLIF source location that means it.
    pub(crate) fn push(&mut self, point: SourcePoint) -> SourceLoc {
        let number = u32::try_from(self.points.len()).expect("points are limited by code size");
        self.points.push(point);
        SourceLoc::new(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_code_survives_its_clif_name() {
        let kinds = [
            CodeKind::Wasm(DefinedFuncIndex::new(7)),
            CodeKind::Entry(TypeIndex::new(1)),
            CodeKind::Exit(TypeIndex::new(2)),
            CodeKind::Builtin(Builtin::MemoryGrow),
            CodeKind::Builtin(Builtin::Trap),
        ];
        for kind in kinds {
            assert_eq!(CodeKind::from_clif_name(&kind.to_clif_name()), kind);
        }
        assert!(kinds.is_sorted(), "the order of kinds is the order of text");
    }
}
