//! `sarsen compile`: makes an image that `sarsen run --allow-precompiled` starts at once.

use crate::input::Input;
use crate::options::CheckedCodeOptions;
use crate::progress;
use crate::proposals;
use anyhow::{Context, Result, bail};
use clap::Args;
use sarsen::Engine;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{fs, io};

const EXAMPLES: &str = "\
Examples:
  sarsen compile big.wasm                   Writes big.image
  sarsen compile big.wasm -o /tmp/big.image
  sarsen run --allow-precompiled big.image";

/// Compile a module to an image
///
/// An image holds machine code for this machine's processor and this version of Sarsen. It is an ELF
/// file that `objdump` and `perf` can read.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Compile {
    /// The module (`-` is standard input)
    file: OsString,

    /// Where to write the image; FILE with the extension `.image` if not given
    #[arg(short, long, value_name = "OUT")]
    output: Option<PathBuf>,

    #[command(flatten)]
    code: CheckedCodeOptions,
}

impl Compile {
    pub(crate) fn execute(self) -> Result<u8> {
        let engine = Engine::new(&self.code.config())?;
        let input = Input::read(&self.file)?;
        let description = input.describe();
        let output = match (self.output, &input.path) {
            (Some(output), _) => output,
            (None, Some(path)) => path.with_extension("image"),
            (None, None) => bail!("-o says where to write the image of standard input"),
        };
        let binary = input.into_binary()?;
        let image = progress::during(format!("compiling {description}"), || {
            engine.precompile_module(&binary)
        })
        .map_err(|error| proposals::explain(error, self.code.features(), &binary))
        .with_context(|| format!("cannot compile {description}"))?;
        replace(&output, &image).with_context(|| format!("cannot write `{}`", output.display()))?;
        Ok(0)
    }
}

/// Writes a file at once or not at all. A running program may have mapped the image that was there:
/// that must neither change nor shrink, so it is replaced and not overwritten.
fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    // Through a link to what it means; a device or a pipe can only be written to.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if fs::metadata(&target).is_ok_and(|found| !found.is_file()) {
        return fs::write(&target, contents);
    }
    let mut partial = target.clone().into_os_string();
    partial.push(format!(".partial-{}", std::process::id()));
    let written = fs::write(&partial, contents).and_then(|()| fs::rename(&partial, &target));
    if written.is_err() {
        // The error that counts is the first one.
        let _ = fs::remove_file(&partial);
    }
    written
}
