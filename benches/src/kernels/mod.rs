//! Programs for vectors, each with the same computed by plain loops.
//!
//! A kernel exports `run`, which takes a number of rounds and returns a checksum. Numbers to begin with
//! come from one generator, [`Random`].

mod blur;
mod chacha20;
mod dot;
mod matrix;
mod utf8;

use std::fmt;

/// A program for vectors.
#[derive(Clone, Copy)]
pub struct Kernel {
    /// Its name: that of its file, without the extension.
    pub name: &'static str,
    /// Its text.
    pub source: &'static str,
    /// What `run` returns for a number of rounds, computed without vectors.
    pub expected: fn(u32) -> u32,
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// All kernels.
pub const KERNELS: [Kernel; 5] = [
    Kernel {
        name: "matrix",
        source: include_str!("../../kernels/matrix.wat"),
        expected: matrix::run,
    },
    Kernel {
        name: "utf8",
        source: include_str!("../../kernels/utf8.wat"),
        expected: utf8::run,
    },
    Kernel {
        name: "chacha20",
        source: include_str!("../../kernels/chacha20.wat"),
        expected: chacha20::run,
    },
    Kernel {
        name: "blur",
        source: include_str!("../../kernels/blur.wat"),
        expected: blur::run,
    },
    Kernel {
        name: "dot",
        source: include_str!("../../kernels/dot.wat"),
        expected: dot::run,
    },
];

/// The numbers that the kernels fill their memories with.
struct Random(u32);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.0
    }
}

fn checksum(words: impl IntoIterator<Item = u32>) -> u32 {
    let add = |sum: u32, word| sum.wrapping_mul(31).wrapping_add(word);
    words.into_iter().fold(0, add)
}
