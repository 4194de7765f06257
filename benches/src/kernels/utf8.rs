//! How many characters a text has.

use super::{Random, checksum};

const SIZE_BYTES: usize = 0x10000;

/// A text with characters of all lengths, and a few zeroes at the end.
fn text() -> String {
    let mut random = Random(0);
    let mut text = String::with_capacity(SIZE_BYTES);
    while text.len() < SIZE_BYTES - 4 {
        let x = random.next();
        let bits = x >> 8;
        let low = bits & 0x3f;
        let code = match x >> 30 {
            0 => 0x20 + low,
            1 => ((2 + (bits >> 6 & 0xf)) << 6) + low,
            2 => ((1 + (bits >> 12 & 7)) << 12) + (bits & 0xfff),
            _ => ((1 + (bits >> 18 & 1)) << 18) + (bits & 0x3_ffff),
        };
        text.push(char::from_u32(code).expect("no code is a surrogate's or too large"));
    }
    while text.len() < SIZE_BYTES {
        text.push('\0');
    }
    text
}

/// See [`Kernel::expected`](super::Kernel::expected).
pub(super) fn run(rounds: u32) -> u32 {
    let text = text().into_bytes();
    checksum((0..rounds).map(|_| {
        let text = std::str::from_utf8(&text).expect("it was made of characters");
        text.chars().count() as u32
    }))
}
