//! Settings that compiled code depends on.
//!
//! The compiler bakes them into code; the runtime must run that code under the same ones. An image
//! records them, and loading compares.

use serde::{Deserialize, Serialize};

/// How much the optimizer does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum OptLevel {
    /// Nothing that costs compile time.
    None,
    /// Optimize for speed.
    Speed,
}

/// Settings that change the code that is generated, or that the code relies on.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// Address space reserved for a 32-bit linear memory, in bytes; a multiple of 64 KiB. With at
    /// least 4 GiB, accesses need no bounds check in code. Also the first reservation of a 64-bit
    /// memory, which moves when it outgrows it.
    pub memory_reservation: u64,
    /// Inaccessible bytes after every reservation; a multiple of 64 KiB.
    pub memory_guard: u64,
    /// Count fuel in compiled code.
    pub consume_fuel: bool,
    /// Check the epoch in compiled code, at function entries, loop heads and in long bulk operations.
    pub epoch_interruption: bool,
    /// Inline small functions.
    pub inlining: bool,
    /// Relaxed vector instructions have the same results on every machine.
    pub relaxed_simd_deterministic: bool,
    /// Arithmetic on floats gives no NaN but the canonical one.
    pub nan_canonicalization: bool,
    /// The optimizer's level.
    pub opt_level: OptLevel,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            memory_reservation: 4 << 30,
            memory_guard: 32 << 20,
            consume_fuel: false,
            epoch_interruption: false,
            inlining: true,
            relaxed_simd_deterministic: false,
            nan_canonicalization: false,
            opt_level: OptLevel::Speed,
        }
    }
}
