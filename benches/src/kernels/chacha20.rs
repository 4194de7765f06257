//! ChaCha20, a block at a time.

use super::checksum;

const BLOCKS: u32 = 512;
const WORDS: usize = 16;

fn quarter_round(state: &mut [u32; WORDS], [a, b, c, d]: [usize; 4]) {
    for (x, y, z, distance) in [(a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)] {
        state[x] = state[x].wrapping_add(state[y]);
        state[z] = (state[z] ^ state[x]).rotate_left(distance);
    }
}

/// The key stream's block with this number, for the key and nonce of RFC 8439, section 2.3.2.
fn block(counter: u32) -> [u32; WORDS] {
    let mut before = [0; WORDS];
    before[..4].copy_from_slice(&[0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574]);
    for (word, i) in before[4..12].iter_mut().zip((0u8..).step_by(4)) {
        *word = u32::from_le_bytes([i, i + 1, i + 2, i + 3]);
    }
    before[12..].copy_from_slice(&[counter, 0x0900_0000, 0x4a00_0000, 0]);
    let mut state = before;
    for _ in 0..10 {
        for i in 0..4 {
            quarter_round(&mut state, [i, i + 4, i + 8, i + 12]);
        }
        for i in 0..4 {
            let next = |n: usize| 4 * n + (i + n) % 4;
            quarter_round(&mut state, [i, next(1), next(2), next(3)]);
        }
    }
    for (word, before) in state.iter_mut().zip(before) {
        *word = word.wrapping_add(before);
    }
    state
}

/// See [`Kernel::expected`](super::Kernel::expected).
pub(super) fn run(rounds: u32) -> u32 {
    let mut words = vec![0; BLOCKS as usize * WORDS];
    for round in 0..rounds {
        let first = round.wrapping_mul(BLOCKS).wrapping_add(1);
        for (words, counter) in words.chunks_mut(WORDS).zip(first..) {
            for (word, key) in words.iter_mut().zip(block(counter)) {
                *word ^= key;
            }
        }
    }
    checksum(words)
}

#[cfg(test)]
mod tests {
    use super::block;

    #[test]
    fn the_block_is_that_of_the_rfc() {
        let expected = [
            0xe4e7_f110,
            0x1559_3bd1,
            0x1fdd_0f50,
            0xc471_20a3,
            0xc7f4_d1c7,
            0x0368_c033,
            0x9aaa_2204,
            0x4e6c_d4c3,
            0x4664_82d2,
            0x09aa_9f07,
            0x05d7_c214,
            0xa202_8bd9,
            0xd19c_12b5,
            0xb94e_16de,
            0xe883_d0cb,
            0x4e3c_50a2,
        ];
        assert_eq!(block(1), expected);
    }
}
