//! The table of stubs: function type → its entry and exit stub.
//!
//! An array of { type, entry stub's offset, exit stub's offset }, three 32-bit numbers each, sorted by
//! type. Types whose stubs consist of the same code share them.

use super::varint::fixed_u32;
use crate::index::TypeIndex;

/// The stubs of a function type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StubOffsets {
    /// The text offset of the entry stub.
    pub entry: u32,
    /// The text offset of the exit stub.
    pub exit: u32,
}

const ROW: usize = 12;

/// Encodes the table, which must be sorted by type.
pub(super) fn encode_stubs(stubs: &[(TypeIndex, StubOffsets)]) -> Vec<u8> {
    assert!(
        stubs.is_sorted_by(|a, b| a.0 < b.0),
        "one row a type, in order"
    );
    let numbers = stubs
        .iter()
        .flat_map(|(ty, stubs)| [ty.as_u32(), stubs.entry, stubs.exit]);
    numbers.flat_map(u32::to_le_bytes).collect()
}

/// The table, searched where it lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct StubTable<'a>(pub(super) &'a [u8]);

impl StubTable<'_> {
    /// The stubs of a type.
    pub(super) fn get(&self, ty: TypeIndex) -> Option<StubOffsets> {
        let (mut low, mut high) = (0, self.0.len() / ROW);
        while low < high {
            let middle = low + (high - low) / 2;
            match fixed_u32(self.0, middle * 3)?.cmp(&ty.as_u32()) {
                core::cmp::Ordering::Less => low = middle + 1,
                core::cmp::Ordering::Greater => high = middle,
                core::cmp::Ordering::Equal => return self.row(middle),
            }
        }
        None
    }

    /// Whether every stub lies in a text of this length.
    pub(super) fn is_within(&self, text_len: usize) -> bool {
        self.0.len().is_multiple_of(ROW)
            && (0..self.0.len() / ROW).all(|position| {
                self.row(position)
                    .is_some_and(|stubs| (stubs.entry.max(stubs.exit) as usize) < text_len)
            })
    }

    fn row(&self, position: usize) -> Option<StubOffsets> {
        Some(StubOffsets {
            entry: fixed_u32(self.0, position * 3 + 1)?,
            exit: fixed_u32(self.0, position * 3 + 2)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stubs_are_found_by_type() {
        let stubs: Vec<(TypeIndex, StubOffsets)> = (0..40)
            .map(|i| {
                let stubs = StubOffsets {
                    entry: i * 64,
                    exit: i * 64 + 32,
                };
                (TypeIndex::new(i * 3), stubs)
            })
            .collect();
        let bytes = encode_stubs(&stubs);
        let table = StubTable(&bytes);
        for ty in 0..130 {
            let expected = stubs.iter().find(|s| s.0.as_u32() == ty).map(|s| s.1);
            assert_eq!(table.get(TypeIndex::new(ty)), expected);
        }
        assert!(table.is_within(39 * 64 + 33));
        assert!(!table.is_within(39 * 64 + 32));
        assert_eq!(StubTable(&bytes[..20]).get(TypeIndex::new(3)), None);
    }
}
