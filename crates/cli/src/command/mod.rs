//! The command line: its subcommands, and which of them is meant.

mod compile;
mod inspect;
mod objdump;
mod run;
mod wast;
mod wat2wasm;

use crate::failure;
use clap::{Parser, Subcommand};
use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  sarsen hello.wasm                         Run a program
  sarsen run --dir . grep.wasm -i needle .  Run a program with a directory and arguments
  sarsen run --invoke add calc.wat 1 2      Call an exported function
  sarsen compile big.wasm -o big.image      Compile once ...
  sarsen run --allow-precompiled big.image  ... and run many times

`sarsen FILE` is short for `sarsen run FILE`. `sarsen help COMMAND` tells more.

Exit codes: the program's own; 134 when it trapped or did not catch an exception; 2 for a wrong command line; 1 for anything else.";

/// Sarsen runs WebAssembly: fast, and safely inside its sandbox.
#[derive(Debug, Parser)]
#[command(name = "sarsen", version, after_help = EXAMPLES)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Run),
    Compile(compile::Compile),
    Wast(wast::Wast),
    Objdump(objdump::Objdump),
    Inspect(inspect::Inspect),
    #[command(name = "wat2wasm")]
    Wat2Wasm(wat2wasm::Wat2Wasm),
}

/// The names of the subcommands, `help` and the options of the command itself: what may stand first
/// without meaning a file to run.
const FIRST_WORDS: &[&str] = &[
    "run",
    "compile",
    "wast",
    "objdump",
    "inspect",
    "wat2wasm",
    "help",
    "-h",
    "--help",
    "-V",
    "--version",
];

/// Runs the command that the process' arguments describe.
pub fn main() -> ExitCode {
    let line = CommandLine::parse_from(with_subcommand(std::env::args_os().collect()));
    let result = match line.command {
        Command::Run(command) => command.execute(),
        Command::Compile(command) => command.execute(),
        Command::Wast(command) => command.execute(),
        Command::Objdump(command) => command.execute(),
        Command::Inspect(command) => command.execute(),
        Command::Wat2Wasm(command) => command.execute(),
    };
    ExitCode::from(result.unwrap_or_else(|error| failure::report(&error)))
}

/// Adds the subcommand `run` where none is named: `sarsen FILE`, `sarsen --dir . FILE`.
fn with_subcommand(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let is_named = |first: &OsString| FIRST_WORDS.iter().any(|word| first == OsStr::new(word));
    if arguments.get(1).is_some_and(|first| !is_named(first)) {
        arguments.insert(1, "run".into());
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn every_subcommand_is_among_the_first_words() {
        for subcommand in CommandLine::command().get_subcommands() {
            assert!(FIRST_WORDS.contains(&subcommand.get_name()));
        }
    }

    #[test]
    fn a_file_alone_is_run() {
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        let line = with_subcommand(words(&["sarsen", "x.wasm", "-v"]));
        assert_eq!(line, words(&["sarsen", "run", "x.wasm", "-v"]));
        let line = with_subcommand(words(&["sarsen", "--dir", ".", "x.wasm"]));
        assert_eq!(line[1], "run");
        assert_eq!(with_subcommand(words(&["sarsen", "--help"])).len(), 2);
        assert_eq!(with_subcommand(words(&["sarsen"])).len(), 1);
    }
}
