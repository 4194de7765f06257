//! The tables of source points: text offset → WebAssembly instruction, in which inlined function.
//!
//! A point covers the code from its text offset to the next point's, or to its function's end. It is
//! in an *inline context*: 0 for the function whose code it is, else the number (from 1) of a
//! [`ContextRow`] of the second table, which names the function that was inlined, and the call that
//! it replaces. A context's parent has a smaller number, so that every chain ends.
//!
//! A row is the distance from the row before and the difference of WebAssembly offsets: two bytes for
//! most. Contexts are arrays of three numbers.

use super::blocks::{Blocks, BlocksEncoder, Row};
use super::varint::{Cursor, fixed_u32, write_difference, write_u32};
use crate::index::FuncIndex;

/// Where code comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Point {
    /// The inline context.
    pub context: u32,
    /// The instruction, in bytes from the beginning of the module; [`NO_INSTRUCTION`] where the code
    /// belongs to none.
    pub wasm_offset: u32,
}

/// In [`Point::wasm_offset`]: the code belongs to no instruction.
pub const NO_INSTRUCTION: u32 = u32::MAX;

impl Row for Point {
    const BLOCK: u32 = 32;
    const FIRST: Self = Point {
        context: 0,
        wasm_offset: 0,
    };

    fn write(&self, delta: u32, previous: &Self, out: &mut Vec<u8>) {
        let changed = self.context != previous.context;
        write_u32(out, delta << 1 | u32::from(changed));
        if changed {
            write_difference(out, previous.context, self.context);
        }
        write_difference(out, previous.wasm_offset, self.wasm_offset);
    }

    fn read(cursor: &mut Cursor<'_>, previous: &Self) -> Option<(u32, Self)> {
        let tag = cursor.u32()?;
        let context = match tag & 1 {
            0 => previous.context,
            _ => cursor.difference(previous.context)?,
        };
        let wasm_offset = cursor.difference(previous.wasm_offset)?;
        let point = Point {
            context,
            wasm_offset,
        };
        Some((tag >> 1, point))
    }
}

/// The points as they grow.
#[derive(Debug)]
pub(super) struct PointsEncoder(BlocksEncoder<Point>);

impl PointsEncoder {
    /// A table without rows.
    pub(super) fn new() -> Self {
        PointsEncoder(BlocksEncoder::new())
    }

    /// Adds a point; text offsets must ascend.
    pub(super) fn push(&mut self, offset: u32, point: Point) {
        self.0.push(offset, point);
    }

    /// The section's bytes.
    pub(super) fn finish(self) -> Vec<u8> {
        self.0.finish()
    }
}

/// The points, searched where they lie.
#[derive(Clone, Copy, Debug)]
pub(super) struct PointTable<'a>(Blocks<'a, Point>);

impl<'a> PointTable<'a> {
    /// The table in `bytes`.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        Blocks::parse(bytes).map(PointTable)
    }

    /// The point that covers this text offset, with where it begins.
    pub(super) fn covering(&self, offset: u32) -> Option<(u32, Point)> {
        self.0.floor(offset)
    }

    /// The points from a text offset on.
    pub(super) fn from(&self, offset: u32) -> impl Iterator<Item = (u32, Point)> + use<'a> {
        self.0.from(offset)
    }
}

/// A function that was inlined somewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ContextRow {
    /// The context of the call that was replaced; 0 or the number of an earlier context.
    pub parent: u32,
    /// That call, in bytes from the beginning of the module.
    pub call_offset: u32,
    /// The function inlined.
    pub func: FuncIndex,
}

/// The contexts as they grow.
#[derive(Default, Debug)]
pub(super) struct ContextsEncoder {
    count: u32,
    bytes: Vec<u8>,
}

impl ContextsEncoder {
    /// Adds a context, and gives its number.
    ///
    /// # Panics
    ///
    /// Panics when its parent comes after it.
    pub(super) fn push(&mut self, row: ContextRow) -> u32 {
        assert!(
            row.parent <= self.count,
            "contexts come after their parents"
        );
        for number in [row.parent, row.call_offset, row.func.as_u32()] {
            self.bytes.extend_from_slice(&number.to_le_bytes());
        }
        self.count += 1;
        self.count
    }

    /// The section's bytes.
    pub(super) fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// The contexts, where they lie.
#[derive(Clone, Copy, Debug)]
pub(super) struct ContextTable<'a>(pub(super) &'a [u8]);

impl ContextTable<'_> {
    /// The context with this number, unless it is 0.
    pub(super) fn get(&self, number: u32) -> Option<ContextRow> {
        let at = number.checked_sub(1)? as usize * 3;
        let parent = fixed_u32(self.0, at)?;
        // A damaged table must not have us walk in a circle.
        (parent < number).then_some(ContextRow {
            parent,
            call_offset: fixed_u32(self.0, at + 1)?,
            func: FuncIndex::new(fixed_u32(self.0, at + 2)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::random::Random;
    use super::*;

    fn encode_points(points: &[(u32, Point)]) -> Vec<u8> {
        let mut encoder = PointsEncoder::new();
        for &(offset, point) in points {
            encoder.push(offset, point);
        }
        encoder.finish()
    }

    #[test]
    fn every_point_covers_code_up_to_the_next() {
        let mut random = Random::new(4);
        let (mut at, mut wasm_offset) = (5, 1_000_000);
        let points: Vec<(u32, Point)> = (0..500)
            .map(|_| {
                at += 1 + random.below(30);
                wasm_offset += random.below(9);
                let point = Point {
                    context: random.below(4) * random.below(2) * 1000,
                    wasm_offset: if random.below(20) == 0 {
                        NO_INSTRUCTION
                    } else {
                        wasm_offset
                    },
                };
                (at, point)
            })
            .collect();
        let bytes = encode_points(&points);
        let table = PointTable::parse(&bytes).unwrap();
        for offset in 0..at + 10 {
            let expected = points.iter().rfind(|p| p.0 <= offset).copied();
            assert_eq!(table.covering(offset), expected);
        }
        assert_eq!(table.from(0).collect::<Vec<_>>(), points);
    }

    #[test]
    fn a_point_takes_little_more_than_two_bytes() {
        let points: Vec<_> = (0..3200)
            .map(|i| {
                let wasm_offset = 1_000_000 + i * 3;
                (
                    i * 9,
                    Point {
                        context: 0,
                        wasm_offset,
                    },
                )
            })
            .collect();
        let size = encode_points(&points).len();
        assert!(size < 3200 * 24 / 10, "{size} bytes");
    }

    #[test]
    fn contexts_are_found_and_circles_are_not_followed() {
        let row = |parent, func| ContextRow {
            parent,
            call_offset: 100 + func,
            func: FuncIndex::new(func),
        };
        let rows = [row(0, 7), row(1, 8), row(0, 9)];
        let mut encoder = ContextsEncoder::default();
        assert_eq!(rows.map(|row| encoder.push(row)), [1, 2, 3]);
        let mut bytes = encoder.finish();
        let table = ContextTable(&bytes);
        assert_eq!([1, 2, 3].map(|n| table.get(n).unwrap()), rows);
        assert_eq!(table.get(0), None);
        assert_eq!(table.get(4), None);
        assert_eq!(table.get(u32::MAX), None);
        bytes[0] = 1;
        assert_eq!(ContextTable(&bytes).get(1), None);
    }
}
