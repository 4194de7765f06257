//! Bounds checks of accesses to linear memory, and which of them an earlier one covers.
//!
//! A check makes a *guarded index*: the index itself if the access is in bounds, else one where every
//! access faults. It is a select on a comparison, which no misspeculation gets around:
//!
//! ```text
//!   guarded = index > length ? length : index      access at base + guarded + offset
//!
//!   base                     base + length          base + length + guard
//!    | accessible ............. | inaccessible ............. |
//! ```
//!
//! The comparison leaves the offset, if it fits into the guard, to the guard, so one check serves all of
//! them. Where the length is no multiple of the system's page, accesses between the two would not
//! fault; then the offset and the access's size are compared too.
//!
//! # What a check covers
//!
//! An access that has not trapped proves that its index was in bounds, and stays so: memories never
//! shrink. So wherever its check dominates, its guarded index *is* the index, and a later access to the
//! same index, or one that is a constant more, takes the guarded index without a check of its own, as
//! long as it ends within the check's *reach*. Taking the guarded index rather than the index keeps
//! what runs ahead of the first access's fault within the reach behind the memory. The base is
//! added anew, so that it does not matter whether the memory has moved.
//!
//! Lowering goes from block to block: checks made since a block of WebAssembly was opened are forgotten
//! where its end, or `else`, is reached by other ways too.
//!
//! In a shared memory, the length that was compared may already be outdated when the access is made:
//! its guarded index lies beyond the largest length instead.

use super::bound::{constant, upper_bound};
use super::function::Lowering;
use super::memory::MemoryAccess;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{InstBuilder, InstructionData, Opcode, Value, ValueDef};
use sarsen_abi::MemoryIndex;
use sarsen_abi::module::IMAGE_PAGE_SIZE;
use sarsen_abi::types::IndexType;
use std::collections::HashMap;

/// How many additions of constants are looked through.
const MAX_ADDITIONS: usize = 4;

/// A check that was made.
#[derive(Clone, Copy)]
struct Check {
    /// The guarded index, in 64 bits.
    guarded: Value,
    /// How far behind the index accesses may end, in bytes: until there, they are in bounds or fault.
    reach: u64,
}

/// Where an access begins, checked: at `guarded` plus `distance`.
#[derive(Clone, Copy)]
pub(super) struct GuardedIndex {
    /// An index, in 64 bits.
    pub(super) guarded: Value,
    /// What the access's own index is more than that.
    pub(super) distance: u64,
}

type Key = (MemoryIndex, Value);

/// The checks that dominate the current place, by memory and index.
#[derive(Default)]
pub(super) struct Checks {
    made: HashMap<Key, Check>,
    /// Each check made, and the one of the same index that it took the place of.
    log: Vec<(Key, Option<Check>)>,
}

/// How many checks had been made at some place.
#[derive(Clone, Copy)]
pub(super) struct ChecksSoFar(usize);

impl Checks {
    fn add(&mut self, key: Key, check: Check) {
        let replaced = self.made.insert(key, check);
        self.log.push((key, replaced));
    }

    /// The current place, to return to.
    pub(super) fn so_far(&self) -> ChecksSoFar {
        ChecksSoFar(self.log.len())
    }

    /// Forgets the checks made since `place`.
    pub(super) fn return_to(&mut self, place: ChecksSoFar) {
        for (key, replaced) in self.log.drain(place.0..).rev() {
            match replaced {
                Some(check) => self.made.insert(key, check),
                None => self.made.remove(&key),
            };
        }
    }
}

impl Lowering<'_, '_> {
    /// An index for an access that ends `end` bytes after `index`, which is at most the guard's size.
    pub(super) fn guarded_index(
        &mut self,
        memory: MemoryIndex,
        access: &MemoryAccess,
        index: Value,
        end: u64,
    ) -> GuardedIndex {
        if let Some(known) = self.covering_check(memory, access, index, end) {
            return known;
        }
        let index64 = self.extend_index(index);
        let length = self.memory_length(access);
        let is_out = self.is_out_of_bounds(access, index64, end, length);
        let elsewhere = self.faulting_index(access, length);
        let guarded = self
            .builder
            .ins()
            .select_spectre_guard(is_out, elsewhere, index64);
        let reach = if access.faults_at_length() {
            self.cx.settings.memory_guard
        } else {
            end
        };
        self.checks.add((memory, index), Check { guarded, reach });
        GuardedIndex {
            guarded,
            distance: 0,
        }
    }

