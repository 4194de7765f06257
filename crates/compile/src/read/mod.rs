//! From bytes to a validated [`Module`]: the only code that parses WebAssembly's binary format.
//!
//! What comes out of [`read`] is valid as a whole, function bodies included: lowering a body never
//! fails for the module's sake, and may look into the bodies of its callees.

use sarsen_abi::{FuncIndex, Module};
use wasmparser::FunctionBody;

/// A valid module, taken apart.
#[derive(Debug)]
pub(crate) struct Translation<'a> {
    /// What it declares.
    pub(crate) module: Module,
    /// The bodies of the functions that it defines, by [`sarsen_abi::DefinedFuncIndex`].
    pub(crate) bodies: Vec<Body<'a>>,
    /// The image's data section: memory images first, each page-aligned, then the bytes of all other
    /// segments. The ranges in `module` refer to it.
    pub(crate) data: Vec<u8>,
    /// The names of functions.
    pub(crate) names: Names<'a>,
    /// The custom sections that are kept: DWARF (`.debug_*`), by name, in order.
    pub(crate) custom: Vec<(&'a str, &'a [u8])>,
    /// Where the contents of the code section begin, in bytes from the beginning of the module:
    /// DWARF counts from there. Zero without a code section.
    pub(crate) code_section_offset: u64,
}

/// A function's body.
#[derive(Clone, Debug)]
pub(crate) struct Body<'a> {
    /// The locals and instructions, known to be valid.
    pub(crate) body: FunctionBody<'a>,
    /// Its size, in bytes.
    pub(crate) size: u32,
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
}
