//! Accesses to linear memory: where a byte is, and whether that must be checked.
//!
//! ```text
//!   base                     base + length        base + reservation     + guard
//!    | accessible ............. | inaccessible ........... | inaccessible .. |
//! ```
//!
//! An index of a 32-bit memory whose 4 GiB are all reserved needs no check as long as the static
//! offset and the access fit into the guard (and what is reserved beyond 4 GiB): the access itself
//! faults. Otherwise the index is compared with the length (`checked`). An access that ends further
//! behind its index than the guard is large is compared as a whole; if it is out of bounds its address
//! is replaced by null, also under misspeculation, and it faults in the first page.
//!
//! This relies on the runtime: everything from `length` to the guard's end, and the first page of the
//! address space, is inaccessible for memories of every style.

use super::bound::upper_bound;
use super::function::{Lowering, trap_code};
use super::region::Region;
use super::signature::POINTER;
use super::table::index_type;
use cranelift_codegen::ir::immediates::Offset32;
use cranelift_codegen::ir::types::{I8, I64};
use cranelift_codegen::ir::{Endianness, InstBuilder, MemFlagsData, Opcode, Type, Value};
use sarsen_abi::module::{IMAGE_PAGE_SIZE, MemoryStyle};
use sarsen_abi::types::{IndexType, MemoryType};
use sarsen_abi::vmctx::offset;
use sarsen_abi::{MemoryIndex, TrapCode};
use wasmparser::{MemArg, MemArgTarget};

/// The bytes from null on that nothing is ever mapped at.
const NULL_PAGE_SIZE: u64 = 4096;

/// What accesses to one memory need to know.
#[derive(Clone, Copy)]
pub(super) struct MemoryAccess {
    ty: MemoryType,
    style: MemoryStyle,
    /// Where its `VmMemory` is: an address, and an offset from it.
    definition: (Value, i32),
    /// Flags for its bytes; they cannot trap.
    flags: MemFlagsData,
}

/// Where to access memory.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) address: Value,
    /// What to add to the address; not negative.
    pub(super) offset: i32,
    pub(super) flags: MemFlagsData,
}

/// Bytes of a memory that are in bounds.
#[derive(Clone, Copy)]
pub(super) struct Range {
    memory: MemoryIndex,
    /// Where they begin, in 64 bits.
    pub(super) index: Value,
    /// How many there are, in 64 bits.
    pub(super) length: Value,
}

impl MemoryAccess {
    /// The length in bytes, if it never changes.
    fn fixed_length(&self) -> Option<u64> {
        let is_fixed = self.ty.maximum == Some(self.ty.minimum);
        self.ty.minimum_bytes().filter(|_| is_fixed)
    }

    /// The smallest length in bytes, unless no address space could hold it.
    pub(super) fn minimum_bytes(&self) -> Option<u64> {
        self.ty.minimum_bytes()
    }

    /// The largest length in bytes that the type allows, unless no address space could hold it.
    pub(super) fn maximum_bytes(&self) -> Option<u64> {
        let limit = self.ty.index_limit_pages();
        let pages = self.ty.maximum.unwrap_or(limit).min(limit);
        pages.checked_mul(self.ty.page_size())
    }

    /// The type of its indices.
    pub(super) fn index_type(&self) -> IndexType {
        self.ty.index
    }

    /// The room for a shared memory, in bytes.
    pub(super) fn shared_room(&self) -> u64 {
        self.ty.shared_room()
    }

    /// Whether other threads may grow it at any time.
    pub(super) fn is_shared(&self) -> bool {
        self.ty.shared
    }

    /// Whether accesses past the length, but not past the guard, fault.
    pub(super) fn faults_at_length(&self) -> bool {
        self.ty.page_size().is_multiple_of(IMAGE_PAGE_SIZE)
    }
}

impl Lowering<'_, '_> {
    /// A load of `ty`: as many bytes as `opcode` says.
    pub(super) fn load(&mut self, memarg: &MemArg, opcode: Opcode, ty: Type) {
        let index = self.pop();
        let place = self.place(
            memory(memarg),
            index,
            memarg.offset,
            access_size(opcode, ty),
        );
        let flags = self
            .builder
            .func
            .dfg
            .mem_flags
            .insert_unchecked(place.flags);
        let offset = Offset32::new(place.offset);
        let (inst, dfg) = self
            .builder
            .ins()
            .Load(opcode, ty, flags, offset, place.address);
        let value = dfg.first_result(inst);
        self.push(value);
    }

