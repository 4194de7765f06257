//! The project's habits, each behind one door: `cargo xtask HABIT`.
//!
//! - `ci`: everything that must pass before a change lands.
//! - `tidy`: the rules of this code base that no other tool checks.
//! - `bless`: writes what tests print now as what they expect.
//! - `support`: writes the README's table of proposals, from the official scripts that pass.
//! - `where WORD`: finds the file that owns a concept, by the first lines of its documentation.

mod bless;
mod ci;
mod find;
mod source;
mod tidy;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask ci | tidy | bless | support | where WORD";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match *arguments {
        ["ci"] => ci::run(),
        ["tidy"] => tidy::run(),
        ["bless"] => bless::run(),
        ["support"] => bless::support(),
        ["where", word] => find::run(word),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}
