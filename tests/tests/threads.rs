//! Scripts about threads that the official suite does not have: those in `tests/threads`, each in memories
//! that are reserved whole and in memories that are checked in code, optimized and not.

use sarsen::{Config, OptLevel};
use std::fs;
use std::path::Path;

fn configs() -> Vec<(&'static str, Config)> {
    let mut checked = Config::new();
    checked
        .memory_reservation(1 << 20)
        .memory_guard_size(64 << 10);
    let mut no_guard = Config::new();
    no_guard.memory_reservation(0).memory_guard_size(0);
    let mut plain = Config::new();
    plain.opt_level(OptLevel::None);
    vec![
        ("default", Config::new()),
        ("checked", checked),
        ("no guard", no_guard),
        ("not optimized", plain),
    ]
}

fn pass(script: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/threads")
        .join(script);
    let text = fs::read_to_string(&path).unwrap();
    for (name, config) in configs() {
        let report = sarsen_cli::script::run(&config, script, &text).unwrap();
        assert!(
            report.failures.is_empty(),
            "{name}: {} of {} failed, first: {}",
            report.failures.len(),
            report.directives,
            report.failures[0]
        );
    }
}

#[test]
fn every_instruction_is_checked_at_the_edges() {
    pass("edges.wast");
}

#[test]
fn every_width_of_every_operation_computes_what_it_should() {
    pass("values.wast");
}

#[test]
fn waiting_and_notifying_pass() {
    pass("wait_notify.wast");
}
