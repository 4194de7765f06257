//! What Sarsen costs where it must be fast: see the files in `benches/`.
//!
//! Run them with `cargo bench -p sarsen-benches`. They print figures and judge nothing: no test
//! depends on time.
