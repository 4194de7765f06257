//! The files of this checkout, as git knows them.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A text file of the checkout.
pub(crate) struct SourceFile {
    /// Relative to the root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// The root of the checkout.
pub(crate) fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask
        .parent()
        .expect("xtask lies in the workspace's root")
        .to_path_buf()
}

/// The tracked and new files whose names end in one of `endings`.
pub(crate) fn files(endings: &[&str]) -> Result<Vec<SourceFile>, String> {
    let root = root();
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(&root)
        .output()
        .map_err(|e| format!("git is needed to list the files: {e}"))?;
    let list = String::from_utf8_lossy(&output.stdout);
    let mut files: Vec<SourceFile> = list
        .lines()
        .filter(|path| endings.iter().any(|ending| path.ends_with(ending)))
        .filter_map(|path| {
            let text = std::fs::read_to_string(root.join(path)).ok()?;
            Some(SourceFile {
                path: path.to_owned(),
                text,
            })
        })
        .collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

impl SourceFile {
    /// The words of the file's `//!` documentation up to the first empty line.
    pub(crate) fn summary(&self) -> String {
        self.text
            .lines()
            .map_while(|line| line.strip_prefix("//!"))
            .map(str::trim)
            .take_while(|line| !line.is_empty())
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Whether it is a test, bench, example or fuzz target rather than the product.
    pub(crate) fn is_beside_the_product(&self) -> bool {
        self.path
            .split('/')
            .any(|part| matches!(part, "tests" | "tests.rs" | "benches" | "fuzz" | "examples"))
    }
}
