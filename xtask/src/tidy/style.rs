//! Rules about single files: documentation at the top, length, unfinished marks, names, places.

use super::Complaint;
use crate::source::{self, SourceFile};
use std::collections::HashMap;

/// How long a file of the product may be, in lines, unless the ratchet says otherwise.
const LINES_LIMIT: usize = 700;

pub(super) fn check(rust: &[SourceFile], all: &[SourceFile], complaints: &mut Vec<Complaint>) {
    let ratchet = ratchet();
    for file in rust {
        opens_with_documentation(file, complaints);
        is_not_too_long(file, &ratchet, complaints);
        is_finished(file, complaints);
        is_well_named(file, complaints);
        keeps_platforms_apart(file, complaints);
    }
    for file in all {
        names_no_machine(file, complaints);
    }
}

/// Files that are longer than the limit, with the length that they may not exceed.
fn ratchet() -> HashMap<String, usize> {
    let text = std::fs::read_to_string(source::root().join("xtask/ratchet.txt"));
    text.unwrap_or_default()
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(path, lines)| Some((path.to_owned(), lines.trim().parse().ok()?)))
        .collect()
}

fn opens_with_documentation(file: &SourceFile, complaints: &mut Vec<Complaint>) {
    if file.summary().is_empty() {
        complaints.push(Complaint::file(
            file,
            "opens without `//!` that says what it owns",
        ));
    }
}

fn is_not_too_long(
    file: &SourceFile,
    ratchet: &HashMap<String, usize>,
    complaints: &mut Vec<Complaint>,
) {
    if file.is_beside_the_product() {
        return;
    }
    let limit = ratchet.get(&file.path).copied().unwrap_or(LINES_LIMIT);
    let lines = file.text.lines().count();
    if lines > limit {
        let what = format!("{lines} lines, of which {limit} are allowed; is it one concept?");
        complaints.push(Complaint::file(file, what));
    }
}

fn is_finished(file: &SourceFile, complaints: &mut Vec<Complaint>) {
    // Split, so that this file does not complain about itself.
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
        concat!("to", "do!"),
        concat!("unimple", "mented!"),
        concat!("#[ig", "nore"),
    ];
    for (number, line) in file.text.lines().enumerate() {
        if let Some(mark) = marks.iter().find(|mark| line.contains(*mark)) {
            complaints.push(Complaint::line(
                file,
                number,
                format!("unfinished: `{mark}`"),
            ));
        }
    }
}

fn is_well_named(file: &SourceFile, complaints: &mut Vec<Complaint>) {
    let vague = [
        "utils", "util", "helpers", "helper", "common", "misc", "prelude",
    ];
    for part in file.path.split('/') {
        if vague.contains(&part.trim_end_matches(".rs")) {
            complaints.push(Complaint::file(file, format!("`{part}` names no concept")));
        }
    }
}

fn keeps_platforms_apart(file: &SourceFile, complaints: &mut Vec<Complaint>) {
    if !file.path.starts_with("crates/vm/src/") {
        return;
    }
    for (condition, folder) in [("target_os", "/os/"), ("target_arch", "/arch/")] {
        for (number, line) in file.text.lines().enumerate() {
            let is_comment = line.trim_start().starts_with("//");
            let is_condition = !is_comment && line.contains("cfg") && line.contains(condition);
            if is_condition && !file.path.contains(folder) {
                let what = format!("`{condition}` is asked about outside `{folder}`");
                complaints.push(Complaint::line(file, number, what));
            }
        }
    }
}

fn names_no_machine(file: &SourceFile, complaints: &mut Vec<Complaint>) {
    let places = [
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("../sha", "red"),
    ];
    for (number, line) in file.text.lines().enumerate() {
        if let Some(place) = places.iter().find(|place| line.contains(*place)) {
            let what = format!("`{place}` is a place on somebody's machine");
            complaints.push(Complaint::line(file, number, what));
        }
    }
}
