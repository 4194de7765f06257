//! `cargo xtask bless`: runs the tests with `SARSEN_BLESS` set, so that tests whose expectations are
//! files write them anew. Read the difference before committing it.

use crate::{ci, source};
use std::process::Command;

/// `cargo xtask support`: the same of the official scripts alone, which write the README's table of
/// proposals.
pub(crate) fn support() -> Result<(), String> {
    let mut command = Command::new(ci::cargo());
    command
        .args(["test", "--package", "sarsen-tests", "--test", "spec"])
        .args(["--", "--quiet"])
        .env("SARSEN_BLESS", "1");
    ci::step("support", command)
}

pub(crate) fn run() -> Result<(), String> {
    let mut command = Command::new(ci::cargo());
    command
        .args(["test", "--workspace", "--quiet"])
        .env("SARSEN_BLESS", "1");
    ci::step("bless", command)?;
    let mut diff = Command::new("git");
    diff.args(["status", "--short"]).current_dir(source::root());
    ci::step("what changed", diff)
}
