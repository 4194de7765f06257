//! Test scripts: the `.wast` format of the official test-suite.
//!
//! [`run`] executes every directive of a script in one store (and one for each `thread`), and reports
//! those that failed; a failed directive does not stop the script. The format is described in the
//! specification's repository, `interpreter/README.md`, "Scripts".
//!
//! [`runner`] holds the state of a script and executes directives, [`values`] translates and compares
//! values, [`spectest`] is the module that every script may import.

mod runner;
mod spectest;
mod values;

use anyhow::Result;
use runner::Runner;
use sarsen::{Config, Engine};
use std::fmt;
use wast::Wast;
use wast::lexer::Lexer;
use wast::parser::{self, ParseBuffer};
use wast::token::Span;

/// What became of a script.
#[derive(Clone, Debug)]
pub struct Report {
    /// How many directives were executed.
    pub directives: usize,
    /// Those that failed, in order.
    pub failures: Vec<Failure>,
}

/// A directive that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The script.
    pub script: String,
    /// The directive's line, from 1.
    pub line: usize,
    /// The directive's column, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure {
            script,
            line,
            column,
            message,
        } = self;
        write!(f, "{script}:{line}:{column}: {message}")
    }
}

/// Runs the script `text`, which messages call `name`, under `config`.
///
/// # Errors
///
/// When the script cannot be parsed, or the configuration is impossible.
pub fn run(config: &Config, name: &str, text: &str) -> Result<Report> {
    let parse_error = |mut error: wast::Error| {
        error.set_path(name.as_ref());
        error.set_text(text);
        error
    };
    let mut lexer = Lexer::new(text);
    // Some scripts test exactly that.
    lexer.allow_confusing_unicode(true);
    let buffer = ParseBuffer::new_with_lexer(lexer).map_err(parse_error)?;
    let script: Wast<'_> = parser::parse(&buffer).map_err(parse_error)?;
    let engine = Engine::new(config)?;
    let source = Source { name, text };
    // Threads that a script does not wait for end with it.
    std::thread::scope(|threads| {
        let mut runner = Runner::new(&engine, source, threads)?;
        Ok(Report {
            directives: script.directives.len(),
            failures: runner.run(script.directives),
        })
    })
}

/// A script's name and text.
#[derive(Clone, Copy)]
struct Source<'t> {
    name: &'t str,
    text: &'t str,
}

impl Source<'_> {
    fn failure(self, at: Span, error: &anyhow::Error) -> Failure {
        let (line, column) = at.linecol_in(self.text);
        Failure {
            script: self.name.to_owned(),
            line: line + 1,
            column: column + 1,
            message: format!("{error:#}"),
        }
    }
}
