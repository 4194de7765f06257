//! The table of function names: function → a range of the ELF string table.
//!
//! The string table holds each defined function's symbol, `wasm[12]::name`, so a name is stored once
//! for symbols and backtraces. A name may contain any character; as a symbol it ends at its first
//! NUL.

use super::blocks::{Blocks, BlocksEncoder, Row};
use super::varint::{Cursor, write_difference, write_u32};
use crate::index::FuncIndex;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct StringRange {
    start: u32,
    len: u32,
}

impl StringRange {
    fn end(&self) -> u32 {
        self.start.wrapping_add(self.len)
    }
}

impl Row for StringRange {
    const BLOCK: u32 = 32;
    const FIRST: Self = StringRange { start: 0, len: 0 };

    fn write(&self, delta: u32, previous: &Self, out: &mut Vec<u8>) {
        write_u32(out, delta);
        write_difference(out, previous.end(), self.start);
        write_u32(out, self.len);
    }

    fn read(cursor: &mut Cursor<'_>, previous: &Self) -> Option<(u32, Self)> {
        let delta = cursor.u32()?;
        let row = StringRange {
            start: cursor.difference(previous.end())?,
            len: cursor.u32()?,
        };
        Some((delta, row))
    }
}

/// The ELF string table and the table of function names, as they grow.
#[derive(Debug)]
pub(super) struct NamesEncoder {
    strings: Vec<u8>,
    rows: BlocksEncoder<StringRange>,
}

impl NamesEncoder {
    /// A string table with the empty string, which ELF wants first.
    pub(super) fn new() -> Self {
        NamesEncoder {
            strings: vec![0],
            rows: BlocksEncoder::new(),
        }
    }

    /// Adds a symbol; gives where it is in the string table.
    pub(super) fn add_symbol(&mut self, symbol: &str) -> u32 {
        let start = u32::try_from(self.strings.len()).expect("names are limited to 4 GiB");
        self.strings.extend_from_slice(symbol.as_bytes());
        self.strings.push(0);
        start
    }

    /// Adds a function's name, after those of functions with lower indices; `prefix` is what stands
    /// before it in its symbol. Gives where the symbol is.
    pub(super) fn add_func(&mut self, func: FuncIndex, prefix: &str, name: &str) -> u32 {
        let symbol = self.add_symbol(&format!("{prefix}{name}"));
        let range = StringRange {
            start: symbol + prefix.len() as u32,
            len: name.len() as u32,
        };
        self.rows.push(func.as_u32(), range);
        symbol
    }

    /// The bytes of the string table and of the table of names.
    pub(super) fn finish(self) -> (Vec<u8>, Vec<u8>) {
        (self.strings, self.rows.finish())
    }
}

/// The table, searched where it lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct NameTable<'a> {
    rows: Blocks<'a, StringRange>,
    strings: &'a [u8],
}

impl<'a> NameTable<'a> {
    /// The table in `bytes`, over this string table.
    pub(super) fn parse(bytes: &'a [u8], strings: &'a [u8]) -> Option<Self> {
        let rows = Blocks::parse(bytes)?;
        Some(NameTable { rows, strings })
    }

    /// A function's name.
    pub(super) fn get(&self, func: FuncIndex) -> Option<&'a str> {
        let range = self.rows.get(func.as_u32())?;
        let end = range.start.checked_add(range.len)?;
        let bytes = self.strings.get(range.start as usize..end as usize)?;
        core::str::from_utf8(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_and_stored_once() {
        let names = [
            "",
            "main",
            "a\0b",
            "größe",
            "std::vec::Vec<T>::push",
            "main",
        ];
        let mut encoder = NamesEncoder::new();
        for (i, name) in names.iter().enumerate() {
            let func = FuncIndex::from_usize(i * 2);
            let symbol = encoder.add_func(func, &format!("wasm[{}]::", i * 2), name);
            encoder.add_symbol("entry");
            assert!(symbol > 0);
        }
        let (strings, rows) = encoder.finish();
        let table = NameTable::parse(&rows, &strings).unwrap();
        for (i, name) in names.iter().enumerate() {
            assert_eq!(table.get(FuncIndex::from_usize(i * 2)), Some(*name));
            assert_eq!(table.get(FuncIndex::from_usize(i * 2 + 1)), None);
        }
        assert!(strings.windows(14).any(|w| w == b"wasm[2]::main\0"));
    }
}
