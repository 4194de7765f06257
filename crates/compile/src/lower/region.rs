//! Alias regions: which memory a load or store can touch.
//!
//! Accesses in different regions never touch the same bytes, so that Cranelift merges loads across
//! stores to another region. What the host may change is safe all the same, because every call is a
//! fence.
//!
//! Cranelift keeps a state per block and region, so a function has at most [`MAX_REGIONS`]; what
//! comes later shares one.

use cranelift_codegen::ir::{AliasRegion, AliasRegionData, AliasRegionSet};
use sarsen_abi::types::{StorageType, ValType};
use sarsen_abi::{GlobalIndex, MemoryIndex, TableIndex};
use std::borrow::Cow;

/// The largest number of regions in a function, [`Region::Rest`] not counted.
const MAX_REGIONS: usize = 24;

/// A part of memory that no other part overlaps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Region {
    /// The frame's slots for collected references.
    Frame,
    /// Locals that are in the frame.
    Locals,
    /// The store's fields.
    Store,
    /// The bases and lengths of memories.
    MemoryDefinitions,
    /// The bases and lengths of tables.
    TableDefinitions,
    /// Every `VmFuncRef`.
    FuncRefs,
    /// The bytes of a memory that the module defines.
    Memory(MemoryIndex),
    /// The bytes of imported memories: two imports may be one memory.
    ImportedMemories,
    /// The elements of a table that the module defines.
    Table(TableIndex),
    /// The elements of imported tables.
    ImportedTables,
    /// A global that the module defines.
    Global(GlobalIndex),
    /// Imported globals.
    ImportedGlobals,
    /// Where the next object goes, and the store's other fields that only the collector shares.
    Allocation,
    /// The buffer of remembered slots.
    Remembered,
    /// Rows of types.
    TypeRows,
    /// What is written into an object when it is made (and read right then to find young references).
    /// Nothing has read the new object before, so its other regions are not disturbed.
    Initial,
    /// Headers of objects, lengths of arrays among them, as they are read.
    Headers,
    /// Fields and elements that are never written again.
    Immutable,
    /// Mutable fields or elements of one storage type: no two objects have a part in common that one sees
    /// as of another storage type than the other does.
    Mutable(HeapClass),
    /// Control blocks of stacks.
    Stacks,
    /// Values that pass between stacks.
    StackValues,
    /// What has no region of its own in this function.
    Rest,
}

/// A class of mutable parts of objects, none of which is part of another class.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct HeapClass {
    /// Whether they are elements of arrays, or fields of structures.
    pub(super) is_element: bool,
    /// How they are stored.
    pub(super) storage: StorageType,
}

impl HeapClass {
    fn number(self) -> u32 {
        let storage = match self.storage {
            StorageType::I8 => 0,
            StorageType::I16 => 1,
            StorageType::Val(ValType::I32) => 2,
            StorageType::Val(ValType::I64) => 3,
            StorageType::Val(ValType::F32) => 4,
            StorageType::Val(ValType::F64) => 5,
            StorageType::Val(ValType::V128) => 6,
            StorageType::Val(ValType::Ref(ty)) if ty.is_collected() => 7,
            StorageType::Val(ValType::Ref(_)) => 8,
        };
        storage << 1 | u32::from(self.is_element)
    }
}

impl Region {
    /// The number that tells it from others: what it is in the high 8 bits, which one in the low 24.
    /// (No index space has more than a million entries.)
    fn id(self) -> u32 {
        let (kind, index) = match self {
            Region::Frame => (0, 0),
            Region::Store => (1, 0),
            Region::MemoryDefinitions => (2, 0),
            Region::TableDefinitions => (3, 0),
            Region::FuncRefs => (4, 0),
            Region::Memory(index) => (5, index.as_u32()),
            Region::ImportedMemories => (6, 0),
            Region::Table(index) => (7, index.as_u32()),
            Region::ImportedTables => (8, 0),
            Region::Global(index) => (9, index.as_u32()),
            Region::ImportedGlobals => (10, 0),
            Region::Locals => (11, 0),
            Region::Rest => (12, 0),
            Region::Stacks => (20, 0),
            Region::StackValues => (21, 0),
            Region::Allocation => (13, 0),
            Region::Remembered => (14, 0),
            Region::TypeRows => (15, 0),
            Region::Initial => (16, 0),
            Region::Headers => (17, 0),
            Region::Immutable => (18, 0),
            Region::Mutable(class) => (19, class.number()),
        };
        debug_assert!(index < 1 << 24);
        kind << 24 | index
    }

    fn description(self) -> &'static str {
        match self {
            Region::Frame => "frame",
            Region::Locals => "locals",
            Region::Store => "store",
            Region::MemoryDefinitions => "memory definitions",
            Region::TableDefinitions => "table definitions",
            Region::FuncRefs => "function references",
            Region::Memory(_) => "memory",
            Region::ImportedMemories => "imported memories",
            Region::Table(_) => "table",
            Region::ImportedTables => "imported tables",
            Region::Global(_) => "global",
            Region::ImportedGlobals => "imported globals",
            Region::Stacks => "stacks",
            Region::StackValues => "values between stacks",
            Region::Rest => "rest",
            Region::Allocation => "allocation",
            Region::Remembered => "remembered slots",
            Region::TypeRows => "type rows",
            Region::Initial => "initial values",
            Region::Headers => "headers",
            Region::Immutable => "immutable fields",
            Region::Mutable(_) => "mutable fields",
        }
    }

    /// The CLIF region for it, in a function with these regions.
    pub(super) fn intern(self, regions: &mut AliasRegionSet) -> AliasRegion {
        if let Some(region) = regions.get(self.id()) {
            return region;
        }
        let region = if regions.len() < MAX_REGIONS {
            self
        } else {
            Region::Rest
        };
        regions.insert(AliasRegionData {
            user_id: region.id(),
            description: Cow::Borrowed(region.description()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_stays_what_it_was_when_there_are_too_many() {
        let mut regions = AliasRegionSet::new();
        let global = |n| Region::Global(GlobalIndex::new(n));
        let first: Vec<_> = (0..100).map(|n| global(n).intern(&mut regions)).collect();
        let again: Vec<_> = (0..100).map(|n| global(n).intern(&mut regions)).collect();
        assert_eq!(first, again);
        assert_eq!(regions.len(), MAX_REGIONS + 1);
        assert_ne!(first[0], first[1]);
        assert_eq!(first[98], first[99]);
    }
}
