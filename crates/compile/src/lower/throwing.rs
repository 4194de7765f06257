//! Which functions of a module cannot throw an exception.
//!
//! A call inside of a handler expects no register to be preserved, as control may come back where the exception
//! lands. If what is called cannot throw, the call is one like any other.
//!
//! A function may throw if it has an instruction that throws, one that calls what is not known here (an import,
//! a reference, a table's element), or one that changes to another stack, where an exception may be waiting; or
//! if it calls a function of the module that may throw. Who catches what is not looked at. A trap is no
//! exception, and nothing that the runtime does on behalf of an instruction throws one.

use crate::read::Body;
use rayon::prelude::*;
use sarsen_abi::{DefinedFuncIndex, FuncIndex, Module};
use wasmparser::Operator;

/// For each function of a module, whether it may throw.
pub(super) struct Throwing(Vec<bool>);

/// What one body says.
enum Summary {
    MayThrow,
    /// It throws only if one of these functions does.
    AsCallees(Vec<DefinedFuncIndex>),
}

impl Throwing {
    /// Looks through the bodies, in time linear in their size.
    pub(super) fn find(module: &Module, bodies: &[Body<'_>]) -> Self {
        // Without a tag there may be handlers, but they are not worth the time.
        if module.tags.is_empty() {
            return Throwing(vec![true; bodies.len()]);
        }
        let bodies = bodies.par_iter().with_min_len(MIN_BODIES);
        let summaries: Vec<Summary> = bodies.map(|body| summarize(module, body)).collect();
        Throwing(spread(&summaries))
    }

    /// Whether `func` may throw.
    pub(super) fn may_throw(&self, func: DefinedFuncIndex) -> bool {
        self.0[func.index()]
    }
}

/// Another thread is not worth waking for fewer bodies.
const MIN_BODIES: usize = 256;

fn summarize(module: &Module, body: &Body<'_>) -> Summary {
    // What is malformed is reported when it is lowered.
    callees(module, body)
        .ok()
        .flatten()
        .map_or(Summary::MayThrow, Summary::AsCallees)
}

/// The functions that a body calls; `None` if it may throw whatever these do.
fn callees(
    module: &Module,
    body: &Body<'_>,
) -> Result<Option<Vec<DefinedFuncIndex>>, wasmparser::Error> {
    use Operator as O;
    let mut callees = Vec::new();
    let mut reader = body.body.get_operators_reader()?;
    while !reader.is_end_then_eof() {
        match reader.read()? {
            O::Call { function_index } | O::ReturnCall { function_index } => {
                match module.defined_func(FuncIndex::new(function_index)) {
                    Some(func) => callees.push(func),
                    None => return Ok(None),
                }
            }
            O::CallIndirect { .. }
            | O::CallRef { .. }
            | O::ReturnCallIndirect { .. }
            | O::ReturnCallRef { .. }
            | O::Throw { .. }
            | O::ThrowRef
            | O::Rethrow { .. }
            | O::Resume { .. }
            | O::ResumeThrow { .. }
            | O::ResumeThrowRef { .. }
            | O::Suspend { .. }
            | O::Switch { .. } => return Ok(None),
            _ => {}
        }
    }
    callees.sort_unstable();
    callees.dedup();
    Ok(Some(callees))
}

/// From functions that may throw to those that call them.
fn spread(summaries: &[Summary]) -> Vec<bool> {
    let mut callers: Vec<Vec<u32>> = vec![Vec::new(); summaries.len()];
    let mut may_throw = vec![false; summaries.len()];
    let mut found = Vec::new();
    for (func, summary) in (0..).zip(summaries) {
        match summary {
            Summary::MayThrow => {
                may_throw[func as usize] = true;
                found.push(func);
            }
            Summary::AsCallees(callees) => {
                for callee in callees {
                    callers[callee.index()].push(func);
                }
            }
        }
    }
    while let Some(func) = found.pop() {
        for caller in std::mem::take(&mut callers[func as usize]) {
            if !std::mem::replace(&mut may_throw[caller as usize], true) {
                found.push(caller);
            }
        }
    }
    may_throw
}
