//! The same few thousand cases on every machine. `SARSEN_FUZZ_MODULES` asks for another number of
//! modules, `SARSEN_FUZZ_SEED` for other ones.

use sarsen_fuzz::{
    Bench, Case, Counts, Peer, Plain, Program, Random, Wasmi, damaged_image, damaged_module,
    on_two_threads,
};

fn from_environment(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(value) => value.parse().unwrap_or_else(|_| panic!("{name}: {value}")),
        Err(_) => default,
    }
}

/// The cases of consecutive seeds, a share of the number of modules that is asked for.
fn cases(share: u64) -> impl Iterator<Item = (u64, Case)> {
    let first = from_environment("SARSEN_FUZZ_SEED", 1_000_000);
    let count = from_environment("SARSEN_FUZZ_MODULES", 6000) / share;
    (first..first + count).filter_map(|seed| Some((seed, Case::from_seed(seed, Wasmi::ABILITIES)?)))
}

#[test]
fn generated_modules_run_as_in_another_runtime() {
    let mut bench = Bench::<Wasmi>::default();
    let mut counts = Counts::default();
    for (seed, case) in cases(1) {
        match bench.run(&case) {
            Ok(more) => counts += more,
            Err(difference) => panic!("seed {seed}: {difference}\n{case:?}"),
        }
    }
    println!("{counts:?}");
    assert!(
        counts.modules >= 4 * counts.refused,
        "too few ran: {counts:?}"
    );
    assert!(
        counts.calls > counts.failures,
        "too few succeeded: {counts:?}"
    );
}

#[test]
fn programs_of_objects_do_the_same_however_they_are_compiled_and_collected() {
    let mut bench = Bench::<Plain>::default();
    let mut counts = Counts::default();
    let first = from_environment("SARSEN_FUZZ_SEED", 1_000_000);
    for seed in first..first + from_environment("SARSEN_FUZZ_MODULES", 6000) / 30 {
        let Some(case) = Case::of_objects(seed) else {
            continue;
        };
        match bench.run(&case) {
            Ok(more) => counts += more,
            Err(difference) => panic!("seed {seed}: {difference}\n{case:?}"),
        }
    }
    println!("{counts:?}");
    assert!(
        counts.calls > counts.failures,
        "too few succeeded: {counts:?}"
    );
}

#[test]
fn damaged_modules_are_refused_or_run() {
    for (seed, case) in cases(4) {
        damaged_module(&case, &mut Random::new(seed));
    }
}

#[test]
fn damaged_images_are_refused() {
    for (seed, case) in cases(8) {
        damaged_image(&case, &mut Random::new(seed));
    }
}

#[test]
fn graphs_of_objects_are_what_a_model_says_however_often_they_are_collected() {
    let first = from_environment("SARSEN_FUZZ_SEED", 1_000_000);
    for seed in first..first + from_environment("SARSEN_FUZZ_MODULES", 6000) / 30 {
        let program = Program::from_seed(seed);
        if let Err(difference) = program.check(seed) {
            panic!("seed {seed}: {difference}\n{}", program.to_text());
        }
    }
}

#[test]
fn what_two_threads_do_adds_up() {
    let first = from_environment("SARSEN_FUZZ_SEED", 1_000_000);
    for seed in first..first + from_environment("SARSEN_FUZZ_MODULES", 6000) / 60 {
        if let Err(difference) = on_two_threads(seed) {
            panic!("seed {seed}: {difference}");
        }
    }
}
