//! Options that there are not, or with values that make no sense.

use crate::{FAILED, SAMPLE, Scratch, USAGE};
use std::collections::HashMap;

#[test]
fn an_unknown_option_or_feature_is_a_usage_error() {
    let scratch = Scratch::with("sample.wat", SAMPLE);
    let run = ["run", "--no-such-option", "sample.wat"];
    scratch.fails(USAGE, &run, &["no-such-option"]);
    let run = ["run", "--wasm", "sind", "sample.wat"];
    scratch.fails(USAGE, &run, &["sind", "simd"]);
}

#[test]
fn a_value_that_makes_no_sense_says_what_would() {
    let scratch = Scratch::with("sample.wat", SAMPLE);
    for (option, parts) in [
        ("--max-wasm-stack=deep", &["`deep`", "16MiB"][..]),
        ("--max-wasm-stack=8KiB", &["at least 16KiB"]),
        ("--max-wasm-stack=2000GiB", &["at most 1TiB"]),
        ("--continuation-stack-size=16KiB", &["at least 32KiB"]),
        ("--max-continuation-stacks=-1", &["-1"]),
        ("--max-memory=much", &["`much`", "64KiB"]),
        ("--timeout=soon", &["`soon`", "200ms"]),
        ("--fuel=1e6", &["1e6", "--fuel"]),
        ("--gc-zeal=0", &["--gc-zeal"]),
        ("--gc-heap-limit=much", &["`much`"]),
        ("--gc-nursery=-1", &["-1"]),
        ("--collector=best", &["best", "generational", "null"]),
        ("--opt-level=9", &["9", "speed"]),
    ] {
        scratch.fails(USAGE, &["run", option, "sample.wat"], parts);
    }
}

#[test]
fn a_directory_that_does_not_exist_is_named() {
    let scratch = Scratch::with("sample.wat", SAMPLE);
    let run = ["run", "--dir", "nowhere", "sample.wat"];
    let message = scratch.fails(FAILED, &run, &["`nowhere`", "--dir"]);
    assert!(!message.contains("sample.wat"), "it has not run: {message}");
}

#[test]
fn help_lists_options_under_what_they_are_for() {
    let help = Scratch::new().prints(&["run", "--help"]);
    let mut headings = Vec::new();
    let mut under = HashMap::new();
    for line in help.lines() {
        if !line.starts_with(' ') && line.ends_with(':') {
            headings.push(line);
        }
        if let Some(option) = line
            .trim_start()
            .split([' ', '['])
            .find(|w| w.starts_with("--"))
            && line.starts_with("  ")
            && !under.contains_key(option)
        {
            under.insert(option, *headings.last().unwrap());
        }
    }
    let expected = ["Options:", "Garbage collection:", "Limits:", "Compilation:"];
    for heading in expected {
        assert!(headings.contains(&heading), "{heading}: {help}");
    }
    assert_eq!(under["--dir"], "Options:");
    assert_eq!(under["--gc-stats"], "Garbage collection:");
    assert_eq!(under["--gc-zeal"], "Garbage collection:");
    assert_eq!(under["--fuel"], "Limits:");
    assert_eq!(under["--max-wasm-stack"], "Limits:");
    assert_eq!(under["--opt-level"], "Compilation:");
}
