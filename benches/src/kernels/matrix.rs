//! The product of two matrices.

use super::{Random, checksum};

const ORDER: usize = 256;

/// See [`Kernel::expected`](super::Kernel::expected).
pub(super) fn run(rounds: u32) -> u32 {
    let mut random = Random(0);
    let mut fill = || -> Vec<f32> {
        let scale = 1.0 / 2_147_483_648.0;
        (0..ORDER * ORDER)
            .map(|_| random.next().cast_signed() as f32 * scale)
            .collect()
    };
    let a = fill();
    let b = fill();
    let mut c = vec![0.0f32; ORDER * ORDER];
    for _ in 0..rounds {
        for (row_of_a, row_of_c) in a.chunks(ORDER).zip(c.chunks_mut(ORDER)) {
            row_of_c.fill(0.0);
            for (x, row_of_b) in row_of_a.iter().zip(b.chunks(ORDER)) {
                for (sum, y) in row_of_c.iter_mut().zip(row_of_b) {
                    *sum += x * y;
                }
            }
        }
    }
    checksum(c.iter().map(|x| x.to_bits()))
}
