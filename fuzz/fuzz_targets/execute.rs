//! The fuzzer chooses a case; it must run alike in both runtimes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sarsen_fuzz::{Bench, Case, Peer, Wasmi};
use std::cell::RefCell;

thread_local! {
    static BENCH: RefCell<Bench> = RefCell::default();
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(case) = Case::from_bytes(bytes, Wasmi::ABILITIES) {
        BENCH.with_borrow_mut(|bench| {
            if let Err(difference) = bench.run(&case) {
                panic!("{difference}: {case:?}");
            }
        });
    }
});
