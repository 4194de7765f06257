//! The runtime's folders depend downwards only.

use super::Complaint;
use crate::source::SourceFile;

/// The folders of `crates/vm/src`, lowest first; those in one group may use each other.
const LAYERS: &[&[&str]] = &[
    &["os", "arch"],
    &["types", "code", "mem", "stack"],
    &["gc"],
    &["instance"],
    &["exec"],
    &["debug"],
];

fn layer(folder: &str) -> Option<usize> {
    LAYERS.iter().position(|group| group.contains(&folder))
}

pub(super) fn check(rust: &[SourceFile], complaints: &mut Vec<Complaint>) {
    for file in rust {
        let Some(path) = file.path.strip_prefix("crates/vm/src/") else {
            continue;
        };
        let Some(own) = path.split('/').next().and_then(layer) else {
            continue;
        };
        for (number, line) in file.text.lines().enumerate() {
            if line.trim_start().starts_with("//") {
                continue;
            }
            for used in line
                .match_indices("crate::")
                .map(|(at, word)| &line[at + word.len()..])
            {
                let end = used.find(|c: char| !c.is_alphanumeric() && c != '_');
                let folder = &used[..end.unwrap_or(used.len())];
                if layer(folder).is_some_and(|other| other > own) {
                    let what = format!("uses `{folder}`, which lies above it");
                    complaints.push(Complaint::line(file, number, what));
                }
            }
        }
    }
}
