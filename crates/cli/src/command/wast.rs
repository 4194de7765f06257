//! `sarsen wast`: runs test scripts of the official format.

use crate::failure::{self, Style};
use crate::options::{CodeOptions, GcOptions};
use crate::script;
use anyhow::{Context, Result};
use clap::Args;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

/// Run test scripts (`.wast`)
///
/// Runs every directive of every script, and tells which failed. Exits with 1 if any did.
#[derive(Args, Debug)]
#[command(
    after_help = "Scripts may import `spectest`, and the function `gc` of the module `sarsen`, which collects \
                  all garbage.\n\nExamples:\n  sarsen wast test/core/*.wast\n  sarsen wast --gc-zeal struct.wast"
)]
pub(crate) struct Wast {
    #[command(flatten)]
    code: CodeOptions,

    #[command(flatten)]
    gc: GcOptions,

    /// The scripts
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

impl Wast {
    pub(crate) fn execute(self) -> Result<u8> {
        let mut config = self.code.config();
        self.gc.configure(&mut config);
        let style = Style::of(io::stdout().is_terminal());
        let mut failed = 0;
        for file in &self.files {
            let name = file.display().to_string();
            let read =
                std::fs::read_to_string(file).with_context(|| format!("cannot read `{name}`"));
            let report = match read.and_then(|text| script::run(&config, &name, &text)) {
                Ok(report) => report,
                // The other scripts may be fine.
                Err(error) => {
                    failed += 1;
                    failure::report(&error);
                    continue;
                }
            };
            let mut stdout = io::stdout().lock();
            if report.failures.is_empty() {
                writeln!(stdout, "{name}: {} directives passed", report.directives)?;
            } else {
                failed += 1;
                let count = report.failures.len();
                let of = report.directives;
                let (alarm, end) = (style.alarm, style.end);
                writeln!(
                    stdout,
                    "{name}: {alarm}{count} of {of} directives failed{end}"
                )?;
                for failure in &report.failures {
                    writeln!(stdout, "  {failure}")?;
                }
            }
        }
        Ok(if failed == 0 { 0 } else { failure::FAILED })
    }
}
