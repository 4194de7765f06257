//! `cargo xtask bless`: runs the tests with `SARSEN_BLESS` set, so that tests whose expectations are
//! files write them anew. Read the difference before committing it.

use crate::{ci, source};
use std::process::Command;

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
