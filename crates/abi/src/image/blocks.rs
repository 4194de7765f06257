//! Block tables: the form of every table that is searched by text offset.
//!
//! Rows are sorted by a 32-bit key and stored in blocks of a fixed number of rows. An index holds the
//! key of each block's first row, to be searched by bisection; inside a block, keys are differences
//! and everything is of variable length, to be read from the block's beginning:
//!
//! ```text
//!   number of rows: u32
//!   index: for each block  { key of its first row: u32, where it begins in the payload: u32 }
//!   payload: the blocks, row after row
//! ```
//!
//! So a lookup takes the same short time in a small function and in a huge one, allocates nothing, and
//! a trap takes about one byte where two fixed numbers would take five.
//!
//! What a row consists of is a [`Row`]. Used by the tables of traps, source points, stack maps,
//! handlers and names.

use super::varint::{Cursor, fixed_u32};
use core::marker::PhantomData;

/// What a table says about a key.
pub(super) trait Row: Copy {
    /// The rows of a block: more are smaller, fewer are faster.
    const BLOCK: u32;
    /// What the row before the first one of a block counts as.
    const FIRST: Self;

    /// Appends this row, which lies `delta` (less than 2^31) after `previous`.
    fn write(&self, delta: u32, previous: &Self, out: &mut Vec<u8>);

    /// Reads a row and its distance from `previous`.
    fn read(cursor: &mut Cursor<'_>, previous: &Self) -> Option<(u32, Self)>;
}

const INDEX_ENTRY: usize = 8;

/// A table as it grows.
#[derive(Debug)]
pub(super) struct BlocksEncoder<R> {
    count: u32,
    index: Vec<u8>,
    payload: Vec<u8>,
    previous: (u32, R),
}

impl<R: Row> BlocksEncoder<R> {
    /// A table without rows.
    pub(super) fn new() -> Self {
        BlocksEncoder {
            count: 0,
            index: Vec::new(),
            payload: Vec::new(),
            previous: (0, R::FIRST),
        }
    }

    /// Appends a row.
    ///
    /// # Panics
    ///
    /// Panics unless keys are less than 2^31 and strictly ascending.
    pub(super) fn push(&mut self, key: u32, row: R) {
        assert!(key < 1 << 31, "text is limited to 2 GiB");
        let last = self.previous.0;
        assert!(
            self.count == 0 || key > last,
            "keys ascend: {last}, then {key}"
        );
        if self.count.is_multiple_of(R::BLOCK) {
            let position = u32::try_from(self.payload.len()).expect("tables are below 4 GiB");
            self.index.extend_from_slice(&key.to_le_bytes());
            self.index.extend_from_slice(&position.to_le_bytes());
            self.previous = (key, R::FIRST);
        }
        row.write(key - self.previous.0, &self.previous.1, &mut self.payload);
        self.previous = (key, row);
        self.count += 1;
    }

    /// The table's bytes.
    pub(super) fn finish(self) -> Vec<u8> {
        [&self.count.to_le_bytes()[..], &self.index, &self.payload].concat()
    }
}

/// A table, searched where it lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blocks<'a, R> {
    count: u32,
    index: &'a [u8],
    payload: &'a [u8],
    row: PhantomData<R>,
}

impl<'a, R: Row> Blocks<'a, R> {
    /// Finds the parts of a table; `None` when `bytes` cannot be one.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let count = fixed_u32(bytes, 0)?;
        let index_size = count.div_ceil(R::BLOCK) as usize * INDEX_ENTRY;
        let (index, payload) = bytes.get(4..)?.split_at_checked(index_size)?;
        Some(Blocks {
            count,
            index,
            payload,
            row: PhantomData,
        })
    }

    /// The last row whose key is at most `key`.
    pub(super) fn floor(&self, key: u32) -> Option<(u32, R)> {
        let block = self.block_for(key)?;
        self.rows_of(block).take_while(|&(k, _)| k <= key).last()
    }

    /// The row with this key.
    pub(super) fn get(&self, key: u32) -> Option<R> {
        let (found, row) = self.floor(key)?;
        (found == key).then_some(row)
    }

    /// The rows with keys of at least `key`, ascending.
    pub(super) fn from(&self, key: u32) -> impl Iterator<Item = (u32, R)> + use<'a, R> {
        let this = *self;
        let first = self.block_for(key).unwrap_or(0);
        (first..self.block_count())
            .flat_map(move |block| this.rows_of(block))
            .skip_while(move |&(k, _)| k < key)
    }

    fn block_count(&self) -> u32 {
        (self.index.len() / INDEX_ENTRY) as u32
    }

    fn first_key(&self, block: u32) -> Option<u32> {
        fixed_u32(self.index, block as usize * 2)
    }

    /// The last block that begins at or before `key`.
    fn block_for(&self, key: u32) -> Option<u32> {
        let (mut low, mut high) = (0, self.block_count());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.first_key(middle)? <= key {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low.checked_sub(1)
    }

    fn rows_of(&self, block: u32) -> BlockRows<'a, R> {
        let position = fixed_u32(self.index, block as usize * 2 + 1);
        let bytes = position.and_then(|p| self.payload.get(p as usize..));
        BlockRows {
            cursor: Cursor::new(bytes.unwrap_or_default()),
            left: R::BLOCK.min(self.count - block * R::BLOCK),
            previous: (self.first_key(block).unwrap_or(0), R::FIRST),
        }
    }
}