    /// A store of as many bytes as `opcode` says.
    pub(super) fn store(&mut self, memarg: &MemArg, opcode: Opcode) {
        let (index, value) = self.pop2();
        let ty = self.type_of(value);
        let place = self.place(
            memory(memarg),
            index,
            memarg.offset,
            access_size(opcode, ty),
        );
        let flags = self
            .builder
            .func
            .dfg
            .mem_flags
            .insert_unchecked(place.flags);
        let offset = Offset32::new(place.offset);
        self.builder
            .ins()
            .Store(opcode, ty, flags, offset, value, place.address);
    }

    /// `memory.size`
    pub(super) fn memory_size(&mut self, memory: u32) {
        let access = self.memory_access(MemoryIndex::new(memory));
        let length = if access.ty.shared {
            self.shared_length(&access)
        } else {
            self.memory_length(&access)
        };
        let page_size_log2 = i64::from(access.ty.page_size_log2);
        let pages = self.builder.ins().ushr_imm_u(length, page_size_log2);
        let pages = self.narrow(pages, index_type(access.ty.index));
        self.push(pages);
    }

    /// Where to access `size` bytes, at most a few hundred, at `index` plus `offset`. An access to the
    /// last of them traps if any is out of bounds.
    pub(super) fn place(
        &mut self,
        memory: MemoryIndex,
        index: Value,
        offset: u64,
        size: u64,
    ) -> Place {
        self.mark();
        let access = self.memory_access(memory);
        let end = offset.checked_add(size);
        let last = end.and_then(|end| upper_bound(&self.builder.func.dfg, index).checked_add(end));
        // Memories do not shrink.
        let is_in_bounds = last.is_some_and(|last| {
            access
                .ty
                .minimum_bytes()
                .is_some_and(|minimum| last <= minimum)
        });
        let flags = if is_in_bounds {
            access.flags
        } else {
            let code = trap_code(TrapCode::MemoryOutOfBounds);
            access.flags.with_trap_code(Some(code))
        };
        let base = self.memory_base(&access);
        let is_unchecked =
            is_in_bounds || end.is_some_and(|end| self.is_covered_by_guard(&access, end));
        let guard = self.cx.settings.memory_guard;
        if let Some(end) = end.filter(|&end| !is_unchecked && end <= guard) {
            let index = self.guarded_index(memory, &access, index, end);
            let address = self.builder.ins().iadd(base, index.guarded);
            let offset = index.distance + offset;
            return self.with_offset(address, offset, i32::MAX as u64, flags);
        }
        let index = self.extend_index(index);
        let address = self.builder.ins().iadd(base, index);
        if is_unchecked {
            return self.with_offset(address, offset, i32::MAX as u64, flags);
        }
        let is_out = match end {
            Some(end) => {
                let length = self.memory_length(&access);
                self.is_out_of_bounds(&access, index, end, length)
            }
            None => self.builder.ins().iconst(I8, 1),
        };
        // What is still to be added to null must not leave the first page.
        let foldable = NULL_PAGE_SIZE - size;
        let place = self.with_offset(address, offset, foldable, flags);
        let null = self.iconst(POINTER, 0);
        let address = self
            .builder
            .ins()
            .select_spectre_guard(is_out, null, place.address);
        Place { address, ..place }
    }

    /// Checks that `length` bytes (in 64 bits) at `index` are in bounds: else it traps. Under
    /// misspeculation the range is empty then.
    pub(super) fn range(&mut self, memory: MemoryIndex, index: Value, length: Value) -> Range {
        self.mark();
        let access = self.memory_access(memory);
        let memory_length = self.memory_length(&access);
        let index = self.extend_index(index);
        let is_out = self.is_sum_above(access.ty.index, index, length, memory_length);
        let code = trap_code(TrapCode::MemoryOutOfBounds);
        self.builder.ins().trapnz(is_out, code);
        let zero = self.iconst(I64, 0);
        let mut guard = |value| {
            let ins = self.builder.ins();
            ins.select_spectre_guard(is_out, zero, value)
        };
        Range {
            memory,
            index: guard(index),
            length: guard(length),
        }
    }

    /// The address of the byte at `start` of a range, until something may grow the memory.
    pub(super) fn range_address(&mut self, range: &Range, start: Value) -> Value {
        let access = self.memory_access(range.memory);
        let base = self.memory_base(&access);
        let index = self.builder.ins().iadd(range.index, start);
        self.builder.ins().iadd(base, index)
    }

    /// How many bytes a memory can have at most.
    pub(super) fn largest_memory(&mut self, memory: MemoryIndex) -> u64 {
        let access = self.memory_access(memory);
        access.maximum_bytes().unwrap_or(u64::MAX)
    }

