//! Validation of function bodies, in parallel.
//!
//! Bodies are independent of each other, and they are most of a module. Of several invalid ones the
//! error with the smallest offset is reported, so that the result does not depend on scheduling.

use crate::error::CompileError;
use crate::read::features::{Recorder, Used};
use rayon::prelude::*;
use sarsen_abi::FuncIndex;
use wasmparser::{FuncToValidate, FuncValidatorAllocations, FunctionBody, ValidatorResources};

/// A body that the validator of the module has seen, but not looked into.
pub(super) type Unchecked<'a> = (FuncToValidate<ValidatorResources>, FunctionBody<'a>);

/// Below this many bytes of bodies, handing work to other threads costs more than it saves.
const PARALLEL_THRESHOLD_BYTES: u64 = 32 << 10;

/// Validates every body.
///
/// # Errors
///
/// The error with the smallest offset.
pub(super) fn validate(bodies: Vec<Unchecked<'_>>) -> Result<Used, CompileError> {
    let size: u64 = bodies.iter().map(|(_, body)| body_size(body)).sum();
    let outcome = if size < PARALLEL_THRESHOLD_BYTES {
        let mut allocations = FuncValidatorAllocations::default();
        bodies
            .into_iter()
            .map(|unchecked| validate_one(unchecked, &mut allocations))
            .fold(Ok(Used::default()), combine)
    } else {
        bodies
            .into_par_iter()
            .map_init(
                FuncValidatorAllocations::default,
                |allocations, unchecked| validate_one(unchecked, allocations),
            )
            .reduce(|| Ok(Used::default()), combine)
    };
    outcome.map_err(|boxed| *boxed)
}

/// The size of a body, in bytes.
pub(super) fn body_size(body: &FunctionBody<'_>) -> u64 {
    let range = body.range();
    range.end - range.start
}

type Outcome = Result<Used, Box<CompileError>>;

fn combine(a: Outcome, b: Outcome) -> Outcome {
    match (a, b) {
        (Ok(a), Ok(b)) => Ok(a.union(b)),
        (Err(a), Err(b)) if b.offset() < a.offset() => Err(b),
        (Err(e), _) | (_, Err(e)) => Err(e),
    }
}

fn validate_one(
    (func, body): Unchecked<'_>,
    allocations: &mut FuncValidatorAllocations,
) -> Outcome {
    let index = FuncIndex::new(func.index);
    let mut validator = func.into_validator(std::mem::take(allocations));
    let mut used = Used::default();
    let result = validate_operators(&mut validator, &body, &mut used);
    *allocations = validator.into_allocations();
    match result {
        Ok(()) => Ok(used),
        Err(error) => Err(Box::new(CompileError::from(error).in_function(index))),
    }
}

fn validate_operators(
    validator: &mut wasmparser::FuncValidator<ValidatorResources>,
    body: &FunctionBody<'_>,
    used: &mut Used,
) -> wasmparser::Result<()> {
    let mut reader = body.get_binary_reader();
    validator.read_locals(&mut reader)?;
    while !reader.eof() {
        let inner = validator.visitor(reader.original_position());
        reader.visit_operator(&mut Recorder { inner, used })??;
    }
    reader.finish_expression(&validator.visitor(reader.original_position()))
}
