//! What the pages say of the code's layout is true: every path that they name exists.

use super::Complaint;
use crate::source::{self, SourceFile};

/// The folders that a path in the text may begin with.
const ROOTS: &[&str] = &[
    "crates/",
    "docs/",
    "examples/",
    "tests/",
    "benches/",
    "fuzz/",
    "xtask/",
    ".ci/",
];

pub(super) fn check(pages: &[SourceFile], complaints: &mut Vec<Complaint>) {
    let root = source::root();
    for page in pages {
        // A log of what was, and records of what was decided, may name what is no more.
        if page.path == "CHANGELOG.md" || page.path.starts_with("docs/decisions/") {
            continue;
        }
        for (number, line) in page.text.lines().enumerate() {
            // Between backticks.
            for quoted in line.split('`').skip(1).step_by(2) {
                let path = quoted
                    .split([' ', '*', '<', '{'])
                    .next()
                    .unwrap_or_default();
                let named = ROOTS.iter().any(|root| path.starts_with(root));
                if named && !root.join(path).exists() {
                    let what = format!("`{path}` does not exist");
                    complaints.push(Complaint::line(page, number, what));
                }
            }
        }
    }
}
