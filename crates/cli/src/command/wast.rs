//! `sarsen wast`: runs test scripts of the official format.

use crate::failure::{self, Style};
use crate::options::{CodeOptions, GcOptions};
use crate::script::{self, Report};
use crate::stacks::StackOptions;
use anyhow::{Context, Result};
use clap::Args;
use sarsen::Config;
use std::fmt;
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

    #[command(flatten)]
    stacks: StackOptions,

    /// The scripts
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

impl Wast {
    pub(crate) fn execute(self) -> Result<u8> {
        let mut config = self.code.config();
        self.gc.configure(&mut config);
        self.stacks.configure(&mut config);
        self.stacks.with_room(|| run_all(&config, &self.files))
    }
}

/// Runs the scripts, tells of each what became of it, and returns the exit code.
fn run_all(config: &Config, files: &[PathBuf]) -> Result<u8> {
    let style = Style::of(io::stdout().is_terminal());
    let mut code = 0;
    for file in files {
        let name = file.display().to_string();
        let read = std::fs::read_to_string(file).with_context(|| format!("cannot read `{name}`"));
        match read.and_then(|text| script::run(config, &name, &text)) {
            Ok(report) => {
                if !report.failures.is_empty() {
                    code = failure::FAILED;
                }
                write_report(&mut io::stdout().lock(), style, &name, &report)?;
            }
            // The other scripts may be fine.
            Err(error) => {
                code = failure::FAILED;
                failure::report(&error);
            }
        }
    }
    Ok(code)
}

fn write_report(to: &mut impl Write, style: Style, name: &str, report: &Report) -> io::Result<()> {
    let of = Directives(report.directives);
    if report.failures.is_empty() {
        return writeln!(to, "{name}: {of} passed");
    }
    let Style { alarm, end, .. } = style;
    let count = report.failures.len();
    writeln!(to, "{name}: {alarm}{count} of {of} failed{end}")?;
    for failure in &report.failures {
        writeln!(to, "  {failure}")?;
    }
    Ok(())
}

/// A number of directives, with its noun.
struct Directives(usize);

impl fmt::Display for Directives {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = if self.0 == 1 { "" } else { "s" };
        write!(f, "{} directive{s}", self.0)
    }
}
