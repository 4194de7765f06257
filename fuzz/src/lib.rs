//! A second opinion: modules that nobody wrote, run in Sarsen and in another runtime.
//!
//! `generate` makes a valid module that terminates, and the settings under which Sarsen compiles it,
//! from bytes; `compare` runs it in Sarsen (`ours`) and in `wasmi` (`theirs`), an interpreter with which
//! Sarsen shares no code but the parser's, and reports the first difference of what can be observed:
//! results, traps, calls of the host, memories, tables, globals. `damage` changes bytes of modules and
//! images, which must not do worse than fail.
//!
//! `graphs` makes programs that build and change graphs of objects, and compares what they compute with a
//! model in Rust, with collections at every allocation and without.
//!
//! The same bytes make the same case and the same outcome, whoever chose them: a seed (the smoke run in
//! `tests`, and `soak`) or a fuzzer (`fuzz_targets`).

mod compare;
mod damage;
mod generate;
mod graphs;
mod host;
mod observe;
mod ours;
mod random;
mod theirs;

pub use compare::{Bench, Counts, Difference};
pub use damage::{damaged_image, damaged_module};
pub use generate::{Case, Loading, Settings};
pub use graphs::Program;
pub use random::Random;
