//! Lowering: the bodies of a valid module to CLIF, Cranelift's intermediate code.
//!
//! One body at a time, in one pass over its instructions, inlining small callees as it goes. What
//! comes out calls other functions of the module directly, and reaches everything else through its
//! first parameter, the vmctx (`sarsen_abi::vmctx`).
//!
//! | file | what it lowers |
//! |---|---|
//! | `dispatch` | tells which of the following an instruction belongs to |
//! | `continuations` | making, resuming and suspending continuations |
//! | `control` | blocks, branches, returns, code that cannot be reached |
//! | `exceptions`, `legacy` | throwing and catching, as in the standard and as before it |
//! | `call`, `inline` | calls of every kind; which of them are replaced by the callee's body |
//! | `guarded`, `targets` | calls by reference that compare first with whom they are likely to reach; who that is |
//! | `local`, `global`, `numeric`, `memory`, `bulk`, `table`, `reference`, `wide` | the other instructions |
//! | `atomic` | atomic accesses, fences, waiting and notifying |
//! | `simd` | instructions on vectors, a file for each family |
//! | `checked` | bounds checks of memories, and which cover which |
//! | `piecewise` | bulk operations that may be long and are interrupted |
//! | `gc` | instructions on structures, arrays and unboxed integers, casts; a file for each family |
//! | `interrupt` | counting fuel, looking at the epoch |
//! | `hint` | which blocks seldom run |
//! | `function` | the state of a lowering: operands, references, entry-block values |
//! | `signature`, `region`, `source`, `bound` | types, alias regions, source points, upper bounds of values |
//! | `throwing` | which functions cannot throw |
//! | `facts`, `loops` | what is known of references: their types, the lengths of arrays; how loops keep it |
//! | `module_context` | what all lowerings of a module share |
//!
//! Invariants of what comes out:
//!
//! - Whatever may trap or call has a source location: the number of a point in the function's
//!   [`SourceTable`].
//! - Every store has an alias region, because Cranelift takes one without for a fence.
//! - Every value that is a collected reference is declared for stack maps
//!   (`Lowering::declare_reference`), and no load of one is readonly or movable.
//!
//! Validation is `read`'s business; this folder takes it for granted. It is `optimize` that calls
//! [`lower_function`], from many threads.

mod atomic;
mod bound;
mod bulk;
mod call;
mod checked;
mod continuations;
mod control;
mod dispatch;
mod exceptions;
mod facts;
mod function;
mod gc;
mod global;
mod guarded;
mod hint;
mod inline;
mod interrupt;
mod legacy;
mod local;
mod loops;
mod memory;
mod module_context;
mod numeric;
mod piecewise;
mod reference;
mod region;
mod signature;
mod simd;
mod source;
mod table;
mod targets;
mod throwing;
mod wide;

#[cfg(test)]
mod tests;

pub(crate) use bound::{constant, upper_bound};
pub(crate) use function::trap_code;
pub(crate) use module_context::ModuleContext;
pub(crate) use signature::{builtin_signature, wasm_signature};
pub(crate) use simd::RelaxedSimd;

use crate::compiled::SourceTable;
use crate::error::Result;
use cranelift_codegen::entity::EntitySet;
use cranelift_codegen::ir;
use cranelift_codegen::isa::TargetFrontendConfig;
use cranelift_frontend::FunctionBuilderContext;
use function::Lowering;
use sarsen_abi::DefinedFuncIndex;

/// A function in CLIF.
pub(crate) struct LoweredFunction {
    /// The code. Its source locations are numbers of points of `source`.
    pub(crate) clif: ir::Function,
    /// The points. Number 0 is the beginning of the function.
    pub(crate) source: SourceTable,
    /// The values that are collected references, for checking where they are used. Block parameters
    /// that stand for a local are not among them.
    #[cfg_attr(
        not(any(test, debug_assertions)),
        expect(dead_code, reason = "the checker does not run in release builds")
    )]
    pub(crate) references: EntitySet<ir::Value>,
    /// The instructions that trap if an index is beyond an array's end, as they were lowered.
    pub(crate) array_checks: Vec<ir::Inst>,
}

/// Lowers one function of a module. `builders` is memory to reuse.
///
/// # Errors
///
/// The function uses an instruction that is not supported.
pub(crate) fn lower_function(
    cx: &ModuleContext<'_>,
    func: DefinedFuncIndex,
    target: TargetFrontendConfig,
    builders: &mut FunctionBuilderContext,
) -> Result<LoweredFunction> {
    let index = cx.module.func_index(func);
    let mut clif = function::declare(cx, func);
    let mut lowering = Lowering::new(cx, index, &mut clif, builders);
    let lowered = lowering.lower_own_body();
    // An error leaves blocks unfinished, which the builder must not see when it finishes.
    let finished = match lowered {
        Ok(()) => lowering.finish(target),
        Err(error) => {
            *builders = FunctionBuilderContext::new();
            return Err(error.in_function(index));
        }
    };
    Ok(LoweredFunction {
        clif,
        source: finished.source,
        references: finished.references,
        array_checks: finished.array_checks,
    })
}
