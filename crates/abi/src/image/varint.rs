//! Numbers of variable length, as most of an image's tables are made of: seven bits a byte, lowest
//! first, the high bit set on all bytes but the last (LEB128). Signed numbers are zigzag-encoded.

/// Appends an unsigned number.
pub(super) fn write_u32(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends `to - from`, which wraps around.
pub(super) fn write_difference(out: &mut Vec<u8>, from: u32, to: u32) {
    let difference = to.wrapping_sub(from) as i32;
    write_u32(out, ((difference << 1) ^ (difference >> 31)) as u32);
}

/// Reads numbers from the beginning of a slice.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// Reads from the beginning of `bytes`.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Cursor { rest: bytes }
    }

    /// The next byte.
    pub(super) fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    /// The next unsigned number; `None` at the end, or where no number of 32 bits is.
    #[inline]
    pub(super) fn u32(&mut self) -> Option<u32> {
        let first = self.byte()?;
        if first < 0x80 {
            return Some(u32::from(first));
        }
        let mut value = u32::from(first & 0x7f);
        for shift in [7, 14, 21, 28] {
            let byte = self.byte()?;
            if shift == 28 && byte > 0xf {
                return None;
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// The number that [`write_difference`] wrote for this `from`.
    pub(super) fn difference(&mut self, from: u32) -> Option<u32> {
        let zigzag = self.u32()?;
        Some(from.wrapping_add((zigzag >> 1) ^ (zigzag & 1).wrapping_neg()))
    }
}

/// The little-endian number at position `index` of an array of 32-bit numbers.
pub(super) fn fixed_u32(bytes: &[u8], index: usize) -> Option<u32> {
    let start = index.checked_mul(4)?;
    let four = bytes.get(start..start.checked_add(4)?)?;
    Some(u32::from_le_bytes(four.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBERS: [u32; 9] = [
        0,
        1,
        127,
        128,
        16383,
        16384,
        1 << 28,
        i32::MAX as u32,
        u32::MAX,
    ];

    #[test]
    fn every_number_survives_its_encoding() {
        let mut bytes = Vec::new();
        for n in NUMBERS {
            write_u32(&mut bytes, n);
        }
        for from in NUMBERS {
            for to in NUMBERS {
                write_difference(&mut bytes, from, to);
            }
        }
        let mut cursor = Cursor::new(&bytes);
        for n in NUMBERS {
            assert_eq!(cursor.u32(), Some(n));
        }
        for from in NUMBERS {
            for to in NUMBERS {
                assert_eq!(cursor.difference(from), Some(to));
            }
        }
        assert_eq!(cursor.u32(), None);
    }

    #[test]
    fn small_differences_take_one_byte() {
        for to in [100 - 64, 100, 100 + 63] {
            let mut bytes = Vec::new();
            write_difference(&mut bytes, 100, to);
            assert_eq!(bytes.len(), 1, "100 -> {to}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for bytes in [
            &[0x80][..],
            &[0xff; 4],
            &[0xff, 0xff, 0xff, 0xff, 0x1f],
            &[0xff; 9],
        ] {
            assert_eq!(Cursor::new(bytes).u32(), None, "{bytes:x?}");
        }
        assert_eq!(fixed_u32(&[1, 0, 0, 0, 2, 0, 0], 0), Some(1));
        assert_eq!(fixed_u32(&[1, 0, 0, 0, 2, 0, 0], 1), None);
        assert_eq!(fixed_u32(&[1, 0, 0, 0], usize::MAX), None);
    }
}
