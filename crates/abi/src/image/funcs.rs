//! The table of functions: which piece of code is where in the text, what it is, and where in the module it came from.
//!
//! ```text
//!   number of wasm functions, entry stubs, exit stubs, builtin stubs, imported functions: u32 each
//!   ranges: for each piece in the order of text  { first offset: u32, end: u32 }
//!   numbers: for each stub  its type's or builtin's number: u32
//!   bodies: for each wasm function  where its body begins in the module: u32
//! ```
//!
//! The module's own functions come first and all of them are there, so that a function's number is its
//! position.

use super::varint::fixed_u32;
use crate::builtin::Builtin;
use crate::index::{DefinedFuncIndex, FuncIndex, TypeIndex};

/// What a piece of machine code is. The order is the order in an image's text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum CodeKind {
    /// A function that the module defines.
    Wasm(DefinedFuncIndex),
    /// The entry stub of a function type ([`crate::vmctx::VmFuncRef::entry`]).
    Entry(TypeIndex),
    /// The exit stub of a function type: what a host function's `code` is.
    Exit(TypeIndex),
    /// The stub of a runtime builtin.
    Builtin(Builtin),
}

impl CodeKind {
    /// The symbol, without a function's name: `wasm[3]`, `entry[0]`, `builtin::memory_grow`. Functions
    /// have the number that the module gives them, which imports `imported_funcs` others.
    pub(super) fn symbol(self, imported_funcs: u32) -> String {
        match self {
            CodeKind::Wasm(func) => {
                format!("wasm[{}]", func.as_u32().wrapping_add(imported_funcs))
            }
            CodeKind::Entry(ty) => format!("entry[{}]", ty.as_u32()),
            CodeKind::Exit(ty) => format!("exit[{}]", ty.as_u32()),
            CodeKind::Builtin(builtin) => format!("builtin::{}", builtin.signature().name),
        }
    }

    /// The kind's position among the counts, and the number within the kind.
    fn parts(self) -> (usize, u32) {
        match self {
            CodeKind::Wasm(func) => (0, func.as_u32()),
            CodeKind::Entry(ty) => (1, ty.as_u32()),
            CodeKind::Exit(ty) => (2, ty.as_u32()),
            CodeKind::Builtin(builtin) => (3, builtin as u32),
        }
    }
}

/// A piece of machine code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FuncEntry {
    /// What it is. Stubs that consist of the same code are one piece, and belong to several types;
    /// then this is the first.
    pub kind: CodeKind,
    /// The text offset of its first byte.
    pub start: u32,
    /// The text offset past its last byte.
    pub end: u32,
}

const KINDS: usize = 4;
const IMPORTED: usize = KINDS;
const HEADER_NUMBERS: usize = KINDS + 1;

/// The table as it grows.
#[derive(Debug)]
pub(super) struct FuncsEncoder {
    numbers: [u32; HEADER_NUMBERS],
    entries: Vec<FuncEntry>,
}

impl FuncsEncoder {
    /// A table without rows, of a module with so many imported functions.
    pub(super) fn new(imported_funcs: u32) -> Self {
        let mut numbers = [0; HEADER_NUMBERS];
        numbers[IMPORTED] = imported_funcs;
        FuncsEncoder {
            numbers,
            entries: Vec::new(),
        }
    }

    /// Adds a piece of code.
    ///
    /// # Panics
    ///
    /// Panics unless pieces come in the order of text, which is that of their kinds, and a module's
    /// functions are complete.
    pub(super) fn push(&mut self, entry: FuncEntry) {
        let previous = self.entries.last();
        assert!(entry.start < entry.end);
        assert!(previous.is_none_or(|p| p.end <= entry.start && p.kind < entry.kind));
        let (kind, number) = entry.kind.parts();
        assert!(
            kind != 0 || number == self.numbers[0],
            "no function is left out"
        );
        self.numbers[kind] += 1;
        self.entries.push(entry);
    }

    /// The pieces so far.
    pub(super) fn entries(&self) -> &[FuncEntry] {
        &self.entries
    }

    /// The section's bytes. `bodies` are where the bodies of the module's functions begin.
    ///
    /// # Panics
    ///
    /// Panics unless there are as many bodies as functions.
    pub(super) fn finish(self, bodies: &[u32]) -> Vec<u8> {
        assert_eq!(bodies.len(), self.numbers[0] as usize);
        let ranges = self.entries.iter().flat_map(|e| [e.start, e.end]);
        let stubs = self.entries.iter().skip(self.numbers[0] as usize);
        let all = self
            .numbers
            .into_iter()
            .chain(ranges)
            .chain(stubs.map(|e| e.kind.parts().1))
            .chain(bodies.iter().copied());
        all.flat_map(u32::to_le_bytes).collect()
    }
}

/// The table, searched where it lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct FuncTable<'a> {
    /// How many there are of each kind.
    counts: [u32; KINDS],
    imported: u32,
    ranges: &'a [u8],
    numbers: &'a [u8],
    bodies: &'a [u8],
}