    /// Leaves the offset to the access if it is no larger than `foldable`, else adds it.
    fn with_offset(
        &mut self,
        address: Value,
        offset: u64,
        foldable: u64,
        flags: MemFlagsData,
    ) -> Place {
        if offset <= foldable {
            return Place {
                address,
                offset: offset as i32,
                flags,
            };
        }
        let distance = self.iconst(I64, offset as i64);
        Place {
            address: self.builder.ins().iadd(address, distance),
            offset: 0,
            flags,
        }
    }

    /// Whether every access that ends `end` bytes after an index either is in bounds or faults.
    fn is_covered_by_guard(&self, access: &MemoryAccess, end: u64) -> bool {
        let settings = self.cx.settings;
        let beyond = settings.memory_reservation.saturating_sub(1 << 32);
        access.style == MemoryStyle::Reserved && end <= settings.memory_guard.saturating_add(beyond)
    }

    pub(super) fn memory_base(&mut self, access: &MemoryAccess) -> Value {
        let (definition, at) = access.definition;
        let at = at + offset::MEMORY_BASE;
        match access.style {
            MemoryStyle::Reserved | MemoryStyle::Checked => self.load_once(POINTER, definition, at),
            MemoryStyle::Movable => {
                let flags = self.flags(Region::MemoryDefinitions);
                self.builder.ins().load(POINTER, flags, definition, at)
            }
        }
    }

    /// The length in bytes, in 64 bits.
    pub(super) fn memory_length(&mut self, access: &MemoryAccess) -> Value {
        if let Some(length) = access.fixed_length() {
            return self.iconst(I64, length as i64);
        }
        let (definition, at) = access.definition;
        let flags = self.flags(Region::MemoryDefinitions);
        let at = at + offset::MEMORY_LENGTH;
        self.builder.ins().load(I64, flags, definition, at)
    }

    /// The length in bytes of a shared memory, in 64 bits, and nothing older than what any thread has
    /// made it before.
    fn shared_length(&mut self, access: &MemoryAccess) -> Value {
        let (definition, at) = access.definition;
        let at = self.iconst(POINTER, i64::from(at + offset::MEMORY_LENGTH));
        let address = self.builder.ins().iadd(definition, at);
        self.builder
            .ins()
            .atomic_load(I64, MemFlagsData::trusted(), address)
    }

    /// What is known of a memory.
    pub(super) fn memory_access(&mut self, memory: MemoryIndex) -> MemoryAccess {
        if self.memories.len() <= memory.index() {
            self.memories.resize(memory.index() + 1, None);
        }
        if let Some(access) = self.memories[memory.index()] {
            return access;
        }
        let cx = self.cx;
        let ty = cx.module.memories[memory.index()];
        let (definition, region) = if cx.module.is_imported_memory(memory) {
            let offset = cx.layout.imported_memory(memory) as i32;
            let definition = self.load_once(POINTER, self.vmctx, offset);
            ((definition, 0), Region::ImportedMemories)
        } else if ty.shared {
            let offset = cx.layout.defined_memory(memory) as i32;
            let definition = self.load_once(POINTER, self.vmctx, offset);
            ((definition, 0), Region::Memory(memory))
        } else {
            let offset = cx.layout.defined_memory(memory) as i32;
            ((self.vmctx, offset), Region::Memory(memory))
        };
        let region = region.intern(&mut self.builder.func.dfg.alias_regions);
        let access = MemoryAccess {
            ty,
            style: MemoryStyle::of(&ty, cx.settings),
            definition,
            flags: MemFlagsData::new()
                .with_notrap()
                .with_endianness(Endianness::Little)
                .with_alias_region(Some(region)),
        };
        self.memories[memory.index()] = Some(access);
        access
    }
}

/// Which memory is accessed.
pub(super) fn memory(memarg: &MemArg) -> MemoryIndex {
    match memarg.target {
        MemArgTarget::Memory(memory) => MemoryIndex::new(memory),
        MemArgTarget::Array(_) => unreachable!("a feature that `read` never switches on"),
    }
}

/// How many bytes a load to, or a store from, type `ty` accesses.
fn access_size(opcode: Opcode, ty: Type) -> u64 {
    match opcode {
        Opcode::Uload8 | Opcode::Sload8 | Opcode::Istore8 => 1,
        Opcode::Uload16 | Opcode::Sload16 | Opcode::Istore16 => 2,
        Opcode::Uload32 | Opcode::Sload32 | Opcode::Istore32 => 4,
        Opcode::Uload8x8
        | Opcode::Sload8x8
        | Opcode::Uload16x4
        | Opcode::Sload16x4
        | Opcode::Uload32x2
        | Opcode::Sload32x2 => 8,
        _ => u64::from(ty.bytes()),
    }
}