/// The rows of one block.
#[derive(Clone, Debug)]
struct BlockRows<'a, R> {
    cursor: Cursor<'a>,
    left: u32,
    previous: (u32, R),
}

impl<R: Row> Iterator for BlockRows<'_, R> {
    type Item = (u32, R);

    fn next(&mut self) -> Option<(u32, R)> {
        self.left = self.left.checked_sub(1)?;
        let (delta, row) = R::read(&mut self.cursor, &self.previous.1)?;
        self.previous = (self.previous.0.checked_add(delta)?, row);
        Some(self.previous)
    }
}

#[cfg(test)]
mod tests {
    use super::super::random::Random;
    use super::super::varint::{write_difference, write_u32};
    use super::*;

    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    struct Number(u32);

    impl Row for Number {
        const BLOCK: u32 = 4;
        const FIRST: Self = Number(0);

        fn write(&self, delta: u32, previous: &Self, out: &mut Vec<u8>) {
            write_u32(out, delta);
            write_difference(out, previous.0, self.0);
        }

        fn read(cursor: &mut Cursor<'_>, previous: &Self) -> Option<(u32, Self)> {
            Some((cursor.u32()?, Number(cursor.difference(previous.0)?)))
        }
    }

    fn encode(rows: &[(u32, Number)]) -> Vec<u8> {
        let mut encoder = BlocksEncoder::new();
        for &(key, row) in rows {
            encoder.push(key, row);
        }
        encoder.finish()
    }

    fn random_rows(random: &mut Random, count: usize) -> Vec<(u32, Number)> {
        let mut key = 0;
        (0..count)
            .map(|_| {
                key += 1 + random.below(40);
                (key, Number(random.below(u32::MAX)))
            })
            .collect()
    }

    #[test]
    fn searching_finds_what_a_linear_search_finds() {
        let mut random = Random::new(1);
        for count in (0..20).chain([100, 1000]) {
            let rows = random_rows(&mut random, count);
            let bytes = encode(&rows);
            let table = Blocks::<Number>::parse(&bytes).unwrap();
            let end = rows.last().map_or(0, |r| r.0) + 3;
            for key in 0..end {
                let floor = rows.iter().rfind(|r| r.0 <= key).copied();
                assert_eq!(table.floor(key), floor);
                let exact = rows.iter().find(|r| r.0 == key).map(|r| r.1);
                assert_eq!(table.get(key), exact);
            }
            for key in [0, 1, end / 3, end / 2, end] {
                let expected: Vec<_> = rows.iter().copied().filter(|r| r.0 >= key).collect();
                assert_eq!(table.from(key).collect::<Vec<_>>(), expected);
            }
        }
    }

    #[test]
    fn a_damaged_table_gives_wrong_answers_and_no_panic() {
        let mut random = Random::new(2);
        let bytes = encode(&random_rows(&mut random, 50));
        for _ in 0..2000 {
            let mut damaged = bytes.clone();
            let at = random.below(damaged.len() as u32) as usize;
            damaged[at] = random.below(256) as u8;
            damaged.truncate(damaged.len() - random.below(5) as usize * 7);
            let Some(table) = Blocks::<Number>::parse(&damaged) else {
                continue;
            };
            for key in [0, 7, 500, 2000, u32::MAX] {
                table.floor(key);
                table.get(key);
                assert!(table.from(key).count() <= table.count as usize);
            }
        }
        for length in 0..bytes.len() {
            if let Some(table) = Blocks::<Number>::parse(&bytes[..length]) {
                table.floor(u32::MAX);
                table.from(0).count();
            }
        }
    }
}
