//! The table of handlers: return address of a call → where a trap or an exception continues.

use super::blocks::{Blocks, BlocksEncoder, Row};
use super::varint::{Cursor, write_difference, write_u32};

/// Where a trap or an exception continues.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Landing {
    /// The text offset to continue at.
    pub offset: u32,
    /// The frame pointer less the stack pointer to continue with, in bytes.
    pub frame_offset: u32,
}

/// In the table, `offset` is relative to the return address.
impl Row for Landing {
    const BLOCK: u32 = 16;
    const FIRST: Self = Landing {
        offset: 0,
        frame_offset: 0,
    };

    fn write(&self, delta: u32, _: &Self, out: &mut Vec<u8>) {
        write_u32(out, delta);
        write_difference(out, 0, self.offset);
        write_u32(out, self.frame_offset);
    }

    fn read(cursor: &mut Cursor<'_>, _: &Self) -> Option<(u32, Self)> {
        let delta = cursor.u32()?;
        let row = Landing {
            offset: cursor.difference(0)?,
            frame_offset: cursor.u32()?,
        };
        Some((delta, row))
    }
}

/// The table as it grows.
#[derive(Debug)]
pub(super) struct HandlersEncoder(BlocksEncoder<Landing>);

impl HandlersEncoder {
    /// A table without rows.
    pub(super) fn new() -> Self {
        HandlersEncoder(BlocksEncoder::new())
    }

    /// Adds a handler, by the text offset of the return address; these must ascend.
    pub(super) fn push(&mut self, return_offset: u32, landing: Landing) {
        let offset = landing.offset.wrapping_sub(return_offset);
        self.0.push(return_offset, Landing { offset, ..landing });
    }

    /// The section's bytes.
    pub(super) fn finish(self) -> Vec<u8> {
        self.0.finish()
    }
}

/// The table, searched where it lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct HandlerTable<'a>(Blocks<'a, Landing>);

impl<'a> HandlerTable<'a> {
    /// The table in `bytes`.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        Blocks::parse(bytes).map(HandlerTable)
    }

    /// Where the call that returns to this text offset continues otherwise.
    pub(super) fn get(&self, return_offset: u32) -> Option<Landing> {
        let row = self.0.get(return_offset)?;
        Some(Landing {
            offset: row.offset.wrapping_add(return_offset),
            ..row
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn landings_before_and_after_the_call_are_found() {
        let handlers: Vec<(u32, Landing)> = (0..100)
            .map(|i| {
                let at = 1000 + i * 10;
                let offset = if i % 2 == 0 { at + 500 } else { at - 900 };
                (
                    at,
                    Landing {
                        offset,
                        frame_offset: i * 16,
                    },
                )
            })
            .collect();
        let mut encoder = HandlersEncoder::new();
        for &(at, landing) in &handlers {
            encoder.push(at, landing);
        }
        let bytes = encoder.finish();
        let table = HandlerTable::parse(&bytes).unwrap();
        for (at, landing) in handlers {
            assert_eq!(table.get(at), Some(landing));
            assert_eq!(table.get(at - 1), None);
        }
    }
}
