//! Two threads at once, in programs of which only the order of events is open: whatever it is, what comes out
//! must add up.
//!
//! `memory` has two stores that work on one shared memory, `types` has two that load and drop modules of one
//! engine whose types are partly the same.

mod memory;
mod types;

use crate::random::Random;
use sarsen::{Config, Engine, OptLevel};

/// Runs what a seed determines on two threads.
///
/// # Errors
///
/// What does not add up.
pub fn on_two_threads(seed: u64) -> Result<(), String> {
    let mut random = Random::new(seed);
    let engine = engine(&mut random);
    match random.below(2) {
        0 => memory::run(&engine, &mut random),
        _ => types::run(&engine, &mut random),
    }
    .map_err(|error| format!("{error:#}"))
}

fn engine(random: &mut Random) -> Engine {
    let (reservation, guard) = random.choose(&[(4 << 30, 32 << 20), (1 << 20, 64 << 10), (0, 0)]);
    let mut config = Config::new();
    config
        .memory_reservation(reservation)
        .memory_guard_size(guard)
        .compiler_inlining(random.below(2) == 0)
        .opt_level(random.choose(&[OptLevel::Speed, OptLevel::None]));
    Engine::new(&config).expect("the settings are possible")
}
