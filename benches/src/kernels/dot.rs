//! Two layers of a network whose weights are bytes.

use super::{Random, checksum};

const INPUTS: usize = 1024;
const BETWEEN: usize = 256;

/// What a layer makes of `numbers`: a number for each row of weights.
fn layer(weights: &[i8], numbers: &[u8], log2: u32) -> Vec<u8> {
    weights
        .chunks(numbers.len())
        .map(|row| {
            let products = row
                .iter()
                .zip(numbers)
                .map(|(&x, &y)| i32::from(x) * i32::from(y));
            (products.sum::<i32>() >> log2).clamp(0, 127) as u8
        })
        .collect()
}

/// See [`Kernel::expected`](super::Kernel::expected).
pub(super) fn run(rounds: u32) -> u32 {
    let mut random = Random(0);
    let mut numbers: Vec<u8> = (0..INPUTS).map(|_| (random.next() >> 25) as u8).collect();
    let mut weights = || -> Vec<i8> {
        (0..INPUTS * BETWEEN)
            .map(|_| (random.next() >> 24) as u8 as i8)
            .collect()
    };
    let first = weights();
    let second = weights();
    for _ in 0..rounds {
        let between = layer(&first, &numbers, 11);
        numbers = layer(&second, &between, 9);
    }
    checksum(numbers.into_iter().map(u32::from))
}
