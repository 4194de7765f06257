//! A blur of a grey image.

use super::{Random, checksum};

const WIDTH: usize = 514;
const HEIGHT: usize = 258;

/// See [`Kernel::expected`](super::Kernel::expected).
pub(super) fn run(rounds: u32) -> u32 {
    let mut random = Random(0);
    let mut image: Vec<u8> = (0..WIDTH * HEIGHT)
        .map(|_| (random.next() >> 24) as u8)
        .collect();
    for _ in 0..rounds {
        let before = image.clone();
        for y in 1..HEIGHT - 1 {
            for x in 1..WIDTH - 1 {
                image[y * WIDTH + x] = mean(&before, x, y);
            }
        }
    }
    checksum(image.into_iter().map(u32::from))
}

/// The mean of the pixels around one, nearer ones counting more.
fn mean(image: &[u8], x: usize, y: usize) -> u8 {
    let mut sum = 8;
    for (row, row_weight) in (y - 1..).zip([1, 2, 1]) {
        for (column, weight) in (x - 1..).zip([1, 2, 1]) {
            sum += row_weight * weight * u32::from(image[row * WIDTH + column]);
        }
    }
    (sum >> 4) as u8
}
