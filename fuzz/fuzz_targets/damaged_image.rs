//! The fuzzer chooses an image and what is done to it; loading it must not panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sarsen_fuzz::{Case, Peer, Random, Wasmi, damaged_image};

fuzz_target!(|input: (u64, &[u8])| {
    let (seed, bytes) = input;
    if let Ok(case) = Case::from_bytes(bytes, Wasmi::ABILITIES) {
        damaged_image(&case, &mut Random::new(seed));
    }
});
