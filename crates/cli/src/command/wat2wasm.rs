//! `sarsen wat2wasm`: translates the text format to the binary format.

use crate::input::{Input, Kind};
use anyhow::{Context, Result, bail};
use clap::Args;
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

/// Translate a module from text to binary form
///
/// The module is translated, not validated: `sarsen compile` does that.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  sarsen wat2wasm hello.wat -o hello.wasm")]
pub(crate) struct Wat2Wasm {
    /// The module in text form (`-` is standard input)
    file: OsString,

    /// Where to write the binary form (`-` is standard output); FILE with the extension `.wasm` if
    /// not given
    #[arg(short, long, value_name = "OUT")]
    output: Option<PathBuf>,
}

impl Wat2Wasm {
    pub(crate) fn execute(self) -> Result<u8> {
        let input = Input::read(&self.file)?;
        if input.kind != Kind::Text {
            bail!("{} is not in text form", input.describe());
        }
        let output = match (self.output, &input.path) {
            (Some(output), _) => output,
            (None, Some(path)) => path.with_extension("wasm"),
            (None, None) => PathBuf::from("-"),
        };
        let binary = input.into_binary()?;
        if output.as_os_str() == "-" {
            let mut stdout = std::io::stdout().lock();
            stdout.write_all(&binary)?;
            stdout.flush()?;
        } else {
            std::fs::write(&output, binary)
                .with_context(|| format!("cannot write `{}`", output.display()))?;
        }
        Ok(0)
    }
}
