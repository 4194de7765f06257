//! From CLIF to machine code: Cranelift's optimizer and code generator, for all functions of a
//! module in parallel.
//!
//! Lowering a function and compiling it is one task, so that at no time more CLIF exists than there
//! are threads. The result is the same for any number of threads.
//!
//! `collect` takes what Cranelift leaves of a function, `driver` hands out the work, `ranges` removes checks of
//! array indices that cannot fail, `safepoints` checks CLIF against the rules that the collector relies on.

mod collect;
mod driver;
mod ranges;
#[cfg(any(test, debug_assertions))]
mod safepoints;

pub(crate) use driver::{Work, compile_all};
#[cfg(test)]
pub(crate) use ranges::remove_checks;
#[cfg(test)]
pub(crate) use safepoints::check as check_safepoints;
