//! A second opinion: modules that nobody wrote, run in Sarsen and in another runtime.
//!
//! `generate` makes a valid module that terminates, and the settings under which Sarsen compiles it,
//! from bytes; `compare` runs it in Sarsen (`ours`) and in a [`Peer`], both by the same `driver`, and reports
//! the first difference of what can be [observed](observe): results, traps, calls of the [host], memories,
//! tables, globals.
//! [`Wasmi`] is an interpreter with which Sarsen shares no code but the parser's; `fuzz/wasmtime` has a
//! compiler with more proposals, in a workspace of its own. `damage` changes bytes of modules and
//! images, which must not do worse than fail.
//!
//! `objects` makes programs of collected objects; [`Plain`] is Sarsen itself as the peer, without optimizations,
//! and `executed` counts what they do. `graphs` makes programs that build and change graphs of objects, and compares what they compute with a
//! model in Rust, with collections at every allocation and without.
//!
//! `threads` makes programs for two threads, of which what comes out is known although the order is not.
//!
//! The same bytes make the same case and the same outcome, whoever chose them: a seed (the smoke run in
//! `tests`, and `soak`) or a fuzzer (`fuzz_targets`).

mod compare;
mod damage;
mod executed;
mod generate;
mod graphs;
pub mod host;
mod objects;
pub mod observe;
mod ours;
mod peer;
mod plain;
mod random;
mod rewrite;
mod soak;
mod theirs;
mod threads;
mod typed;
mod vectors;

pub use compare::{Bench, Counts, Difference};
pub use damage::{damaged_image, damaged_module};
pub use executed::Executed;
pub use generate::{Case, Loading, Settings};
pub use graphs::Program;
pub use peer::{Abilities, Peer};
pub use plain::Plain;
pub use random::Random;
pub use soak::soak;
pub use theirs::Wasmi;
pub use threads::on_two_threads;
