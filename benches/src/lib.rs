//! What Sarsen costs where it must be fast: see the files in `benches/`.
//!
//! Run them with `cargo bench -p sarsen-benches`. They print figures and judge nothing: no test
//! depends on time.
//!
//! `kernels/*.wat` are programs for vectors, and [`kernels`] says what they compute. Each can be timed in
//! any runtime: `sarsen run --invoke run benches/kernels/blur.wat 20000`.

pub mod kernels;
