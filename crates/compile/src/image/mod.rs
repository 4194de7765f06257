//! From compiled functions to an image: the last stage of the compiler.
//!
//! `text` places functions and resolves the references between them; `tables` writes down what is known
//! about each; the format itself, and the ELF file around it, are [`sarsen_abi::image`]'s.
//!
//! What a finished text guarantees: it is less than 2 GiB, and it is finished. No relocation is left,
//! and none was anything but the distance between two places of the text itself, so it runs at any
//! address and refers to nothing outside.

mod tables;
mod text;

use crate::compiled::CompiledFunction;
use crate::error::Result;
use sarsen_abi::image::{ImageContents, ImageEncoder, TargetDescription};
use sarsen_abi::{FuncIndex, Module, Settings};
use text::Text;

/// What an image consists of beside code.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ImageParts<'a> {
    /// What the module declares.
    pub(crate) module: &'a Module,
    /// What it was compiled for.
    pub(crate) target: &'a TargetDescription,
    /// The settings that it was compiled under.
    pub(crate) settings: &'a Settings,
    /// Where the bodies of the functions that it defines begin, in bytes from the beginning of the module.
    pub(crate) bodies: &'a [u32],
    /// The data section.
    pub(crate) data: &'a [u8],
    /// The names of functions, ascending.
    pub(crate) names: &'a [(FuncIndex, &'a str)],
    /// The custom sections to keep, by name.
    pub(crate) custom: &'a [(&'a str, &'a [u8])],
}

/// Links compiled functions and stubs into an image. `functions` must hold every function that the
/// module defines, and an entry and an exit stub for each function type that has either.
///
/// # Errors
///
/// When the code exceeds 2 GiB.
pub(crate) fn link(
    mut functions: Vec<CompiledFunction>,
    parts: &ImageParts<'_>,
) -> Result<Vec<u8>> {
    functions.sort_by_key(|function| function.kind);
    let text = Text::link(&functions)?;
    let mut encoder = ImageEncoder::new(parts.module.num_imports.funcs);
    tables::add_all(&mut encoder, &functions, &text);
    drop(functions);
    Ok(encoder.finish(&ImageContents {
        module: parts.module,
        target: parts.target,
        settings: parts.settings,
        text: text.bytes(),
        bodies: parts.bodies,
        data: parts.data,
        names: parts.names,
        custom: parts.custom,
    }))
}

#[cfg(test)]
mod tests;
