//! `cargo xtask tidy`: the rules of this code base that no other tool checks.
//!
//! Each rule is a function from the files to complaints. Rules that the code does not yet keep
//! everywhere are *ratchets*: `xtask/ratchet.txt` lists the exceptions, which may only shrink.

mod dependencies;
mod layers;
mod pages;
mod style;

use crate::source::{self, SourceFile};

/// Something that breaks a rule.
struct Complaint {
    path: String,
    line: Option<usize>,
    what: String,
}

impl Complaint {
    fn file(file: &SourceFile, what: impl Into<String>) -> Complaint {
        Complaint {
            path: file.path.clone(),
            line: None,
            what: what.into(),
        }
    }

    /// At the line with this number, counted from zero.
    fn line(file: &SourceFile, line: usize, what: impl Into<String>) -> Complaint {
        Complaint {
            path: file.path.clone(),
            line: Some(line + 1),
            what: what.into(),
        }
    }
}

impl std::fmt::Display for Complaint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path, self.what),
            None => write!(f, "{}: {}", self.path, self.what),
        }
    }
}

pub(crate) fn run() -> Result<(), String> {
    let complaints = complaints()?;
    if complaints.is_empty() {
        println!("== tidy: nothing to complain about");
        return Ok(());
    }
    let lines: Vec<String> = complaints.iter().map(Complaint::to_string).collect();
    Err(format!(
        "{}\ntidy: {} complaints",
        lines.join("\n"),
        lines.len()
    ))
}

fn complaints() -> Result<Vec<Complaint>, String> {
    let rust = source::files(&[".rs"])?;
    let manifests = source::files(&["Cargo.toml"])?;
    let pages = source::files(&[".md"])?;
    let all = source::files(&[
        ".rs", ".toml", ".md", ".wat", ".wast", ".yml", ".sh", ".ci/run",
    ])?;
    let mut complaints = Vec::new();
    style::check(&rust, &all, &mut complaints);
    layers::check(&rust, &mut complaints);
    dependencies::check(&manifests, &pages, &mut complaints);
    pages::check(&pages, &mut complaints);
    Ok(complaints)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_checkout_is_tidy() {
        let complaints = super::complaints().unwrap();
        let lines: Vec<String> = complaints.iter().map(|c| c.to_string()).collect();
        assert!(lines.is_empty(), "{}", lines.join("\n"));
    }
}
