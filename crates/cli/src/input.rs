//! Reading what the command is given: a module in binary or text form, or a precompiled image.

use anyhow::{Context, Result, bail};
use sarsen::{Engine, Module};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// What a file contains, by its first bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// WebAssembly in binary form.
    Binary,
    /// WebAssembly in text form, or at least text.
    Text,
    /// An image that `sarsen compile` made.
    Image,
}

/// What the command was given.
#[derive(Debug)]
pub(crate) struct Input {
    /// The path as it was given; `None` for standard input.
    pub(crate) path: Option<PathBuf>,
    /// The whole contents; of an image in a file only the beginning, because it is mapped rather than
    /// read.
    bytes: Vec<u8>,
    pub(crate) kind: Kind,
}

impl Input {
    /// Reads the file `name`, or standard input for `-`.
    pub(crate) fn read(name: &OsStr) -> Result<Input> {
        let path = (name != "-").then(|| PathBuf::from(name));
        let bytes = match &path {
            Some(path) => {
                read_file(path).with_context(|| format!("cannot read `{}`", path.display()))?
            }
            None => read_stdin().context("cannot read standard input")?,
        };
        let kind = kind(&bytes).with_context(|| format!("cannot use {}", describe(&path)))?;
        Ok(Input { path, bytes, kind })
    }

    /// How messages name this input.
    pub(crate) fn describe(&self) -> String {
        describe(&self.path)
    }

    /// The image as a module.
    ///
    /// # Safety
    ///
    /// As for [`Module::deserialize`]: whoever made the image is trusted, unless nothing of the module
    /// is ever executed.
    #[allow(unsafe_code, reason = "the caller vouches for the image")]
    pub(crate) unsafe fn load_image(&self, engine: &Engine) -> Result<Module> {
        match &self.path {
            // SAFETY: the caller's promise.
            Some(path) => unsafe { Module::deserialize_open_file(engine, File::open(path)?) },
            // SAFETY: the caller's promise.
            None => unsafe { Module::deserialize(engine, &self.bytes) },
        }
    }

    /// The module in binary form. Text is translated; an image is refused.
    pub(crate) fn into_binary(self) -> Result<Vec<u8>> {
        let description = self.describe();
        match self.kind {
            Kind::Binary => Ok(self.bytes),
            Kind::Image => bail!("{description} is a precompiled image, not a module"),
            Kind::Text => translate(self.path.as_deref(), &self.bytes),
        }
    }
}

fn describe(path: &Option<PathBuf>) -> String {
    match path {
        Some(path) => format!("`{}`", path.display()),
        None => "standard input".to_owned(),
    }
}

/// Reads a file: an image's beginning only.
fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let mut bytes = Vec::new();
    file.by_ref().take(16).read_to_end(&mut bytes)?;
    if !Engine::detect_precompiled(&bytes) {
        file.read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

fn read_stdin() -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::io::stdin().lock().read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn kind(bytes: &[u8]) -> Result<Kind> {
    if bytes.is_empty() {
        bail!("it is empty");
    }
    if bytes.starts_with(b"\0asm") {
        return Ok(Kind::Binary);
    }
    if Engine::detect_precompiled(bytes) {
        return Ok(Kind::Image);
    }
    // A zero byte is in no text that anybody wrote, but in nearly every binary file.
    if bytes.contains(&0) || std::str::from_utf8(bytes).is_err() {
        bail!("it is neither WebAssembly, in binary or text form, nor an image of this version");
    }
    Ok(Kind::Text)
}

/// Translates the text format. The error shows the place.
fn translate(path: Option<&Path>, bytes: &[u8]) -> Result<Vec<u8>> {
    let path = path.unwrap_or(Path::new("<stdin>"));
    let translated = wat::Parser::new().parse_bytes(Some(path), bytes);
    let binary = translated.with_context(|| format!("`{}` is no valid text", path.display()))?;
    Ok(binary.into_owned())
}
