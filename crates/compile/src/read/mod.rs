//! From bytes to a validated [`Module`]: the only code that parses WebAssembly's binary format.
//!
//! What comes out of [`read`] is valid as a whole, function bodies included: lowering a body never
//! fails for the module's sake, and may look into the bodies of its callees.
//!
//! | file | owns |
//! |---|---|
//! | `sections` | every section but code, into [`Module`] |
//! | `types`, `const_expr`, `names`, `hints` | parts of sections |
//! | `bodies` | validating function bodies in parallel |
//! | `data` | where data segments go, and which memories start from an image |
//! | `features` | which proposals are accepted, and which were used |

mod bodies;
mod const_expr;
mod data;
mod features;
mod hints;
mod names;
mod sections;
#[cfg(test)]
mod tests;
mod types;

use crate::error::{CompileError, Result};
use hints::BranchHints;
use names::NameSection;
use sarsen_abi::{Feature, Features, FuncIndex, Module};
use sections::Sections;
pub(crate) use types::abstract_heap_type;
use wasmparser::{FunctionBody, Parser, ValidPayload, Validator};

/// A valid module, taken apart.
#[derive(Debug)]
pub(crate) struct Translation<'a> {
    /// What it declares.
    pub(crate) module: Module,
    /// The bodies of the functions that it defines, by [`sarsen_abi::DefinedFuncIndex`].
    pub(crate) bodies: Vec<Body<'a>>,
    /// The image's data section: memory images first, each page-aligned, then the bytes of all
    /// other segments. The ranges in `module` refer to it.
    pub(crate) data: Vec<u8>,
    /// The names of functions.
    pub(crate) names: Names<'a>,
    /// The custom sections that are kept: DWARF (`.debug_*`), by name, in order.
    pub(crate) custom: Vec<(&'a str, &'a [u8])>,
}

impl Translation<'_> {
    /// A module without code.
    pub(crate) fn of_module(module: Module) -> Self {
        Translation {
            module,
            bodies: Vec::new(),
            data: Vec::new(),
            names: Names::default(),
            custom: Vec::new(),
        }
    }
}

/// A function's body.
#[derive(Clone, Debug)]
pub(crate) struct Body<'a> {
    /// The locals and instructions, known to be valid.
    pub(crate) body: FunctionBody<'a>,
    /// Its size, in bytes.
    pub(crate) size: u32,
    /// Which of its branches are seldom or mostly taken.
    pub(crate) hints: BranchHints,
}

impl Body<'_> {
    /// Where it begins, in bytes from the beginning of the module: as other offsets, at most the last of 32 bits.
    pub(crate) fn offset(&self) -> u32 {
        u32::try_from(self.body.range().start).unwrap_or(u32::MAX)
    }
}

/// What the name section tells.
#[derive(Clone, Default, Debug)]
pub(crate) struct Names<'a> {
    /// Names of functions, in ascending order of index, no index twice.
    pub(crate) funcs: Vec<(FuncIndex, &'a str)>,
}

impl<'a> Names<'a> {
    /// The name of a function.
    pub(crate) fn func(&self, func: FuncIndex) -> Option<&'a str> {
        let position = self.funcs.binary_search_by_key(&func, |&(f, _)| f).ok()?;
        Some(self.funcs[position].1)
    }

    /// The same error, with the name of the function that it is in, if that has one.
    pub(crate) fn blame(&self, error: CompileError) -> CompileError {
        match error.function().and_then(|func| self.func(func)) {
            Some(name) => error.named(name),
            None => error,
        }
    }
}

/// Parses and validates a module.
///
/// # Errors
///
/// The module is malformed or invalid under `features`, or exceeds a limit of the implementation.
/// Of several errors the one with the smallest offset is reported.
pub(crate) fn read(wasm: &[u8], features: Features) -> Result<Translation<'_>> {
    if Parser::is_component(wasm) {
        return Err(CompileError::at(
            4,
            "this is a component, and only modules are supported",
        ));
    }
    if u32::try_from(wasm.len()).is_err() {
        return Err(CompileError::new("the module is larger than 4 GiB"));
    }
    let mut sections = Sections::default();
    let outcome = read_sections(wasm, features, &mut sections);
    finish(sections, outcome, features)
}

fn read_sections<'a>(
    wasm: &'a [u8],
    features: Features,
    sections: &mut Sections<'a>,
) -> Result<()> {
    let features = features::to_wasmparser(features);
    let mut validator = Validator::new_with_features(features);
    let mut parser = Parser::new(0);
    parser.set_features(features);
    for payload in parser.parse_all(wasm) {
        let payload = payload?;
        match validator.payload(&payload)? {
            ValidPayload::Func(func, body) => sections.bodies.push((func, body)),
            _ => sections.read(payload)?,
        }
    }
    Ok(())
}

/// Validates the bodies, even those before the error when reading the sections failed: theirs may
/// come first.
fn finish(
    sections: Sections<'_>,
    outcome: Result<()>,
    features: Features,
) -> Result<Translation<'_>> {
    let Sections {
        mut module,
        bodies: unchecked,
        data,
        mut escaping,
        names,
        hints,
        custom,
        mut used,
        ..
    } = sections;
    let hints = hints
        .filter(|_| features.contains(Feature::BranchHinting))
        .map(|section| hints::read(section, &module));
    let mut hints = hints.unwrap_or_default().into_iter();
    let bodies = unchecked
        .iter()
        .map(|(_, body)| Body {
            body: body.clone(),
            size: bodies::body_size(body) as u32,
            hints: hints.next().unwrap_or_default(),
        })
        .collect();
    let NameSection {
        module: module_name,
        names,
        tags: tag_names,
    } = names.map_or_else(NameSection::default, |section| {
        names::read(section, &module)
    });
    let bodies_outcome = bodies::validate(unchecked);
    used = used.union(first_error(outcome, bodies_outcome).map_err(|e| names.blame(e))?);

    escaping.retain(|&func| !module.is_imported_func(func));
    escaping.sort_unstable();
    escaping.dedup();
    module.escaping_funcs = escaping;
    module.name = module_name.map(str::to_owned);
    let tag_names = tag_names.into_iter();
    module.tag_names = tag_names
        .map(|(tag, name)| (tag, name.to_owned()))
        .collect();
    module.features = features;
    module.features_used = used.to_features(features);
    let data = data::lay_out(&mut module, &data);
    Ok(Translation {
        module,
        bodies,
        data,
        names,
        custom,
    })
}

fn first_error<T>(sections: Result<()>, bodies: Result<T>) -> Result<T> {
    match (sections, bodies) {
        (Ok(()), bodies) => bodies,
        (Err(section), Err(body)) if body.offset() < section.offset() => Err(body),
        (Err(section), _) => Err(section),
    }
}

impl From<wasmparser::Error> for CompileError {
    fn from(error: wasmparser::Error) -> Self {
        CompileError::at(error.offset(), error.message())
    }
}
