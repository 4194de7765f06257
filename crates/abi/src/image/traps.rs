//! The table of traps: text offset → why the instruction there traps.
//!
//! A row is the distance from the row before, and the trap code only where it differs: one byte for
//! most.

use super::blocks::{Blocks, BlocksEncoder, Row};
use super::varint::{Cursor, write_u32};
use crate::trap::TrapCode;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Trap(u8);

impl Row for Trap {
    const BLOCK: u32 = 32;
    const FIRST: Self = Trap(TrapCode::MemoryOutOfBounds.byte());

    fn write(&self, delta: u32, previous: &Self, out: &mut Vec<u8>) {
        let changed = self != previous;
        write_u32(out, delta << 1 | u32::from(changed));
        if changed {
            out.push(self.0);
        }
    }

    fn read(cursor: &mut Cursor<'_>, previous: &Self) -> Option<(u32, Self)> {
        let tag = cursor.u32()?;
        let code = if tag & 1 != 0 {
            cursor.byte()?
        } else {
            previous.0
        };
        Some((tag >> 1, Trap(code)))
    }
}

/// The table as it grows.
#[derive(Debug)]
pub(super) struct TrapsEncoder(BlocksEncoder<Trap>);

impl TrapsEncoder {
    /// A table without rows.
    pub(super) fn new() -> Self {
        TrapsEncoder(BlocksEncoder::new())
    }

    /// Adds a trap; text offsets must ascend.
    pub(super) fn push(&mut self, offset: u32, code: TrapCode) {
        self.0.push(offset, Trap(code.byte()));
    }

    /// The section's bytes.
    pub(super) fn finish(self) -> Vec<u8> {
        self.0.finish()
    }
}

/// The table, searched where it lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct TrapTable<'a>(Blocks<'a, Trap>);

impl<'a> TrapTable<'a> {
    /// The table in `bytes`.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        Blocks::parse(bytes).map(TrapTable)
    }

    /// Why the instruction at exactly this text offset traps.
    pub(super) fn get(&self, offset: u32) -> Option<TrapCode> {
        TrapCode::from_byte(self.0.get(offset)?.0)
    }

    /// The traps from a text offset on.
    pub(super) fn from(&self, offset: u32) -> impl Iterator<Item = (u32, TrapCode)> + use<'a> {
        let rows = self.0.from(offset);
        rows.filter_map(|(at, trap)| Some((at, TrapCode::from_byte(trap.0)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::random::Random;
    use super::*;

    fn encode_traps(traps: &[(u32, TrapCode)]) -> Vec<u8> {
        let mut encoder = TrapsEncoder::new();
        for &(offset, code) in traps {
            encoder.push(offset, code);
        }
        encoder.finish()
    }

    #[test]
    fn every_trap_is_found_at_its_own_offset_only() {
        let mut random = Random::new(3);
        let mut at = 0;
        let traps: Vec<(u32, TrapCode)> = (0..500)
            .map(|_| {
                at += 2 + random.below(60);
                let code = TrapCode::ALL[random.below(TrapCode::ALL.len() as u32) as usize];
                (at, code)
            })
            .collect();
        let bytes = encode_traps(&traps);
        let table = TrapTable::parse(&bytes).unwrap();
        for offset in 0..at + 2 {
            let expected = traps.iter().find(|t| t.0 == offset).map(|t| t.1);
            assert_eq!(table.get(offset), expected);
        }
        assert_eq!(table.from(0).collect::<Vec<_>>(), traps);
    }

    #[test]
    fn a_memory_access_takes_little_more_than_a_byte() {
        let traps: Vec<_> = (0..3200)
            .map(|i| (i * 16, TrapCode::MemoryOutOfBounds))
            .collect();
        let size = encode_traps(&traps).len();
        assert!(size < 3200 * 13 / 10, "{size} bytes");
    }
}
