//! Who may depend on whom, and that each dependency has its reason.

use super::Complaint;
use crate::source::SourceFile;

/// What of ours each crate may use.
const OURS: &[(&str, &[&str])] = &[
    ("crates/abi", &[]),
    ("crates/compile", &["sarsen-abi"]),
    ("crates/vm", &["sarsen-abi"]),
    (
        "crates/sarsen",
        &["sarsen-abi", "sarsen-compile", "sarsen-vm"],
    ),
    ("crates/wasi", &["sarsen"]),
    ("crates/cli", &["sarsen", "sarsen-wasi"]),
];

pub(super) fn check(
    manifests: &[SourceFile],
    pages: &[SourceFile],
    complaints: &mut Vec<Complaint>,
) {
    let reasons = pages
        .iter()
        .find(|page| page.path == "docs/dependencies.md");
    for manifest in manifests {
        let folder = manifest.path.trim_end_matches("/Cargo.toml");
        for dependency in dependencies(&manifest.text) {
            check_ours(manifest, folder, &dependency, complaints);
            check_theirs(manifest, folder, &dependency, complaints);
            let ours = dependency.name.starts_with("sarsen");
            let given =
                reasons.is_some_and(|page| page.text.contains(&format!("`{}`", dependency.name)));
            if !ours && !given {
                let what = format!(
                    "`{}` has no reason in docs/dependencies.md",
                    dependency.name
                );
                complaints.push(Complaint::line(manifest, dependency.line, what));
            }
        }
    }
}

fn check_ours(
    manifest: &SourceFile,
    folder: &str,
    dependency: &Dependency,
    complaints: &mut Vec<Complaint>,
) {
    let Some((_, allowed)) = OURS.iter().find(|(name, _)| *name == folder) else {
        return;
    };
    if dependency.name.starts_with("sarsen") && !allowed.contains(&&*dependency.name) {
        let what = format!("{folder} must not depend on `{}`", dependency.name);
        complaints.push(Complaint::line(manifest, dependency.line, what));
    }
}

fn check_theirs(
    manifest: &SourceFile,
    folder: &str,
    dependency: &Dependency,
    complaints: &mut Vec<Complaint>,
) {
    if !folder.starts_with("crates/") {
        return;
    }
    let name = &*dependency.name;
    let compiler_only = name == "wasmparser" || name.starts_with("cranelift");
    if compiler_only && folder != "crates/compile" {
        let what = format!("only crates/compile uses `{name}`");
        complaints.push(Complaint::line(manifest, dependency.line, what));
    }
    if name.starts_with("wasmtime") {
        let what = format!("`{name}` is a peer, not a part");
        complaints.push(Complaint::line(manifest, dependency.line, what));
    }
}

struct Dependency {
    name: String,
    line: usize,
}

/// The names under every `[…dependencies]` table. A full parser would say no more about our own
/// manifests, which `cargo fmt` does not touch but review does.
fn dependencies(manifest: &str) -> Vec<Dependency> {
    let mut inside = false;
    let mut found = Vec::new();
    for (line, text) in manifest.lines().enumerate() {
        if text.starts_with('[') {
            inside = text.trim_end().ends_with("dependencies]");
        } else if inside && let Some((key, _)) = text.split_once('=') {
            let name = key.split('.').next().unwrap_or(key).trim().to_owned();
            if !name.is_empty() && !name.starts_with('#') {
                found.push(Dependency { name, line });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::dependencies;

    #[test]
    fn dependencies_are_found_in_every_table_and_form() {
        let manifest = "[package]\nname = \"x\"\n[dependencies]\na.workspace = true\n\
                        b = \"1\"\n[dev-dependencies]\nc = { version = \"1\" }\n[lints]\nd = 1\n";
        let names: Vec<String> = dependencies(manifest).into_iter().map(|d| d.name).collect();
        assert_eq!(names, ["a", "b", "c"]);
    }
}