    /// What an earlier check knows of an access that ends `end` bytes after `index`.
    fn covering_check(
        &self,
        memory: MemoryIndex,
        access: &MemoryAccess,
        index: Value,
        end: u64,
    ) -> Option<GuardedIndex> {
        let mut index = index;
        let mut distance = 0;
        for _ in 0..=MAX_ADDITIONS {
            if let Some(check) = self.checks.made.get(&(memory, index))
                && end.checked_add(distance)? <= check.reach
                && self.cannot_wrap(access, index, distance)
            {
                return Some(GuardedIndex {
                    guarded: check.guarded,
                    distance,
                });
            }
            let (less, added) = self.addition(index)?;
            distance = added.checked_add(distance)?;
            index = less;
        }
        None
    }

    /// Whether adding `distance`, which is within a check's reach, to `index`, which is in bounds,
    /// gives what it does without a limit to numbers.
    fn cannot_wrap(&self, access: &MemoryAccess, index: Value, distance: u64) -> bool {
        // No memory is so large that 64 bits would not do.
        if distance == 0 || self.type_of(index) == I64 {
            return true;
        }
        let length = access.maximum_bytes().unwrap_or(u64::MAX);
        let largest = upper_bound(&self.builder.func.dfg, index).min(length);
        largest
            .checked_add(distance)
            .is_some_and(|sum| sum <= u64::from(u32::MAX))
    }

    /// What `value` is the sum of, if it is one of something and a constant.
    fn addition(&self, value: Value) -> Option<(Value, u64)> {
        let dfg = &self.builder.func.dfg;
        let ValueDef::Result(inst, 0) = dfg.value_def(value) else {
            return None;
        };
        let InstructionData::Binary {
            opcode: Opcode::Iadd,
            args: [x, y],
        } = dfg.insts[inst]
        else {
            return None;
        };
        match (constant(dfg, x), constant(dfg, y)) {
            (_, Some(added)) => Some((x, added)),
            (Some(added), None) => Some((y, added)),
            (None, None) => None,
        }
    }

    /// An index at which, and as far as the guard reaches after it, no access succeeds.
    fn faulting_index(&mut self, access: &MemoryAccess, length: Value) -> Value {
        if access.is_shared() {
            let room = access.shared_room();
            let beyond = room.checked_next_multiple_of(IMAGE_PAGE_SIZE);
            // No memory is that large.
            let beyond = beyond.unwrap_or(room);
            return self.iconst(I64, beyond as i64);
        }
        if access.faults_at_length() {
            return length;
        }
        let page_mask = IMAGE_PAGE_SIZE as i64 - 1;
        let rounded = self.builder.ins().iadd_imm_u(length, page_mask);
        self.builder.ins().band_imm_s(rounded, !page_mask)
    }

    /// Whether an access that ends `end` bytes after `index` (in 64 bits) is out of the bounds of a memory
    /// of `length` bytes. What is not may still fault.
    pub(super) fn is_out_of_bounds(
        &mut self,
        access: &MemoryAccess,
        index: Value,
        end: u64,
        length: Value,
    ) -> Value {
        let minimum = access.minimum_bytes().unwrap_or(u64::MAX);
        let guard = self.cx.settings.memory_guard;
        if access.faults_at_length() && end <= guard {
            return self.is_above(index, length);
        }
        let end_value = self.iconst(I64, end as i64);
        if end <= minimum {
            let last_index = self.builder.ins().isub(length, end_value);
            return self.is_above(index, last_index);
        }
        self.is_sum_above(access.index_type(), index, end_value, length)
    }

    /// Whether `index` plus `length` is above `limit`; all in 64 bits, but of a memory or table whose
    /// indices are of type `ty`.
    pub(super) fn is_sum_above(
        &mut self,
        ty: IndexType,
        index: Value,
        length: Value,
        limit: Value,
    ) -> Value {
        match ty {
            IndexType::I32 => {
                let end = self.builder.ins().iadd(index, length);
                self.is_above(end, limit)
            }
            IndexType::I64 => {
                let (end, overflows) = self.builder.ins().uadd_overflow(index, length);
                let is_above = self.is_above(end, limit);
                self.builder.ins().bor(overflows, is_above)
            }
        }
    }

    fn is_above(&mut self, x: Value, y: Value) -> Value {
        self.builder.ins().icmp(IntCC::UnsignedGreaterThan, x, y)
    }
}