impl<'a> FuncTable<'a> {
    /// The table in `bytes`; `None` when it cannot be one.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut counts = [0; KINDS];
        for (i, count) in counts.iter_mut().enumerate() {
            *count = fixed_u32(bytes, i)?;
        }
        let total = counts.iter().try_fold(0u32, |sum, &n| sum.checked_add(n))?;
        let rest = bytes.get(HEADER_NUMBERS * 4..)?;
        let (ranges, rest) = rest.split_at_checked(usize::try_from(total).ok()? * 8)?;
        let stubs = total - counts[0];
        let (numbers, bodies) = rest.split_at_checked(usize::try_from(stubs).ok()? * 4)?;
        (bodies.len() == counts[0] as usize * 4).then_some(FuncTable {
            counts,
            imported: fixed_u32(bytes, IMPORTED)?,
            ranges,
            numbers,
            bodies,
        })
    }

    /// The number of functions that the module imports.
    pub(super) fn imported_funcs(&self) -> u32 {
        self.imported
    }

    /// The number of functions that the module defines.
    pub(super) fn defined_funcs(&self) -> u32 {
        self.counts[0]
    }

    /// The index of a function that the module defines.
    pub(super) fn func_index(&self, func: DefinedFuncIndex) -> FuncIndex {
        FuncIndex::new(func.as_u32().wrapping_add(self.imported))
    }

    /// The number of pieces.
    pub(super) fn len(&self) -> u32 {
        (self.ranges.len() / 8) as u32
    }

    /// The piece at this position in the order of text.
    pub(super) fn get(&self, position: u32) -> Option<FuncEntry> {
        Some(FuncEntry {
            kind: self.kind(position)?,
            start: self.start(position)?,
            end: fixed_u32(self.ranges, position as usize * 2 + 1)?,
        })
    }

    /// The code of a function that the module defines.
    pub(super) fn wasm_func(&self, func: DefinedFuncIndex) -> Option<FuncEntry> {
        let position = func.as_u32();
        (position < self.counts[0]).then(|| self.get(position))?
    }

    /// Where the body of a function that the module defines begins, in bytes from the beginning of the module.
    pub(super) fn body_offset(&self, func: FuncIndex) -> Option<u32> {
        let position = func.as_u32().checked_sub(self.imported)?;
        fixed_u32(self.bodies, position as usize)
    }

    /// The piece that contains this text offset.
    pub(super) fn containing(&self, offset: u32) -> Option<FuncEntry> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.start(middle)? <= offset {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        self.get(low.checked_sub(1)?).filter(|e| offset < e.end)
    }

    /// Whether the pieces are in order and lie in a text of this length.
    pub(super) fn is_within(&self, text_len: usize) -> bool {
        let mut end = 0;
        (0..self.len()).all(|position| {
            self.get(position).is_some_and(|entry| {
                let in_order = end <= entry.start && entry.start < entry.end;
                end = entry.end;
                in_order
            })
        }) && end as usize <= text_len
    }

    fn start(&self, position: u32) -> Option<u32> {
        fixed_u32(self.ranges, position as usize * 2)
    }

    fn kind(&self, position: u32) -> Option<CodeKind> {
        let [wasm, entries, exits, _] = self.counts;
        let Some(stub) = position.checked_sub(wasm) else {
            return Some(CodeKind::Wasm(DefinedFuncIndex::new(position)));
        };
        let number = fixed_u32(self.numbers, stub as usize)?;
        Some(if stub < entries {
            CodeKind::Entry(TypeIndex::new(number))
        } else if stub - entries < exits {
            CodeKind::Exit(TypeIndex::new(number))
        } else {
            CodeKind::Builtin(*Builtin::ALL.get(number as usize)?)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::random::Random;
    use super::*;

    fn kinds() -> Vec<CodeKind> {
        let mut kinds: Vec<_> = (0..50)
            .map(|i| CodeKind::Wasm(DefinedFuncIndex::new(i)))
            .collect();
        kinds.extend([0, 3, 9].map(|i| CodeKind::Entry(TypeIndex::new(i))));
        kinds.extend([1, 3].map(|i| CodeKind::Exit(TypeIndex::new(i))));
        kinds.extend(Builtin::ALL.iter().map(|&b| CodeKind::Builtin(b)));
        kinds
    }

    fn table() -> (Vec<FuncEntry>, Vec<u8>) {
        let mut random = Random::new(6);
        let mut encoder = FuncsEncoder::new(7);
        let mut at = 0;
        for kind in kinds() {
            let start = at + random.below(16);
            let end = start + 1 + random.below(50);
            encoder.push(FuncEntry { kind, start, end });
            at = end;
        }
        let bodies: Vec<u32> = (0..50).map(|i| 1000 + i * 3).collect();
        (encoder.entries().to_vec(), encoder.finish(&bodies))
    }

    #[test]
    fn every_offset_finds_its_function_and_padding_finds_none() {
        let (entries, bytes) = table();
        let table = FuncTable::parse(&bytes).unwrap();
        let end = entries.last().unwrap().end;
        for offset in 0..end + 5 {
            let expected = entries.iter().find(|e| (e.start..e.end).contains(&offset));
            assert_eq!(table.containing(offset), expected.copied());
        }
        assert!(table.is_within(end as usize));
        assert!(!table.is_within(end as usize - 1));
        assert_eq!(table.wasm_func(DefinedFuncIndex::new(4)), Some(entries[4]));
        assert_eq!(table.wasm_func(DefinedFuncIndex::new(50)), None);
        assert_eq!(
            table.func_index(DefinedFuncIndex::new(4)),
            FuncIndex::new(11)
        );
        let bodies = [6, 7, 11, 56, 57].map(|func| table.body_offset(FuncIndex::new(func)));
        assert_eq!(bodies, [None, Some(1000), Some(1012), Some(1147), None]);
    }

    #[test]
    fn a_damaged_table_is_refused_or_gives_wrong_answers() {
        let (_, bytes) = table();
        for length in 0..bytes.len() {
            assert!(FuncTable::parse(&bytes[..length]).is_none());
        }
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] = value;
                if let Some(table) = FuncTable::parse(&damaged) {
                    table.containing(100);
                    table.is_within(1000);
                }
            }
        }
    }
}
