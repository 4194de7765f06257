//! The table of stack maps: return address → where collected references are in the frame.
//!
//! Most safepoints of a module share few distinct maps, so a row is the distance from the row before
//! and the position of a map, and equal maps are stored once:
//!
//! ```text
//!   size of the rows: u32
//!   rows (a block table)
//!   maps: each { frame size, number of references, differences of their offsets }
//! ```

use super::blocks::{Blocks, BlocksEncoder, Row};
use super::varint::{Cursor, fixed_u32, write_u32};
use std::collections::HashMap;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct MapPosition(u32);

impl Row for MapPosition {
    // The collector looks up every frame of a stack, so these blocks are short.
    const BLOCK: u32 = 8;
    const FIRST: Self = MapPosition(0);

    fn write(&self, delta: u32, _: &Self, out: &mut Vec<u8>) {
        write_u32(out, delta);
        write_u32(out, self.0);
    }

    fn read(cursor: &mut Cursor<'_>, _: &Self) -> Option<(u32, Self)> {
        Some((cursor.u32()?, MapPosition(cursor.u32()?)))
    }
}

/// Collects stack maps, in the order of text.
#[derive(Debug)]
pub(super) struct StackMapsEncoder {
    rows: BlocksEncoder<MapPosition>,
    maps: Vec<u8>,
    known: HashMap<Box<[u8]>, u32>,
}

impl StackMapsEncoder {
    /// A table without rows.
    pub(super) fn new() -> Self {
        StackMapsEncoder {
            rows: BlocksEncoder::new(),
            maps: Vec::new(),
            known: HashMap::new(),
        }
    }

    /// Adds the map of the call that returns to a text offset.
    ///
    /// # Panics
    ///
    /// Panics unless the references' offsets ascend.
    pub(super) fn add(&mut self, return_offset: u32, frame_size: u32, references: &[u32]) {
        let mut map = Vec::new();
        write_u32(&mut map, frame_size);
        write_u32(&mut map, references.len() as u32);
        let mut previous = 0;
        for &offset in references {
            assert!(offset >= previous, "the references of a stack map ascend");
            write_u32(&mut map, offset - previous);
            previous = offset;
        }
        let position = match self.known.get(map.as_slice()) {
            Some(&position) => position,
            None => {
                let position = self.maps.len() as u32;
                self.maps.extend_from_slice(&map);
                self.known.insert(map.into(), position);
                position
            }
        };
        self.rows.push(return_offset, MapPosition(position));
    }

    /// The section's bytes.
    pub(super) fn finish(self) -> Vec<u8> {
        let rows = self.rows.finish();
        let size = u32::try_from(rows.len()).expect("a table is limited to 4 GiB");
        [&size.to_le_bytes()[..], &rows, &self.maps].concat()
    }
}

/// The table, searched where it lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct StackMapTable<'a> {
    rows: Blocks<'a, MapPosition>,
    maps: &'a [u8],
}

impl<'a> StackMapTable<'a> {
    /// The table in `bytes`.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let size = fixed_u32(bytes, 0)? as usize;
        let (rows, maps) = bytes.get(4..)?.split_at_checked(size)?;
        Some(StackMapTable {
            rows: Blocks::parse(rows)?,
            maps,
        })
    }

    /// The map of the call that returns to this text offset.
    pub(super) fn get(&self, return_offset: u32) -> Option<StackMap<'a>> {
        let position = self.rows.get(return_offset)?;
        let mut cursor = Cursor::new(self.maps.get(position.0 as usize..)?);
        Some(StackMap {
            frame_size: cursor.u32()?,
            left: cursor.u32()?,
            previous: 0,
            cursor,
        })
    }
}

/// Where collected references are in a frame: an iterator over their offsets from the stack pointer
/// at the call, ascending, in bytes.
#[derive(Clone, Debug)]
pub struct StackMap<'a> {
    frame_size: u32,
    left: u32,
    previous: u32,
    cursor: Cursor<'a>,
}

impl StackMap<'_> {
    /// The frame pointer less the stack pointer at the call, in bytes.
    pub fn frame_size(&self) -> u32 {
        self.frame_size
    }
}

impl Iterator for StackMap<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        self.left = self.left.checked_sub(1)?;
        self.previous = self.previous.checked_add(self.cursor.u32()?)?;
        Some(self.previous)
    }
}

#[cfg(test)]
mod tests {
    use super::super::random::Random;
    use super::*;

    #[test]
    fn every_safepoint_finds_its_map_and_equal_maps_are_stored_once() {
        let mut random = Random::new(5);
        let mut encoder = StackMapsEncoder::new();
        let mut expected = Vec::new();
        let mut at = 0;
        for _ in 0..400 {
            at += 5 + random.below(100);
            let frame_size = 16 * random.below(4);
            let references: Vec<u32> = (0..random.below(4)).map(|i| i * 8).collect();
            encoder.add(at, frame_size, &references);
            expected.push((at, frame_size, references));
        }
        let bytes = encoder.finish();
        let table = StackMapTable::parse(&bytes).unwrap();
        assert!(
            table.maps.len() <= 16 * 5,
            "{} bytes of maps",
            table.maps.len()
        );
        for (at, frame_size, references) in expected {
            let map = table.get(at).unwrap();
            assert_eq!(map.frame_size(), frame_size);
            assert_eq!(map.collect::<Vec<_>>(), references);
            assert!(table.get(at + 1).is_none());
        }
    }
}
